"""junit.xml as CI servers read it: the figures of each testcase, in runs and replays alike, no secret, and on demand
nothing that the strict schema does not know."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll.evidence.encoding import encode, judgement_fields
from plimsoll.judge.judgement import Limit, Measurement, judge
from plimsoll.redaction import REDACTED
from plimsoll.report.junit import finished, properties
from tests.process.test_replay import replay
from tests.support.run_events import (
    HOSTILE,
    RUN_ID,
    cell,
    crash,
    good_cell,
    good_run,
    judged,
    numbered,
    report,
    run_of_every_outcome,
    write_events,
)
from tests.support.subsession import Outcome, run_suite

TOKEN = "acme-0123456789abcdef"

# What the schema of Jenkins' xUnit plugin (junit-10.xsd, which pytest names for its family xunit2) lets stand where:
# element -> children, attributes that must be there, attributes that may be.
STRICT: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"testsuite"}, set(), {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
    ),
    "testcase": (
        {"skipped", "error", "failure", "system-out", "system-err"},
        {"name"},
        {"time", "classname", "group"},
    ),
    "properties": ({"property"}, set(), set()),
    "property": (set(), {"name", "value"}, set()),
    "system-out": (set(), set(), set()),
    **{tag: (set(), set(), {"type", "message"}) for tag in ("skipped", "error", "failure")},
}


def parsed(path: Path) -> ET.Element:
    return ET.parse(path).getroot()  # noqa: S314  our own file


def breaches(element: ET.Element) -> Iterator[str]:
    """What the strict schema would refuse."""
    children, required, optional = STRICT[element.tag]
    given = set(element.attrib)
    yield from (f"{element.tag} has no {name}" for name in required - given)
    yield from (f"{element.tag} has {name}" for name in given - required - optional)
    for child in element:
        if child.tag in children:
            yield from breaches(child)
        else:
            yield f"{child.tag} in {element.tag}"


def figures_of(path: Path) -> dict[str, dict[str, str]]:
    """Name of each testcase -> its properties."""
    return {
        case.attrib["name"]: {p.attrib["name"]: p.attrib["value"] for p in case.iterfind("properties/property")}
        for case in parsed(path).iter("testcase")
    }


def lines_of(path: Path) -> dict[str, list[str]]:
    """Name of each testcase -> the lines of its output."""
    return {
        case.attrib["name"]: (case.findtext("system-out") or "").splitlines() for case in parsed(path).iter("testcase")
    }


def facts_of(path: Path) -> dict[str, str]:
    suite = next(parsed(path).iter("testsuite"))
    return {p.attrib["name"]: p.attrib["value"] for p in suite.iterfind("properties/property")}


def expected(results: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What results.json says of each cell, as the properties should."""
    found = {}
    for one in results["cells"]:
        figures: dict[str, str] = {}
        for judgement in one["judgements"]:
            for field in ("value", "unit", "low", "high", "source", "outcome"):
                if judgement[field] is not None:
                    figures[f"{judgement['metric']}.{field}"] = str(judgement[field])
        found[one["id"].rpartition("::")[2]] = figures
    return found


def test_each_testcase_holds_what_results_json_says_of_it(recorded: Outcome) -> None:
    figures = figures_of(recorded.folder / "junit.xml")
    wanted = expected(recorded.results)
    assert figures.keys() == wanted.keys()
    assert len(wanted) == 4
    for name, fields in wanted.items():
        assert fields.items() <= figures[name].items(), name
        assert len(lines_of(recorded.folder / "junit.xml")[name]) == 1
    load = figures["test_warm_load_time[tiny-llama/bf16]"]
    assert set(load) == {f"warm_load_time.{f}" for f in ("value", "unit", "high", "source", "margin", "outcome")}
    assert float(load["warm_load_time.value"]) > 0
    (line,) = lines_of(recorded.folder / "junit.xml")["test_warm_load_time[tiny-llama/bf16]"]
    assert line.startswith("pass: warm_load_time ")
    facts = facts_of(recorded.folder / "junit.xml")
    assert (facts["plimsoll.run"], facts["plimsoll.verdict"]) == (recorded.folder.name, "ACCEPTED")
    assert facts["plimsoll.statement"] == recorded.output.splitlines()[-1]
    assert "node.CPU" in facts


