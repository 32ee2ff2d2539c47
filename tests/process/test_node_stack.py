"""Supported versions come from the project's own requirements, and each fault names what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.node.node import Node
from plimsoll.node.probe import RecordedProbe

ROOT = Path(__file__).parents[2]


@pytest.fixture
def node() -> Node:
    return RecordedProbe(ROOT / "tests/support/recorded/synthetic-8xh100-80g.json").probe()


def test_installed_metadata_decide_where_there_are_any(tmp_path: Path) -> None:
    folder = tmp_path / "plimsoll_gpu-9.9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: plimsoll-gpu\nVersion: 9.9\nRequires-Python: >=3.9\n"
        "Requires-Dist: psutil>=999\nRequires-Dist: torch>=998; extra == 'models'\n"
        "Requires-Dist: hypothesis>=997; extra == 'dev'\nRequires-Dist: plimsoll-gpu[models]; extra == 'suite'\n"
        "Requires-Dist: winloop>=1; sys_platform == 'win32'\n"
    )
    script = (
        "from pathlib import Path; import sys; from plimsoll.node.probe import RecordedProbe\n"
        "from plimsoll.node.stack import check_stack, installed_packages\n"
        "for fault in check_stack(RecordedProbe(Path(sys.argv[1])).probe()): print(fault.requirement)\n"
        "print(installed_packages()['plimsoll'])"
    )
    recorded = str(ROOT / "tests/support/recorded/synthetic-8xh100-80g.json")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-c", script, recorded]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["psutil>=999", "torch>=998", "9.9"]
