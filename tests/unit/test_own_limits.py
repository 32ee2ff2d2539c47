"""The limits that the suite sets itself: what they follow from, that they say so, and that an entry overrides them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.judging import Judge
from fixtures.run import Run
from plimsoll.catalogue.entries import Claim, Origin, Quantization, Variant
from plimsoll.catalogue.meaning import read_plain
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.host.protocol import GpuReleased, HostMemory, Speeds
from plimsoll.judge import own_limits
from plimsoll.judge.generation import has_answer
from plimsoll.judge.gpu_memory import most_kept
from plimsoll.judge.judgement import Limit, Measurement, Outcome, judge

FAST = Speeds(disk=2e9, memory=8e9, link=None, packing=50e6)
NF4, INT8, BF16 = Quantization.NF4, Quantization.INT8, Quantization.BF16


def high(limit: Limit) -> float:
    assert limit.high is not None
    return limit.high


def test_a_load_may_take_what_disk_link_and_packing_take() -> None:
    cold = own_limits.load_time("cold_load_time", 16 * 10**9, 8 * 10**9, NF4, FAST)
    assert high(cold) == pytest.approx(4 * (8 + 160) + 20)
    assert cold.source == (
        "the suite's own: 4 times what 2.00 GB/s from disk, 50 million parameters a second packed give, and 20 s "
        "(docs/limits.md)"
    )
    warm = own_limits.load_time("warm_load_time", 16 * 10**9, 8 * 10**9, NF4, FAST)
    assert high(warm) == pytest.approx(4 * (2 + 160) + 20)


def test_int8_crosses_the_link_three_times() -> None:
    gpu = replace(FAST, link=8e9)
    limits = [own_limits.load_time("cold_load_time", 16 * 10**9, 8 * 10**9, each, gpu) for each in (NF4, INT8)]
    assert high(limits[1]) - high(limits[0]) == pytest.approx(4 * 2 * 2)


def test_rounding_grows_with_depth_and_packing_errors_shrink_with_width() -> None:
    shallow, deep = (high(own_limits.rounding("cache_divergence", BF16, layers)) for layers in (30, 120))
    assert deep == pytest.approx(2 * shallow)
    assert high(own_limits.rounding("cache_divergence", BF16, 2)) == shallow
    narrow, wide = (high(own_limits.divergence(NF4, width)) for width in (576, 4 * 576))
    assert wide == pytest.approx(narrow / 2)


def test_a_known_value_is_held_within_a_hundredth_but_for_four_bits() -> None:
    assert own_limits.known_meaning(0.6, BF16).high == pytest.approx(0.606)
    assert own_limits.known_meaning(0.6, BF16).low == pytest.approx(0.594)
    assert high(own_limits.known_meaning(0.6, NF4)) > 0.638, "sound nf4 weights of a small model"


@pytest.mark.parametrize("limit", [own_limits.general_answers, own_limits.ended_share])
def test_a_base_model_need_neither_answer_nor_end(limit: Any) -> None:
    assert limit(speaks=False).low == 0
    assert limit(speaks=True).low > 0
    assert own_limits.repetition(speaks=False).high == 1
    assert high(own_limits.repetition(speaks=True)) < 1


def judge_of(variant: Variant, tmp_path: Path) -> Judge:
    run = Run(catalogue=read_catalogue(), worker="main", folder=None, evidence=None)
    return Judge(cell="one", run=run, variant=variant)


def test_the_suites_own_limit_yields_to_a_claim(tmp_path: Path) -> None:
    plain = replace(read_catalogue().variants["tiny-llama/bf16"], claims=())
    own = own_limits.ram("ram_peak", 100, "cpu")
    judge = judge_of(plain, tmp_path)
    judge.claims("ram_peak", 50.0, otherwise=[own])
    assert [judgement.limit for judgement in judge.judgements] == [own]
    origin = Origin(file=Path("my.toml"), key="claim[0]")
    claim = Claim(
        variants=(plain.id,), metric="ram_peak", low=None, high=60.0, unit="bytes", source="a card", origin=origin
    )
    claimed = judge_of(replace(plain, claims=(claim,)), tmp_path)
    claimed.claims("ram_peak", 50.0, otherwise=[own])
    assert [judgement.limit.source for judgement in claimed.judgements] == ["a card"]


def bytes_claimed(variant: Variant, high: float, low: float | None = None, **more: Any) -> Variant:
    origin = Origin(file=Path("my.toml"), key="claim[0]")
    claim = Claim(
        variants=(variant.id,),
        metric="weight_bytes",
        low=low,
        high=high,
        unit="bytes",
        source="a card",
        origin=origin,
        **more,
    )
    return replace(variant, claims=(claim,))


def test_an_exact_limit_stays_beside_a_claim_and_each_can_fail_the_check(tmp_path: Path) -> None:
    """A claim on what the suite compares exactly was dropped without a word."""
    plain = read_catalogue().variants["tiny-llama/bf16"]
    tight = judge_of(bytes_claimed(plain, 1), tmp_path)
    with pytest.raises(pytest.fail.Exception, match="a card"):
        tight.limit("weight_bytes", 50, low=50, high=50, source="predicted")
    assert [(one.limit.source, one.outcome) for one in tight.judgements] == [
        ("predicted", Outcome.PASS),
        ("a card", Outcome.FAIL),
    ]
    roomy = judge_of(bytes_claimed(plain, 100), tmp_path)
    with pytest.raises(pytest.fail.Exception, match="predicted"):
        roomy.limit("weight_bytes", 51, low=50, high=50, source="predicted")
    assert [one.outcome for one in roomy.judgements] == [Outcome.FAIL, Outcome.PASS]


def test_what_is_counted_is_not_near_a_bound(tmp_path: Path) -> None:
    judge = judge_of(bytes_claimed(read_catalogue().variants["tiny-llama/bf16"], 51, 49), tmp_path)
    judge.limit("weight_bytes", 50, low=50, high=50, source="predicted")
    assert [one.outcome for one in judge.judgements] == [Outcome.PASS, Outcome.PASS]


def test_a_claim_under_conditions_limits_what_states_them(tmp_path: Path) -> None:
    variant = bytes_claimed(read_catalogue().variants["tiny-llama/bf16"], 1, conditions={"dataset": "svamp"})
    judge = judge_of(variant, tmp_path)
    judge.limit("weight_bytes", 50, low=50, high=50, source="predicted")
    with pytest.raises(pytest.fail.Exception, match="a card"):
        judge.limit("weight_bytes", 50, low=50, high=50, source="predicted", circumstances={"dataset": "svamp"})
    assert len(judge.judgements) == 3


def test_a_disputed_claim_limits_nothing(tmp_path: Path) -> None:
    judge = judge_of(bytes_claimed(read_catalogue().variants["tiny-llama/bf16"], 1, disputed="no"), tmp_path)
    judge.limit("weight_bytes", 50, low=50, high=50, source="predicted")
    assert [one.limit.source for one in judge.judgements] == ["predicted"]


OF_ENGLISH = {"nll_per_byte", "general_answers", "ended_share"}
TINY_MINE = """
[[model]]
id = "tiny-mine"
family = "llama"
architecture = "LlamaForCausalLM"
source = "hub"
hub_id = "me/tiny-mine"
licence = "MIT"
[model.config]
model_type = "llama"
[model.generation]
max_new_tokens = 8
[[variant]]
models = ["tiny-mine"]
quantizations = ["bf16"]
tier = "tiny"
"""


CLAIM_ON_TINY = """
[[claim]]
variants = ["tiny-*"]
metric = "ram_peak"
high = 9
unit = "GB"
source = "my page"
"""


def test_a_users_model_that_is_called_tiny_is_judged_as_any_other(tmp_path: Path) -> None:
    """What the tiny checkpoints need not know was allowed to it too, 20 nats a byte and no answer at all; and what they
    take was all that it might: 256 MiB."""
    mine = tmp_path / "mine.toml"
    mine.write_text(TINY_MINE)
    variants = read_catalogue([mine]).variants
    assert variants["tiny-mine/bf16"].claims == ()
    mine.write_text(TINY_MINE + CLAIM_ON_TINY)
    variants = read_catalogue([mine]).variants
    assert [claim.source for claim in variants["tiny-mine/bf16"].claims] == ["my page"]
    assert "my page" in [claim.source for claim in variants["tiny-llama/bf16"].claims], "a user's speaks of all"
    shipped = [variant for variant in read_catalogue().variants.values() if variant.id.startswith("tiny-")]
    assert len(shipped) > 20
    assert all({claim.metric for claim in variant.claims} >= OF_ENGLISH for variant in shipped)


def test_pages_of_files_are_no_memory_of_the_host() -> None:
    memory = HostMemory(before=10, peak=1000, after=900, method="VmHWM", own_before=5, own_peak=55, own_after=25)
    assert (memory.grown_peak, memory.grown_after) == (50, 20)
    untold = HostMemory(before=10, peak=1000, after=900, method="VmHWM")
    assert (untold.grown_peak, untold.grown_after) == (990, 890)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("The capital of France is Paris.", True),
        ("PARIS", True),
        ("It is Parisian.", False),
        ("", False),
        ("Lyon", False),
    ],
)
def test_a_right_answer_has_the_word_in_it(text: str, right: bool) -> None:
    assert has_answer(text, ("Paris",)) is right


def test_what_ships_is_enough_to_judge_by() -> None:
    plain = read_plain()
    assert sum(len(passage.text.encode()) for passage in plain.passages) > 1000
    assert len(plain.questions) >= 8
    for passage in plain.passages:
        assert "\n" not in passage.text
        assert "  " not in passage.text


def released(kept: int) -> GpuReleased:
    return GpuReleased(
        device="cuda:0",
        uuid=None,
        allocated_before=2**25,
        allocated_after=2**25 + kept,
        reserved_after=2**30,
        process_before=None,
        process_after=None,
        device_before=None,
        device_after=None,
    )


@pytest.mark.parametrize(
    ("kept", "outcome"),
    [
        ([64 * 2**20] * 8, Outcome.PASS),
        ([0] * 7 + [900 * 2**20], Outcome.FAIL),
        ([-(2**20), 129 * 2**20], Outcome.FAIL),
        ([], Outcome.UNSET),
    ],
)
def test_each_gpu_gives_a_models_memory_back(kept: list[int], outcome: Outcome) -> None:
    """What others have room for is no room of the one that keeps it."""
    value = most_kept([released(one) for one in kept])
    found = Measurement(metric="vram_returned", value=value, reason="the host measured no GPU")
    assert judge(found, own_limits.vram_returned()).outcome is outcome


@pytest.mark.parametrize(
    ("device", "predicted", "measured", "outcome"),
    [
        ("cpu", 4 * 10**6, 4.1 * 10**6, Outcome.PASS),
        ("cpu", 4 * 10**6, 4.3 * 10**6, Outcome.FAIL),
        ("cpu", 4 * 10**6, 3.7 * 10**6, Outcome.FAIL),
        # A workspace of cuBLASLt that lasts as long as one product.
        ("cuda", 4 * 10**6, 4 * 10**6 + 32 * 2**20, Outcome.PASS),
        ("cuda", 4 * 10**6, 4 * 10**6 + 72 * 2**20, Outcome.FAIL),
        ("cuda", 4 * 10**6, 3.5 * 10**6, Outcome.FAIL),
        ("cuda", 26 * 10**9, 28.5 * 10**9, Outcome.PASS),
        ("cuda", 26 * 10**9, 28.8 * 10**9, Outcome.FAIL),
    ],
)
def test_a_step_takes_what_was_predicted_of_it(device: str, predicted: int, measured: float, outcome: Outcome) -> None:
    found = Measurement(metric="training_peak", value=measured)
    assert judge(found, own_limits.training_memory(predicted, device)).outcome is outcome
