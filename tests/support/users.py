"""Processes that use what only one or some may have at a time (`gpu_user`, `ram_user`), and what they say of it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.subsession import ROOT

User = subprocess.Popen[str]


class Users:
    """Starts users, and ends them all. Each lives until its input ends."""

    def __init__(self) -> None:
        self._started: list[User] = []

    def start(self, module: str, *values: object) -> User:
        """One more user, `python -m tests.support.MODULE VALUE...`."""
        command = [sys.executable, "-m", f"tests.support.{module}", *map(str, values)]
        user = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._started.append(user)
        return user

    def end(self) -> None:
        """Kill those that are still there."""
        for user in self._started:
            user.kill()
            user.wait()
            for pipe in (user.stdin, user.stdout):
                assert pipe is not None
                pipe.close()


def said(user: User) -> str:
    """The next line that a user writes; empty once it has ended."""
    assert user.stdout is not None
    return user.stdout.readline().strip()
