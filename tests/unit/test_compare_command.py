"""`plimsoll compare` as a user meets it: what it prints, what it writes, what it exits with."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

from plimsoll.cli import main
from plimsoll.evidence.encoding import measurement_fields
from plimsoll.evidence.events import Event
from plimsoll.judge.judgement import Measurement
from plimsoll.present.foreign_text import printable
from plimsoll.present.html import own_escape
from tests.support.compare_runs import benchmark_file, load_cell, noisy, timed_events, timed_run, write_run
from tests.support.run_events import HOSTILE, NODE, cell, crash, finish, line, measured, report
from tests.support.schemas import validator


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object) -> Done:
    """Run `plimsoll compare` in this process: numpy takes a while to import, and there are many tests."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(["compare", *map(str, arguments)])
        except SystemExit as error:
            status = int(error.code or 0)
    return Done(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())


def seconds(seed: int, count: int = 19, slower: float = 1.0) -> dict[str, list[float]]:
    """Twelve variants at 5 % noise; the last is slower."""
    times = {f"model-{i}/nf4": noisy(100 * seed + i, count) for i in range(12)}
    times["model-11/nf4"] = [slower * value for value in times["model-11/nf4"]]
    return times


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return timed_run(tmp_path, "base", seconds(1), memory={"model-0/nf4": 10**9})


def test_a_planted_slow_down_is_found_and_nothing_else(base: Path, tmp_path: Path) -> None:
    other = timed_run(tmp_path, "other", seconds(2, slower=1.15), memory={"model-0/nf4": 10**9})
    done = run(base, other, "--fail-on=slower")
    assert (done.returncode, done.stderr) == (1, "")
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r"  model-\d+/nf4 +cold", line)]
    assert len(rows) == 12
    assert [row[0] for row in rows if row[2] in ("slower", "faster")] == ["model-11/nf4"]
    assert done.stdout.splitlines()[-1] == "fails on slower: other: 1 time slower"
    assert "other against base: times: 1 slower, " in done.stdout


def test_planted_noise_alone_raises_no_alarm(base: Path, tmp_path: Path) -> None:
    other = timed_run(tmp_path, "other", seconds(2), memory={"model-0/nf4": 10**9})
    done = run(base, other, "--fail-on=slower,memory,outcome,missing", "--allow-undecided")
    assert (done.returncode, done.stderr) == (0, "")
    assert "slower," not in done.stdout.splitlines()[-1]
    assert "memory: 1 same" in done.stdout.splitlines()[-1]


def test_few_rounds_are_never_the_same_and_the_number_that_it_takes_is_named(tmp_path: Path) -> None:
    folders = [timed_run(tmp_path, name, {"a/nf4": [1.0, 1.0, 1.0]}) for name in ("base", "other")]
    done = run(*folders, "--fail-on=slower")
    assert done.returncode == 6
    assert "1 time with too few samples; to find a change of 10% takes 32 rounds a side, " in done.stdout
    assert "to show that a time is within 5% takes 87 (at " in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "undecided: 1 time with too few samples to rule out slower ones; with 3 of a side no slow-down, however large, "
        "could be found: take 32 rounds (--load-rounds=32), or use --allow-undecided"
    )
    assert run(*folders, "--fail-on=slower", "--allow-undecided").returncode == 0
    assert run(*folders, "--fail-on=outcome").returncode == 0
    assert run(*folders).returncode == 0


def test_steady_times_are_the_same(tmp_path: Path) -> None:
    folders = [timed_run(tmp_path, n, {"a/nf4": noisy(s, 9, 0.01)}) for s, n in enumerate(("base", "other"))]
    done = run(*folders, "--fail-on=slower", "--quiet")
    assert (done.returncode, done.stdout) == (0, "other against base: times: 1 same; memory: none in common\n")


def broken(tmp_path: Path, name: str) -> Path:
    """A run in which a question that passed before fails."""
    talks = cell("test_talks")
    failed = [report(talks, "setup"), report(talks, "call", "failed", crash("no")), report(talks, "teardown")]
    events = timed_events({"a/nf4": [1.0]}, run_id=name, cells=[talks], others=failed)
    return write_run(tmp_path / name, [*events[:-1], finish(1)])


