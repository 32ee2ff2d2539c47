"""Prediction, held against what really loaded models store, and against the published sizes of real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import transformers
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.initialization import no_tie_weights
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer

from plimsoll.catalogue.entries import Quantization
from plimsoll.errors import PlimsollError
from plimsoll.footprint.packing import packed
from plimsoll.host.server.inventory import take_inventory
from plimsoll.host.server.loading import load
from plimsoll.host.server.predict.config import misspelt, setting_of, settings_of
from plimsoll.host.server.predict.coverage import fused_experts, skeleton_of
from plimsoll.host.server.predict.variant import footprint_of
from plimsoll.judge.quantization import check_stored_bytes
from tests.support.random_checkpoints import ARCHITECTURES, AUTO_CLASS, CONFIGS, load_spec, save_checkpoint
from tests.support.skeletons import predict
from tests.support.small_architectures import LATER

QUANTIZED = (Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ)
GB = 1e9


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A checkpoint of a family, saved once a module."""
    root = tmp_path_factory.mktemp("checkpoints")
    return lambda family: root / family if (root / family).exists() else save_checkpoint(family, root / family)


def predicted(family: str, quantization: Quantization, **options: Any) -> Any:
    return predict(CONFIGS[family], AUTO_CLASS, ARCHITECTURES[family], quantization, **options)


@pytest.mark.parametrize("quantization", Quantization, ids=str)
@pytest.mark.parametrize("family", CONFIGS)
def test_a_loaded_model_stores_the_predicted_bytes(
    checkpoint: Callable[[str], Path], family: str, quantization: Quantization
) -> None:
    inventory = load(load_spec(checkpoint(family), family, quantization), "as-is").report.inventory
    footprint = predicted(family, quantization)
    assert [str(d) for d in check_stored_bytes(footprint, inventory)] == []
    assert inventory.stored_bytes == footprint.weight_bytes
    assert {p.name for p in footprint.parameters if p.quantized} == {
        r.name for r in inventory.parameters if r.scheme == quantization.value
    }


@pytest.mark.parametrize("quantization", QUANTIZED, ids=str)
def test_stock_experts_store_what_is_predicted_without_covering_them(
    checkpoint: Callable[[str], Path], quantization: Quantization
) -> None:
    spec = load_spec(checkpoint("mixtral"), "mixtral", quantization, load_options={"fused_experts": "stock"})
    stored = load(spec, "as-is").report.inventory.stored_bytes
    assert stored == predicted("mixtral", quantization, experts_covered=False).weight_bytes
    assert stored != predicted("mixtral", quantization).weight_bytes


# hidden, ffn, layers, heads, kv heads, vocabulary
REAL: Mapping[str, tuple[str, tuple[int, ...], dict[str, Any], int, Mapping[str, float]]] = {
    "Llama-3.2-1B": (
        "llama",
        (2048, 8192, 16, 32, 8, 128256),
        {"tie_word_embeddings": True},
        1_235_814_400,
        {"bf16": 2.47, "int8": 1.50, "nf4": 1.07, "nf4-dq": 1.03},
    ),
    "Qwen2.5-7B": (
        "qwen2",
        (3584, 18944, 28, 28, 4, 152064),
        {},
        7_615_616_512,
        {"bf16": 15.23, "int8": 8.71, "nf4": 5.85, "nf4-dq": 5.55},
    ),
    "Llama-3.1-70B": (
        "llama",
        (8192, 28672, 80, 64, 8, 128256),
        {},
        70_553_706_496,
        {"bf16": 141.11, "int8": 72.68, "nf4": 42.71, "nf4-dq": 39.52},
    ),
    "Mixtral-8x7B": (
        "mixtral",
        (4096, 14336, 32, 32, 8, 32000),
        {},
        46_702_792_704,
        # int8 with a scale for every row of every expert: 34 MB over 8 bits a weight.
        {"bf16": 93.41, "int8": 47.00, "nf4": 26.65, "nf4-dq": 24.48},
    ),
    "Mixtral-8x22B": (
        "mixtral",
        (6144, 16384, 56, 48, 8, 32768),
        {},
        140_630_071_296,
        {"bf16": 281.26, "int8": 141.11, "nf4": 79.69, "nf4-dq": 73.15},
    ),
}
STOCK_EXPERTS = {"Mixtral-8x7B": (92.06, 91.48, 91.41), "Mixtral-8x22B": (276.33, 274.17, 273.94)}


