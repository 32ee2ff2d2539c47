"""Architectures and checkpoints that no entry has, each really saved and loaded: what is stored, said and refused.

None of them is known by name to any code of the project.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
import torch
import transformers
from bitsandbytes.functional import has_avx512bf16
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.prediction import Prediction, Subject
from plimsoll.host.protocol import CompareCache, ProductError, ProveContent
from plimsoll.host.server.caching import compare_cache
from plimsoll.host.server.content.proof import prove
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.load_options import pretrained_arguments, read_architecture
from plimsoll.host.server.loading import LoadedModel, load
from plimsoll.host.server.predict.variant import predict_all
from plimsoll.host.server.tokens import deciding_ends, deciding_padding
from plimsoll.judge.content import check_content, check_products
from plimsoll.judge.diagnosis import Observed, diagnose
from plimsoll.judge.judgement import Limit, Measurement, judge
from plimsoll.judge.quantization import (
    check_coverage,
    check_expected_set,
    check_state,
    check_stored_bytes,
    quantized_count,
)
from tests.support.random_checkpoints import AUTO_CLASS, CONFIGS, load_spec, save_checkpoint, save_tokenizer

BF16, FP16, INT8, NF4, NF4_DQ = (
    Quantization.BF16,
    Quantization.FP16,
    Quantization.INT8,
    Quantization.NF4,
    Quantization.NF4_DQ,
)
_SIZES: Final = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_TOKENS: Final = {key: _SIZES[key] for key in ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")}
MODELS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "falcon": (
        "FalconForCausalLM",
        {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, **_TOKENS},
    ),
    "dbrx": (
        "DbrxForCausalLM",
        {
            "d_model": 64,
            "n_heads": 4,
            "n_layers": 2,
            "max_seq_len": 128,
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
            "ffn_config": {"ffn_hidden_size": 128, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 64},
            **_TOKENS,
        },
    ),
    "deepseek_v3": (
        "DeepseekV3ForCausalLM",
        {
            **_SIZES,
            "num_key_value_heads": 4,
            "moe_intermediate_size": 32,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "n_shared_experts": 1,
            "kv_lora_rank": 16,
            "q_lora_rank": None,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 16,
            "first_k_dense_replace": 1,
        },
    ),
    "glm4_moe": (
        "Glm4MoeForCausalLM",
        {
            **_SIZES,
            "moe_intermediate_size": 32,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
            "head_dim": 16,
        },
    ),
    "ernie4_5_moe": (
        "Ernie4_5_MoeForCausalLM",
        {**_SIZES, "moe_intermediate_size": 32, "moe_num_experts": 4, "moe_k": 2, "moe_layer_start_index": 1},
    ),
    "gemma2": ("Gemma2ForCausalLM", {**_SIZES, "head_dim": 16}),
    "gpt_oss": ("GptOssForCausalLM", {**_SIZES, "head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "bloom": ("BloomForCausalLM", {"hidden_size": 64, "n_head": 4, "n_layer": 2, **_TOKENS}),
    "gpt2": ("GPT2LMHeadModel", {"n_embd": 64, "n_head": 4, "n_layer": 2, **_TOKENS}),
    "ctrl": ("CTRLLMHeadModel", {"n_embd": 64, "n_head": 4, "n_layer": 2, "dff": 128, "n_positions": 128, **_TOKENS}),
    "xglm": (
        "XGLMForCausalLM",
        {
            "d_model": 64,
            "ffn_dim": 128,
            "num_layers": 2,
            "attention_heads": 4,
            "max_position_embeddings": 128,
            **_TOKENS,
        },
    ),
    "mamba": ("MambaForCausalLM", {"hidden_size": 64, "state_size": 4, "num_hidden_layers": 2, **_TOKENS}),
    "recurrent_gemma": (
        "RecurrentGemmaForCausalLM",
        {**_SIZES, "num_hidden_layers": 3, "num_key_value_heads": 1, "lru_width": 64},
    ),
    "openai-gpt": ("OpenAIGPTLMHeadModel", {"n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 128, **_TOKENS}),
    "jamba": (
        "JambaForCausalLM",
        {
            **_SIZES,
            "num_hidden_layers": 8,
            "num_experts": 4,
            "attn_layer_period": 4,
            "attn_layer_offset": 2,
            "mamba_d_state": 8,
            "mamba_dt_rank": 8,
        },
    ),
    "qwen3_next": (
        "Qwen3NextForCausalLM",
        {
            **_SIZES,
            "num_hidden_layers": 4,
            "head_dim": 16,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
        },
    ),
    "granitemoehybrid": (
        "GraniteMoeHybridForCausalLM",
        {
            **_SIZES,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 64,
            "layer_types": ["mamba", "attention"],
            "mamba_n_heads": 4,
            "mamba_d_head": 32,
            "mamba_d_state": 16,
        },
    ),
}

EXACT: Final = ("deepseek_v3", "glm4_moe", "ernie4_5_moe", "gpt2", "gpt_oss", "bloom", "gemma2")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A checkpoint with random weights, saved by the real `save_pretrained` once a module."""
    root = tmp_path_factory.mktemp("saved")

    def save(model_type: str) -> Path:
        folder = root / model_type
        if not folder.exists():
            torch.manual_seed(0)
            auto_class: Any = transformers.AutoModelForCausalLM
            config = transformers.AutoConfig.for_model(model_type, **MODELS[model_type][1])
            auto_class.from_config(config, dtype=torch.bfloat16).save_pretrained(folder, max_shard_size="200KB")
            save_tokenizer(folder)
        return folder

    return save


