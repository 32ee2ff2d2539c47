"""Tells a run while it goes on: each failure at once, a line for each variant as it ends, and what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from plimsoll.evidence.record import Cell
from plimsoll.judge.judgement import Outcome
from plimsoll.present.document import Tone
from plimsoll.present.foreign_text import one_line
from plimsoll.units import counted, format_elapsed, format_seconds, format_short_bytes
from plimsoll.verdict.cells import cause_of, was_not_asked

PASSED, FAILED, SKIPPED, WAIVED = "passed", "failed", "skipped", "waived"

_TONES: Final = {PASSED: Tone.GOOD, FAILED: Tone.BAD, SKIPPED: Tone.NEAR, WAIVED: Tone.NEAR}
_SIGNS: Final = {Tone.GOOD: ("✓", "ok"), Tone.BAD: ("✗", "FAILED"), Tone.NEAR: ("○", "--")}
"""A sign, and a word where the terminal cannot show it."""
_WORST_FIRST: Final = (FAILED, SKIPPED, WAIVED, PASSED)
_LONGEST: Final = 200
"""Characters of a reason."""
_BAD: Final = tuple(outcome.value for outcome in Outcome if not outcome.is_good)
_MEMORY: Final = (("vram_peak", ""), ("ram_peak", "RAM "))
_LOAD: Final = ("cold_load_time", "warm_load_time")
_NODE: Final = "the node"
_KNOWN_AFTER: Final = (10.0, 0.05)
"""Seconds, and the share of the checks, before anything is said of the time that is left."""


@dataclass(frozen=True, slots=True)
class Told:
    """A line for the terminal."""

    text: str
    tone: Tone


@dataclass(slots=True)
class Ended:
    """What the phases of one check have come to so far."""

    outcome: str = PASSED
    reason: str = ""
    seconds: float = 0.0
    figures: list[Mapping[str, Any]] = field(default_factory=list)
    """The fields of its judgements."""
    see: str = ""
    """Where more is written of what it shows."""

    def take(self, outcome: str, reason: str, seconds: float, figures: Iterable[Mapping[str, Any]]) -> None:
        """Add a phase: its setup, the check itself, or what came after it."""
        if _WORST_FIRST.index(outcome) < _WORST_FIRST.index(self.outcome):
            self.outcome, self.reason = outcome, reason
        self.seconds += seconds
        self.figures += figures

    def judge(self, measures: Iterable[str]) -> None:
        """Fail what passed with a bad figure, or without one that it was to judge, as the verdict will."""
        judged = {figure["metric"] for figure in self.figures}
        bad = [str(figure["text"]) for figure in self.figures if figure.get("outcome") in _BAD]
        bad += [f"not measured: {metric}" for metric in measures if metric not in judged]
        if bad and self.outcome == PASSED:
            self.outcome, self.reason = FAILED, bad[0]


@dataclass(slots=True)
class _Group:
    """The checks of a variant, or those of one subject to the node."""

    title: str
    planned: int = 0
    gpu: str = ""
    ended: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    figures: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    why_skipped: str = ""
    shared_failure: str = ""
    is_told: bool = False

    @property
    def is_over(self) -> bool:
        return self.ended.total() >= self.planned > 0


class Story:
    """The run as a person follows it. `ascii_only` where the terminal cannot show more than ASCII."""

    def __init__(self, *, ascii_only: bool = False) -> None:
        self._sign = 1 if ascii_only else 0
        self._groups: dict[str, _Group] = {}
        self._of: dict[str, _Group] = {}
        self._measures: dict[str, tuple[str, ...]] = {}
        self._running: dict[str, Ended] = {}

    def plan(self, cells: Iterable[Cell]) -> None:
        """These checks are to be asked. What is asked without having been planned has a group of its own."""
        for cell in cells:
            if cell.id not in self._of:
                group = self._group(*_group_of(cell))
                group.planned += 1
                self._of[cell.id] = group
                self._measures[cell.id] = cell.measures

    def started(self, cell: str) -> None:
        """A check is being asked."""
        self._running[cell] = Ended()

    def phase(
        self,
        cell: str,
        outcome: str,
        reason: str,
        seconds: float,
        figures: Iterable[Mapping[str, Any]],
        see: str = "",
    ) -> None:
        """A phase of a check is over. `seconds` is what it took, `see` where more is written of what it shows."""
        ended = self._running.setdefault(cell, Ended())
        ended.take(outcome, reason, seconds, figures)
        ended.see = ended.see or see

    def ended(self, cell: str) -> list[Told]:
        """A check is over: what is to be said of it, and of its variant where it was the last one."""
        end = self._running.pop(cell, None)
        if end is None:
            return []
        group = self._of.get(cell) or self._group(_title(cell), "")
        self._of[cell] = group
        end.judge(self._measures.get(cell, ()))
        group.ended[end.outcome] += 1
        group.seconds += end.seconds
        group.figures |= {figure["metric"]: figure for figure in end.figures}
        lines = []
        if end.outcome == FAILED:
            lines += self._failure(cell, group, end)
        elif end.outcome == SKIPPED:
            group.why_skipped = group.why_skipped or end.reason
        return [*lines, *([self._closing(group)] if group.is_over else [])]

    def finish(self) -> list[Told]:
        """The run is over: the variants of which checks were left."""
        return [
            self._closing(group)
            for group in self._groups.values()
            if not group.is_told and (group.ended or group.planned)
        ]

    def now(self, seconds: float) -> str:
        """What is being asked, and how far the run is after so many seconds."""
        asked = dict.fromkeys(self._of[cell].title if cell in self._of else _title(cell) for cell in self._running)
        done = sum(group.ended.total() for group in self._groups.values())
        planned = sum(group.planned for group in self._groups.values())
        parts = [", ".join(asked)] if asked else []
        parts += [
            f"{done} of {planned} checks" if planned else counted(done, "check"),
            f"{format_elapsed(seconds)} so far",
        ]
        share = done / planned if planned else 0.0
        if seconds >= _KNOWN_AFTER[0] and _KNOWN_AFTER[1] <= share < 1:
            parts.append(f"about {format_elapsed(seconds / share - seconds)} left")
        return ", ".join(parts)

    def _group(self, title: str, gpu: str) -> _Group:
        return self._groups.setdefault(f"{title} {gpu}", _Group(title=title, gpu=gpu))

    def _failure(self, cell: str, group: _Group, end: Ended) -> list[Told]:
        """Once where checks failed before they asked: a model that did not load fails all of its checks alike."""
        core = cause_of(end.reason)
        if core == group.shared_failure and was_not_asked(end.reason):
            return []
        group.shared_failure = core
        see = f" (see {end.see})" if end.see else ""
        return [self._line(Tone.BAD, f"{group.title} {check_name(cell)}: {one_line(end.reason, _LONGEST)}{see}")]

    def _closing(self, group: _Group) -> Told:
        group.is_told = True
        worst = next((outcome for outcome in _WORST_FIRST if group.ended[outcome]), SKIPPED)
        asked = counted(group.planned or group.ended.total(), "check")
        parts = [f"{group.title:<36}", f"{asked:>10}"]
        counts = [(outcome, group.ended[outcome]) for outcome in _WORST_FIRST if outcome != PASSED]
        left = group.planned - group.ended.total()
        found = [f"{count} {outcome}" for outcome, count in (*counts, ("not asked", left)) if count > 0]
        parts += [", ".join(found)] if found else []
        parts += [part for part in (_memory(group.figures), _load(group.figures)) if part]
        parts += [gpu_name(group.gpu)] if group.gpu else []
        parts += [one_line(group.why_skipped, _LONGEST)] if group.why_skipped and worst == SKIPPED else []
        return self._line(Tone.NEAR if worst == PASSED and left > 0 else _TONES[worst], "  ".join(parts).rstrip())

    def _line(self, tone: Tone, text: str) -> Told:
        return Told(f"{_SIGNS[tone][self._sign]} {text}", tone)


def check_name(cell: str) -> str:
    """`test_stored_bytes` of a node id."""
    return cell.rpartition("::")[2].partition("[")[0]


def gpu_name(gpu: str) -> str:
    """`GPU 0, GPU 1` of `gpu0+gpu1`."""
    return gpu.replace("gpu", "GPU ").replace("+", ", ")


def spoken(reason: str) -> str:
    """A failure's text without what pytest adds to an assertion that speaks for itself."""
    lines = reason.removeprefix("AssertionError: ").removeprefix("Failed: ").splitlines()
    told = [line for line in lines if not line.startswith(("assert ", " +  ", "  +  "))]
    return "\n".join(told) if told else reason


def _group_of(cell: Cell) -> tuple[str, str]:
    return (cell.variant or f"{_NODE}: {cell.subject or 'other'}", cell.gpu or "")


def _title(cell: str) -> str:
    parameter = cell.partition("[")[2].rpartition("]")[0]
    return parameter or _NODE


def _memory(figures: Mapping[str, Mapping[str, Any]]) -> str:
    for metric, place in _MEMORY:
        figure = figures.get(metric)
        if figure is not None and isinstance(figure.get("value"), int | float):
            high = figure.get("high")
            of = f" of {format_short_bytes(high)}" if isinstance(high, int | float) else ""
            return f"{place}{format_short_bytes(figure['value'])}{of}"
    return ""


def _load(figures: Mapping[str, Mapping[str, Any]]) -> str:
    times: Sequence[Any] = [figures[metric].get("value") for metric in _LOAD if metric in figures]
    return next((f"load {format_seconds(time)}" for time in times if isinstance(time, int | float)), "")
