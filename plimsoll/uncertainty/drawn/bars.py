"""Models side by side on each dataset: by family, and the best of each dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from plimsoll.present.document import Picture
from plimsoll.present.drawing import CATEGORIES, FAINT, INK
from plimsoll.uncertainty.analysis import Analysis
from plimsoll.uncertainty.drawn.picture import (
    Point,
    category,
    datasets,
    draw,
    families,
    label,
    missing,
    model_points,
    points,
)
from plimsoll.uncertainty.measuring import Result
from plimsoll.uncertainty.scores import TokenScore

_MOST: Final = 5
"""Variants a dataset among the best."""


def family_bars(analysis: Analysis) -> Picture:
    """A bar for each model, in its family's colour and hatch, one panel a dataset."""
    score = analysis.setting.primary
    name, title = "family-bars", f"AUROC of {score.label} by family"
    how = (
        "A bar starts at chance (0.5) and ends at the AUROC, with its 95% interval; each model in its least quantized "
        "variant. Bars to the left of 0.5 point the wrong way."
    )
    shown = model_points(analysis.results, score)
    if not shown:
        return missing(name, title, how, f"no AUROC of {score.label}")
    order = families(analysis.results)
    shown.sort(key=lambda p: (order.index(p.result.asked.asking.family), p.result.asked.asking.parameters or 0))
    models = list(dict.fromkeys(point.result.asked.asking.model for point in shown))
    names = datasets([point.result for point in shown])

    def fill(figure: Figure) -> None:
        panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
        for axes, dataset in zip(panels, names, strict=True):
            for point in (p for p in shown if p.result.asked.dataset == dataset):
                asking = point.result.asked.asking
                _bar(axes, models.index(asking.model), point, order.index(asking.family))
            axes.axvline(0.5, color=INK, linewidth=0.8)
            axes.set_title(label(dataset), fontsize=9, color=INK)
            axes.set_xlabel(f"AUROC of {score.label}")
            axes.grid(axis="x")
            axes.set_axisbelow(True)
        panels[0].set_yticks(range(len(models)), [label(model) for model in models])
        panels[0].set_ylim(len(models) - 0.4, -0.6)
        handles = [_patch(order.index(family), family) for family in families([point.result for point in shown])]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(6, len(handles)))

    return draw(name, title, how, (2.4 + 2.6 * len(names), 1.5 + 0.32 * len(models)), fill)


def _bar(axes: Any, place: int, found: Point, family: int) -> None:
    colour, _, hatch = category(family)
    axes.barh(place, found.value - 0.5, left=0.5, height=0.6, color=colour, alpha=0.35, linewidth=0)
    axes.barh(place, found.value - 0.5, left=0.5, height=0.6, fill=False, hatch=hatch, edgecolor=colour, linewidth=1.0)
    axes.plot([found.interval.low, found.interval.high], [place, place], color=INK, linewidth=1.2)
    axes.plot([found.interval.low, found.interval.high], [place, place], "|", color=INK, markersize=6)


def _patch(index: int, family: str) -> Patch:
    colour, _, hatch = category(index)
    return Patch(facecolor="none", edgecolor=colour, hatch=hatch, label=label(family))


def best_of_each(analysis: Analysis) -> Picture:
    """The variants and scores with the highest AUROC of each dataset, with how sure that order is."""
    name, title = "best-of-each-dataset", "Best of each dataset"
    how = (
        f"The {_MOST} highest AUROCs of each dataset among all variants, each with its best score, and their 95% "
        "intervals. The filled mark is the highest; where an interval reaches it, the order may be chance."
    )
    ranked = {d: _ranked([r for r in analysis.results if r.asked.dataset == d]) for d in datasets(analysis.results)}
    ranked = {dataset: rows for dataset, rows in ranked.items() if rows}
    if not ranked:
        return missing(name, title, how, "no AUROC was measured")

    def fill(figure: Figure) -> None:
        panels = figure.subplots(len(ranked), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (dataset, rows) in zip(panels, ranked.items(), strict=True):
            for place, (_, found) in enumerate(rows):
                axes.plot([found.interval.low, found.interval.high], [place, place], color=FAINT, linewidth=1.5)
                face = CATEGORIES[0] if place == 0 else "none"
                axes.plot([found.value], [place], "D", color=CATEGORIES[0], markerfacecolor=face, markersize=6)
            names = [f"{label(found.result.asked.asking.variant)}, {score.label}" for score, found in rows]
            axes.set_yticks(range(len(rows)), names)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_title(label(dataset), fontsize=9, color=INK, loc="left")
            axes.grid(axis="x")
            axes.set_axisbelow(True)
        panels[-1].set_xlabel("AUROC")

    return draw(name, title, how, (7.5, 0.7 + sum(0.5 + 0.26 * len(rows) for rows in ranked.values())), fill)


def _ranked(results: Sequence[Result]) -> list[tuple[TokenScore, Point]]:
    """The best score of each result, the best result first."""
    best = []
    for result in results:
        found = [(score, point) for score in result.aurocs for point in points([result], score)]
        if found:
            best.append(max(found, key=lambda pair: pair[1].value))
    return sorted(best, key=lambda pair: -pair[1].value)[:_MOST]
