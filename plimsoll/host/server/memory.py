"""Measures the resident memory of the host around a load.

The kernel's own high-water mark is exact and free, and counts pages of mapped files, which the system may drop at any
time: tens of gigabytes for a large checkpoint. So a thread samples what the process holds of its own beside it; where
the mark cannot be reset, it samples the whole too.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from plimsoll.host.protocol import HostMemory
from plimsoll.host.server.linux import return_freed_memory

_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")
_MAPS: Final = Path("/proc/self/maps")
_RESET_PEAK: Final = "5"
"""What clear_refs takes for "set the high-water mark back to the resident size of now"."""
_FILE_PAGES: Final = "RssFile"
_OWN_PAGES: Final = ("RssAnon", "RssShmem")
"""What is no page of a file: memory of the process itself, and memory that is shared, which drivers pin."""
_HIGH_WATER_MARK: Final = "VmHWM"
_SLACK: Final = 4 * 2**20
"""Bytes by which two readings may differ because the kernel batches its counters."""
_INTERVAL: Final = 0.01


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


def own_bytes() -> int | None:
    """Resident memory of this process without pages of files; None where the system does not tell them apart."""
    found = [_status(field) for field in _OWN_PAGES]
    return None if found[0] is None else sum(size or 0 for size in found)


class HostMeter:
    """Resident memory before, at its highest, and after a `with` block, in bytes.

    with HostMeter() as meter:
        model = ...
    memory = meter.result(checkpoint_files)
    """

    def __init__(self) -> None:
        self._before = self._after = self._peak = 0
        self._files_before: int | None = None
        self._files_after: int | None = None
        self._own_before: int | None = None
        self._own_after: int | None = None
        self._has_mark = False
        self._sampler = _Sampler()

    def __enter__(self) -> Self:
        return_freed_memory()
        self._has_mark = _reset_high_water_mark()
        self._sampler.start()
        self._files_before = _status(_FILE_PAGES)
        self._own_before = own_bytes()
        self._before = resident_bytes()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was freed and kept for later is not held by the model, and varies by hundreds of megabytes from one load
        # to the next. The peak has it.
        self._sampler.stop()
        return_freed_memory()
        self._after = resident_bytes()
        self._own_after = own_bytes()
        self._files_after = _status(_FILE_PAGES)
        peak = _status(_HIGH_WATER_MARK) if self._has_mark else self._sampler.peak
        # The kernel sums its counters up lazily, so the mark may lag behind a reading by some pages.
        self._peak = max(peak or 0, self._before, self._after)

    def result(self, mapped_files: Collection[Path] = ()) -> HostMemory:
        """What was measured; of `mapped_files`, also how much is mapped at this moment."""
        mapped = mapped_bytes(mapped_files) if mapped_files else None
        resident = None
        if mapped is not None and self._files_before is not None and self._files_after is not None:
            # What file pages grew by; asking each mapping for its own would walk every page of the process.
            resident = min(mapped, max(0, self._files_after - self._files_before))
        return HostMemory(
            before=self._before,
            peak=self._peak,
            after=self._after,
            method="VmHWM, reset before loading" if self._has_mark else "sampled every 10 ms",
            mapped=mapped,
            mapped_resident=resident,
            own_before=self._own_before,
            own_peak=None
            if self._own_before is None or self._own_after is None
            else max(self._sampler.own_peak, self._own_before, self._own_after),
            own_after=self._own_after,
        )


def _reset_high_water_mark() -> bool:
    """False where there is no such mark, or it cannot be reset: other systems, hardened containers, sandboxes."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    mark = _status(_HIGH_WATER_MARK)
    # A write that was swallowed leaves the mark of earlier work, which would be taken for this load's peak.
    return mark is not None and mark <= resident_bytes() + _SLACK


def _status(field: str) -> int | None:
    """A figure of /proc/self/status in bytes; None where there is no such file or field."""
    if not _STATUS.exists():
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def mapped_bytes(files: Collection[Path]) -> int | None:
    """Bytes of the files that this process maps; None where the system does not tell."""
    if not _MAPS.exists():
        return None
    wanted = {str(file.resolve()) for file in files}
    total = 0
    for line in _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        # Range, permissions, offset, device, inode, path; the path alone may have spaces, or be missing.
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] in wanted:
            start, end = (int(address, 16) for address in fields[0].split("-"))
            total += end - start
    return total


class _Sampler(threading.Thread):
    """Looks at the resident memory every 10 ms, and once more at the end; short spikes between two looks escape it."""

    def __init__(self) -> None:
        super().__init__(name="plimsoll-memory-sampler", daemon=True)
        self._done = threading.Event()
        self.peak = 0
        self.own_peak = 0

    def run(self) -> None:
        while not self._done.wait(_INTERVAL):
            self._look()

    def stop(self) -> None:
        self._done.set()
        self.join()
        self._look()

    def _look(self) -> None:
        self.peak = max(self.peak, resident_bytes())
        self.own_peak = max(self.own_peak, own_bytes() or 0)
