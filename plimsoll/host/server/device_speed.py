"""Measures how fast a device multiplies and moves bytes, and whether what comes out is right.

Random numbers: a GPU computes zeros up to an eighth faster, and proves less. The clock of a GPU is its own events,
since the processor's would time the queue.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch

from plimsoll import clock
from plimsoll.errors import PlimsollError
from plimsoll.host.rates import MeasureLink, MeasureMatmul, MeasureMemory, MeasurePeer, Rates, worst_error
from plimsoll.units import format_bytes

_WARM_UP: Final = 0.4
"""Seconds of work before a GPU is timed: clocks rise in a fraction of that."""
_PCI: Final = Path("/sys/bus/pci/devices")
_CHECKED_ROWS: Final = 4
_CHECKED_COLUMNS: Final = 64
"""The corner of a product that is computed again in float64 on the processor."""


def matmul(request: MeasureMatmul) -> Rates:
    """The rate of matrix products in operations a second, with the error of one corner of the last product.

    Raises PlimsollError where torch cannot multiply this dtype on this device.
    """
    device = torch.device(request.device)
    found: dict[str, tuple[float, ...]] = {}
    errors = []
    for side in request.sides:
        left, right, multiply = _factors(request.dtype, side, device)
        with _float32_products("tf32" if request.dtype == "tf32" else "ieee"):
            try:
                product = multiply()
            except (RuntimeError, NotImplementedError) as error:
                told = str(error).strip().splitlines()[0]
                raise PlimsollError(f"torch cannot multiply {request.dtype} on {device}: {told}") from None
            errors.append(_error(product, left, right))
            seconds = _timed(device, multiply, request.rounds)
        found[" x ".join([str(side)] * 3)] = tuple(2.0 * side**3 / each for each in seconds)
    return best_of(found, worst_error(errors))


def memory(request: MeasureMemory) -> Rates:
    """The rate of copies inside the device's memory, bytes read and bytes written a second."""
    device = torch.device(request.device)
    found: dict[str, tuple[float, ...]] = {}
    for size in request.sizes:
        try:
            source = _random_bytes(size, device)
            target = torch.empty_like(source)
        except torch.OutOfMemoryError:
            if not found:
                raise
            break  # a model that stays loaded beside it leaves no room for larger ones
        found[format_bytes(size)] = _moved(device, source, target, request.rounds, counted=2)
    return best_of(found)


def link(request: MeasureLink) -> Rates:
    """The rate of copies between RAM and the device, bytes a second."""
    device = torch.device(request.device)
    found = {}
    with _beside(device):
        for size in request.sizes:
            near = _random_bytes(size, torch.device("cpu"))
            if request.pinned:
                near = near.pin_memory()
            far = _random_bytes(size, device)
            source, target = (near, far) if request.to_device else (far, near)
            found[format_bytes(size)] = _moved(device, source, target, request.rounds)
    return best_of(found)


