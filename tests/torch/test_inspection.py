"""What a host says of configurations, and entries that are written from it: held against what is really stored."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from plimsoll.catalogue.entries import Catalogue, Quantization, Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.footprint.prediction import Subject
from plimsoll.host import specify
from plimsoll.host.describing import Describe, Description, Fit
from plimsoll.host.protocol import CompareConfig
from plimsoll.host.server.configuration import differences
from plimsoll.host.server.describing import _file_configuration, describe
from plimsoll.host.server.failures import LoadFailed
from plimsoll.host.server.load_options import quantization_fields
from plimsoll.host.server.loading import load
from plimsoll.host.server.predict.coverage import build_skeleton
from plimsoll.host.server.predict.layers import Layers
from plimsoll.host.server.predict.passes import NotFollowedError
from plimsoll.host.server.predict.variant import predict_all
from plimsoll.host.server.serve import Session
from plimsoll.hub.access import Query
from plimsoll.hub.contents import Repository
from plimsoll.inspection.entry import EntryChoices, compose, enterable, must_fit, takeable
from plimsoll.inspection.inspection import Inspection, Inspector
from plimsoll.inspection.table import render, to_json
from plimsoll.judge.quantization import check_coverage, check_expected_set, check_stored_bytes
from plimsoll.plan.predictions import Predictions
from tests.support.broken_checkpoints import shards
from tests.support.hub_configs import HUB_CONFIGS
from tests.support.random_checkpoints import CONFIGS, load_spec, save_checkpoint, save_tokenizer
from tests.support.small_architectures import LATER, TWELVE, save_small

USUAL = (Quantization.BF16, Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ)
GATE = "layers.1.block_sparse_moe.experts.3.w1."
FALCON_SAYS = "the software stack leaves 8 weights of FalconLinear in floats"

Inspect = Callable[[Path], Inspection]


def no_hub(question: Query) -> Repository:
    raise AssertionError(f"{question.repository}: nothing here is of the Hub")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue()


@pytest.fixture
def inspector(catalogue: Catalogue, tmp_path: Path) -> Inspector:
    """An inspector, with what a host does done in this process."""
    session = Session()

    def ask(request: Any) -> Any:
        return session.handle(request)

    predictions = Predictions(tmp_path / "predictions", ask)
    return Inspector(catalogue=catalogue, ask_hub=no_hub, ask_host=ask, predictions=predictions)


@pytest.fixture
def inspect(inspector: Inspector) -> Inspect:
    """Inspect a folder."""
    return lambda folder: inspector.inspect(str(folder), None, USUAL)


def held(inspector: Inspector, folder: Path) -> Fit:
    """How the files of a folder go with its configuration, in the first quantization that it can be entered in."""
    inspection = inspector.inspect(str(folder), None, USUAL)
    return inspector.fit(inspection, takeable(inspection, ())[0][0])


def refused(inspector: Inspector, folder: Path) -> str:
    """Why a folder cannot be entered, in one line."""
    with pytest.raises(PlimsollError) as caught:
        must_fit(str(folder), held(inspector, folder))
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{folder} cannot be entered: ")


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def described(config: dict[str, Any]) -> Description:
    return describe(Describe(config_json=json.dumps(config)))


def written(inspection: Inspection, folder: Path, catalogue: Catalogue) -> list[Variant]:
    """The variants of the entry, as the catalogue's reader finds them in the file."""
    chosen, _ = takeable(inspection, ())
    choice = EntryChoices(
        id="own",
        family="other",
        tier=catalogue.tiers["cpu"],
        quantizations=chosen,
        max_new_tokens=8,
        folder=folder,
        command="plimsoll add own",
    )
    path = folder / "own.toml"
    path.write_text(compose(inspection, choice))
    return [variant for variant in read_catalogue([path]).variants.values() if variant.model.id == "own"]


