"""Joins this process to a group of ranks, and leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist

from plimsoll.errors import PlimsollError

_TIMEOUT: Final = timedelta(minutes=2)
"""How long a rank waits for the others before it gives up."""


@contextmanager
def joined(backend: str, rank: int, ranks: int, meeting: str, device: str) -> Iterator[None]:
    """Be one of the ranks for a while, on a device `cpu` or `cuda:1`; `meeting` says how they find each
    other, `env://` or `file://...`.

    Raises PlimsollError where the ranks do not find each other or the library that joins them fails.
    """
    try:
        dist.init_process_group(
            backend,
            init_method=meeting,
            rank=rank,
            world_size=ranks,
            timeout=_TIMEOUT,
            # Else NCCL guesses which GPU it is to meet the others with.
            device_id=torch.device(device) if device.startswith("cuda") else None,
        )
    except (RuntimeError, ValueError) as error:
        raise PlimsollError(f"rank {rank} of {ranks} did not join by {backend}: {error}") from None
    try:
        yield
    except RuntimeError as error:
        raise PlimsollError(f"rank {rank} of {ranks}, {backend}: {error}") from error
    finally:
        dist.destroy_process_group()
