"""A header that declares another number format over the same bytes, which the load and the comparison both believe."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.protocol import Content, ProveContent
from plimsoll.host.server.content.declared import layer_of, lone_eighths, mixed_halves
from plimsoll.host.server.content.proof import prove
from plimsoll.host.server.loading import load
from tests.support.broken_checkpoints import rewrite
from tests.support.random_checkpoints import load_spec, save_checkpoint

MATRIX = "model.layers.1.mlp.up_proj.weight"
NORM = "model.layers.0.input_layernorm.weight"
Checkpoint = Callable[[str], Path]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    root = tmp_path_factory.mktemp("checkpoints")
    return lambda family: root / family if (root / family).exists() else save_checkpoint(family, root / family)


def declaring(source: Path, folder: Path, kinds: Callable[[str], str | None]) -> Path:
    """A copy whose headers declare other formats; `kinds` says of a tensor's name which, None to leave it."""

    def change(name: str, entry: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        return {**entry, "dtype": kinds(name) or entry["dtype"]}, content

    shutil.copytree(source, folder)
    rewrite(folder, change)
    return folder


def proved(folder: Path, family: str, quantization: Quantization) -> Content:
    return prove(load(load_spec(folder, family, quantization), "as-is"), ProveContent())


def faults(content: Content) -> dict[str, str]:
    return {tensor.name: tensor.fault for tensor in content.tensors if tensor.fault}


@pytest.mark.parametrize("quantization", [Quantization.BF16, Quantization.INT8, Quantization.NF4_DQ], ids=str)
@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        (MATRIX, "F16", f"the file declares {MATRIX} as float16, and what else there is of model.layers.1 as bfloat16"),
        (MATRIX, "I16", f"the file declares {MATRIX} as int16, and a weight in floats is no integer"),
        (NORM, "F16", f"the file declares {NORM} as float16, and what else there is of model.layers.0 as bfloat16"),
        ("lm_head.weight", "F16", "the file declares lm_head.weight as float16, and every layer as bfloat16"),
    ],
)
def test_one_tensor_that_is_declared_otherwise_is_found(
    checkpoint: Checkpoint, tmp_path: Path, name: str, kind: str, text: str, quantization: Quantization
) -> None:
    folder = declaring(checkpoint("llama"), tmp_path / "copy", lambda each: kind if each == name else None)
    found = faults(proved(folder, "llama", quantization))
    assert found.keys() == {name}
    assert found[name].startswith(text)


def test_one_expert_that_is_declared_otherwise_is_found_in_what_it_becomes_a_part_of(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    source = checkpoint("mixtral")

    def kinds(name: str) -> str | None:
        return "F16" if ".layers.0." in name and ".experts.2." in name and "w2" in name else None

    found = faults(proved(declaring(source, tmp_path / "copy", kinds), "mixtral", Quantization.BF16))
    assert [(name, ".experts.2.w2.weight as float16" in text) for name, text in found.items()] == [
        ("model.layers.0.mlp.experts.down_proj", True)
    ]


def test_bfloat16_among_float16_is_found_as_well(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = declaring(checkpoint("llama"), tmp_path / "copy", lambda name: None if name == MATRIX else "F16")
    assert faults(proved(folder, "llama", Quantization.BF16)).keys() == {MATRIX}


@pytest.mark.parametrize("kept", ["norms in float32", "a layer of another model", "all in float16"])
def test_what_sound_checkpoints_mix_is_no_fault(checkpoint: Checkpoint, tmp_path: Path, kept: str) -> None:
    folder = tmp_path / "copy"
    if kept == "norms in float32":
        shutil.copytree(checkpoint("llama"), folder)

        def widen(name: str, entry: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
            if "norm" not in name:
                return entry, content
            values = torch.frombuffer(bytearray(content), dtype=torch.bfloat16).float()
            return {**entry, "dtype": "F32"}, values.numpy().tobytes()

        rewrite(folder, widen)
    else:
        other = "model.layers.0." if kept == "a layer of another model" else ""
        declaring(checkpoint("llama"), folder, lambda name: "F16" if name.startswith(other) else None)
    assert faults(proved(folder, "llama", Quantization.BF16)) == {}


BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32


@pytest.mark.parametrize(
    ("kinds", "wrong"),
    [
        ({"vision.blocks.0.w": F16, "vision.patch": F16, "text.layers.0.w": BF16, "lm_head": BF16}, set()),
        ({"text.layers.0.w": BF16, "text.layers.0.router": F32, "norm": F32, "lm_head": BF16}, set()),
        ({"a.0.w": BF16, "a.0.v": F16, "a.1.w": BF16, "a.1.v": BF16}, {"a.0.v"}),
        ({"embed": BF16, "norm": BF16, "head": F16}, {"head"}),
        ({"a.0.w": F32, "embed": F16}, set()),
        ({}, set()),
    ],
)
def test_formats_mix_between_layers_and_not_within_one(kinds: Mapping[str, torch.dtype], wrong: set[str]) -> None:
    assert mixed_halves(kinds).keys() == wrong


def test_a_layer_is_what_a_name_says_up_to_its_first_number() -> None:
    assert layer_of("model.layers.3.mlp.experts.5.up_proj.weight") == "model.layers.3"
    assert layer_of("model.embed_tokens.weight") is None


def as_eighths(source: Path, folder: Path, those: Callable[[str], bool]) -> Path:
    """A copy in which some tensors are cast to float8, with no scale beside them."""

    def change(name: str, entry: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        if not those(name):
            return entry, content
        cast = torch.frombuffer(bytearray(content), dtype=torch.bfloat16).to(torch.float8_e4m3fn)
        return {**entry, "dtype": "F8_E4M3"}, cast.view(torch.uint8).numpy().tobytes()

    shutil.copytree(source, folder)
    rewrite(folder, change)
    return folder


@pytest.mark.parametrize("quantization", [Quantization.BF16, Quantization.INT8, Quantization.NF4], ids=str)
def test_one_matrix_in_8_bits_without_scales_is_found(
    checkpoint: Checkpoint, tmp_path: Path, quantization: Quantization
) -> None:
    folder = as_eighths(checkpoint("llama"), tmp_path / "copy", lambda name: name == MATRIX)
    found = faults(proved(folder, "llama", quantization))
    assert found.keys() == {MATRIX}
    assert found[MATRIX].startswith(f"the file declares {MATRIX} as float8_e4m3fn, and most tensors as wider ones")


def test_a_checkpoint_that_was_cast_to_8_bits_as_a_whole_is_sound(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = as_eighths(checkpoint("llama"), tmp_path / "copy", lambda name: "norm" not in name)
    assert faults(proved(folder, "llama", Quantization.BF16)) == {}


def test_8_bits_beside_their_scales_are_a_scheme() -> None:
    kinds = {
        "a.weight": torch.float8_e4m3fn,
        "a.weight_scale_inv": torch.float32,
        "b.weight": torch.float8_e4m3fn,
        "c.weight": torch.bfloat16,
        "norm.weight": torch.bfloat16,
    }
    assert lone_eighths(kinds).keys() == {"b.weight"}
