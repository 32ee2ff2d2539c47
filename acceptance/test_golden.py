"""Does the stack on each device compute the golden models' logits as independent float64 arithmetic does?"""

from __future__ import annotations

import pytest

from fixtures.golden import GoldenResult
from fixtures.judging import Judge

pytestmark = pytest.mark.golden


@pytest.mark.measures("golden_error")
def test_golden_logits(computed: GoldenResult, judge: Judge) -> None:
    """The stack on this device computes the logits that ship with the suite, but for rounding: whole, token by token
    with the cache and in a padded batch, with each attention.

    Limit: The catalogue's, two to three times the rounding of a sound stack (docs/golden-numbers.md).
    Fails when: the worst way of asking differs by more than that, a way is missing, or a logit is NaN.
    Do: See which schemes fail. One scheme: look at bitsandbytes and its binary. Everything on one GPU: drain that
    GPU. Everything everywhere: go back to the releases of docs/releases.md.
    Symptoms: bitsandbytes-binary, unsupported-gpu, gpu-broken
    """
    errors, limit = computed.errors, computed.limit
    judge.limit(
        "golden_error",
        errors.ways[errors.worst],
        high=limit.high,
        source=limit.source,
        explain=computed.explain,
        worst=errors.worst,
        ways=dict(errors.ways),
        logits_sha256=computed.logits_sha256,
    )
