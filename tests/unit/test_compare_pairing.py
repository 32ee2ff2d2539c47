"""What is put side by side, what is listed as missing, what is refused: nothing is dropped and nothing is mixed up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.compare.comparison import compare
from plimsoll.compare.data import comparison_text
from plimsoll.compare.fail_on import FailCondition, exit_status, findings
from plimsoll.compare.finding import read_side
from plimsoll.compare.machine import MachineDifference
from plimsoll.compare.result import Absent, Comparison, Versus
from plimsoll.compare.rule import Change, Level, Rule
from plimsoll.compare.side import Side
from plimsoll.compare.texts import markdown_text, terminal_lines
from plimsoll.errors import PlimsollError
from plimsoll.evidence.encoding import measurement_fields
from plimsoll.evidence.events import Event
from plimsoll.judge.judgement import Measurement
from plimsoll.metrics import FLOORED, METRICS
from plimsoll.node.node import Node
from tests.support.compare_runs import benchmark_file, load_cell, noisy, side, timed_events, timed_run, write_run
from tests.support.run_events import NODE, cell, crash, finish, line, measured, report
from tests.support.schemas import validator

ROUNDS = noisy(1, 6)
RULE = Rule()


def compared(base: Path, *others: Path, force_unlike: bool = False) -> Comparison:
    return compare([read_side(path) for path in (base, *others)], RULE, force_unlike=force_unlike)


def versus(base: Path, other: Path) -> Versus:
    return compared(base, other).versus[0]


def test_a_cell_that_one_run_has_and_the_other_has_not_is_listed(tmp_path: Path) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": ROUNDS, "b/nf4": ROUNDS})
    other = timed_run(tmp_path, "other", {"a/nf4": ROUNDS, "c/nf4": ROUNDS})
    found = versus(base, other)
    assert [row.base.variant for row in found.times] == ["a/nf4"]
    assert found.missing == (
        Absent(cell=load_cell("b/nf4").id, metric=None, reason="not in the plan", variant="b/nf4"),
    )
    assert found.added == (Absent(cell=load_cell("c/nf4").id, metric=None, reason="not in the plan", variant="c/nf4"),)


def test_a_time_that_is_gone_while_its_cell_is_there_is_listed_with_the_reason(tmp_path: Path) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    events = timed_events({"a/nf4": ROUNDS}, run_id="other")
    skipped = report(load_cell("a/nf4"), "setup", "skipped", ["x.py", 1, "Skipped: skip[page_cache]: was cached"])
    kept = [e for e in events if e["event"] in ("run", "plan", "node")]
    found = versus(base, write_run(tmp_path / "other", [*kept, skipped, finish()]))
    assert found.times == ()
    [gone] = found.missing
    assert (gone.cell, gone.metric) == (load_cell("a/nf4").id, "cold_load_time")
    assert gone.reason == "skipped: skip[page_cache]: was cached"
    assert [(c.base, c.other, c.is_worse) for c in found.outcomes] == [("passed", "skipped", True)]


def test_a_figure_that_was_not_measured_is_missing_with_its_reason(tmp_path: Path) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": ROUNDS}, memory={"a/nf4": 10**9})
    unset = measurement_fields(Measurement(metric="ram_peak", value=None, reason="no VmHWM here"))
    lines = [line(Event.MEASUREMENT, cell=cell("test_peak_ram", "a/nf4").id, **unset)]
    events = timed_events({"a/nf4": ROUNDS}, run_id="other", memory={"a/nf4": 10**9}, others=lines)
    found = versus(base, write_run(tmp_path / "other", events))
    assert [(a.metric, a.reason) for a in found.missing] == [("ram_peak", "no VmHWM here")]
    assert [row.level for row in found.memory] == [Level.UNKNOWN]


@pytest.mark.parametrize(
    ("metric", "was", "is_", "level"),
    [
        ("ram_peak", 10**9, 2 * 10**9, Level.MORE),
        ("ram_peak", 2 * 10**9, 10**9, Level.LESS),
        ("ram_peak", 10**9, 10**9 + 33 * 2**20, Level.SAME),
        ("ram_peak", 10**11, 10**11 + 4 * 10**9, Level.SAME),
        ("ram_peak", 10**7, 4 * 10**7, Level.SAME),
        ("ram_peak", 10**7, 10**8, Level.MORE),
        ("weight_bytes", 10**9, 10**9 + 1, Level.MORE),
        ("weight_bytes", 10**9, 10**9 - 1, Level.LESS),
        ("weight_bytes", 10**9, 10**9, Level.SAME),
    ],
)
def test_memory_counts_as_more_beyond_its_tolerance_and_counted_bytes_at_once(
    tmp_path: Path, metric: str, was: int, is_: int, level: Level
) -> None:
    asks = cell("test_memory", "a/nf4", subject="memory")
    folders = [
        timed_run(tmp_path, name, {"a/nf4": ROUNDS}, others=[measured(asks, metric, value)])
        for name, value in (("base", was), ("other", is_))
    ]
    [row] = versus(*folders).memory
    assert row.level is level
    assert row.change == pytest.approx(is_ / was - 1)


def test_other_figures_are_no_memory(tmp_path: Path) -> None:
    folders = [
        timed_run(tmp_path, name, {"a/nf4": ROUNDS}, others=[measured(cell("test_q"), "taught_accuracy", value)])
        for name, value in (("base", 1.0), ("other", 0.9))
    ]
    found = versus(*folders)
    assert not found.memory
    assert [row.level for row in found.figures] == [Level.LESS]


def test_each_measurement_of_both_runs_is_in_exactly_one_table(tmp_path: Path) -> None:
    asks = cell("test_device")
    compares = [name for name in METRICS if not name.startswith("free_")]
    folders = [
        timed_run(tmp_path, name, {}, cells=[asks], others=[measured(asks, metric, value) for metric in compares])
        for name, value in (("base", 10**9), ("other", 2 * 10**9))
    ]
    comparison = compared(*folders)
    [found] = comparison.versus
    tables = (found.times, found.memory, found.speeds, found.figures)
    assert sorted(row.base.metric for table in tables for row in table) == sorted(compares)
    assert {row.base.metric for row in found.speeds} == set(FLOORED)
    assert all(row.base.unit == "bytes" for row in found.memory)
    text = markdown_text(comparison, ())
    assert all(metric in text for metric in compares)
    assert [row["change"] for row in json.loads(comparison_text(comparison, (), (), 0))["versus"][0]["speeds"]] == (
        [1.0] * len(FLOORED)
    )


def test_slower_devices_are_shown_with_their_ratio_and_are_no_memory(tmp_path: Path) -> None:
    asks = cell("test_device")
    folders = [
        timed_run(tmp_path, name, {}, cells=[asks], others=[measured(asks, "memory_bandwidth", value)])
        for name, value in (("base", 4e12), ("other", 1e12))
    ]
    comparison = compared(*folders)
    assert findings(comparison, list(FailCondition)) == ()
    assert exit_status(comparison, [FailCondition.MEMORY], allow_undecided=False) == 6
    assert any("memory_bandwidth" in each and "0.250" in each for each in terminal_lines(comparison, (), 0))
    schema = validator("comparison")
    schema.validate(json.loads(comparison_text(comparison, (), (), 0)))


def test_an_outcome_that_was_lost_and_a_verdict_that_changed_are_shown(tmp_path: Path) -> None:
    talks = cell("test_talks")
    good = [report(talks, when) for when in ("setup", "call", "teardown")]
    bad = [report(talks, "setup"), report(talks, "call", "failed", crash("it said no")), report(talks, "teardown")]
    base = write_run(tmp_path / "base", timed_events({"a/nf4": ROUNDS}, cells=[talks], others=good))
    worse = timed_events({"a/nf4": ROUNDS}, run_id="other", cells=[talks], others=bad)
    other = write_run(tmp_path / "other", [*worse[:-1], finish(1)])
    found = versus(base, other)
    [change] = found.outcomes
    assert (change.cell, change.base, change.other, change.reason) == (talks.id, "passed", "failed", "it said no")
    assert change.is_worse
    assert (found.base.verdict, found.other.verdict, found.verdict_is_worse) == ("ACCEPTED", "REJECTED", True)
    back = versus(other, base)
    assert (back.outcomes[0].is_worse, back.verdict_is_worse) == (False, False)


def bare(**changes: Any) -> Node:
    return replace(NODE, gpus=(), driver=None, **changes)


GPU = NODE.gpus[0]
UNLIKE: dict[str, tuple[Node, str]] = {
    "name": (replace(NODE, gpus=(replace(GPU, name="NVIDIA A100"),)), "other has 1 x NVIDIA A100 with 140 GiB"),
    "memory": (replace(NODE, gpus=(replace(GPU, memory_total=80 * 2**30),)), "1 x NVIDIA H200 with 80 GiB"),
    "number": (replace(NODE, gpus=(GPU, GPU)), "base has 1 x NVIDIA H200 with 140 GiB, other has 2 x NVIDIA H200"),
    "MIG": (replace(NODE, gpus=(replace(GPU, mig=True),)), "with 140 GiB, split (MIG)"),
    "none": (bare(), "other has no GPU"),
    "unread": (replace(NODE, gpus=(replace(GPU, name=None),)), "a GPU whose name was not read (GPU-1)"),
    "processor": (
        replace(NODE, cpu=replace(NODE.cpu, model="Xeon")),
        "the processor of base is EPYC, that of other is Xeon",
    ),
    "no processor": (replace(NODE, cpu=replace(NODE.cpu, model=None)), "that of other is not recorded"),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_unlike_machines_are_refused_unless_the_user_forces_it(tmp_path: Path, name: str) -> None:
    node, reason = UNLIKE[name]
    base = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    other = timed_run(tmp_path, "other", {"a/nf4": ROUNDS}, node=node)
    with pytest.raises(PlimsollError) as caught:
        compared(base, other)
    assert str(caught.value).startswith("base and other are not from like machines: ")
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; use --force-unlike to compare them all the same")
    forced = compared(base, other, force_unlike=True)
    assert reason in " ".join(forced.versus[0].unlike)


def test_like_runs_must_be_from_a_like_machine_too(tmp_path: Path) -> None:
    sides = [read_side(timed_run(tmp_path, name, {"a/nf4": ROUNDS})) for name in ("base", "other")]
    like = read_side(timed_run(tmp_path, "like", {"a/nf4": ROUNDS}, node=bare()))
    with pytest.raises(PlimsollError, match="base and like are not from like machines"):
        compare(sides, RULE, likes=[like])


def test_a_benchmark_file_is_compared_with_a_run_without_gpus_and_refused_beside_one_with_them(tmp_path: Path) -> None:
    key = load_cell("a/nf4").id
    file = benchmark_file(tmp_path / "a.json", {"x": ROUNDS})
    content = file.read_text().replace("bench.py::x", key)
    file.write_text(content)
    with pytest.raises(PlimsollError, match=r"base has 1 x NVIDIA H200 with 140 GiB, a\.json has no word about GPUs"):
        compared(timed_run(tmp_path, "base", {"a/nf4": ROUNDS}), file)
    found = versus(timed_run(tmp_path, "bare", {"a/nf4": ROUNDS}, node=bare()), file)
    # The run knows which metric the rounds are of, the file does not: the only time of the cell is meant.
    assert [(row.base.metric, row.other.metric) for row in found.times] == [("cold_load_time", "time")]
    assert (found.missing, found.added) == ((), ())


def test_a_run_s_cells_are_not_missing_from_a_file_that_can_only_hold_times(tmp_path: Path) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": ROUNDS, "b/nf4": ROUNDS}, node=bare(), memory={"a/nf4": 10**9})
    file = benchmark_file(tmp_path / "a.json", {"x": ROUNDS})
    file.write_text(file.read_text().replace("bench.py::x", load_cell("a/nf4").id))
    found = versus(base, file)
    assert [(a.cell, a.metric, a.reason) for a in found.missing] == [
        (load_cell("b/nf4").id, "cold_load_time", "not in the file")
    ]
    assert found.outcomes == ()


def test_files_that_name_no_processor_are_refused(tmp_path: Path) -> None:
    first, second = (benchmark_file(tmp_path / f"{n}.json", {"x": ROUNDS}, cpu=None) for n in "ab")
    with pytest.raises(PlimsollError, match="neither side says what processor it ran on"):
        compared(first, second)


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    (tmp_path / "latest").symlink_to("base")
    with pytest.raises(PlimsollError, match="base is given twice"):
        compared(base, tmp_path / "latest")
    with pytest.raises(PlimsollError, match="needs two runs or more"):
        compared(base)


CHANGED: dict[str, tuple[Callable[[Node], Node], str, tuple[str, str]]] = {
    "driver": (lambda n: replace(n, driver="580.2"), "driver", ("570.1", "580.2")),
    "CUDA": (lambda n: replace(n, cuda="13.1"), "CUDA of the driver", ("13.0", "13.1")),
    "kernel": (lambda n: replace(n, kernel="6.8.0"), "kernel", ("6.1.0", "6.8.0")),
    "package": (lambda n: replace(n, packages={**n.packages, "torch": "3.0"}), "package torch", ("2.13.0", "3.0")),
    "environment": (
        lambda n: replace(n, environment={**n.environment, "OMP_NUM_THREADS": "1"}),
        "environment OMP_NUM_THREADS",
        ("not recorded", "1"),
    ),
    "another GPU of the kind": (
        lambda n: replace(n, gpus=(replace(GPU, uuid="GPU-2"),)),
        "GPU 0 UUID",
        ("GPU-1", "GPU-2"),
    ),
    "another tenant": (
        lambda n: replace(n, gpus=(replace(GPU, memory_free=10**10),)),
        "GPU 0 free memory at the start",
        ("150.00 GB (139.70 GiB)", "10.00 GB (9.31 GiB)"),
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_differs_between_the_machines_is_said(tmp_path: Path, name: str) -> None:
    change, label, texts = CHANGED[name]
    base = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    other = timed_run(tmp_path, "other", {"a/nf4": ROUNDS}, node=change(NODE))
    assert compared(base, other).differences == (MachineDifference(label=label, texts=texts),)


def test_what_is_never_twice_the_same_is_no_difference(tmp_path: Path) -> None:
    node = replace(NODE, memory=replace(NODE.memory, available=5_900_000_000))
    base = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    assert compared(base, timed_run(tmp_path, "other", {"a/nf4": ROUNDS}, node=node)).differences == ()


def test_another_catalogue_and_other_rounds_are_differences(tmp_path: Path) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    events = timed_events({"a/nf4": ROUNDS[:3]}, run_id="other")
    events[0]["catalogues"] = [{"path": "/x/catalogue/tiny.toml", "sha256": "1" * 64, "shipped": False}]
    found = compared(base, write_run(tmp_path / "other", events)).differences
    assert [(d.label, d.texts) for d in found] == [
        ("catalogue catalogue/tiny.toml", ("SHA-256 000000000000", "SHA-256 111111111111, not the shipped one")),
        ("rounds", ("1 checks with 6", "1 checks with 3")),
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"options": {"timer": "perf_counter"}}, "the clock is not the same: LoadClock and perf_counter"),
        ({"extra_info": {"cache": "warm"}}, "the state of the page cache is not the same: cold and warm"),
    ],
)
def test_times_that_were_measured_differently_are_listed_and_not_compared(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    other = timed_run(tmp_path, "other", {"a/nf4": ROUNDS}, **changes)
    found = versus(base, other)
    assert found.times == ()
    assert [row.reason for row in found.mismatched] == [reason]


def test_trained_and_synthetic_weights_are_not_compared(tmp_path: Path) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    events = timed_events({"a/nf4": ROUNDS}, run_id="other")
    events[1]["cells"][0]["weights"] = "synthetic"
    [row] = versus(base, write_run(tmp_path / "other", events)).mismatched
    assert row.reason == "the source of the weights is not the same: trained and synthetic"


def rate(name: str, rounds: list[float]) -> Side:
    found = side(name, [rounds])
    timed = [replace(timed, metric="throughput", unit="tokens/s") for timed in found.timed.values()]
    return replace(found, timed={(timed[0].cell, "throughput"): timed[0]})


def test_fewer_tokens_a_second_are_slower() -> None:
    result = compare([rate("a", noisy(1, 12, 0.01, 100.0)), rate("b", noisy(2, 12, 0.01, 50.0))], RULE)
    [row] = result.versus[0].times
    assert row.word is Change.SLOWER
    assert row.ratio == pytest.approx(2.0, rel=0.05)
    assert row.interval is not None
    assert row.interval.low < row.ratio < row.interval.high
    assert row.delta == 1.0


def test_times_with_too_few_rounds_to_matter_do_not_make_the_others_stricter() -> None:
    # Four rounds can show nothing; twelve rounds can.
    base = side("base", [*(noisy(i, 4, 0.2) for i in range(10)), noisy(20, 12), noisy(21, 12)])
    other = side("other", [*(noisy(i + 50, 4, 0.2) for i in range(10)), noisy(22, 12, centre=1.5), noisy(23, 12)])
    result = compare([base, other], RULE)
    rows = result.versus[0].times
    assert result.tests == 2
    assert [row.p_adjusted is None for row in rows] == [True] * 10 + [False] * 2
    assert rows[10].p is not None
    assert rows[10].p_adjusted == pytest.approx(2 * rows[10].p)
    assert "no difference, however large, could be told from chance" in rows[0].why


def test_five_steady_rounds_may_be_the_same() -> None:
    times = [noisy(i, 5, 0.005) for i in range(40)]
    result = compare([side("base", times), side("other", [noisy(i + 50, 5, 0.005) for i in range(40)])], RULE)
    assert result.tests == 40
    assert {row.word for row in result.versus[0].times} == {Change.SAME}
