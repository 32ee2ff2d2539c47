"""The table of attention implementations on the page: what each costs beside eager attention, and which are absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plimsoll.present.document import Bullets, Section, Table, plain
from plimsoll.report.attentions import attention_section
from plimsoll.report.page import SECTIONS
from tests.support.run_events import cell, finish, measured, plan, recorded, start

EAGER = {"name": "eager", "divergence": 0.0, "same_choice": 1.0, "seconds": 0.2, "peak": 8_000_000}
SDPA = {"name": "sdpa", "divergence": 0.004, "same_choice": 0.99, "seconds": 0.05, "peak": 2_000_000}
FLASH = {"flash_attention_2": "its kernels are for GPUs alone"}


def section_of(tmp_path: Path, *contexts: dict[str, Any]) -> Section | None:
    cells = [cell("test_attention_agrees", f"tiny-llama/{q}") for q in ("bf16", "nf4")[: len(contexts)]]
    events = [
        {**measured(one, "attention_divergence", 0.004), "context": context}
        for one, context in zip(cells, contexts, strict=True)
    ]
    return attention_section(recorded(tmp_path, [start(), plan(cells), *events, finish()]))


def rows_of(section: Section | None) -> list[list[str]]:
    assert section is not None
    [table] = [block for block in section.blocks if isinstance(block, Table)]
    return [[plain(each) for each in row] for row in table.rows]


def test_time_and_memory_of_each_stand_beside_those_of_eager_attention(tmp_path: Path) -> None:
    section = section_of(
        tmp_path, {"ways": [EAGER, SDPA], "unavailable": FLASH}, {"ways": [EAGER], "unavailable": FLASH}
    )
    eager, sdpa, other = rows_of(section)
    assert eager[:2] == ["tiny-llama/bf16", "eager"]
    assert (eager[5], eager[7]) == ("", "")
    assert sdpa[:2] == ["tiny-llama/bf16", "sdpa"]
    assert (sdpa[2], sdpa[4], sdpa[5], sdpa[7]) == ("0.004", "0.050 s", "25%", "25%")
    assert sdpa[6].startswith("2.00 MB")
    assert other[0] == "tiny-llama/nf4"
    assert section is not None
    [absent] = [block for block in section.blocks if isinstance(block, Bullets)]
    assert [plain(entry) for entry in absent.entries] == [
        "flash_attention_2 was not asked of 2 variants: its kernels are for GPUs alone"
    ]


def test_a_processor_has_no_figure_of_memory_and_none_is_made_up(tmp_path: Path) -> None:
    [eager, sdpa] = rows_of(section_of(tmp_path, {"ways": [{**EAGER, "peak": None}, {**SDPA, "peak": None}]}))
    assert (eager[6], sdpa[6], sdpa[7]) == ("not measured", "not measured", "")


@pytest.mark.parametrize("ways", [None, "sdpa", [], ["sdpa"], {"name": "sdpa"}])
def test_evidence_without_a_comparison_has_no_table(ways: object, tmp_path: Path) -> None:
    assert section_of(tmp_path, {"ways": ways}) is None


def test_the_page_has_the_section() -> None:
    assert attention_section in SECTIONS
