"""Makes torch compute the same bits each time, while bits are compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch compute on one thread of a processor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def repeatable() -> Iterator[None]:
    """Have torch take deterministic kernels where it has them, and one thread, for on a processor their number decides
    the order of sums. Kernels that have no deterministic form stay as they are."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with one_thread():
            yield
    finally:
        torch.use_deterministic_algorithms(False)
