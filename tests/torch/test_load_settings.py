"""Settings of a load, as the real transformers takes, refuses and heeds them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.settings import ROPE_TYPES
from plimsoll.host.protocol import CompareConfig, Generate, ProveContent
from plimsoll.host.server.configuration import differences
from plimsoll.host.server.content.proof import prove
from plimsoll.host.server.failures import LoadFailed
from plimsoll.host.server.generation import generate
from plimsoll.host.server.load_options import read_architecture
from plimsoll.host.server.loading import LoadedModel, load
from plimsoll.host.server.reference import streaming_map
from tests.support.random_checkpoints import CONFIGS, load_spec, save_checkpoint

BF16 = Quantization.BF16


def _load(folder: Path, family: str, **changes: Any) -> LoadedModel:
    return load(load_spec(folder, family, BF16, **changes), "as-is")


def test_the_kinds_of_position_embeddings_are_those_of_the_installed_transformers() -> None:
    assert set(ROPE_TYPES) == {"default", *ROPE_INIT_FUNCTIONS}


@pytest.mark.parametrize("synthetic", [False, True])
def test_a_sliding_window_is_in_force_in_the_model(tmp_path: Path, synthetic: bool) -> None:
    folder = save_checkpoint("phi3", tmp_path)
    changes: dict[str, Any] = {"config": {"sliding_window": 8}}
    if synthetic:
        changes["synthetic_config"] = {**CONFIGS["phi3"], "sliding_window": 8}
    loaded = _load(folder, "phi3", **changes)
    assert loaded.model.config.sliding_window == 8
    assert loaded.report.effective["config"] == {"sliding_window": 8}


def test_scaled_position_embeddings_turn_the_angles(tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path)
    plain = _load(folder, "llama").model.model.rotary_emb.inv_freq
    scaled = _load(folder, "llama", config={"rope_parameters": {"rope_type": "linear", "factor": 2.0}})
    assert scaled.model.model.rotary_emb.inv_freq.tolist() == (plain / 2).tolist()


@pytest.mark.parametrize(
    ("family", "config", "said"),
    [
        ("llama", {"sliding_window": 8}, "sliding_window has no effect: LlamaConfig has no such field"),
        ("qwen2", {"sliding_window": 8}, "sliding_window = 8 has no effect: Qwen2Config makes None of sliding_window"),
        (
            "phi3",
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0}},
            "must be one of ['longrope'], got linear",
        ),
    ],
)
def test_what_a_class_does_not_take_or_drops_is_refused(
    tmp_path: Path, family: str, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(LoadFailed) as caught:
        _load(save_checkpoint(family, tmp_path), family, config=config)
    assert said in str(caught.value)


def test_the_tokenizers_settings_are_in_force(tmp_path: Path) -> None:
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    asked = {"padding_side": "left", "pad_token": "7", "chat_template": template, "use_fast": True}
    loaded = _load(save_checkpoint("llama", tmp_path), "llama", tokenizer=asked)
    assert loaded.tokenizer.chat_template == template
    assert loaded.report.effective["tokenizer"]["pad_token"] == "7"
    assert loaded.model.generation_config.pad_token_id == loaded.tokenizer.convert_tokens_to_ids("7")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"use_fast": False}, "use_fast = false has no effect: transformers 5 makes a"),
        ({"pad_token": "<never seen>"}, "is no token of"),
    ],
)
def test_a_setting_that_the_tokenizer_has_not_is_refused(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        _load(save_checkpoint("llama", tmp_path, vocab_size=512), "llama", tokenizer=asked)
    assert said in str(caught.value)


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("said", ["torch.bfloat16", "auto", "no dtype"])
def test_a_dtype_of_the_file_that_torch_has_not_is_overridden_by_the_load(tmp_path: Path, key: str, said: str) -> None:
    folder = save_checkpoint("llama", tmp_path)
    file = folder / "config.json"
    known = {name: part for name, part in json.loads(file.read_text()).items() if "dtype" not in name}
    file.write_text(json.dumps({**known, key: said}))
    assert _load(folder, "llama").model.dtype is torch.bfloat16
    entry = json.dumps(dict(CONFIGS["llama"]))
    found = differences(CompareConfig(checkpoint=str(folder), revision=None, config_json=entry))
    assert not [each for each in found if each.key == "dtype"]


def test_an_attention_of_the_file_that_is_not_installed_is_overridden_by_the_load(tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "attn_implementation": "flash_attention_2"}))
    spec = load_spec(folder, "llama", BF16)
    assert _load(folder, "llama").model.config._attn_implementation == "sdpa"
    assert streaming_map(replace(spec, device="cuda:0"))


@pytest.mark.parametrize(
    "said",
    [
        {"output_attentions": True},
        {"output_hidden_states": True},
        {"return_dict": False},
    ],
    ids=str,
)
def test_how_a_model_was_used_decides_nothing_of_its_load(tmp_path: Path, said: dict[str, Any]) -> None:
    folder = save_checkpoint("llama", tmp_path)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **said}))
    loaded = _load(folder, "llama")
    assert loaded.report.attention == "sdpa"
    given = loaded.model(torch.tensor([[1, 5, 6, 7]]))
    assert (given.attentions, given.hidden_states) == (None, None)
    assert torch.isfinite(given.logits).all()
    request = CompareConfig(checkpoint=str(folder), revision=None, config_json=json.dumps(dict(CONFIGS["llama"])))
    assert not {each.key for each in differences(request)} & {"output_attentions"}
    assert _load(folder, "llama", attention="eager").report.attention == "eager"


def test_how_a_part_of_a_model_was_used_decides_nothing_of_its_load(tmp_path: Path) -> None:
    config = {
        "model_type": "llava",
        "text_config": {**CONFIGS["llama"], "return_dict": False},
        "vision_config": {"model_type": "clip_vision_model", "num_hidden_layers": 2, "output_hidden_states": True},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    spec = replace(load_spec(tmp_path, "llama", BF16), auto_class="AutoModelForImageTextToText")
    handed = read_architecture(spec).config
    assert handed.text_config.return_dict
    assert not handed.vision_config.output_hidden_states


def test_a_configuration_that_says_nothing_of_its_use_is_read_by_transformers_itself(tmp_path: Path) -> None:
    spec = load_spec(save_checkpoint("llama", tmp_path), "llama", BF16)
    assert read_architecture(spec).config is None


def test_weights_that_are_brought_in_from_disk_are_neither_missing_nor_unproved(tmp_path: Path) -> None:
    """They are on the meta device between two passes; what a pass brings in is the checkpoint's own."""
    options = {"max_memory": {"cpu": "200KB"}, "offload_folder": str(tmp_path / "offload")}
    loaded = _load(save_checkpoint("llama", tmp_path / "model"), "llama", device_map="auto", load_options=options)
    report = loaded.report
    assert "disk" in report.device_map.values(), "nothing was offloaded: this would prove nothing"
    assert report.meta_parameters == ()
    assert report.effective["bytes"]["disk"] > 200_000
    assert report.effective["bytes"].get("cpu", 0) <= 200_000
    content = prove(loaded, ProveContent(whole=True))
    assert [tensor.fault for tensor in content.tensors if tensor.fault] == []
    assert content.checked > 0
    answer = generate(loaded, Generate(questions=((3, 4, 5),), max_new_tokens=4))
    assert answer.finite
    assert len(answer.completions[0].token_ids) >= 1


def test_a_tensor_that_nobody_brings_in_is_still_missing(tmp_path: Path) -> None:
    loaded = _load(save_checkpoint("llama", tmp_path), "llama")
    weight = loaded.model.lm_head.weight
    loaded.model.lm_head.weight = type(weight)(weight.to("meta"), requires_grad=False)
    content = prove(loaded, ProveContent())
    assert [t.fault for t in content.tensors if t.name == "lm_head.weight"] == ["it was never loaded"]
