"""Load settings: which are taken in whose spelling, why the others are refused, and what they alter."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.catalogue_options import settled
from plimsoll.catalogue.entries import Catalogue, Quantization, Variant, WeightSource
from plimsoll.catalogue.overrides import alterations_of, configured, with_settings
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.catalogue.settings import (
    is_configured,
    may_offload,
    merged_config,
    read_settings,
    settings_of,
    size_in_bytes,
)
from plimsoll.errors import CatalogueError, PlimsollError
from plimsoll.footprint.prediction import Subject
from plimsoll.judge.load import unheeded
from plimsoll.judge.quantization import check_placement
from plimsoll.metrics import METRICS, MetricKind
from plimsoll.plan.asking import KINDS
from tests.support.load_reports import load_report


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue()


@pytest.fixture
def phi(catalogue: Catalogue) -> Variant:
    return catalogue.variants["tiny-phi/bf16"]


def test_the_documents_own_settings_are_read_in_their_spelling() -> None:
    """Each example of the load strategy's table of tunable settings, but for the two that need a model card."""
    found = settings_of(
        {
            "low_cpu_mem_usage": True,
            "max_memory": {"0": "12GiB", "cpu": "32GiB"},
            "torch_dtype": "float16",
            "rope_scaling": {"type": "linear", "factor": 2.0},
            "attn_implementation": "eager",
        },
        "x",
    )
    assert found.dtype == "float16"
    assert found.attention == "eager"
    assert found.load_options == {"max_memory": {"0": "12GiB", "cpu": "32GiB"}}
    assert found.device_map == "auto"
    assert found.config == {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}
    assert found.notes == (
        "low_cpu_mem_usage changes nothing: transformers 5 always loads so",
        "device_map is 'auto' for max_memory, which the planner alone heeds",
    )
    for device_map in ({"": "cuda:0"}, "sequential"):
        assert settings_of({"device_map": device_map}, "x").device_map == device_map


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"torch_dtype": "auto"}, "torch_dtype 'auto' takes what the checkpoint says"),
        ({"dtype": "float15"}, "dtype must be one of float32, bfloat16, float16, not 'float15'"),
        ({"dtype": "float16", "torch_dtype": "float16"}, "torch_dtype is another spelling of dtype"),
        ({"attn_implementation": "spda"}, "did you mean 'sdpa'?"),
        ({"device_map": "atuo"}, "device_map has no place 'atuo'"),
        ({"device_map": {}}, "device_map is empty"),
        ({"device_map": {"": "cuda:0"}, "max_memory": {"0": 1}}, "max_memory has no effect beside a device_map"),
        ({"max_memory": {"gpu0": "1GiB"}}, "GPUs are numbers from 0"),
        ({"max_memory": {"0": "12"}}, "must be bytes as a whole number, or a size such as '12GiB'"),
        ({"low_cpu_mem_usage": False}, "cannot be turned off"),
        ({"rope_scaling": {"type": "lineal", "factor": 2.0}}, "did you mean 'linear'?"),
        ({"rope_scaling": {"type": "linear", "rope_type": "yarn"}}, "keep rope_type"),
        ({"rope_scaling": {"type": "linear", "factor": 0.5}}, "must be a number from 1"),
        ({"sliding_window": 0}, "must be a whole number from 1"),
        ({"padding_side": "right"}, "a decoder goes on from the end of its row"),
        ({"use_fast": "no"}, "must be true or false"),
        ({"trust_remote_code": True}, "needs revision, the 40 hexadecimal digits"),
        ({"trust_remote_code": True, "revision": "main"}, "revision must be the 40 hexadecimal digits of a commit"),
        ({"load_in_4bit": True}, "select a variant that is packed so: -k nf4"),
        ({"token": "hf_x"}, "is a secret"),
        ({"ignore_mismatched_sizes": True}, "cannot be set"),
        ({"offload_state_dict": True}, "has no effect in transformers 5"),
        ({"use_cache": False}, "is no setting of a load"),
        ({"slidingwindow": 5}, "did you mean 'sliding_window'?"),
    ],
)
def test_a_setting_that_would_be_dropped_or_misread_is_refused_with_its_reason(data: dict[str, Any], said: str) -> None:
    with pytest.raises(PlimsollError) as caught:
        settings_of(data, "--load-config")
    assert said in str(caught.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(PlimsollError) as caught:
        settings_of({"dtype": "x", "sliding_window": -1, "nonsense": 1}, "mine.json")
    assert str(caught.value).startswith("mine.json: 3 settings cannot be used:\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere.json", "nowhere.json cannot be read (No such file or directory); write a JSON object"),
        ("{", "--load-config is no JSON"),
        ('{"dtype": "float16", "dtype": "float32"}', "stands there twice"),
        ('{"sliding_window": NaN}', "NaN is no number of JSON"),
    ],
)
def test_what_is_no_settings_is_one_clear_error(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PlimsollError) as caught:
        read_settings(text, tmp_path)
    assert said in str(caught.value)