def test_the_figures_stand_in_evidence_once(recorded: Outcome) -> None:
    reports = [event["report"] for event in recorded.events if event["event"] == "report"]
    assert len(reports) == 12
    assert [r["user_properties"] for r in reports] == [[]] * 12


def test_a_replay_holds_the_same_figures(recorded: Outcome, tmp_path: Path) -> None:
    for name in ("first", "second"):
        replay(f"--replay={recorded.folder}", f"--report-dir={tmp_path / name}", "-q")
    again = tmp_path / "first" / "junit.xml"
    assert figures_of(again) == figures_of(recorded.folder / "junit.xml")
    assert lines_of(again) == lines_of(recorded.folder / "junit.xml")
    assert facts_of(again) == facts_of(recorded.folder / "junit.xml")
    assert again.read_bytes() == (tmp_path / "second" / "junit.xml").read_bytes()


def test_workers_and_a_file_elsewhere_make_no_difference(recorded_by_workers: Outcome) -> None:
    figures = figures_of(recorded_by_workers.reports.parent / "mine.xml")
    wanted = expected(recorded_by_workers.results)
    assert len(wanted) == 4
    assert {name: fields.items() <= figures[name].items() for name, fields in wanted.items()} == dict.fromkeys(
        wanted, True
    )
    assert not (recorded_by_workers.folder / "junit.xml").exists()


def test_cells_of_the_run_that_is_gone_on_with_keep_theirs(recorded: Outcome, tmp_path: Path) -> None:
    first = tmp_path / recorded.folder.name
    first.mkdir()
    lines = (recorded.folder / "evidence.jsonl").read_text().splitlines(keepends=True)
    last = max(i for i, text in enumerate(lines) if '"when":"teardown"' in text)
    (first / "evidence.jsonl").write_text("".join(lines[: last - 4]))
    outcome = run_suite(tmp_path, f"--resume={first.name}")
    assert outcome.status == 0, outcome.output
    figures = figures_of(outcome.folder / "junit.xml")
    assert figures.keys() == expected(recorded.results).keys()
    assert all(any(name.endswith(".value") for name in fields) for fields in figures.values())


def test_the_strict_family_has_the_lines_and_nothing_that_its_schema_does_not_know(
    recorded: Outcome, tmp_path: Path
) -> None:
    write_events(tmp_path / "run", numbered(run_of_every_outcome()))
    for run in (recorded.folder, tmp_path / "run"):
        target = tmp_path / f"{run.name}-strict"
        replay(f"--replay={run}", f"--report-dir={target}", "-q", "-o", "junit_family=xunit2")
        root = parsed(target / "junit.xml")
        assert list(breaches(root)) == []
        assert len(list(root.iter("testcase"))) > 3
        assert len(list(root.iter("system-out"))) > 1
    assert facts_of(target / "junit.xml")["plimsoll.verdict"] == "REJECTED"
    # The check itself: the family that is the default has more than this schema knows.
    assert set(breaches(parsed(recorded.folder / "junit.xml"))) == {
        *("properties in testcase", "testcase has file", "testcase has line")
    }


def test_no_secret_of_the_process_gets_into_it(trained: dict[str, Path], tmp_path: Path) -> None:
    arguments = ("-m", "tiny", "-k", "tiny-llama/bf16 and test_free_ram", "-p", "tests.support.plugins.leaky_judge")
    outcome = run_suite(tmp_path, *arguments, env={"ACME_API_KEY": TOKEN})
    assert outcome.status == 1
    text = (outcome.folder / "junit.xml").read_text()
    assert f"the answer was: Bearer {REDACTED}" in text
    assert TOKEN not in text
    assert f"the answer was: Bearer {REDACTED}" in outcome.output
    assert TOKEN not in outcome.output


