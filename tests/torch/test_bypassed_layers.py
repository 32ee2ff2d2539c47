"""Layers whose weight a class multiplies with by itself: found without a byte, and raised by the class once packed."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.prediction import Subject
from plimsoll.host.server.predict.bypassed import bypassed_layers, names_to_skip, unusual_inputs
from plimsoll.host.server.predict.coverage import skeleton_of
from plimsoll.host.server.predict.variant import predict_all
from plimsoll.symptoms.recognise import Seen, recognise
from plimsoll.symptoms.surroundings import Surroundings
from tests.support.small_architectures import TWELVE, save_small

SKIP = ("dt_proj", "lm_head")
PACKED = (Quantization.INT8, Quantization.NF4)


def skeleton(name: str, **more: int) -> torch.nn.Module:
    architecture, model_type, given = TWELVE[name]
    return skeleton_of(transformers.AutoConfig.for_model(model_type, **{**given, **more}), architecture, "bfloat16")


def subject(quantization: Quantization, skipped: tuple[str, ...] | None = None, name: str = "mamba") -> Subject:
    architecture, model_type, given = TWELVE[name]
    config = transformers.AutoConfig.for_model(model_type, **given).to_json_string(use_diff=True)
    return Subject(
        config_json=config,
        auto_class="AutoModelForCausalLM",
        architecture=architecture,
        quantization=quantization,
        attention="eager",
        implementation="eager",
        skipped=skipped,
    )


@pytest.mark.parametrize("name", sorted(TWELVE.keys() - {"mamba"}))
def test_of_other_classes_none_is_bypassed(name: str) -> None:
    model = skeleton(name)
    assert bypassed_layers(model) == {}
    assert names_to_skip(model, Quantization.NF4) == ()
    assert names_to_skip(model, Quantization.INT8) == (("kv_b_proj", "lm_head") if name == "deepseek-v3" else ())


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_a_mamba_multiplies_with_the_weight_of_its_time_step_itself(layers: int) -> None:
    model = skeleton("mamba", num_hidden_layers=layers)
    assert bypassed_layers(model) == {f"backbone.layers.{layer}.mixer.dt_proj": "MambaMixer" for layer in range(layers)}
    assert names_to_skip(model, Quantization.NF4) == names_to_skip(model, Quantization.INT8) == SKIP
    assert names_to_skip(model, Quantization.BF16) == ()


def test_layers_that_are_alike_are_told_by_the_first_of_them() -> None:
    model = skeleton("deepseek-v3", num_hidden_layers=6, first_k_dense_replace=1)
    assert set(unusual_inputs(model)) == {f"model.layers.{layer}.self_attn.kv_b_proj" for layer in range(6)}


@pytest.mark.parametrize("skip", [None, ["kv_b_proj", "lm_head"]])
def test_what_int8_cannot_multiply_raises_and_in_floats_it_answers(skip: list[str] | None, tmp_path: Path) -> None:
    """The latent attention gives a layer four dimensions, which on a GPU is refused in words and here in none."""
    model = load(save_small("deepseek-v3", tmp_path), Quantization.INT8, skip)
    ids = torch.tensor([[1, 5, 6, 7, 8]])
    with nullcontext() if skip else pytest.raises(RuntimeError, match="The size of tensor a"):
        assert model(input_ids=ids).logits.isfinite().all()


def test_int8_of_such_a_class_has_an_obstacle_and_other_quantizations_have_none() -> None:
    obstacle = predict_all(subject(Quantization.INT8, name="deepseek-v3")).obstacle
    assert obstacle is not None
    assert obstacle.have == (
        "DeepseekV3Attention, which gives kv_b_proj inputs of 4 dimensions: packed in int8, that raises"
    )
    assert 'llm_int8_skip_modules = ["kv_b_proj", "lm_head"]' in obstacle.fix
    assert predict_all(subject(Quantization.INT8, ("kv_b_proj", "lm_head"), name="deepseek-v3")).obstacle is None
    for quantization in (Quantization.NF4, Quantization.NF4_DQ, Quantization.BF16):
        assert predict_all(subject(quantization, name="deepseek-v3")).obstacle is None


@pytest.mark.parametrize("quantization", PACKED)
def test_packed_it_raises_and_with_them_in_floats_it_answers(quantization: Quantization, tmp_path: Path) -> None:
    """What is predicted, really done by the libraries."""
    folder = save_small("mamba", tmp_path)
    ids = torch.tensor([[1, 5, 6, 7]])
    with pytest.raises(RuntimeError, match=r"to have the same dtype|Expected size for first two dimensions"):
        load(folder, quantization, None)(input_ids=ids)
    assert load(folder, quantization, list(SKIP))(input_ids=ids).logits.isfinite().all()


def load(folder: Path, quantization: Quantization, skip: list[str] | None) -> Any:
    bits: dict[str, Any] = {"load_in_8bit": True} if quantization is Quantization.INT8 else {"load_in_4bit": True}
    config = transformers.BitsAndBytesConfig(llm_int8_skip_modules=skip, **bits)  # type: ignore[no-untyped-call]
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=config, dtype=torch.bfloat16, device_map="cpu"
    )


@pytest.mark.parametrize("quantization", PACKED)
def test_a_variant_that_packs_them_has_an_obstacle_with_the_way_past_it(quantization: Quantization) -> None:
    obstacle = predict_all(subject(quantization)).obstacle
    assert obstacle is not None
    assert obstacle.have == "MambaMixer, which multiplies with the weight of dt_proj itself: packed, that raises"
    assert obstacle.fix == (
        'keep them in floats: load_options.quantization_config.llm_int8_skip_modules = ["dt_proj", "lm_head"] in the '
        "variant"
    )
    assert predict_all(subject(quantization, SKIP)).obstacle is None
    other = predict_all(subject(quantization, ("lm_head",))).obstacle
    assert other is not None
    assert 'llm_int8_skip_modules = ["lm_head", "dt_proj"]' in other.fix


def test_in_floats_nothing_is_in_the_way() -> None:
    assert predict_all(subject(Quantization.BF16)).obstacle is None
    assert predict_all(replace(subject(Quantization.BF16), skipped=())).obstacle is None


def test_the_error_of_a_class_that_nobody_looked_through_is_told_right(tmp_path: Path) -> None:
    model = load(save_small("mamba", tmp_path), Quantization.INT8, None)
    with pytest.raises(RuntimeError) as caught:
        model(input_ids=torch.tensor([[1, 5, 6, 7]]))
    (found,) = recognise(Seen.of(caught.value), place=Surroundings())
    assert found.cause.startswith("code of the model multiplies with the weight of a layer that is packed")
    assert "llm_int8_skip_modules" in found.next


def test_a_class_that_asks_for_each_of_its_layers_is_followed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """With some of them left out its pass raises, and what comes after them would not be seen."""
    model = skeleton("mamba", num_hidden_layers=5)
    backbone: Any = model.backbone
    forward = type(backbone).forward

    def demanding(self: Any, *args: Any, **kwargs: Any) -> Any:
        assert len(self.layers) == 5
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(backbone), "forward", demanding)
    assert bypassed_layers(model).keys() == {f"backbone.layers.{layer}.mixer.dt_proj" for layer in range(5)}
