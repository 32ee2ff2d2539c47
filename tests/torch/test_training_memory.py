"""Training steps of small real models: what they learn, what they leave alone, and the memory that was predicted.

The prediction follows tensors on the meta device; what is measured here is the account of torch's CPU allocator.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from plimsoll.catalogue.entries import Quantization
from plimsoll.errors import PlimsollError
from plimsoll.footprint.activations import Moment, highest
from plimsoll.footprint.encoding import step_from_json, step_to_json
from plimsoll.footprint.training import (
    DEFAULT_BRIDGE,
    PARTS,
    Mode,
    Optimizer,
    Phase,
    StepParts,
    StepPrediction,
    Training,
)
from plimsoll.host.server.loading import load
from plimsoll.host.server.predict.coverage import skeleton_of
from plimsoll.host.server.predict.depth import TracedStep, deepened, shared_spans
from plimsoll.host.server.predict.layers import Layers
from plimsoll.host.server.predict.passes import NotFollowedError
from plimsoll.host.server.predict.training import Base, fitted, predict_step
from plimsoll.host.server.predict.variant import footprint_of
from plimsoll.host.server.training.learner import Learner, low_rank_beside, peft_beside
from plimsoll.host.server.training.measured import PhaseBytes, by_phase, held_tensors
from plimsoll.host.server.training.steps import Step, gradients_of, optimizer_of, rms_apart, sha256_of
from tests.support.random_checkpoints import load_spec, save_checkpoint

SHARED: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": None},
    "mixtral": {"num_local_experts": 4},
    "phi3": {"sliding_window": 50},
}
BRIDGE = Training(mode=Mode.BRIDGE, size=2**14)
AGAIN = Training(mode=Mode.BRIDGE, size=2**14, checkpointing=True)
FULL = Training(mode=Mode.FULL)
LORA = Training(mode=Mode.LORA, size=4)


def configuration(model_type: str, **more: Any) -> Any:
    return transformers.AutoConfig.for_model(model_type, **{**SHARED, **FAMILIES.get(model_type, {}), **more})


def base(model_type: str, attention: str, dtype: str = "bfloat16", **more: Any) -> Base:
    model = skeleton_of(configuration(model_type, **more), "AutoModelForCausalLM", dtype)
    stored = sum(tensor.numel() * tensor.itemsize for tensor in (*model.parameters(), *model.buffers()))
    return Base(model, Quantization.BF16, attention, stored)


@cache
def step_of(
    training: Training, model_type: str, attention: str, dtype: str = "bfloat16", **more: Any
) -> StepPrediction:
    """What a step of one model takes, which several tests hold against theirs."""
    return predict_step(training, base(model_type, attention, dtype, **more))


def real(model_type: str, attention: str, dtype: str = "bfloat16", **more: Any) -> Any:
    torch.manual_seed(0)
    auto_class: Any = transformers.AutoModelForCausalLM
    model = auto_class.from_config(configuration(model_type, **more), dtype=getattr(torch, dtype))
    model.set_attn_implementation(attention)
    return model


def tokens(batch: int, length: int, parts: int = 1) -> list[torch.Tensor]:
    drawn = torch.Generator().manual_seed(1)
    return [torch.randint(3, SHARED["vocab_size"], (batch, length), generator=drawn) for _ in range(parts)]


def measured(training: Training, batches: list[torch.Tensor], *models: Any) -> StepParts:
    learner = Learner(training, *models, adapt=peft_beside)
    optimizer = optimizer_of(learner, training.optimizer, 1e-3)
    # The optimizer's state comes with the first update, of whatever batch.
    Step(learner, optimizer, tokens(1, 4)).make()
    return Step(learner, optimizer, batches).counted()


def assert_alike(found: StepParts, expected: StepParts) -> None:
    for name in PARTS:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=0.005, abs=256), name
    assert found.phase is expected.phase


@pytest.fixture(autouse=True)
def plain_products() -> Iterator[None]:
    """Products without oneDNN, which takes memory of its own within each where a processor has AVX-512: a tiny step
    shows it, and no prediction could know of it."""
    before = torch.backends.mkldnn.set_flags(_enabled=False)[0]  # type: ignore[no-untyped-call]
    yield
    torch.backends.mkldnn.set_flags(_enabled=before)  # type: ignore[no-untyped-call]


@pytest.fixture
def many_threads() -> Iterator[None]:
    """As on a node with many cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(64)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("many_threads")
