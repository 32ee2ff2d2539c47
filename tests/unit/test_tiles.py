"""The node as a picture of its GPUs: what was recorded of each, and a word for what was not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from plimsoll.evidence.events import Event
from plimsoll.evidence.reader import read_run
from plimsoll.plan.checks import read_checks
from plimsoll.present.document import Piece, Section, Sign, Tile, Tiles, Tone, as_words, plain
from plimsoll.report.document import verdict_document
from plimsoll.report.naming import TITLES, check_anchor, check_title
from plimsoll.report.pieces import check_link
from plimsoll.report.reader import Reader
from plimsoll.report.tiles import node_sections
from plimsoll.verdict.verdict import reach_verdict
from tests.support.fleet_runs import MadeNode, events_of, write_node
from tests.support.pages import fragment
from tests.support.run_events import NODE, Line, cell, finish, good_cell, judged, line, plan, recorded, start


def drawn(folder: Path, made: MadeNode, events: list[Line] | None = None) -> tuple[Section, tuple[Tile, ...]]:
    record = read_run(write_node(folder, made, events))
    (section,) = node_sections(record, reach_verdict(record).results)
    (tiles,) = (block for block in section.blocks if isinstance(block, Tiles))
    return section, tiles.tiles


def fact(tile: Tile, name: str) -> tuple[Piece, ...]:
    return as_words(dict(tile.facts)[name])


def said(tile: Tile, name: str) -> str:
    return plain(fact(tile, name))


def found(index: int, what: str, action: str = "drain") -> Line:
    fields = {"gpu": f"GPU {index}", "index": index, "group": "ecc", "what": what, "action": action}
    return {**fields, "does": "take it out", "source": "a paper"}


def with_health(events: list[Line], **changes: Any) -> list[Line]:
    return [{**event, **changes} if event["event"] == "health" else event for event in events]


def test_each_gpu_has_a_tile_with_its_product_health_speeds_and_what_it_carried(tmp_path: Path) -> None:
    section, tiles = drawn(tmp_path, MadeNode(name="n1", noise=0.0))
    assert [tile.title for tile in tiles] == [f"GPU {index}" for index in range(8)]
    assert section.note.startswith("8 × NVIDIA H100 80GB HBM3, driver 580.95.05")
    first = tiles[0]
    assert (first.word.text, first.word.tone, first.tone) == ("sound", Tone.GOOD, Tone.GOOD)
    assert first.note == "NVIDIA H100 80GB HBM3, 85.5 GB"
    speeds = said(first, "Speed").split(" ✓ ")
    assert "✓ bf16 products 730 TFLOP/s ≥ 584 TFLOP/s" in said(first, "Speed"), speeds
    assert "copies to device pinned 54 GB/s ≥ 43.2 GB/s" in said(first, "Speed")
    assert said(first, "Carried") == "llama-3.1-8b-instruct/bf16"
    assert said(first, "Checks") == "✓ 15 passed"
    assert "Failed" not in dict(first.facts)
    assert said(first, "Identity") == "UUID GPU-n1-0, serial 165090, VBIOS 96.00.89.00.01"


def test_a_slow_gpu_and_one_with_a_fault_stand_out_and_lead_to_their_checks(tmp_path: Path) -> None:
    made = MadeNode(name="n1", failing=((3, "ecc"),), slow={2: 1 / 0.7}, noise=0.0)
    events = with_health(events_of(made), findings=[found(3, "an uncorrected error"), found(-1, "the fabric is down")])
    section, tiles = drawn(tmp_path, made, events)
    slow, faulty = tiles[2], tiles[3]
    assert (slow.word.text, slow.word.tone, slow.tone) == ("sound", Tone.GOOD, Tone.BAD), "its health is sound"
    assert "✗ bf16 products 511 TFLOP/s ≥ 584 TFLOP/s" in said(slow, "Speed")
    assert said(slow, "Checks") == "✗ 8 failed, 7 passed"
    assert (faulty.word.text, faulty.tone) == ("sick", Tone.BAD)
    assert "an uncorrected error" in str(fact(faulty, "Health"))
    assert said(faulty, "Health").startswith("drain: ")
    html = fragment([section])
    assert re.search(r'<a href="#acceptance/test_health.py::test_ecc\[gpu3\]"[^>]*>ECC errors</a>', html)
    assert "the fabric is down" in html
    assert [tile.tone for tile in tiles if tile not in (slow, faulty)] == [Tone.GOOD] * 6


def test_what_was_not_watched_not_measured_or_left_out_says_so(tmp_path: Path) -> None:
    made = MadeNode(name="n1", gpus=3)
    events = [event for event in events_of(made) if event["event"] != "health"]
    asked = events[1]
    kept = [each for each in asked["cells"] if "gpu0" in each["id"]]
    ids = {each["id"] for each in kept}
    used = [{**gpu, "used": gpu["id"] != "gpu2"} for gpu in asked["gpus"]]
    events[1] = {**asked, "cells": kept, "gpus": used, "used": ["gpu0", "gpu1"]}
    events = [event for event in events if event.get("cell") is None or event["cell"] in ids]
    _, (first, second, third) = drawn(tmp_path, made, events)
    assert (first.word.text, first.word.tone) == ("not watched", Tone.GAP)
    assert said(first, "Health") == "not watched in this run"
    assert said(second, "Speed") == "not measured in this run"
    assert (said(second, "Carried"), said(second, "Checks")) == ("no model", "none was asked of it")
    assert (third.word.text, said(third, "Carried")) == ("left out", "nothing")


def test_a_health_that_was_not_read_and_a_gpu_that_is_lost_are_not_sound(tmp_path: Path) -> None:
    made = MadeNode(name="n1", gpus=2)
    blind = {"gpu": "GPU 1", "index": 1, "group": "ecc", "what": "its errors", "why": "no answer", "fix": "ask again"}
    _, tiles = drawn(tmp_path / "a", made, with_health(events_of(made), unread=[blind]))
    assert [tile.word.text for tile in tiles] == ["sound", "not all read"]
    assert said(tiles[1], "Health") == "could not be read: its errors"
    events = with_health(events_of(made), gpus=[0])
    for event in events:
        if event["event"] == "node":
            event["node"]["gpus"][1]["lost"] = "GPU is lost"
    _, tiles = drawn(tmp_path / "b", made, events)
    assert [tile.word.text for tile in tiles] == ["sound", "lost"]


def test_a_failed_check_of_health_makes_no_sound_gpu(tmp_path: Path) -> None:
    made = MadeNode(name="n1", gpus=2, failing=((1, "ecc"),))
    events = events_of(made)
    for each in events[1]["cells"]:
        each["subject"] = "health" if "test_health" in each["id"] else each["subject"]
    _, tiles = drawn(tmp_path, made, events)
    assert [tile.word.text for tile in tiles] == ["sound", "sick"]
    assert "ecc.volatile.uncorrected.sram is 1" in said(tiles[1], "Health")


def test_early_evidence_does_not_say_what_a_gpu_carried(tmp_path: Path) -> None:
    one = cell("test_peak")
    events = [start(), plan([one]), line(Event.NODE, node=NODE.to_json()), *good_cell(one), finish()]
    record = recorded(tmp_path, events)
    (section,) = node_sections(record, reach_verdict(record).results)
    (tile,) = next(block for block in section.blocks if isinstance(block, Tiles)).tiles
    assert said(tile, "Carried").startswith("not recorded")
    assert said(tile, "Checks").startswith("not recorded")


def test_a_variant_that_never_loaded_was_not_carried(tmp_path: Path) -> None:
    asked, refused, unasked = (cell(f"test_{name}", variant=f"tiny/{name}") for name in ("fp32", "nf4", "int8"))
    node = replace(NODE, gpus=())
    head = [start(), plan([asked, refused, unasked]), line(Event.NODE, node=node.to_json())]

    def carried(name: str, *events: Line) -> str:
        record = recorded(tmp_path / name, [*head, *events, finish()])
        (section,) = node_sections(record, reach_verdict(record).results)
        (tile,) = next(block for block in section.blocks if isinstance(block, Tiles)).tiles
        return said(tile, "Carried")

    assert carried("unasked") == "no model: none of 3 planned variants loaded"
    assert carried("asked", *good_cell(asked)) == "tiny/fp32"
    report = {"seconds": 1.0, "checkpoint_bytes": 1}
    load = line(Event.LOAD, variant="tiny/nf4", cache="as-is", report=report)
    assert carried("loaded", load, *good_cell(asked)) == "tiny/nf4", "recorded loads count above all"


def test_speeds_that_were_planned_and_not_measured_are_counted_with_the_reason(tmp_path: Path) -> None:
    made = MadeNode(name="n1", ends=False)
    _, tiles = drawn(tmp_path, made)
    assert "speeds not measured: " in said(tiles[7], "Speed")
    assert tiles[7].tone is Tone.GAP


def test_a_speed_that_nobody_limits_is_shown_as_such(tmp_path: Path) -> None:
    made = MadeNode(name="n1", gpus=1)
    events = [event for event in events_of(made) if event["event"] != "judgement"]
    _, (tile,) = drawn(tmp_path, made, events)
    assert "TFLOP/s no floor to hold it against" in said(tile, "Speed")
    assert not any(isinstance(piece, Sign) for piece in fact(tile, "Speed"))


def test_without_a_gpu_the_processor_and_its_ram_are_the_tile(tmp_path: Path) -> None:
    one = cell("test_peak", measures=["ram_peak"])
    node = replace(NODE, gpus=())
    events = [start(), plan([one]), line(Event.NODE, node=node.to_json()), *good_cell(one), finish()]
    events.insert(4, judged(one, "ram_peak", 5.0, 6.0))
    record = recorded(tmp_path, events)
    (section,) = node_sections(record, reach_verdict(record).results)
    (tile,) = next(block for block in section.blocks if isinstance(block, Tiles)).tiles
    assert (tile.title, tile.word.text, tile.tone) == ("Processor and RAM", "no GPU", Tone.GOOD)
    assert tile.note == "EPYC, 4 logical cores"
    assert said(tile, "RAM") == "8 GB, 6 GB of it available when the run began"
    assert said(tile, "Carried") == "tiny-llama/nf4"
    assert said(tile, "Speed") == "not measured in this run"


def test_the_page_shows_tiles_and_a_file_the_table(tmp_path: Path) -> None:
    record = read_run(write_node(tmp_path, MadeNode(name="n1")))
    verdict = reach_verdict(record)
    page = verdict_document(record, verdict, Reader.PAGE)
    assert any(isinstance(block, Tiles) for section in page.sections for block in section.blocks)
    assert "GPUs" not in [plain(section.title) for section in page.sections]
    summary = verdict_document(record, verdict, Reader.SUMMARY)
    assert "GPUs" in [plain(section.title) for section in summary.sections]


@pytest.mark.parametrize(
    ("cell", "title", "anchor"),
    [
        (
            "acceptance/test_memory.py::test_peak_ram[a/nf4]",
            "Peak RAM",
            "acceptance/test_memory.py::test_peak_ram[a/nf4]",
        ),
        ("acceptance/test_health.py::test_ecc[gpu3]::setup", "ECC errors", "acceptance/test_health.py::test_ecc[gpu3]"),
        ("acceptance/test_node.py::test_gpus_answer", "GPUs answer", "acceptance/test_node.py::test_gpus_answer"),
        ("acceptance/test_mine.py::test_gpus_of_mine", "GPUs of mine", "acceptance/test_mine.py::test_gpus_of_mine"),
        ("whatever a user writes", "Whatever a user writes", "whatever_a_user_writes"),
    ],
)
def test_a_check_has_a_name_for_people_and_one_for_links(cell: str, title: str, anchor: str) -> None:
    assert (check_title(cell), check_anchor(cell)) == (title, anchor)


def test_every_check_of_the_suite_has_a_title_of_its_own() -> None:
    names = [check.name for check in read_checks(Path(__file__).parents[2])]
    assert TITLES.keys() == set(names)
    assert len(set(TITLES.values())) == len(names), "two checks are called alike"
    assert [title for title in TITLES.values() if not re.fullmatch(r"[A-Z][\w,\- ]{3,}", title) or "_" in title] == []
    assert check_title("acceptance/test_meaning.py::test_reads_plain_english[a/nf4]") == "Reads plain English"


def test_a_link_to_a_check_is_an_address_whatever_is_in_its_name(tmp_path: Path) -> None:
    odd = cell("test_it", "my-model/100%41", id="acceptance/test_it.py::test_it[my-model/100%41]")
    (result,) = reach_verdict(recorded(tmp_path, [start(), plan([odd]), finish()])).results
    to = check_link(result).to
    assert to == "#acceptance/test_it.py::test_it[my-model/100%2541]"
    assert unquote(to) == f"#{check_anchor(odd.id)}", "the name of its row"
