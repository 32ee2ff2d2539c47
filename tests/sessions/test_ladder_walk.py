"""The Phi-3 walk of docs/ladder.md: its commands are run as they stand there, and end as the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import plimsoll
from tests.support.subsession import ROOT, run_suite

PAGE = ROOT / "docs" / "ladder.md"


def walks() -> Iterator[list[list[str]]]:
    """The commands of each block of shell lines, in their order."""
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL):
        yield [shlex.split(line) for line in block.splitlines() if line.strip()]


def test_the_page_has_both_walks() -> None:
    small, real = walks()
    assert [command[0] for command in small] == ["plimsoll", "plimsoll", "pytest"]
    assert "--weights" in real[0], "the real shapes are walked with weights that are made up"


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("number", [0, 1], ids=["tiny-phi", "phi-3-mini"])
def test_a_walk_ends_with_an_accepted_entry(tmp_path: Path, number: int) -> None:
    walk = list(walks())[number]
    accepted = False
    for tool, *arguments in walk:
        words = [re.sub(r"(?<![\w/])my-[\w-]+\.toml", lambda m: str(tmp_path / m[0]), word) for word in arguments]
        if tool == "plimsoll":
            done = plimsoll(*words, cwd=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            outcome = run_suite(tmp_path / "reports", *words)
            assert outcome.status == 0, outcome.output
            assert outcome.verdict == "ACCEPTED"
            accepted = True
    assert accepted
