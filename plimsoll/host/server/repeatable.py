"""Has torch compute the same bits each time, for as long as bits are compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def repeatable() -> Iterator[None]:
    """Have torch take deterministic kernels where it has them, and one thread of a processor, whose number decides the
    order of sums. Kernels that have no deterministic form stay as they are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
