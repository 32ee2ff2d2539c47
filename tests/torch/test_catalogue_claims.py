"""What documents say, held against arithmetic: an undisputed claim must be possible, a disputed one out of reach.

A wrong dispute would excuse a bad node, and a missing one would reject a good node; so both directions are tested,
with the bytes that the footprint gives to the variant.
"""

from __future__ import annotations

import pytest

from fixtures.judging import _limit
from plimsoll.catalogue.entries import Claim, LimitedSide, Variant, WeightSource
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.sizes import Footprint
from tests.support.skeletons import footprint

CATALOGUE = read_catalogue()
VARIANTS = CATALOGUE.variants
DOCUMENTED = [claim for claim in CATALOGUE.claims if "tiny" not in str(claim.origin.file)]


def name(claim: Claim) -> str:
    return f"{claim.origin}: {claim.metric}"


def of(*metrics: str) -> list[Claim]:
    """The documented claims about some metrics; at least one for each of them."""
    found = [claim for claim in DOCUMENTED if claim.metric in metrics]
    assert {claim.metric for claim in found} == set(metrics)
    return found


def packing(stored: Footprint) -> int:
    """Bytes of the largest weight in 16 bits, which is held beside what is packed already while its turn comes; 0 where
    nothing is packed."""
    return max((2 * parameter.count for parameter in stored.parameters if parameter.quantized), default=0)


def checkpoint_bytes(id_: str) -> int:
    return 2 * footprint(VARIANTS[id_]).parameter_count


def high_of(claim: Claim) -> float:
    assert claim.high is not None, name(claim)
    return claim.high


@pytest.mark.parametrize("claim", of("vram_peak", "vram_allocated", "vram_reserved", "vram_needed"), ids=name)
def test_claims_on_gpu_memory_are_disputed_where_the_weights_refute_them(claim: Claim) -> None:
    for id_ in claim.variants:
        stored = footprint(VARIANTS[id_])
        if claim.disputed is None:
            assert high_of(claim) >= stored.weight_bytes, f"{id_} takes {stored.weight_bytes} for its weights alone"
        else:
            taken = stored.weight_bytes + (0 if claim.metric == "vram_allocated" else packing(stored))
            assert high_of(claim) < taken, f"{id_} may do with {taken}, so the dispute does not hold for it"


@pytest.mark.parametrize("claim", of("checkpoint_bytes"), ids=name)
def test_claims_on_disks_are_disputed_where_the_checkpoints_are_larger(claim: Claim) -> None:
    assert claim.together
    together = sum(checkpoint_bytes(id_) for id_ in claim.variants)
    assert (high_of(claim) < together) is (claim.disputed is not None), f"{together} bytes"


@pytest.mark.parametrize("claim", of("ram_peak"), ids=name)
def test_claims_on_ram_leave_room_for_the_tensor_that_is_being_read(claim: Claim) -> None:
    assert claim.disputed is None
    for id_ in claim.variants:
        assert high_of(claim) >= 2 * max(parameter.count for parameter in footprint(VARIANTS[id_]).parameters)


FASTEST_DISK = 14e9
"""Bytes a second: a PCIe 5.0 x4 drive."""
FASTEST_LINK = 1.25e9
"""Bytes a second: 10 Gbit/s."""


@pytest.mark.parametrize("claim", of("cold_load_time", "warm_load_time", "first_load_time"), ids=name)
def test_claims_on_load_time_are_in_reach(claim: Claim) -> None:
    assert claim.disputed is None
    fastest = FASTEST_LINK if claim.metric == "first_load_time" else FASTEST_DISK
    for id_ in claim.variants:
        assert checkpoint_bytes(id_) / high_of(claim) <= fastest


@pytest.mark.parametrize("claim", of("training_vram_peak", "training_activations"), ids=name)
def test_claims_on_training_are_possible_and_limit_no_load(claim: Claim) -> None:
    weights = sum(footprint(VARIANTS[id_]).weight_bytes for id_ in claim.variants[: None if claim.together else 1])
    assert claim.metric == "training_activations" or high_of(claim) >= weights
    assert claim.disputed is None
    assert not claim.is_limit


