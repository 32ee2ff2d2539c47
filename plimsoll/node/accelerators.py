"""Finds accelerators other than NVIDIA's: AMD (ROCm), Apple (MPS), Intel (XPU). They are named, and never used.

No model runs on them: the checks measure quantization, memory and health by means that only NVIDIA's stack has. On a
node with such a device the suite says so, instead of "no NVIDIA driver, install it".
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plimsoll.node.node import Accelerator, Unread

_NVIDIA, _AMD, _INTEL = "0x10de", "0x1002", "0x8086"
_MAKERS: Final = {_NVIDIA: "NVIDIA", _AMD: "AMD", _INTEL: "Intel"}
_GPU_CLASSES: Final = ("0x0300", "0x0302", "0x0380", "0x1200")
"""PCI classes of display controllers, 3-D controllers and processing accelerators: the first four digits."""
_DISCRETE: Final = "xe"
"""The kernel driver of Intel's GPUs for torch's XPU build; `i915` also drives graphics inside processors."""
_AMD_COMPUTE: Final = Path("/dev/kfd")


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnBus:
    accelerators: tuple[Accelerator, ...] = ()
    unread: tuple[Unread, ...] = ()


def read_accelerators(
    devices: Path = Path("/sys/bus/pci/devices"), compute: Path = _AMD_COMPUTE
) -> tuple[tuple[Accelerator, ...], tuple[Unread, ...]]:
    """The machine's accelerators other than NVIDIA's; never raises for lack of a driver, a library or an answer.

    Empty where an NVIDIA GPU is on the bus: then graphics inside the processor do not matter.
    """
    if _on_bus(devices, _NVIDIA):
        return (), ()
    found = [_apple(), _amd(devices, compute), _intel(devices)]
    return (
        tuple(each for part in found for each in part.accelerators),
        tuple(each for part in found for each in part.unread),
    )


def _apple() -> _OnBus:
    """The GPU inside an Apple processor, which torch calls mps."""
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return _OnBus()
    return _OnBus(accelerators=(Accelerator(kind="mps", name=platform.processor() or "Apple GPU"),))


def _amd(devices: Path, compute: Path) -> _OnBus:
    """AMD's GPUs: by amdsmi, which gives names and memory; else by the PCI bus, where the compute driver is there."""
    on_bus = _on_bus(devices, _AMD)
    if not on_bus or not compute.exists():
        return _OnBus()
    try:
        import amdsmi  # type: ignore[import-not-found]  # ROCm brings it, and most machines have none
    except (ImportError, KeyError, OSError) as error:
        # amdsmi raises KeyError and OSError as it looks for its library when it is imported.
        why = f"amdsmi cannot be used: {error}"
        return _OnBus(
            accelerators=tuple(Accelerator(kind="rocm", name=name) for name in on_bus),
            unread=(Unread(what="accelerators", why=why),),
        )
    try:
        return _OnBus(accelerators=_asked(amdsmi))
    except Exception as error:  # noqa: BLE001  its exceptions share no base of their own, and a probe never ends a run
        return _OnBus(
            accelerators=tuple(Accelerator(kind="rocm", name=name) for name in on_bus),
            unread=(Unread(what="accelerators", why=f"amdsmi says: {error}"),),
        )


def _asked(amdsmi: Any) -> tuple[Accelerator, ...]:
    amdsmi.amdsmi_init()
    try:
        return tuple(
            Accelerator(
                kind="rocm",
                name=str(amdsmi.amdsmi_get_gpu_asic_info(handle).get("market_name") or "AMD GPU"),
                uuid=_or_none(lambda h=handle: str(amdsmi.amdsmi_get_gpu_device_uuid(h)), amdsmi),  # type: ignore[misc]
                memory=_or_none(lambda h=handle: int(amdsmi.amdsmi_get_gpu_memory_total(h, _vram(amdsmi))), amdsmi),  # type: ignore[misc]
            )
            for handle in amdsmi.amdsmi_get_processor_handles()
        )
    finally:
        amdsmi.amdsmi_shut_down()


def _vram(amdsmi: Any) -> Any:
    return amdsmi.AmdSmiMemoryType.VRAM


def _or_none(query: Callable[[], Any], amdsmi: Any) -> Any:
    """One answer, or None: a figure that a GPU does not give is left out, not the GPU."""
    try:
        return query()
    except amdsmi.AmdSmiLibraryException:
        return None


def _intel(devices: Path) -> _OnBus:
    names = _on_bus(devices, _INTEL, driver=_DISCRETE)
    return _OnBus(accelerators=tuple(Accelerator(kind="xpu", name=name) for name in names))


def _on_bus(devices: Path, vendor: str, driver: str | None = None) -> list[str]:
    """`AMD 0x74a1 at 0000:05:00.0` of every GPU of a vendor on the bus, bound to a kernel driver if one is named."""
    found = []
    for device in sorted(devices.glob("*")):
        if _word(device / "vendor") != vendor or (_word(device / "class") or "")[:6] not in _GPU_CLASSES:
            continue
        bound = (device / "driver").resolve().name if (device / "driver").exists() else None
        if driver is None or bound == driver:
            found.append(f"{_MAKERS[vendor]} {_word(device / 'device')} at {device.name}")
    return found


def _word(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