def real_config(model: str) -> tuple[dict[str, Any], str]:
    family, shape, more, _, _ = REAL[model]
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    return {"model_type": family, **dict(zip((*names, "vocab_size"), shape, strict=True)), **more}, ARCHITECTURES[
        family
    ]


@pytest.mark.parametrize("model", REAL)
def test_real_models_have_their_published_sizes(model: str) -> None:
    config, architecture = real_config(model)
    _, _, _, count, sizes = REAL[model]
    for quantization, size in sizes.items():
        footprint = predict(config, AUTO_CLASS, architecture, Quantization(quantization))
        assert footprint.parameter_count == count
        assert round(footprint.weight_bytes / GB, 2) == size


@pytest.mark.parametrize("model", STOCK_EXPERTS)
def test_experts_left_alone_by_the_stack_cost_what_was_found(model: str) -> None:
    config, architecture = real_config(model)
    sizes = [
        round(predict(config, AUTO_CLASS, architecture, q, experts_covered=False).weight_bytes / GB, 2)
        for q in QUANTIZED
    ]
    assert tuple(sizes) == STOCK_EXPERTS[model]


def test_a_mixture_is_quantized_almost_whole() -> None:
    config, architecture = real_config("Mixtral-8x22B")
    covered = predict(config, AUTO_CLASS, architecture, Quantization.NF4)
    stock = predict(config, AUTO_CLASS, architecture, Quantization.NF4, experts_covered=False)
    assert round(covered.quantized_fraction, 3) == 0.997
    assert round(stock.quantized_fraction, 3) == 0.035


def test_each_parameter_that_stays_in_floats_says_why() -> None:
    reasons = {p.name: p.reason for p in predicted("mixtral", Quantization.NF4).parameters if not p.quantized}
    assert reasons["model.embed_tokens.weight"] == "embedding"
    assert reasons["lm_head.weight"] == "output head"
    assert reasons["model.layers.0.mlp.gate.weight"] == "router"
    assert reasons["model.layers.0.input_layernorm.weight"] == "norm"
    tied = {p.name: p.reason for p in predicted("qwen2", Quantization.NF4).parameters if not p.quantized}
    assert tied["model.embed_tokens.weight"] == "embedding, and output head by a tie"
    assert tied["model.layers.0.self_attn.q_proj.bias"] == "bias"
    assert "lm_head.weight" not in tied
    assert {p.reason for p in predicted("llama", Quantization.BF16).parameters} == {"bf16 packs nothing"}


