"""markers.ini: the project's own, and what is said of a broken one."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.marks import read_mark_lines, read_marks
from plimsoll.errors import CatalogueError

MARKERS = Path(__file__).parents[2] / "markers.ini"


def test_sections_arguments_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "markers.ini"
    path.write_text(
        "# a comment\n[tiers]\ntiny: small: very\n\n"
        "[subjects]\nload: does it load\n[plumbing]\nonly(kind, ...): some\n",
        encoding="utf-8",
    )
    marks = read_marks(path)
    assert dict(marks) == {"tiny": "small: very", "load": "does it load", "only": "some"}
    assert marks.section("tiers") == ("tiny",)
    assert marks.section("absent") == ()
    assert marks.selections == ("tiny",)
    assert read_mark_lines(path) == ("tiny: small: very", "load: does it load", "only(kind, ...): some")


def test_every_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("markers.ini")
    path.write_text("early: x\n[tiers]\ntiny: x\nno colon\ntiny: y\nempty:\nbad name: x\n", encoding="utf-8")
    with pytest.raises(CatalogueError) as caught:
        read_marks(path)
    assert str(caught.value) == (
        "5 faults in the catalogue:\n"
        "  markers.ini: line 1: mark 'early' stands before the first [section]\n"
        "  markers.ini: line 4: 'no colon' is not a mark; write 'name: what it selects'\n"
        "  markers.ini: line 5: mark 'tiny' is declared twice\n"
        "  markers.ini: line 6: 'empty:' is not a mark; write 'name: what it selects'\n"
        "  markers.ini: line 7: 'bad name: x' is not a mark; write 'name: what it selects'"
    )


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "markers.ini"
    with pytest.raises(CatalogueError) as caught:
        read_marks(path)
    assert [str(fault) for fault in caught.value.faults] == [
        f"{path}: cannot be read: No such file or directory; the marks are declared there"
    ]


def test_project_declares_what_the_catalogue_needs() -> None:
    marks = read_marks(MARKERS)
    assert marks.section("tiers") == ("tiny", "cpu", "gpu1b", "gpu3b", "gpu8b", "gpu70b", "gpumoe")
    assert marks.section("quantizations") == tuple(Quantization)
    assert {"llama", "qwen", "mistral", "mixtral", "phi"} <= set(marks.section("families"))
    assert {"node", "load", "quantization", "memory", "generation"} <= set(marks.section("subjects"))
