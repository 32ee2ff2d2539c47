"""An entry's configuration against config.json: published files raise no false alarm, and a wrong value always does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from plimsoll.host.protocol import CompareConfig, ConfigDifference
from plimsoll.host.server.configuration import differences
from plimsoll.judge.load import changes_the_model, in_words, is_other_model
from tests.support.hub_configs import HUB_CONFIGS
from tests.support.random_checkpoints import ARCHITECTURES, CONFIGS, save_checkpoint

SHAPE = {
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "n_embd",
    "n_head",
    "n_layer",
}
"""What an entry needs for its bytes to be predicted."""
COMPUTES_NOTHING = {
    "attention_dropout",
    "attn_pdrop",
    "bos_token_id",
    "embd_pdrop",
    "hidden_dropout",
    "initializer_range",
    "output_router_logits",
    "pad_token_id",
    "pretraining_tp",
    "resid_pdrop",
    "router_aux_loss_coef",
    "summary_first_dropout",
    "use_cache",
}
"""Training and bookkeeping."""
NO_NUMBERS = {
    "_name_or_path",
    "architectures",
    "auto_map",
    "model_type",
    "quantization_config",
    "rope_type",
    "task_specific_params",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "type",
}


def written(folder: Path, config: Mapping[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def compared(entry: Mapping[str, Any], checkpoint: Path) -> tuple[ConfigDifference, ...]:
    return differences(CompareConfig(checkpoint=str(checkpoint), revision=None, config_json=json.dumps(entry)))


def red(entry: Mapping[str, Any], checkpoint: Path) -> list[str]:
    return [each.key for each in compared(entry, checkpoint) if is_other_model(each)]


def saved_again(checkpoint: Path, folder: Path) -> Path:
    """config.json as the installed transformers writes what it has read."""
    AutoConfig.from_pretrained(checkpoint).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", HUB_CONFIGS)
def test_a_published_configuration_is_the_entrys_however_either_is_spelt(name: str, tmp_path: Path) -> None:
    published = HUB_CONFIGS[name]
    as_published = written(tmp_path / "published", published)
    as_saved = saved_again(as_published, tmp_path / "saved")
    in_full = tmp_path / "full"
    in_full.mkdir()
    AutoConfig.from_pretrained(as_published).to_json_file(in_full / "config.json", use_diff=False)
    entries = {
        "all that is published": published,
        "the shape alone": {key: value for key, value in published.items() if key in SHAPE},
        "as saved": json.loads((as_saved / "config.json").read_text()),
        "with all defaults": json.loads((in_full / "config.json").read_text()),
    }
    found = {
        (spelling, folder.name): in_words([each for each in compared(entry, folder) if is_other_model(each)])
        for spelling, entry in entries.items()
        for folder in (as_published, as_saved, in_full)
    }
    assert {where: wrong for where, wrong in found.items() if wrong} == {}


def numbers(config: Mapping[str, Any], *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in config.items():
        if key in NO_NUMBERS:
            continue
        if isinstance(value, dict):
            yield from numbers(value, *path, key)
        elif isinstance(value, (bool, int, float, list)) or key.endswith("_act"):
            yield (*path, key), value


def another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [another(value[0]), *value[1:]]
    if isinstance(value, str):
        return "relu"
    return value * 2 if value else 3


@pytest.mark.parametrize("name", HUB_CONFIGS)
def test_each_wrong_value_of_an_entry_is_red(name: str, tmp_path: Path) -> None:
    published = HUB_CONFIGS[name]
    checkpoint = written(tmp_path / "published", published)
    unseen, tried = set(), 0
    for path, value in numbers(published):
        entry = deepcopy(published)
        table = entry
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = another(value)
        if "longrope" in str(published) and path[-1] in {"hidden_size", "num_attention_heads"}:
            continue  # its tables of factors would no longer fit the heads, and no such configuration can be made
        tried += 1
        if not red(entry, checkpoint):
            unseen.add(path[-1])
    # A window that is switched off has no size, and no first layer.
    off = set() if published.get("use_sliding_window", True) else {"sliding_window", "max_window_layers"}
    assert tried > 5
    assert unseen - off <= COMPUTES_NOTHING


@pytest.mark.parametrize("name", ["Llama-2-7b", "gemma-3-1b-it"])
def test_a_scaling_that_only_one_side_has_is_red(name: str, tmp_path: Path) -> None:
    published = HUB_CONFIGS[name]
    scaled = {**published, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    assert any("rope_type" in key for key in red(scaled, written(tmp_path / "plain", published)))
    assert any("rope_type" in key for key in red(published, written(tmp_path / "scaled", scaled)))


def test_another_kind_of_model_is_red(tmp_path: Path) -> None:
    checkpoint = written(tmp_path / "mistral", HUB_CONFIGS["Mistral-7B-v0.3"])
    entry = {key: value for key, value in HUB_CONFIGS["Llama-3.1-8B"].items() if key == "model_type"}
    assert red(entry, checkpoint) == ["model_type"]


def test_the_text_part_of_a_larger_model_is_compared_with_that_part(tmp_path: Path) -> None:
    text = HUB_CONFIGS["gemma-3-1b-it"]
    checkpoint = written(tmp_path / "gemma", {"model_type": "gemma3", "text_config": text, "vision_config": {}})
    assert red(text, checkpoint) == []
    assert red({**text, "hidden_size": 2560}, checkpoint) == ["hidden_size"]


@pytest.mark.parametrize(
    ("entry", "config", "generation", "wrong"),
    [
        (2, 2, None, False),
        (3, 2, None, True),
        (128009, 128001, [128001, 128009], False),
        ([128001, 128008, 128009], 128009, [128001, 128008, 128009], False),
        ([128001, 7], 128001, [128001, 128009], True),
    ],
)
def test_an_end_token_is_wrong_where_neither_file_has_it(
    entry: Any, config: Any, generation: Any, wrong: bool, tmp_path: Path
) -> None:
    base = HUB_CONFIGS["Llama-3.1-8B"]
    checkpoint = written(tmp_path / "checkpoint", {**base, "eos_token_id": config})
    if generation is not None:
        (checkpoint / "generation_config.json").write_text(json.dumps({"eos_token_id": generation}))
    assert red({**base, "eos_token_id": entry}, checkpoint) == (["eos_token_id"] if wrong else [])


@pytest.mark.parametrize(
    ("key", "value", "changes"),
    [
        ("hidden_act", "gelu", True),
        ("rms_norm_eps", 1e-3, True),
        ("rms_norm_eps", 9.999999974752427e-07, False),
        ("eos_token_id", 3, True),
        ("pad_token_id", 3, False),
        ("initializer_range", 0.5, False),
        ("attention_dropout", 0.1, False),
    ],
)
def test_what_an_entry_leaves_out_is_told_and_what_it_names_is_red(
    tmp_path: Path, key: str, value: object, changes: bool
) -> None:
    named = {"hidden_act": "silu", "rms_norm_eps": 1e-6, "eos_token_id": 2, **CONFIGS["llama"]}
    checkpoint = written(tmp_path / "checkpoint", {**named, key: value})
    wrong = [each for each in compared(named, checkpoint) if is_other_model(each)]
    assert [each.key for each in wrong] == ([key] if changes else [])
    assert not changes or f"{key} is {json.dumps(value)} in config.json" in in_words(wrong)
    silent = {name: value for name, value in named.items() if name != key}
    left = [each for each in compared(silent, checkpoint) if changes_the_model(each)]
    assert [(each.key, each.stated) for each in left] == ([(key, False)] if changes else [])
    assert not changes or "since the entry does not name it" in in_words(left)


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_a_checkpoint_of_its_own_configuration_differs_in_nothing_that_counts(family: str, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(family, tmp_path / family)
    assert not [each for each in compared(CONFIGS[family], checkpoint) if changes_the_model(each)]
