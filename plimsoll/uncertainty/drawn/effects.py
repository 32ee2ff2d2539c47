"""What size, dataset and the other differences between models do to the AUROC."""

from __future__ import annotations

from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from plimsoll.present.document import Picture
from plimsoll.present.drawing import FAINT, INK
from plimsoll.statistics.difference import AurocDelta
from plimsoll.uncertainty.analysis import Analysis
from plimsoll.uncertainty.comparing import AUROC, Compared
from plimsoll.uncertainty.drawn.picture import Point, category, datasets, draw, families, label, missing, model_points
from plimsoll.uncertainty.research import RESEARCH

_MOST_ROWS: Final = 60


def size_effect(analysis: Analysis) -> Picture:
    """AUROC over the number of parameters, a line a family, one panel a dataset."""
    score = analysis.setting.primary
    name, title = "size-effect", f"AUROC of {score.label} by model size"
    how = (
        "Each mark is a model in its least quantized variant with its 95% interval; filled marks are base models, "
        "hollow ones instruction-tuned. A line joins models of one family that are alike in that."
    )
    shown = [p for p in model_points(analysis.results, score) if p.result.asked.asking.parameters]
    if len({p.result.asked.asking.parameters for p in shown}) < 2:
        return missing(name, title, how, "this needs models of two sizes whose parameters are known")
    order = families(analysis.results)
    names, seen = datasets([p.result for p in shown]), families([p.result for p in shown])

    def fill(figure: Figure) -> None:
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, dataset in zip(panels, names, strict=True):
            here = [p for p in shown if p.result.asked.dataset == dataset]
            for family in seen:
                for tuned in (False, True):
                    _size_line(axes, [p for p in here if _is(p, family, tuned=tuned)], order.index(family), tuned)
            axes.axhline(0.5, color=INK, linewidth=0.8)
            axes.set_xscale("log")
            sizes = sorted({p.result.asked.asking.parameters or 0 for p in here})
            axes.set_xticks(_apart(sizes), [_size(size) for size in _apart(sizes)])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("parameters")
            axes.set_title(label(dataset), fontsize=9, color=INK)
            axes.margins(x=0.15)
            axes.grid(axis="y")
        panels[0].set_ylabel(f"AUROC of {score.label}")
        for family in seen:
            colour, mark, _ = category(order.index(family))
            panels[0].plot([], [], mark, color=colour, linestyle="-", label=label(family))
        figure.legend(loc="outside upper center", ncols=min(6, len(seen)))

    return draw(name, title, how, (1.2 + 3.0 * len(names), 3.6), fill)


def _is(point: Point, family: str, *, tuned: bool) -> bool:
    asking = point.result.asked.asking
    return asking.family == family and (asking.tuned_from is not None) == tuned


def _size_line(axes: Any, points: list[Point], family: int, tuned: bool) -> None:
    colour, mark, _ = category(family)
    places = []
    for point in points:
        size = point.result.asked.asking.parameters or 0
        # A little aside, or the intervals of models of one size would lie on each other.
        place = size * 1.07 ** (family - 1 + (0.5 if tuned else 0.0))
        axes.plot([place, place], [point.interval.low, point.interval.high], color=colour, linewidth=1.2)
        places.append((place, point.value))
    places.sort()
    face = "none" if tuned else colour
    axes.plot(
        [x for x, _ in places],
        [y for _, y in places],
        color=colour,
        marker=mark,
        markerfacecolor=face,
        linestyle="--" if tuned else "-",
        linewidth=1.0,
    )


def _size(parameters: int) -> str:
    return f"{parameters / 1e9:.3g}B" if parameters >= 10**9 else f"{parameters / 1e6:.3g}M"


def _apart(sizes: list[int]) -> list[int]:
    """Those whose labels do not touch: a quarter more than the one before."""
    kept: list[int] = []
    for size in sizes:
        if not kept or size > 1.35 * kept[-1]:
            kept.append(size)
    return kept