def small(model_type: str, **more: Any) -> Any:
    """A configuration of any family, shrunk by the names that most of them share."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 128}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return transformers.AutoConfig.for_model(model_type, **{**sizes, **heads, **more})


UNSEEN = {
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4},
    "gemma2": {"head_dim": 16},
    "olmoe": {"num_experts": 4},
    "qwen3_moe": {"num_experts": 4, "moe_intermediate_size": 64, "head_dim": 16},
    "gpt_oss": {"num_local_experts": 4, "head_dim": 16},
    "granitemoe": {"num_local_experts": 4},
    "jetmoe": {"num_local_experts": 4},
    "mamba": {"state_size": 4},
    "recurrent_gemma": {"lru_width": 64},
}
"""Architectures that no code of ours names: transposed matrices, tied heads, four kinds of mixtures, and two with 3-D
parameters that are no experts."""


@pytest.mark.parametrize("model_type", UNSEEN)
def test_coverage_agrees_with_the_stack_on_architectures_it_does_not_know(model_type: str) -> None:
    config = small(model_type, **UNSEEN[model_type])
    footprint = footprint_of(skeleton_of(config, AUTO_CLASS, "bfloat16"), Quantization.NF4, experts_covered=False)
    with torch.device("meta"), no_tie_weights():
        auto_class: Any = transformers.AutoModelForCausalLM
        stock = auto_class.from_config(config, dtype=torch.bfloat16)
    configuration: Any = BitsAndBytesConfig
    settings = configuration(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    quantizer: Any = Bnb4BitHfQuantizer(settings, pre_quantized=False)
    quantizer.preprocess_model(stock, device_map={"": "cpu"})
    replaced = {
        name: (stock.get_submodule(name.removesuffix(".weight")).out_features, parameter.shape[1])
        for name, parameter in stock.named_parameters()
        if quantizer.param_needs_quantization(stock, name)
    }
    ours = {p.name: p.shape for p in footprint.parameters if p.quantized}
    assert ours.keys() == replaced.keys()
    assert {name: shape[0] for name, shape in ours.items()} == {name: out for name, (out, _) in replaced.items()}


@pytest.mark.parametrize(
    ("model_type", "tensors"), [("olmoe", 4), ("gpt_oss", 4), ("jetmoe", 8), ("mamba", 0), ("gpt2", 0)]
)
def test_fused_experts_are_told_from_other_3d_parameters(model_type: str, tensors: int) -> None:
    config = small(model_type, **UNSEEN[model_type])
    model = skeleton_of(config, AUTO_CLASS, "bfloat16")
    assert len(fused_experts(model)) == tensors
    assert any(p.dim() == 3 for p in model.parameters()) or model_type == "gpt2"


def test_statistics_count_what_bitsandbytes_keeps() -> None:
    # One float32 a block of 64, and 16 of the code table.
    assert packed((128, 64), Quantization.NF4).statistics_bytes == 128 * 4 + 64
    # A byte a block, a float32 for the 128 of them, tables of 16 and 256 float32, the offset.
    assert packed((128, 64), Quantization.NF4_DQ).statistics_bytes == 128 + 4 + 64 + 1024 + 4
    assert packed((4, 8, 64), Quantization.INT8).statistics_bytes == 4 * 8 * 4
    odd = packed((3, 33), Quantization.NF4)
    assert (odd.data_bytes, odd.statistics_bytes) == (50, math.ceil(99 / 64) * 4 + 64)
    with pytest.raises(ValueError, match="bf16 packs no weight"):
        packed((2, 2), Quantization.BF16)


def test_an_entry_that_names_another_class_is_a_clear_error() -> None:
    with pytest.raises(
        PlimsollError, match="builds LlamaForCausalLM from model_type 'llama', and the entry says Mistral"
    ):
        predict(CONFIGS["llama"], AUTO_CLASS, "MistralForCausalLM", Quantization.BF16)
    with pytest.raises(PlimsollError, match=r"cannot build X \(model_type 'lama'\)"):
        predict({"model_type": "lama"}, AUTO_CLASS, "X", Quantization.BF16)
    with pytest.raises(PlimsollError, match="AutoModelForCasualLM"):
        predict(CONFIGS["llama"], "AutoModelForCasualLM", "LlamaForCausalLM", Quantization.BF16)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_lokal_experts": 2}, "'num_lokal_experts' (did you mean 'num_local_experts'?)"),
        ({"hiden_size": 64, "num_layer": 1}, "'hiden_size' (did you mean 'hidden_size'?)"),
    ],
)
def test_a_misspelt_key_of_a_configuration_is_refused(config: dict[str, int], said: str) -> None:
    given = {key: value for key, value in CONFIGS["mixtral"].items() if key not in ("num_local_experts", "hidden_size")}
    with pytest.raises(PlimsollError) as caught:
        predict({**given, **config}, AUTO_CLASS, "MixtralForCausalLM", Quantization.BF16)
    assert str(caught.value) == f"the configuration of MixtralForCausalLM has keys that nothing reads: {said}"


def test_a_name_that_only_an_alias_stands_for_is_no_slip() -> None:
    """Kimi Linear writes `num_shared_experts` to its files, and has the field `n_shared_experts`."""
    config = transformers.AutoConfig.for_model("kimi_linear", n_shared_experts=1, num_experts_per_tok=2)
    written = {key: value for key, value in config.to_dict().items() if value is not None}
    assert {"num_shared_experts", "num_experts_per_token"} <= written.keys()
    assert [*misspelt(written, config)] == []
    assert [*misspelt({"num_shared_expert": 1}, config)] == [("num_shared_expert", "num_shared_experts")]


def test_what_files_of_every_kind_may_say_is_no_slip() -> None:
    """Gemma 3's files have end tokens beside `eoi_token_index`, whose alias is `eoi_token_id`."""
    config = transformers.AutoConfig.for_model("gemma3")
    tokens = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"), 1)
    assert [*misspelt({**tokens, "boi_token_index": 5, "eoi_token_index": 6}, config)] == []
    assert [*misspelt(tokens, config)] == []
    assert [*misspelt({"eoi_token_indx": 6}, config)] == [("eoi_token_indx", "eoi_token_index")]
    # Neither spelling was meant by what resembles one, where the other is given.
    assert [*misspelt({"eoi_token_ids": 1, "eoi_token_index": 6}, config)] == []


