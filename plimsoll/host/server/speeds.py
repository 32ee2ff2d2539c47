"""Measures the speeds on which a load depends: from disk, from the page cache, to the GPU, and of packing.

Measured just before the loads that are judged by it, on the first bytes of the very checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from bitsandbytes.nn.modules import Int8Params, Params4bit

from plimsoll import clock
from plimsoll.catalogue.entries import Quantization
from plimsoll.host.protocol import LoadSpec, Speeds
from plimsoll.host.server.checkpoint import locate
from plimsoll.host.server.page_cache import prepare

_SAMPLE: Final = 256 * 2**20
"""Bytes that are read: enough for a disk to come to speed, and little beside a load."""
_CHUNK: Final = 4 * 2**20
_SIDE: Final = 2048
"""Rows and columns of the block that is copied and packed."""


def measure(spec: LoadSpec) -> Speeds:
    """The speeds for one load. Raises LoadFailed where the checkpoint is not on this disk, OSError for an unreadable
    file."""
    checkpoint = locate(spec.checkpoint, spec.revision, allow_pickle=spec.allow_pickle)
    files = () if checkpoint is None else checkpoint.files
    prepare(files, "cold")
    disk = _reading(files)
    block = torch.randn(_SIDE, _SIDE, dtype=torch.bfloat16)
    return Speeds(
        disk=disk,
        memory=_reading(files),
        link=None if spec.device == "cpu" else _rate(block.nbytes, lambda: _copy(block, spec.device)),
        packing=_rate(block.numel(), lambda: _pack(block, spec)) if spec.quantization.is_quantized else None,
    )


def _reading(files: tuple[Path, ...]) -> float:
    """Bytes a second over the first bytes of the files."""
    buffer = bytearray(_CHUNK)
    began, done = clock.monotonic(), 0
    for file in files:
        with file.open("rb", buffering=0) as handle:
            while done < _SAMPLE and (count := handle.readinto(buffer)):
                done += count
    return done / max(clock.monotonic() - began, 1e-9)


def _rate(amount: int, work: Callable[[], None]) -> float:
    """So much a second, after a first time that pulls in what it needs."""
    work()
    began = clock.monotonic()
    work()
    return amount / max(clock.monotonic() - began, 1e-9)


def _copy(block: torch.Tensor, device: str) -> None:
    block.to(device)
    torch.cuda.synchronize(device)


def _pack(block: torch.Tensor, spec: LoadSpec) -> None:
    if spec.quantization is Quantization.INT8:
        Int8Params(block.half(), requires_grad=False).to(spec.device)  # type: ignore[misc]  # their self is untyped
    else:
        double = spec.quantization is Quantization.NF4_DQ
        Params4bit(block, requires_grad=False, quant_type="nf4", compress_statistics=double).to(spec.device)  # type: ignore[misc]  # their self is untyped
    if spec.device != "cpu":
        torch.cuda.synchronize(spec.device)
