"""What can be compared and what cannot be read: each damage is one clear error, and nothing is half believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plimsoll.compare.benchmark_file import read_benchmark_file
from plimsoll.compare.finding import find_source, read_side
from plimsoll.compare.run_side import read_run_side, side_of_run
from plimsoll.compare.side import SideKind
from plimsoll.errors import PlimsollError
from plimsoll.evidence.events import Event
from plimsoll.verdict.cells import CellOutcome
from tests.support.compare_runs import benchmark_file, benchmark_row, load_cell, timed_events, timed_run, write_run
from tests.support.run_events import cell, crash, finish, good_run, line, measured, recorded, report

ROUNDS = [1.0, 1.1, 1.2, 1.3, 1.4]


def spoilt(path: Path, spoil: Callable[[dict[str, Any]], None]) -> Path:
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    return path


def test_a_run_gives_its_rounds_its_figures_its_outcomes_and_its_machine(tmp_path: Path) -> None:
    found = read_side(timed_run(tmp_path, "base", {"tiny-llama/nf4": ROUNDS}, memory={"tiny-llama/nf4": 10**9}))
    assert (found.kind, found.name, found.verdict) == (SideKind.RUN, "base", "ACCEPTED")
    timed = found.timed[load_cell("tiny-llama/nf4").id, "cold_load_time"]
    assert (timed.rounds, timed.median, timed.unit, timed.variant) == (tuple(ROUNDS), 1.2, "s", "tiny-llama/nf4")
    assert (timed.timer, timed.cache, timed.weights) == ("LoadClock", "cold", "trained")
    figure = found.figures[cell("test_peak_ram").id, "ram_peak"]
    assert (figure.value, figure.unit) == (10**9, "bytes")
    assert found.cells is not None
    assert found.cells[load_cell("tiny-llama/nf4").id].outcome is CellOutcome.PASS
    assert found.machine.gpus == ("NVIDIA H200 with 140 GiB",)
    assert found.machine.cpu == "EPYC"
    assert found.machine.facts["driver"].text == "570.1"
    assert found.machine.facts["catalogue catalogue/tiny.toml"].text == "SHA-256 000000000000"
    assert found.machine.facts["package bitsandbytes"].text == "none"
    assert found.machine.facts["weights"].text == "trained"


def test_the_measurement_that_repeats_the_rounds_is_not_compared_twice_and_free_memory_is_not_compared(
    tmp_path: Path,
) -> None:
    more = [measured(load_cell("a/nf4"), "cold_load_time", 1.2), measured(load_cell("a/nf4"), "free_ram", 10**9)]
    found = read_side(timed_run(tmp_path, "base", {"a/nf4": ROUNDS}, others=more))
    assert list(found.timed) == [(load_cell("a/nf4").id, "cold_load_time")]
    assert not found.figures


def test_a_time_that_was_taken_once_is_one_round(tmp_path: Path) -> None:
    found = read_side(timed_run(tmp_path, "base", {}, others=[measured(load_cell("a/nf4"), "load_time", 3.0)]))
    assert found.timed[load_cell("a/nf4").id, "load_time"].rounds == (3.0,)


def test_rounds_of_a_cell_that_was_timed_twice_are_pooled_and_that_is_said(tmp_path: Path) -> None:
    again = line(Event.BENCHMARK, cell="x", benchmark=benchmark_row(load_cell("a/nf4").id, [2.0, 2.2]))
    found = read_side(timed_run(tmp_path, "base", {"a/nf4": ROUNDS}, others=[again]))
    timed = found.timed[load_cell("a/nf4").id, "cold_load_time"]
    assert timed.rounds == (*ROUNDS, 2.0, 2.2)
    assert timed.median == 1.3
    assert found.notes[0] == f"timed more than once, their rounds are pooled: 1 check, such as {load_cell('a/nf4').id}"


def test_a_file_of_pytest_benchmark_names_its_processor_and_no_gpu(tmp_path: Path) -> None:
    found = read_side(benchmark_file(tmp_path / "a.json", {"one": ROUNDS, "two": [2.0]}))
    assert (found.kind, found.verdict, found.cells) == (SideKind.BENCHMARK_FILE, None, None)
    assert (found.machine.gpus, found.machine.cpu) == (None, "EPYC")
    assert found.timed["bench.py::one", "time"].rounds == tuple(ROUNDS)


def test_a_file_with_summaries_alone_says_so(tmp_path: Path) -> None:
    path = benchmark_file(tmp_path / "a.json", {"one": ROUNDS})
    found = read_side(spoilt(path, lambda c: c["benchmarks"][0]["stats"].pop("data")))
    assert found.timed["bench.py::one", "time"].rounds == ()
    assert found.notes == (
        "1 of 1 benchmarks hold a summary and no rounds: save with --benchmark-json or --benchmark-save-data to have "
        "them",
    )


def test_a_run_folder_without_evidence_is_read_by_its_benchmark_file(tmp_path: Path) -> None:
    benchmark_file(tmp_path / "benchmark.json", {"one": ROUNDS})
    assert read_side(tmp_path).kind is SideKind.BENCHMARK_FILE


def stats(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["benchmarks"][0]["stats"]
    return found


TAMPERED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "median": (lambda c: stats(c).update(median=0.9), "stats.median says 0.9 s, but that of its rounds is 1.2 s"),
    "a round": (lambda c: stats(c)["data"].__setitem__(2, 1.0), "but that of its rounds is 1.1 s"),
    "rounds cut": (lambda c: stats(c)["data"].pop(), "stats.rounds says 5, but there are 4"),
    "a negative time": (lambda c: stats(c)["data"].__setitem__(0, -1.0), "stats.data[0]: -1.0 is no time"),
    "a zero": (lambda c: stats(c)["data"].__setitem__(0, 0), "stats.data[0]: 0 is no time"),
    "a text": (lambda c: stats(c)["data"].__setitem__(0, "fast"), "stats.data[0]: 'fast' is no time"),
    "a truth": (lambda c: stats(c)["data"].__setitem__(0, True), "stats.data[0]: True is no time"),
    "no median": (lambda c: stats(c).pop("median"), "stats.median: None is no time"),
    "no stats": (lambda c: c["benchmarks"][0].pop("stats"), "stats: it is missing, or not a table of fields"),
    "data no list": (lambda c: stats(c).update(data={"0": 1}), "stats.data is not a list of rounds"),
    "no name": (lambda c: c["benchmarks"][0].update(name=None, fullname=7), "neither fullname nor name"),
    "row no table": (lambda c: c.update(benchmarks=[7]), "benchmarks[0]: it is missing, or not a table of fields"),
    "no benchmarks": (lambda c: c.pop("benchmarks"), "it has no list `benchmarks`"),
    "empty": (lambda c: c.update(benchmarks=[]), "holds no benchmarks"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_benchmark_file_is_one_clear_error(tmp_path: Path, name: str) -> None:
    spoil, message = TAMPERED[name]
    path = spoilt(benchmark_file(tmp_path / "a.json", {"one": ROUNDS}), spoil)
    with pytest.raises(PlimsollError) as caught:
        read_benchmark_file(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a file of pytest-benchmark: Expecting value: line 1 column 1 (char 0)"),
        (b"{", "is not a file of pytest-benchmark: Expecting property name"),
        (b"[]", "it has no list `benchmarks`"),
        (b'{"benchmarks": [NaN]}', "is not a file of pytest-benchmark: it is not JSON in UTF-8"),
        (b"\xff\xfe\x00", "is not a file of pytest-benchmark: it is not JSON in UTF-8"),
        (b"[" * 100_000, "is not a file of pytest-benchmark: it is not JSON in UTF-8"),
    ],
)
def test_what_is_no_benchmark_file_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(PlimsollError, match=r"a\.json") as caught:
        read_side(path)
    assert message in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PlimsollError, match=r"cannot be read \(No such file or directory\)"):
        read_benchmark_file(tmp_path / "none.json")


def test_damaged_evidence_is_refused_unless_the_user_wants_what_is_left(tmp_path: Path) -> None:
    folder = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    with (folder / "evidence.jsonl").open("a") as file:
        file.write('{"event": "judg')
    with pytest.raises(PlimsollError) as caught:
        read_run_side(folder)
    assert "is damaged: evidence.jsonl: line" in str(caught.value)
    assert "is half-written; use --allow-damaged" in str(caught.value)
    assert read_run_side(folder, allow_damaged=True).timed


def test_a_line_that_was_taken_out_of_the_evidence_is_missed(tmp_path: Path) -> None:
    folder = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    lines = (folder / "evidence.jsonl").read_text().splitlines(keepends=True)
    (folder / "evidence.jsonl").write_text("".join(lines[:-2] + lines[-1:]))
    with pytest.raises(PlimsollError, match="1 of 9 events of main are missing"):
        read_side(folder)


def test_a_benchmark_row_of_the_evidence_that_was_edited_is_one_clear_error(tmp_path: Path) -> None:
    folder = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    path = folder / "evidence.jsonl"
    path.write_text(path.read_text().replace('"median": 1.2', '"median": 1.0'))
    with pytest.raises(PlimsollError, match=r"base: benchmark 1 .* stats.median says 1 s"):
        read_side(folder)


def test_a_killed_run_is_compared_by_what_it_got_to(tmp_path: Path) -> None:
    events = timed_events({"a/nf4": ROUNDS})
    found = read_side(write_run(tmp_path / "killed", events[:-1]))
    assert found.verdict == "INCOMPLETE"
    assert found.timed
    assert "not accepted: the run did not finish" in found.notes[0]


def test_the_reason_of_a_failed_cell_comes_along(tmp_path: Path) -> None:
    talks = cell("test_talks")
    failed = [report(talks, "setup"), report(talks, "call", "failed", crash("it said no")), report(talks, "teardown")]
    events = timed_events({"a/nf4": ROUNDS}, cells=[talks], others=failed)
    found = read_side(write_run(tmp_path / "x", [*events[:-1], finish(1)]))
    assert found.verdict == "REJECTED"
    assert found.cells is not None
    assert found.cells[talks.id].reason == "it said no"


def test_a_name_is_a_path_a_run_id_or_latest(tmp_path: Path) -> None:
    folder = timed_run(tmp_path, "base", {"a/nf4": ROUNDS})
    (tmp_path / "latest").symlink_to("base")
    assert find_source(str(folder), tmp_path) == folder
    assert find_source("base", tmp_path) == folder
    assert find_source("latest", tmp_path) == tmp_path / "latest"
    with pytest.raises(PlimsollError, match="no run 'other'"):
        find_source("other", tmp_path)


def test_checks_that_were_renamed_pair_with_what_they_were_called(tmp_path: Path) -> None:
    old, new = cell("test_close_to_bf16"), cell("test_close_to_16_bit")
    sides = []
    for name, of in (("old", old), ("new", new)):
        record = recorded(tmp_path / name, [*good_run([of])[:-1], measured(of, "quantized_divergence", 0.1), finish()])
        sides.append(side_of_run(record))
    assert sides[0].cells is not None
    assert sides[1].cells is not None
    assert list(sides[0].cells) == list(sides[1].cells) == [new.id]
    assert list(sides[0].figures) == list(sides[1].figures) == [(new.id, "quantized_divergence")]
