"""What a packed layer is read and run with beside its bytes: the tables of a file, its blocks, int8's threshold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.protocol import Content, ProveContent
from plimsoll.host.server.content.proof import prove
from plimsoll.host.server.loading import LoadedModel, load
from plimsoll.judge.content import MOST_EXCESS
from tests.support.random_checkpoints import load_spec, save_checkpoint

LAYER = "model.layers.1.mlp.up_proj"
WEIGHT = f"{LAYER}.weight"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint("llama", tmp_path_factory.mktemp("checkpoints") / "llama")


def loaded(folder: Path, quantization: Quantization, **changes: Any) -> LoadedModel:
    return load(load_spec(folder, "llama", quantization, **changes), "as-is")


def faults(content: Content) -> dict[str, str]:
    return {tensor.name: tensor.fault for tensor in content.tensors if tensor.fault}


def packed(source: Path, folder: Path, quantization: Quantization, change: Callable[[Tensors], None]) -> Path:
    """The checkpoint as the library saves it once it is packed, with something in its file changed."""
    loaded(source, quantization).model.save_pretrained(folder)
    for file in source.glob("tokenizer*"):
        shutil.copy(file, folder)
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


def stretched(part: str) -> Callable[[Tensors], None]:
    """A table that is wrong by a fiftieth."""

    def change(tensors: Tensors) -> None:
        tensors[f"{WEIGHT}.{part}"] = tensors[f"{WEIGHT}.{part}"] * 1.02

    return change


def no_number(tensors: Tensors) -> None:
    """A scale that gives a block of NaN, and is equal to the file's."""
    tensors[f"{WEIGHT}.absmax"][2] = torch.nan


def stating(**facts: Any) -> Callable[[Tensors], None]:
    """A state that says something else of the same bytes."""

    def change(tensors: Tensors) -> None:
        name = f"{WEIGHT}.quant_state.bitsandbytes__nf4"
        told = json.loads(bytes(tensors[name].tolist())) | facts
        tensors[name] = torch.tensor(list(json.dumps(told).encode()), dtype=torch.uint8)

    return change


def as_it_is(tensors: Tensors) -> None:
    """Nothing is changed."""


@pytest.mark.parametrize(
    ("quantization", "change", "text"),
    [
        (Quantization.NF4, as_it_is, None),
        (Quantization.NF4_DQ, as_it_is, None),
        (Quantization.NF4, stretched("quant_map"), "the table of codes is not the scheme's: 0.02 away"),
        (
            Quantization.NF4_DQ,
            stretched("nested_quant_map"),
            "the table of the scales' codes is not the scheme's: 0.02 away",
        ),
        (Quantization.NF4, no_number, f"{WEIGHT}.absmax holds a value that is no finite number"),
        (Quantization.NF4, stating(blocksize=128), "it is read in blocks of 128, and the scheme has 64 and 256"),
        (
            Quantization.NF4_DQ,
            stating(nested_blocksize=128),
            "it is read in blocks of 64 and of 128 of them, and the scheme has 64 and 256",
        ),
    ],
)
def test_a_file_that_was_saved_packed_is_read_with_the_schemes_own_tables_and_blocks(
    checkpoint: Path,
    tmp_path: Path,
    quantization: Quantization,
    change: Callable[[Tensors], None],
    text: str | None,
) -> None:
    """It was held against its own bytes alone, tables included."""
    folder = packed(checkpoint, tmp_path / "packed", quantization, change)
    assert faults(prove(loaded(folder, quantization), ProveContent())) == ({} if text is None else {WEIGHT: text})


@pytest.mark.parametrize("threshold", [0.0, 1e9])
def test_a_layer_in_int8_that_holds_other_inputs_back_is_found(checkpoint: Path, threshold: float) -> None:
    model = loaded(checkpoint, Quantization.INT8)
    assert faults(prove(model, ProveContent())) == {}
    model.model.get_submodule(LAYER).state.threshold = threshold
    text = f"it holds inputs from {threshold:g} on back in 16 bit, and from 6 was asked for"
    assert faults(prove(model, ProveContent())) == {WEIGHT: text}


def test_the_threshold_is_the_entrys_or_the_files(checkpoint: Path, tmp_path: Path) -> None:
    options = {"quantization_config": {"llm_int8_threshold": 4.0}}
    model = loaded(checkpoint, Quantization.INT8, load_options=options)
    assert faults(prove(model, ProveContent())) == {}
    model.model.save_pretrained(tmp_path / "packed")
    for file in checkpoint.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "packed")
    again = loaded(tmp_path / "packed", Quantization.INT8)
    assert again.model.get_submodule(LAYER).state.threshold == 4.0
    assert faults(prove(again, ProveContent())) == {}


