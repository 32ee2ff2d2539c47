"""The AUROC matrix: every variant, dataset and score at once, each with its number."""

from __future__ import annotations

from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from plimsoll.present.drawing import FAINT, INK, RULE
from plimsoll.uncertainty.analysis import Analysis
from plimsoll.uncertainty.drawn.picture import CATEGORIES, Picture, datasets, draw, label, missing
from plimsoll.uncertainty.measuring import Result
from plimsoll.uncertainty.scores import Score

NAME: Final = "auroc-matrix"
TITLE: Final = "AUROC of each variant, dataset and score"
_HOW: Final = (
    "Each cell is the AUROC of wrong answers against right ones; the fuller the blue, the better the score tells them "
    "apart. 0.50 is chance; below it, where the score points the wrong way, cells are hatched. A dash is unset."
)
_FULLEST: Final = 0.55
"""Opacity at 1.0: the number on top stays readable in light and dark."""


_MOST_COLUMNS: Final = 16
"""Beyond that, only the first score is shown: more would not be readable."""


def auroc_matrix(analysis: Analysis) -> Picture:
    """Rows are variants, columns datasets and scores."""
    results = analysis.results
    if all(found.value is None for result in results for found in result.aurocs.values()):
        return missing(NAME, TITLE, _HOW, "no AUROC was measured")
    variants = list(dict.fromkeys(result.asked.asking.variant for result in results))
    scores = analysis.setting.scores
    columns = [(dataset, score) for dataset in datasets(results) for score in scores]
    if len(columns) > _MOST_COLUMNS:
        columns = [(dataset, scores[0]) for dataset in datasets(results)]
    cells = {(r.asked.asking.variant, r.asked.dataset): r for r in results}

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        for row, variant in enumerate(variants):
            for column, (dataset, score) in enumerate(columns):
                _cell(axes, row, column, cells.get((variant, dataset)), score)
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(variants), 0)
        axes.set_yticks([row + 0.5 for row in range(len(variants))], [label(variant) for variant in variants])
        names = [score.label for _, score in columns]
        axes.set_xticks([column + 0.5 for column in range(len(columns))], names, rotation=35, ha="right")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _headings(axes, columns)

    width = 3.2 + 0.62 * len(columns)
    return draw(NAME, TITLE, _HOW, (max(width, 5.0), 1.5 + 0.27 * len(variants)), fill)


def _cell(axes: Any, row: int, column: int, result: Result | None, score: Score) -> None:
    value = None if result is None else result.aurocs[score].value
    text = "–" if value is None else f"{value:.2f}"
    if value is not None:
        above = value >= 0.5
        strength = _FULLEST * abs(value - 0.5) * 2.0
        box = Rectangle((column, row), 1, 1, facecolor=CATEGORIES[0 if above else 1], alpha=strength, linewidth=0)
        axes.add_patch(box)
        if not above:
            axes.add_patch(Rectangle((column, row), 1, 1, fill=False, hatch="////", edgecolor=RULE, linewidth=0))
    axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=RULE, linewidth=0.5))
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=FAINT if value is None else INK)


def _headings(axes: Any, columns: list[tuple[str, Score]]) -> None:
    """Each dataset's name above its columns, and a line between two datasets."""
    for dataset in dict.fromkeys(dataset for dataset, _ in columns):
        places = [place for place, (name, _) in enumerate(columns) if name == dataset]
        axes.text((places[0] + places[-1] + 1) / 2, -0.25, label(dataset), ha="center", va="bottom", weight="bold")
        if places[0]:
            axes.axvline(places[0], color=INK, linewidth=1.2)
