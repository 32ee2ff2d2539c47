"""Linux calls for hosts; elsewhere they do nothing."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36
_MMAP_THRESHOLD: Final = -3
_LARGE_BLOCK: Final = 2**20
_OOM_SCORE: Final = "500"
"""Added to a host's badness, in thousandths of the memory: of two like processes the host goes, not pytest."""


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that they can be found and reaped."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """The name that `top` shows, at most 15 bytes."""
    _prctl(_PR_SET_NAME, ctypes.create_string_buffer(name.encode()[:15]))


def be_first_to_go() -> None:
    """When memory runs out, the kernel should end this process and not the one that reports it."""
    if sys.platform == "linux":
        with suppress(OSError):  # /proc may be missing or read-only in a container
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


def return_freed_memory() -> None:
    """Have glibc give back to the system what it keeps for later; other C libraries do without being asked."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def map_large_blocks() -> None:
    """Have glibc take every block of a megabyte or more from the system, and give it back as soon as it is freed.

    It decides anew with each block that is freed, and may come to keep hundreds of megabytes between those in use: a
    peak of memory is then another one in each process.
    """
    if sys.platform == "linux":
        option = getattr(ctypes.CDLL(None), "mallopt", None)
        if option is not None:
            option(_MMAP_THRESHOLD, _LARGE_BLOCK)


_SHARED_OUT: Final = 2**20
"""Numbers that torch adds to with all of its threads."""


def limit_memory(size: int) -> None:
    """Let this process take so many bytes more than it has, and no more: what asks for them gets an error where the
    kernel would otherwise end a process. Mappings of files that could be written to count, as those of weights do.

    torch's threads are started first, and transformers reads without any of its own: where there is no room for the
    stack of one, nobody speaks of memory. Raises OSError where the system sets no such limit.
    """
    import resource

    import torch

    torch.zeros(_SHARED_OUT).add_(1)
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    held = next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:")), 0)
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (held + size, most))


def _prctl(option: int, argument: int | ctypes.Array[ctypes.c_char]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(argument) if isinstance(argument, int) else argument, 0, 0, 0)