# Twelve architectures that no entry has ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TWELVE)
def test_the_entry_that_is_written_predicts_the_bytes_that_the_checkpoint_stores(
    name: str, inspect: Inspect, tmp_path: Path, catalogue: Catalogue
) -> None:
    inspection = inspect(save_small(name, tmp_path / name))
    assert enterable(inspection).architecture == TWELVE[name][0]
    variants = written(inspection, tmp_path, catalogue)
    # A class whose weights the stack does not pack can be had in 16 bits alone.
    # int8 of the latent attention keeps other layers in floats, and so has a table to itself.
    expected = [USUAL[0]] if name == "falcon" else list(USUAL)
    assert sorted(variant.quantization for variant in variants) == sorted(expected)
    for variant in variants:
        (claim,) = variant.claims_on("weight_bytes")
        inventory = load(specify.load_spec(variant, str(variant.model.path)), "as-is").report.inventory
        assert claim.low == claim.high == inventory.stored_bytes
        assert "predicted" in claim.source
        footprint = predict_all(Subject.of(variant)).footprint
        found = [*check_expected_set(footprint, inventory), *check_stored_bytes(footprint, inventory)]
        assert [str(one) for one in found] == []
        if variant.quantization.is_quantized:
            assert check_coverage(footprint, inventory) == ()


@pytest.mark.parametrize("name", TWELVE)
def test_exact_parameters_are_those_of_the_model_that_is_built(name: str, tmp_path: Path) -> None:
    folder = save_small(name, tmp_path)
    builder: Any = getattr(transformers, TWELVE[name][0])
    model = builder.from_pretrained(folder)
    counts = described(json.loads((folder / "config.json").read_text())).counts
    assert counts.total == sum(parameter.numel() for parameter in model.parameters())
    embeddings = {id(m.weight): m.weight.numel() for m in model.modules() if isinstance(m, nn.Embedding)}
    assert counts.embedding == sum(embeddings.values())


def test_a_quantization_that_the_stack_does_not_apply_is_one_refusal(inspect: Inspect, tmp_path: Path) -> None:
    inspection = inspect(save_small("falcon", tmp_path / "falcon"))
    with pytest.raises(PlimsollError) as caught:
        takeable(inspection, [Quantization.BF16, Quantization.NF4])
    assert str(caught.value).startswith(f"{tmp_path / 'falcon'} cannot be entered in nf4: {FALCON_SAYS}")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("t5", "T5ForConditionalGeneration is an encoder with a decoder: all checks are skipped (architecture)"),
        ("mamba", "cache and activations are not predicted (its layers go through a prompt token by token"),
        ("qwen3", ""),
    ],
)
def test_what_the_suite_cannot_ask_is_said_in_one_line(
    name: str, says: str, inspect: Inspect, tmp_path: Path, catalogue: Catalogue
) -> None:
    inspection = inspect(save_small(name, tmp_path / name))
    assert inspection.cannot_ask.startswith(says)
    assert bool(inspection.cannot_ask) == bool(says)
    assert "\n" not in inspection.cannot_ask
    written(inspection, tmp_path, catalogue)
    head = (tmp_path / "own.toml").read_text().partition("[[model]]")[0].replace("\n# ", " ")
    assert says in head


def test_a_class_that_generates_nothing_is_an_obstacle_and_no_run_of_failures() -> None:
    config = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 128}
    raw = {"model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 128, **config}
    found = described(raw)
    assert (found.auto_class, found.generates) == ("AutoModelForMaskedLM", False)
    subject = Subject(
        config_json=json.dumps({**found.config}),
        auto_class=found.auto_class,
        architecture=found.architecture,
        quantization=Quantization.BF16,
        attention="fused",
    )
    obstacle = predict_all(subject).obstacle
    assert obstacle is not None
    assert obstacle.have == "BertForMaskedLM, which generates no text"


# What published files say --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "total", "active", "tied"),
    [
        ("Llama-3.1-8B", 8_030_261_248, 8_030_261_248, False),
        ("Llama-3.2-1B-Instruct", 1_235_814_400, 1_235_814_400, True),
        ("Phi-3-mini-4k-instruct", 3_821_079_552, 3_821_079_552, False),
        # 8 experts of 3 x 4096 x 14336 in 32 layers, of which a token sees 2.
        ("Mixtral-8x7B-v0.1", 46_702_792_704, 46_702_792_704 - 6 * 32 * 3 * 4096 * 14336, False),
        # 256 experts of 3 x 7168 x 2048 in 58 layers, of which a token sees 8.
        ("DeepSeek-V3", 671_026_404_352, 671_026_404_352 - 248 * 58 * 3 * 7168 * 2048, False),
    ],
)
def test_parameters_of_published_configurations(name: str, total: int, active: int, tied: bool) -> None:
    found = described(HUB_CONFIGS[name])
    assert (found.counts.total, found.counts.active, found.tied) == (total, active, tied)


