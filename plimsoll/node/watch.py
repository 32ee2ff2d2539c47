"""Watches the GPUs while models run: one thread that samples what changes, and hears every Xid.

A `HealthWindow` is a part of that time, such as one variant's: what was read before and after it, how far each sample
went, and which Xids fell into it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from plimsoll import clock
from plimsoll.node.health import KERNEL_LOG, NVML, Health, HealthReader, HeardXid
from plimsoll.node.kernel_log import KernelLog, KernelXid

_INTERVAL: Final = 0.5
"""Seconds between two samples; NVML itself renews most figures ten times a second or less."""


_ONE_XID: Final = 30.0
"""Seconds within which NVML's event and the line of the kernel's log are heard that tell the same Xid. They come
together; a driver that answers slowly puts off the reading of the log."""
OVERRUN: Final = "lines of the kernel's log were overwritten before they could be read"
_BOTH: Final = f"{NVML} and {KERNEL_LOG}"
_IDLE: Final = 0x1
"""The clocks event reason of a GPU that has nothing to do."""


@dataclass(slots=True)
class Extreme:
    """The lowest and highest value of a figure, and every bit that it had."""

    low: int
    high: int
    bits: int

    def take(self, value: int) -> None:
        """Include one more sample."""
        self.low, self.high, self.bits = min(self.low, value), max(self.high, value), self.bits | value


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthWindow:
    """What was seen of the GPUs over some time. The same fields serve one variant and a whole run."""

    before: Health
    after: Health
    extremes: Mapping[int, Mapping[str, Extreme]] = field(default_factory=dict)
    """By GPU and figure."""
    samples: int = 0
    xids: tuple[HeardXid, ...] = ()
    deaf: Mapping[int, str] = field(default_factory=dict)
    """Why the Xids of a GPU could not be heard, neither from NVML nor from the kernel's log."""
    placed: frozenset[int] = frozenset()
    """The GPUs whose PCI address was seen at some time: only these does the kernel's log tell apart."""
    lost: int = 0
    """How many times lines of the kernel's log were overwritten before they could be read."""

    @property
    def seconds(self) -> float:
        """The length of the window."""
        return self.after.at - self.before.at

    def with_link(self, index: int, generation: int | None, width: int | None) -> HealthWindow:
        """The window with the PCIe link of a GPU as a host saw it during copies."""
        figures = dict(self.extremes.get(index, {}))
        for name, value in (("pcie.generation", generation), ("pcie.width", width)):
            if value is not None:
                seen = figures.get(name, Extreme(value, value, 0))
                figures[name] = Extreme(min(seen.low, value), max(seen.high, value), seen.bits | value)
        return replace(self, extremes={**self.extremes, index: figures})


@dataclass(slots=True)
class WindowStart:
    """What was read when a window began, and what samples since have shown."""

    before: Health
    extremes: dict[int, dict[str, Extreme]] = field(default_factory=dict)
    samples: int = 0
    lost: int = 0
    """How many times the kernel's log had lost lines by then."""