def prediction(model_type: str, quantization: Quantization, attention: str = "eager", **more: Any) -> Prediction:
    architecture, config = MODELS[model_type]
    subject = Subject(
        config_json=json.dumps({"model_type": model_type, **config, **more.pop("config", {})}),
        auto_class=AUTO_CLASS,
        architecture=architecture,
        quantization=quantization,
        attention="eager" if attention == "eager" else "fused",
        implementation=attention,
        **more,
    )
    return predict_all(subject)


def loaded(folder: Path, model_type: str, quantization: Quantization, **changes: Any) -> LoadedModel:
    fields = {"architecture": MODELS[model_type][0], "attention": "eager", **changes}
    return load(load_spec(folder, "llama", quantization, **fields), "as-is")


# What the library leaves in floats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("quantization", [INT8, NF4, NF4_DQ], ids=str)
@pytest.mark.parametrize(("model_type", "kind"), [("falcon", "linear weights"), ("dbrx", "expert tensors")])
def test_weights_that_the_library_leaves_in_floats_are_missed(
    saved: Callable[[str], Path], model_type: str, kind: str, quantization: Quantization
) -> None:
    predicted = prediction(model_type, quantization)
    inventory = loaded(saved(model_type), model_type, quantization).report.inventory
    assert predicted.footprint.quantized_fraction > 0.6
    assert quantized_count(predicted.footprint, inventory) / predicted.footprint.parameter_count < 0.3
    (coverage,) = check_coverage(predicted.footprint, inventory)
    assert f" {kind}, " in str(coverage)
    assert "stayed in bfloat16" in str(coverage)
    assert check_expected_set(predicted.footprint, inventory)
    assert check_stored_bytes(predicted.footprint, inventory)
    assert "which this quantization should pack: a load of it is rejected" in predicted.remarks[0]


def test_what_is_packed_by_no_layer_is_no_remark_on_a_model_that_is_packed_whole() -> None:
    assert prediction("gpt2", NF4).remarks == ()
    assert prediction("falcon", BF16).remarks == ()


