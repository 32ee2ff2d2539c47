"""The handlers of a run: where they raise, where they are held, and where they are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest

from fixtures.interrupts import SignalReceived, interrupts_held, signals_heard
from plimsoll import clock

ENDS = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def as_usual() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDS)
def test_a_signal_raises_what_ctrl_c_raises_and_says_its_name(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([100.0, 100.9])  # by the machine's own clock a second may pass between the two
    monkeypatch.setattr(clock, "monotonic", lambda: next(seconds))
    with signals_heard():
        with pytest.raises(KeyboardInterrupt, match=f"^{number.name}$") as caught:
            signal.raise_signal(number)
        signal.raise_signal(number)  # within a second: part of the same end
    assert caught.type is SignalReceived
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_run_inside_a_run_leaves_it_its_handlers() -> None:
    with signals_heard():
        outer = signal.getsignal(signal.SIGTERM)
        with signals_heard():
            assert signal.getsignal(signal.SIGTERM) is outer
        assert signal.getsignal(signal.SIGTERM) is outer


def test_nothing_is_raised_while_interrupts_are_held() -> None:
    with signals_heard():
        with interrupts_held():
            for number in (signal.SIGINT, *ENDS):
                signal.raise_signal(number)
        with pytest.raises(SignalReceived):
            signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("held", [interrupts_held, nullcontext], ids=["held", "heard"])
@pytest.mark.parametrize("number", ENDS)
def test_a_process_that_is_forked_ends_by_the_signal(
    number: signal.Signals, held: Callable[[], AbstractContextManager[None]]
) -> None:
    ear, mouth = os.pipe()
    with signals_heard(), held():
        if (child := os.fork()) == 0:
            os.write(mouth, b".")
            signal.pause()
            os._exit(0)
        os.read(ear, 1)
        os.kill(child, number)
        _, status = os.waitpid(child, 0)
    os.close(ear)
    os.close(mouth)
    assert os.waitstatus_to_exitcode(status) == -number


@pytest.mark.parametrize("held", [interrupts_held, nullcontext], ids=["held", "heard"])
def test_a_process_that_is_started_ends_by_the_signals(held: Callable[[], AbstractContextManager[None]]) -> None:
    show = "import signal; print(*(signal.getsignal(n).name for n in (signal.SIGTERM, signal.SIGHUP)))"
    with signals_heard(), held():
        said = subprocess.run([sys.executable, "-c", show], check=True, capture_output=True, text=True).stdout
    assert said == "SIG_DFL SIG_DFL\n"
