"""Giving a model's memory back: to torch's allocators, to the C library, and by it to the system."""

from __future__ import annotations

import gc

import psutil
import torch

from plimsoll.hosted import linux


def resident() -> int:
    """Resident memory of this process, bytes."""
    return int(psutil.Process().memory_info().rss)


def release() -> None:
    """Return what nothing refers to any more. Hooks tie a model into reference cycles, so collect first."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    linux.return_freed_memory()
