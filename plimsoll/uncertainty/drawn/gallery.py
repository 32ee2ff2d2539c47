"""All pictures of an analysis, and the two that show everything at once: the AUROC matrix and the radar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from plimsoll.present.document import Picture
from plimsoll.present.drawing import CATEGORIES, FAINT, INK, RULE
from plimsoll.uncertainty.analysis import Analysis
from plimsoll.uncertainty.drawn.bars import best_of_each, family_bars
from plimsoll.uncertainty.drawn.calibration import accuracy_against_auroc, histograms, reliability_diagram
from plimsoll.uncertainty.drawn.effects import dataset_effect, size_effect, summary
from plimsoll.uncertainty.drawn.picture import category, datasets, draw, label, missing, model_points
from plimsoll.uncertainty.measuring import Result
from plimsoll.uncertainty.scores import TokenScore

_MATRIX: Final = "auroc-matrix"
_MATRIX_TITLE: Final = "AUROC of each variant, dataset and score"
_MATRIX_HOW: Final = (
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
        return missing(_MATRIX, _MATRIX_TITLE, _MATRIX_HOW, "no AUROC was measured")
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
                _square(axes, row, column, cells.get((variant, dataset)), score)
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(variants), 0)
        axes.set_yticks([row + 0.5 for row in range(len(variants))], [label(variant) for variant in variants])
        names = [score.label for _, score in columns]
        axes.set_xticks([column + 0.5 for column in range(len(columns))], names, rotation=35, ha="right")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _headings(axes, columns)

    width = 3.2 + 0.62 * len(columns)
    return draw(_MATRIX, _MATRIX_TITLE, _MATRIX_HOW, (max(width, 5.0), 1.5 + 0.27 * len(variants)), fill)


def _square(axes: Any, row: int, column: int, result: Result | None, score: TokenScore) -> None:
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


def _headings(axes: Any, columns: list[tuple[str, TokenScore]]) -> None:
    """Each dataset's name above its columns, and a line between two datasets."""
    for dataset in dict.fromkeys(dataset for dataset, _ in columns):
        places = [place for place, (name, _) in enumerate(columns) if name == dataset]
        # In points and not in rows: how high a row is follows from the room that these names take.
        axes.annotate(
            label(dataset),
            ((places[0] + places[-1] + 1) / 2, 0),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            weight="bold",
        )
        if places[0]:
            axes.axvline(places[0], color=INK, linewidth=1.2)


_MOST_MODELS: Final = 6
_LINES: Final = ("-", "--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)), (0, (2, 1)))


def radar(analysis: Analysis) -> Picture:
    """One ring a model; axes are accuracy, AUROC and calibration on each dataset."""
    score = analysis.setting.primary
    name, title = "radar", "Models at a glance"
    how = (
        f"Further out is better on each axis: share of right answers, AUROC of {score.label}, and 1 minus the "
        "calibration error, from 0 in the middle to 1 at the rim; each model in its least quantized variant. Areas "
        "mean nothing: they depend on the order of the axes."
    )
    models: dict[str, dict[str, tuple[float, float, float]]] = {}
    for point in model_points(analysis.results, score):
        accuracy, calibration = point.result.accuracy, point.result.reliability
        if accuracy is not None and calibration is not None:
            asked = point.result.asked
            values = (accuracy.value, point.value, 1.0 - calibration.error)
            models.setdefault(asked.asking.model, {})[asked.dataset] = values
    names = [d for d in datasets(analysis.results) if any(d in found for found in models.values())]
    complete = {model: found for model, found in models.items() if set(names) <= set(found)}
    if not complete:
        return missing(name, title, how, "no model has figures on every dataset that was asked")
    shown = dict(list(complete.items())[:_MOST_MODELS])
    left_out = len(models) - len(shown)
    if left_out:
        how += f" {left_out} more are not drawn: at most {_MOST_MODELS}, and only those with figures on every dataset."
    axes_names = [f"{label(dataset)}\n{what}" for dataset in names for what in ("right", "AUROC", "calibration")]
    angles = np.linspace(0.0, 2.0 * np.pi, len(axes_names), endpoint=False)

    def fill(figure: Figure) -> None:
        axes = figure.subplots(subplot_kw={"projection": "polar"})
        for number, (model, found) in enumerate(shown.items()):
            around_it = [value for dataset in names for value in found[dataset]]
            colour, mark, _ = category(number)
            closed = [*around_it, around_it[0]]
            around = [*angles, angles[0]]
            axes.plot(around, closed, mark, linestyle=_LINES[number], color=colour, markersize=4, label=label(model))
        axes.set_xticks(angles, axes_names)
        axes.tick_params(axis="x", pad=12)
        axes.set_ylim(0.0, 1.0)
        axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["", "0.5", "", "1"])
        axes.grid(color=RULE)
        axes.spines[:].set_color(RULE)
        figure.legend(loc="outside lower center", ncols=2)

    return draw(name, title, how, (6.4, 6.4), fill)


PICTURES: Final[tuple[Callable[[Analysis], Picture], ...]] = (
    summary,
    auroc_matrix,
    best_of_each,
    family_bars,
    size_effect,
    dataset_effect,
    accuracy_against_auroc,
    reliability_diagram,
    histograms,
    radar,
)


def gallery(analysis: Analysis) -> tuple[Picture, ...]:
    """Every picture, drawn or with the reason why it is not."""
    return tuple(picture(analysis) for picture in PICTURES)