# What is held in float32 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantization", [BF16, FP16, INT8, NF4, NF4_DQ], ids=str)
@pytest.mark.parametrize(
    "model_type", ["deepseek_v3", "glm4_moe", "ernie4_5_moe", "gpt2", "gpt_oss", "bloom", "gemma2"]
)
def test_what_is_stored_was_predicted_to_the_byte_and_is_the_checkpoints(
    saved: Callable[[str], Path], model_type: str, quantization: Quantization
) -> None:
    footprint = prediction(model_type, quantization).footprint
    model = loaded(saved(model_type), model_type, quantization)
    inventory = model.report.inventory
    found = [*check_expected_set(footprint, inventory), *check_stored_bytes(footprint, inventory)]
    assert [str(one) for one in found] == []
    assert inventory.stored_bytes == footprint.weight_bytes
    content = prove(model, ProveContent())
    assert [str(one) for one in check_content(footprint, content)] == []
    if quantization.is_quantized:
        # Experts that one module holds are run together.
        owners = {owner_of(one) for one in content.products if is_beyond_the_kernels(one.kind)}
        wrong = [one for one in content.products if owner_of(one) in owners]
        sound = replace(content, products=tuple(one for one in content.products if one not in wrong))
        assert [str(one) for one in check_products(sound)] == []
        assert len(check_products(content)) == len(wrong)
        assert check_coverage(footprint, inventory) == ()


def owner_of(product: ProductError) -> str:
    return product.name.rpartition(".")[0]


def is_beyond_the_kernels(kind: str) -> bool:
    """Whether bitsandbytes' 4-bit kernels for this processor are wrong for a kind of layer: with AVX-512 they unpack
    rows wrongly that end within a block of 64, and with its products of bfloat16 take no layer of such rows, nor one
    with a number of outputs that is no multiple of 32."""
    name, *shape, scheme = kind.replace(" x ", " ").split()
    if not scheme.startswith("nf4") or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    height, width = int(shape[0]), int(shape[-1])
    repacks = name == "Linear4bit" and bool(has_avx512bf16())  # type: ignore[no-untyped-call]
    return width % 64 >= 32 or (repacks and (width % 64 != 0 or height % 32 != 0))


@pytest.mark.parametrize("model_type", ["ctrl", "xglm"])
def test_what_a_pass_makes_of_a_table_is_not_what_a_load_stores(saved: Callable[[str], Path], model_type: str) -> None:
    """CTRL casts its table of positions while it computes, and XGLM lengthens its own for the text."""
    for quantization in (BF16, INT8, NF4):
        prediction(model_type, quantization)
        footprint = prediction(model_type, quantization).footprint
        inventory = loaded(saved(model_type), model_type, quantization).report.inventory
        assert [str(one) for one in check_stored_bytes(footprint, inventory)] == [], quantization


def test_a_class_that_must_have_a_padding_token_is_followed_all_the_same() -> None:
    """ModernBERT's declares it as a number, and refuses it to be none."""
    config = {**_SIZES, "model_type": "modernbert-decoder", "max_position_embeddings": 256}
    del config["num_key_value_heads"]
    subject = Subject(
        config_json=json.dumps(config),
        auto_class=AUTO_CLASS,
        architecture="ModernBertDecoderForCausalLM",
        quantization=BF16,
        attention="fused",
    )
    predicted = predict_all(subject)
    assert predicted.unpredicted == ""
    assert predicted.cache is not None


def test_buffers_that_the_architecture_holds_in_float32_are_found_by_its_own_rule() -> None:
    for model_type in ("deepseek_v3", "glm4_moe"):
        buffers = prediction(model_type, BF16).footprint.buffers
        kept = [buffer for buffer in buffers if buffer.name.endswith("e_score_correction_bias")]
        assert kept
        assert {buffer.storage_dtype for buffer in kept} == {"float32"}


# What is asked of the wrong architecture -----------------------------------------------------------------------------


@pytest.mark.parametrize("model_type", ["gemma2", "gpt_oss", "mamba", "bloom"])
def test_attention_that_a_class_has_not_is_an_obstacle_that_names_eager(model_type: str) -> None:
    obstacle = prediction(model_type, BF16, attention="sdpa").obstacle
    assert obstacle is not None
    assert obstacle.fix == 'set attention = "eager" in the variant'
    assert MODELS[model_type][0] in obstacle.have
    assert prediction(model_type, BF16, attention="eager").obstacle is None