def with_up_proj(source: Path, folder: Path, changed: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """A copy of the checkpoint, with the layer's weights changed in their file."""
    shutil.copytree(source, folder)
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        if WEIGHT in tensors:
            tensors[WEIGHT] = changed(tensors[WEIGHT])
            save_file(tensors, file, metadata={"format": "pt"})
    return folder


def worst(content: Content) -> float:
    (found,) = (tensor for tensor in content.tensors if tensor.name == WEIGHT)
    assert found.excess is not None
    assert not found.fault
    return found.excess


def state_of(model: LoadedModel) -> Any:
    return model.model.get_submodule(LAYER).weight.quant_state


# Scales that are alike, and blocks of zeros ---------------------------------------------------------------------------


def alike(matrix: torch.Tensor) -> torch.Tensor:
    """Every block has the same largest weight, as in a layer that was begun with one magnitude."""
    return torch.full_like(matrix, 0.5) * torch.where(matrix < 0, -1, 1)


def first_block_empty(matrix: torch.Tensor) -> torch.Tensor:
    """As in a pruned layer."""
    out = matrix.clone()
    out[0] = 0
    return out


@pytest.fixture(params=[torch.zeros_like, alike, first_block_empty], ids=["zeros", "alike", "first block empty"])
def even(request: pytest.FixtureRequest, checkpoint: Path, tmp_path: Path) -> Path:
    """The checkpoint with another matrix, which is sound."""
    return with_up_proj(checkpoint, tmp_path / "even", request.param)


def first_codes(form: Any, blocks: slice) -> None:
    """Let some blocks have the first code everywhere: what bitsandbytes' kernel for GPUs gives where it divides by the
    zero that is the largest weight of a block (its 1 / absmax is infinite, and zero times that no number)."""
    form.data.view(-1)[blocks.start * 32 : blocks.stop * 32] = 0


@pytest.mark.parametrize("quantization", [Quantization.NF4, Quantization.NF4_DQ])
def test_blocks_of_zeros_unpack_to_zero_whatever_their_codes_are(
    checkpoint: Path, tmp_path: Path, quantization: Quantization
) -> None:
    def change(weights: torch.Tensor) -> torch.Tensor:
        weights.view(-1)[: 2 * 64] = 0.0
        return weights

    model = loaded(with_up_proj(checkpoint, tmp_path / "zeros", change), quantization)
    weight = model.model.get_submodule(LAYER).weight
    first_codes(weight, slice(0, 2))
    assert worst(prove(model, ProveContent())) < MOST_EXCESS
    # Of any other block the same is damage.
    first_codes(weight, slice(2, 3))
    assert worst(prove(model, ProveContent())) > MOST_EXCESS


def test_scales_that_are_all_alike_unpack_to_their_mean_whatever_their_codes_are(
    checkpoint: Path, tmp_path: Path
) -> None:
    """Without their mean they are a group of zeros, in which the kernel for GPUs gives the first code as well."""

    def change(weights: torch.Tensor) -> torch.Tensor:
        weights.view(-1, 64)[:, 0] = 0.5
        return weights

    model = loaded(with_up_proj(checkpoint, tmp_path / "alike", change), Quantization.NF4_DQ)
    state = model.model.get_submodule(LAYER).weight.quant_state
    assert float(state.state2.absmax.max()) == 0.0
    state.absmax.fill_(0)
    assert worst(prove(model, ProveContent())) < MOST_EXCESS


@pytest.mark.parametrize("quantization", [Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ], ids=str)
def test_scales_that_are_alike_and_blocks_of_zeros_are_sound(even: Path, quantization: Quantization) -> None:
    """Nested scales that are all alike have a spread of zero, which no code of theirs moves."""
    content = prove(loaded(even, quantization), ProveContent())
    assert faults(content) == {}
    assert worst(content) <= MOST_EXCESS


@pytest.mark.parametrize("even", [alike], indirect=True, ids=["alike"])
def test_scales_that_are_alike_are_still_held_against_the_weights(even: Path) -> None:
    for part, value in (("offset", 0.51), ("absmax", 0.01)):
        model = loaded(even, Quantization.NF4_DQ)
        state = state_of(model)
        (state if part == "offset" else state.state2).__dict__[part].fill_(value)
        assert worst(prove(model, ProveContent())) > MOST_EXCESS, part


@pytest.mark.parametrize("even", [first_block_empty], indirect=True, ids=["first block empty"])
def test_the_codes_of_a_block_of_zeros_count_where_its_scale_is_not_zero(even: Path) -> None:
    """Kernels differ in the code that they write for zero over zero; times a scale of zero each is zero."""
    for quantization, scale, is_sound in (
        (Quantization.NF4, 0.0, True),
        (Quantization.NF4, 1e-4, False),
        (Quantization.NF4_DQ, None, True),
    ):
        model = loaded(even, quantization)
        model.model.get_submodule(LAYER).weight.data.view(-1)[:32] = 0
        if scale is not None:
            state_of(model).absmax[0] = scale
        assert (worst(prove(model, ProveContent())) <= MOST_EXCESS) is is_sound, (quantization, scale)
