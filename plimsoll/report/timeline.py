"""Memory of hosts over time, and its section in report.html: put together from samples, and from when a host was asked
what.

A variant may have had several hosts, one after another: they follow on one axis, without the time between them. Times
are those at which events were written, so a request began as many seconds before its event as it took.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from plimsoll.evidence.record import RunRecord
from plimsoll.present.document import (
    Fold,
    Gallery,
    Key,
    LineChart,
    Paragraph,
    Section,
    Table,
    Words,
    columns,
)
from plimsoll.report.line_charts import memory_chart
from plimsoll.units import format_bytes, format_exact, format_seconds

MOST_POINTS: Final = 80
"""Samples that are drawn; of more, the highest of each stretch stands for it."""

_DOING: Final = {
    "Load": "loading",
    "Generate": "generating",
    "AnswerPrompts": "generating",
    "CompareCache": "generating",
    "CompareBatch": "generating",
    "Score": "scoring",
    "TrainStep": "training",
}
_CLOSE: Final = 0.02
"""Work of one kind that is interrupted for less than this part of the whole is one stretch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time in which a host did one kind of work; seconds from the variant's first host on."""

    doing: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The memory of a variant's hosts."""

    variant: str
    hosts: tuple[tuple[tuple[float, int], ...], ...]
    """Of each host, seconds and resident bytes."""
    stretches: tuple[Stretch, ...]
    seconds: float
    ended: tuple[str, ...]
    """What went wrong with hosts: `died`, `timeout`."""

    @property
    def points(self) -> tuple[tuple[float, int], ...]:
        """The samples of all hosts."""
        return tuple(point for host in self.hosts for point in host)

    @property
    def highest(self) -> int:
        """Bytes; needs at least one sample."""
        return max(rss for _, rss in self.points)