def sound(tmp_path: Path, name: str, memory: int = 10**9) -> Path:
    talks = cell("test_talks")
    passed = [report(talks, when) for when in ("setup", "call", "teardown")]
    return timed_run(tmp_path, name, {"a/nf4": [1.0]}, memory={"a/nf4": memory}, cells=[talks], others=passed)


def test_the_page_says_large_what_became_of_the_verdict_and_each_cause_once(tmp_path: Path) -> None:
    names = [f"test_{n}" for n in range(32)]
    cells = [cell(name) for name in names]
    good = [report(one, when) for one in cells for when in ("setup", "call", "teardown")]
    bad = [report(one, "setup", "failed", crash("the folder is damaged")) for one in cells]
    base = timed_run(tmp_path, "base", {"a/nf4": [1.0]}, cells=cells, others=good)
    events = timed_events({"a/nf4": [1.0]}, run_id="other", cells=cells, others=bad)
    page = tmp_path / "c.html"
    done = run(base, write_run(tmp_path / "other", [*events[:-1], finish(1)]), f"--html={page}")
    text = page.read_text()
    assert (
        '<section class="plimsoll-verdict plimsoll-tone-bad"><h1><span class="plimsoll-word">ACCEPTED → REJECTED<'
        in text
    )
    assert text.count("the folder is damaged") == 1
    assert "and 31 more for the same reason" in text
    assert all(name in text for name in names)
    assert 'data-head="reason"' in text
    assert done.stdout.count("the folder is damaged") == 32


VERDICT = "the verdict went from ACCEPTED to REJECTED"
LOST = "1 outcome lost; 1 missing; verdict: ACCEPTED became REJECTED"


@pytest.mark.parametrize(
    ("words", "status", "last"),
    [
        ("outcome", 1, f"fails on outcome: other: 1 check lost a good outcome, {VERDICT}"),
        ("missing", 1, "fails on missing: other: 1 missing"),
        (
            "memory",
            6,
            "undecided: other has no memory figure in common with base, so nothing was held against --fail-on=memory; "
            "compare runs that have, leave memory out, or use --allow-undecided",
        ),
        ("outcome,missing", 1, "fails on missing: other: 1 missing"),
    ],
)
def test_fail_on_decides_the_exit_status(tmp_path: Path, words: str, status: int, last: str) -> None:
    done = run(sound(tmp_path, "base"), broken(tmp_path, "other"), f"--fail-on={words}")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (status, last)


@pytest.mark.parametrize(
    ("words", "lacks"),
    [
        ("slower", ("time",)),
        ("memory", ("memory figure",)),
        ("slower,memory,outcome,missing", ("time", "memory figure")),
        ("numerics", ("digest of logits",)),
        ("outcome,missing", ()),
    ],
)
def test_a_condition_that_nothing_could_be_held_against_is_not_met_and_not_green(
    tmp_path: Path, words: str, lacks: tuple[str, ...]
) -> None:
    folders = []
    for name in ("base", "other"):
        talks = cell("test_talks")
        passed = [report(talks, when) for when in ("setup", "call", "teardown")]
        unset = measurement_fields(Measurement(metric="ram_peak", value=None, reason="no VmHWM here"))
        figure = line(Event.MEASUREMENT, cell=talks.id, **unset)
        folders.append(timed_run(tmp_path, name, {}, cells=[talks], others=[*passed, figure]))
    done = run(*folders, f"--fail-on={words}", "--quiet")
    assert done.returncode == (6 if lacks else 0)
    said = done.stdout.splitlines()[1:]
    assert [text.partition(" in common")[0] for text in said] == [f"undecided: other has no {lack}" for lack in lacks]
    # Digests are there wherever the same checks were asked: nothing excuses them.
    excused = run(*folders, f"--fail-on={words}", "--quiet", "--allow-undecided")
    assert (excused.returncode, len(excused.stdout.splitlines())) == ((6, 2) if words == "numerics" else (0, 1))


