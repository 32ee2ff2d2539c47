"""Confidence against truth: reliability, score histograms, and accuracy against AUROC."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from plimsoll.present.document import Picture
from plimsoll.present.drawing import CATEGORIES, FAINT, INK
from plimsoll.uncertainty.analysis import Analysis
from plimsoll.uncertainty.drawn.picture import Point, category, datasets, draw, families, label, missing, model_points
from plimsoll.uncertainty.measuring import Result
from plimsoll.uncertainty.pairs import most_precise
from plimsoll.uncertainty.reliability import Reliability, proportion
from plimsoll.uncertainty.scores import TokenScore

_MOST_PANELS: Final = 12
_COLUMNS: Final = 4
_HISTOGRAM_BINS: Final = 20
_SHOWN_SHARE: Final = 0.98
"""Of the scores that a histogram spreads out; its last bin holds the rest, or one outlier would flatten it."""


def reliability_diagram(analysis: Analysis) -> Picture:
    """Accuracy by confidence, a panel for each model and dataset."""
    name, title = "reliability", "Reliability: is a model right as often as its probabilities say?"
    how = (
        "Confidence is exp(-mean NLL), the geometric mean of the answer's token probabilities. Each mark is a tenth of "
        "the range that holds answers, with the 95% interval of its accuracy; its area grows with the answers. On the "
        "diagonal the two agree; below it the model is too sure. ECE is the mean distance, weighted by answers."
    )
    shown = [r for r in most_precise(analysis.results) if r.reliability is not None]
    if not shown:
        return missing(name, title, how, "no model and dataset with all its answers")
    return _panels(name, title, how, shown, _reliability_panel, ("confidence", "right"))


def _reliability_panel(axes: Any, result: Result) -> str:
    """Fills a panel and says its calibration error."""
    found = result.reliability
    if found is None:
        return "not measured"
    across, up = [b.confidence for b in found.bins], [b.right.value for b in found.bins]
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle="--")
    axes.plot(across, up, color=CATEGORIES[0], linewidth=0.8)
    for b in found.bins:
        interval = b.right.interval
        axes.plot([b.confidence] * 2, [interval.low, interval.high], color=CATEGORIES[0], linewidth=1.0)
    axes.scatter(across, up, _areas(found), CATEGORIES[0])
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    return f"ECE {found.error:.3f}"


def _areas(found: Reliability) -> list[float]:
    total = sum(b.right.answers for b in found.bins)
    return [8.0 + 80.0 * b.right.answers / total for b in found.bins]


def histograms(analysis: Analysis) -> Picture:
    """The first score's values of right and of wrong answers, a panel for each model and dataset."""
    score = analysis.setting.primary
    name, title = "histograms", f"{score.label} of right and of wrong answers"
    how = (
        f"Bars are the shares of right answers (filled) and of wrong ones (hatched, outlined) by their {score.label}. "
        "The less the two overlap, the higher the AUROC. The last bar holds the highest 2% of all."
    )
    shown = [point.result for point in model_points(analysis.results, score)]
    if not shown:
        return missing(name, title, how, f"no AUROC of {score.label}, so none with enough answers of both kinds")

    def panel(axes: Any, result: Result) -> str:
        return _histogram(axes, result, score)

    legend = (
        Patch(facecolor=CATEGORIES[0], alpha=0.45, label="right answers"),
        Patch(facecolor="none", edgecolor=CATEGORIES[1], hatch="////", label="wrong answers"),
    )
    return _panels(name, title, how, shown, panel, (score.label, "share"), legend)