class HealthWatch:
    """The watching thread, and what it has seen. `start` it before the first model loads, `stop` it at the end."""

    def __init__(self, reader: HealthReader, log: KernelLog | None = None, interval: float = _INTERVAL) -> None:
        self._reader = reader
        self._log = log or KernelLog()
        self._interval = interval
        self._lock = threading.Lock()
        self._starts: list[WindowStart] = []
        self._heard: list[HeardXid] = []
        self._places: dict[str, int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plimsoll-health", daemon=True)
        self._log.open()
        self._events = reader.events()
        self.earlier: tuple[KernelXid, ...] = tuple(self._log.before)
        """The Xids since boot that the kernel's log had before the watch began."""

    def start(self) -> None:
        """Begin to sample and to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and release what it holds."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self._events.close()
        self._log.close()

    def begin(self) -> WindowStart:
        """Begin a window with a full reading."""
        start = WindowStart(before=self._reader.look(), lost=self._log.lost)
        self._hear_kernel(start.before)
        with self._lock:
            self._starts.append(start)
        return start

    def since(self, start: WindowStart) -> HealthWindow:
        """The window from a start until now; the start stays valid, so that it can be asked again."""
        after = self._reader.look()
        self._take(after)
        self._hear_kernel(after)
        with self._lock:
            extremes = {gpu: dict(each) for gpu, each in start.extremes.items()}
            # An address may become known after the log has named it.
            xids = tuple(
                x if x.bus is None or x.gpu is not None or x.switch else replace(x, gpu=self._places.get(x.bus))
                for x in self._heard
                if x.at >= start.before.at
            )
            return HealthWindow(
                before=start.before,
                after=after,
                extremes=extremes,
                samples=start.samples,
                xids=xids,
                deaf=self._deaf(start, after),
                placed=frozenset(self._places.values()),
                lost=self._log.lost - start.lost,
            )

    def forget(self, start: WindowStart) -> None:
        """End a window: its extremes are no longer followed."""
        with self._lock:
            self._starts = [other for other in self._starts if other is not start]

    def _run(self) -> None:
        while not self._done.is_set():
            began = clock.monotonic()
            heard = self._events.wait(self._interval)
            with self._lock:
                for xid in heard:
                    self._note(xid)
            # Waiting for events is the pause; where there are no events, or one came early, sleep for the rest.
            self._done.wait(max(0.0, self._interval - (clock.monotonic() - began)))
            health = self._reader.glance()
            self._take(health)
            self._hear_kernel(health)

    def _take(self, health: Health) -> None:
        with self._lock:
            for start in self._starts:
                start.samples += 1
                for gpu in health.gpus:
                    into = start.extremes.setdefault(gpu.index, {})
                    at_rest = bool((gpu.value("reasons") or 0) & _IDLE)
                    for name, reading in gpu.readings.items():
                        # An idle link trains down, which says nothing about what it can do.
                        if reading.value is not None and not (at_rest and name.startswith("pcie.")):
                            into.setdefault(name, Extreme(reading.value, reading.value, 0)).take(reading.value)

    def _hear_kernel(self, health: Health) -> None:
        with self._lock:
            # A GPU that is gone has no address any more, and the log line about it names its last one.
            # It keeps the number that it first had, by which NVML's events know it, too.
            self._places = {gpu.bus: gpu.index for gpu in health.gpus if gpu.bus} | self._places
            for line in self._log.fresh():
                self._note(
                    HeardXid(
                        code=line.code,
                        gpu=None if line.switch else self._places.get(line.bus),
                        at=clock.monotonic(),
                        told_by=KERNEL_LOG,
                        text=line.text,
                        bus=line.bus,
                        switch=line.switch,
                    )
                )

    def _note(self, xid: HeardXid) -> None:
        """Keep an Xid. What NVML and the kernel's log both tell is one, whichever comes first, and has the log's text:
        NVML gives no more than the number, and some Xids say in their text what they ask for."""
        for place, other in enumerate(self._heard):
            is_other_half = {xid.told_by, other.told_by} == {NVML, KERNEL_LOG}
            if is_other_half and _is_same(xid, other) and xid.at - other.at < _ONE_XID:
                log = xid if xid.told_by == KERNEL_LOG else other
                self._heard[place] = replace(other, told_by=_BOTH, text=log.text, bus=log.bus)
                return
        self._heard.append(xid)

    def _deaf(self, start: WindowStart, after: Health) -> dict[int, str]:
        """Why nobody tells of the Xids of a GPU. The log names GPUs by their address: without it, it tells nothing."""
        placed = set(self._places.values())
        unheard: dict[int, str] = {}
        lost = OVERRUN if self._log.lost > start.lost else ""
        for index in sorted({gpu.index for look in (start.before, after) for gpu in look.gpus}):
            why = self._events.why_deaf(index)
            unplaced = "" if index in placed else "its PCI address, by which the kernel's log names it, is not known"
            log = self._log.why or unplaced or lost
            if why and log:
                unheard[index] = f"{why}, and {log}"
        return unheard


def _is_same(one: HeardXid, other: HeardXid) -> bool:
    return one.gpu is not None and (one.gpu, one.code) == (other.gpu, other.code)