def test_files_without_checks_have_no_outcome_to_fail_on(tmp_path: Path) -> None:
    folders = [benchmark_file(tmp_path / f"{name}.json", {"f": [1.0] * 9}) for name in ("base", "other")]
    done = run(*folders, "--fail-on=outcome")
    assert (done.returncode, run(*folders, "--fail-on=missing").returncode) == (6, 0)
    assert " has no check in common with " in done.stdout.splitlines()[-1]


def test_words_of_a_second_fail_on_are_added_to_those_of_the_first(tmp_path: Path) -> None:
    folders, file = (sound(tmp_path, "base"), broken(tmp_path, "other")), tmp_path / "comparison.json"
    for order in (("missing", "memory,missing"), ("memory", "missing")):
        asked = [f"--fail-on={words}" for words in order]
        done = run(*folders, *asked, f"--json={file}")
        assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "fails on missing: other: 1 missing")
        assert sorted(json.loads(file.read_text())["fail_on"]) == ["memory", "missing"]
    wrong = run(*folders, "--fail-on=missing", "--fail-on=slow")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "argument --fail-on: --fail-on knows no 'slow'" in wrong.stderr


def test_more_memory_fails_where_it_was_asked_for(tmp_path: Path) -> None:
    base, other = sound(tmp_path, "base"), sound(tmp_path, "other", memory=2 * 10**9)
    done = run(base, other, "--fail-on=memory")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "fails on memory: other: 1 memory figure more")
    assert run(other, base, "--fail-on=memory").returncode == 0


def test_what_can_no_longer_be_compared_counts_as_missing(tmp_path: Path) -> None:
    base = timed_run(tmp_path, "base", {"a/nf4": [1.0]})
    other = timed_run(tmp_path, "other", {"a/nf4": [1.0]}, options={"timer": "perf_counter"})
    done = run(base, other, "--fail-on=missing")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "fails on missing: other: 1 no longer comparable")
    assert "the clock is not the same: LoadClock and perf_counter" in done.stdout


def test_runs_with_nothing_in_common_are_not_green(tmp_path: Path) -> None:
    first, second = (benchmark_file(tmp_path / f"{n}.json", {n: [1.0] * 9}) for n in "ab")
    done = run(first, second)
    assert done.returncode == 5
    assert done.stdout.splitlines()[-1] == "nothing in common: nothing was compared"
    for letter in "ab":
        assert re.search(rf"^  {letter} +time +not in the file$", done.stdout, re.MULTILINE)


def test_files_of_pytest_benchmark_are_compared(tmp_path: Path) -> None:
    first = benchmark_file(tmp_path / "before.json", {"x": noisy(1, 9, 0.01)})
    second = benchmark_file(tmp_path / "after.json", {"x": noisy(2, 9, 0.01, centre=1.2)})
    done = run(first, second, "--fail-on=slower")
    assert done.returncode == 1
    assert "no outcomes to compare: a file of pytest-benchmark holds none" in done.stdout


def test_short_times_are_printed_in_short_units(tmp_path: Path) -> None:
    first, second = (
        benchmark_file(tmp_path / f"{n}.json", {"x": [2.5e-6] * 5, "y": [4e-9] * 5, "z": [0.0123] * 5}) for n in "ab"
    )
    page = tmp_path / "c.html"
    text = run(first, second, f"--html={page}").stdout
    for expected in ("2.5 µs", "4 ns", "12.3 ms"):
        assert text.count(f"  {expected}") == 2
        assert f"{expected} → {expected} (+0.0%)" in page.read_text()


def test_every_other_run_is_held_against_the_first_and_all_are_corrected_together(base: Path, tmp_path: Path) -> None:
    others = [timed_run(tmp_path, f"o{i}", seconds(i + 2, slower=1.15 if i else 1.0)) for i in range(2)]
    done = run(base, *others, "--json", tmp_path / "c.json")
    data = json.loads((tmp_path / "c.json").read_text())
    assert [v["other"] for v in data["versus"]] == ["o0", "o1"]
    assert data["tests"] == 24
    assert "o0 against base: " in done.stdout
    assert "o1 against base: times: 1 slower" in done.stdout
    for time in data["versus"][1]["times"]:
        if time["word"] == "slower":
            assert time["p_adjusted"] == pytest.approx(24 * time["p"])


