"""An analysis in lines and tables: what the terminal, the Markdown file and the page all show.

Texts are as they came from evidence; whoever writes them escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from plimsoll.present.foreign_text import one_line
from plimsoll.present.markdown import markdown
from plimsoll.present.tables import Table, aligned, markdown_table
from plimsoll.statistics.auroc import CONFIDENCE, FEWEST, FEWEST_OF_A_KIND, Auroc
from plimsoll.uncertainty.analysis import Analysis
from plimsoll.uncertainty.comparing import ALPHA, Compared
from plimsoll.uncertainty.measuring import Result
from plimsoll.uncertainty.pairs import Question
from plimsoll.uncertainty.published import beside
from plimsoll.uncertainty.scores import Score

_NONE: Final = "-"
_LONGEST: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A heading with what stands under it."""

    title: str
    lines: tuple[str, ...] = ()
    table: Table | None = None


def parts(analysis: Analysis) -> list[Part]:
    """The whole, the answers first; parts without content are left out."""
    found = [
        Part(title="The research questions", lines=tuple(f"{a.question.text} {a.text}" for a in analysis.answers)),
        _unmeasured(analysis),
        _results(analysis),
        _best(analysis),
        _withheld(analysis),
        _published(analysis),
        *(_comparisons(analysis, question) for question in Question),
        Part(title="Notes", lines=analysis.notes),
        Part(title="How it was computed", lines=_method(analysis)),
    ]
    return [part for part in found if part.lines or part.table]


def terminal_lines(analysis: Analysis) -> list[str]:
    """Lines for a terminal: results and answers; the files hold the comparisons."""
    shown = [part for part in parts(analysis) if not part.title.startswith("Compared")]
    lines = []
    for part in (*shown[1:], shown[0]):
        lines += [part.title, *(f"  {one_line(line, _LONGEST)}" for line in part.lines)]
        lines += [] if part.table is None else aligned(part.table)
        lines.append("")
    return lines


def markdown_text(analysis: Analysis, pictures: tuple[tuple[str, str, str], ...] = ()) -> str:
    """uncertainty.md; `pictures` are (title, file, how to read it), the file empty where it was not drawn."""
    blocks = [f"# Uncertainty: {markdown(', '.join(analysis.run_ids))}"]
    for part in parts(analysis):
        blocks.append(f"## {markdown(part.title)}")
        if part.lines:
            blocks.append("\n".join(f"- {markdown(line)}" for line in part.lines))
        if part.table is not None:
            blocks.append(markdown_table(part.table))
    if pictures:
        blocks.append("## Pictures")
    for title, file, how in pictures:
        blocks.append(
            f"### {markdown(title)}\n\n{markdown(how)}" + (f"\n\n![{markdown(title)}]({file})" if file else "")
        )
    return "\n\n".join(blocks) + "\n"


def auroc_text(found: Auroc, *, bare: bool = False) -> str:
    """`0.714 (0.660 to 0.766)`, or a dash; `bare` leaves out the interval, which the files hold."""
    if found.value is None:
        return _NONE
    interval = found.interval
    return f"{found.value:.3f}" + ("" if bare or interval is None else f" ({interval.low:.3f} to {interval.high:.3f})")


def _unmeasured(analysis: Analysis) -> Part:
    primary = analysis.setting.primary
    return Part(
        title=f"Without an AUROC of {primary.label}",
        lines=tuple(f"{result.name}: not measured: {result.aurocs[primary].reason}" for result in analysis.unmeasured),
    )


def _results(analysis: Analysis) -> Part:
    scores = analysis.setting.scores
    rows = tuple(
        (
            result.asked.asking.variant,
            result.asked.dataset,
            f"{len(result.asked.answers)} of {result.asked.asking.chosen}",
            _NONE if result.accuracy is None else f"{result.accuracy.value:.1%}",
            *(auroc_text(result.aurocs[score], bare=score is not scores[0]) for score in scores),
            _NONE if result.reliability is None else f"{result.reliability.error:.3f}",
        )
        for result in analysis.results
    )
    head = ("variant", "dataset", "answers", "right", *(score.label for score in scores), "calibration error")
    return Part(
        title="AUROC of each score, wrong answers against right ones",
        table=Table(head=head, rows=rows, numbers=2) if rows else None,
    )


