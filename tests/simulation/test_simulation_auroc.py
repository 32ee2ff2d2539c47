"""Do intervals of AUROCs hold the truth, and tests of two AUROCs their level: a short form of
`benchmarks/auroc_coverage.py`."""

from __future__ import annotations

import pytest

from benchmarks.auroc_coverage import coverage, false_differences


@pytest.mark.parametrize(("ones", "zeros", "value"), [(40, 360, 0.97), (10, 90, 0.90), (5, 35, 0.5), (20, 20, 0.75)])
def test_intervals_hold_the_truth_as_often_as_they_say(ones: int, zeros: int, value: float) -> None:
    # Two thousand of 95 % show 94 to 96 by chance; a bootstrap shows 88 to 90 at the first three points.
    assert 0.93 <= coverage(ones, zeros, value, 2000) <= 0.985


@pytest.mark.parametrize("value", [0.5, 0.75])
def test_five_answers_of_a_kind_are_no_licence_to_see_differences(value: float) -> None:
    # Of 1,500 at 5 %, 6.2 % are the most by chance; the normal distribution gives 8 to 9.
    paired, unpaired = false_differences(5, 35, value, 1500)
    assert paired <= 0.06
    assert unpaired <= 0.06
