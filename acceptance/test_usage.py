"""Does each model go through a profile of use: load, validate with 10 tokens, infer, unload?

Asked by name alone (`pytest -m usage`): a test profile that makes a failure reproducible, in a process of its own,
whatever other checks made of the model.
"""

from __future__ import annotations

import pytest

from fixtures.judging import Judge
from fixtures.ladder import Use
from plimsoll.ladder.rungs import TOKENS

pytestmark = pytest.mark.usage


@pytest.mark.measures("tokens_validated")
def test_usage(used: Use, judge: Judge) -> None:
    """The model loads whole, gives exactly 10 tokens from finite logits, answers as it did while it was validated,
    and is dropped.

    Limit: Exactly 10 new tokens (docs/ladder.md).
    Fails when: weights are missing, the number of tokens differs, a logit is NaN or infinite, or the second answer
    differs from the first.
    Do: The failure says which step it was. `plimsoll ladder MODEL` looks for settings that work; test_greedy_repeats
    and test_finite_logits of the variant say more.
    Symptoms: new-weights, ram, gpu-memory
    """
    report, first, second = used.report, used.validated.completions[0], used.inferred.completions[0]
    missing = [*report.missing_keys, *report.mismatched_keys, *report.meta_parameters]
    assert not missing, f"not loaded from the checkpoint: {', '.join(missing[:4])}"
    judge.limit(
        "tokens_validated",
        len(first.token_ids),
        low=TOKENS,
        high=TOKENS,
        source="docs/ladder.md",
        text=first.text,
        load_seconds=report.seconds,
        validate_seconds=used.validated.seconds,
        infer_seconds=used.inferred.seconds,
        ram_returned=used.unloaded.ram_after - used.unloaded.ram_before_load,
    )
    assert used.validated.finite, "a raw logit was NaN or infinite while it was validated"
    assert used.inferred.finite, "a raw logit was NaN or infinite while it inferred"
    common = min(len(first.token_ids), len(second.token_ids))
    assert common >= 1, "it inferred no token at all"
    assert first.token_ids[:common] == second.token_ids[:common], (
        f"greedy decoding gave other tokens the second time: {first.token_ids[:common]}, then "
        f"{second.token_ids[:common]}"
    )