@pytest.mark.parametrize("name", HUB_CONFIGS)
def test_what_an_entry_says_of_a_published_file_builds_what_the_file_does(name: str) -> None:
    found = described(HUB_CONFIGS[name])
    assert None not in found.config.values()
    again = described(json.loads(json.dumps({**found.config, **dict.fromkeys(found.config_null)})))
    apart = {"architecture", "named", "dtype", "scheme"}
    for field in Description.__dataclass_fields__.keys() - apart - {"config", "config_null"}:
        assert getattr(again, field) == getattr(found, field), field


def test_a_null_that_means_something_is_named_and_a_key_that_nobody_reads_is_left_out(tmp_path: Path) -> None:
    folder = save_small("deepseek-v3", tmp_path)
    config = {**json.loads((folder / "config.json").read_text()), "made_with": "a tool"}
    found = described(config)
    assert found.config_null == ("q_lora_rank",)
    assert not {"made_with", "architectures", "dtype", "transformers_version"} & found.config.keys()


def test_how_a_model_was_used_is_no_part_of_an_entry(tmp_path: Path) -> None:
    config = json.loads((save_small("qwen3", tmp_path) / "config.json").read_text())
    used = {"output_attentions": True, "output_hidden_states": True, "return_dict": False}
    assert described({**config, **used}) == described(config)


def test_how_a_part_of_a_model_was_used_is_no_part_of_an_entry(tmp_path: Path) -> None:
    text = json.loads((save_small("qwen3", tmp_path) / "config.json").read_text())
    vision = {"model_type": "clip_vision_model", "num_hidden_layers": 2}
    config = {"model_type": "llava", "text_config": text, "vision_config": vision}
    used = {"output_attentions": True, "return_dict": False}
    assert described({**config, "text_config": {**config["text_config"], **used}}) == described(config)


def test_a_null_that_toml_cannot_say_is_refused_by_name() -> None:
    config = {"model_type": "dbrx", "d_model": 64, "n_heads": 4, "n_layers": 1, "vocab_size": 128}
    with pytest.raises(PlimsollError) as caught:
        described({**config, "ffn_config": {"moe_normalize_expert_weights": None}})
    assert str(caught.value) == (
        "an entry cannot say what the configuration does: TOML has no null, and a null inside of ffn_config is not the "
        "default there"
    )


INFINITE = {"__float__": "Infinity"}
"""As save_pretrained writes it."""
MAMBA_2 = {"model_type": "mamba2", "hidden_size": 64, "num_heads": 8, "head_dim": 16, "num_hidden_layers": 1}


@pytest.mark.parametrize("infinite", [INFINITE, math.inf])
def test_an_infinity_that_is_the_default_is_left_to_the_class(infinite: Any, tmp_path: Path) -> None:
    config = {**MAMBA_2, "n_groups": 1, "state_size": 8, "vocab_size": 128, "time_step_limit": [0.0, infinite]}
    found = described(config)
    assert found.config.keys() >= MAMBA_2.keys()
    assert "time_step_limit" not in found.config
    (tmp_path / "config.json").write_text(json.dumps(config))
    entry = json.dumps(found.config, allow_nan=False)
    assert differences(CompareConfig(checkpoint=str(tmp_path), revision=None, config_json=entry)) == ()
    for other in ([0.5, infinite], [0.0, 5.0]):
        (tmp_path / "config.json").write_text(json.dumps({**config, "time_step_limit": other}))
        differing = differences(CompareConfig(checkpoint=str(tmp_path), revision=None, config_json=entry))
        assert [each.key for each in differing] == ["time_step_limit"]


def test_an_infinity_that_is_not_the_default_is_refused_by_its_place() -> None:
    config = {**MAMBA_2, "n_groups": 1, "state_size": 8, "vocab_size": 128, "time_step_limit": [0.5, INFINITE]}
    with pytest.raises(PlimsollError) as caught:
        described(config)
    assert str(caught.value) == (
        "an entry cannot say what the configuration does: time_step_limit[1] is infinite, which is not the default "
        "there, and an entry holds finite numbers; write a large one into config.json, such as 1e30"
    )


