"""Reads the health of every GPU from NVML: memory errors, replaced rows, throttling, links, heat, advice.

One `Health` is one reading of all GPUs. Each figure is read by itself: a figure that the product does not have is
distinct from one that could not be read, and neither is ever zero.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Final, Self

from plimsoll import clock
from plimsoll.node.kernel_log import bus_place
from plimsoll.node.node import Unread

NOT_SUPPORTED: Final = 3
_INVALID_ARGUMENT: Final = 2
_GONE: Final = (15, 16)
"""NVML_ERROR_GPU_IS_LOST and NVML_ERROR_RESET_REQUIRED."""
_SILENT: Final = (*_GONE, 10, 11, 999)
"""The errors of a GPU that does not even give a handle: timeout, no interrupt, unknown."""

RECOVERY_ACTION: Final = 230
"""NVML_FI_DEV_GET_GPU_RECOVERY_ACTION. Few field numbers are used here: some have changed between releases."""
_MEMORY_TEMPERATURE: Final = 82
_MOST_LINKS: Final = 36

_POLICIES: Final = {"power": 0, "thermal": 1, "sync_boost": 2, "board_limit": 3, "reliability": 5}
_LINK_ERRORS: Final = {"replays": 0, "recoveries": 1, "crc_flits": 2}
"""The counters of links before NVLink 5 (NVML_NVLINK_ERROR_DL_*)."""
NVLINK_5: Final = 7
"""NVML_NVLINK_VERSION_5_0: NVML's numbers of versions are not the versions."""
_LINK_FIELDS: Final = {
    "malformed_packets": 206,
    "buffer_overruns": 207,
    "receive_errors": 208,
    "remote_errors": 209,
    "general_errors": 210,
    "integrity_errors": 211,
    "discards": 212,
    "failed_recoveries": 214,
    "recoveries": 215,
    "effective_errors": 219,
    "symbol_errors": 221,
}
"""The fields in which NVLink 5 counts (NVML_FI_DEV_NVLINK_COUNT_*); its links have none of the older counters."""
_COUNT: Final = range(2**32 - 1)
_LONG_COUNT: Final = range(2**64 - 1)
_CAN_BE: Final[Mapping[str, range]] = {
    "temperature": range(200),
    "temperature.memory": range(200),
    "clock.*": range(100_000),
    "power*": range(100_000_000),
    "pcie.generation*": range(32),
    "pcie.width*": range(33),
    "pcie.replays": _COUNT,
    "reasons": _LONG_COUNT,
    "mig": range(2),
    "ecc.mode": range(2),
    "ecc.*.*.*": _LONG_COUNT,
    "remap.corrected": _COUNT,
    "remap.uncorrected": _COUNT,
    "remap.pending": range(2),
    "remap.failed": range(2),
    "retired.pending": range(2),
    "throttle.*": _LONG_COUNT,
    "nvlink.[rc]*": _LONG_COUNT,
    "nvlink5.*": _LONG_COUNT,
}
"""What a figure can be, by patterns of names, in NVML's units (°C, MHz, mW); others are not bounded. NVML says that it
has no value (NVML_VALUE_NOT_AVAILABLE) by -1, which reads as the highest number: beyond each of these."""
_MEMBERS: Final = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Where the value of a field lies, by its type (NVML_VALUE_TYPE_*)."""
_FABRIC_OFF: Final = 0
"""NVML_GPU_FABRIC_STATE_NOT_SUPPORTED."""
FABRIC_COMPLETED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One figure: its value, or why there is none."""

    value: int | None
    why: str = ""
    code: int | None = None
    """NVML's number for the error, where there is no value."""

    @property
    def is_absent(self) -> bool:
        """True where the product has no such figure: that is an answer, not a missing one."""
        return self.value is None and self.code == NOT_SUPPORTED


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuHealth:
    """One GPU at one moment."""

    index: int
    uuid: str | None
    name: str | None
    bus: str | None
    """`0000:18:00`, as the kernel's log names it."""
    lost: str | None
    """NVML's error for a GPU that is gone; None for one that answers."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """By the names of `catalogue/health/health.toml`, and some more that are only reported."""

    def value(self, name: str) -> int | None:
        """The value of a figure; None where there is none."""
        found = self.readings.get(name)
        return None if found is None else found.value

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data: the values, and the reasons for those that could not be read."""
        values = {name: each.value for name, each in self.readings.items() if each.value is not None}
        unread = {name: each.why for name, each in self.readings.items() if each.value is None and not each.is_absent}
        absent = [name for name, each in self.readings.items() if each.is_absent]
        return {
            "index": self.index,
            "uuid": self.uuid,
            "name": self.name,
            "bus": self.bus,
            "lost": self.lost,
            "values": values,
            "unread": unread,
            "absent": absent,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One reading of every GPU that the driver lists."""

    at: float
    """Seconds of the suite's clock."""
    gpus: tuple[GpuHealth, ...]
    why: str = ""
    """Why there is no list of GPUs; empty where there is one."""

    def gpu(self, index: int) -> GpuHealth | None:
        """The GPU of that number; None where the driver does not list it."""
        return next((gpu for gpu in self.gpus if gpu.index == index), None)


class HealthReader:
    """Reads health from NVML, which stays open meanwhile. `open` makes a reader, or says why it cannot."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    @classmethod
    def open(cls) -> Self | Unread:
        """Initialise NVML; returns the reader, or why there is none."""
        try:
            import pynvml
        except ImportError:
            return Unread(what="gpus", why="the package nvidia-ml-py is not installed")
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return Unread(what="gpus", why=f"NVML did not start: {error}", code=error.value)
        return cls(pynvml)

    def close(self) -> None:
        """Shut NVML down."""
        self._nvml.nvmlShutdown()

    def look(self) -> Health:
        """Read everything of every GPU: about a hundred queries for each."""
        return self._health(self._everything)

    def glance(self) -> Health:
        """Read only what changes within a second: heat, clocks, power, the state of the PCIe link."""
        return self._health(self._moment)

    def _health(self, read: Callable[[Any], Iterator[tuple[str, Callable[[], int]]]]) -> Health:
        count = self._read(self._nvml.nvmlDeviceGetCount)
        gpus = tuple(self._gpu(index, read) for index in range(count.value or 0))
        return Health(at=clock.monotonic(), gpus=gpus, why="" if count.value is not None else count.why)

    def _gpu(self, index: int, read: Callable[[Any], Iterator[tuple[str, Callable[[], int]]]]) -> GpuHealth:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:
            lost = f"NVML says: {error}" if error.value in _SILENT else None
            readings = {"handle": Reading(value=None, why=f"NVML says: {error}", code=error.value)}
            return GpuHealth(index=index, uuid=None, name=None, bus=None, lost=lost, readings=readings)
        readings = {name: self._read(query, name) for name, query in read(handle)}
        bus = self._text(lambda: nvml.nvmlDeviceGetPciInfo(handle).busId)
        return GpuHealth(
            index=index,
            uuid=self._text(lambda: nvml.nvmlDeviceGetUUID(handle)),
            name=self._text(lambda: nvml.nvmlDeviceGetName(handle)),
            bus=None if bus is None else bus_place(bus),
            lost=next((each.why for each in readings.values() if each.code in _GONE), None),
            readings=readings,
        )

    def _moment(self, handle: Any) -> Iterator[tuple[str, Callable[[], int]]]:
        nvml = self._nvml
        yield "temperature", lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
        yield "temperature.memory", lambda: self._field(handle, _MEMORY_TEMPERATURE)
        yield "reasons", lambda: self._reasons(handle)
        yield "clock.sm", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
        yield "clock.memory", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)
        yield "power", lambda: nvml.nvmlDeviceGetPowerUsage(handle)
        yield "pcie.generation", lambda: nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle)
        yield "pcie.width", lambda: nvml.nvmlDeviceGetCurrPcieLinkWidth(handle)

    def _everything(self, handle: Any) -> Iterator[tuple[str, Callable[[], int]]]:
        nvml = self._nvml
        yield from self._moment(handle)
        yield "mig", lambda: int(nvml.nvmlDeviceGetMigMode(handle)[0])
        yield "ecc.mode", lambda: int(nvml.nvmlDeviceGetEccMode(handle)[0])
        yield from self._memory_errors(handle)
        yield from self._replaced(handle)
        for name, policy in _POLICIES.items():
            yield f"throttle.{name}", lambda p=policy: int(nvml.nvmlDeviceGetViolationStatus(handle, p).violationTime)  # type: ignore[misc]
        yield "clock.sm.most", lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)
        yield "clock.memory.most", lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM)
        yield (
            "temperature.slowdown",
            lambda: nvml.nvmlDeviceGetTemperatureThreshold(handle, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
        )
        yield (
            "temperature.memory.most",
            lambda: nvml.nvmlDeviceGetTemperatureThreshold(handle, nvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX),
        )
        yield "power.enforced", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle)
        yield "power.default", lambda: nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle)
        yield "pcie.generation.most", lambda: nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)
        yield "pcie.generation.card", lambda: nvml.nvmlDeviceGetGpuMaxPcieLinkGeneration(handle)
        yield "pcie.width.most", lambda: nvml.nvmlDeviceGetMaxPcieLinkWidth(handle)
        yield "pcie.replays", lambda: nvml.nvmlDeviceGetPcieReplayCounter(handle)
        yield from self._links(handle)
        yield "recovery", lambda: self._field(handle, RECOVERY_ACTION)

    def _memory_errors(self, handle: Any) -> Iterator[tuple[str, Callable[[], int]]]:
        nvml = self._nvml
        places = {"sram": nvml.NVML_MEMORY_LOCATION_SRAM, "dram": nvml.NVML_MEMORY_LOCATION_DRAM}
        for since, counter in (("volatile", nvml.NVML_VOLATILE_ECC), ("aggregate", nvml.NVML_AGGREGATE_ECC)):
            for kind, error in (("corrected", 0), ("uncorrected", 1)):
                for name, place in places.items():
                    query = (handle, error, counter, place)
                    yield (
                        f"ecc.{since}.{kind}.{name}",
                        lambda q=query: int(nvml.nvmlDeviceGetMemoryErrorCounter(*q)),  # type: ignore[misc]
                    )

    def _replaced(self, handle: Any) -> Iterator[tuple[str, Callable[[], int]]]:
        nvml = self._nvml
        for place, name in enumerate(("corrected", "uncorrected", "pending", "failed")):
            yield f"remap.{name}", lambda p=place: int(nvml.nvmlDeviceGetRemappedRows(handle)[p])  # type: ignore[misc]
        for cause, name in enumerate(("single", "double")):
            yield f"retired.{name}", lambda c=cause: len(nvml.nvmlDeviceGetRetiredPages(handle, c))  # type: ignore[misc]
        yield "retired.pending", lambda: int(nvml.nvmlDeviceGetRetiredPagesPendingStatus(handle))

    def _links(self, handle: Any) -> Iterator[tuple[str, Callable[[], int]]]:
        """The NVLinks that are up, as bits, how many there are, and the errors summed over those that are up; then the
        fabric behind them."""
        yield "nvlink.active", lambda: self._active_links(handle)
        yield "nvlink.links", lambda: len(self._link_states(handle))
        for name, counter in _LINK_ERRORS.items():
            yield f"nvlink.{name}", lambda c=counter: self._link_errors(handle, c)  # type: ignore[misc]
        yield "nvlink.version", lambda: self._link_version(handle)
        version = self._read(lambda: self._link_version(handle))
        if not version.is_absent and (version.value is None or version.value >= NVLINK_5):
            for name, number in _LINK_FIELDS.items():
                yield f"nvlink5.{name}", lambda n=number: self._link_field(handle, n)  # type: ignore[misc]
        yield "fabric.state", lambda: self._fabric(handle)[0]
        yield "fabric.status", lambda: self._fabric(handle)[1]
        yield "fabric.health", lambda: self._fabric_health(handle)

    def _link_states(self, handle: Any) -> list[bool]:
        """Whether each NVLink that the GPU has is up."""
        nvml, states = self._nvml, []
        for link in range(_MOST_LINKS):
            try:
                states.append(bool(nvml.nvmlDeviceGetNvLinkState(handle, link)))
            except nvml.NVMLError as error:
                if link and error.value in (NOT_SUPPORTED, _INVALID_ARGUMENT):
                    break  # no more links
                raise
        return states

    def _active_links(self, handle: Any) -> int:
        return sum(up << link for link, up in enumerate(self._link_states(handle)))

    def _links_up(self, handle: Any) -> list[int]:
        return [link for link, is_up in enumerate(self._link_states(handle)) if is_up]

    def _link_errors(self, handle: Any, counter: int) -> int:
        links = self._links_up(handle)
        return sum(int(self._nvml.nvmlDeviceGetNvLinkErrorCounter(handle, link, counter)) for link in links)

    def _link_field(self, handle: Any, number: int) -> int:
        links = self._links_up(handle)
        return sum(self._fields(handle, [(number, link) for link in links]))

    def _link_version(self, handle: Any) -> int:
        """NVML's number for the version of the links that are up, which are alike; absent where none is."""
        links = self._links_up(handle)
        if not links:
            raise self._nvml.NVMLError(NOT_SUPPORTED)
        return int(self._nvml.nvmlDeviceGetNvLinkVersion(handle, links[0]))

    def _fabric_health(self, handle: Any) -> int:
        """The bits in which the driver says what ails the fabric. An older driver has none."""
        mask = self._fabric(handle)[2]
        if mask is None:
            raise self._nvml.NVMLError(NOT_SUPPORTED)
        return mask

    def _fabric(self, handle: Any) -> tuple[int, int, int | None]:
        """The fabric's state, status and bits of health. A GPU without NVSwitch says that it has no fabric."""
        nvml = self._nvml
        info = nvml.c_nvmlGpuFabricInfoV_t()
        try:
            nvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
        except nvml.NVMLError_FunctionNotFound:
            info = nvml.c_nvmlGpuFabricInfo_t()
            nvml.nvmlDeviceGetGpuFabricInfo(handle, ctypes.byref(info))
        if int(info.state) == _FABRIC_OFF:
            raise nvml.NVMLError(NOT_SUPPORTED)
        mask = getattr(info, "healthMask", None)
        return int(info.state), int(info.status), None if mask is None else int(mask)

    def _reasons(self, handle: Any) -> int:
        nvml = self._nvml
        try:
            return int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
        except nvml.NVMLError_FunctionNotFound:
            return int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))

    def _field(self, handle: Any, number: int) -> int:
        [value] = self._fields(handle, [(number, 0)])
        return value

    def _fields(self, handle: Any, asked: list[tuple[int, int]]) -> list[int]:
        """Fields of NVML, each with its scope, such as a link. A driver that does not know one says so in one of two
        ways."""
        nvml = self._nvml
        values = []
        for found in nvml.nvmlDeviceGetFieldValues(handle, asked) if asked else ():
            if found.nvmlReturn != nvml.NVML_SUCCESS:
                unknown = found.nvmlReturn == _INVALID_ARGUMENT
                raise nvml.NVMLError(NOT_SUPPORTED if unknown else found.nvmlReturn)
            if found.valueType >= len(_MEMBERS):
                raise nvml.NVMLError(nvml.NVML_ERROR_UNKNOWN)
            values.append(int(getattr(found.value, _MEMBERS[found.valueType])))
        return values

    def _read(self, query: Callable[[], Any], name: str = "") -> Reading:
        try:
            value = int(query())
        except self._nvml.NVMLError as error:
            return Reading(value=None, why=f"NVML says: {error}", code=int(error.value))
        can_be = _range_of(name)
        if can_be is not None and value not in can_be:
            return Reading(value=None, why=f"NVML says {value}, which {name} cannot be")
        return Reading(value=value)

    def _text(self, query: Callable[[], Any]) -> str | None:
        try:
            found = query()
        except (self._nvml.NVMLError, UnicodeDecodeError):
            return None
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)

    def events(self) -> XidEvents:
        """Listen to NVML's Xid events from now on."""
        return XidEvents(self._nvml)


