"""The parts of report.html: whole, escaped, without scripts and without anything from outside of the page."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from plimsoll.evidence.encoding import judgement_fields
from plimsoll.evidence.events import Event
from plimsoll.judge.judgement import Limit, Measurement, judge
from plimsoll.report.page import css
from plimsoll.report.rows import measured_cells
from plimsoll.verdict.verdict import reach_verdict
from tests.support.pages import header
from tests.support.run_events import (
    HOSTILE,
    Line,
    cell,
    crash,
    finish,
    gate,
    good_run,
    line,
    load,
    plan,
    recorded,
    report,
    run_of_every_outcome,
    start,
)

VOID = {"br"}


class Page(HTMLParser):
    """The elements and the text of a fragment; fails on an element that is not closed in its place."""

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(fragment)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(folder: Path, events: list[Line]) -> Page:
    record = recorded(folder, events)
    return Page(header(record, reach_verdict(record)))


def test_the_header_says_what_a_reader_wants_first(tmp_path: Path) -> None:
    text = page_of(tmp_path, run_of_every_outcome()).text
    expected = [
        "REJECTED 2 of 7 checks failed, of 2 causes; the first: tiny-llama/nf4: Load time 3 s, at most 2 s (50 % outsi",
        "2 failed",
        "Scope: -m tiny",
        "REJECTED over -m tiny: 1 of 7 checks passed, 1 marginal, 2 failed, 2 skipped, 1 not run",
        "1 file could not be collected",
        "tiny-llama/nf4Slow3 sLoad timeat most 2 scatalogue/tiny.toml: claim[1]50 %docs/checks/it.md#test_slow",
        "2 checks skipped (vram): has 24 GB, needs 43 GB",
        "use <a bigger> GPU",
        "acceptance/test_it.py::test_b[tiny-mixtral/nf4-dq]",
        "GPU 0 not watchedNVIDIA H200, 151 GBHealthnot watched in this run",
        "NVIDIA H200, 150.75 GB",
        "Python 3.11.7, torch 2.13.0",
        "limits are not the shipped ones: mine.toml",
        "tiny-phi/int8 died: 9<script>alert(1)</script>",
        "0/2 (2 skipped)",
        "tiny-llama/nf43 s; also 1.95 s; limit at most 2 s, 50.0% outside [catalogue/tiny.toml: claim[1]]✗ 3 s",
        "4.00 MB",
        "Commandpytest -m tiny",
        "HF_HOME/cache",
    ]
    positions = [text.find(words) for words in expected]
    assert -1 not in positions, expected[positions.index(-1)]
    assert positions == sorted(positions)


def test_a_run_that_was_killed_at_once_has_a_header_too(tmp_path: Path) -> None:
    text = page_of(tmp_path, good_run([cell("test_it")])[:2]).text
    assert "INCOMPLETE over -m tiny: 0 of 1 check passed, 1 not run; the run did not finish" in text
    assert "The run ended before the node was recorded." in text


def hostile_claim() -> Line:
    """What a document says in markup."""
    words = {"source": HOSTILE, "quote": HOSTILE, "disputed": HOSTILE, "origin": HOSTILE, "conditions": {"x": HOSTILE}}
    return {"metric": "ram_after", "low": 1e9, "high": 2e9, "bounds": {"basis": HOSTILE, "instead": HOSTILE}, **words}


def everything_hostile() -> list[Line]:
    """A run in which every text that is not ours is hostile."""
    one, two = cell(HOSTILE, HOSTILE + "/x", subject=HOSTILE), cell("t" + HOSTILE, HOSTILE + "/y")
    node = good_run([])[2]
    node["node"]["hostname"] = node["node"]["cpu"]["model"] = HOSTILE
    return [
        start(
            selection={"mark": HOSTILE, "keyword": "", "paths": []},
            run_id=HOSTILE, plimsoll=HOSTILE, limits_are_shipped=False,
            catalogues=[{"path": HOSTILE, "shipped": False, "sha256": ""}], arguments=[HOSTILE],
        ),
        node,
        plan([one, two, cell("lost")]),
        gate(
            HOSTILE + "/y", "skip", code=HOSTILE, have=HOSTILE, need=HOSTILE, fix=HOSTILE, text=HOSTILE,
            bounds={"ram_after": {"expected": 3e6, "basis": HOSTILE}}, claims=[hostile_claim()],
        ),
        load(HOSTILE),
        *[line(Event.SAMPLE, variant=HOSTILE + "/x", pid=7, seconds=n, rss=3_000_000 + n) for n in range(3)],
        line(Event.HOST, variant=HOSTILE + "/x", pid=7, state="request", request="Generate", seconds=1.0),
        line(Event.HOST, variant=HOSTILE + "/x", pid=7, state="died", request=HOSTILE, signal=HOSTILE, seconds=1.0,
             reason=HOSTILE, stack=HOSTILE, stderr=[HOSTILE]),
        report(one, "call", "failed", crash(HOSTILE)),
        report(two, "setup", "skipped", ["x", 1, HOSTILE]),
        line(Event.COLLECT_ERROR, nodeid=HOSTILE, text=HOSTILE),
        finish(2, interrupted=True, reason=HOSTILE),
    ]  # fmt: skip


def test_no_text_becomes_markup(tmp_path: Path) -> None:
    page = page_of(tmp_path, everything_hostile())
    ours = {"div", "section", "h2", "h3", "p", "ul", "li", "span", "code", "pre", "details", "summary"}
    tables = {"table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "br", "q", "i", "b", "h4", "nav", "a"}
    drawings = {"figure", "figcaption", "svg", "title", "path", "strong"}
    assert set(page.elements) == ours | tables | drawings
    plain = {"class", "title", "scope", "open", "role", "tabindex", "aria-label", "id", "href"}
    drawn = {"style", "viewbox", "preserveaspectratio", "d", "data-unit"}
    assert {name for name, _ in page.attributes} == plain | drawn
    assert {str(value)[:1] for name, value in page.attributes if name == "href"} == {"#"}, "links stay on the page"
    assert page.text.count("<script>alert(1)</script>") > 40
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text


def fields(value: float | None, **limit: object) -> Line:
    bounds = Limit(metric="ram_peak", source=f"<b>{HOSTILE}</b>", **limit)  # type: ignore[arg-type]
    reason = "<i>no answer</i>" if value is None else ""
    return judgement_fields(judge(Measurement(metric="ram_peak", value=value, reason=reason), bounds))


@pytest.mark.parametrize(
    ("judgement", "measured", "limit", "margin"),
    [
        (fields(3e9, high=4e9), "✓ Peak RAM 3 GB", "at most 4 GB", "25 % inside"),
        (fields(5e9, high=4e9), "✗ Peak RAM 5 GB", "at most 4 GB", "25 % outside"),
        (fields(3.9e9, high=4e9, margin=0.05), "~ Peak RAM 3.9 GB", "at most 4 GB", "2.5 % inside"),
        (fields(1.0, low=0.0, high=0.0), "✗ Peak RAM 1 bytes", "exactly 0 bytes", "–"),
        (fields(None, high=4e9), "✗ Peak RAM not measured (<i>no answer</i>)", "at most 4 GB", "–"),
        (fields(math.nan, high=4e9), "✗ Peak RAM nan bytes", "at most 4 GB", "–"),
    ],
)
def test_a_row_shows_measured_against_limit_in_one_unit_with_margin(
    judgement: Line, measured: str, limit: str, margin: str
) -> None:
    pages = [Page(part) for part in measured_cells([judgement])]
    assert pages[0].text == measured
    assert pages[1].text.startswith(limit)
    assert pages[1].text.endswith("</b>"), "the source is shown as text"
    assert pages[2].text == margin
    assert {element for page in pages for element in page.elements} == {"td", "b", "i", "strong", "span"}


def test_a_pointer_on_a_figure_of_a_row_shows_it_exactly_and_in_the_other_unit() -> None:
    value, limit, _ = (Page(part) for part in measured_cells([fields(3_000_000_001.0, high=4e9)]))
    assert ("title", "ram_peak") in value.attributes
    assert ("title", "2.79 GiB, 3,000,000,001 bytes") in value.attributes
    assert ("title", "at most 3.73 GiB, 4,000,000,000 bytes") in limit.attributes


def test_a_row_has_a_line_for_each_judgement_and_is_empty_for_none() -> None:
    two = measured_cells([fields(1e9, high=4e9), fields(5e9, high=4e9)])
    assert [part.count("<br>") for part in two] == [1, 1, 1]
    assert [Page(part).text for part in measured_cells([])] == ["", "", ""]


def test_a_judgement_that_contradicts_itself_shows_no_tick() -> None:
    lie = {**fields(5e9, high=4e9), "outcome": "pass", "text": "all <b>is</b> well"}
    assert [Page(part).text for part in measured_cells([lie])] == ["all <b>is</b> well", "?", "?"]


def test_many_failures_are_counted_above_the_rows(tmp_path: Path) -> None:
    cells = [cell(f"test_{n}") for n in range(60)]
    failures = [report(c, "setup", "failed", crash(f"{n}" + "x" * 5000)) for n, c in enumerate(cells)]
    record = recorded(tmp_path, [start(), plan(cells), *failures, finish(1)])
    part = header(record, reach_verdict(record))
    assert "and 10 more, in the rows below" in part
    assert part.count("(the row below has the rest)") == 50
    assert len(part) < 200_000


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        full = colour if len(colour) == 6 else "".join(c * 2 for c in colour)
        parts = [int(full[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_colour_can_be_read_in_light_dark_and_print() -> None:
    schemes = [
        dict(re.findall(r"--(\w+): #(\w+);", block)) for block in re.findall(r":root \{(.*?)\}", css(), re.DOTALL)
    ]
    assert len(schemes) == 3
    for scheme in schemes:
        for ink in ("ink", "faint", "good", "near", "bad", "gap"):
            for ground in ("paper", "panel"):
                assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground, scheme)


def test_the_style_asks_nothing_from_outside() -> None:
    assert "url(" not in css()
    assert "@import" not in css()
    assert "<" not in css()
