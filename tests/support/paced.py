"""Times what a device computes by the work itself, in hosts that stand for GPUs of a given speed. Imports no pytest.

Products and copies are really made, and what comes out is checked as ever; but the seconds of a round are those that a
GPU would take for the operations and bytes that were counted while it ran. So a test can say that one device of eight
is slower, on a machine whose own speed changes from moment to moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from plimsoll.host.server import device_speed

OPERATIONS: Final = 730e12
"""A second, of bf16 products on a sound H100 (huggingface/gpu-fryer)."""
BYTES: Final = 2.9e12
"""A second, read and written, of its memory (stas00/ml-engineering)."""


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Adds up the seconds that a device of that speed would take."""

    def __init__(self, share: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._share = share
        self.seconds = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.mm.default:
            self.seconds += 2 * args[0].numel() * args[1].shape[1] / (OPERATIONS * self._share)
        elif func is torch.ops.aten.copy_.default:
            self.seconds += 2 * args[0].nbytes / (BYTES * self._share)
        return func(*args, **(kwargs or {}))


def pace(share: float) -> None:
    """Let this host be a GPU of that share of a sound one's speed from now on."""

    def timed(device: torch.device, work: Callable[[], object], rounds: int) -> list[float]:
        seconds: list[float] = []
        for _ in range(rounds):
            with _Counted(share) as counted:
                work()
            assert counted.seconds, "no operation that is counted was run"
            seconds.append(counted.seconds)
        return seconds

    device_speed._timed = timed