def test_a_step_takes_no_more_on_a_node_of_many_cores() -> None:
    assert_alike(
        measured(BRIDGE, tokens(2, 96), real("llama", "sdpa")),
        step_of(BRIDGE, "llama", "sdpa").at(2, 96, device="cpu"),
    )
    assert torch.get_num_threads() == 64


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_step_takes_what_was_predicted(model_type: str, attention: str) -> None:
    for training in (BRIDGE, AGAIN):
        predicted = step_of(training, model_type, attention)
        for batch, length in ((1, 64), (3, 66)):
            found = measured(training, tokens(batch, length), real(model_type, attention))
            expected = predicted.at(batch, length, device="cpu")
            if model_type == "mixtral" and training is AGAIN:
                # A CPU makes a float32 copy here that a GPU does not: see the next test.
                assert expected.peak == pytest.approx(found.peak, rel=0.06)
                assert expected.activations == pytest.approx(found.activations, rel=0.005)
            else:
                assert_alike(found, expected)


@pytest.mark.parametrize("layers", [2, 5])
def test_a_single_sequence_keeps_what_its_products_take_views_of(layers: int) -> None:
    """Phi-3 without grouped heads: its values are a view of all that one fused projection gave."""
    more = {"num_hidden_layers": layers, "num_key_value_heads": SHARED["num_attention_heads"]}
    predicted = predict_step(BRIDGE, base("phi3", "eager", **more))
    for batch in (1, 3):
        found = measured(BRIDGE, tokens(batch, 64), real("phi3", "eager", **more))
        assert_alike(found, predicted.at(batch, 64, device="cpu"))
    assert predicted.alone is not None
    assert step_from_json(json.loads(json.dumps(step_to_json(predicted)))) == predicted


def test_a_single_sequence_that_takes_the_ways_of_others_has_no_figures_of_its_own() -> None:
    assert step_of(BRIDGE, "llama", "sdpa").alone is None


def with_shares_in_16_bit(mixture: Any) -> Any:
    for layer in mixture.model.layers:
        if not hasattr(layer.mlp, "gate"):
            continue
        layer.mlp.gate.register_forward_hook(lambda _, __, routed: (routed[0], routed[1].bfloat16(), routed[2]))
    return mixture


def test_what_a_mixture_takes_more_on_a_cpu_is_the_copy_for_a_product_of_two_dtypes() -> None:
    """Experts' results are bfloat16, their shares float32; where both are bfloat16 there is nothing to copy."""
    plain = base("mixtral", "sdpa")
    with_shares_in_16_bit(plain.model)
    predicted = predict_step(AGAIN, plain)
    for batch, length in ((1, 64), (3, 66)):
        found = measured(AGAIN, tokens(batch, length), with_shares_in_16_bit(real("mixtral", "sdpa")))
        assert_alike(found, predicted.at(batch, length, device="cpu"))


@pytest.mark.parametrize("optimizer", Optimizer)
@pytest.mark.parametrize("accumulation", [1, 2])
def test_all_weights_with_each_optimizer(optimizer: Optimizer, accumulation: int) -> None:
    training = Training(mode=Mode.FULL, optimizer=optimizer)
    found = measured(training, tokens(2, 64, accumulation), real("qwen2", "sdpa"))
    predicted = step_of(training, "qwen2", "sdpa")
    assert_alike(found, predicted.at(2, 64, accumulation=accumulation, device="cpu"))


def test_a_bridge_between_two_models_keeps_nothing_of_the_first() -> None:
    predicted = predict_step(BRIDGE, base("llama", "sdpa"), base("qwen2", "sdpa"))
    found = measured(BRIDGE, tokens(2, 64), real("llama", "sdpa"), real("qwen2", "sdpa"))
    assert_alike(found, predicted.at(2, 64, device="cpu"))
    alone = step_of(BRIDGE, "llama", "sdpa").at(2, 64)
    assert predicted.at(2, 64).activations < 1.1 * alone.activations


