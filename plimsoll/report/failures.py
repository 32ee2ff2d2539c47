"""What failed, as sections of the verdict's document: each cause once, and the model processes that ended badly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from plimsoll.evidence.record import RunRecord
from plimsoll.judge.judgement import Judgement
from plimsoll.metrics import METRICS
from plimsoll.present.document import (
    BREAK,
    Bullets,
    Cell,
    Inline,
    Paragraph,
    Piece,
    Section,
    Span,
    Style,
    Table,
    Verbatim,
    Words,
    code,
    columns,
    faint,
    strong,
)
from plimsoll.present.foreign_text import one_line
from plimsoll.report.manual import manual_lines, manual_words
from plimsoll.report.pieces import BELOW, LONGEST_REASON, cut, listed, of_outcome, unfolding
from plimsoll.report.reader import Reader
from plimsoll.report.story import check_name, gpu_name, spoken
from plimsoll.report.symptoms import diagnosis_lines, symptom_link
from plimsoll.units import format_value
from plimsoll.verdict.cells import CellOutcome, CellResult, cause_of, was_not_asked

FAILURES: Final = "Failures"

_BRIEF: Final = 300
"""Characters of a reason on one line."""
_MOST_SHOWN: Final = 50
"""Failures above the rows of the page; all of them have a row of their own."""
_MOST_HOSTS: Final = 20
_ENDED_BADLY: Final = ("died", "timeout")


def failure_sections(results: Sequence[CellResult], reader: Reader) -> list[Section | None]:
    """Every failure for who reads a file, a row each for a job, and for the page a row for each cause."""
    failed = of_outcome(results, CellOutcome.FAIL)
    if not failed:
        return []
    if reader is Reader.STEP:
        rows = tuple((code(r.cell.id), code(r.reason, _BRIEF)) for r in failed)
        return [Section(title="Failures", blocks=(Table(columns=columns("check", "what"), rows=rows),))]
    if reader is Reader.SUMMARY:
        whole = [
            Section(
                title=code(r.cell.id),
                level=2,
                blocks=(Verbatim(text=r.reason), *diagnosis_lines(r.diagnoses), *manual_lines(r)),
            )
            for r in failed
        ]
        return [Section(title="Failures", blocks=tuple(whole))]
    causes = causes_of(failed)
    shown: tuple[tuple[Cell, ...], ...] = tuple(_failure(alike) for alike in causes[:_MOST_SHOWN])
    more = len(causes) - len(shown)
    titles = ("Variant", "Check", "Measured", "Limit", "Off by", "What it says", "Next step")
    table = Table(label="What failed", columns=columns(*titles), rows=shown)
    rest = [Paragraph(words=f"and {more} more, {BELOW}")] if more > 0 else []
    return [Section(title=FAILURES, blocks=(table, *rest))]


def value_of(judgement: Judgement) -> str:
    """The measured value, or why there is none."""
    measurement = judgement.measurement
    if measurement.value is None:
        return f"not measured ({measurement.reason})"
    return format_value(measurement.value, measurement.unit)


def margin(judgement: Judgement) -> str:
    """How far inside or outside of its limit a value lies."""
    return judgement.room or "–"


def causes_of(failed: Iterable[CellResult]) -> list[list[CellResult]]:
    """Failures that are one: of one variant on the same GPUs, for which an earlier one kept the others from asking."""
    alike: dict[tuple[str | None, ...], list[CellResult]] = {}
    for result in failed:
        cell = result.cell
        cause: tuple[str | None, ...] = (cell.variant, cell.gpu, cause_of(result.reason))
        own = () if cause not in alike or was_not_asked(result.reason) else (cell.id,)
        alike.setdefault((*cause, *own), []).append(result)
    return list(alike.values())


def _failure(alike: Sequence[CellResult]) -> tuple[Cell, ...]:
    """A row for the failures that are one: what was measured against which limit, what is said, and what to do."""
    result = alike[0]
    bad = [judgement for judgement in result.judgements if not judgement.outcome.is_good]
    causes = dict.fromkeys(cause for measured in result.measurements for cause in measured.causes) if bad else {}
    told = {*map(str, bad), *(f"cause: {cause}" for cause in causes)}
    # A cause may have several lines: take away what was told by its text, not line by line.
    rest = spoken(result.reason)
    for text in told:
        rest = rest.replace(text, "")
    others = tuple(code(other.cell.id) for other in alike[1:])
    more = unfolding(f"and {len(others)} more that say the same", Bullets(entries=others))
    row: tuple[Cell, ...] = (
        (
            Span(text=result.cell.variant or "the node", style=Style.NAME),
            *((BREAK, faint(gpu_name(result.cell.gpu))) if result.cell.gpu else ()),
        ),
        _with(code(check_name(result.cell.id)), [more] if others else []),
        _lines(strong(value_of(j) if j.measurement.value is not None else "not measured") for j in bad),
        _lines((f"{judgement.limit} ", faint(judgement.limit.source)) for judgement in bad),
        _lines(judgement.room.removesuffix(" outside") for judgement in bad),
        _said(bad, tuple(causes), rest.strip()),
        _steps_on_page(result),
    )
    return row


def _said(bad: Iterable[Judgement], causes: tuple[str, ...], rest: str) -> Cell:
    """What the figures are called, why they are bad, and what else the check said."""
    found: list[Piece] = [
        *_lines(Span(text=METRICS[j.measurement.metric].title, title=j.measurement.metric) for j in bad)
    ]
    found += [Bullets(entries=causes, name="causes")] if causes else []
    found += _reason(rest) if rest else []
    return tuple(found)


def _with(words: Inline, below: Iterable[Piece]) -> Cell:
    found: list[Piece] = [words, *below]
    return tuple(found)


def _lines(parts: Iterable[Words]) -> tuple[Inline, ...]:
    found: list[Inline] = []
    for part in parts:
        found += [BREAK] if found else []
        found += part if isinstance(part, tuple) else (part,)
    return tuple(found)


def _steps_on_page(result: CellResult) -> Cell:
    """The next step of each symptom that was recognised, with a link to what the page says of it, and where the manual
    tells of the check."""
    return _lines([*((f"{each.next} ", symptom_link(each)) for each in result.diagnoses), *manual_words(result)])


def _reason(text: str) -> list[Piece]:
    """What it says at a glance; a stack, a host's last words or a long list unfold."""
    first, *rest = cut(text).splitlines()
    if first.endswith(":") and rest:
        first, *rest = f"{first} {rest[0].strip()}", *rest[1:]
    short = one_line(first, _BRIEF)
    whole = text if short != " ".join(first.split()) else "\n".join(rest)
    return [Verbatim(text=short), *([unfolding("All of it", Verbatim(text=cut(whole)))] if whole.strip() else [])]