def test_what_is_no_number_is_refused_by_its_place() -> None:
    config = {"model_type": "llama", "rms_norm_eps": math.nan, "rope_parameters": {"rope_theta": {"__float__": "NaN"}}}
    with pytest.raises(PlimsollError) as caught:
        described(config)
    assert str(caught.value) == (
        "the configuration has NaN, which is no number, for rms_norm_eps, rope_parameters.rope_theta; write the number "
        "that is meant into config.json, or take the one that the weights were saved with"
    )


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"hidden_size": 8}, "the configuration has no model_type, so no class of transformers is meant by it"),
        (
            {"model_type": "acme", "auto_map": {"AutoConfig": "configuration_acme.AcmeConfig"}},
            f"transformers {transformers.__version__} has no model type 'acme'; the repository brings code of its own "
            "for it (auto_map), which is not run",
        ),
        (
            {"model_type": "llama", "architectures": ["AcmeForCausalLM"]},
            f"transformers {transformers.__version__} has no class AcmeForCausalLM: name one that it has under "
            "architectures in config.json, or install a release that has this one",
        ),
        (
            {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 64, "n_head": 0},
            f"transformers {transformers.__version__} cannot build GPT2LMHeadModel (model_type 'gpt2') with "
            "AutoModelForCausalLM: ZeroDivisionError: integer division or modulo by zero; correct that in config.json, "
            "or take the one that the weights were saved with",
        ),
    ],
)
def test_what_cannot_be_described_is_said_in_one_sentence(config: dict[str, Any], says: str) -> None:
    with pytest.raises(PlimsollError) as caught:
        described(config)
    assert str(caught.value) == says


# An inspection -------------------------------------------------------------------------------------------------------


def test_the_cache_of_grouped_heads_is_told_to_the_byte(inspect: Inspect, tmp_path: Path) -> None:
    told = to_json(inspect(save_checkpoint("llama", tmp_path / "llama")))
    # 2 layers, keys and values, 2 heads of 32, 2 bytes each.
    assert told["attention"]["kv_bytes_per_token"] == 2 * 2 * 2 * 32 * 2
    assert told["attention"]["kv_bytes_full"] == 256 * 2 * 2 * 2 * 32 * 2
    assert told["attention"]["heads"] == {"heads": 4, "key_value_heads": 2, "grouping": "grouped"}
    levers = {(one["lever"], one["change"]): one["saves"] for one in told["levers"]}
    assert levers["context", "256 to 128 tokens, one sequence"] == 128 * 2 * 2 * 2 * 32 * 2
    stored = told["quantizations"]
    assert levers["quantization", "bf16 to nf4"] == stored["bf16"]["weight_bytes"] - stored["nf4"]["weight_bytes"]


def test_the_rule_of_thumb_stands_beside_what_it_misses(inspect: Inspect, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(HUB_CONFIGS["Phi-3-mini-4k-instruct"]))
    inspection = inspect(tmp_path / "config.json")
    rule = to_json(inspection)["parameters"]["rough_rule"]
    assert rule["parameters"] == 3072 * 8192 * 32 * 2
    assert rule["exact_over_rule"] == pytest.approx(3_821_079_552 / (3072 * 8192 * 32 * 2))
    text = render(inspection)
    assert "off by a factor of 2.37" in text
    assert "configuration_phi3, modeling_phi3; not needed: transformers has the class" in text
    assert "2,047 tokens, in 32 of 32 layers" in text
    assert "unknown: there is no folder and no repository" in text


def test_files_that_hold_more_than_the_class_are_told(inspect: Inspect, tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path / "llama")
    assert "as many elements as the class has" in render(inspect(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    layer = 128 * 128 * 2 + 2 * 128 * 64 + 3 * 128 * 256 + 2 * 128
    assert f"+{layer:,} elements against the class" in render(inspect(folder))


def test_without_the_class_the_headers_tell_and_the_rest_is_unknown(inspect: Inspect, tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path / "llama")
    exact = described(json.loads((folder / "config.json").read_text())).counts.total
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "acme", "architectures": ["AcmeModel"]}))
    inspection = inspect(folder)
    told = to_json(inspection)
    assert told["parameters"]["total"] == exact
    for name in ("active", "embedding", "tied"):
        assert told["parameters"][name] is None
        assert told["unknown"][f"parameters.{name}"].endswith("has no model type 'acme'")
    assert told["attention"]["kv_bytes_per_token"] is None
    assert told["quantizations"] == {}
    with pytest.raises(PlimsollError, match=r"cannot be entered: transformers .* has no model type 'acme'$"):
        enterable(inspection)


