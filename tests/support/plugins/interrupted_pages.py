"""Ctrl-C while pytest-html writes its page; asked for by `-p`."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_summary(prefix: Any, summary: Any, postfix: Any, session: Any) -> None:
    raise KeyboardInterrupt