def fact(variant: Variant, metric: str) -> float:
    """What the architecture gives for a metric that no machine has a part in."""
    config = variant.model.config
    keys = {"context_length": "max_position_embeddings", "key_value_heads": "num_key_value_heads"}
    if metric in ("parameter_count", "weight_bytes"):
        return getattr(footprint(variant), metric)  # type: ignore[no-any-return]  # one of two properties, both int
    return float(config[keys.get(metric, metric)])


@pytest.mark.parametrize(
    "claim",
    of("parameter_count", "weight_bytes", "hidden_size", "context_length", "key_value_heads", "sliding_window"),
    ids=name,
)
def test_claims_on_the_architecture_hold(claim: Claim) -> None:
    assert claim.disputed is None
    for id_ in claim.variants:
        assert claim.low is not None
        assert claim.low <= fact(VARIANTS[id_], claim.metric) <= high_of(claim)


def test_every_claim_is_held_against_something() -> None:
    """A metric that none of the tests above looks at would be believed unseen."""
    seen = {
        "vram_peak", "vram_allocated", "vram_reserved", "vram_needed", "checkpoint_bytes",
        "ram_peak", "cold_load_time", "warm_load_time", "first_load_time",
        "training_vram_peak", "training_activations", "parameter_count", "weight_bytes", "hidden_size",
        "context_length", "key_value_heads", "sliding_window", "auroc_g_nll",
    }  # fmt: skip
    # What a card has left is held against the card in tests/process/test_audit.py.
    assert {claim.metric for claim in DOCUMENTED} == seen | {"free_vram", "vram_left"}
    (free,) = of("free_vram")
    weights = footprint(VARIANTS["phi-3-mini-4k-instruct/bf16"]).weight_bytes
    assert free.low == pytest.approx(1.2 * weights, rel=1e-4)


def test_published_aurocs_are_records_under_their_own_conditions() -> None:
    found = {(c.variants[0], c.conditions["dataset"]): c.low for c in of("auroc_g_nll")}
    assert found["llama-3.2-1b/fp16", "triviaqa"] == 0.714
    assert found["qwen2.5-1.5b/fp16", "squad"] == 0.607
    assert found["mistral-7b-v0.3/int8", "triviaqa"] == 0.723
    for claim in of("auroc_g_nll"):
        assert claim.low == claim.high
        assert claim.conditions.keys() == {"dataset", "samples", "shots"}
        assert not claim.limits_under({"dataset": claim.conditions["dataset"], "samples": 400, "shots": 5})


def test_faster_and_smaller_than_documented_is_no_fault() -> None:
    for claim in of("cold_load_time", "warm_load_time", "ram_peak"):
        assert claim.limit_low is None
        assert claim.is_limit
        assert (_limit(claim).low, _limit(claim).high) == (None, claim.high)
    for claim in VARIANTS["qwen2.5-omni-7b/int8"].claims_on("vram_peak"):
        assert (_limit(claim).low, _limit(claim).high) == (8 * 2**30, 12 * 2**30)


def test_what_is_disputed_limits_nothing() -> None:
    mixtral = VARIANTS["mixtral-8x22b-instruct-v0.1/nf4-dq"]
    assert mixtral.claims_on("vram_peak") == ()
    assert len([claim for claim in mixtral.claims if claim.metric == "vram_peak"]) == 2, "kept as a record"


def test_what_was_taught_has_a_limit() -> None:
    """All other figures have limits that the suite derives where nobody states one."""
    for variant in VARIANTS.values():
        if variant.model.source is WeightSource.TRAINED:
            assert variant.claims_on("taught_accuracy"), variant.id


def test_limits_of_the_tiny_tier_are_its_own() -> None:
    for variant in VARIANTS.values():
        tiny = {str(claim.origin.file) == "catalogue/claims/tiny.toml" for claim in variant.claims}
        assert tiny <= {variant.tier.id == "tiny"}, variant.id


def test_sides_are_those_of_the_format() -> None:
    assert {claim.limits for claim in DOCUMENTED} == set(LimitedSide)
