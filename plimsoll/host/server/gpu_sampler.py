"""Samples the memory of GPUs beside a host's work, every 10 ms, and keeps itself below 1 % of a core.

What it costs is measured and told: where a driver answers slowly, samples come further apart instead of dearer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from plimsoll import clock

INTERVAL: Final = 0.01
"""Seconds between two looks where they are cheap enough."""
BUDGET: Final = 0.009
"""Part of a core that sampling may take, a little below the 1 % that is promised."""
_CLOSELY: Final = 25
"""Every so many looks one is closer: the list of processes costs a driver much more than the memory in use."""
_MOST_POINTS: Final = 240
"""Points of a series; of more, every second one is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Bytes at one moment; None for what was not asked or not answered."""

    device: int | None
    process: int | None = None
    allocated: int | None = None
    reserved: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What sampling took: the part of a core, and the seconds between samples that it came to."""

    share: float | None
    interval: float | None


Point = tuple[float, int | None, int | None, int | None, int | None]


class _Track:
    """One device over time: the highest of each figure, and a series that is thinned as it grows."""

    def __init__(self) -> None:
        self.device_peak: int | None = None
        self.process_peak: int | None = None
        self.points: list[Point] = []
        self._waiting: list[Point] = []
        self._every = 1

    def take(self, seconds: float, look: Look) -> None:
        self.device_peak = higher(self.device_peak, look.device)
        self.process_peak = higher(self.process_peak, look.process)
        # The highest of so many stands for them: a peak must not be thinned away.
        self._waiting.append((round(seconds, 3), look.device, look.process, look.allocated, look.reserved))
        if len(self._waiting) < self._every:
            return
        self.points.append(_highest(self._waiting))
        self._waiting = []
        if len(self.points) > _MOST_POINTS:
            self.points = [_highest(self.points[place : place + 2]) for place in range(0, len(self.points), 2)]
            self._every *= 2

    @property
    def series(self) -> tuple[Point, ...]:
        """What was kept, and the highest of what waits to be."""
        return (*self.points, *([_highest(self._waiting)] if self._waiting else []))


class GpuSampler:
    """The thread and its tracks, one for each device; `looks` and `closely` are asked in turns."""

    def __init__(
        self,
        looks: Sequence[Callable[[], Look]],
        closely: Sequence[Callable[[], Look]],
        interval: float = INTERVAL,
        budget: float = BUDGET,
    ) -> None:
        self._looks, self._closely = looks, closely
        self._interval, self._budget = interval, budget
        self._tracks = [_Track() for _ in looks]
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._spent, self._count = 0.0, 0
        self._began = clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="plimsoll-gpu-sampler", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._began = clock.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Safe to call again, and where it was never started."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def track(self, place: int) -> dict[str, Any]:
        """The peaks and the series of one device, with a last look, as fields of a GpuMemory."""
        self._take(place, self._closely[place]())
        with self._lock:
            track = self._tracks[place]
            return {
                "device_peak": track.device_peak,
                "process_peak": track.process_peak,
                "series": track.series,
            }

    def cost(self) -> Cost:
        """What sampling has taken so far; nothing known before the first sample."""
        with self._lock:
            seconds = clock.monotonic() - self._began
            if not self._count or seconds <= 0:
                return Cost(share=None, interval=None)
            return Cost(share=self._spent / seconds, interval=seconds / self._count)

    def _run(self) -> None:
        """Sleep as long as the last look was dear."""
        pause, number, before = self._interval, 0, 0.0
        while not self._done.wait(pause):
            number += 1
            for place, look in enumerate(self._closely if number % _CLOSELY == 0 else self._looks):
                self._take(place, look())
            # All that the thread has taken since it began, with what waking up costs.
            spent = time.thread_time()
            with self._lock:
                self._spent = spent
                self._count += 1
            pause = max(self._interval, (spent - before) / self._budget)
            before = spent

    def _take(self, place: int, look: Look) -> None:
        with self._lock:
            self._tracks[place].take(clock.monotonic() - self._began, look)


def _highest(points: Sequence[Point]) -> Point:
    return max(points, key=lambda point: point[1] or 0)


def higher(one: int | None, other: int | None) -> int | None:
    """The higher of two figures; None counts for nothing."""
    return other if one is None else one if other is None else max(one, other)