def test_like_runs_are_named_and_learnt_from(base: Path, tmp_path: Path) -> None:
    other = timed_run(tmp_path, "other", seconds(2, slower=1.15), memory={"model-0/nf4": 10**9})
    likes = [timed_run(tmp_path, f"like{i}", seconds(i + 3)) for i in range(2)]
    done = run(base, other, *(f"--like={like}" for like in likes))
    assert re.search(r"^  D +like1 +run +ACCEPTED +like the base +12$", done.stdout, re.MULTILINE)
    assert "like runs (base, like0, like1) " in done.stdout
    assert "other against base: times: 1 slower" in done.stdout


def test_what_differs_between_the_machines_comes_first(base: Path, tmp_path: Path) -> None:
    other = timed_run(tmp_path, "other", seconds(2), node=replace(NODE, driver="580.2"))
    lines = run(base, other).stdout.splitlines()
    driver = next(i for i, line in enumerate(lines) if line.split() == ["driver", "570.1", "580.2"])
    assert driver < next(i for i, line in enumerate(lines) if "times" in line and line.startswith("B against A"))


def test_unlike_machines_are_refused_and_forced_ones_say_so(base: Path, tmp_path: Path) -> None:
    other = timed_run(tmp_path, "other", seconds(2), node=replace(NODE, gpus=()))
    done = run(base, other)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "plimsoll: error: base and other are not from like machines: base has 1 x NVIDIA H200 with 140 GiB, "
        "other has no GPU; use --force-unlike to compare them all the same\n"
    )
    forced = run(base, other, "--force-unlike")
    assert forced.returncode == 0
    assert "compared all the same, though base has 1 x NVIDIA H200" in forced.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--fail-on=slow"],
            "--fail-on knows no 'slow'; give one or more of slower, memory, outcome, numerics, missing",
        ),
        (["--fail-on=,"], "--fail-on needs a word to fail on"),
        (["--margin=0"], "argument --margin: must be a number from 0.001 to 99.999, not '0'"),
        (["--alpha=200"], "argument --alpha: must be a number from 0.001 to 99.999, not '200'"),
        (["--html=/dev/null/x.html"], "/dev/null/x.html could not be written (Not a directory)"),
    ],
)
def test_a_mistake_is_one_message_and_status_two(base: Path, tmp_path: Path, options: list[str], message: str) -> None:
    done = run(base, timed_run(tmp_path, "other", seconds(2)), *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_of_a_run_stands_for_the_run(base: Path, tmp_path: Path) -> None:
    other = timed_run(tmp_path, "other", seconds(2, slower=1.15))
    for folder in (base, other):
        (folder / "results.json").write_text("{}")
    done = run(base / "results.json", other / "results.json", "--quiet", "--fail-on=slower")
    assert (done.returncode, done.stderr) == (1, "")


def test_damaged_evidence_is_refused_with_the_option_that_reads_it(base: Path, tmp_path: Path) -> None:
    other = timed_run(tmp_path, "other", seconds(2))
    with (other / "evidence.jsonl").open("a") as file:
        file.write("{")
    done = run(base, other)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"plimsoll: error: the evidence of {other} is damaged: ")
    assert run(base, other, "--allow-damaged").returncode == 0


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison with something in every section, and hostile text wherever there is text."""
    folder = tmp_path_factory.mktemp("written")
    talks = cell("test_talks")
    passed = [report(talks, when) for when in ("setup", "call", "teardown")]
    failed = [report(talks, "setup"), report(talks, "call", "failed", crash(HOSTILE)), report(talks, "teardown")]
    times = {**seconds(1), f"$x^2$ {HOSTILE}/nf4": noisy(7, 19)}
    slower = {**seconds(2, slower=1.3), f"$x^2$ {HOSTILE}/nf4": noisy(8, 19, centre=1.4), "new/nf4": [1.0]}
    base = timed_events({**times, "gone/nf4": [1.0]}, memory={"a/nf4": 10**9}, cells=[talks], others=passed)
    other = timed_events(
        slower,
        run_id=HOSTILE,
        memory={"a/nf4": 3 * 10**9},
        cells=[talks],
        others=failed,
        node=replace(NODE, driver=f"580 {HOSTILE}"),
    )
    write_run(folder / "base", base)
    write_run(folder / "other", [*other[:-1], finish(1)])
    files = [f"--{kind}={folder / 'c'}.{end}" for kind, end in (("html", "html"), ("markdown", "md"), ("json", "json"))]
    done = run(folder / "base", folder / "other", "--fail-on=slower,memory,outcome,missing", *files)
    assert (done.returncode, done.stderr) == (1, "")
    (folder / "out.txt").write_text(done.stdout)
    return folder


def test_the_json_file_follows_its_schema(written: Path) -> None:
    data = json.loads((written / "c.json").read_text())
    validator("comparison").validate(data)
    [versus] = data["versus"]
    assert {row["word"] for row in versus["times"]} >= {"slower", "too few samples"}
    assert all(versus[section] for section in ("times", "memory", "missing", "added", "outcomes"))
    assert data["exit_status"] == 1
    assert [f["condition"] for f in data["findings"]] == ["slower", "memory", "outcome", "missing"]


@pytest.mark.parametrize("change", ["word", "schema", "extra", "interval"])
def test_the_schema_refuses_what_is_not_so(written: Path, change: str) -> None:
    data = json.loads((written / "c.json").read_text())
    time = next(row for row in data["versus"][0]["times"] if row["word"] == "slower")
    match change:
        case "word":
            time["word"] = "slow"
        case "schema":
            data["schema"] = "plimsoll/comparison/2"
        case "extra":
            data["mood"] = "good"
        case "interval":
            time["interval"] = None
    with pytest.raises(jsonschema.ValidationError):
        validator("comparison").validate(data)


class Page(HTMLParser):
    """The elements of a page, and that each is closed."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_lets_no_text_become_markup(written: Path) -> None:
    text = (written / "c.html").read_text()
    page = Page(text)
    assert page.open == []
    tags = [tag for tag, _ in page.seen]
    assert tags.count("script") == 1, "our own, which reads no text but to show it"
    assert "link" not in tags
    assert "img" not in tags
    for tag, attributes in page.seen:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), f"{tag} names something outside of the page"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\x1b" not in text
    assert "prefers-color-scheme: dark" in text


