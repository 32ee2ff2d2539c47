"""Computes the logits of a golden model inside a host, from the weights to the last token with the real stack.

The weights are made here, in integer arithmetic, written as a checkpoint and read by the `from_pretrained` that loads
every variant. Nothing is judged here: the controller has the numbers to compare with, and torch has no part in that.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from safetensors.torch import save_file

from plimsoll.catalogue.entries import Generation
from plimsoll.catalogue.golden import GoldenTensor
from plimsoll.host.protocol import ComputeGolden, GoldenLogits, LoadSpec
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.load_options import Architecture, pretrained_arguments, read_architecture
from plimsoll.host.server.repeatable import one_thread

_AUTO_CLASS: Final = "AutoModelForCausalLM"
_SHIFTS: Final = 3
_SEEN: Final[dict[str, Architecture]] = {}
"""The last configuration that was read."""


def _signed(number: int) -> int:
    """A 64-bit pattern as torch's int64 has it."""
    return number - (1 << 64) if number >> 63 else number


_GAMMA: Final = _signed(0x9E3779B97F4A7C15)
_FIRST: Final = _signed(0xBF58476D1CE4E5B9)
_SECOND: Final = _signed(0x94D049BB133111EB)


def _shifted(state: torch.Tensor, bits: int) -> torch.Tensor:
    """A logical shift: torch's own copies the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _seven_bits(name: str, count: int) -> torch.Tensor:
    """`count` integers of 0 to 127 that follow from the name: splitmix64 over a counter."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little", signed=True)
    state = torch.arange(1, count + 1, dtype=torch.int64) * _GAMMA + seed
    state = (state ^ _shifted(state, 30)) * _FIRST
    state = (state ^ _shifted(state, 27)) * _SECOND
    return _shifted(state ^ _shifted(state, 31), 57)


