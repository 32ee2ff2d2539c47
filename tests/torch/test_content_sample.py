"""How much of a large tensor is compared: a sample that is the same each time, or all."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from bitsandbytes import functional

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.protocol import Content, ProveContent, TensorContent
from plimsoll.host.server.content.arithmetic import NF4, dynamic_table
from plimsoll.host.server.content.proof import BLOCK, NESTED, _tables, prove, ranges
from plimsoll.host.server.loading import load
from tests.support.random_checkpoints import load_spec, save_checkpoint

LARGE = "model.layers.0.mlp.up_proj.weight"
SHAPE = {"hidden_size": 1024, "intermediate_size": 2048, "num_hidden_layers": 1}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint("llama", tmp_path_factory.mktemp("large"), **SHAPE)


def of(content: Content, name: str = LARGE) -> TensorContent:
    (found,) = (tensor for tensor in content.tensors if tensor.name == name)
    return found


def test_damage_beside_the_sample_is_found_by_comparing_all(checkpoint: Path) -> None:
    model = load(load_spec(checkpoint, "llama", Quantization.NF4_DQ), "as-is")
    weight = model.whole.model.layers[0].mlp.up_proj.weight.data.view(-1)
    blocks = 2 * len(weight) // BLOCK
    sample = list(ranges(LARGE, blocks, BLOCK, NESTED, whole=False))
    assert sample == list(ranges(LARGE, blocks, BLOCK, NESTED, whole=False)), "the same each time"
    assert (sample[0][0], sample[-1][1]) == (0, blocks)
    beside = sample[0][1]
    assert beside < sample[1][0]
    weight[beside * BLOCK // 2] ^= 0x55
    found, everything = prove(model, ProveContent()), prove(model, ProveContent(whole=True))
    assert of(found).checked == sum(stop - start for start, stop in sample) < blocks
    assert (of(found).excess or 0) < 2e-4
    assert of(everything).checked == blocks
    assert (of(everything).excess or 0) > 2e-4
    assert of(everything).where == f"block {beside:,}, a code"
    small = of(found, "model.layers.0.self_attn.k_proj.weight")
    assert small.checked == small.blocks


def test_the_tables_are_the_published_ones() -> None:
    theirs = functional.create_dynamic_map()  # type: ignore[no-untyped-call]
    assert torch.equal(dynamic_table(), theirs)
    assert torch.equal(NF4, functional.get_4bit_type("nf4", device="cpu"))  # type: ignore[no-untyped-call]


def test_a_code_that_is_no_number_is_the_worst_of_a_table() -> None:
    _, state = functional.quantize_4bit(torch.ones(64), quant_type="nf4", blocksize=64)
    assert _tables(state)[0] == 0.0
    state.code[3] = math.nan
    assert _tables(state) == (math.inf, "the table of codes")