def charts_of(text: str) -> dict[str, list[tuple[str, str]]]:
    """Title of each chart -> its rows: the label, and the mark-up of the row."""
    found = {}
    for part in text.split('<div class="plimsoll-bars"')[1:]:
        title = re.search(r'aria-label="(.*?) of \d+ figure', part)
        assert title is not None
        rows = re.findall(r"<li[^>]*><span>(.*?)</span>(.*?)</li>", part.partition("</ol>")[0], re.DOTALL)
        found[title.group(1)] = rows
    return found


def test_each_metric_has_a_chart_of_before_and_after_with_the_interval(written: Path) -> None:
    charts = charts_of((written / "c.html").read_text())
    assert list(charts) == ["Cold load time", "Peak RAM"]
    [first, *others] = charts["Cold load time"]
    assert {label for label, _ in (first, *others)} == {*(f"model-{n}/nf4" for n in range(12)), escaped_variant()}
    slower = dict([first, *others])["model-11/nf4"]
    assert 'class="v bad"' in slower
    assert " → " in slower
    assert re.search(r"before \d.* s; after \d.* s; ratio 1\.\d+; interval 1\.\d+ to 1\.\d+; .*; slower", slower)
    low, high, start, end = places(slower)
    assert start == 500 < low < end < high, "from as before to the ratio, within its interval"
    [(_, memory)] = charts["Peak RAM"]
    assert "1 GB → 3 GB (+200.0%)" in memory
    assert 'class="d"' not in memory, "one value has no interval"


def escaped_variant() -> str:
    return own_escape(printable(f"$x^2$ {HOSTILE}/nf4"))


