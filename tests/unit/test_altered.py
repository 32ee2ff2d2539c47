"""Variants with fewer layers, or on the CPU in place of a GPU: what changes, what stays, and what they are called."""

from __future__ import annotations

from argparse import Namespace

import pytest

from fixtures.catalogue_options import choose_again, chosen
from plimsoll.catalogue.entries import Catalogue
from plimsoll.catalogue.overrides import (
    alterations_of,
    altered,
    cut_config,
    on_cpu,
    on_gpu,
    with_layers,
    with_sources,
)
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.metrics import METRICS, MetricKind
from plimsoll.plan.asking import KINDS


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"num_hidden_layers": 32, "hidden_size": 8}, {"num_hidden_layers": 2, "hidden_size": 8}),
        ({"n_layer": 12}, {"n_layer": 2}),
        ({"num_hidden_layers": 2}, {"num_hidden_layers": 2}),
        ({"num_hidden_layers": 1, "layer_types": ["a"]}, {"num_hidden_layers": 1, "layer_types": ["a"]}),
        (
            {"num_hidden_layers": 4, "layer_types": ["a", "b", "a", "b"], "eos_token_id": [1, 2, 3]},
            {"num_hidden_layers": 2, "layer_types": ["a", "b"], "eos_token_id": [1, 2, 3]},
        ),
        ({"num_hidden_layers": 4, "hidden_act": "silu"}, {"num_hidden_layers": 2, "hidden_act": "silu"}),
        (
            {"num_hidden_layers": 3, "rope_parameters": {"short_factor": [1.0, 1.1, 1.2]}},
            {"num_hidden_layers": 2, "rope_parameters": {"short_factor": [1.0, 1.1, 1.2]}},
        ),
        (
            {"text_config": {"num_hidden_layers": 28, "layer_types": ["a"] * 28}, "vision": {"num_layers": 1}},
            {"text_config": {"num_hidden_layers": 2, "layer_types": ["a"] * 2}, "vision": {"num_layers": 1}},
        ),
        ({"hidden_size": 8}, {"hidden_size": 8}),
    ],
)
def test_depth_and_what_has_an_item_a_layer_are_cut(config: dict[str, object], expected: dict[str, object]) -> None:
    before = repr(config)
    assert cut_config(config, 2) == expected
    assert repr(config) == before


def test_a_cut_model_has_a_name_and_claims_of_its_own(catalogue: Catalogue) -> None:
    cut = with_layers(catalogue, 1)
    variant = cut.variants["llama-3.1-70b-instruct:1-layer/nf4-dq"]
    assert variant.model is cut.models["llama-3.1-70b-instruct:1-layer"]
    assert variant.model.config["num_hidden_layers"] == 1
    assert variant.is_altered
    whole = catalogue.variants["llama-3.1-70b-instruct/nf4-dq"]
    assert not whole.is_altered
    assert variant.all_marks == whole.all_marks
    assert whole.claims_on("ram_peak")
    assert not variant.claims_on("ram_peak"), "what is said of 80 layers is not said of one"
    assert variant.claims_on("cache_divergence") == whole.claims_on("cache_divergence")
    assert "llama-3.1-70b-instruct/nf4-dq" not in cut.variants
    assert len(cut.variants) == len(catalogue.variants)


def test_what_is_not_deeper_stays_as_it_is(catalogue: Catalogue) -> None:
    cut = with_layers(catalogue, 2)
    assert cut.variants["tiny-llama/nf4"] == catalogue.variants["tiny-llama/nf4"]
    assert "phi-3-mini-4k-instruct:2-layers/nf4-sdpa" in cut.variants


def test_a_gpus_variant_goes_to_the_cpu_under_another_name(catalogue: Catalogue) -> None:
    moved = on_cpu(catalogue)
    variant = moved.variants["llama-3.1-70b-instruct/int8:cpu"]
    assert (variant.tier.device, variant.tier.instead_of, variant.device_map) == ("cpu", "cuda", None)
    assert catalogue.variants["llama-3.1-70b-instruct/int8"].device_map == "auto"
    assert variant.tier is moved.tiers["gpu70b"]
    assert variant.is_altered
    assert {claim.metric for claim in variant.claims} <= {
        "cache_divergence",
        "batch_divergence",
        "quantized_divergence",
        "repetition",
    }
    assert moved.variants["tiny-llama/nf4"] is catalogue.variants["tiny-llama/nf4"]


