"""Values of a checkpoint that are no numbers, which are equal to themselves and may be in a row that no text uses."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.protocol import Content, ProveContent
from plimsoll.host.server.content.original import StoredTensor, Watched, not_numbers
from plimsoll.host.server.content.proof import prove
from plimsoll.host.server.loading import load
from tests.support.random_checkpoints import load_spec, save_checkpoint

BF16, INT8, NF4, NF4_DQ = Quantization.BF16, Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ
EMBEDDING, MATRIX, NORM = "model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight"
Checkpoint = Callable[[str], Path]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    root = tmp_path_factory.mktemp("checkpoints")
    return lambda family: root / family if (root / family).exists() else save_checkpoint(family, root / family)


def with_value(source: Path, folder: Path, name: str, place: tuple[int, ...], value: float) -> Path:
    """A copy with one value, or one row, of a tensor replaced."""
    shutil.copytree(source, folder)
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        if name in tensors:
            tensors[name][place] = value
            save_file(tensors, file, metadata={"format": "pt"})
    return folder


def faults(content: Content) -> dict[str, str]:
    return {tensor.name: tensor.fault for tensor in content.tensors if tensor.fault}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("name", "place", "quantization", "first"),
    [
        (EMBEDDING, (500, 3), BF16, "row 500, place 3"),
        (EMBEDDING, (500, 3), NF4, "row 500, place 3"),
        (NORM, (5,), BF16, "row 0, place 5"),
        (MATRIX, (7, 9), BF16, "row 7, place 9"),
        (MATRIX, (7, 9), INT8, "row 7, place 9"),
        (MATRIX, (7, 9), NF4_DQ, "row 7, place 9"),
    ],
    ids=str,
)
def test_a_value_that_is_no_number_is_a_fault_of_its_tensor(
    checkpoint: Checkpoint,
    tmp_path: Path,
    name: str,
    place: tuple[int, ...],
    quantization: Quantization,
    first: str,
    value: float,
) -> None:
    folder = with_value(checkpoint("llama"), tmp_path / "copy", name, place, value)
    found = faults(prove(load(load_spec(folder, "llama", quantization), "as-is"), ProveContent()))
    text = f"the checkpoint holds 1 value that is no finite number here; the first is {value} in {first}; download"
    assert found.keys() == {name}
    assert found[name].startswith(text)


def test_a_value_of_one_expert_is_found_in_what_it_becomes_a_part_of(checkpoint: Checkpoint, tmp_path: Path) -> None:
    one = "model.layers.0.block_sparse_moe.experts.1.w2.weight"
    folder = with_value(checkpoint("mixtral"), tmp_path / "copy", one, (2, 4), math.nan)
    found = faults(prove(load(load_spec(folder, "mixtral", BF16), "as-is"), ProveContent()))
    assert found.keys() == {"model.layers.0.mlp.experts.down_proj"}


def test_a_whole_row_is_counted_once_however_often_it_is_read() -> None:
    matrix = torch.zeros(40, 6)
    matrix[21] = math.nan
    watched = Watched(StoredTensor("matrix", matrix), infinite=False)
    for start, stop in ((0, 22), (21, 23), (22, 40)):
        assert watched.rows(start, stop).shape == (stop - start, 6)
    assert "holds 6 values that are no finite numbers here; the first is nan in row 21, place 0;" in watched.fault


def test_an_infinity_is_sound_in_what_is_kept_beside_the_weights_and_a_nan_is_not() -> None:
    mask = torch.full((4, 4), -torch.inf)
    watched = Watched(StoredTensor("mask", mask), infinite=True)
    watched.rows(0, 4)
    assert not watched.fault
    mask[1, 1] = math.nan
    watched = Watched(StoredTensor("mask", mask), infinite=True)
    watched.rows(0, 4)
    assert "1 value that is no number here; the first is nan in row 1, place 1" in watched.fault


KINDS = [getattr(torch, name) for name in dir(torch) if isinstance(getattr(torch, name), torch.dtype)]


@pytest.mark.parametrize("kind", [kind for kind in dict.fromkeys(KINDS) if kind.itemsize == 1], ids=str)
def test_every_format_of_eight_bits_can_be_asked(kind: torch.dtype) -> None:
    """Each of all 256 bytes, in every format that torch has."""
    values = torch.arange(256).to(torch.uint8).view(kind)
    bad = not_numbers(values)
    holds_more = kind.is_floating_point and kind is not getattr(torch, "float4_e2m1fn_x2", None)
    assert (bad is not None) == holds_more
