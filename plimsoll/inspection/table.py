"""Draws an inspection for people, and writes it as JSON for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from plimsoll.inspection.inspection import Inspection
from plimsoll.inspection.weighing import Lever, Weighed
from plimsoll.present.document import Table, columns
from plimsoll.present.foreign_text import one_line
from plimsoll.present.terminal import LONGEST, aligned
from plimsoll.units import format_bytes

_LONGEST_FACT: Final = 400
_WEIGHTS: Final = columns("quantization", "stored", "load's peak", "smallest machine", "", figures=(1, 2))
_LEVERS: Final = columns("lever", "from and to", "before", "after", "saves", figures=(2, 3, 4))


def render(inspection: Inspection) -> str:
    """The chapters, then weights and levers as tables, and last what cannot be asked."""
    parts = [
        "\n".join(_chapter(chapter.title, [(f.label, f.words) for f in chapter.facts]))
        for chapter in inspection.chapters
    ]
    if inspection.weighed:
        parts.append(
            "\n".join(["weights by quantization, and what the suite needs for them", *_weights(inspection.weighed)])
        )
    else:
        parts.append(f"weights by quantization\n  unknown: {one_line(inspection.undescribed, _LONGEST_FACT)}")
    if inspection.levers:
        parts.append("\n".join(["levers", *_levers(inspection.levers)]))
    if inspection.cannot_ask:
        parts.append(f"the suite: {one_line(inspection.cannot_ask, _LONGEST_FACT)}")
    return "\n\n".join(parts)


def to_json(inspection: Inspection) -> dict[str, Any]:
    """Chapters by key, each fact by its key; null is what is not known, and `unknown` says why. Sizes in bytes."""
    chapters = {
        chapter.key: {fact.key: fact.value for fact in chapter.facts if fact.key != "unread"}
        for chapter in inspection.chapters
    }
    why = {
        f"{chapter.key}.{fact.key}": fact.text
        for chapter in inspection.chapters
        for fact in chapter.facts
        if not fact.known
    }
    return {
        "schema": "plimsoll/inspection/1",
        "model": inspection.found.name,
        **chapters,
        "quantizations": {str(one.quantization): _weighed_json(one) for one in inspection.weighed},
        "levers": [
            {"lever": one.lever, "change": one.change, "before": one.before, "after": one.after, "saves": one.saves}
            for one in inspection.levers
        ],
        "cannot_ask": inspection.cannot_ask,
        "unknown": why,
    }


def _chapter(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    table = Table(columns=columns("", ""), rows=tuple(rows), has_head=False)
    return [title, *aligned(table, widest=_LONGEST_FACT)]


def _weights(weighed: Sequence[Weighed]) -> list[str]:
    rows = [
        (
            str(one.quantization),
            _size(one.weights),
            _size(one.load),
            (one.profile or "none that a data sheet describes") if one.weights is not None else "unknown",
            one.why,
        )
        for one in weighed
    ]
    return aligned(Table(columns=_WEIGHTS, rows=tuple(rows)), widest=LONGEST)


def _levers(found: Sequence[Lever]) -> list[str]:
    rows = [(one.lever, one.change, *map(format_bytes, (one.before, one.after, one.saves))) for one in found]
    return aligned(Table(columns=_LEVERS, rows=tuple(rows)), widest=LONGEST)


def _size(count: int | None) -> str:
    return "unknown" if count is None else format_bytes(count)


def _weighed_json(one: Weighed) -> dict[str, Any]:
    return {
        "weight_bytes": one.weights,
        "load_peak_bytes": one.load,
        "smallest_profile": one.profile,
        "spread": one.spread,
        "takes": one.takes,
        "why": one.why,
    }