def test_a_file_of_settings_is_kept_as_its_content(tmp_path: Path, catalogue: Catalogue) -> None:
    """A resumed run and a verdict's scope must not speak of a file that may have changed since."""
    (tmp_path / "mine.json").write_text('{"torch_dtype": "float16"}')
    option = Namespace(load_config="mine.json")
    changed = settled(catalogue, option, tmp_path)
    assert json.loads(option.load_config) == {"dtype": "float16"}
    (tmp_path / "mine.json").write_text('{"torch_dtype": "float32"}')
    assert settled(catalogue, option, tmp_path).variants.keys() == changed.variants.keys()


def test_what_is_altered_has_an_id_and_claims_of_its_own(catalogue: Catalogue, phi: Variant) -> None:
    settings = settings_of({"torch_dtype": "float16", "sliding_window": 64}, "x")
    changed = configured(phi, settings)
    assert changed.id == f"tiny-phi/bf16:{settings.alteration}"
    assert alterations_of(changed.id) == (settings.alteration,)
    assert changed.quantization is Quantization.FP16
    assert changed.config == {"sliding_window": 64}
    assert changed.settings == {"dtype": "float16", "sliding_window": 64}
    assert changed.model is phi.model, "the checkpoint that is trained by a configuration must stay the same one"
    assert phi.claims, "without claims this shows nothing"
    assert all(METRICS[claim.metric].kind is MetricKind.NUMERIC for claim in changed.claims)
    assert KINDS["configured"](changed)
    assert not KINDS["configured"](phi)
    assert with_settings(catalogue, settings).variants[changed.id] == changed


def test_what_is_so_already_keeps_its_id(catalogue: Catalogue, phi: Variant) -> None:
    settings = settings_of({"dtype": "bfloat16", "attention": "sdpa", "low_cpu_mem_usage": True}, "x")
    assert configured(phi, settings) is phi
    assert configured(catalogue.variants["tiny-phi/int8"], settings) == catalogue.variants["tiny-phi/int8"]


def test_a_packed_variant_computes_in_the_asked_dtype(catalogue: Catalogue) -> None:
    packed = configured(catalogue.variants["tiny-phi/nf4"], settings_of({"torch_dtype": "float16"}, "x"))
    assert packed.quantization is Quantization.NF4
    assert packed.dtype == "float16"
    assert packed.load_options == {"quantization_config": {"bnb_4bit_compute_dtype": "float16"}}


def test_position_embeddings_keep_what_is_not_named(phi: Variant) -> None:
    changed = merged_config(phi.model.config, {"rope_parameters": {"rope_type": "linear", "factor": 2.0}})
    assert changed["rope_parameters"] == {
        "rope_type": "linear",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
        "factor": 2.0,
    }
    inside = merged_config({"text_config": {"sliding_window": 1}}, {"sliding_window": 8})
    assert inside == {"text_config": {"sliding_window": 8}}


def test_what_is_predicted_has_the_settings(phi: Variant) -> None:
    changed = configured(phi, settings_of({"sliding_window": 64}, "x"))
    assert json.loads(Subject.of(changed).config_json)["sliding_window"] == 64
    assert "sliding_window" not in json.loads(Subject.of(phi).config_json)


def test_sizes_are_those_of_accelerate() -> None:
    assert size_in_bytes("12GiB") == 12 * 2**30
    assert size_in_bytes("1.5GB") == 1_500_000_000
    assert size_in_bytes("800KB") == 800_000
    assert size_in_bytes(7) == 7
    assert size_in_bytes("12") is None
    assert size_in_bytes(True) is None


