"""Reads the kernel's log for Xid lines of the NVIDIA driver, for SXid lines of NVSwitches, and for GPUs that have
fallen off the bus.

Only the log shows what happened before a run, and to a GPU that is gone. Where this user may not read it, the suite
says so: an unread log is not a clean one.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from plimsoll.errors import reason_of

_KMSG: Final = Path("/dev/kmsg")
_LONGEST: Final = 400
"""Characters of a line that are kept."""
_LINE: Final = 8192
"""Bytes of the longest record that the kernel gives at once (its LOG_LINE_MAX and the prefix)."""

OFF_THE_BUS: Final = 79
_ADDRESS: Final = r"(?:PCI:)?(?P<bus>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}|[0-9a-fA-F]{2}:[0-9a-fA-F]{2})"
_XID: Final = re.compile(rf"NVRM: Xid \({_ADDRESS}[^)]*\): (?P<code>\d+)")
_SXID: Final = re.compile(
    rf"(?P<switch>nvidia-nvswitch\d+): SXid \({_ADDRESS}[^)]*\): (?P<code>\d+)\b(?!, (?:Data \{{|Severity \d))"
)
"""But for the lines that follow with the details of the same error."""
_NAMED: Final = re.compile(rf"NVRM:.*?\bGPU (?:at )?{_ADDRESS}")
_FALLEN: Final = re.compile(r"NVRM:.*fallen off the bus")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelXid:
    """One Xid, or SXid of an NVSwitch, that the driver wrote to the kernel's log."""

    code: int
    bus: str
    """The PCI address of the GPU or the switch as `0000:18:00`, in lower case, without the function."""
    text: str
    at: float | None = None
    """Seconds since the machine started; None where the line does not say."""
    switch: str = ""
    """`nvidia-nvswitch0` for an SXid; empty for an Xid."""


def bus_place(text: str) -> str:
    """Normalise a PCI address to `0000:18:00`: NVML writes eight digits for the domain, the driver's log four, or
    none."""
    parts = text.lower().removeprefix("pci:").partition(".")[0].split(":")
    domain = int(parts[-3], 16) if len(parts) > 2 else 0
    return ":".join([f"{domain:04x}", *parts[-2:]])


def xids_of(lines: Iterable[str]) -> list[KernelXid]:
    """The Xids and SXids in some lines, in their order. "Fallen off the bus" counts as 79 where the driver gives no
    number; it may be in a line of its own, after the one that names the GPU."""
    found: list[KernelXid] = []
    named = ""
    for line in lines:
        if match := _XID.search(line):
            found.append(_xid(int(match["code"]), match["bus"], line))
            continue
        if match := _SXID.search(line):
            found.append(replace(_xid(int(match["code"]), match["bus"], line), switch=match["switch"]))
            continue
        if match := _NAMED.search(line):
            named = match["bus"]
        place = bus_place(named) if named else ""
        if place and _FALLEN.search(line) and (OFF_THE_BUS, place) not in {(x.code, x.bus) for x in found}:
            found.append(_xid(OFF_THE_BUS, named, line))
    return found


_SINCE_START: Final = re.compile(r"^\[\s*(\d+\.\d+)\]|^\d+,\d+,(\d+),")


def _xid(code: int, bus: str, line: str) -> KernelXid:
    """The Xid in a line. A record of /dev/kmsg begins with `priority,number,microseconds,flags;`, a line of dmesg with
    `[seconds]`."""
    stamp = _SINCE_START.match(line)
    seconds = None
    if stamp is not None:
        seconds = float(stamp[1]) if stamp[1] else int(stamp[2]) / 1e6
    text = line.partition(";")[2] if stamp is not None and stamp[2] else line
    return KernelXid(code=code, bus=bus_place(bus), text=text.strip()[:_LONGEST], at=seconds)


@dataclass(slots=True)
class KernelLog:
    """The kernel's log, followed from its opening on. `why` says why it cannot be read; empty where it can."""

    path: Path = _KMSG
    why: str = ""
    before: list[KernelXid] = field(default_factory=list)
    """The Xids since boot that were in the log when it was opened."""
    lost: int = 0
    """How many times records were overwritten before they were read."""
    _descriptor: int | None = None

    def open(self) -> None:
        """Read what is there into `before`, and stay at the end."""
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            self.why = f"{self.path}: {reason_of(error)}"
            return
        self.before = self.fresh()

    def fresh(self) -> list[KernelXid]:
        """The Xids that were written since the last call; empty where the log cannot be read (see `why`)."""
        if self._descriptor is None:
            return []
        lines: list[str] = []
        while (record := self._record(self._descriptor)) is not None:
            lines += record.decode("utf-8", "replace").splitlines()
        return xids_of(lines)

    def _record(self, descriptor: int) -> bytes | None:
        """The next record, or None at the end."""
        while True:
            try:
                return os.read(descriptor, _LINE) or None
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno == errno.EPIPE:
                    self.lost += 1  # the kernel has overwritten unread records; the next read continues after them
                    continue
                self.why = f"{self.path}: {reason_of(error)}"
                self.close()
                return None

    def close(self) -> None:
        """Close the descriptor. Safe to call again."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