def ended_hosts(record: RunRecord) -> list[Section | None]:
    """The hosts that died or did not answer, with the last lines of their logs; of several runs each says its own."""
    entries = [
        _host(host, f" in {run.run_id}" if record.parts else "")
        for run in record.runs
        for host in run.hosts
        if host.get("state") in _ENDED_BADLY
    ]
    return [listed("Model processes that crashed or timed out", entries, _MOST_HOSTS, "in evidence.jsonl")]


def _host(host: Mapping[str, Any], where: str) -> tuple[Piece, ...]:
    how = "did not answer in time" if host.get("state") == "timeout" else "died"
    ended = [str(host[key]) for key in ("reason", "signal") if host.get(key)]
    if host.get("exitcode") is not None:
        ended.append(f"exit code {host['exitcode']}")
    doing = f" at {host['request']}" if host.get("request") else ""
    told = host.get("stderr") or ()
    last = told if isinstance(told, str) else "\n".join(map(str, told))
    return (
        code(str(host.get("variant"))),
        f"{where} {how}{doing}: {', '.join(ended) or 'cause unknown'}",
        Verbatim(text=last[-LONGEST_REASON:]) if last.strip() else Paragraph(words="Its log has no last lines."),
        *([unfolding("Its stacks", Verbatim(text=cut(str(host["stack"]))))] if host.get("stack") else []),
    )
