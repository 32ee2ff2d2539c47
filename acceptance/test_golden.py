"""Does the stack on each device compute the golden models' logits as independent float64 arithmetic does?"""

from __future__ import annotations

import pytest

from fixtures.golden import GoldenResult
from fixtures.judging import Judge

pytestmark = pytest.mark.golden


@pytest.mark.measures("golden_error")
def test_golden_logits(computed: GoldenResult, judge: Judge) -> None:
    """Whole, token by token with the cache and in a padded batch, with each attention: the logits are the shipped
    ones, but for rounding."""
    errors, limit = computed.errors, computed.limit
    judge.limit(
        "golden_error",
        errors.ways[errors.worst],
        high=limit.high,
        source=limit.source,
        worst=errors.worst,
        ways=dict(errors.ways),
        logits_sha256=computed.logits_sha256,
    )