def test_an_encoder_with_a_decoder_is_refused_in_one_sentence() -> None:
    config = {"model_type": "t5", "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4}
    subject = Subject(
        config_json=json.dumps({**config, "vocab_size": 128}),
        auto_class="AutoModelForSeq2SeqLM",
        architecture="T5ForConditionalGeneration",
        quantization=BF16,
        attention="fused",
    )
    obstacle = predict_all(subject).obstacle
    assert obstacle is not None
    assert obstacle.have == "T5ForConditionalGeneration, an encoder with a decoder"
    assert "decoder-only" in obstacle.fix


NO_PACKING: dict[str, tuple[Any, str]] = {
    "empty": ({}, "has no quant_method, which names the scheme"),
    "number": ({"quant_method": 4}, "has 4 for a quant_method, which names the scheme"),
    "no bits": (
        {"quant_method": "bitsandbytes"},
        "says bitsandbytes and neither load_in_4bit nor load_in_8bit, so it packs nothing",
    ),
    "unknown": (
        {"quant_method": "gptqq"},
        f"names 'gptqq', which is no quant_method of transformers {transformers.__version__}; did you mean 'gptq'?",
    ),
}
"""What a quantization_config may say that packs nothing, and what is said of it."""


@pytest.mark.parametrize("case", NO_PACKING)
def test_a_quantization_config_that_packs_nothing_is_told_for_what_it_is(case: str, tmp_path: Path) -> None:
    given, said = NO_PACKING[case]
    obstacle = prediction("gpt2", NF4, config={"quantization_config": given}).obstacle
    assert obstacle is not None
    assert obstacle.have == f"a quantization_config in the entry's config that {said}"
    folder = save_checkpoint("llama", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": given}))
    with pytest.raises(LoadFailed) as caught:
        load(load_spec(folder, "llama", NF4), "as-is")
    assert str(caught.value).startswith(f"{folder}: quantization_config in its config.json {said}; correct it")


@pytest.mark.parametrize("method", ["mxfp4", "fp8", "gptq", "awq"])
def test_weights_that_another_scheme_has_packed_are_an_obstacle(method: str) -> None:
    config = {"quantization_config": {"quant_method": method, "bits": 4}}
    obstacle = prediction("gpt2", NF4, config=config).obstacle
    assert obstacle is not None
    assert obstacle.have.endswith(f"packed already, as {method}")
    assert "with its weights in floats" in obstacle.fix


def test_a_null_that_was_forgotten_is_remarked_on() -> None:
    config = {key: value for key, value in MODELS["deepseek_v3"][1].items() if key != "q_lora_rank"}
    subject = Subject(
        config_json=json.dumps({"model_type": "deepseek_v3", **config}),
        auto_class=AUTO_CLASS,
        architecture="DeepseekV3ForCausalLM",
        quantization=BF16,
        attention="fused",
    )
    (remark,) = predict_all(subject).remarks
    assert "q_lora_rank = 1536 (+" in remark
    assert "dropout" not in remark
    assert "config_null" in remark
    assert prediction("deepseek_v3", BF16).remarks == ()


def test_states_in_the_place_of_keys_and_values_are_compared_with_no_cache(saved: Callable[[str], Path]) -> None:
    model = loaded(saved("mamba"), "mamba", BF16)
    agreement = compare_cache(model, CompareCache(questions=("12 40 41 42",), new_tokens=4))
    assert agreement is not None
    assert agreement.divergence < 0.1


def test_states_that_a_class_keeps_in_its_modules_are_compared_with_no_cache(saved: Callable[[str], Path]) -> None:
    model = loaded(saved("recurrent_gemma"), "recurrent_gemma", BF16)
    request = CompareCache(questions=("12 40 41 42", "7 9 11 30 31 32 33"), new_tokens=6)
    sound = compare_cache(model, request)
    assert sound is not None
    assert sound.divergence < 0.1
    assert sound.positions == 12
    for part in model.model.modules():
        if type(part).__name__ == "RecurrentGemmaRglru":
            part.register_forward_hook(lambda part, *_: setattr(part, "recurrent_states", None))
    stale = compare_cache(model, request)
    assert stale is not None
    assert stale.divergence > 3 * sound.divergence


def test_a_class_that_has_no_cache_has_nothing_to_compare(saved: Callable[[str], Path]) -> None:
    model = loaded(saved("openai-gpt"), "openai-gpt", BF16)
    assert compare_cache(model, CompareCache(questions=("12 40 41 42",), new_tokens=4)) is None


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("mamba", "its layers go through a prompt token by token, so that no few steps tell of all"),
        ("jamba", "its layers go through a prompt token by token, so that no few steps tell of all"),
        ("qwen3_next", "its layers go through a prompt token by token, so that no few steps tell of all"),
        (
            "granitemoehybrid",
            "its layers take other steps for prompts of other lengths, so that no few passes tell of all",
        ),
        ("dbrx", "the sizes of its steps depend on values, which only real weights give"),
    ],
)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_pass_that_cannot_be_followed_has_one_plain_reason(model_type: str, reason: str, attention: str) -> None:
    predicted = prediction(model_type, BF16, attention=attention)
    assert predicted.unpredicted == reason
    assert (predicted.cache, predicted.activations) == (None, None)
    assert predicted.footprint.weight_bytes > 0


