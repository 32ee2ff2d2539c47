"""Writes everything about an analysis into a folder: JSON, CSV, Markdown, and a file for each picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.present.drawing import svg_file
from plimsoll.report.write import write_atomically
from plimsoll.statistics.interval import Interval
from plimsoll.uncertainty.analysis import Analysis
from plimsoll.uncertainty.data import analysis_text
from plimsoll.uncertainty.document import markdown_text
from plimsoll.uncertainty.drawn.gallery import gallery
from plimsoll.uncertainty.measuring import Result
from plimsoll.uncertainty.scores import TokenScore


def write_analysis(analysis: Analysis, folder: Path) -> list[str]:
    """Write all files into the folder, which is made where it is missing. Returns what was not drawn, with the reason.

    A picture of an earlier analysis that is not drawn this time is removed, so that it is not mistaken for one of this
    analysis. Raises PlimsollError where something cannot be written.
    """
    pictures = gallery(analysis)
    texts = {
        "uncertainty.json": analysis_text(analysis),
        "uncertainty.md": markdown_text(analysis, pictures),
        "results.csv": results_csv(analysis),
        "comparisons.csv": comparisons_csv(analysis),
        "scores.csv": scores_csv(analysis),
        **{f"{p.name}.svg": svg_file(p.element) for p in pictures if p.element is not None},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomically(folder / name, text)
        for picture in pictures:
            if picture.element is None:
                (folder / f"{picture.name}.svg").unlink(missing_ok=True)
    except OSError as error:
        what = f"{error.filename or folder} could not be written ({reason_of(error)})"
        raise PlimsollError(f"{what}; use --out DIR for another folder") from None
    return [f"{p.title}: {p.text}" for p in pictures if p.element is None]


def results_csv(analysis: Analysis) -> str:
    """One row a variant, dataset and score."""
    head = (
        *("variant", "model", "family", "quantization", "tuned_from", "parameters", "dataset", "shots", "correct"),
        *("asked", "answers", "accuracy", "accuracy_low", "accuracy_high", "score", "auroc", "auroc_low"),
        *("auroc_high", "auroc_withheld", "calibration_error", "brier", "reason", "run"),
    )
    return _csv(head, (_csv_row(result, score) for result in analysis.results for score in analysis.setting.scores))


def _csv_row(result: Result, score: TokenScore) -> Sequence[object]:
    asking, found, calibration = result.asked.asking, result.aurocs[score], result.reliability
    return (
        *(asking.variant, asking.model, asking.family, asking.quantization, asking.tuned_from, asking.parameters),
        *(asking.dataset, asking.shots, str(result.rule), asking.chosen, len(result.asked.answers)),
        None if result.accuracy is None else result.accuracy.value,
        *_bounds(None if result.accuracy is None else result.accuracy.interval),
        *(score.value, found.value, *_bounds(found.interval), result.known[score].value),
        *((None, None) if calibration is None else (calibration.error, calibration.brier)),
        *(found.reason, result.asked.run_id),
    )


def _bounds(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def comparisons_csv(analysis: Analysis) -> str:
    """One row a comparison."""
    head = (
        *("question", "figure", "score", "first_variant", "first_dataset", "second_variant", "second_dataset"),
        *("difference", "low", "high", "p", "p_adjusted", "test", "word", "reason", "also"),
    )
    rows = []
    for row in analysis.comparisons:
        d, first, second = row.difference, row.first.asked.asking, row.second.asked.asking
        rows.append(
            (
                *(row.question.value, row.figure, None if row.score is None else row.score.value),
                *(first.variant, first.dataset, second.variant, second.dataset),
                *((None,) * 4 if d is None else (d.value, d.interval.low, d.interval.high, d.p)),
                *(row.p_adjusted, None if d is None else d.test, row.word, row.reason, row.also),
            )
        )
    return _csv(head, rows)


def scores_csv(analysis: Analysis) -> str:
    """One row an answer, so that others can compute with it: no text of a model is in here."""
    scores = analysis.setting.scores
    head = ("variant", "dataset", "index", "example", "known", "right", *(score.value for score in scores))
    rows = (
        (
            *(result.asked.asking.variant, result.asked.dataset, answer.index, answer.example.id),
            *(answer.example.known, result.right[place] if result.right else None),
            *(result.values[score][place] for score in scores),
        )
        for result in analysis.results
        for place, answer in enumerate(result.asked.answers)
    )
    return _csv(head, rows)


def _csv(head: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    """What is unset is an empty field."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_field(value) for value in row] for row in rows)
    return buffer.getvalue()


def _field(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets a quote before it: ids come from files of others."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
