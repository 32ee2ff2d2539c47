"""Says where the manual tells of a check: `docs/checks/load.md#test_loads_completely`."""

from __future__ import annotations

import re
from typing import Final

PAGES: Final = "docs/checks"
"""The folder of the pages, seen from the root of the project."""
_CHECK: Final = re.compile(r"acceptance/(?:\w+/)*test_(?P<page>\w+)\.py::(?P<name>test_\w+)")


def page_of(file: str) -> str:
    """`docs/checks/load.md` of `acceptance/test_load.py`."""
    return f"{PAGES}/{file.rpartition('/')[2].removeprefix('test_').removesuffix('.py')}.md"


def manual_of(check: str) -> str:
    """Where the page of a check is, by its node id, with parameters or without; empty for what is no check of the
    suite."""
    found = _CHECK.match(check)
    return "" if found is None else f"{PAGES}/{found['page']}.md#{found['name']}"
