"""An analysis as a document: what the terminal, the Markdown file and the page all show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plimsoll.present import markdown, terminal
from plimsoll.present.document import Document, Picture, Section, section_of, table_of
from plimsoll.statistics.auroc import CONFIDENCE, FEWEST, FEWEST_OF_A_KIND, Auroc
from plimsoll.uncertainty.analysis import Analysis, beside
from plimsoll.uncertainty.comparing import ALPHA, Compared
from plimsoll.uncertainty.measuring import Result
from plimsoll.uncertainty.pairs import Topic
from plimsoll.uncertainty.scores import TokenScore

_NONE: Final = "-"


def sections(analysis: Analysis) -> list[Section]:
    """The whole, the answers first; sections without content are left out."""
    found = [
        section_of("The research questions", [f"{a.question.text} {a.text}" for a in analysis.answers]),
        _unmeasured(analysis),
        _results(analysis),
        _best(analysis),
        _withheld(analysis),
        _published(analysis),
        *(_comparisons(analysis, question) for question in Topic),
        section_of("Notes", analysis.notes),
        section_of("How it was computed", _method(analysis)),
    ]
    return [section for section in found if section.blocks]


def terminal_lines(analysis: Analysis) -> list[str]:
    """Lines for a terminal: results and answers; the files hold the comparisons."""
    shown = [section for section in sections(analysis) if not str(section.title).startswith("Compared")]
    return [line for section in (*shown[1:], shown[0]) for line in (*terminal.section_lines(section), "")]


def markdown_text(analysis: Analysis, pictures: Sequence[Picture] = ()) -> str:
    """uncertainty.md; the pictures lie beside it, each in a file of its own."""
    drawn = [Section(title="Pictures", blocks=tuple(pictures))] if pictures else []
    title = f"Uncertainty: {', '.join(analysis.run_ids)}"
    return markdown.document_text(Document(title=title, blocks=(*sections(analysis), *drawn)))


def auroc_text(found: Auroc, *, bare: bool = False) -> str:
    """`0.714 (0.660 to 0.766)`, or a dash; `bare` leaves out the interval, which the files hold."""
    if found.value is None:
        return _NONE
    interval = found.interval
    return f"{found.value:.3f}" + ("" if bare or interval is None else f" ({interval.low:.3f} to {interval.high:.3f})")


def _unmeasured(analysis: Analysis) -> Section:
    primary = analysis.setting.primary
    return section_of(
        f"Without an AUROC of {primary.label}",
        [f"{result.name}: not measured: {result.aurocs[primary].reason}" for result in analysis.unmeasured],
    )


def _results(analysis: Analysis) -> Section:
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
    return section_of("AUROC of each score, wrong answers against right ones", (), table_of(head, rows, 2))


def _best(analysis: Analysis) -> Section:
    rows = []
    for dataset, results in by_dataset(analysis).items():
        found = [(r, s) for r in results for s in analysis.setting.scores if r.aurocs[s].value is not None]
        if found:
            result, score = max(found, key=lambda pair: pair[0].aurocs[pair[1]].value or 0.0)
            alike = sum(_overlaps(result.aurocs[score], r.aurocs[score]) for r in results if r is not result)
            row = (dataset, result.asked.asking.variant, score.label, auroc_text(result.aurocs[score]), str(alike))
            rows.append(row)
    head = ("dataset", "variant", "score", "AUROC", "others whose interval overlaps")
    return section_of("Best of each dataset", (), table_of(head, rows, 3))


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


def _withheld(analysis: Analysis) -> Section:
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
    return section_of("AUROC of each score, withheld questions against taught ones", (), table_of(head, rows, 2))


def _published(analysis: Analysis) -> Section:
    rows = [
        (
            result.asked.asking.variant,
            result.asked.dataset,
            str(figure),
            auroc_text(result.aurocs[TokenScore.G_NLL]) if TokenScore.G_NLL in result.aurocs else _NONE,
            beside(result, figure),
            figure.source,
        )
        for result in analysis.results
        for figure in analysis.published.get((result.asked.asking.variant, result.asked.asking.dataset), ())
    ]
    head = ("variant", "dataset", "published", "here", "the published figure is", "source")
    return section_of("Beside published figures of G-NLL", (), table_of(head, rows, 6))


def _comparisons(analysis: Analysis, question: Topic) -> Section:
    found = [row for row in analysis.comparisons if row.question is question]
    ordered = sorted(found, key=lambda row: (not row.is_shown, row.difference is None))
    head = ("first", "second", "figure", "word", "difference", "interval", "p", "test or reason")
    table = table_of(head, map(_comparison, ordered), 4, sum(row.is_shown for row in ordered))
    return section_of(f"Compared: {question.value}", (question.text,) if found else (), table)


def _comparison(row: Compared) -> tuple[str, ...]:
    if row.question is Topic.METHOD and row.score is not None:
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
    if TokenScore.RW_G_NLL in setting.scores:
        lines.append(f"relevance of tokens in RW-G-NLL: {setting.similarity.name}")
    return tuple(lines)