# An entry's own list of what is skipped ------------------------------------------------------------------------------


@pytest.mark.parametrize("quantization", [INT8, NF4, NF4_DQ], ids=str)
@pytest.mark.parametrize("names", [["down_proj"], ["lm_head", "model.layers.0"], []], ids=str)
def test_the_entrys_own_skip_list_is_predicted(tmp_path: Path, quantization: Quantization, names: list[str]) -> None:
    folder = save_checkpoint("llama", tmp_path)
    options = {"quantization_config": {"llm_int8_skip_modules": names}}
    inventory = load(load_spec(folder, "llama", quantization, load_options=options), "as-is").report.inventory
    subject = Subject(
        config_json=json.dumps(dict(CONFIGS["llama"])),
        auto_class=AUTO_CLASS,
        architecture="LlamaForCausalLM",
        quantization=quantization,
        attention="fused",
        skipped=tuple(names),
    )
    footprint = predict_all(subject).footprint
    found = [*check_expected_set(footprint, inventory), *check_stored_bytes(footprint, inventory)]
    assert [str(one) for one in found] == []
    reasons = {part.reason for part in footprint.parameters}
    assert ("named by the entry's llm_int8_skip_modules" in reasons) == bool(names)


# Checkpoints ---------------------------------------------------------------------------------------------------------


def packed(folder: Path, quantization: Quantization, **options: Any) -> Path:
    """A checkpoint that was saved packed, made of one in bfloat16."""
    source = save_checkpoint("llama", folder / "plain")
    made = load(load_spec(source, "llama", quantization, load_options=options), "as-is")
    made.whole.save_pretrained(folder / "packed")
    save_tokenizer(folder / "packed")
    return folder / "packed"


@pytest.mark.parametrize("quantization", [INT8, NF4, NF4_DQ], ids=str)
def test_a_checkpoint_that_is_packed_already_is_held_against_its_own_bytes(
    tmp_path: Path, quantization: Quantization
) -> None:
    model = load(load_spec(packed(tmp_path, quantization), "llama", quantization), "as-is")
    tensors = prove(model, ProveContent()).tensors
    assert [tensor for tensor in tensors if tensor.fault] == []
    assert sum(tensor.scheme == "packed file" for tensor in tensors) == 14
    # Another one: on some processors a pass through the first has repacked its layers.
    damaged = load(load_spec(tmp_path / "packed", "llama", quantization), "as-is")
    weight = damaged.whole.model.layers[0].mlp.up_proj.weight
    weight.data.view(-1)[77] += 1
    (faulty,) = (tensor for tensor in prove(damaged, ProveContent()).tensors if tensor.fault)
    assert faulty.fault == "model.layers.0.mlp.up_proj.weight is not what the checkpoint holds"


