"""All pictures of an analysis, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from plimsoll.uncertainty.analysis import Analysis
from plimsoll.uncertainty.drawn.bars import best_of_each, family_bars
from plimsoll.uncertainty.drawn.calibration import accuracy_against_auroc, histograms, reliability_diagram
from plimsoll.uncertainty.drawn.effects import dataset_effect, size_effect, summary
from plimsoll.uncertainty.drawn.matrix import auroc_matrix
from plimsoll.uncertainty.drawn.picture import Picture
from plimsoll.uncertainty.drawn.radar import radar

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
