"""How far a command is: on a terminal one line, in a log a line now and then, nothing for what is over at once."""

from __future__ import annotations

import io
import os
import pty
import sys
import termios
import time
from collections.abc import Callable
from typing import TextIO

import pytest

from plimsoll import clock
from plimsoll.present import progress_line
from plimsoll.present.progress_line import ProgressLine, WaitingLine
from plimsoll.streams import LiveLine
from plimsoll.units import format_bytes

GB = 10**9


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock: the last of these."""
    times = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: times[-1])
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return times


def shown(stream: TextIO, seconds: list[float], times: list[float]) -> str:
    with ProgressLine(stream, "hashing acme", len(times) * GB) as progress:
        for time in times:
            seconds.append(time)
            progress.add(GB)
    stream.seek(0)
    return stream.read()


def _of(done: int) -> str:
    return f"{format_bytes(done * GB)} of {format_bytes(4 * GB)}"


def test_what_is_over_at_once_is_not_shown(seconds: list[float]) -> None:
    assert shown(Terminal(), seconds, [0.3, 0.9]) == ""
    assert shown(io.StringIO(), seconds, [0.3, 20.0]) == ""


def test_a_terminal_has_one_line_that_goes_at_the_end(seconds: list[float]) -> None:
    *lines, last = shown(Terminal(), seconds, [0.5, 1.0, 1.1, 1.2]).split("\r\x1b[K")
    assert lines == ["", f"hashing acme: {_of(2)}, 1.000 s", f"hashing acme: {_of(4)}, 1.200 s"]
    assert last == ""


def test_a_log_has_a_line_each_half_minute_and_no_escape(seconds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = f"hashing acme: {_of(2)}, 31.0 s\nhashing acme: {_of(4)}, 62.0 s\n"
    assert shown(io.StringIO(), seconds, [5.0, 31.0, 40.0, 62.0]) == lines
    seconds.append(0.0)
    monkeypatch.setenv("TERM", "dumb")
    assert shown(Terminal(), seconds, [5.0, 31.0, 40.0, 62.0]) == lines


def test_a_line_is_no_wider_than_the_terminal(seconds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps cannot be cleared again."""
    monkeypatch.setenv("COLUMNS", "20")
    assert shown(Terminal(), seconds, [2.0]) == "\r\x1b[Khashing acme: 1.00 \r\x1b[K"


def waited(stream: TextIO, monkeypatch: pytest.MonkeyPatch, until: Callable[[str], bool]) -> str:
    """What is shown of a wait that ends once enough was."""
    monkeypatch.setattr(progress_line, "_QUIET_FOR", 0.01)
    monkeypatch.setattr(progress_line, "_PLAIN_EVERY", 0.01)
    with WaitingLine(stream, "asking transformers"):
        end = time.monotonic() + 60
        while not until(stream.getvalue()) and time.monotonic() < end:  # type: ignore[attr-defined]
            time.sleep(0.01)
    stream.seek(0)
    return stream.read()


def test_who_waits_is_told_in_place_and_the_line_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    first, *lines, last = waited(Terminal(), monkeypatch, lambda text: text.count("\x1b[K") >= 2).split("\r\x1b[K")
    assert (first, last) == ("", "")
    assert set(lines) <= {f"asking transformers: {second} s" for second in range(61)}
    assert len(lines) >= 2


def test_who_waits_without_a_terminal_has_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = waited(io.StringIO(), monkeypatch, lambda text: "\n" in text)
    assert text.startswith("asking transformers: ")
    assert "\x1b" not in text


@pytest.mark.parametrize(("columns", "given", "width"), [(50, None, 50), (30, None, 30), (50, "70", 70), (0, None, 80)])
def test_a_line_is_as_wide_as_its_own_stream(
    monkeypatch: pytest.MonkeyPatch, columns: int, given: str | None, width: int
) -> None:
    """Standard error is often a terminal where standard output is a file."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    if given is not None:
        monkeypatch.setenv("COLUMNS", given)
    main, second = pty.openpty()
    with os.fdopen(main, "rb", buffering=0) as seen, os.fdopen(second, "w") as stream:
        termios.tcsetwinsize(second, (24, columns))
        monkeypatch.setattr(sys, "__stdout__", io.StringIO())
        LiveLine(stream).tell("x" * 200)
        assert seen.read(1000) == b"\r\x1b[K" + b"x" * (width - 1)


def test_a_short_wait_is_not_shown() -> None:
    stream = Terminal()
    with WaitingLine(stream, "asking transformers"):
        pass
    assert stream.getvalue() == ""


def test_a_reader_that_left_does_not_end_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_line, "_QUIET_FOR", 0.01)
    stream = Terminal()
    stream.close()
    monkeypatch.setattr(Terminal, "isatty", lambda _: True)
    with WaitingLine(stream, "asking transformers") as line:
        time.sleep(0.1)
        assert line._thread.is_alive()


def test_what_is_counted_is_told_without_a_unit(seconds: list[float]) -> None:
    stream = Terminal()
    with ProgressLine(stream, "reading runs", 3, str) as progress:
        seconds.append(2.0)
        progress.add(1)
    assert stream.getvalue() == "\r\x1b[Kreading runs: 1 of 3, 2.000 s\r\x1b[K"
