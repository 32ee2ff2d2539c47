"""The summary of a step in GitHub Actions: what a reader of a job sees before any log.

GitHub names the file in GITHUB_STEP_SUMMARY, shows what is appended to it as Markdown, and drops all of it where it is
larger than 1 MiB. What goes wrong here is told and changes nothing: a page for readers is no part of a verdict.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError

VARIABLE: Final = "GITHUB_STEP_SUMMARY"
LARGEST: Final = 2**20
"""Bytes of one step's summary, by GitHub's documentation."""

_CUT: Final = "\n\nCut here, for a step's summary holds 1 MiB; the whole is in {whole}.\n"


def step_summary(environment: Mapping[str, str] | None = None) -> Path | None:
    """The file that GitHub Actions reads; None outside of it."""
    named = (os.environ if environment is None else environment).get(VARIABLE)
    return Path(named) if named else None


def required_step_summary() -> Path:
    """The same, for who asks for it. Raises PlimsollError outside of GitHub Actions."""
    path = step_summary()
    if path is None:
        raise PlimsollError(f"--step-summary: {VARIABLE} is not set, as it is in a job of GitHub Actions; leave it out")
    return path


def append_step_summary(path: Path, text: str, whole: str) -> str | None:
    """Append the text, cut where the file would grow too large; `whole` names where all of it is.

    Returns a line that says what went wrong, None where all is well.
    """
    try:
        with path.open("ab") as file:
            # After what other commands of the step have written, which may not end its last line.
            before = file.tell()
            file.write(fitting("\n" * 2 * bool(before) + text, LARGEST - before, whole))
    except OSError as error:
        return f"warning: the step summary {path} could not be written ({error.strerror or error})"
    return None


def fitting(text: str, room: int, whole: str) -> bytes:
    """As many whole lines of the text as fit into `room` bytes of UTF-8, and a sentence where that is not all; nothing
    where not even the sentence fits."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= room:
        return data
    sentence = _CUT.format(whole=whole).encode("utf-8", "backslashreplace")
    if len(sentence) > room:
        return b""
    return data[: data.rfind(b"\n", 0, room - len(sentence) + 1) + 1] + sentence
