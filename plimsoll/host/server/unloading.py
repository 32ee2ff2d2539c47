"""Gives a model's memory back to torch's allocators, to the C library, and through it to the system."""

from __future__ import annotations

import gc

import torch

from plimsoll.host.server import linux


def release() -> int:
    """Return what nothing refers to any more, and say how many bytes of tensors on the CPU live on. Hooks tie a model
    into reference cycles, so collect first."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    linux.return_freed_memory()
    return _living_bytes()


def _living_bytes() -> int:
    """Bytes of the storages of all tensors that the collector knows, each storage once."""
    storages = {}
    for thing in gc.get_objects():
        if type(thing) in (torch.Tensor, torch.nn.Parameter) and thing.device.type == "cpu":
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
