"""Reads rows in pytest-benchmark's format, from evidence and from its own files, and believes only what adds up.

A row holds its rounds and a summary of them. Where both are there, the summary must follow from the rounds: a figure
that was edited, or rounds that were cut, must not become half of a comparison.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

from plimsoll.compare.side import TIME, Timed
from plimsoll.errors import PlimsollError


def read_row(row: object, where: str) -> Timed:
    """What one row timed, in seconds; `where` names it in errors (`runs.json: benchmarks[3]`).

    Raises PlimsollError for a row that lacks something, holds what is no time, or contradicts itself.
    """
    fields = _mapping(row, where)
    cell = fields.get("fullname") or fields.get("name")
    if not isinstance(cell, str) or not cell:
        raise _damaged(where, "it has neither fullname nor name")
    where = f"{where} ({cell})"
    stats = _mapping(fields.get("stats"), f"{where}: stats")
    rounds = tuple(_seconds(value, f"{where}: stats.data[{i}]") for i, value in enumerate(_data(stats, where)))
    median = _seconds(stats.get("median"), f"{where}: stats.median")
    _check_summary(stats, rounds, median, where)
    options = fields.get("options")
    extra = fields.get("extra_info")
    return Timed(
        cell=cell,
        metric=TIME,
        unit="s",
        rounds=rounds,
        median=median,
        timer=_text(options, "timer"),
        cache=_text(extra, "cache"),
        variant=_text(extra, "variant"),
    )


def _data(stats: Mapping[str, Any], where: str) -> list[object]:
    data = stats.get("data")
    if data is None:
        return []
    if not isinstance(data, list):
        raise _damaged(where, "stats.data is not a list of rounds")
    return data


def _check_summary(stats: Mapping[str, Any], rounds: tuple[float, ...], median: float, where: str) -> None:
    if not rounds:
        return
    if stats.get("rounds") != len(rounds):
        raise _damaged(where, f"stats.rounds says {stats.get('rounds')}, but there are {len(rounds)}")
    expected = statistics.median(rounds)
    if not math.isclose(expected, median, rel_tol=1e-9):
        raise _damaged(where, f"stats.median says {median:.9g} s, but that of its rounds is {expected:.9g} s")


def _seconds(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise _damaged(where, f"{value!r} is no time")
    return float(value)


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _damaged(where, "it is missing, or not a table of fields")
    return value


def _text(fields: object, name: str) -> str | None:
    value = fields.get(name) if isinstance(fields, Mapping) else None
    return value if isinstance(value, str) else None


def _damaged(where: str, what: str) -> PlimsollError:
    return PlimsollError(f"{where}: {what}; the file was cut or edited, compare with the original")