@pytest.mark.parametrize("asked", [BF16, INT8, NF4_DQ], ids=str)
def test_a_packed_checkpoint_is_loaded_in_no_other_scheme(tmp_path: Path, asked: Quantization) -> None:
    folder = packed(tmp_path, NF4)
    with pytest.raises(LoadFailed) as caught:
        load(load_spec(folder, "llama", asked), "as-is")
    assert str(caught.value) == (
        f"{folder}: is packed already, as nf4, and its own scheme wins over {asked}; choose the quantization nf4 for "
        "it, or enter the repository with its weights in floats"
    )


def test_the_dtype_that_a_packed_checkpoint_computes_in_is_looked_at(tmp_path: Path) -> None:
    options = {"quantization_config": {"bnb_4bit_compute_dtype": "float16"}}
    folder = packed(tmp_path, NF4, **options)
    inventory = load(load_spec(folder, "llama", NF4), "as-is").report.inventory
    subject = Subject(
        config_json=json.dumps(dict(CONFIGS["llama"])),
        auto_class=AUTO_CLASS,
        architecture="LlamaForCausalLM",
        quantization=NF4,
        attention="fused",
    )
    wrong = check_state(predict_all(subject).footprint, inventory, NF4, "bfloat16")
    assert "computing in float16 instead of computing in bfloat16" in str(wrong[0])
    assert len(wrong) == 14
    assert check_state(predict_all(subject).footprint, inventory, NF4, "float16") == ()


def test_gptq_is_refused_with_a_next_step(tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(LoadFailed, match=r"is packed already, as gptq.*enter the repository with its weights in"):
        load(load_spec(folder, "llama", NF4), "as-is")


def test_a_token_beyond_the_embedding_is_refused_where_prompts_have_it(tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken("<|turn|>", special=True)])
    tokenizer.save_pretrained(folder)
    assert load(load_spec(folder, "llama", BF16), "as-is").report.missing_keys == (), "nobody uses it"
    tokenizer.chat_template = "<|turn|>{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(folder)
    with pytest.raises(LoadFailed) as caught:
        load(load_spec(folder, "llama", BF16), "as-is")
    assert caught.value.kind is LoadFailure.TOKENIZER
    assert "each prompt has '<|turn|>' (512), and the embedding has 512 rows" in str(caught.value)


@pytest.mark.parametrize("ends", [True, False])
def test_an_end_token_of_the_tokenizer_beyond_the_embedding_is_named_with_its_file(tmp_path: Path, ends: bool) -> None:
    folder = save_checkpoint("llama", tmp_path)
    if not ends:  # then the tokenizer decides where generation ends
        for name in ("config.json", "generation_config.json"):
            settings = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps({**settings, "eos_token_id": None}))
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"eos_token": "<|stop|>"})
    tokenizer.save_pretrained(folder)
    with pytest.raises(LoadFailed) as caught:
        load(load_spec(folder, "llama", BF16), "as-is")
    assert caught.value.kind is LoadFailure.TOKENIZER
    assert str(caught.value).startswith(
        f"{folder / 'tokenizer_config.json'}: eos_token is '<|stop|>' (512), and the embedding has 512 rows: "
    )


def test_the_file_that_decides_where_generation_ends_is_named(tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path)
    spec = load_spec(folder, "llama", BF16)
    assert deciding_padding(spec) == "eos_token in tokenizer_config.json"
    assert deciding_padding(replace(spec, tokenizer={"pad_token": "7"})) == "pad_token of the entry"
    assert deciding_ends(spec) == "eos_token_id in generation_config.json"
    (folder / "generation_config.json").unlink()
    assert deciding_ends(spec) == "eos_token_id in config.json"
    settings = json.loads((folder / "config.json").read_text())
    del settings["eos_token_id"]
    (folder / "config.json").write_text(json.dumps(settings))
    assert deciding_ends(spec) == "eos_token in tokenizer_config.json"


