"""Giving a model's memory back: to torch's allocators, to the C library, and by it to the system."""

from __future__ import annotations

import gc

import torch

from plimsoll.host.server import linux


def release() -> None:
    """Return what nothing refers to any more. Hooks tie a model into reference cycles, so collect first."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    linux.return_freed_memory()
