"""Lets hosts on the processor stand for the GPUs that a stand-in driver lists; asked for by `-p`.

Torch of the CPU would end every question to a GPU at the gate. Here each GPU has its own host all the same, found by
its UUID, locked, watched and judged as ever; only torch computes on the processor there, at small sizes. What a GPU is
to have wrong is planted in its hosts: `GPU_THAT_FLIPS` has a bit turned in the weights that it loads, `GPU_THAT_CRAWLS`
is 12 % slower than the others (`tests.support.paced`).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

SLOW = 0.88


def pytest_configure() -> None:
    import fixtures.devices
    import fixtures.hosts
    from plimsoll.host import specify
    from plimsoll.host.protocol import Call
    from plimsoll.judge import speed
    from plimsoll.node.devices import Device
    from plimsoll.node.probe import SystemProbe

    probe, start = SystemProbe.probe, fixtures.hosts.SuiteHosts.start

    def probe_with_cuda(self: Any) -> Any:
        node = probe(self)
        torch = (node.packages["torch"] or "").partition("+")[0]
        return replace(node, packages={**node.packages, "torch": torch})

    def start_for_gpu(self: Any, name: str, devices: Any = (), among: Any = ()) -> Any:
        host = start(self, name, devices, among)
        gpu = next((device.id for device in devices if device.index is not None), None)
        if gpu is not None:
            share = SLOW if gpu == os.environ.get("GPU_THAT_CRAWLS") else 1.0
            host.ask(Call(target="tests.support.paced:pace", arguments={"share": share}), 120.0)
            if gpu == os.environ.get("GPU_THAT_FLIPS"):
                host.ask(Call(target="tests.support.golden_faults:plant_one_bit"), 120.0)
        return host

    SystemProbe.probe = probe_with_cuda  # type: ignore[method-assign]
    fixtures.hosts.SuiteHosts.start = start_for_gpu  # type: ignore[method-assign]
    Device.place = property(lambda _: "cpu")  # type: ignore[assignment,method-assign]
    specify._DEVICE["cuda"] = "cpu"
    sizes: Any
    for sizes in (speed._SIDES, speed._ROUNDS):
        sizes["cuda"] = sizes["cpu"]
    # The seconds of a copy are reckoned from its bytes, however few.
    speed._BLOCKS["cuda"] = (2**18, 2**20)
