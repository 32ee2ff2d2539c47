"""What was recognised in a run, with cause and next step: beside each failure, and once in a section of its own.

Links of the page stay within it, because a report is read where there is no network and no checkout: the section says
what the page of the project says of a symptom, and names that page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from plimsoll.present.document import Block, Bullets, Facts, Inline, Link, Paragraph, Section, Words, code, strong
from plimsoll.report.pieces import unfolding
from plimsoll.report.reader import Reader
from plimsoll.symptoms.recognise import Diagnosis
from plimsoll.units import counted
from plimsoll.verdict.cells import CellResult

_TITLE: Final = "Recognised, with the next step"
_MOST_CELLS: Final = 20
"""Checks that one symptom names."""


def page_anchor(symptom: str) -> str:
    """The name by which a link of the page finds what it says of a symptom."""
    return f"symptom-{symptom}"


def symptom_link(diagnosis: Diagnosis) -> Link:
    """The anchor as a text that leads to the page's own section."""
    return Link(text=diagnosis.anchor, to=f"#{page_anchor(diagnosis.symptom)}")


def diagnosis_link(diagnosis: Diagnosis | None) -> tuple[Inline, ...]:
    """Words behind a gap of the page that lead to what it shows; none where nothing was recognised."""
    return () if diagnosis is None else ("; see ", symptom_link(diagnosis))


def diagnosis_lines(diagnoses: Sequence[Diagnosis], *, linked: bool = False) -> tuple[Block, ...]:
    """What was recognised in one failure, a paragraph each; as a page has it where linked."""
    return tuple(
        Paragraph(
            words=(
                strong(f"{each.title}:"),
                f" {each.cause}. Next: {each.next}. See ",
                symptom_link(each) if linked else code(each.anchor),
                ".",
            )
        )
        for each in diagnoses
    )


def symptom_section(results: Iterable[CellResult], reader: Reader) -> Section | None:
    """Every symptom that a run shows, with the checks that show it; None where there is none."""
    found: dict[str, list[tuple[Diagnosis, CellResult]]] = {}
    for result in results:
        for diagnosis in result.diagnoses:
            found.setdefault(diagnosis.symptom, []).append((diagnosis, result))
    if not found:
        return None
    if reader is Reader.STEP:
        entries = tuple(_line(shown[0][0], len(shown)) for shown in found.values())
        return Section(title=_TITLE, blocks=(Bullets(entries=entries),))
    on_page = reader is Reader.PAGE
    blocks = tuple(_symptom(shown, on_page=on_page) for shown in found.values())
    return Section(title=_TITLE, anchor="symptoms", blocks=blocks)


def _line(diagnosis: Diagnosis, count: int) -> Words:
    return (strong(diagnosis.title), f" ({count}): {diagnosis.next}; see ", code(diagnosis.anchor))


def _symptom(shown: Sequence[tuple[Diagnosis, CellResult]], *, on_page: bool) -> Section:
    first = shown[0][0]
    causes = tuple(dict.fromkeys(diagnosis.cause for diagnosis, _ in shown))
    steps = tuple(dict.fromkeys(diagnosis.next for diagnosis, _ in shown))
    cells = tuple(code(result.cell.id) for _, result in shown)
    listed = Bullets(entries=cells, most=_MOST_CELLS, rest="in the rows below")
    see = Link(text=first.anchor, to=first.anchor) if "://" in first.anchor else code(first.anchor)
    return Section(
        title=first.title,
        level=2,
        anchor=page_anchor(first.symptom),
        blocks=(
            Facts(pairs=(("Cause", "; or ".join(causes)), ("Next", "; or ".join(steps)), ("See", see))),
            unfolding(counted(len(cells), "check"), listed) if on_page else listed,
        ),
    )
