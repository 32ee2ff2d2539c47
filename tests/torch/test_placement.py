"""Which GPU gets which part: the planner that loading uses, asked without a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import transformers
from transformers.initialization import no_tie_weights

from plimsoll.catalogue.entries import Quantization, Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.demand import Demand, demand_of
from plimsoll.footprint.load_peak import RAM
from plimsoll.footprint.prediction import Subject
from plimsoll.host.server.experts import FusedExpertsConfig
from plimsoll.host.server.predict.variant import predict_all, predict_placement
from tests.support.random_checkpoints import ARCHITECTURES, AUTO_CLASS, CONFIGS
from tests.support.skeletons import predict

VARIANTS = read_catalogue().variants
GB = 10**9
SPREAD = ("llama-3.1-70b-instruct/int8", "llama-3.1-70b-instruct/bf16", "mixtral-8x22b-instruct-v0.1/int8")


def placed(name: str, memory: tuple[int, ...], device_map: str = "auto") -> Mapping[str, str | int]:
    return predict_placement(Subject.of(VARIANTS[name]), device_map, memory)


def demand(variant: Variant, placement: Mapping[str, str | int]) -> Demand:
    return demand_of(variant, predict_all(Subject.of(variant)), placement)


@pytest.mark.parametrize("name", SPREAD)
def test_enough_gpus_share_all_of_a_model(name: str) -> None:
    placement = placed(name, (80 * GB,) * 4)
    assert set(placement.values()) == {0, 1, 2, 3}
    variant = VARIANTS[name]
    shares = demand(variant, placement)
    assert shares.offloaded == 0
    weights = shares.prediction.footprint.weight_bytes
    assert sum(shares.held.values()) == weights
    # Balanced, but for the last, which gets what is left.
    assert max(shares.held.values()) < 1.4 * weights / 4
    cache = shares.prediction.cache
    assert cache is not None
    assert sum(len(part.layers) for part in shares.caches.values()) == len(cache.layers)


def test_what_gpus_cannot_hold_goes_elsewhere() -> None:
    variant = VARIANTS["llama-3.1-70b-instruct/bf16"]
    shares = demand(variant, placed(variant.id, (40 * GB,) * 2))
    assert shares.offloaded == shares.held[RAM] > 141 * GB - 80 * GB


def test_a_single_gpu_is_not_filled_to_the_brim() -> None:
    name, size = "llama-3.1-70b-instruct/bf16", 141_107_412_992
    assert "cpu" in placed(name, (int(1.05 * size),)).values()
    assert set(placed(name, (int(1.15 * size),)).values()) == {0}


def test_what_is_quantized_on_the_fly_is_given_less_of_each_gpu() -> None:
    name, size = "llama-3.1-70b-instruct/int8", 72_680_000_000
    assert "cpu" in placed(name, (int(1.15 * size),)).values()
    assert set(placed(name, (int(1.3 * size),)).values()) == {0}
    assert "cpu" in placed(name, (int(1.1 * size / 2),) * 2).values()


def test_the_first_gpu_can_be_spared() -> None:
    name = "llama-3.1-70b-instruct/bf16"
    balanced, spared = (
        Counter(placed(name, (80 * GB,) * 4, device_map).values())[0] for device_map in ("balanced", "balanced_low_0")
    )
    assert spared < balanced
    assert set(placed(name, (150 * GB,) * 2, "sequential").values()) == {0}


@pytest.mark.parametrize("quantization", [Quantization.INT8, Quantization.NF4])
def test_the_loader_counts_packed_experts_as_we_do(quantization: Quantization) -> None:
    """The quantizer that loads is asked the same question by the real planner, on the model as it is being loaded."""
    config: Any = transformers.AutoConfig.for_model(**CONFIGS["mixtral"])
    auto_class: Any = transformers.AutoModelForCausalLM
    fields = {"load_in_8bit": True} if quantization is Quantization.INT8 else {"load_in_4bit": True}
    settings: Any = FusedExpertsConfig(**fields)
    quantizers: Any = transformers.quantizers.auto
    quantizer = quantizers.AutoHfQuantizer.from_config(settings, pre_quantized=False)
    with torch.device("meta"), no_tie_weights():
        model = auto_class.from_config(config, dtype=torch.bfloat16)
    quantizer.preprocess_model(model, device_map={"": "cpu"})
    footprint = predict(CONFIGS["mixtral"], AUTO_CLASS, ARCHITECTURES["mixtral"], quantization)
    ours = {p.name: p.data_bytes for p in footprint.parameters}
    theirs = {
        name: parameter.numel() * quantizer.param_element_size(model, name, parameter)
        for name, parameter in model.named_parameters()
    }
    assert theirs == ours