@dataclass(slots=True)
class _Host:
    """What is known of one process: absolute times in seconds."""

    variant: str
    began: float
    ended: float
    samples: list[tuple[float, int]] = field(default_factory=list)
    work: list[tuple[str, float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def timelines(record: RunRecord) -> list[Timeline]:
    """One for each planned variant whose memory was sampled at least twice, in the order of the plan."""
    planned = dict.fromkeys(cell.variant for cell in record.plan if cell.variant is not None)
    hosts: dict[str, list[_Host]] = {}
    for run in record.runs:
        for host in _hosts(run):
            hosts.setdefault(host.variant, []).append(host)
    made = (_timeline(variant, hosts[variant]) for variant in planned if variant in hosts)
    return [timeline for timeline in made if len(timeline.points) > 1]


def _hosts(run: RunRecord) -> list[_Host]:
    """The processes of one run. A number may be given to a second process once the first has ended."""
    found: list[_Host] = []
    loads = {variant: iter([r for v, r in _loads(run) if v == variant]) for variant, _ in _loads(run)}
    current: dict[tuple[object, object], _Host] = {}
    for at, event in _in_order([*run.hosts, *run.samples]):
        key = event.get("worker"), event.get("pid")
        if event.get("state") == "started" or key not in current:
            current[key] = _Host(variant=str(event.get("variant")), began=at, ended=at)
            found.append(current[key])
        _add(current[key], at, event)
        if event.get("state") == "request" and event.get("request") == "Load" and not event.get("error"):
            _add_load(current[key], at, event, next(loads.get(str(event.get("variant")), iter(())), {}))
    return found


def _loads(run: RunRecord) -> list[tuple[str, Mapping[str, Any]]]:
    return [(load.variant, load.report) for load in run.loads]


def _add_load(host: _Host, at: float, event: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    """What the host itself saw of its memory while it loaded: a load may be over before it is sampled."""
    memory, seconds = report.get("memory"), event.get("seconds")
    if not isinstance(memory, Mapping) or not isinstance(seconds, (int, float)):
        return
    for when, rss in ((max(host.began, at - seconds), memory.get("before")), (at, memory.get("peak"))):
        if isinstance(rss, int):
            host.samples.append((when, rss))


def _in_order(events: Sequence[Mapping[str, Any]]) -> Iterator[tuple[float, Mapping[str, Any]]]:
    times = []
    for event in events:
        try:
            times.append((datetime.fromisoformat(str(event.get("at"))).timestamp(), event))
        except ValueError:
            continue  # a time that nobody can read has no place on the axis
    return iter(sorted(times, key=lambda timed: timed[0]))


def _add(host: _Host, at: float, event: Mapping[str, Any]) -> None:
    host.ended = max(host.ended, at)
    state, rss, seconds = event.get("state"), event.get("rss"), event.get("seconds")
    if event.get("event") == "sample":
        if isinstance(rss, int):
            host.samples.append((at, rss))
    elif isinstance(seconds, (int, float)) and state in ("request", "died", "timeout"):
        doing = _DOING.get(str(event.get("request")))
        if doing is not None:
            host.work.append((doing, max(host.began, at - seconds), at))
    if state in ("died", "timeout"):
        host.failures.append(str(state))


def _timeline(variant: str, hosts: Sequence[_Host]) -> Timeline:
    offset, points, work = 0.0, [], []
    for host in hosts:
        shift = offset - host.began
        points.append(sorted((at + shift, rss) for at, rss in host.samples))
        work += [Stretch(doing=doing, start=start + shift, end=end + shift) for doing, start, end in host.work]
        offset += host.ended - host.began
    every = -(-sum(map(len, points)) // MOST_POINTS)
    return Timeline(
        variant=variant,
        hosts=tuple(_thinned(samples, every) for samples in points if samples),
        stretches=tuple(_joined(work, _CLOSE * offset)),
        seconds=offset,
        ended=tuple(failure for host in hosts for failure in host.failures),
    )


def _thinned(samples: Sequence[tuple[float, int]], every: int) -> tuple[tuple[float, int], ...]:
    """The highest of each so many samples, with the last one, where a line would else end too early."""
    if every <= 1:
        return tuple(samples)
    chosen = [max(samples[i : i + every], key=lambda sample: sample[1]) for i in range(0, len(samples), every)]
    return tuple(dict.fromkeys([*chosen, samples[-1]]))


def _joined(work: Sequence[Stretch], close: float) -> list[Stretch]:
    joined: list[Stretch] = []
    for one in work:
        last = joined[-1] if joined else None
        if last is not None and last.doing == one.doing and one.start - last.end <= close:
            joined[-1] = Stretch(doing=last.doing, start=last.start, end=one.end)
        else:
            joined.append(one)
    return joined


_HEAD: Final = columns("Variant", "Hosts", "Time", "First sample", "Highest sample", "Last sample", "Work", "Ended")
_MANY: Final = 12
"""Charts; more are folded away."""
_WORK: Final = ("loading", "generating", "scoring", "training")
"""What a host does, in the order of the bands' lanes. Each has a style of its name, `resident` is that of the line."""
_NOTE: Final = "Resident memory, sampled four times a second while the host was busy, with the highest of each load."


def timeline_section(record: RunRecord) -> Section | None:
    """Every variant whose memory was sampled: a small chart each, and the figures as a table."""
    found = timelines(record)
    if not found:
        return None
    seen = {stretch.doing for timeline in found for stretch in timeline.stretches}
    work = [doing for doing in _WORK if doing in seen]
    table = Table(label="Memory over time", columns=_HEAD, rows=tuple(map(_row, found)))
    return Section(
        title="Memory of the hosts over time",
        fold=Fold.OPEN if len(found) <= _MANY else Fold.CLOSED,
        blocks=(
            Paragraph(words=_NOTE),
            Key(label="Key to the bands under each line", marks=tuple((doing, doing) for doing in work)),
            Gallery(charts=tuple(timeline_chart(timeline, work) for timeline in found)),
            Section(title="Figures", level=0, fold=Fold.CLOSED, blocks=(table,)),
        ),
    )


def timeline_chart(timeline: Timeline, work: Sequence[str]) -> LineChart:
    """The chart of a variant, with a lane for each kind of `work`: the same in all charts beside each other."""
    highest, seconds = timeline.highest, format_seconds(timeline.seconds)
    told = [f"at most {format_exact(highest, 'bytes')}", f"{seconds} in all", *_work(timeline), *timeline.ended]
    return memory_chart(
        timeline.variant,
        alt=f"Memory over time of {timeline.variant}: at most {format_bytes(highest)} within {seconds}",
        exact="; ".join(told),
        seconds=timeline.seconds,
        lines=[("resident", timeline.hosts)],
        bands={doing: [(one.start, one.end) for one in timeline.stretches if one.doing == doing] for doing in work},
    )


def _row(timeline: Timeline) -> tuple[Words, ...]:
    points = timeline.points
    return (
        timeline.variant,
        str(len(timeline.hosts)),
        format_seconds(timeline.seconds),
        format_bytes(points[0][1]),
        format_bytes(timeline.highest),
        format_bytes(points[-1][1]),
        ", ".join(_work(timeline)) or "–",
        ", ".join(timeline.ended) or "as it was told to",
    )


def _work(timeline: Timeline) -> list[str]:
    seconds: dict[str, float] = {}
    for stretch in timeline.stretches:
        seconds[stretch.doing] = seconds.get(stretch.doing, 0.0) + stretch.end - stretch.start
    return [f"{doing} {format_seconds(time)}" for doing, time in seconds.items()]
