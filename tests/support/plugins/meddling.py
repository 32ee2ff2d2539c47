"""Sabotage of a session's plan, calls, reports and status, as plugins and conftest files do it; asked for by `-p`.

`MEDDLE` names what is done, `;` between several.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

DONE = os.environ.get("MEDDLE", "").split(";")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "drop" in DONE:
        del items[2:]
    if "drop-and-tell" in DONE:
        config.hook.pytest_deselected(items=items[2:])
        items[:] = items[:2]
    if "double" in DONE:
        items += items[:1]
    for item in items:
        if isinstance(item, pytest.Function) and item.name.endswith("[tiny]"):
            if "replace" in DONE:
                item.obj = lambda **_: None
            if "soften" in DONE:
                item.obj = _softened(item.obj)


def _softened(function: Any) -> Any:
    """As plugins do that collect failures, or make them warnings."""

    @functools.wraps(function)
    def call(**arguments: Any) -> None:
        with contextlib.suppress(Exception):
            function(**{**arguments, "node": None})

    return call


@pytest.hookimpl(wrapper=True, specname="pytest_collection_modifyitems")
def pytest_collection_modifyitems_around(items: list[pytest.Item]) -> Generator[None, None, None]:
    yield
    if "drop-around" in DONE:
        del items[2:]
    if "refuse" in DONE:
        raise pytest.UsageError("planted")
    if "crash" in DONE:
        raise RuntimeError("planted")


def pytest_collection_finish(session: pytest.Session) -> None:
    if "drop-at-the-end" in DONE:
        del session.items[2:]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    return True if "pass-over" in DONE and item.name.endswith("[tiny]") else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> bool | None:
    return True if "pass-over-all" in DONE else None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if "ignore" in DONE and collection_path.name == "test_node.py" else None


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makemodule(module_path: Path) -> Generator[None, Any, Any]:
    """Faults of a check itself, as it would be written."""
    module = yield
    if module_path.name == "test_node.py" and {"dying-thread", "giving"} & {*DONE}:
        module.obj.test_stack = _written_otherwise(module.obj.test_stack)
    return module


def _written_otherwise(function: Any) -> Any:
    @functools.wraps(function)
    def call(**arguments: Any) -> Any:
        function(**arguments)
        if "dying-thread" in DONE:
            thread = threading.Thread(target=int, args=("no number",))
            thread.start()
            thread.join()
        return False if "giving" in DONE else None

    return call


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(name: str) -> Generator[None, Any, Any]:
    found = yield
    return [] if "makes-none" in DONE and name.startswith("test_stack") else found


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if "swallow" in DONE and pyfuncitem.name.endswith("[tiny]"):
        return True
    if "again" in DONE and pyfuncitem.name.endswith("[tiny]"):
        names = pyfuncitem._fixtureinfo.argnames
        pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    if "until-it-passes" in DONE and pyfuncitem.name.endswith("[tiny]"):
        with contextlib.suppress(AttributeError):
            names = pyfuncitem._fixtureinfo.argnames
            pyfuncitem.obj(**{**{name: pyfuncitem.funcargs[name] for name in names}, "node": None})
    if "fail" in DONE and pyfuncitem.name.endswith("[tiny]"):
        raise AssertionError("planted")
    if "fail-with-words" in DONE and pyfuncitem.name.endswith("[tiny]"):
        # A comment is no message, nor is what an assertion compares: CUDA out of memory
        said = "No space left on device"
        assert said == "Paris", "the answer is wrong"
    if "deprecated" in DONE and pyfuncitem.name.endswith("[tiny]"):
        warnings.warn("a package of this node will change", DeprecationWarning, stacklevel=1)
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if "rewrite" in DONE and report.when == "call":
        report.outcome, report.longrepr = "passed", None
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if "status" in DONE:
        session.exitstatus = 0
    for word, status in (("exit-at-the-end", 0), ("exit-as-failed", 1), ("exit-as-interrupted", 2)):
        if word in DONE:
            os._exit(status)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    if "leave-at-the-end" in DONE:
        sys.exit(int(os.environ.get("MEDDLE_WITH", "0")))
    """As plugins end a session whose threads hang, and as they fail on the way."""
    if "exit-at-once" in DONE:
        os._exit(0)
    if "fail-at-the-end" in DONE:
        raise RuntimeError("planted")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    if "no-judge" in DONE:
        session.config.pluginmanager.unregister(name="plimsoll-judging")
    if "untimed" in DONE:
        from fixtures.load_timing import LoadTimer, Timing

        LoadTimer.time = lambda *_: Timing(median=0.1, reason="")  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main() -> Generator[None, Any, Any]:
    status = yield
    return 0 if "last-status" in DONE else status


def pytest_runtest_logfinish(nodeid: str) -> None:
    """What happens to the evidence in mid-run, and Ctrl-C."""
    folder = Path(os.environ["MEDDLE_REPORTS"], "latest") if "MEDDLE_REPORTS" in os.environ else None
    if folder is None or not nodeid.endswith("[gpu1b]"):
        return
    evidence = folder / "evidence.jsonl"
    if "remove" in DONE:
        evidence.unlink()
    if "null" in DONE:
        evidence.unlink()
        evidence.symlink_to("/dev/null")
    if "pipe" in DONE:
        evidence.unlink()
        os.mkfifo(evidence)
    if "cut" in DONE:
        os.truncate(evidence, evidence.stat().st_size // 2)
    if "interrupt" in DONE:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.hookimpl(trylast=True)
def pytest_keyboard_interrupt() -> None:
    if "interrupt-again" in DONE:
        raise KeyboardInterrupt


@pytest.hookimpl(tryfirst=True, specname="pytest_sessionfinish")
def pytest_sessionfinish_interrupted() -> None:
    if "interrupt-at-the-end" in DONE:
        raise KeyboardInterrupt