@pytest.mark.parametrize("quantization", [BF16, INT8, NF4], ids=str)
@pytest.mark.parametrize("shape", [(32768,), (1, 256, 128), (128, 256)], ids=str)
def test_a_weight_of_another_shape_is_named_with_both_shapes(
    tmp_path: Path, quantization: Quantization, shape: tuple[int, ...]
) -> None:
    folder, name = save_checkpoint("llama", tmp_path), "model.layers.0.mlp.up_proj.weight"
    shard = next(file for file in folder.glob("*.safetensors") if name in load_file(file))
    tensors = load_file(shard)
    tensors[name] = tensors[name].reshape(shape)
    save_file(tensors, shard, {"format": "pt"})
    with pytest.raises(LoadFailed) as caught:
        load(load_spec(folder, "llama", quantization), "as-is")
    assert caught.value.kind is LoadFailure.SHAPE
    message = str(caught.value)
    assert message.startswith(f"{shard}: {name} ")
    assert str(shape).replace(",)", ")") in message.replace(",)", ")")
    assert message.endswith("(256, 128)")
    assert "\n" not in message


def test_a_head_of_its_own_in_a_tied_model_is_named(tmp_path: Path) -> None:
    folder = save_checkpoint("qwen2", tmp_path)
    shard = next(file for file in folder.glob("*.safetensors") if "model.norm.weight" in load_file(file))
    tensors = load_file(shard)
    tensors["lm_head.weight"] = torch.full((512, 128), 0.5, dtype=torch.bfloat16)
    save_file(tensors, shard, {"format": "pt"})
    index = folder / "model.safetensors.index.json"
    listing = json.loads(index.read_text())
    listing["weight_map"]["lm_head.weight"] = shard.name
    index.write_text(json.dumps(listing))
    inventory = load(load_spec(folder, "qwen2", BF16), "as-is").report.inventory
    subject = Subject(
        config_json=json.dumps(dict(CONFIGS["qwen2"])),
        auto_class=AUTO_CLASS,
        architecture="Qwen2ForCausalLM",
        quantization=BF16,
        attention="fused",
    )
    footprint = predict_all(subject).footprint
    exact = judge(
        Measurement(metric="weight_bytes", value=inventory.stored_bytes),
        Limit(metric="weight_bytes", low=footprint.weight_bytes, high=footprint.weight_bytes, source="x"),
    )
    causes = diagnose(exact, Observed(quantization=BF16, footprint=footprint, inventory=inventory))
    assert causes[0].startswith(
        "lm_head.weight and model.embed_tokens.weight are two tensors, although the configuration ties them"
    )


def test_a_sentencepiece_model_alone_names_the_package_that_it_needs(tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    assert find_spec("sentencepiece") is None, "this test needs an environment without it"
    with pytest.raises(LoadFailed, match=r"a sentencepiece model alone; pip install sentencepiece"):
        load(load_spec(folder, "llama", BF16), "as-is")


# Load options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"low_cpu_mem_usage": True}, "low_cpu_mem_usage has no effect in transformers 5"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_scaling is a setting of the model"),
    ],
)
def test_an_option_that_would_be_dropped_is_refused_with_a_reason(
    tmp_path: Path, option: dict[str, Any], said: str
) -> None:
    with pytest.raises(LoadFailed, match=said):
        load(load_spec(save_checkpoint("llama", tmp_path), "llama", BF16, load_options=option), "as-is")


def test_max_memory_takes_the_keys_that_toml_can_write(tmp_path: Path) -> None:
    options = {"max_memory": {"0": "12GiB", "cpu": "30GiB"}}
    spec = load_spec(save_checkpoint("llama", tmp_path), "llama", BF16, load_options=options)
    arguments = pretrained_arguments(spec, read_architecture(spec))
    assert arguments["max_memory"] == {0: "12GiB", "cpu": "30GiB"}
    # On a CPU alone, accelerate takes what the table says of it.
    only_cpu = load_spec(
        Path(spec.checkpoint), "llama", BF16, device_map="auto", load_options={"max_memory": {"cpu": "30GiB"}}
    )
    assert load(only_cpu, "as-is").report.missing_keys == ()
