"""The radar: each model's strengths at a glance."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.figure import Figure

from plimsoll.present.drawing import RULE
from plimsoll.uncertainty.analysis import Analysis
from plimsoll.uncertainty.drawn.picture import Picture, category, datasets, draw, label, missing, model_points

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
