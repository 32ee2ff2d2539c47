"""Computes the logits of unquantized weights, with only one part of the model in memory at a time.

accelerate can leave every weight where it lies in the checkpoint and bring it in for the moment in which its module
computes. The arithmetic is that of a whole model, to the bit, and takes one reading of the checkpoint; only what
transformers has to convert, such as experts that files keep apart, is written to a folder first.

Some classes read a weight while its module does not compute: Gemma 4 the row of a token, Llama 4 where the embedding
lies. Their weights are loaded as a whole, where there is room for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import torch
from torch import nn

from plimsoll.host.protocol import LoadSpec, MakeReference, Scored
from plimsoll.host.server import generation, loading
from plimsoll.host.server.failures import LoadFailed, LoadFailure, NotStreamedError
from plimsoll.host.server.load_options import read_configuration
from plimsoll.host.server.predict.coverage import skeleton_of
from plimsoll.node.probe import read_memory
from plimsoll.units import format_bytes

_DISK: Final = "disk"
_META: Final = "meta"
"""How torch calls a weight that is elsewhere, in every error about one."""
_ROOM: Final = 1.1
"""Of the bytes of weights: what is computed beside them takes little."""


def make(request: MakeReference) -> Scored:
    """Bring each part in when it is its turn, and save the logits; weights that are made up come as a whole, and only
    few layers of them are ever compared. Raises what loading raises."""
    spec = request.spec
    if spec.is_synthetic:
        return generation.score(loading.load(spec, "as-is"), request.score)
    options = {**spec.load_options, "offload_folder": request.scratch}
    loaded = loading.load(replace(spec, device_map=streaming_map(spec), load_options=options), "as-is")
    try:
        return generation.score(loaded, request.score)
    except RuntimeError as error:
        if _META not in str(error):
            raise
        found = " ".join(str(error).split())
    weights = sum(parameter.numel() * parameter.element_size() for parameter in loaded.model.parameters())
    del loaded
    return _whole(request, weights, found)


def _whole(request: MakeReference, weights: int, found: str) -> Scored:
    """The same of a model that is loaded at once. Raises NotStreamedError where it would not fit."""
    spec = request.spec
    place = "the machine" if spec.device == "cpu" else spec.device
    free = read_memory()[0].available if spec.device == "cpu" else torch.cuda.mem_get_info(spec.device)[0]
    needed = int(weights * _ROOM)
    if free < needed:
        raise NotStreamedError(free=f"{format_bytes(free)} free on {place}", needed=format_bytes(needed), found=found)
    try:
        loaded = loading.load(replace(spec, device_map=None), "as-is")
    except LoadFailed as failure:
        if failure.kind is not LoadFailure.MEMORY:
            raise
        raise NotStreamedError(free=f"too little on {place}", needed=format_bytes(needed), found=found) from failure
    return generation.score(loaded, request.score)


def streaming_map(spec: LoadSpec) -> dict[str, str]:
    """A device map that leaves all on the disk but the smallest module, which says where the others compute."""
    if spec.device == "cpu":
        return {"": _DISK}
    remote = spec.trust_remote_code
    model = skeleton_of(
        read_configuration(spec), spec.auto_class, spec.quantization.compute_dtype, trust_remote_code=remote
    )
    _, anchor = min(_modules(model))
    return dict(_beside(model, anchor, spec.device))


def _modules(model: nn.Module) -> Iterator[tuple[int, str]]:
    """The size and name of each module that has parameters and no parts."""
    for name, module in model.named_modules():
        own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if own and name and not any(True for _ in module.children()):
            yield own, name


def _beside(model: Any, anchor: str, device: str) -> Iterator[tuple[str, str]]:
    """Every part on the disk, in pieces as large as they can be without the anchor."""
    prefix, module = "", model
    for part in anchor.split("."):
        for name, _ in module.named_children():
            if name != part:
                yield f"{prefix}{name}", _DISK
        for name, _ in module.named_parameters(recurse=False):
            yield f"{prefix}{name}", _DISK
        prefix, module = f"{prefix}{part}.", getattr(module, part)
    yield anchor, device
