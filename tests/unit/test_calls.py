"""Threads beside a check: one that dies fails it, and one that ends itself does not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest

from fixtures.calls import _no_thread_dies


def _fail() -> None:
    raise ValueError("lost")


def _run_beside(target: Callable[[], object], name: str) -> None:
    with _no_thread_dies():
        thread = threading.Thread(target=target, name=name)
        thread.start()
        thread.join()


def test_a_thread_that_dies_is_told_by_its_name_and_error() -> None:
    before = threading.excepthook
    with pytest.raises(RuntimeError, match="sampler, which ran beside the check, died of ValueError: lost"):
        _run_beside(_fail, "sampler")
    assert threading.excepthook is before


def test_a_thread_that_ends_itself_is_no_fault() -> None:
    _run_beside(sys.exit, "sampler")
