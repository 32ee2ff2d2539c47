"""Accelerators that are no NVIDIA GPU: seen on the bus, asked by their own library, gated, and never a crash."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from plimsoll.catalogue.entries import Quantization
from plimsoll.gate.decide import decide_on
from plimsoll.gate.need import golden_need
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.node.accelerators import read_accelerators
from plimsoll.node.node import Accelerator
from tests.support.run_events import NODE

MI300X, ARC, H200 = ("0x1002", "0x74a1", "0x120000"), ("0x8086", "0xe20b", "0x030000"), ("0x10de", "0x2335", "0x030200")
AMDSMI = """
class AmdSmiLibraryException(Exception): pass
class AmdSmiMemoryType: VRAM = 0
def amdsmi_init(): {init}
def amdsmi_shut_down(): pass
def amdsmi_get_processor_handles(): return [0, 1]
def amdsmi_get_gpu_asic_info(handle): return {{"market_name": "AMD Instinct MI300X"}}
def amdsmi_get_gpu_device_uuid(handle): return f"uuid-{{handle}}"
def amdsmi_get_gpu_memory_total(handle, kind):
    if handle: raise AmdSmiLibraryException("no answer")
    return 205822885888
"""


def bus(folder: Path, *cards: tuple[str, str, str], driver: str = "xe") -> Path:
    """A /sys/bus/pci/devices with these vendors, devices and classes."""
    (folder / "drivers" / driver).mkdir(parents=True, exist_ok=True)
    for number, (vendor, device, kind) in enumerate(cards):
        place = folder / "devices" / f"0000:{number:02x}:00.0"
        place.mkdir(parents=True)
        for name, word in (("vendor", vendor), ("device", device), ("class", kind)):
            (place / name).write_text(f"{word}\n")
        (place / "driver").symlink_to(folder / "drivers" / driver)
    return folder / "devices"


def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, init: str = "pass") -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/amdsmi.py").write_text(AMDSMI.format(init=init))
    monkeypatch.syspath_prepend(tmp_path / "lib")


@pytest.fixture(autouse=True)
def _no_library_of_another_test() -> Iterator[None]:
    yield
    sys.modules.pop("amdsmi", None)


@pytest.fixture
def compute(tmp_path: Path) -> Path:
    (tmp_path / "kfd").touch()
    return tmp_path / "kfd"


def test_amd_gpus_are_named_by_amdsmi(tmp_path: Path, compute: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library(tmp_path, monkeypatch)
    found, unread = read_accelerators(bus(tmp_path, MI300X, MI300X), compute)
    name = "AMD Instinct MI300X"
    assert found == (
        Accelerator(kind="rocm", name=name, uuid="uuid-0", memory=205822885888),
        Accelerator(kind="rocm", name=name, uuid="uuid-1", memory=None),
    )
    assert unread == ()


@pytest.mark.parametrize("init", ["raise KeyError('ROCM_HOME')", "raise RuntimeError('no driver')", "1 / 0"])
def test_a_library_that_fails_leaves_what_the_bus_says(
    tmp_path: Path, compute: Path, monkeypatch: pytest.MonkeyPatch, init: str
) -> None:
    library(tmp_path, monkeypatch, init)
    found, unread = read_accelerators(bus(tmp_path, MI300X), compute)
    assert found == (Accelerator(kind="rocm", name="AMD 0x74a1 at 0000:00:00.0"),)
    assert [entry.what for entry in unread] == ["accelerators"]


def test_without_the_library_the_bus_names_them_too(tmp_path: Path, compute: Path) -> None:
    found, unread = read_accelerators(bus(tmp_path, MI300X), compute)
    assert [each.kind for each in found] == ["rocm"]
    assert "amdsmi cannot be used" in unread[0].why


def test_a_display_without_the_driver_for_computing_is_none(tmp_path: Path) -> None:
    assert read_accelerators(bus(tmp_path, MI300X), tmp_path / "no-kfd") == ((), ())


def test_intel_gpus_are_those_of_the_driver_that_torch_runs_on(tmp_path: Path, compute: Path) -> None:
    found, _ = read_accelerators(bus(tmp_path / "a", ARC), compute)
    assert found == (Accelerator(kind="xpu", name="Intel 0xe20b at 0000:00:00.0"),)
    assert read_accelerators(bus(tmp_path / "b", ARC, driver="i915"), compute) == ((), ())


def test_an_apple_processor_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    found, _ = read_accelerators(tmp_path)
    assert [each.kind for each in found] == ["mps"]


def test_beside_an_nvidia_gpu_none_of_them_is_what_the_node_is_for(tmp_path: Path, compute: Path) -> None:
    assert read_accelerators(bus(tmp_path, MI300X, H200), compute) == ((), ())


@pytest.mark.parametrize("kind", ["rocm", "mps", "xpu"])
def test_the_gate_turns_a_variant_away_by_capability_and_advises_no_driver(kind: str) -> None:
    packages = dict.fromkeys(("torch", "transformers", "accelerate", "bitsandbytes"), "99")
    node = replace(NODE, gpus=(), accelerators=(Accelerator(kind=kind, name="Its GPU"),), packages=packages)
    skip = decide_on(node, replace(golden_need("cuda:0", Quantization.BF16), packages=()))
    assert isinstance(skip, Skip)
    assert (skip.code, skip.have) == (SkipCode.CAPABILITY, f"Its GPU ({kind})")
    assert "driver" not in skip.fix


def test_a_recorded_node_keeps_them_and_an_old_record_has_none() -> None:
    node = replace(NODE, accelerators=(Accelerator(kind="rocm", name="x", memory=5),))
    assert type(node).from_json(node.to_json()) == node
    old = NODE.to_json()
    del old["accelerators"]
    assert type(node).from_json(old).accelerators == ()
