"""What a terminal is told while a run goes on: failures once and at once, a line for each variant, what is left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plimsoll.evidence.record import Cell
from plimsoll.present.document import Tone
from plimsoll.report.story import FAILED, PASSED, SKIPPED, Story, spoken
from tests.support.run_events import cell

LLAMA, PHI = "tiny-llama/nf4", "tiny-phi/nf4"


def ask(story: Story, of: Cell, outcome: str = PASSED, reason: str = "", figures: Iterable[Any] = ()) -> list[str]:
    story.started(of.id)
    story.phase(of.id, PASSED, "", 0.1, ())
    story.phase(of.id, outcome, reason, 0.5, figures)
    return [told.text for told in story.ended(of.id)]


def test_a_variant_is_told_when_its_last_check_is_over() -> None:
    cells = [cell("test_load", LLAMA), cell("test_peak", LLAMA), cell("test_load", PHI)]
    story = Story()
    story.plan(cells)
    load = {"metric": "cold_load_time", "value": 12.0, "high": 40.0}
    peak = {"metric": "vram_peak", "value": 5.71e9, "high": 5.9e9}
    assert ask(story, cells[0], figures=[load]) == []
    assert ask(story, cells[1], figures=[peak]) == [
        f"✓ {LLAMA:<36}    2 checks  5.7 GB of 5.9 GB  load 12.0 s",
    ]
    assert ask(story, cells[2]) == [f"✓ {PHI:<36}     1 check"]
    assert story.finish() == []


def test_a_failure_is_told_at_once_and_its_variant_is_none_that_passed() -> None:
    cells = [cell("test_load", LLAMA), cell("test_peak", LLAMA)]
    story = Story()
    story.plan(cells)
    assert ask(story, cells[0], FAILED, "fail: load_time 3 s;\nlimit at most 2 s") == [
        f"✗ {LLAMA} test_load: fail: load_time 3 s; limit at most 2 s"
    ]
    (closing,) = ask(story, cells[1])
    assert closing.startswith(f"✗ {LLAMA}")
    assert closing.endswith("2 checks  1 failed")


def test_what_all_checks_of_a_variant_fail_of_is_told_once() -> None:
    cells = [cell(f"test_{n}", LLAMA) for n in range(4)]
    story = Story()
    story.plan(cells)
    why = f"{LLAMA} did not load: it is damaged"
    said = [*ask(story, cells[0], FAILED, why)]
    said += ask(story, cells[1], FAILED, f"not asked, because {why}")
    said += ask(story, cells[2], FAILED, f"setup: not asked, because {why}")
    said += ask(story, cells[3], FAILED, "another reason")
    assert [line.partition(": ")[0] for line in said[:2]] == [f"✗ {LLAMA} test_0", f"✗ {LLAMA} test_3"]
    assert said[2].endswith("4 failed")
    assert len(said) == 3


def test_checks_that_asked_and_say_the_same_are_no_one_failure() -> None:
    cells = [cell(f"test_{n}", LLAMA) for n in range(3)]
    story = Story()
    story.plan(cells)
    said = [line for one in cells for line in ask(story, one, FAILED, "assert 0 == 1")]
    assert [line.partition(": ")[0] for line in said[:3]] == [f"✗ {LLAMA} test_{n}" for n in range(3)]


def test_a_check_that_passed_without_its_figure_is_not_green() -> None:
    cells = [cell("test_load", LLAMA, ["cold_load_time"]), cell("test_peak", PHI, ["vram_peak"])]
    story = Story()
    story.plan(cells)
    assert [line.partition("  ")[0] for line in ask(story, cells[0])] == [
        f"✗ {LLAMA} test_load: not measured: cold_load_time",
        f"✗ {LLAMA}",
    ]
    bad = {"metric": "vram_peak", "value": 9e9, "high": 5e9, "outcome": "fail", "text": "fail: VRAM peak 9.00 GB"}
    assert ask(story, cells[1], figures=[bad])[0] == f"✗ {PHI} test_peak: fail: VRAM peak 9.00 GB"


def test_what_was_skipped_says_why_and_is_not_green() -> None:
    cells = [cell("test_load", LLAMA), cell("test_peak", LLAMA)]
    story = Story()
    story.plan(cells)
    ask(story, cells[0], SKIPPED, "vram: has 24 GB, needs 43 GB")
    ((text, tone),) = [(told.text, told.tone) for told in _ended(story, cells[1], SKIPPED, "vram: has 24 GB")]
    assert text == f"○ {LLAMA:<36}    2 checks  2 skipped  vram: has 24 GB, needs 43 GB"
    assert tone is Tone.NEAR


def _ended(story: Story, of: Cell, outcome: str, reason: str) -> list[Any]:
    story.started(of.id)
    story.phase(of.id, outcome, reason, 0.0, ())
    return story.ended(of.id)


def test_what_was_planned_and_never_asked_is_told_in_the_end() -> None:
    cells = [cell("test_load", LLAMA), cell("test_peak", LLAMA), cell("test_load", PHI)]
    story = Story()
    story.plan(cells)
    ask(story, cells[0])
    assert [(told.text, told.tone) for told in story.finish()] == [
        (f"○ {LLAMA:<36}    2 checks  1 not asked", Tone.NEAR),
        (f"○ {PHI:<36}     1 check  1 not asked", Tone.NEAR),
    ]


def test_gpus_of_one_variant_have_a_line_each() -> None:
    cells = [cell("test_load", LLAMA, id=f"test_load[{LLAMA}:gpu{n}]", gpu=f"gpu{n}") for n in (0, 3)]
    story = Story()
    story.plan(cells)
    assert [ask(story, one)[0].rpartition("  ")[2] for one in cells] == ["GPU 0", "GPU 3"]


def test_checks_of_the_node_stand_under_their_subject() -> None:
    cells = [cell("test_driver", None, subject="node"), cell("test_peer", None, subject="devices")]
    story = Story()
    story.plan(cells)
    assert [ask(story, one)[0].split("  ")[0] for one in cells] == ["✓ the node: node", "✓ the node: devices"]


def test_a_check_that_nobody_planned_is_not_lost() -> None:
    story = Story()
    assert ask(story, cell("test_own", LLAMA), FAILED, "no")[0] == f"✗ {LLAMA} test_own: no"
    assert [told.text for told in story.finish()] == [f"✗ {LLAMA:<36}     1 check  1 failed"]


def test_how_far_the_run_is() -> None:
    cells = [cell(f"test_{n}", LLAMA) for n in range(10)]
    story = Story()
    story.plan(cells)
    story.started(cells[0].id)
    assert story.now(3.0) == f"{LLAMA}, 0 of 10 checks, 3 s so far"
    for one in cells[:5]:
        ask(story, one)
    story.started(cells[5].id)
    assert story.now(150.0) == f"{LLAMA}, 5 of 10 checks, 2 min 30 s so far, about 2 min 30 s left"


def test_a_plain_terminal_gets_words_for_signs() -> None:
    story = Story(ascii_only=True)
    cells = [cell("test_load", LLAMA), cell("test_load", PHI)]
    story.plan(cells)
    assert ask(story, cells[0])[0].startswith("ok tiny-llama")
    assert ask(story, cells[1], FAILED, "no")[0].startswith("FAILED tiny-phi")


def test_a_failure_is_told_in_the_words_of_the_check() -> None:
    assert spoken("AssertionError: it is wrong\nassert not [1]\n  +  where [1] = f()") == "it is wrong"
    assert spoken("assert 3 == 4") == "assert 3 == 4", "all that there is"
    assert spoken("Failed: tiny-llama did not load") == "tiny-llama did not load"
