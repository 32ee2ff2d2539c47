"""The models of the Hub and the machines of the data sheets, held against what is known of them: sizes to the
parameter, the architecture's facts, ids, licences, selections. No network, and no weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import transformers

from benchmarks.campaign.stages import read_stages
from plimsoll.catalogue.entries import Model, Variant, WeightSource
from plimsoll.catalogue.marks import read_marks
from plimsoll.catalogue.reader import read_catalogue
from tests.support.skeletons import footprint, skeleton

MARKS = read_marks(Path(__file__).parents[2] / "markers.ini")
CATALOGUE = read_catalogue(known_marks=MARKS)
HUB = {id_: model for id_, model in CATALOGUE.models.items() if model.source is WeightSource.HUB}
VARIANTS = {id_: variant for id_, variant in CATALOGUE.variants.items() if variant.model.id in HUB}

# Parameters, then GB of weights with their quantization statistics: bf16, int8, nf4, nf4-dq.
SIZES: Mapping[str, tuple[int, tuple[float, ...]]] = {
    "llama-3.2-1b": (1_235_814_400, (2.47, 1.50, 1.07, 1.03)),
    "llama-3.2-3b": (3_212_749_824, (6.43, 3.61, 2.37, 2.24)),
    "llama-3-8b": (8_030_261_248, (16.06, 9.09, 6.03, 5.70)),
    "llama-3.1-8b": (8_030_261_248, (16.06, 9.09, 6.03, 5.70)),
    "llama-3.1-70b": (70_553_706_496, (141.11, 72.68, 42.71, 39.52)),
    "mistral-7b": (7_248_023_552, (14.50, 7.52, 4.46, 4.14)),
    "qwen2.5-1.5b": (1_543_714_304, (3.09, 1.78, 1.20, 1.14)),
    "qwen2.5-3b": (3_085_938_688, (6.17, 3.40, 2.18, 2.05)),
    "qwen2.5-7b": (7_615_616_512, (15.23, 8.71, 5.85, 5.55)),
    "qwen2.5-72b": (72_706_203_648, (145.41, 75.23, 44.48, 41.21)),
    "phi-3-mini": (3_821_079_552, (7.64, 4.02, 2.43, 2.26)),
    "mixtral-8x7b": (46_702_792_704, (93.41, 47.00, 26.65, 24.48)),
    "mixtral-8x22b-v0.1": (140_620_634_112, (281.24, 141.09, 79.67, 73.13)),
    "mixtral-8x22b-instruct": (140_630_071_296, (281.26, 141.11, 79.69, 73.15)),
    # transformers keeps the part that makes sound in float32; with all of it in 16 bits it would be 21.46 and 11.44.
    "qwen2.5-omni-7b": (10_732_225_408, (22.37, 11.70)),
}
SCHEMES = ("bf16", "int8", "nf4", "nf4-dq")

# Positions, base of the rotary embedding, its scaling factor, tied head, end of text: base model, then Instruct.
LLAMA_3_1 = (131072, 500_000.0, 8.0, False)
QWEN = (1_000_000.0, None)
FACTS: Mapping[str, tuple[object, ...]] = {
    "llama-3.2-1b": (131072, 500_000.0, 32.0, True, 128001),
    "llama-3.2-1b-instruct": (131072, 500_000.0, 32.0, True, [128001, 128008, 128009]),
    "llama-3.2-3b": (131072, 500_000.0, 32.0, True, 128001),
    "llama-3.2-3b-instruct": (131072, 500_000.0, 32.0, True, [128001, 128008, 128009]),
    "llama-3-8b": (8192, 500_000.0, None, False, 128001),
    "llama-3-8b-instruct": (8192, 500_000.0, None, False, [128001, 128009]),
    "llama-3.1-8b": (*LLAMA_3_1, 128001),
    "llama-3.1-8b-instruct": (*LLAMA_3_1, [128001, 128008, 128009]),
    "llama-3.1-70b": (*LLAMA_3_1, 128001),
    "llama-3.1-70b-instruct": (*LLAMA_3_1, [128001, 128008, 128009]),
    "mistral-7b-v0.3": (32768, 1_000_000.0, None, False, 2),
    "mistral-7b-instruct-v0.3": (32768, 1_000_000.0, None, False, 2),
    "mixtral-8x7b-v0.1": (32768, 1_000_000.0, None, False, 2),
    "mixtral-8x7b-instruct-v0.1": (32768, 1_000_000.0, None, False, 2),
    "mixtral-8x22b-v0.1": (65536, 1_000_000.0, None, False, 2),
    "mixtral-8x22b-instruct-v0.1": (65536, 1_000_000.0, None, False, 2),
    "phi-3-mini-4k-instruct": (4096, 10_000.0, None, False, 32000),
    "qwen2.5-1.5b": (131072, *QWEN, True, 151643),
    "qwen2.5-1.5b-instruct": (32768, *QWEN, True, 151645),
    "qwen2.5-3b": (32768, *QWEN, True, 151643),
    "qwen2.5-3b-instruct": (32768, *QWEN, True, 151645),
    "qwen2.5-7b": (131072, *QWEN, False, 151643),
    "qwen2.5-7b-instruct": (32768, *QWEN, False, 151645),
    "qwen2.5-72b": (131072, *QWEN, False, 151643),
    "qwen2.5-72b-instruct": (32768, *QWEN, False, 151645),
    "qwen2.5-omni-7b": (32768, *QWEN, False, None),
}

HUB_IDS = {
    "llama-3.2-1b": "meta-llama/Llama-3.2-1B",
    "llama-3.2-1b-instruct": "meta-llama/Llama-3.2-1B-Instruct",
    "llama-3.2-3b": "meta-llama/Llama-3.2-3B",
    "llama-3.2-3b-instruct": "meta-llama/Llama-3.2-3B-Instruct",
    "llama-3-8b": "meta-llama/Meta-Llama-3-8B",
    "llama-3-8b-instruct": "meta-llama/Meta-Llama-3-8B-Instruct",
    "llama-3.1-8b": "meta-llama/Llama-3.1-8B",
    "llama-3.1-8b-instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "llama-3.1-70b": "meta-llama/Llama-3.1-70B",
    "llama-3.1-70b-instruct": "meta-llama/Llama-3.1-70B-Instruct",
    "mistral-7b-v0.3": "mistralai/Mistral-7B-v0.3",
    "mistral-7b-instruct-v0.3": "mistralai/Mistral-7B-Instruct-v0.3",
    "mixtral-8x7b-v0.1": "mistralai/Mixtral-8x7B-v0.1",
    "mixtral-8x7b-instruct-v0.1": "mistralai/Mixtral-8x7B-Instruct-v0.1",
    "mixtral-8x22b-v0.1": "mistralai/Mixtral-8x22B-v0.1",
    "mixtral-8x22b-instruct-v0.1": "mistralai/Mixtral-8x22B-Instruct-v0.1",
    "phi-3-mini-4k-instruct": "microsoft/Phi-3-mini-4k-instruct",
    "qwen2.5-1.5b": "Qwen/Qwen2.5-1.5B",
    "qwen2.5-1.5b-instruct": "Qwen/Qwen2.5-1.5B-Instruct",
    "qwen2.5-3b": "Qwen/Qwen2.5-3B",
    "qwen2.5-3b-instruct": "Qwen/Qwen2.5-3B-Instruct",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B",
    "qwen2.5-7b-instruct": "Qwen/Qwen2.5-7B-Instruct",
    "qwen2.5-72b": "Qwen/Qwen2.5-72B",
    "qwen2.5-72b-instruct": "Qwen/Qwen2.5-72B-Instruct",
    "qwen2.5-omni-7b": "Qwen/Qwen2.5-Omni-7B",
}


def size_of(model: Model) -> tuple[int, tuple[float, ...]]:
    """The row of SIZES for a model: the one with the longest start of its id."""
    return SIZES[max((start for start in SIZES if model.id.startswith(start)), key=len)]


def configuration(model: Model) -> Any:
    options = dict(model.config)
    return transformers.AutoConfig.for_model(options.pop("model_type"), **options)


READ_WITHOUT_A_FIELD = {"vision_start_token_id"}
"""Qwen2.5-Omni reads it off its configuration when it answers, and its configuration class has no field for it."""


def unknown_keys(given: Mapping[str, Any], config: Any, path: str = "") -> Iterator[str]:
    """The keys that a configuration class has no field for, those of nested configurations too.

    transformers keeps a key that it does not know, and builds with its default for the one that was meant.
    """
    assert is_dataclass(config)
    known = {field.name for field in fields(config)} | READ_WITHOUT_A_FIELD
    for key, value in given.items():
        if key not in known | {"model_type"}:
            yield path + key
        elif isinstance(value, Mapping) and key.endswith("_config"):
            yield from unknown_keys(value, getattr(config, key), f"{path}{key}.")


@pytest.mark.parametrize("model", HUB.values(), ids=list(HUB))
def test_sizes_to_the_parameter(model: Model) -> None:
    count, _ = size_of(model)
    assert sum(parameter.numel() for parameter in skeleton(model).parameters()) == count


@pytest.mark.parametrize("entry", VARIANTS.values(), ids=list(VARIANTS))
def test_weight_bytes(entry: Variant) -> None:
    count, sizes = size_of(entry.model)
    stored = footprint(entry)
    scheme = "bf16" if entry.quantization == "fp16" else entry.quantization.value
    assert stored.parameter_count == count
    assert round(stored.weight_bytes / 1e9, 2) == sizes[SCHEMES.index(scheme)]


@pytest.mark.parametrize("model", CATALOGUE.models.values(), ids=list(CATALOGUE.models))
def test_configuration_builds_the_class_it_names(model: Model) -> None:
    assert type(skeleton(model)).__name__ == model.architecture
    assert list(unknown_keys(model.config, configuration(model))) == []


def test_unknown_keys_are_found_wherever_they_stand() -> None:
    omni = HUB["qwen2.5-omni-7b"]
    config = {**omni.config, "thinker_config": {**omni.config["thinker_config"], "text_config": {"hiden_size": 1}}}
    assert list(unknown_keys(config, configuration(omni))) == ["thinker_config.text_config.hiden_size"]


@pytest.mark.parametrize("model", HUB.values(), ids=list(HUB))
def test_facts_of_the_architecture(model: Model) -> None:
    config = configuration(model)
    text = config.get_text_config()
    rope = text.rope_parameters
    ends = getattr(config, "eos_token_id", None)
    assert FACTS[model.id] == (
        text.max_position_embeddings,
        rope["rope_theta"],
        rope.get("factor"),
        bool(text.tie_word_embeddings),
        ends,
    )
    assert rope["rope_type"] == ("llama3" if rope.get("factor") else "default")
    window = 2047 if model.family == "phi" else None
    assert getattr(text, "sliding_window", None) == window


def test_facts_that_only_one_model_has() -> None:
    phi, omni = configuration(HUB["phi-3-mini-4k-instruct"]), configuration(HUB["qwen2.5-omni-7b"])
    assert phi.num_key_value_heads == phi.num_attention_heads == 32, "no heads are grouped"
    assert HUB["qwen2.5-omni-7b"].auto_class == "AutoModelForMultimodalLM"
    assert {model.auto_class for id_, model in HUB.items() if "omni" not in id_} == {"AutoModelForCausalLM"}
    parts = {"thinker": 8_931_813_888, "talker": 1_351_360_256, "token2wav": 449_051_264}
    network = skeleton(HUB["qwen2.5-omni-7b"])
    assert {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()} == parts
    assert omni.thinker_config.text_config.rope_parameters["mrope_section"] == [16, 24, 24]
    for id_, tokens in (("mixtral-8x22b-v0.1", 32000), ("mixtral-8x22b-instruct-v0.1", 32768)):
        assert HUB[id_].config["vocab_size"] == tokens


def test_terms_of_the_models() -> None:
    assert {id_: model.hub_id for id_, model in HUB.items()} == HUB_IDS
    for model in HUB.values():
        assert model.card == f"https://huggingface.co/{model.hub_id}"
        assert model.revision == "main", "no commit is known, and none may be made up"
        assert not model.trust_remote_code
        assert model.allow_pickle is None
        assert model.hardware
        assert model.gated is (model.family in ("llama", "mistral", "mixtral"))
    licences = {id_: HUB[id_].licence for id_ in HUB}
    assert {licence for id_, licence in licences.items() if id_.startswith("mi")} == {"Apache-2.0"}
    assert licences["phi-3-mini-4k-instruct"] == "MIT"
    assert licences["qwen2.5-3b"] == licences["qwen2.5-3b-instruct"] == "Qwen Research License"
    assert licences["qwen2.5-72b"] == licences["qwen2.5-72b-instruct"] == "Qwen License"
    assert licences["qwen2.5-omni-7b"] == licences["qwen2.5-7b"] == licences["qwen2.5-1.5b"] == "Apache-2.0"
    assert licences["llama-3-8b"] == "Meta Llama 3 Community License"
    assert licences["llama-3.1-70b"] == "Llama 3.1 Community License"
    assert licences["llama-3.2-1b"] == "Llama 3.2 Community License"


def test_generation_is_set_explicitly() -> None:
    for model in HUB.values():
        generation = model.generation
        assert (generation.max_new_tokens, generation.do_sample) == (256, False)
        assert (generation.temperature, generation.top_p) == (1.0, 1.0)
        assert generation.pad_token is None, "pads with the end-of-sequence token"


def selected(mark: str) -> set[str]:
    return {id_ for id_, variant in CATALOGUE.variants.items() if mark in variant.all_marks}


def test_selections() -> None:
    assert MARKS.section("selections") == ("primary", "small", "large", "study", "speed", "soak")
    assert selected("primary") == {
        "llama-3.1-70b-instruct/nf4-dq",
        "mixtral-8x22b-instruct-v0.1/nf4-dq",
        "qwen2.5-7b/int8",
        "qwen2.5-omni-7b/int8",
    }
    assert selected("small") == {"llama-3.2-1b/fp16", "qwen2.5-1.5b/fp16", "mistral-7b-v0.3/int8"}
    assert selected("large") == {"llama-3-8b/int8", "qwen2.5-7b/int8", "mistral-7b-instruct-v0.3/int8"}
    studied = ("llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b", "qwen2.5-1.5b", "qwen2.5-3b", "qwen2.5-7b")
    pairs = {f"{id_}{kind}/bf16" for id_ in studied for kind in ("", "-instruct")}
    assert selected("study") == pairs | {"mistral-7b-v0.3/bf16", "mistral-7b-instruct-v0.3/bf16"}
    assert len(selected("study")) == 14


def test_no_large_variant_is_tiny() -> None:
    assert selected("tiny") == {id_ for id_ in CATALOGUE.variants if id_.startswith("tiny-")}
    for variant in VARIANTS.values():
        assert variant.tier.device == "cuda"


TIERS = {"gpu1b": (0, 2e9), "gpu3b": (2e9, 5e9), "gpu8b": (5e9, 20e9), "gpu70b": (20e9, 100e9)}


def test_tiers_follow_sizes() -> None:
    for variant in VARIANTS.values():
        if variant.model.family == "mixtral":
            assert variant.tier.id == "gpumoe"
        else:
            low, high = TIERS[variant.tier.id]
            assert low < size_of(variant.model)[0] < high, variant.id


def schemes_of(model: str) -> set[str]:
    return {id_.partition("/")[2] for id_ in VARIANTS if id_.startswith(f"{model}/")}


def test_ways_to_load() -> None:
    assert {id_: schemes_of(id_) for id_ in HUB if "70b" in id_ or "72b" in id_ or "mixtral" in id_} == {
        "llama-3.1-70b": {"nf4", "nf4-dq"},
        "llama-3.1-70b-instruct": {"nf4", "nf4-dq", "int8", "bf16"},
        "qwen2.5-72b": {"nf4", "nf4-dq"},
        "qwen2.5-72b-instruct": {"nf4", "nf4-dq"},
        "mixtral-8x7b-v0.1": {"nf4", "nf4-dq"},
        "mixtral-8x7b-instruct-v0.1": {"nf4", "nf4-dq"},
        "mixtral-8x22b-v0.1": {"nf4", "nf4-dq"},
        "mixtral-8x22b-instruct-v0.1": {"nf4", "nf4-dq", "int8"},
    }
    for model in HUB:
        if VARIANTS[f"{model}/{min(schemes_of(model))}"].tier.id in ("gpu1b", "gpu3b") and "phi" not in model:
            assert {"fp16", "bf16", "int8", "nf4"} <= schemes_of(model), model
    for model in ("llama-3-8b", "llama-3.1-8b", "mistral-7b-v0.3", "qwen2.5-7b-instruct"):
        assert {"bf16", "int8", "nf4-dq"} <= schemes_of(model)
    assert schemes_of("qwen2.5-omni-7b") == {"int8", "bf16"}


def test_phi_is_eager_with_sdpa_beside_it() -> None:
    attention = {id_.partition("/")[2]: v.attention for id_, v in VARIANTS.items() if v.model.family == "phi"}
    eager = dict.fromkeys(("bf16", "fp16", "int8", "nf4"), "eager")
    assert attention == eager | dict.fromkeys(("bf16-sdpa", "int8-sdpa", "nf4-sdpa"), "sdpa")


# Memory in GB, bandwidth in GB/s, dense bfloat16 in TFLOPS, compute capability.
SHEETS = {
    "a100-40g": (40, 1555, 312, "8.0"),
    "a100-80g": (80, 2039, 312, "8.0"),
    "h100-80g": (80, 3350, 989.5, "9.0"),
    "h200-141g": (141, 4800, 989.5, "9.0"),
    "l40s-48g": (48, 864, 362.05, "8.9"),
    "a10-24g": (24, 600, 125, "8.6"),
    "rtx4090-24g": (24, 1008, 165.2, "8.9"),
    "mi300x-192g": (192, 5300, 1307.4, None),
}


def test_profiles() -> None:
    suffixes = {"": 1, "-x2": 2, "-x4": 4, "-x8": 8}
    assert set(CATALOGUE.profiles) == {sheet + suffix for sheet in SHEETS for suffix in suffixes}
    for id_, profile in CATALOGUE.profiles.items():
        sheet, _, _ = id_.partition("-x")
        memory, bandwidth, rate, capability = SHEETS[sheet]
        assert (profile.memory, profile.bandwidth) == (memory * 10**9, bandwidth * 1e9), id_
        assert profile.bf16_rate == pytest.approx(rate * 1e12), id_
        assert profile.compute_capability == capability, id_
        assert profile.count == suffixes[id_.removeprefix(sheet)]
        assert "data sheet" in profile.source or "whitepaper" in profile.source


def test_the_campaign_says_what_the_weights_of_its_loads_are_in_16_bit() -> None:
    loads = [step for stage in read_stages() for step in stage.steps if step.variant]
    assert len(loads) >= 7
    for step in loads:
        model = max((name for name in SIZES if step.variant.startswith(name)), key=len)
        assert step.gigabytes == pytest.approx(2e-9 * SIZES[model][0], rel=0.02), step.id
