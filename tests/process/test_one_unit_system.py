"""Whole pages read as a person sees them: sizes stand in one unit system, the other is for a pointer."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Final

import pytest

from plimsoll.cli import main
from plimsoll.evidence.encoding import judgement_fields
from plimsoll.evidence.events import Event
from plimsoll.fleet.discovery import find_lineages
from plimsoll.fleet.fleet import judge_fleet
from plimsoll.fleet.reading import read_nodes, split
from plimsoll.fleet.write import page_text
from plimsoll.judge.judgement import Limit, Measurement, judge
from plimsoll.report.pages import HTML_FILE, write_pages
from tests.support.catalogue_events import EVERY_OUTCOME, full_catalogue
from tests.support.compare_runs import timed_events, write_run
from tests.support.fleet_runs import MadeNode, write_node
from tests.support.run_events import NODE, Line, numbered, write_events

_BINARY: Final = re.compile(r"[\d.]+\s?[KMGT]iB")
_DECIMAL: Final = re.compile(r"\d [MGT]B\b")
_IN_BOTH: Final = re.compile(r"[TGM]B \([\d.,]+ [TGM]iB")
_QUOTING: Final = ("pre", "code", "q", "title", "style", "script")
_UNSEEN: Final = ("title", "style", "script")


class Seen(HTMLParser):
    """The text that stands on a page, that of quotes apart, and what a pointer shows; rows of pytest-html included."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.quoted, self.titles = "", "", ""
        self._open: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag not in ("br", "meta", "input", "link"):
            self._open.append(tag)
        for name, value in attrs:
            if name == "title":
                self.titles += f"{value}\n"
            if name == "data-jsonblob":
                for [row] in json.loads(str(value))["tests"].values():
                    cells = Seen("".join(row["resultsTableRow"]))
                    self.text += cells.text
                    self.titles += cells.titles
                    self.quoted += Seen(row["log"]).text

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if not any(tag in self._open for tag in _QUOTING):
            self.text += data
        elif not any(tag in self._open for tag in _UNSEEN):
            self.quoted += data


def _told_by_others() -> list[Line]:
    """A run in which others say sizes too: a document in GiB, and a figure to the byte beside its limit."""
    events = []
    for event in full_catalogue(EVERY_OUTCOME):
        if event["event"] == Event.JUDGEMENT.value and (event["metric"], event["outcome"]) == ("vram_peak", "fail"):
            source = "a card that says 4 GiB, and 64 MiB for its allocator"
            limit = Limit(metric="vram_peak", high=event["value"] - 1, source=source)
            measurement = Measurement(metric="vram_peak", value=event["value"])
            event = {**event, **judgement_fields(judge(measurement, limit))}
        events.append(event)
    assert any("64 MiB" in str(event) for event in events)
    return events


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """The report, the page of a comparison and that of a fleet."""
    folder = tmp_path_factory.mktemp("units")
    write_events(folder / "run", numbered(_told_by_others()))
    assert write_pages([folder / "run"], folder / "run") is None
    write_run(folder / "a", timed_events({"a/nf4": [1.0] * 9}, memory={"a/nf4": 10**9, "b/nf4": 2 * 10**9}))
    other = replace(NODE, gpus=tuple(replace(gpu, memory_total=85520809984) for gpu in NODE.gpus))
    write_run(folder / "b", timed_events({"a/nf4": [1.1] * 9}, memory={"a/nf4": 3 * 10**9, "b/nf4": 0}, node=other))
    compared = folder / "compare.html"
    assert main(["compare", str(folder / "a"), str(folder / "b"), "--force-unlike", f"--html={compared}"]) == 0
    for number in range(1, 6):
        slow: dict[int, float] = {2: 1.25} if number == 3 else {}
        failing = ((1, "ecc"),) if number == 4 else ()
        write_node(folder / "nodes", MadeNode(name=f"node{number:02}", slow=slow, failing=failing))
    summaries, unreadable = split(read_nodes(find_lineages([str(folder / "nodes")], folder), 1))
    return {
        "report": Seen((folder / "run" / HTML_FILE).read_text()),
        "compare": Seen(compared.read_text()),
        "fleet": Seen(page_text(judge_fleet(summaries, unreadable))),
    }


@pytest.mark.parametrize("name", ["report", "compare", "fleet"])
def test_no_size_on_a_page_is_in_another_unit_system(name: str, pages: dict[str, Seen]) -> None:
    page = pages[name]
    assert _DECIMAL.search(page.text), "a page without sizes proves nothing"
    assert _BINARY.findall(page.text) == []
    assert _IN_BOTH.findall(page.quoted) == [], "what a program said may be in GiB, what we made it say in both is not"
    assert _BINARY.search(page.titles), "a pointer shows the other unit"
