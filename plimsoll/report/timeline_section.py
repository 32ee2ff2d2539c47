"""The section with each loaded variant's memory over time: a small picture each, and the figures as a table."""

from __future__ import annotations

from typing import Final

from plimsoll.evidence.record import RunRecord
from plimsoll.extras import why_no_pictures
from plimsoll.present.html_elements import cell, row_head, safe, unfolding, wide_table
from plimsoll.report.section import Section
from plimsoll.report.timeline import Timeline, timelines
from plimsoll.units import format_bytes, format_seconds

_HEAD: Final = ("Variant", "Hosts", "Time", "First sample", "Highest sample", "Last sample", "Work", "Ended")
_MANY: Final = 12
"""Pictures; more are folded away."""
_KEYS: Final = ("loading", "generating", "scoring", "training")


def timeline_section(record: RunRecord) -> Section | None:
    """Every variant whose memory was sampled."""
    found = timelines(record)
    if not found:
        return None
    missing = why_no_pictures()
    table = wide_table("Memory over time", _HEAD, map(_row, found))
    head = f"<p>{safe(missing)}</p>" if missing else _legend(found)
    pictures = "" if missing else f'<div class="plimsoll-pictures">{_pictures(found)}</div>'
    return Section(
        title="Memory of the hosts over time",
        html=f"{head}{pictures}{unfolding('Figures', table, is_open=bool(missing))}",
        is_open=len(found) <= _MANY,
    )


def _legend(found: list[Timeline]) -> str:
    seen = {stretch.doing for timeline in found for stretch in timeline.stretches}
    keys = "".join(f'<li><i class="plimsoll-key-{doing}"></i> {doing}</li>' for doing in _KEYS if doing in seen)
    note = "Resident memory, sampled four times a second while the host was busy, with the highest of each load"
    return f'<p>{note}.</p><ul class="plimsoll-legend" aria-label="Key to the bands under each line">{keys}</ul>'


def _pictures(found: list[Timeline]) -> str:
    # Half a second to import, and not everywhere there: only where something is drawn.
    from plimsoll.report.timeline_chart import timeline_chart

    return "".join(
        f'<figure role="img" aria-label="{safe(f"Memory over time of {timeline.variant}: {_summary(timeline)}")}">'
        f"<figcaption>{safe(timeline.variant)}</figcaption>{timeline_chart(timeline, f'time-{number}')}</figure>"
        for number, timeline in enumerate(found)
    )


def _summary(timeline: Timeline) -> str:
    return f"at most {format_bytes(timeline.highest)} within {format_seconds(timeline.seconds)}"


def _row(timeline: Timeline) -> list[str]:
    points = timeline.points
    return [
        row_head(timeline.variant),
        cell(str(len(timeline.hosts))),
        cell(format_seconds(timeline.seconds)),
        cell(format_bytes(points[0][1])),
        cell(format_bytes(timeline.highest)),
        cell(format_bytes(points[-1][1])),
        cell(", ".join(_work(timeline)) or "–"),
        cell(", ".join(timeline.ended) or "as it was told to"),
    ]


def _work(timeline: Timeline) -> list[str]:
    seconds: dict[str, float] = {}
    for stretch in timeline.stretches:
        seconds[stretch.doing] = seconds.get(stretch.doing, 0.0) + stretch.end - stretch.start
    return [f"{doing} {format_seconds(time)}" for doing, time in seconds.items()]