def test_weights_that_are_packed_already_have_one_refusal(inspect: Inspect, tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path / "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    inspection = inspect(folder)
    assert to_json(inspection)["class"]["packed"] == "gptq"
    with pytest.raises(PlimsollError) as caught:
        takeable(inspection, ())
    assert str(caught.value) == (
        f"{folder} cannot be entered: the weights are packed already, as gptq, which wins over what is asked for; "
        "enter the repository with its weights in floats, which the suite packs itself"
    )


def test_settings_of_generation_that_a_load_would_refuse_are_not_entered(inspect: Inspect, tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path / "llama")
    save_tokenizer(folder)
    enterable(inspect(folder))
    (folder / "generation_config.json").write_text('{"eos_token_id": 2, "max_new_tokens": 0}')
    with pytest.raises(PlimsollError) as caught:
        enterable(inspect(folder))
    assert str(caught.value) == (
        f"{folder} cannot be entered: its generation_config.json cannot be taken: `max_new_tokens` must be greater "
        "than 0, but is 0; correct it, or take the one that the weights were saved with"
    )


@pytest.mark.parametrize("given", [{}, {"quant_method": "bitsandbytes"}, {"quant_method": "gptqq"}], ids=str)
def test_a_quantization_config_that_packs_nothing_is_no_scheme(inspect: Inspect, tmp_path: Path, given: object) -> None:
    folder = save_checkpoint("llama", tmp_path / "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": given}))
    assert re.match("quantization_config in config.json .*; correct it, or leave it out", inspect(folder).undescribed)


@pytest.mark.parametrize("scheme", [Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ], ids=str)
def test_weights_that_are_packed_in_a_scheme_of_ours_are_entered_in_it(
    scheme: Quantization, inspect: Inspect, tmp_path: Path, catalogue: Catalogue
) -> None:
    source = save_checkpoint("llama", tmp_path / "plain")
    made = load(load_spec(source, "llama", scheme), "as-is")
    made.whole.save_pretrained(tmp_path / "packed")
    save_tokenizer(tmp_path / "packed")
    inspection = inspect(tmp_path / "packed")
    assert to_json(inspection)["class"]["packed"] == str(scheme)
    assert inspection.cannot_ask == "its weights are packed already, so it is not compared with bf16"
    (variant,) = written(inspection, tmp_path, catalogue)
    assert variant.quantization is scheme
    assert variant.model.is_packed
    (claim,) = variant.claims_on("weight_bytes")
    assert (
        load(specify.load_spec(variant, str(variant.model.path)), "as-is").report.inventory.stored_bytes
        == claim.low
        == claim.high
    )
    with pytest.raises(PlimsollError, match=f"the weights are packed already, as {scheme}, which wins over"):
        takeable(inspection, [Quantization.BF16])


def test_a_cache_that_is_smaller_than_its_heads_is_told_beside_them(inspect: Inspect, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(HUB_CONFIGS["DeepSeek-V3"]))
    text = render(inspect(tmp_path / "config.json"))
    # In 61 layers a latent of 512 and a rotary part of 64, 2 bytes each.
    assert f"{61 * (512 + 64) * 2:,} bytes" in text
    assert f"all keys and values of its heads would be {61 * 2 * 128 * 64 * 2:,}" in text


@pytest.mark.parametrize("scheme", ["fp8", ["fp8"], 4, True, False, ""])
@pytest.mark.parametrize("part", [None, "text_config"])
def test_a_scheme_that_is_no_table_is_told_in_one_line_with_a_step(part: str | None, scheme: object) -> None:
    told = {"quantization_config": scheme}
    with pytest.raises(PlimsollError) as caught:
        described({"model_type": "llama"} | told if part is None else {"model_type": "llava", part: told})
    assert str(caught.value).startswith(
        f"the configuration says {json.dumps(scheme)} for quantization_config, and a table of settings is expected: "
    )


