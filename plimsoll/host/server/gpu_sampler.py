"""Samples the memory of GPUs beside a host's work, every 10 ms, and keeps itself below 1 % of a core.

What it costs is measured and told: where a driver answers slowly, samples come further apart instead of dearer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from plimsoll import clock

INTERVAL: Final = 0.01
"""Seconds between two looks where they are cheap enough."""
BUDGET: Final = 0.009
"""Part of a core that sampling may take, a little below the 1 % that is promised."""
_CLOSELY: Final = 0.25
"""Seconds between two closer looks where those are cheap enough: the list of processes costs a driver much more than
the memory in use."""
_CLOSE_PART: Final = 1 / 6
"""The part of the budget that closer looks may take: what is in use on the device changes faster."""
_TOGETHER: Final = 8
"""Cheap looks that are accounted for at once: asking the clock of a thread costs as much as a tenth of a look."""
_LONGEST_GAP: Final = 4
"""Times the steady pause that a single one may take."""
_FRESH: Final = 0.1
"""How much of the estimate of a look's cost the latest one makes."""
_MOST_POINTS: Final = 240
"""Points of a series; of more, every second one is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySample:
    """Bytes at one moment; None for what was not asked or not answered."""

    device: int | None
    process: int | None = None
    allocated: int | None = None
    reserved: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of sampling: the share of a core, and the actual seconds between samples."""

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

    def take(self, seconds: float, look: MemorySample) -> None:
        self.device_peak = higher(self.device_peak, look.device)
        self.process_peak = higher(self.process_peak, look.process)
        # The highest of so many samples is kept for all: thinning must not lose a peak.
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


class Pace:
    """When to look, and when closely, so that all looks together stay within a part of a core. Times in seconds.

    A closer look that was dear puts off the next closer one, and not the cheap ones between: a peak of a moment would
    be lost in that gap.
    """

    def __init__(self, interval: float = INTERVAL, budget: float = BUDGET) -> None:
        self._interval, self._budget = interval, budget
        self._cheap: float | None = None
        self._close = 0.0
        self._spent = 0.0
        self.close_at = _CLOSELY
        """When the next look is to be a closer one, counted from the beginning."""

    def took_closely(self, at: float, cost: float) -> None:
        """Note what the closer look at this time cost, with waking up for it."""
        self._spent += cost
        apart = max(_CLOSELY, cost / (self._budget * _CLOSE_PART))
        self._close, self.close_at = cost / apart, at + apart

    def took(self, cost: float, looks: int = 1) -> None:
        """Note what so many cheap looks cost together."""
        self._spent += cost
        each = cost / looks
        self._cheap = each if self._cheap is None else (1 - _FRESH) * self._cheap + _FRESH * each

    def pause(self, at: float) -> float:
        """How long to sleep from this time on."""
        steady = max(self._interval, (self._cheap or 0.0) / (self._budget - self._close))
        # What one look took more than the estimate is made up for over the next ones, and not in one long gap.
        behind = self._spent / self._budget - at
        return min(max(steady, behind), _LONGEST_GAP * steady)


class GpuSampler:
    """The thread and its tracks, one for each device: `looks`, the bytes in use on it, are asked often, `closely` now
    and then.

    A thread that has slept finds nothing of Python in the processor's caches, so that what it does each time is little:
    what it saw is put in order later, many looks at once.
    """

    def __init__(
        self,
        looks: Sequence[Callable[[], int | None]],
        closely: Sequence[Callable[[], MemorySample]],
        interval: float = INTERVAL,
        budget: float = BUDGET,
    ) -> None:
        self._looks, self._closely = tuple(looks), tuple(closely)
        self._pace = Pace(interval, budget)
        self._interval = interval
        self._tracks = [_Track() for _ in looks]
        self._seen: deque[tuple[float, tuple[int | None, ...]]] = deque()
        self._done = False
        self._lock = threading.Lock()
        self._spent, self._count = 0.0, 0
        self._began = clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="plimsoll-gpu-sampler", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._began = clock.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, once it wakes. Safe to call again, and where it was never started."""
        self._done = True
        if self._thread.is_alive():
            self._thread.join()

    def track(self, place: int) -> dict[str, Any]:
        """The peaks and the series of one device, with a last look, as fields of a GpuMemory."""
        last = self._closely[place]()
        with self._lock:
            self._put_in_order()
            track = self._tracks[place]
            track.take(clock.monotonic() - self._began, last)
            return {
                "device_peak": track.device_peak,
                "process_peak": track.process_peak,
                "series": track.series,
            }

    def cost(self) -> Cost:
        """What sampling has taken so far; nothing known before the first samples."""
        with self._lock:
            seconds = clock.monotonic() - self._began
            if not self._count or seconds <= 0:
                return Cost(share=None, interval=None)
            return Cost(share=self._spent / seconds, interval=seconds / self._count)

    def _run(self) -> None:
        pace, looks, see = self._pace, self._looks, self._seen.append
        pause, number, before = self._interval, 0, 0.0
        while True:
            # Waking from an event that may be set costs twice as much, and waking is most of what a sample costs.
            clock.sleep(pause)
            if self._done:
                return
            at = clock.monotonic() - self._began
            if at < pace.close_at:
                see((at, tuple([look() for look in looks])))
                number += 1
                if number == _TOGETHER:
                    spent = self._count_in(number)
                    pace.took(spent - before, number)
                    pause, number, before = pace.pause(at), 0, spent
                continue
            if number:
                # What is not accounted for yet is no part of the closer look.
                spent = time.thread_time()
                pace.took(spent - before, number)
                before = spent
            found = [look() for look in self._closely]
            with self._lock:
                self._put_in_order()
                for track, look in zip(self._tracks, found, strict=True):
                    track.take(at, look)
            spent = self._count_in(number + 1)
            pace.took_closely(at, spent - before)
            pause, number, before = pace.pause(at), 0, spent

    def _count_in(self, looks: int) -> float:
        """All that the thread has taken since it began, with what waking up costs; keeps it for who asks."""
        spent = time.thread_time()
        with self._lock:
            self._spent = spent
            self._count += looks
        return spent

    def _put_in_order(self) -> None:
        while self._seen:
            at, found = self._seen.popleft()
            for track, device in zip(self._tracks, found, strict=True):
                track.take(at, MemorySample(device=device))


def _highest(points: Sequence[Point]) -> Point:
    return max(points, key=lambda point: point[1] or 0)


def higher(one: int | None, other: int | None) -> int | None:
    """The higher of two figures; None counts for nothing."""
    return other if one is None else one if other is None else max(one, other)