def _histogram(axes: Any, result: Result, score: TokenScore) -> str:
    values = np.asarray(result.values[score], dtype=np.float64)
    right = np.asarray(result.right)
    finite = values[np.isfinite(values)]
    top = float(np.quantile(finite, _SHOWN_SHARE))
    low = float(finite.min())
    edges = np.linspace(low, top if top > low else low + 1.0, _HISTOGRAM_BINS + 1)
    for kind, colour, wrong in ((right, CATEGORIES[0], False), (~right, CATEGORIES[1], True)):
        counts, _ = np.histogram(np.minimum(values[kind], edges[-1]), bins=edges)
        style = {"fill": False, "hatch": "////", "edgecolor": colour} if wrong else {"color": colour, "alpha": 0.45}
        axes.stairs(counts / max(1, kind.sum()), edges, linewidth=1.0, **({"fill": True} | style))
    return f"AUROC {result.aurocs[score].value:.2f}"


def _panels(
    name: str,
    title: str,
    how: str,
    results: Sequence[Result],
    fill_panel: Callable[[Any, Result], str],
    axis_labels: tuple[str, str],
    legend: Sequence[Patch] = (),
) -> Picture:
    shown = results[:_MOST_PANELS]
    if len(results) > len(shown):
        how += f" The first {len(shown)} of {len(results)} are drawn; the tables hold all."
    columns = min(_COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)

    def fill(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, result in zip(panels, shown, strict=False):
            said = fill_panel(axes, result)
            name = f"{label(result.asked.asking.model)}\n{label(result.asked.dataset)}, {said}"
            axes.set_title(name, fontsize=8, color=INK)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        figure.supxlabel(axis_labels[0], fontsize=9)
        figure.supylabel(axis_labels[1], fontsize=9)
        if legend:
            figure.legend(handles=legend, loc="outside upper center", ncols=len(legend))

    return draw(name, title, how, (max(4.0, 2.3 * columns), 0.5 + 2.0 * rows), fill)


def accuracy_against_auroc(analysis: Analysis) -> Picture:
    """Does what is right more often also know better when it is wrong? One panel a dataset."""
    score = analysis.setting.primary
    name, title = "accuracy-against-auroc", f"Accuracy against AUROC of {score.label}"
    how = (
        "Each mark is a model in its least quantized variant, in the colour and form of its family, hollow where it is "
        "instruction-tuned; lines are 95% intervals. Up and to the right is better."
    )
    shown = model_points(analysis.results, score)
    seen = [point.result for point in shown]
    if len(shown) < 2:
        return missing(name, title, how, "this needs two models or datasets with an AUROC")
    order, names = families(analysis.results), datasets(seen)

    def fill(figure: Figure) -> None:
        panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
        for axes, dataset in zip(panels, names, strict=True):
            for point in (p for p in shown if p.result.asked.dataset == dataset):
                _cross(axes, point, order.index(point.result.asked.asking.family))
            axes.axhline(0.5, color=INK, linewidth=0.8)
            axes.set_title(label(dataset), fontsize=9, color=INK)
            axes.set_xlabel("right")
            axes.xaxis.set_major_formatter("{x:.0%}")
            axes.grid()
            axes.set_axisbelow(True)
        panels[0].set_ylabel(f"AUROC of {score.label}")
        for family in families(seen):
            colour, mark, _ = category(order.index(family))
            panels[0].plot([], [], mark, color=colour, label=label(family))
        figure.legend(loc="outside upper center", ncols=min(6, len(families(seen))))

    return draw(name, title, how, (1.2 + 3.0 * len(names), 3.8), fill)


def _cross(axes: Any, found: Point, family: int) -> None:
    accuracy = proportion(found.result.right)
    colour, mark, _ = category(family)
    across, up = accuracy.interval, found.interval
    axes.plot([accuracy.value] * 2, [up.low, up.high], color=colour, linewidth=0.7, alpha=0.6)
    axes.plot([across.low, across.high], [found.value] * 2, color=colour, linewidth=0.7, alpha=0.6)
    face = "none" if found.result.asked.asking.tuned_from else colour
    axes.plot([accuracy.value], [found.value], mark, color=colour, markerfacecolor=face, markersize=7)