@pytest.mark.parametrize("layers", [0, -1])
def test_a_model_without_a_layer_is_refused_and_not_predicted(layers: int) -> None:
    config = {**CONFIGS["llama"], "num_hidden_layers": layers}
    with pytest.raises(PlimsollError, match=f"the configuration says {layers} for num_hidden_layers, and LlamaForC"):
        described(config)
    skeleton: Any = build_skeleton(config, "AutoModelForCausalLM", "LlamaForCausalLM", "bfloat16")
    with pytest.raises(NotFollowedError, match="it has no list of layers"):
        Layers(skeleton)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vocab_size": "many"}, "TypeError: Field 'vocab_size' expected int, got str (value: 'many')"),
        ({"num_attention_heads": 7}, "is not a multiple of the number of attention heads (7)."),
        ({"rope_parameters": {"rope_type": "yarn"}}, 'KeyError: "Missing required keys'),
    ],
)
def test_a_value_that_no_class_takes_is_told_in_one_line_with_a_step(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PlimsollError) as caught:
        _file_configuration({"model_type": "llama", "hidden_size": 128, **changes})
    text = str(caught.value)
    assert "\n" not in text
    assert said in text
    assert text.endswith("; correct that in config.json, or take the one that the weights were saved with")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_act": "zorg"}, "KeyError: 'zorg'"),
        ({"rope_parameters": {"rope_type": "zorg", "rope_theta": 1e4}}, "KeyError: 'zorg'"),
        ({"num_key_value_heads": 0}, "ZeroDivisionError: "),
    ],
)
def test_a_value_of_which_no_model_is_built_is_told_in_one_line_with_a_step(changes: dict[str, Any], said: str) -> None:
    small = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    with pytest.raises(PlimsollError) as caught:
        described({"model_type": "llama", "vocab_size": 128, **small, **changes})
    text = str(caught.value)
    assert "\n" not in text
    assert said in text
    assert text.endswith("; correct that in config.json, or take the one that the weights were saved with")


# Files that are not of one checkpoint --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TWELVE, *CONFIGS])
def test_what_was_saved_together_goes_together(name: str, inspector: Inspector, tmp_path: Path) -> None:
    """Tied heads, experts that are fused while they are read, names that a class calls otherwise."""
    save: Callable[[str, Path], Path] = save_small if name in TWELVE else save_checkpoint
    assert held(inspector, save(name, tmp_path / name)) == Fit()


@pytest.mark.parametrize(
    ("family", "changes", "told"),
    [
        ("llama", {"hidden_size": 64}, "lm_head.weight has shape (512, 128), and the configuration asks for (512, 64)"),
        ("qwen2", {"vocab_size": 400}, "model.embed_tokens.weight has shape (512, 128), and the configuration asks"),
        (
            "mixtral",
            {"intermediate_size": 64},
            "model.layers.0.mlp.experts.down_proj, which transformers makes of its tensors, has shape (4, 128, 256), "
            "and the configuration asks for (4, 128, 64) (4 such tensors)",
        ),
        ("mixtral", {"num_local_experts": 3}, "has shape (4, 128, 256), and the configuration asks for (3, 128, 256)"),
        ("phi3", {"num_key_value_heads": 4}, "has shape (256, 128), and the configuration asks for (384, 128)"),
    ],
)
def test_a_configuration_of_other_shapes_is_refused_with_a_tensor_and_both_shapes(
    family: str, changes: dict[str, Any], told: str, inspector: Inspector, tmp_path: Path
) -> None:
    folder = save_checkpoint(family, tmp_path / family)
    edit(folder / "config.json", **changes)
    says = refused(inspector, folder)
    assert says.startswith(str(folder))
    assert told in says
    assert says.endswith("; take config.json and the weights from one checkpoint")
    with pytest.raises(LoadFailed):
        load(load_spec(folder, family, Quantization.BF16), "as-is")


@pytest.mark.parametrize(
    ("family", "changes", "told"),
    [
        ("llama", {"num_hidden_layers": 1}, "in the checkpoint, but nowhere in the model: model.layers.1.input_layern"),
        ("llama", {"num_hidden_layers": 3}, "not in the checkpoint, so randomly initialised: model.layers.2.input_"),
        ("qwen2", {"tie_word_embeddings": False}, "not in the checkpoint, so randomly initialised: lm_head.weight; "),
    ],
)
def test_weights_of_other_names_are_refused_with_the_names(
    family: str, changes: dict[str, Any], told: str, inspector: Inspector, tmp_path: Path
) -> None:
    folder = save_checkpoint(family, tmp_path / family)
    edit(folder / "config.json", **changes)
    assert refused(inspector, folder).startswith(f"its weights are not those of its config.json: {told}")


