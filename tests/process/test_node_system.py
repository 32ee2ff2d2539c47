"""The probe of this machine, control groups from recorded kernel files, and nodes read back from a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.node.storage import hub_cache

RECORDED = Path(__file__).parents[1] / "support/recorded"


def test_cores_are_those_that_this_process_may_use() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from plimsoll.node.processor import read_cpu; cpu, _ = read_cpu()\n"
        "print(cpu.logical_cores, cpu.physical_cores)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=RECORDED.parents[1]
    )
    assert done.stdout.split() == ["1", "1"]


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({}, "~/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x", "HF_HOME": "/h"}, "/h/hub"),
        ({"HF_HOME": "/h", "HF_HUB_CACHE": "/c"}, "/c"),
        ({"HF_HOME": "$BASE/h"}, "/base/h/hub"),
        ({"HF_HOME": "~nobody-has-this-home/h"}, "~nobody-has-this-home/h/hub"),
    ],
)
def test_weights_land_where_huggingface_hub_puts_them(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"BASE": "/base", **variables}.items():
        monkeypatch.setenv(name, value)
    assert hub_cache() == Path(os.path.expanduser(folder)).absolute()  # noqa: PTH111  which leaves a `~` of nobody's
    script = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert Path(theirs.strip()).absolute() == hub_cache()