NVML: Final = "NVML"
KERNEL_LOG: Final = "the kernel's log"
"""Who tells of Xids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardXid:
    """An Xid, or an SXid of an NVSwitch, and its source."""

    code: int
    gpu: int | None
    """The index of the GPU; None where the source names one that NVML does not list, or has no address of."""
    at: float
    """Seconds of the suite's clock when it was heard."""
    told_by: str
    text: str = ""
    bus: str | None = None
    """The PCI address by which the kernel's log names the GPU or the switch; None for what NVML told."""
    switch: str = ""
    """`nvidia-nvswitch0` for an SXid, which is of no GPU; empty for an Xid."""


class XidEvents:
    """NVML's Xid events, of every GPU that supports them. `deaf` names the GPUs without, and why."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self.deaf: dict[int, str] = {}
        self._indexes: dict[int | None, int] = {}
        self._set: Any = None
        try:
            self._set = nvml.nvmlEventSetCreate()
            count = int(nvml.nvmlDeviceGetCount())
        except nvml.NVMLError as error:
            self.deaf = {-1: f"NVML says: {error}"}
            return
        for index in range(count):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                self._indexes[_address(handle)] = index
                nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, self._set)
            except nvml.NVMLError as error:
                self.deaf[index] = f"NVML says: {error}"

    @property
    def why_none(self) -> str:
        """Why no GPU gives events; empty where some do."""
        return self.deaf.get(-1, "")

    def why_deaf(self, index: int) -> str:
        """Why NVML tells no Xids of this GPU; empty where it does."""
        unlisted = "" if index in self._indexes.values() else "NVML did not list it when its Xid events were asked for"
        return self.why_none or self.deaf.get(index, unlisted)

    def wait(self, seconds: float) -> list[HeardXid]:
        """Wait up to `seconds` for Xids; returns early with the first."""
        nvml = self._nvml
        if self._set is None or self.why_none:
            return []
        try:
            event = nvml.nvmlEventSetWait(self._set, int(seconds * 1000))
        except nvml.NVMLError as error:
            if error.value != nvml.NVML_ERROR_TIMEOUT:
                self.deaf = {-1: f"NVML says: {error}"}
            return []
        # By the handle that was registered: a lost GPU no longer gives its index.
        gpu = self._indexes.get(_address(event.device))
        return [HeardXid(code=int(event.eventData), gpu=gpu, at=clock.monotonic(), told_by=NVML)]

    def close(self) -> None:
        """Free NVML's set of events."""
        if self._set is not None:
            try:
                self._nvml.nvmlEventSetFree(self._set)
            except self._nvml.NVMLError as error:
                sys.stderr.write(f"plimsoll: NVML's events could not be given back: {error}\n")
            self._set = None


@cache
def _range_of(name: str) -> range | None:
    return next((can_be for pattern, can_be in _CAN_BE.items() if fnmatchcase(name, pattern)), None)


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