def test_experts_that_cannot_be_put_together_are_refused(inspector: Inspector, tmp_path: Path) -> None:
    """One of them lacks a matrix, so that transformers has unlike stacks to join."""
    folder = save_checkpoint("mixtral", tmp_path / "mixtral")
    [shard] = [file for file in shards(folder) if any(GATE in name for name in load_file(file))]
    save_file({name: tensor for name, tensor in load_file(shard).items() if GATE not in name}, shard, {"format": "pt"})
    says = refused(inspector, folder)
    assert says.startswith(f"{folder}: model.layers.1.mlp.experts.gate_up_proj cannot be put together: Sizes of tens")
    with pytest.raises(LoadFailed, match="cannot be put together: Sizes of tensors must match"):
        load(load_spec(folder, "mixtral", Quantization.BF16), "as-is")


@pytest.mark.parametrize("scheme", [Quantization.INT8, Quantization.NF4_DQ], ids=str)
def test_packed_weights_have_the_shapes_that_they_had_in_floats(
    scheme: Quantization, inspector: Inspector, tmp_path: Path
) -> None:
    made = load(load_spec(save_checkpoint("llama", tmp_path / "plain"), "llama", scheme), "as-is")
    folder = tmp_path / "packed"
    made.whole.save_pretrained(folder)
    save_tokenizer(folder)
    assert held(inspector, folder) == Fit()
    edit(folder / "config.json", intermediate_size=128)
    told = "model.layers.0.mlp.down_proj.weight has shape (128, 256), and the configuration asks for (128, 128)"
    assert told in refused(inspector, folder)


@pytest.mark.parametrize("scheme", [Quantization.INT8, Quantization.NF4], ids=str)
def test_a_matrix_that_is_turned_before_it_is_packed_has_its_shape(
    scheme: Quantization, inspector: Inspector, tmp_path: Path
) -> None:
    sizes = {"n_embd": 64, "n_layer": 1, "n_head": 4, "n_positions": 64, "vocab_size": 512}
    config = transformers.AutoConfig.for_model("gpt2", **sizes, bos_token_id=1, eos_token_id=2)
    auto_class: Any = transformers.AutoModelForCausalLM
    auto_class.from_config(config).save_pretrained(tmp_path / "plain")
    packing: Any = transformers.BitsAndBytesConfig
    fields = quantization_fields(scheme, {})
    packed = auto_class.from_pretrained(tmp_path / "plain", quantization_config=packing(**fields))
    packed.save_pretrained(tmp_path / "packed")
    save_tokenizer(tmp_path / "packed")
    assert held(inspector, tmp_path / "packed") == Fit()


# Tokenizers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ messages[0]['content' }}", "TemplateSyntaxError: unexpected '}', expected ']'"),
        ("{{ messages[0]['content'] | shout }}", "TemplateAssertionError: No filter named 'shout'."),
        ("{{ raise_exception('no user, please') }}", "TemplateError: no user, please"),
        ("hello", "its chat template leaves the question out of the text that it makes"),
    ],
)
def test_a_chat_template_that_no_question_goes_through_is_refused_in_its_own_words(
    template: str, told: str, inspector: Inspector, tmp_path: Path
) -> None:
    folder = save_checkpoint("llama", tmp_path / "llama")
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert held(inspector, folder) == Fit()
    (folder / "chat_template.jinja").write_text(template)
    says = refused(inspector, folder)
    assert says.startswith(f"{folder / 'chat_template.jinja'}: its chat template ")
    assert says.endswith(f"{told}; correct it, or take the tokenizer that the weights were saved with")
    with pytest.raises(LoadFailed, match=re.escape(told)):
        load(load_spec(folder, "llama", Quantization.BF16), "as-is")


def test_a_tokenizer_that_cannot_be_loaded_is_refused_unless_it_brings_code(
    inspector: Inspector, tmp_path: Path
) -> None:
    """Its code may be allowed in the entry, once there is one."""
    folder = save_checkpoint("llama", tmp_path / "llama")
    (folder / "tokenizer.json").write_text("{}")
    assert refused(inspector, folder).startswith(f"{folder}: no usable tokenizer: ")
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["acme.AcmeTokenizer", None]})
    assert held(inspector, folder) == Fit()