def places(row: str) -> tuple[int, int, int, int]:
    """Where the interval begins and ends, and the bar."""
    band = re.search(r'class="d" d="M(\d+) 2H(\d+)V', row)
    bar = re.search(r'class="v [a-z]+" d="M(\d+) 6H(\d+)V', row)
    assert band is not None
    assert bar is not None
    return int(band[1]), int(band[2]), int(bar[1]), int(bar[2])


def test_the_page_of_a_comparison_needs_no_library_that_draws(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    other, page = timed_run(tmp_path, "other", seconds(2)), tmp_path / "c.html"
    assert run(base, other, f"--html={page}").stderr == ""
    assert "plimsoll-bars" in page.read_text()


def test_markdown_says_all_and_escapes_what_it_did_not_write(written: Path) -> None:
    text = (written / "c.md").read_text()
    assert text.startswith("# Comparison\n\n- ")
    assert "- **fails on slower**: " in text
    assert "<script" not in text.replace("\\<script", "")
    assert "\x1b" not in text
    assert "| driver | 570.1 | 580 " in text
    assert text.count("<details>") == text.count("</details>")
    # What a reader must see is not folded away.
    assert text.index("| model-11/nf4 | cold_load_time | slower |") < text.index("<details>")
    assert "| gone/nf4 | 1 whole check: test_cold_load_time | not in the plan |" in text


def test_a_terminal_is_not_driven_by_what_files_say(written: Path) -> None:
    text = (written / "out.txt").read_text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert not [line for line in text.splitlines() if line.startswith("ACCEPTED")]


def test_the_same_files_give_the_same_bytes_in_every_order_of_cells(base: Path, tmp_path: Path) -> None:
    other = timed_run(tmp_path, "other", seconds(2, slower=1.15))
    for name in ("one", "two"):
        run(base, other, f"--html={tmp_path / name}.html", f"--json={tmp_path / name}.json")
    for end in ("html", "json"):
        assert (tmp_path / f"one.{end}").read_bytes() == (tmp_path / f"two.{end}").read_bytes()
    turned = timed_run(tmp_path / "turned", "base", dict(reversed(seconds(1).items())))
    run(turned, other, f"--json={tmp_path / 'turned'}.json")
    first, second = (json.loads((tmp_path / f"{n}.json").read_text())["versus"][0]["times"] for n in ("one", "turned"))
    assert sorted(first, key=lambda row: str(row["cell"])) == sorted(second, key=lambda row: str(row["cell"]))


def test_baselines_are_compared_by_name(tmp_path: Path) -> None:
    kept = tmp_path / "baselines" / "nvidia-h200" / "570.1" / "v1"
    write_run(kept, timed_events({"a/nf4": noisy(1, 9, 0.01)}))
    timed_run(tmp_path, "new", {"a/nf4": noisy(2, 9, 0.01)})
    done = run("baseline:v1", "new", "--report-dir", tmp_path, "--quiet")
    assert (done.returncode, done.stdout) == (0, "new against base: times: 1 same; memory: none in common\n")


def test_more_than_one_question_of_a_variant_is_told_apart(tmp_path: Path) -> None:
    folders = []
    for name in ("base", "other"):
        asks = [cell(q, "a/nf4", subject="memory") for q in ("test_one", "test_two")]
        more = [measured(ask, "ram_after", 10**9) for ask in asks]
        folders.append(timed_run(tmp_path, name, {"a/nf4": [1.0]}, cells=asks, others=more))
    text = run(*folders).stdout
    assert "a/nf4 test_one " in text
    assert "a/nf4 test_two " in text
    assert load_cell("a/nf4").id not in text


def test_cells_of_the_same_name_in_two_files_are_told_apart(tmp_path: Path) -> None:
    times = {"x": [1.0] * 9}
    first, second = (benchmark_file(tmp_path / f"{n}.json", times) for n in "ab")
    content = json.loads(first.read_text())
    content["benchmarks"] += [{**content["benchmarks"][0], "fullname": f"{name}.py::y"} for name in ("one", "two")]
    first.write_text(json.dumps(content))
    text = run(first, second).stdout
    assert "one.py::y" in text
    assert "two.py::y" in text
