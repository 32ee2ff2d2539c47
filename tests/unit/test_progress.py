"""What a person sees while a load takes long: in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time

import pytest

from fixtures.answers import Rate
from fixtures.progress import Progress, Reminder, StatusLine
from plimsoll import clock


class Screen:
    """Keeps what is written."""

    hasmarkup = False
    fullwidth = 120

    def __init__(self) -> None:
        self.text = ""

    def write(self, msg: str, *, flush: bool = False) -> None:
        self.text += msg

    def line(self, s: str = "") -> None:
        self.text += f"{s}\n"


def test_short_work_shows_nothing() -> None:
    screen = Screen()
    Progress(StatusLine(screen, live=True)).update("tiny-llama/bf16 load", 0.5, 1)
    assert screen.text == ""


def test_a_terminal_shows_time_and_memory_in_place() -> None:
    screen = Screen()
    progress = Progress(StatusLine(screen, live=True))
    progress.update("llama load", 1.5, 2 * 10**9)
    progress.update("llama load", 2.0, None)
    assert screen.text.startswith("\rllama load: 1.500 s, 2.00 GB (1.86 GiB)\rllama load: 2.000 s")
    progress.finish()
    assert screen.text.endswith("\r")
    assert "\n" not in screen.text


def test_answers_come_with_their_rate_and_the_time_that_is_left() -> None:
    screen, now = Screen(), iter([100.0, 108.0, 116.0])
    rate = Rate(400, Progress(StatusLine(screen, live=True)), "llama squad", now=lambda: next(now))
    rate.advance(32)
    assert screen.text == "\rllama squad: 32 of 400 answered, 4.0 a second, 92.0 s left; so far: 8.000 s"
    rate.advance(32)
    assert "64 of 400 answered, 4.0 a second, 84.0 s left; so far" in screen.text


def test_elsewhere_there_is_a_plain_line_now_and_then() -> None:
    screen = Screen()
    progress = Progress(StatusLine(screen, live=False))
    for second in range(100):
        progress.update("llama load", float(second), 10**9)
    progress.finish()
    assert "\r" not in screen.text
    assert [line.partition(":")[0] for line in screen.text.splitlines() if line] == ["llama load"] * 3


@pytest.mark.parametrize("live", [True, False])
def test_a_worker_without_a_terminal_shows_nothing(live: bool) -> None:
    progress = Progress(StatusLine(None, live=live))
    progress.update("llama load", 100.0, 1)
    progress.finish()


@pytest.mark.parametrize(("live", "after", "told"), [(True, 1.0, "\r3 of 9"), (False, 30.0, "3 of 9\n")])
def test_who_waits_for_workers_is_told_where_nothing_was_for_a_while(live: bool, after: float, told: str) -> None:
    screen = Screen()
    status = StatusLine(screen, live=live)
    status.beside = lambda: ""
    with status.wiped():
        screen.line("✓ tiny-llama/bf16")
    written = status._written_at
    status.remind(lambda: "3 of 9", written + after / 2)
    assert screen.text == "✓ tiny-llama/bf16\n"
    status.remind(lambda: "3 of 9", written + after)
    assert screen.text == f"✓ tiny-llama/bf16\n{told}"
    status.remind(lambda: "4 of 9", written + after)
    assert screen.text == f"✓ tiny-llama/bf16\n{told}"


def test_a_reminder_ends_before_others_write() -> None:
    screen = Screen()
    reminder = Reminder(StatusLine(screen, live=True), lambda: "3 of 9")
    reminder.stop()
    reminder = Reminder(StatusLine(screen, live=True), lambda: "3 of 9")
    reminder.start()
    reminder.start()
    end = clock.monotonic() + 60
    while not screen.text and clock.monotonic() < end:
        time.sleep(0.02)
    reminder.stop()
    assert screen.text.startswith("\r3 of 9")
    assert not [thread for thread in threading.enumerate() if "_remind" in thread.name]