def dataset_effect(analysis: Analysis) -> Picture:
    """The AUROCs of each model on all datasets, on one line."""
    score = analysis.setting.primary
    name, title = "dataset-effect", f"AUROC of {score.label} by dataset"
    how = (
        "Each line is a model in its least quantized variant, each mark one dataset with its 95% interval. Marks far "
        "apart: how well the model knows when it is wrong depends on what it is asked."
    )
    shown = model_points(analysis.results, score)
    names = datasets([point.result for point in shown])
    if len(names) < 2:
        return missing(name, title, how, "this needs answers to two datasets")
    models = list(dict.fromkeys(point.result.asked.asking.model for point in shown))

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        step = 0.5 / len(names)
        for found in shown:
            number = names.index(found.result.asked.dataset)
            colour, mark, _ = category(number)
            place = models.index(found.result.asked.asking.model) + step * (number - (len(names) - 1) / 2)
            axes.plot([found.interval.low, found.interval.high], [place, place], color=colour, linewidth=1.2)
            axes.plot([found.value], [place], mark, color=colour, markersize=6)
        for number, dataset in enumerate(names):
            colour, mark, _ = category(number)
            axes.plot([], [], mark, color=colour, linestyle="-", label=label(dataset))
        axes.axvline(0.5, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(models)), [label(model) for model in models])
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_xlabel(f"AUROC of {score.label}")
        axes.grid(axis="x")
        figure.legend(loc="outside upper center", ncols=min(5, len(names)))

    return draw(name, title, how, (7.0, 1.4 + 0.42 * len(models)), fill)


def summary(analysis: Analysis) -> Picture:
    """Every difference that the research questions ask for, with its interval."""
    score = analysis.setting.primary
    name, title = "summary", f"The research questions: differences in AUROC of {score.label}"
    how = (
        "Each mark is the second's AUROC minus the first's with its 95% interval; right of 0 the second tells wrong "
        "answers better. Filled: a difference is shown (p below 0.05 after Holm's correction within its question)."
    )
    if any(row.also for row in analysis.comparisons):
        how += " A star: the two differ in quantization too."
    rows = [
        c for q in RESEARCH for c in analysis.comparisons if c.question is q and c.figure == AUROC and c.difference
    ][:_MOST_ROWS]
    if not rows:
        return missing(name, title, how, "no two models, datasets or variants could be compared")

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        ticks = []
        place = 0.0
        for number, question in enumerate(RESEARCH):
            found = [row for row in rows if row.question is question]
            if not found:
                continue
            left = axes.get_yaxis_transform()
            axes.text(0.0, place, f" {question.value}", transform=left, weight="bold", va="center")
            place += 1.0
            for row in found:
                _difference(axes, place, row.difference, number, row.is_shown)
                ticks.append((place, _names(row)))
                place += 1.0
        axes.axvline(0.0, color=INK, linewidth=0.8)
        axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks], fontsize=8)
        axes.set_ylim(place - 0.3, -0.7)
        axes.set_xlabel("difference in AUROC")
        axes.grid(axis="x")

    return draw(name, title, how, (9.0, 1.2 + 0.2 * (len(rows) + len(RESEARCH))), fill)


def _difference(axes: Any, place: float, found: AurocDelta | None, number: int, is_shown: bool) -> None:
    if found is None:
        return
    colour, mark, _ = category(number)
    interval = found.interval
    axes.plot([interval.low, interval.high], [place, place], color=FAINT, linewidth=1.2)
    face = colour if is_shown else "none"
    axes.plot([found.value], [place], mark, color=colour, markerfacecolor=face, markersize=5)


def _names(row: Compared) -> str:
    first, second = row.first.asked, row.second.asked
    if first.asking.variant == second.asking.variant:
        return f"{label(first.asking.variant)}: {label(second.dataset)} − {label(first.dataset)}"
    mark = " *" if row.also else ""
    return f"{label(second.asking.variant)} − {label(first.asking.variant)}, {label(first.dataset)}{mark}"