@pytest.mark.parametrize("settings", [{"tokenizer_class": "PreTrainedTokenizerFast"}, {}], ids=["a-class", "no-class"])
def test_a_tokenizer_without_a_vocabulary_is_refused_in_whole_sentences(
    settings: dict[str, str], inspector: Inspector, tmp_path: Path
) -> None:
    """transformers begins a list there, of what it could make one of, on the next lines."""
    folder = save_checkpoint("llama", tmp_path / "llama")
    for file in folder.glob("*token*"):
        file.unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    says = refused(inspector, folder)
    assert says.startswith(f"{folder}: no usable tokenizer: no file of its vocabulary is there, or none that a tokeni")
    assert ": ;" not in says
    assert says.endswith("; correct it, or take the tokenizer that the weights were saved with")


def test_a_file_of_the_tokenizer_that_cannot_be_read_has_one_next_step(inspector: Inspector, tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path / "llama")
    (folder / "tokenizer.json").write_text("")
    says = refused(inspector, folder)
    assert says == (
        f"{folder}: no usable tokenizer: {folder / 'tokenizer.json'}: is empty: it has no byte; download or build it "
        "again"
    )


# What a load refuses without a look at weights -----------------------------------------------------------------------


def unlike_twice(folder: Path) -> None:
    """The second shard also holds a tensor of the first, with other bytes."""
    first, second = shards(folder)[:2]
    name, tensor = next(iter(load_file(first).items()))
    save_file({**load_file(second), name: tensor + 1}, second, {"format": "pt"})


def another_shard(folder: Path) -> None:
    """The index names another shard for a tensor."""
    edit_index(
        folder,
        lambda places: {
            **places,
            "model.norm.weight": next(one for one in places.values() if one != places["model.norm.weight"]),
        },
    )


def a_tensor_more(folder: Path) -> None:
    """The index names a tensor that no file holds, and that the class makes itself."""
    edit_index(folder, lambda places: {**places, "model.rotary_emb.inv_freq": places["model.norm.weight"]})


def edit_index(folder: Path, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    file = folder / "model.safetensors.index.json"
    edit(file, weight_map=change(json.loads(file.read_text())["weight_map"]))


def ends(value: object) -> Callable[[Path], None]:
    """The end tokens of the settings of generation."""

    def change(folder: Path) -> None:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))

    return change


def an_end_beyond(folder: Path) -> None:
    """The tokenizer ends, and pads, with a token for which the embedding was never enlarged."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<{number}>" for number in range(600 - len(tokenizer))])
    tokenizer.eos_token = "<end>"
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (unlike_twice, " hold unlike "),
        (another_shard, " holds model.norm.weight, which it does not (1 such tensors); index and files are not of one"),
        (a_tensor_more, " holds model.rotary_emb.inv_freq, which it does not (1 such tensors); index and files are"),
        (ends(99_999), "eos_token_id is 99999, and the embedding has 512 rows"),
        (ends("</s>"), "eos_token_id is '</s>', where the number of a token belongs"),
        (ends([2, 2.5]), "eos_token_id is [2, 2.5], where the number of a token belongs"),
        (ends(-1), "eos_token_id is -1, where the number of a token belongs"),
        (an_end_beyond, "eos_token is '<end>' (600), and the embedding has 512 rows"),
    ],
    ids=["unlike-twice", "another-shard", "a-tensor-more", "beyond", "text", "a-fraction", "below-zero", "tokenizer"],
)
def test_what_a_load_refuses_is_not_entered(
    change: Callable[[Path], None], told: str, inspector: Inspector, tmp_path: Path
) -> None:
    folder = save_checkpoint("mixtral", tmp_path / "mixtral")
    assert held(inspector, folder) == Fit()
    change(folder)
    says = refused(inspector, folder)
    assert told in says
    with pytest.raises(LoadFailed) as caught:
        load(load_spec(folder, "mixtral", Quantization.BF16), "as-is")
    assert str(caught.value) == says


def test_settings_of_generation_that_are_sound_are_entered(inspector: Inspector, tmp_path: Path) -> None:
    """Several end tokens, of which one is beyond the embedding, and none at all."""
    folder = save_checkpoint("llama", tmp_path / "llama")
    for value in ([2, 99_999], None):
        ends(value)(folder)
        assert held(inspector, folder) == Fit()


def test_layers_that_differ_in_the_size_of_their_heads_have_none_for_all() -> None:
    architecture, model_type, given = LATER["gemma-4"]
    found = described({**given, "model_type": model_type, "architectures": [architecture]})
    assert (found.shape.hidden_size, found.shape.heads, found.shape.head_dim) == (64, 4, None)
