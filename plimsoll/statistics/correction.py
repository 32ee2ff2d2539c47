"""Corrects p-values for the number of tests (Holm)."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: below alpha, the chance of any false alarm among all of them is below alpha.

    Holds for any dependence between the tests. Metrics of one machine, and answers to the same questions, depend on
    each other.
    """
    # What is certain stays so, and in a fleet most is.
    order = sorted((i for i, p in enumerate(p_values) if p < 1.0), key=p_values.__getitem__)
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
