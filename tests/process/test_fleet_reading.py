"""Evidence of many nodes read by several processes, one of which is killed."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from plimsoll.errors import PlimsollError
from plimsoll.fleet.discovery import Lineage
from plimsoll.fleet.reading import read_nodes
from tests.support.fleet_runs import MadeNode, write_node


def test_a_reading_process_that_is_killed_is_one_message(tmp_path: Path) -> None:
    run = write_node(tmp_path, MadeNode(name="node01"))
    found = read_nodes([Lineage(paths=(run / "evidence.jsonl",))] * 1000, 2)
    before = {child.pid for child in psutil.Process().children()}
    next(found)
    for child in psutil.Process().children():
        if child.pid not in before:
            child.kill()
    with pytest.raises(PlimsollError, match="a process that read evidence was killed, likely for memory; --jobs 1"):
        list(found)
