"""Several hosts stand for the GPUs of a node: they agree to the bit, and one that flips a bit is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.golden import read_agreement
from plimsoll.host.client.process import Hosts
from plimsoll.host.protocol import Call
from plimsoll.host.rates import Bits
from plimsoll.judge.golden import bits_request, minority, ways_apart

MODELS = read_agreement()
SMALL = MODELS.models["small"]


def _bits(hosts: Hosts, folder: Path, name: str, quantization: Quantization, fault: str = "") -> Bits:
    host = hosts.start(name, folder / f"{name}.log")
    if fault:
        arguments = {} if fault.endswith("one_bit") else {"name": "1 % noise at each pass"}
        host.ask(Call(target=f"tests.support.golden_faults:{fault}", arguments=arguments), 120.0)
    try:
        return host.ask(bits_request(SMALL, quantization, "cpu", 2), 300.0)
    finally:
        host.close()


@pytest.mark.parametrize("quantization", MODELS.quantizations)
def test_the_host_that_flips_a_bit_is_named(hosts: Hosts, tmp_path: Path, quantization: Quantization) -> None:
    found = {name: _bits(hosts, tmp_path, name, quantization) for name in ("gpu0", "gpu1")}
    found["gpu2"] = _bits(hosts, tmp_path, "gpu2", quantization, "plant_one_bit")
    assert minority(found) == ("gpu2",)
    assert set(ways_apart("gpu2", found)) == set(found["gpu2"].digests), "one bit shows in every way of asking"
    assert not any(bits.unsteady for bits in found.values()), "each of them repeats itself"
    assert all(bits.finite for bits in found.values())


def test_of_two_that_differ_both_are_named(hosts: Hosts, tmp_path: Path) -> None:
    found = {
        "gpu0": _bits(hosts, tmp_path, "gpu0", Quantization.BF16),
        "gpu1": _bits(hosts, tmp_path, "gpu1", Quantization.BF16, "plant_one_bit"),
    }
    assert minority(found) == ("gpu0", "gpu1")


def test_a_device_that_differs_from_itself_is_told(hosts: Hosts, tmp_path: Path) -> None:
    found = _bits(hosts, tmp_path, "gpu0", Quantization.BF16, "plant")
    assert set(found.unsteady) == set(found.digests)
    assert set(found.unsteady.values()) == {2}, "the first round that differs is the second"


def test_rounds_go_on_for_as_long_as_is_asked(hosts: Hosts, tmp_path: Path) -> None:
    host = hosts.start("gpu0", tmp_path / "host.log")
    found = host.ask(bits_request(SMALL, Quantization.BF16, "cpu", 1, 1.0), 300.0)
    host.close()
    assert found.seconds >= 1.0
    assert found.rounds > 1
