"""What a person sees while a load takes long: in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import pytest

from fixtures.answers import Rate
from fixtures.progress import Progress, StatusLine


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