def test_a_setting_that_differs_by_layer_is_read_for_each() -> None:
    architecture, model_type, given = LATER["gemma-4"]
    config = transformers.AutoConfig.for_model(model_type, **given)
    assert settings_of(config, "head_dim") == (16, 32)
    assert setting_of(config, "head_dim") is None
    assert settings_of(config, "hidden_size") == (setting_of(config, "hidden_size"),) == (64,)
    assert settings_of(config, "no_such_name") == (None,)
    assert predict({**given, "model_type": model_type}, AUTO_CLASS, architecture, Quantization.BF16).parameters


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"hidden_size": "64"},
            "Validation error for field 'hidden_size': TypeError: ",
        ),
        ({"num_attention_heads": 0}, "ZeroDivisionError: "),
        ({"hidden_size": -64}, "RuntimeError: Trying to create tensor with negative dimension"),
        ({"hidden_act": "gelou"}, "KeyError: "),
    ],
)
def test_a_value_that_gives_no_model_is_one_line(config: dict[str, Any], said: str) -> None:
    with pytest.raises(PlimsollError) as caught:
        predict({**CONFIGS["llama"], **config}, AUTO_CLASS, "LlamaForCausalLM", Quantization.BF16)
    text = str(caught.value)
    assert f"cannot build LlamaForCausalLM (model_type 'llama') with AutoModelForCausalLM: {said}" in text
    assert "\n" not in text


def test_a_misspelt_key_of_a_nested_configuration_is_found() -> None:
    nested = {"model_type": "llava", "text_config": {"model_type": "llama", "hiden_size": 64}}
    with pytest.raises(PlimsollError, match=r"'text_config.hiden_size' \(did you mean 'text_config.hidden_size'\?\)"):
        predict(nested, "AutoModelForImageTextToText", "LlavaForConditionalGeneration", Quantization.BF16)


def test_keys_of_published_files_that_no_class_reads_are_left_alone() -> None:
    # 'hidden_sizes' is near 'hidden_size', but that is given too.
    extra = {"use_mrope": False, "torch_dtype": "bfloat16", "quantized_by": "me", "hidden_sizes": [1], "_commit": "0"}
    plain = predict(CONFIGS["llama"], AUTO_CLASS, "LlamaForCausalLM", Quantization.NF4)
    assert predict({**CONFIGS["llama"], **extra}, AUTO_CLASS, "LlamaForCausalLM", Quantization.NF4) == plain


def test_a_model_class_may_stand_in_for_an_auto_class() -> None:
    by_class = predict(CONFIGS["llama"], "LlamaForCausalLM", "LlamaForCausalLM", Quantization.NF4)
    assert by_class == predicted("llama", Quantization.NF4)


def test_a_tied_head_does_not_make_the_layer_before_it_the_last() -> None:
    class Tied(nn.Module):
        all_tied_weights_keys: ClassVar[dict[str, str]] = {"head.weight": "embed.weight"}

        def __init__(self) -> None:
            super().__init__()
            with torch.device("meta"):
                self.embed = nn.Embedding(8, 4)
                self.inner = nn.Linear(4, 4, bias=False)
                self.head = nn.Linear(4, 8, bias=False)
            self.head.weight = self.embed.weight

        def get_output_embeddings(self) -> nn.Module:
            return self.head

    reasons = {p.name: p.reason for p in footprint_of(Tied(), Quantization.NF4).parameters}
    assert reasons == {"embed.weight": "embedding, and output head by a tie", "inner.weight": ""}


def test_modules_kept_in_float32_are_predicted_so() -> None:
    class Kept(nn.Module):
        _keep_in_fp32_modules_strict = ("gate",)
        _keep_in_fp32_modules = ("proj",)

        def __init__(self) -> None:
            super().__init__()
            with torch.device("meta"):
                self.gate = nn.Parameter(torch.empty(4, 8, dtype=torch.bfloat16))
                self.proj = nn.Linear(8, 4, dtype=torch.bfloat16)
                self.last = nn.Linear(8, 4, dtype=torch.bfloat16)

    for quantization, gate, proj in (
        (Quantization.BF16, "float32", "bfloat16"),
        (Quantization.FP16, "float32", "float32"),
        (Quantization.INT8, "float32", "bfloat16"),
    ):
        dtypes = {p.name: p.storage_dtype for p in footprint_of(Kept(), quantization).parameters}
        assert (dtypes["gate"], dtypes["proj.weight"]) == (gate, proj)


def test_the_inventory_of_a_model_on_the_meta_device_says_that_it_was_never_loaded() -> None:
    inventory = take_inventory(skeleton_of(small("llama"), AUTO_CLASS, "bfloat16"))
    assert {fault for r in inventory.parameters for fault in r.faults} == {
        "still on the meta device: it was never loaded"
    }