def test_the_tiny_checkpoints_go_to_a_gpu_under_another_name(catalogue: Catalogue) -> None:
    moved = on_gpu(catalogue)
    variant = moved.variants["tiny-llama/nf4:cuda"]
    assert (variant.tier.device, variant.tier.instead_of, variant.tier.id) == ("cuda", "cpu", "tiny")
    assert variant.is_altered
    assert {METRICS[claim.metric].kind for claim in variant.claims} <= {MetricKind.NUMERIC}
    assert moved.variants["llama-3.1-8b/nf4-dq"] is catalogue.variants["llama-3.1-8b/nf4-dq"]
    assert {one.tier.device for one in moved.variants.values()} == {"cuda"}
    # What the suite itself expects of any GPU is expected there, its memory before all.
    kinds = {kind for kind, fits in KINDS.items() if fits(variant)}
    assert {"gpu", "taught", "as-entered", "quantized"} <= kinds
    assert not KINDS["as-entered"](on_cpu(catalogue).variants["llama-3.1-8b/nf4-dq:cpu"])
    assert alterations_of("tiny-llama/nf4:cuda:gpu3") == ("cuda",)


def test_the_alterations_can_be_read_off_an_id(catalogue: Catalogue) -> None:
    both = on_cpu(with_layers(catalogue, 3))
    variant = both.variants["mixtral-8x22b-instruct-v0.1:3-layers/nf4-dq:cpu"]
    assert alterations_of(variant.id) == ("3-layers", "cpu")
    assert {alterations_of(name) for name in catalogue.variants} == {()}


def options(**given: object) -> Namespace:
    plain: dict[str, object] = {
        "weights": "auto",
        "model_dir": [],
        "layers": None,
        "device": None,
        "load_config": None,
        "gpus": None,
        "soak": None,
        "expect_gpus": None,
        "datasets": "auto",
        "dataset_dir": [],
        "samples": None,
        "shots": 0,
        "draws": 0,
        "seed": 0,
    }
    return Namespace(**plain | given)


def test_layers_are_taken_from_synthetic_weights_alone(catalogue: Catalogue) -> None:
    with pytest.raises(PlimsollError) as caught:
        altered(catalogue, weights="hub", layers=1, device=None)
    assert str(caught.value) == "--layers=1 takes layers away, and a checkpoint has them all: add --weights=synthetic"


def test_without_options_nothing_is_altered(catalogue: Catalogue) -> None:
    assert altered(catalogue, weights="auto", layers=None, device=None) is catalogue


def test_options_are_recorded_and_taken_again(catalogue: Catalogue) -> None:
    given = options(weights="synthetic", layers=1, device="cpu")
    made_up = with_sources(catalogue, given.weights, [], catalogue.files[0].path)
    variants = altered(made_up, weights=given.weights, layers=given.layers, device=given.device).variants
    assert variants["llama-3.2-1b:1-layer/nf4:cpu"].model.source == "synthetic"
    assert chosen(given) == {"weights": "synthetic", "layers": 1, "device": "cpu"}
    assert chosen(options()) == {}
    again = options(layers=2)
    choose_again(again, chosen(given))
    assert again == options(weights="synthetic", layers=2, device="cpu")
    asked = options(samples="400", shots=5, dataset_dir=["squad=there"])
    assert chosen(asked) == {"samples": "400", "shots": 5, "dataset_dir": ["squad=there"]}


def test_experiments_ask_what_stands_in_the_place_of_their_variants(catalogue: Catalogue) -> None:
    both = on_cpu(with_layers(catalogue, 1))
    small = both.experiments["comparison-small"].variants
    assert small[0] == "llama-3.2-1b:1-layer/fp16:cpu"
    assert set(small) <= set(both.variants)
    assert catalogue.experiments["comparison-small"].variants[0] == "llama-3.2-1b/fp16"
