"""What becomes of answers that several checks need, and of devices that give none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.device_asking import DeviceAsker
from fixtures.device_speed import SpeedMeter
from fixtures.device_values import DeviceValues
from fixtures.generation_timing import GenerationTimer
from fixtures.hosts import SuiteHosts
from plimsoll import clock
from plimsoll.host.client.torchrun import RanksFailedError
from plimsoll.host.failures import HostError, HostTimeout, Raised
from plimsoll.host.rates import Rates
from plimsoll.node.devices import CPU_DEVICE, Device
from plimsoll.plan.cases import MEMORY
from plimsoll.suspension import _STOPS

FOUND = Rates(best="1", rounds=(1.0,), medians={"1": 1.0})


class Taken:
    """Notes which devices were taken, in place of hosts that nobody starts here."""

    def __init__(self) -> None:
        self.taken: list[tuple[Device, ...]] = []

    def take(self, devices: Sequence[Device]) -> frozenset[str]:
        self.taken.append(tuple(devices))
        return frozenset()


def asker(folder: Path, hosts: Taken) -> DeviceAsker:
    return DeviceAsker("speed", cast("Any", None), cast("SuiteHosts", hosts), DeviceValues(folder))


def timeout(starved: str | None) -> HostTimeout:
    return HostTimeout(
        host="speed",
        request="MeasureMatmul",
        seconds=300.0,
        log=Path("log"),
        deadline=300.0,
        stack="",
        ending="killed",
        exitcode=None,
        signal="SIGKILL",
        last_lines=(),
        starved=starved,
    )


def test_a_busy_machine_is_a_skip_for_whoever_asks_first_and_after(tmp_path: Path) -> None:
    hosts = Taken()

    def make() -> Rates:
        raise timeout("0.1 of 2 cores")

    for _ in range(2):
        with pytest.raises(pytest.skip.Exception, match=r"skip\[busy\].*0\.1 of 2 cores"):
            asker(tmp_path, hosts).settled("bf16 on cpu", Rates, (CPU_DEVICE,), make)
    with pytest.raises(pytest.skip.Exception, match=r"skip\[busy\]"):
        asker(tmp_path, hosts).anew("soak", (CPU_DEVICE,), make)


def test_ranks_that_hang_fail_and_those_that_others_kept_from_running_skip(tmp_path: Path) -> None:
    def make() -> Rates:
        raise RanksFailedError("2 ranks did not finish in 300 s", starved)

    for number, (starved, raised) in enumerate([("5% of it", pytest.skip.Exception), (None, pytest.fail.Exception)]):
        for _ in range(2):
            with pytest.raises(raised, match=starved or "2 ranks did not finish in 300 s"):
                asker(tmp_path, Taken()).settled(f"ranks {number}", Rates, (CPU_DEVICE,), make)


def suspended() -> None:
    """What is noted where this process was stopped for three seconds until now, with all else of the run."""
    _STOPS.add(clock.monotonic() - 3, clock.monotonic())


def test_a_speed_that_was_measured_while_the_run_was_suspended_is_a_skip_for_all_who_ask(tmp_path: Path) -> None:
    calls = []

    class Suspended(DeviceAsker):
        """Asks while the run is suspended, which takes as long as a slow device."""

        def ask(self, *_: Any, **__: Any) -> Any:
            calls.append(1)
            suspended()
            return FOUND

    meter = SpeedMeter(
        Suspended("speed", cast("Any", None), cast("Any", Taken()), DeviceValues(tmp_path)), cast("Any", None), {}
    )
    for _ in range(2):
        with pytest.raises(pytest.skip.Exception, match=r"skip\[suspended\]: has a run that was suspended for"):
            meter.rates(CPU_DEVICE, MEMORY)
    assert len(calls) == 1


def test_a_failure_while_the_run_was_suspended_is_a_skip(tmp_path: Path) -> None:
    """Ranks wait for each other by clocks of their own, which go on, and give up after minutes."""

    def make() -> Rates:
        suspended()
        raise RanksFailedError("rank 0 of 2 did not join by gloo: wait timeout after 120000ms")

    with pytest.raises(pytest.skip.Exception, match=r"skip\[suspended\]: has a run that .* ranks on cpu"):
        asker(tmp_path, Taken()).settled("ranks on cpu", Rates, (CPU_DEVICE,), make)


def test_a_generation_that_was_timed_while_the_run_was_suspended_is_timed_again_for_who_asks_next() -> None:
    answers: dict[object, object] = {}

    def ask_once(request: object) -> object:
        if request not in answers:
            suspended()
        return answers.setdefault(request, "timed")

    variant = SimpleNamespace(id="tiny-llama/bf16", tier=SimpleNamespace(device="cpu"))
    loaded = SimpleNamespace(variant=variant, report=None, ask_once=ask_once, forget=answers.pop)
    timer = GenerationTimer(
        *cast("tuple[Any, Any, Any]", (loaded, None, SimpleNamespace(rates=lambda *_: FOUND))),
        devices=(CPU_DEVICE,),
        benchmark=None,
        record=lambda: None,
        rounds=None,
    )
    for _ in range(2):
        with pytest.raises(pytest.skip.Exception, match=r"skip\[suspended\].* tiny-llama/bf16, 8 at once"):
            timer._timed(8)
    assert not answers


def test_a_device_that_gives_no_answer_fails_whoever_asks(tmp_path: Path) -> None:
    calls = []

    def make() -> Rates:
        calls.append(1)
        raise timeout(None)

    for _ in range(2):
        with pytest.raises(pytest.fail.Exception, match="bf16 on cpu"):
            asker(tmp_path, Taken()).settled("bf16 on cpu", Rates, (CPU_DEVICE,), make)
    assert len(calls) == 1, "a device that hangs costs its deadline once"


def test_the_device_is_taken_only_where_something_is_made(tmp_path: Path) -> None:
    hosts = Taken()
    for _ in range(2):
        assert asker(tmp_path, hosts).settled("bf16 on cpu", Rates, (CPU_DEVICE,), lambda: FOUND) == FOUND
    assert hosts.taken == [(CPU_DEVICE,)]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 256.00 MiB."),
        ("torch.AcceleratorError", "CUDA error: out of memory"),
    ],
)
def test_a_model_that_leaves_no_room_for_measuring_is_a_skip_and_alone_it_is_a_failure(
    tmp_path: Path, kind: str, message: str
) -> None:
    """The gate saw the GPU before the model was on it. Without one beside it, memory that is missing is a fault."""
    raised = Raised(kind=kind, message=message, traceback="")

    def full(*_: object, **__: object) -> Rates:
        raise HostError(host="speed", request="MeasureMemory", seconds=1.0, log=Path("log"), raised=raised)

    full_gpu = asker(tmp_path, Taken())
    full_gpu.ask = full  # type: ignore[method-assign,assignment]
    meter = SpeedMeter(full_gpu, cast("Any", None), {})
    gpu = Device(id="gpu0", kind="cuda", index=0)
    with pytest.raises(pytest.skip.Exception, match=r"skip\[vram\].*no room on gpu0 beside the model"):
        meter.rates(gpu, MEMORY, (gpu,))
    other = Device(id="gpu1", kind="cuda", index=1)
    with pytest.raises(pytest.fail.Exception, match="out of memory"):
        meter.rates(other, MEMORY)