def make_tensor(family: str, tensor: GoldenTensor) -> torch.Tensor:
    """The values of one tensor, in float32; every dtype of 16 bit holds them exactly too."""
    name = f"{family}/{tensor.name}"
    count = torch.Size(tensor.shape).numel()
    drawn = _seven_bits(name, count)
    if tensor.exponent is None:
        return ((drawn + 64).float() / 128).view(tensor.shape)
    columns = tensor.shape[-1]
    shifts = (_seven_bits(f"{name}#shifts", count // columns) % _SHIFTS).repeat_interleave(columns)
    return torch.ldexp((2 * drawn - 127).float(), -(shifts + tensor.exponent)).view(tensor.shape)


@torch.inference_mode()
def compute(request: ComputeGolden) -> GoldenLogits:
    """Load the model and compute the logits in every way.

    Raises LoadFailed where the weights that were made are not all read.
    """
    # Products as small as these take longer on several threads, and far longer where workers share the cores.
    with one_thread(), tempfile.TemporaryDirectory(prefix="plimsoll-golden-") as name:
        digest = save_model(Path(name), request)
        model = load_model(Path(name), request)
        ways: dict[str, bytes] = {}
        for attention in request.attentions:
            model.set_attn_implementation(attention)
            for way, logits in _ways(model, request):
                ways[f"{attention}, {way}"] = _bytes(logits)
            # Eager attention knows no tiles, so that only its neighbour has edges to be wrong at.
            for way, logits in _long_ways(model, request) if attention in request.long_attentions else ():
                ways[f"{attention}, {way}"] = _bytes(logits)
    return GoldenLogits(weights_sha256=digest, ways=ways)


def save_model(folder: Path, request: ComputeGolden) -> str:
    """Write the checkpoint in bfloat16, as checkpoints are published; the digest over its values as float32."""
    tensors, digest = _made(request.family, request.tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {"architectures": [request.architecture], "dtype": "bfloat16", **request.config}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return digest


@lru_cache(maxsize=1)
def _made(family: str, wanted: tuple[GoldenTensor, ...]) -> tuple[dict[str, torch.Tensor], str]:
    """The weights in bfloat16, and the digest over them in float32; a family is asked for in one quantization after the
    other."""
    digest = hashlib.sha256()
    tensors = {}
    for tensor in wanted:
        values = make_tensor(family, tensor)
        digest.update(_bytes(values))
        tensors[tensor.name] = values.to(torch.bfloat16)
    return tensors, digest.hexdigest()


def load_model(folder: Path, request: ComputeGolden) -> Any:
    """Read what `save_model` wrote with the `from_pretrained` of every variant.

    Raises LoadFailed where the weights are not all read, or another class comes out.
    """
    spec = LoadSpec(
        checkpoint=str(folder),
        revision=None,
        auto_class=_AUTO_CLASS,
        architecture=request.architecture,
        quantization=request.quantization,
        device=request.device,
        device_map=None,
        attention=request.attentions[0],
        generation=Generation(max_new_tokens=1),
    )
    arguments = pretrained_arguments(spec, _architecture(spec))
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model, info = getattr(transformers, _AUTO_CLASS).from_pretrained(str(folder), **arguments)
    wrong = {kind: sorted(map(str, info[kind])) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    if any(wrong.values()):
        told = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in wrong.items() if names)
        raise LoadFailed(LoadFailure.DAMAGED, f"the golden {request.family} was not read as it was written: {told}")
    if type(model).__name__ != request.architecture:
        found = type(model).__name__
        raise LoadFailed(
            LoadFailure.OPTIONS, f"the golden {request.family} became a {found}, not {request.architecture}"
        )
    return model


def _architecture(spec: LoadSpec) -> Architecture:
    """What a load must know of the configuration, which is the same for all quantizations of a family; to build a model
    of it takes a tenth of the time for one."""
    config = (Path(spec.checkpoint) / "config.json").read_text(encoding="utf-8")
    if config not in _SEEN:
        _SEEN.clear()
        _SEEN[config] = read_architecture(spec)
    return _SEEN[config]


def _ways(model: Any, request: ComputeGolden) -> Iterator[tuple[str, torch.Tensor]]:
    texts = request.texts
    ids = torch.tensor(request.tokens, device=model.device)
    yield "whole", model(input_ids=ids, use_cache=False).logits
    yield "token by token", decoded(model, ids[:, : texts.prefix + texts.decoded], texts.prefix)
    yield "padded", _padded(model, request.tokens, texts.padded)


def _long_ways(model: Any, request: ComputeGolden) -> Iterator[tuple[str, torch.Tensor]]:
    texts = request.texts
    ids = torch.tensor([request.long_tokens], device=model.device)
    yield "long", model(input_ids=ids, use_cache=False).logits[:, list(texts.long_kept)]
    yield "long, token by token", decoded(model, ids, texts.long - texts.long_decoded)


def decoded(model: Any, ids: torch.Tensor, prefix: int) -> torch.Tensor:
    """The logits of the tokens after the prefix, given one at a time; the model itself says where each stands, as it
    does for `generate`."""
    output = model(input_ids=ids[:, :prefix], use_cache=True)
    found = []
    for token in torch.split(ids[:, prefix:], 1, dim=1):
        output = model(input_ids=token, past_key_values=output.past_key_values, use_cache=True)
        found.append(output.logits)
    return torch.cat(found, dim=1)


def _padded(model: Any, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> torch.Tensor:
    """The logits of the first tokens of each text, in one batch that is padded on the left and on the right by turns,
    without those of the padding: one row a token, text after text."""
    rows, masks = [], []
    for number, (text, length) in enumerate(zip(tokens, lengths, strict=False)):
        filler = [0] * (max(lengths) - length)
        left, right = ([], filler) if number % 2 else (filler, [])
        rows.append([*left, *text[:length], *right])
        masks.append([*left, *[1] * length, *right])
    mask = torch.tensor(masks, device=model.device)
    logits = model(
        input_ids=torch.tensor(rows, device=model.device),
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        use_cache=False,
    ).logits
    found: torch.Tensor = logits[mask.bool()]
    return found


def _bytes(values: torch.Tensor) -> bytes:
    """Little-endian float32."""
    numbers = values.detach().float().cpu().contiguous().numpy()
    return (numbers.byteswap() if sys.byteorder == "big" else numbers).tobytes()
