"""What failed, as sections of the verdict's document: each cause once, and the model processes that ended badly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from plimsoll.catalogue.entries import without_gpus
from plimsoll.evidence.record import RunRecord
from plimsoll.judge.judgement import Judgement
from plimsoll.manual.reading import Entry
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
)
from plimsoll.present.foreign_text import one_line
from plimsoll.report.figures import beside_limit, brief_value, exact_limit, over_by
from plimsoll.report.manual import manual_lines, manual_of_failed, manual_words
from plimsoll.report.pieces import BELOW, LONGEST_REASON, check_link, cut, listed, of_outcome, unfolding
from plimsoll.report.reader import Reader
from plimsoll.report.story import gpu_name, spoken
from plimsoll.report.symptoms import diagnosis_lines, symptom_link
from plimsoll.units import format_exact
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
    manual = manual_of_failed(failed)
    shown: tuple[tuple[Cell, ...], ...] = tuple(_failure(alike, manual) for alike in causes[:_MOST_SHOWN])
    more = len(causes) - len(shown)
    titles = ("Variant", "Check", "Measured", "Limit", "Off by", "Cause", "Next step")
    table = Table(label="What failed", columns=columns(*titles), rows=shown)
    rest = [Paragraph(words=f"and {more} more, {BELOW}")] if more > 0 else []
    return [Section(title=FAILURES, blocks=(table, *rest))]


def causes_of(failed: Iterable[CellResult]) -> list[list[CellResult]]:
    """Failures that are one: of one variant on the same GPUs, for which an earlier one kept the others from asking."""
    alike: dict[tuple[str | None, ...], list[CellResult]] = {}
    for result in failed:
        cell = result.cell
        cause: tuple[str | None, ...] = (cell.variant, cell.gpu, cause_of(result.reason))
        own = () if cause not in alike or was_not_asked(result.reason) else (cell.id,)
        alike.setdefault((*cause, *own), []).append(result)
    return list(alike.values())


def _failure(alike: Sequence[CellResult], manual: Mapping[str, Entry]) -> tuple[Cell, ...]:
    """A row for the failures that are one: what was measured against which limit, what is said, and what to do."""
    result = alike[0]
    bad = [judgement for judgement in result.judgements if not judgement.outcome.is_good]
    causes = dict.fromkeys(cause for measured in result.measurements for cause in measured.causes) if bad else {}
    told = {*map(str, bad), *(f"cause: {cause}" for cause in causes)}
    # A cause may have several lines: take away what was told by its text, not line by line.
    rest = spoken(result.reason)
    for text in told:
        rest = rest.replace(text, "")
    others = tuple(check_link(other) for other in alike[1:])
    more = unfolding(f"and {len(others)} more that say the same", Bullets(entries=others))
    actions = dict.fromkeys(measured.action for measured in result.measurements if measured.action)
    for action in actions:
        rest = rest.replace(f"action: {action}", "")
    row: tuple[Cell, ...] = (
        _asked(result),
        _with(check_link(result), [more] if others else []),
        _lines(_value(judgement) for judgement in bad),
        _lines(_limit(judgement) for judgement in bad),
        _lines(over_by(judgement) for judgement in bad),
        _said(tuple(causes), rest.strip()),
        _next(result, tuple(actions), manual),
    )
    return row


def _asked(result: CellResult) -> Cell:
    """The variant, or the part of the node, and the GPUs."""
    cell = result.cell
    name = without_gpus(cell.variant) if cell.variant else "the node"
    gpu = (BREAK, faint(gpu_name(cell.gpu))) if cell.gpu else ()
    return (Span(text=name, style=Style.NAME, title=cell.variant or ""), *gpu)


def _value(judgement: Judgement) -> Words:
    measurement = judgement.measurement
    metric = METRICS[measurement.metric]
    title = (BREAK, Span(text=metric.title, style=Style.FAINT, title=metric.name))
    if measurement.value is None:
        # In the open: a touch screen and paper have no pointer, and this is what went wrong.
        return (brief_value(measurement), *title)
    exact = format_exact(measurement.value, measurement.unit)
    return (Span(text=beside_limit(judgement)[0], style=Style.STRONG, title=exact), *title)


def _limit(judgement: Judgement) -> Words:
    limit = judgement.limit
    return (Span(text=beside_limit(judgement)[1], title=exact_limit(limit)), BREAK, faint(limit.source))


def _said(causes: tuple[str, ...], rest: str) -> Cell:
    """Why the figures are bad, and what else the check said."""
    found: list[Piece] = [Bullets(entries=causes, name="causes")] if causes else []
    return (*found, *(_reason(rest) if rest else []))


def _with(words: Inline, below: Iterable[Piece]) -> Cell:
    found: list[Piece] = [words, *below]
    return tuple(found)


def _lines(parts: Iterable[Words]) -> tuple[Inline, ...]:
    found: list[Inline] = []
    for part in parts:
        found += [BREAK] if found else []
        found += part if isinstance(part, tuple) else (part,)
    return tuple(found)


def _next(result: CellResult, actions: Sequence[str], manual: Mapping[str, Entry]) -> Cell:
    """The next step of each symptom that was recognised, with a link to what the page says of it, else of the check,
    else of the manual; and where the page tells of the check."""
    steps: list[Words] = [(f"{each.next} ", symptom_link(each)) for each in result.diagnoses]
    known = steps or actions
    return _lines([*known, manual_words(result, manual, with_step=not known)])


def _reason(text: str) -> list[Piece]:
    """What it says at a glance; a stack, a host's last words or a long list unfold."""
    first, *rest = cut(text).splitlines()
    if first.endswith(":") and rest:
        first, *rest = f"{first} {rest[0].strip()}", *rest[1:]
    short = one_line(first, _BRIEF)
    whole = text if short != " ".join(first.split()) else "\n".join(rest)
    return [Paragraph(words=short), *([unfolding("All of it", Verbatim(text=cut(whole)))] if whole.strip() else [])]


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
