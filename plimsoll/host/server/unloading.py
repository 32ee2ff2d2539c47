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
    """Bytes of the storages of all tensors that the collector knows, each storage once; packed weights are of classes
    of their own."""
    storages = {}
    for thing in gc.get_objects():
        # Not isinstance: proxies answer it for what they stand for, and load that.
        if issubclass(type(thing), torch.Tensor) and thing.device.type == "cpu":
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