def _best(analysis: Analysis) -> Part:
    rows = []
    for dataset, results in by_dataset(analysis).items():
        found = [(r, s) for r in results for s in analysis.setting.scores if r.aurocs[s].value is not None]
        if found:
            result, score = max(found, key=lambda pair: pair[0].aurocs[pair[1]].value or 0.0)
            alike = sum(_overlaps(result.aurocs[score], r.aurocs[score]) for r in results if r is not result)
            row = (dataset, result.asked.asking.variant, score.label, auroc_text(result.aurocs[score]), str(alike))
            rows.append(row)
    head = ("dataset", "variant", "score", "AUROC", "others whose interval overlaps")
    return Part(title="Best of each dataset", table=Table(head=head, rows=tuple(rows), numbers=3) if rows else None)


def _overlaps(one: Auroc, other: Auroc) -> bool:
    if one.interval is None or other.interval is None:
        return False
    return one.interval.low <= other.interval.high and other.interval.low <= one.interval.high


def by_dataset(analysis: Analysis) -> dict[str, list[Result]]:
    """The results of each dataset, in the order in which they were asked."""
    found: dict[str, list[Result]] = {}
    for result in analysis.results:
        found.setdefault(result.asked.dataset, []).append(result)
    return found


def _withheld(analysis: Analysis) -> Part:
    scores = analysis.setting.scores
    rows = tuple(
        (
            result.asked.asking.variant,
            result.asked.dataset,
            *(auroc_text(result.known[score], bare=score is not scores[0]) for score in scores),
        )
        for result in analysis.results
        if any(found.value is not None for found in result.known.values())
    )
    head = ("variant", "dataset", *(score.label for score in scores))
    return Part(
        title="AUROC of each score, withheld questions against taught ones",
        table=Table(head=head, rows=rows, numbers=2) if rows else None,
    )


def _published(analysis: Analysis) -> Part:
    rows = [
        (
            result.asked.asking.variant,
            result.asked.dataset,
            str(figure),
            auroc_text(result.aurocs[Score.G_NLL]) if Score.G_NLL in result.aurocs else _NONE,
            beside(result, figure),
            figure.source,
        )
        for result in analysis.results
        for figure in analysis.published.get((result.asked.asking.variant, result.asked.asking.dataset), ())
    ]
    head = ("variant", "dataset", "published", "here", "the published figure is", "source")
    return Part(
        title="Beside published figures of G-NLL", table=Table(head=head, rows=tuple(rows), numbers=6) if rows else None
    )


def _comparisons(analysis: Analysis, question: Question) -> Part:
    found = [row for row in analysis.comparisons if row.question is question]
    ordered = sorted(found, key=lambda row: (not row.is_shown, row.difference is None))
    return Part(
        title=f"Compared: {question.value}",
        lines=(question.text,) if found else (),
        table=Table(
            head=("first", "second", "figure", "word", "difference", "interval", "p", "test or reason"),
            rows=tuple(_comparison(row) for row in ordered),
            numbers=4,
            notable=sum(row.is_shown for row in ordered),
        )
        if found
        else None,
    )


def _comparison(row: Compared) -> tuple[str, ...]:
    if row.question is Question.METHOD and row.score is not None:
        names = (row.first.name, row.score.label)
    else:
        names = (row.first.name, row.second.name)
    figure = row.figure if row.score is None else f"{row.figure.upper()} of {row.score.label}"
    if row.difference is None:
        return (*names, figure, row.word, _NONE, _NONE, _NONE, row.reason)
    said = row.difference.test + (f"; {row.also}" if row.also else "")
    interval = f"{row.difference.interval.low:+.3f} to {row.difference.interval.high:+.3f}"
    p = _NONE if row.p_adjusted is None else ("<0.0001" if row.p_adjusted < 1e-4 else f"{row.p_adjusted:.4f}")
    return (*names, figure, row.word, f"{row.difference.value:+.3f}", interval, p, said)


def _method(analysis: Analysis) -> tuple[str, ...]:
    setting = analysis.setting
    rules = dict.fromkeys(f"{result.asked.asking.dataset}: {result.rule}" for result in analysis.results)
    lines = [
        "every score is an uncertainty: higher means less sure; above an AUROC of 0.5, wrong answers score higher",
        f"right means: {'; '.join(rules)}",
        f"the token that ends an answer {'counts' if setting.with_end else 'does not count'}",
        f"intervals of {CONFIDENCE:.0%}; no AUROC below {FEWEST} answers, below {FEWEST_OF_A_KIND} of the rarer kind, "
        "or where a row is missing",
        f"models are compared by {setting.primary.label}; p by Holm within each question, a difference is shown below "
        f"{ALPHA:g}; differences are the second minus the first",
    ]
    if Score.RW_G_NLL in setting.scores:
        lines.append(f"relevance of tokens in RW-G-NLL: {setting.similarity.name}")
    return tuple(lines)
