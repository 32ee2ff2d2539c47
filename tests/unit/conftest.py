"""Fails a unit test that starts a process or imports torch: it belongs to another group.

An audit hook sees both, however they come about. Its error ends what was tried; a test that swallows the error fails
when it ends. What third-party libraries start when they are imported (pyarrow asks ldconfig) is not the test's doing.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import pytest

_STARTS: Final = frozenset(
    {
        "subprocess.Popen",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
    }
)


class WrongGroupError(AssertionError):
    """A unit test that is none."""


class _Guard:
    """What was tried while a unit test ran, or while its module was imported."""

    def __init__(self) -> None:
        self._refused: frozenset[str] = frozenset()
        self._tried: list[str] = []
        sys.addaudithook(self._hear)

    @contextmanager
    def watch(self, *, processes: bool = True) -> Generator[None]:
        """Refuse torch, and processes, until the end of the block. Raises WrongGroupError for what was tried in it."""
        self._tried.clear()
        self._refused = _STARTS | {"import"} if processes else frozenset({"import"})
        try:
            yield
        finally:
            self._refused = frozenset()
        if self._tried:
            raise WrongGroupError(self._tried[0])

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in self._refused:
            return
        if event != "import":
            self._refuse(f"a unit test starts a process ({event} {arguments[:2]}): move it to tests/process")
        elif arguments[0] == "torch":
            self._refuse("a unit test imports torch: move it to tests/torch")

    def _refuse(self, why: str) -> None:
        self._tried.append(why)
        raise WrongGroupError(why)


_GUARD: Final = _Guard()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Watch the import of a module of unit tests."""
    try:
        with _GUARD.watch(processes=False):
            report = yield
    except WrongGroupError as error:
        # pytest makes failures of what raises in an import, but not of what raises in a hook.
        report.outcome = "failed"
        report.longrepr = str(error)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    """Watch the fixtures."""
    with _GUARD.watch():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Watch the test itself."""
    with _GUARD.watch():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Watch what the fixtures undo."""
    with _GUARD.watch():
        return (yield)
