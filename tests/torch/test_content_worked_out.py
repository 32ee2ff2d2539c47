"""Buffers that no file holds, which a load has to work out again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.protocol import ProveContent
from plimsoll.host.server.content.proof import prove
from plimsoll.host.server.content.worked_out import worked_out
from plimsoll.host.server.loading import load
from tests.support.random_checkpoints import ARCHITECTURES, load_spec, save_checkpoint

FREQUENCIES = "model.rotary_emb.inv_freq"
SCALED = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_what_a_load_works_out_is_what_the_class_does(family: str, tmp_path: Path) -> None:
    folder = save_checkpoint(family, tmp_path / family)
    content = prove(load(load_spec(folder, family, Quantization.BF16), "as-is"), ProveContent())
    found = {tensor.name: tensor.fault for tensor in content.tensors if tensor.scheme == "worked out"}
    assert found == {FREQUENCIES: "", "model.rotary_emb.original_inv_freq": ""}


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda held: held.mul_(1.01), "it is not what its class works out from the configuration: 1.01, and 1 in pl"),
        (lambda held: held[3:].zero_(), "it is not what its class works out from the configuration: 0, and "),
        (lambda held: held.fill_(torch.nan), "it holds NaN: nothing has worked it out after the load"),
    ],
)
def test_frequencies_that_a_load_left_as_they_lay_are_found(
    damage: Callable[[torch.Tensor], object], text: str, tmp_path: Path
) -> None:
    rope = {**SCALED, "original_max_position_embeddings": 64}
    folder = save_checkpoint("llama", tmp_path / "llama", rope_parameters=rope)
    loaded = load(load_spec(folder, "llama", Quantization.NF4), "as-is")
    assert not [tensor for tensor in worked_out(loaded.whole) if tensor.fault]
    damage(loaded.model.model.rotary_emb.inv_freq)
    faults = {tensor.name: tensor.fault for tensor in prove(loaded, ProveContent()).tensors if tensor.fault}
    assert faults.keys() == {FREQUENCIES}
    assert faults[FREQUENCIES].startswith(text)


class Own(nn.Module):
    """A module that wants more than a configuration to be made."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.config = None
        self.register_buffer("mask", torch.full((width,), -torch.inf), persistent=False)
        self.register_buffer("held", torch.zeros(width))


def test_of_what_cannot_be_made_again_a_nan_alone_is_a_fault() -> None:
    own = Own(3)
    assert [(tensor.name, tensor.fault) for tensor in worked_out(own)] == [("mask", "")]
    own.get_buffer("mask")[1] = torch.nan
    assert [tensor.fault for tensor in worked_out(own)] == ["it holds NaN: nothing has worked it out after the load"]


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
        {
            "rope_type": "longrope",
            "rope_theta": 1e4,
            "factor": 2.0,
            "short_factor": [1.0] * 16,
            "long_factor": [2.0] * 16,
            "original_max_position_embeddings": 32,
        },
    ],
    ids=lambda rope: str(rope["rope_type"]),
)
def test_frequencies_that_follow_the_length_of_a_text_are_no_fault(rope: dict[str, object], tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path / "llama", rope_parameters=rope, max_position_embeddings=32)
    loaded = load(load_spec(folder, "llama", Quantization.BF16), "as-is")
    rotary = loaded.model.model.rotary_emb
    before = rotary.inv_freq.clone()
    with torch.inference_mode():
        loaded.model(input_ids=torch.full((1, 80), 7))
    assert not torch.equal(rotary.inv_freq, before), "the pass has worked them out anew"
    assert [tensor.fault for tensor in worked_out(loaded.whole)] == ["", ""]
    rotary.original_inv_freq = rotary.original_inv_freq * 1.01
    assert [tensor.name for tensor in worked_out(loaded.whole) if tensor.fault] == [
        "model.rotary_emb.original_inv_freq"
    ]


class Drawn(nn.Module):
    """A module whose buffer is drawn by lot."""

    def __init__(self, config: object) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("noise", torch.rand(4), persistent=False)


class Particular(nn.Module):
    """A module that was made from another configuration than it keeps."""

    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        self.config: dict[str, int] = {}
        self.register_buffer("table", torch.arange(config["rows"]).float(), persistent=False)


def test_what_is_not_made_alike_twice_is_not_compared() -> None:
    both = nn.ModuleList([Drawn({}), Particular({"rows": 3})])
    found = [(tensor.name, tensor.fault, tensor.checked) for tensor in worked_out(both)]
    assert found == [("0.noise", "", 0), ("1.table", "", 0)], "and not counted as compared"