_ENTRY = """
[[variant]]
models = ["tiny-phi"]
quantizations = ["bf16"]
tier = "tiny"
name = "mine"
"""


def test_an_entry_may_hold_the_same_settings(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        _ENTRY
        + 'device_map = "auto"\nload_options = { max_memory = { cpu = "1MiB" } }\n'
        + 'config = { sliding_window = 64, rope_parameters = { type = "longrope" } }\n'
        + 'tokenizer = { padding_side = "left" }\n'
    )
    variant = read_catalogue([path]).variants["tiny-phi/mine"]
    assert variant.config == {"sliding_window": 64, "rope_parameters": {"rope_type": "longrope"}}
    assert variant.tokenizer == {"padding_side": "left"}
    assert is_configured(variant)
    assert may_offload(variant.load_options)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("config = { hidden_size = 64 }", "variant[0].config.hidden_size: is no setting of a variant's config"),
        ('tokenizer = { padding_side = "right" }', "variant[0].tokenizer.padding_side: cannot be right"),
        ('load_options = { max_memory = { cpu = "1MiB" } }', "has no effect: without a device_map"),
        (
            'device_map = "cuda:0"\nload_options = { max_memory = { cpu = "1MiB" } }',
            "has no effect: the planner alone heeds it",
        ),
        ('device_map = "auto"\nload_options = { max_memory = { 0 = "12" } }', "load_options.max_memory: of 0 must be"),
    ],
)
def test_an_entrys_settings_are_checked_too(tmp_path: Path, lines: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(_ENTRY + lines + "\n")
    with pytest.raises(CatalogueError) as caught:
        read_catalogue([path])
    assert said in str(caught.value)


def test_settings_that_are_not_in_force_are_findings(phi: Variant) -> None:
    variant = replace(
        phi,
        config={"sliding_window": 64, "rope_parameters": {"rope_type": "longrope"}},
        tokenizer={"padding_side": "left", "chat_template": "{{ x }}"},
        load_options={"max_memory": {"0": "1MB", "cpu": "1GB"}},
        device_map={"": "cuda:0"},
        model=replace(phi.model, trust_remote_code=True),
    )
    without = unheeded(
        variant,
        load_report(
            config={"sliding_window": None, "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}},
            tokenizer={"padding_side": "right", "chat_template": None},
            bytes={"cuda:0": 2_000_000, "cpu": 5},
            remote_code=False,
        ),
    )
    assert [text.partition(" ")[0] for text in without] == [
        "sliding_window",
        "padding_side",
        "chat_template",
        "max_memory",
        "device_map",
        "trust_remote_code",
    ]


def test_a_revision_of_what_is_no_repository_is_a_finding_beside_settings_that_have_effect(phi: Variant) -> None:
    given = {"dtype": "float16", "revision": "c" * 40}
    altered = configured(phi, settings_of(given, "x"))
    assert altered.dtype == "float16"
    assert unheeded(altered, load_report()) == [
        f"revision was set to {'c' * 40}, and the weights do not come from the Hub; remove it"
    ]
    hub = replace(phi, model=replace(phi.model, source=WeightSource.HUB))
    assert unheeded(configured(hub, settings_of(given, "x")), load_report()) == []


def test_settings_that_are_in_force_are_none(phi: Variant) -> None:
    variant = replace(
        phi, config={"sliding_window": 64}, tokenizer={"use_fast": True}, load_options={"max_memory": {"cpu": "1MB"}}
    )
    assert (
        unheeded(variant, load_report(config={"sliding_window": 64}, tokenizer={"use_fast": True}, bytes={"cpu": 9}))
        == []
    )
    assert unheeded(variant, load_report(config={"sliding_window": 64}))[0].startswith("use_fast of the tokenizer")


def test_weights_beside_a_device_are_no_fault_where_limits_ask_for_them() -> None:
    places = {"model.layers.0": "cpu", "model.layers.1": "disk"}
    assert len(check_placement(places, "auto", "cuda:0")) == 2
    assert check_placement(places, "auto", "cuda:0", may_offload=True) == ()
    assert [wrong.parameter for wrong in check_placement(places, "auto", "cpu")] == ["model.layers.1"]