@contextmanager
def _beside(device: torch.device) -> Iterator[None]:
    """Run on the cores that stand nearest to a GPU, so that its blocks of RAM lie there too: from the memory of another
    socket copies are slower, and that says nothing of the GPU's own link. Without an answer, where the system likes."""
    near = _near_cores(device)
    allowed = os.sched_getaffinity(0) if near else set()
    if not near & allowed:
        yield
        return
    os.sched_setaffinity(0, near & allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _near_cores(device: torch.device) -> set[int]:
    """The cores of the GPU's own node of memory, by the kernel; none where it does not say."""
    if device.type != "cuda":
        return set()
    told = torch.cuda.get_device_properties(device)
    place: list[Any] = [getattr(told, f"pci_{part}_id", None) for part in ("domain", "bus", "device")]
    if None in place:
        return set()  # an older torch does not tell
    file = _PCI / "{:04x}:{:02x}:{:02x}.0".format(*place) / "local_cpulist"
    try:
        listed = file.read_text(encoding="ascii").strip()
    except OSError:
        return set()
    ends = [part.partition("-") for part in listed.split(",") if part]
    return {core for first, _, last in ends for core in range(int(first), int(last or first) + 1)}


def peer(request: MeasurePeer) -> Rates:
    """The rate of copies from one device to another, bytes a second, one way."""
    source_device, target_device = torch.device(request.source), torch.device(request.target)
    found = {}
    for size in request.sizes:
        source = _random_bytes(size, source_device)
        target = torch.empty_like(source, device=target_device)
        found[format_bytes(size)] = _moved(target_device, source, target, request.rounds)
    return best_of(found)


def best_of(found: Mapping[str, Sequence[float]], error: float | None = None) -> Rates:
    """The rates at the size with the highest median."""
    medians = {size: median(rates) for size, rates in found.items()}
    best = max(medians, key=medians.__getitem__)
    return Rates(best=best, rounds=tuple(found[best]), medians=medians, error=error)


def _moved(
    device: torch.device, source: torch.Tensor, target: torch.Tensor, rounds: int, counted: int = 1
) -> tuple[float, ...]:
    """Bytes a second of each round. Raises PlimsollError where other bytes arrive than were sent."""
    seconds = _timed(device, lambda: target.copy_(source, non_blocking=True), rounds)
    if not torch.equal(target.cpu(), source.cpu()):
        raise PlimsollError(
            f"a copy of {format_bytes(source.nbytes)} from {source.device} to {target.device} came out with other bytes"
        )
    return tuple(counted * source.nbytes / each for each in seconds)


def _random_bytes(size: int, device: torch.device) -> torch.Tensor:
    generator = torch.Generator(device=device).manual_seed(size)
    # To draw eight bytes at once takes a processor as long as to draw one.
    least, most = -(2**63), 2**63 - 1
    words = torch.randint(least, most, (-(-size // 8),), dtype=torch.int64, device=device, generator=generator)
    return words.view(torch.uint8)[:size]


_Factors = tuple[torch.Tensor, torch.Tensor, Callable[[], torch.Tensor]]


def _factors(dtype: str, side: int, device: torch.device) -> _Factors:
    """Two factors and how torch multiplies them."""
    generator = torch.Generator(device=device).manual_seed(side)
    shape = (side, side)
    if dtype == "int8":
        left, right = (
            torch.randint(-127, 128, shape, dtype=torch.int8, device=device, generator=generator) for _ in range(2)
        )
        # cuBLAS wants the second factor column by column.
        columns = right.t().contiguous().t()
        return left, columns, lambda: torch._int_mm(left, columns)  # noqa: SLF001  torch has no public name for it
    drawn = [torch.randn(shape, device=device, generator=generator) for _ in range(2)]
    if dtype == "fp8":
        left, right = (each.to(torch.float8_e4m3fn) for each in drawn)
        columns, one = right.t().contiguous().t(), torch.ones((), device=device)
        scaled: Any = torch._scaled_mm  # noqa: SLF001  as above
        return left, columns, lambda: scaled(left, columns, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    names = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "tf32": torch.float32}
    left, right = (each.to(names[dtype]) for each in drawn)
    return left, right, lambda: left @ right


@contextmanager
def _float32_products(precision: str) -> Iterator[None]:
    """Let GPUs multiply float32 as `tf32` or as `ieee`, and have it as it was afterwards."""
    settings: Any = torch.backends.cuda.matmul
    # torch before 2.9 knows no precisions by name.
    name, value = ("fp32_precision", precision) if _names_precisions(settings) else ("allow_tf32", precision == "tf32")
    before = getattr(settings, name)
    setattr(settings, name, value)
    try:
        yield
    finally:
        setattr(settings, name, before)


def _names_precisions(settings: Any) -> bool:
    try:
        return settings.fp32_precision is not None
    except AttributeError:
        return False


def _error(product: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> float:
    """Of a corner of the product: root mean square of the difference over that of the right values."""
    rows, columns = left[:_CHECKED_ROWS].double().cpu(), right[:, :_CHECKED_COLUMNS].double().cpu()
    expected = rows @ columns
    found = product[:_CHECKED_ROWS, :_CHECKED_COLUMNS].double().cpu()
    return float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt())


def _timed(device: torch.device, work: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each round, after the work has been done often enough for clocks to have risen."""
    if device.type != "cuda":
        work()
        return [_by_clock(work) for _ in range(rounds)]
    torch.cuda.synchronize(device)
    began = clock.monotonic()
    while clock.monotonic() - began < _WARM_UP:
        work()
        torch.cuda.synchronize(device)
    with torch.cuda.device(device):
        return [_by_events(device, work) for _ in range(rounds)]


def _by_clock(work: Callable[[], object]) -> float:
    began = clock.monotonic()
    work()
    return max(clock.monotonic() - began, 1e-9)


def _by_events(device: torch.device, work: Callable[[], object]) -> float:
    event: Any = torch.cuda.Event
    start, end = event(enable_timing=True), event(enable_timing=True)
    start.record()
    work()
    end.record()
    torch.cuda.synchronize(device)
    return max(float(start.elapsed_time(end)) / 1e3, 1e-9)
