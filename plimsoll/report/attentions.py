"""Attention implementations as a section of report.html: how far each is from eager attention, how long a pass over a
padded batch takes, and how much memory it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from plimsoll.evidence.record import RunRecord
from plimsoll.present.document import Block, Bullets, Cell, Fold, Number, Paragraph, Section, Table, code, columns
from plimsoll.present.foreign_text import one_line
from plimsoll.units import counted

METRIC: Final = "attention_divergence"
EAGER: Final = "eager"
_HEAD: Final = columns(
    *(
        "Variant",
        "Attention",
        "Divergence",
        "Same choice",
        "Time of a pass",
        "Of eager's",
        "Memory of a pass",
        "Of eager's",
    ),
    figures=range(2, 8),
)
_LONGEST: Final = 120
"""Characters of a name or a reason, which the evidence of others may hold too."""


def attention_section(record: RunRecord) -> Section | None:
    """A row for each implementation of each variant; None where none was compared."""
    compared = [(variant, context) for variant, context in _contexts(record) if _ways(context)]
    if not compared:
        return None
    rows = tuple(row for variant, context in compared for row in _rows(variant, _ways(context)))
    blocks: list[Block] = [
        Paragraph(
            words="Each implementation computes the same prompts in one batch, padded on the left and on the right; "
            "eager attention computes each prompt alone. Times are of one pass over the padded batch, after a first; "
            "memory is the peak of that pass on a GPU, beside what there was before."
        ),
        Table(label="Attention implementations", columns=_HEAD, rows=rows),
    ]
    if absent := _unavailable(compared):
        blocks.append(Bullets(entries=tuple(absent)))
    return Section(title="Attention implementations beside each other", fold=Fold.CLOSED, blocks=tuple(blocks))


def _contexts(record: RunRecord) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Variant, and how its divergence was measured."""
    for cell in record.plan:
        for measured in record.evidence_of(cell).measurements:
            if measured.measurement.metric == METRIC and cell.variant is not None:
                yield cell.variant, measured.context


def _ways(context: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    ways = context.get("ways")
    return [way for way in ways if isinstance(way, Mapping)] if isinstance(ways, list) else []


def _rows(variant: str, ways: list[Mapping[str, Any]]) -> Iterator[tuple[Cell, ...]]:
    eager = next((way for way in ways if way.get("name") == EAGER), {})
    for way in ways:
        yield (
            variant,
            code(one_line(str(way.get("name")), _LONGEST)),
            _number(way, "divergence", "1"),
            _number(way, "same_choice", "1"),
            _number(way, "seconds", "s"),
            _share(way, eager, "seconds"),
            _number(way, "peak", "bytes"),
            _share(way, eager, "peak"),
        )


def _figure(way: Mapping[str, Any], name: str) -> float | None:
    value = way.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _number(way: Mapping[str, Any], name: str, unit: str) -> Cell:
    value = _figure(way, name)
    return "not measured" if value is None else (Number(value=value, unit=unit),)


def _share(way: Mapping[str, Any], eager: Mapping[str, Any], name: str) -> Cell:
    value, whole = _figure(way, name), _figure(eager, name)
    return "" if value is None or not whole or way is eager else f"{value / whole:.0%}"


def _unavailable(compared: list[tuple[str, Mapping[str, Any]]]) -> Iterator[Cell]:
    """Which implementations were not asked, why, and of how many variants."""
    reasons: dict[tuple[str, str], int] = {}
    for _, context in compared:
        found = context.get("unavailable")
        for name, why in found.items() if isinstance(found, Mapping) else ():
            key = one_line(str(name), _LONGEST), one_line(str(why), _LONGEST)
            reasons[key] = reasons.get(key, 0) + 1
    for (name, why), count in reasons.items():
        yield code(name), f" was not asked of {counted(count, 'variant')}: {why}"
