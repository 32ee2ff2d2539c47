"""What failed, for a reader who wants to know why: each figure with its limit and source, the causes that were found,
what a test said, and the last words of hosts that ended before their time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from plimsoll.evidence.record import RunRecord
from plimsoll.judge.judgement import Judgement
from plimsoll.present.html_elements import badge, bullets, safe, some, unfolding, wide_table
from plimsoll.units import format_value
from plimsoll.verdict.cells import CellOutcome, CellResult

_MOST_SHOWN: Final = 50
"""Failures above the rows; all of them have a row of their own."""
_LONGEST_REASON: Final = 2000
"""Characters of a reason above the rows; the last words of a host can be long."""
_MOST_HOSTS: Final = 20
_ENDED_BADLY: Final = ("died", "timeout")


def failures(results: Iterable[CellResult]) -> str:
    """Every failure, those of one variant that say the same as one."""
    alike: dict[tuple[str | None, str], list[CellResult]] = {}
    for result in results:
        if result.outcome is CellOutcome.FAIL:
            alike.setdefault((result.cell.variant, result.reason), []).append(result)
    entries = [_failure(group) for group in alike.values()]
    return bullets("Failures", some(entries, _MOST_SHOWN, "in the rows below"))


def ended_hosts(record: RunRecord) -> str:
    """The hosts that died or did not answer, with the last lines of their logs; of several runs each says its own."""
    entries = [
        _host(host, f" in {run.run_id}" if record.parts else "")
        for run in record.runs
        for host in run.hosts
        if host.get("state") in _ENDED_BADLY
    ]
    return bullets("Hosts that ended before their time", some(entries, _MOST_HOSTS, "in evidence.jsonl"))


def cut(text: str) -> str:
    """A text that is not too long for the head of a page."""
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…\n(the row below has the rest)"


def margin(judgement: Judgement) -> str:
    """How far inside or outside of its limit a value lies, as HTML."""
    if judgement.headroom is None:
        return "–"
    return f"{abs(judgement.headroom):.1%} {'inside' if judgement.headroom >= 0 else 'outside'}"


def value_of(judgement: Judgement) -> str:
    """The measured value, or why there is none, as HTML."""
    measurement = judgement.measurement
    if measurement.value is None:
        return f"not measured ({safe(measurement.reason)})"
    return safe(format_value(measurement.value, measurement.unit))


def _failure(alike: Sequence[CellResult]) -> str:
    result = alike[0]
    others = "".join(f"<li><code>{safe(other.cell.id)}</code></li>" for other in alike[1:])
    more = unfolding(f"and {len(alike) - 1} more that say the same", f"<ul>{others}</ul>") if others else ""
    bad = [judgement for judgement in result.judgements if not judgement.outcome.is_good]
    causes = dict.fromkeys(cause for measured in result.measurements for cause in measured.causes) if bad else {}
    told = {*map(str, bad), *(f"cause: {cause}" for cause in causes)}
    # A cause may have several lines: take away what was told by its text, not line by line.
    rest = result.reason
    for text in told:
        rest = rest.replace(text, "")
    return "".join(
        (
            f"<code>{safe(result.cell.id)}</code>{more}",
            _figures(bad),
            _causes(causes),
            _reason(rest.strip()) if rest.strip() else "",
        )
    )


def _figures(judgements: Sequence[Judgement]) -> str:
    if not judgements:
        return ""
    rows = [
        [
            f'<th scope="row">{badge(judgement.outcome.value)} {judgement.measurement.metric}</th>',
            f"<td><strong>{value_of(judgement)}</strong></td>",
            f"<td>{safe(str(judgement.limit))}</td>",
            f"<td>{margin(judgement)}</td>",
            f"<td>{safe(judgement.limit.source)}</td>",
        ]
        for judgement in judgements
    ]
    return wide_table("Figures that failed", ("Figure", "Measured", "Limit", "Margin", "Source"), rows)


def _causes(causes: Iterable[str]) -> str:
    entries = "".join(f"<li>{safe(cause)}</li>" for cause in causes)
    return f'<p>Found as its cause:</p><ul class="plimsoll-causes">{entries}</ul>' if entries else ""


def _reason(text: str) -> str:
    """The first line at a glance; a stack or a host's last words unfold."""
    first, _, rest = cut(text).partition("\n")
    whole = unfolding("All of it", f"<pre>{safe(rest)}</pre>") if rest.strip() else ""
    return f"<pre>{safe(first)}</pre>{whole}"


def _host(host: Mapping[str, Any], where: str) -> str:
    how = "did not answer in time" if host.get("state") == "timeout" else "died"
    ended = [str(host[key]) for key in ("reason", "signal") if host.get(key)]
    if host.get("exitcode") is not None:
        ended.append(f"exit code {host['exitcode']}")
    doing = f" at {safe(str(host['request']))}" if host.get("request") else ""
    lines = host.get("stderr") or ()
    last = lines if isinstance(lines, str) else "\n".join(map(str, lines))
    words = f"<pre>{safe(last[-_LONGEST_REASON:])}</pre>" if last.strip() else "<p>Its log has no last lines.</p>"
    stack = unfolding("Its stacks", f"<pre>{safe(cut(str(host['stack'])))}</pre>") if host.get("stack") else ""
    why = safe(", ".join(ended) or "cause unknown")
    return f"<code>{safe(str(host.get('variant')))}</code>{safe(where)} {how}{doing}: {why}{words}{stack}"