def test_evidence_that_holds_a_secret_leaks_it_no_further(tmp_path: Path) -> None:
    one = cell("test_one")
    hub = "hf_" + "a" * 30
    fails = [report(one, "setup"), report(one, "call", "failed", crash(f"401 for {hub}")), report(one, "teardown")]
    events = good_run([one])
    write_events(tmp_path / "run", numbered([*events[:3], *fails, *events[-1:]]))
    replay(f"--replay={tmp_path / 'run'}", "-q")
    text = (tmp_path / "run" / "junit.xml").read_text()
    assert f"401 for {REDACTED}" in text
    assert hub not in text


def test_text_of_models_stays_text(tmp_path: Path) -> None:
    one = cell("test_one", measures=["load_time"])
    events = good_run([one])
    events[3:-1] = [
        report(one, "setup"),
        judged(one, "load_time", None, 2.0, reason=f"{HOSTILE}\x00\ufffe"),
        report(one, "call", "failed", crash(HOSTILE)),
        report(one, "teardown"),
    ]
    write_events(tmp_path / RUN_ID, numbered(events))
    replay(f"--replay={tmp_path / RUN_ID}", "-q")
    figures = figures_of(tmp_path / RUN_ID / "junit.xml")["test_one[tiny-llama/nf4]"]
    assert "load_time.value" not in figures
    assert figures["load_time.outcome"] == "unset"
    assert figures["load_time.reason"].startswith(
        "<script>alert(1)</script>|`x`\\x1b[2J\\u202e ACCEPTED over everything"
    )


def test_a_file_that_nobody_could_read_is_told_and_the_verdict_stands(tmp_path: Path) -> None:
    write_events(tmp_path / "run", numbered(good_run([cell("test_one")])))
    done = replay(f"--replay={tmp_path / 'run'}", "--junit-prefix=\x01")
    assert done.returncode == 6
    assert "a report could not be written: " in done.stdout
    assert "junit.xml is no XML that others can read: not well-formed" in done.stdout
    assert done.stdout.splitlines()[-1] == "ACCEPTED over -m tiny: 1 of 1 check passed"


def test_several_limits_and_values_that_are_no_numbers_are_told_apart() -> None:
    low, high = Limit(metric="vram_peak", low=1.0, source="a"), Limit(metric="vram_peak", high=2.0, source="b")
    nan, none = Measurement(metric="vram_peak", value=math.nan), Measurement(metric="vram_peak", value=None, reason="r")
    fields = [encode(judgement_fields(judge(value, limit))) for value, limit in ((nan, low), (none, high))]
    found = dict(properties(fields))
    del found["plimsoll.line"]
    assert found == {
        "vram_peak.value": "NaN",
        "vram_peak.unit": "bytes",
        "vram_peak.low": "1.0",
        "vram_peak.source": "a",
        "vram_peak.margin": "0.0",
        "vram_peak.outcome": fields[0]["outcome"],
        "vram_peak.2.unit": "bytes",
        "vram_peak.2.reason": "r",
        "vram_peak.2.high": "2.0",
        "vram_peak.2.source": "b",
        "vram_peak.2.margin": "0.0",
        "vram_peak.2.outcome": "unset",
    }


def test_properties_of_others_are_left_alone() -> None:
    text = (
        '<testsuites><testsuite name="s"><properties><property name="a" value="1"/></properties>'
        '<testcase name="t"><properties><property name="mine" value="2"/></properties></testcase>'
        "</testsuite></testsuites>"
    )
    done = finished(text, [("b", "3")], str, strict=False)
    assert '<property name="a" value="1" /><property name="b" value="3" /></properties><testcase' in done
    assert '<property name="mine" value="2" />' in done
    assert "mine" not in finished(text, [], str, strict=True)
    with pytest.raises(ValueError, match="unclosed token"):
        finished("<a", [], str, strict=False)


def test_a_cell_that_passes_without_figures_has_none(tmp_path: Path) -> None:
    write_events(tmp_path / "run", numbered([*good_run([cell("test_one")])[:3], *good_cell(cell("test_one"))]))
    replay(f"--replay={tmp_path / 'run'}", "-q")
    (case,) = parsed(tmp_path / "run" / "junit.xml").iter("testcase")
    assert list(case) == []
