"""Tells whether a process that missed a deadline was short of processor time, by the kernel's own accounts.

A host that hangs on an idle machine is a fault; one that waits for a busy processor says nothing about its model. Only
Linux has these accounts; on other systems no process counts as short of time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from plimsoll import clock

_LEAST_SHARE: Final = 2 / 3
"""Of the processor time that a process wanted; who got more was not short of it."""
_WANTED: Final = 0.5
"""The fraction of the time that it must have wanted to run at all: one that sleeps hangs, however busy others are."""
_OTHERS: Final = 0.25
"""The fraction of its processors that others must have used: a process with too many threads waits for itself."""
_TICK: Final = 0.01
"""Seconds of a tick of /proc/stat, on every architecture that we run on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorTime:
    """Seconds up to a moment: of the clock, of a process and its threads, and of the processors that it may use."""

    at: float
    ran: float
    waited: float
    """In a queue, ready to run."""
    all_ran: float
    """All processes on these processors, and what a hypervisor gave to others."""
    processors: int
    """How many these are: a container or a batch system may leave it a few of many."""

    @classmethod
    def of(cls, pid: int, proc: Path = Path("/proc")) -> Self | None:
        """What the kernel has accounted for so far; None where it does not tell, or the process is gone."""
        try:
            usable = os.sched_getaffinity(pid)
            stat = (proc / "stat").read_text().splitlines()
            found = dict(_ticks(line) for line in stat if line.startswith("cpu") and line[3:4] != " ")
        except (OSError, AttributeError, ValueError):
            return None
        # A container may be told of its own processors alone, by other numbers than the kernel's.
        ticks = [found[number] for number in usable] if usable <= found.keys() else list(found.values())
        threads = [_accounts(task) for task in proc.glob(f"{pid}/task/*/schedstat")]
        alive = [found for found in threads if found is not None]
        if not alive or not ticks:
            return None
        return cls(
            at=clock.monotonic(),
            ran=sum(ran for ran, _ in alive),
            waited=sum(waited for _, waited in alive),
            all_ran=sum(ticks),
            processors=len(ticks),
        )

    def later(self, seconds: float) -> Self:
        """The same accounts at a later moment: what passed in between, a stop of the whole run, is of no account."""
        return replace(self, at=self.at + seconds)


def _ticks(line: str) -> tuple[int, float]:
    """A processor's number, and the seconds that it was used, of a line of /proc/stat."""
    name, *fields = line.split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return int(name.removeprefix("cpu")), _TICK * (user + nice + system + irq + softirq + steal)


def _accounts(task: Path) -> tuple[float, float] | None:
    """Seconds for which a thread ran and waited; None where it has ended since it was listed, or nothing is told."""
    try:
        ran, waited = task.read_text().split()[:2]
        return int(ran) / 1e9, int(waited) / 1e9
    except (OSError, ValueError):
        return None


def starved(before: ProcessorTime | None, after: ProcessorTime | None) -> str | None:
    """How short of processor time a process was between two moments, as a text; None where it was not, or where that is
    unknown."""
    if before is None or after is None or after.at <= before.at:
        return None
    elapsed, ran, waited = after.at - before.at, after.ran - before.ran, after.waited - before.waited
    others = (after.all_ran - before.all_ran - ran) / (elapsed * after.processors)
    wanted = ran + waited
    if wanted < _WANTED * elapsed or ran > _LEAST_SHARE * wanted or others < _OTHERS:
        return None
    load = "" if not hasattr(os, "getloadavg") else f", with a load of {os.getloadavg()[0]:.1f}"
    return (
        f"it got {ran / wanted:.0%} of the processor time that it wanted in {elapsed:.0f} s, while others used "
        f"{others:.0%} of {after.processors} processors{load}; run it again when the node is idle, or raise the tier's "
        "deadline"
    )