@pytest.mark.skipif(find_spec("peft") is None, reason="peft, of the extra lora, is not installed")
@pytest.mark.parametrize("model_type", ["llama", "mixtral", "phi3"])
def test_peft_takes_what_our_own_matrices_do_on_the_meta_device(model_type: str) -> None:
    found = measured(LORA, tokens(2, 64), real(model_type, "sdpa"))
    assert_alike(found, step_of(LORA, model_type, "sdpa").at(2, 64, device="cpu"))


@pytest.mark.parametrize("training", [BRIDGE, AGAIN, LORA, FULL], ids=str)
@pytest.mark.parametrize("model_type", ["llama", "phi3"])
def test_a_deep_model_is_told_by_two_shallow_ones(
    training: Training, model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    depths: list[int] = []
    cut = Layers.cut

    def noted(self: Layers, told: int | None = None) -> Any:
        depths.append(told or self.told)
        return cut(self, told)

    monkeypatch.setattr(Layers, "cut", noted)
    told = predict_step(training, base(model_type, "sdpa", num_hidden_layers=5))
    assert max(depths) == 3, "the whole depth was followed"
    monkeypatch.setattr(Layers, "are_alike", property(lambda _: False))
    followed = predict_step(training, base(model_type, "sdpa", num_hidden_layers=5))
    assert max(depths) == 5
    for batch in (1, 5, 64):
        for length in (16, 1000, 9000):
            for accumulation in (1, 2):
                one, other = (each.at(batch, length, accumulation=accumulation) for each in (told, followed))
                assert one == other


def test_the_first_layer_does_not_tell_of_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its input is the embedding, which is there anyway. A small packed model of wide layers, where the peak is in the
    forward pass."""
    wide: dict[str, Any] = {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    }
    training = Training(mode=Mode.BRIDGE, size=DEFAULT_BRIDGE)

    def predicted() -> StepPrediction:
        model = base("mistral", "sdpa", num_hidden_layers=12, vocab_size=32768, **wide)
        return predict_step(training, replace(model, quantization=Quantization.NF4_DQ))

    told = predicted()
    monkeypatch.setattr(Layers, "are_alike", property(lambda _: False))
    followed = predicted()
    for batch in (1, 3, 5):
        for length in (16, 100):
            assert told.at(batch, length) == followed.at(batch, length)


def test_eager_attention_keeps_the_scores_and_computing_again_keeps_none() -> None:
    fused, eager = (step_of(BRIDGE, "llama", attention).at(1, 512) for attention in ("sdpa", "eager"))
    again = step_of(AGAIN, "llama", "eager").at(1, 512)
    scores = SHARED["num_hidden_layers"] * SHARED["num_attention_heads"] * 512**2
    assert eager.activations - fused.activations > 2 * scores
    assert again.activations < fused.activations


def traced(layers: int, operations: str, more: str = "") -> TracedStep:
    """A step whose layers are `operations` each, on the way there and back."""
    names = tuple(f"e{operations * layers}{more}h{operations[::-1] * layers}e")
    forward = 1 + len(operations) * layers + len(more) + 1
    size = len(operations)
    return TracedStep(
        heights=tuple(range(len(names))),
        again=tuple(range(len(names))),
        operations=names,
        forward=forward,
        kept=layers,
        entered=tuple(1 + size * layer for layer in range(layers)),
        returned=tuple(forward + size * (layers - 1 - layer) for layer in range(layers)),
    )


def test_what_two_depths_share_is_counted_from_both_ends() -> None:
    less, more = traced(2, "abc"), traced(3, "abc")
    shared = shared_spans(less, more)
    assert [(part.start, part.stop, part.shift) for part in shared] == [(0, 4, 0), (4, 8, 3), (8, 11, 3), (8, 15, 6)]
    assert deepened([5] * 15, [7] * 21, shared[:1], 10) == [25] * 4


@pytest.mark.parametrize("other", [traced(2, "abc"), traced(3, "abd"), traced(3, "abc", "x")])
def test_depths_that_are_not_alike_are_no_two_depths(other: TracedStep) -> None:
    if other == traced(3, "abc", "x"):
        other = TracedStep(
            **{name: getattr(other, name) for name in ("heights", "again", "operations", "forward")},
            kept=0,
            entered=other.entered[:1],
            returned=other.returned,
        )
    with pytest.raises(NotFollowedError):
        shared_spans(traced(2, "abc"), other)


@pytest.mark.parametrize("terms", [(7, 0, 3, 11, 10**8, 5), (0, 1, 0, 2, 3, 0), (1, 2, 0, 10**12, 4 * 10**9, 10**6)])
def test_coefficients_are_found_however_much_a_token_takes(terms: tuple[int, int, int, int, int, int]) -> None:
    moment = Moment(terms=terms, operation="aten.mm")
    for short in (64, 163):
        values = [moment.at(batch, length * short) for batch in (2, 3) for length in (1, 2, 3)]
        assert fitted(values, short) == terms


def test_blocks_are_counted_in_the_phase_in_which_they_are_given() -> None:
    phases = [Phase.FORWARD, Phase.BACKWARD]
    blocks = [(5, 100), (12, 50), (14, -20), (22, 30), (25, -160)]
    assert by_phase(phases, [10, 20], blocks) == [
        PhaseBytes(Phase.FORWARD, 100, 130, 150),
        PhaseBytes(Phase.BACKWARD, 130, 0, 160),
    ]
    assert by_phase(phases, [10, 20], []) == [PhaseBytes(Phase.FORWARD, 0, 0, 0), PhaseBytes(Phase.BACKWARD, 0, 0, 0)]


@pytest.mark.parametrize("training", [BRIDGE, FULL], ids=str)
def test_a_few_steps_learn_and_leave_the_frozen_alone(training: Training) -> None:
    learner = Learner(training, real("llama", "sdpa"), adapt=peft_beside)
    frozen = [p for p in learner.parameters if not p.requires_grad]
    before, trained = sha256_of(frozen), sha256_of(learner.trained)
    step = Step(learner, optimizer_of(learner, training.optimizer, 3e-3), tokens(2, 64))
    for _ in range(4):
        step.make()
    assert step.losses[-1] < step.losses[0] - 0.01
    assert all(norm > 0 for norm in step.norms)
    assert sha256_of(frozen) == before
    assert sha256_of(learner.trained) != trained
    assert (frozen == []) is (training is FULL)


@pytest.mark.parametrize("training", [BRIDGE, FULL], ids=str)
def test_one_update_in_several_ways(training: Training) -> None:
    learner = Learner(training, real("llama", "sdpa", "float32"), adapt=peft_beside)
    none = optimizer_of(learner, Optimizer.SGD, 0.0)
    (whole,) = tokens(4, 32)
    at_once = Step(learner, none, [whole])
    at_once.make()
    expected = gradients_of(at_once)
    parts = Step(learner, none, list(torch.split(whole, 1)))
    parts.make()
    assert rms_apart(gradients_of(parts), expected) < 1e-5
    assert parts.losses[0] == pytest.approx(at_once.losses[0], rel=1e-6)
    learner.compute_again(True)
    again = Step(learner, none, [whole])
    again.make()
    assert again.losses == at_once.losses
    assert rms_apart(gradients_of(again), expected) == 0.0
    wrong = Step(learner, none, [whole[:2]])
    wrong.make()
    assert rms_apart(gradients_of(wrong), expected) > 0.1, "other sequences give other gradients"
    assert rms_apart([], expected) == float("inf"), "no gradient is not a small difference"


def test_two_models_are_joined_by_a_bridge_alone() -> None:
    with pytest.raises(PlimsollError, match="two models are joined by a bridge; lora training takes one"):
        Learner(LORA, real("llama", "sdpa"), real("qwen2", "sdpa"), adapt=low_rank_beside)


def test_packed_weights_are_not_trained() -> None:
    model = real("llama", "sdpa")
    packed = torch.nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False)
    model.model.layers[0].mlp.up_proj.weight = packed
    with pytest.raises(PlimsollError, match=r"packed weights cannot be trained, and 1 of this model's are \(model\."):
        Learner(FULL, model, adapt=low_rank_beside)


def test_a_step_of_all_weights_is_not_predicted_of_packed_ones() -> None:
    plain = base("llama", "sdpa")
    with pytest.raises(PlimsollError, match="packed weights cannot be trained, and nf4 packs them"):
        predict_step(FULL, Base(plain.model, Quantization.NF4, "sdpa", plain.weights))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for family in PACKED_FAMILIES:
        save_checkpoint(family, folder / family)
    return folder


PACKED_FAMILIES = ("llama", "mixtral")


@pytest.mark.parametrize("training", [BRIDGE, AGAIN], ids=str)
@pytest.mark.parametrize("scheme", [Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ])
@pytest.mark.parametrize("family", PACKED_FAMILIES)
def test_a_step_of_packed_weights_takes_what_was_predicted(
    checkpoints: Path, family: str, scheme: Quantization, training: Training
) -> None:
    """LLM.int8 keeps what enters each product, even where layers are computed again; experts that are unpacked for the
    forward pass are kept for the way back."""
    folder = checkpoints / family
    model = with_shares_in_16_bit(load(load_spec(folder, family, scheme), "as-is").model)
    skeleton = with_shares_in_16_bit(
        skeleton_of(transformers.AutoConfig.from_pretrained(folder), "AutoModelForCausalLM", "bfloat16")
    )
    stored = footprint_of(skeleton, scheme).weight_bytes
    predicted = predict_step(training, Base(skeleton, scheme, "sdpa", stored))
    for batch, length in ((1, 128), (3, 130)):
        found, expected = measured(training, tokens(batch, length), model), predicted.at(batch, length, device="cpu")
        if scheme is Quantization.INT8 and training is AGAIN:
            # Where layers are computed again, a CPU unpacks weights for the forward pass that a GPU multiplies packed.
            assert (found.weights, found.gradients) == (expected.weights, expected.gradients)
            assert found.activations == pytest.approx(expected.activations, abs=256)
            assert found.peak == pytest.approx(expected.peak, rel=0.02)
        else:
            assert_alike(found, expected)


def test_packed_models_are_joined_by_a_bridge(checkpoints: Path) -> None:
    """Each by its own scheme: what the first keeps is gone before the second begins."""
    schemes = {"mixtral": Quantization.NF4, "llama": Quantization.INT8}
    models = [
        load(load_spec(checkpoints / family, family, scheme), "as-is").model for family, scheme in schemes.items()
    ]
    bases = []
    for family, scheme in schemes.items():
        config = transformers.AutoConfig.from_pretrained(checkpoints / family)
        skeleton = skeleton_of(config, "AutoModelForCausalLM", "bfloat16")
        bases.append(Base(skeleton, scheme, "sdpa", footprint_of(skeleton, scheme).weight_bytes))
    found = measured(BRIDGE, tokens(3, 130), *models)
    assert_alike(found, predict_step(BRIDGE, *bases).at(3, 130, device="cpu"))


def test_what_a_module_calls_its_state_is_none_of_a_scheme() -> None:
    module = torch.nn.Linear(4, 2, bias=False)
    module.state = {"calls": 3}  # type: ignore[assignment]
    assert [tensor.shape for tensor in held_tensors(module)] == [(2, 4)]


def test_experts_that_stay_in_floats_are_not_unpacked() -> None:
    stock, packed = (
        predict_step(BRIDGE, Base(base("mixtral", "sdpa").model, Quantization.NF4, "sdpa", 0, experts_covered=covered))
        for covered in (False, True)
    )
    experts = 3 * SHARED["hidden_size"] * SHARED["intermediate_size"] * 4 * SHARED["num_hidden_layers"]
    kept = [one.at(1, 128).activations for one in (stock, packed)]
    assert kept[1] - kept[0] == experts * 2


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_mixture_in_another_dtype_takes_what_was_predicted(dtype: str) -> None:
    """torch's own shapes of a grouped product are for bfloat16 alone."""
    predicted = predict_step(BRIDGE, base("mixtral", "sdpa", dtype))
    assert_alike(measured(BRIDGE, tokens(3, 130), real("mixtral", "sdpa", dtype)), predicted.at(3, 130, device="cpu"))


def test_a_packed_model_unpacks_its_weights_on_the_way_back_too() -> None:
    wide: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 256, "vocab_size": 64}
    plain = base("llama", "sdpa", **wide)
    for scheme in (Quantization.NF4, Quantization.INT8):
        packed = Base(base("llama", "sdpa", **wide).model, scheme, "sdpa", plain.weights)
        heights = [highest(predict_step(BRIDGE, one).backward, 1, 4) for one in (packed, plain)]
        largest = wide["intermediate_size"] * wide["hidden_size"] * 2
        assert heights[0] - heights[1] >= largest / 4, scheme
