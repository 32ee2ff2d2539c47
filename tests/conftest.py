"""Fixtures that several of the suite's own tests share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.tiny.store import Store
from tests.support.broken_checkpoints import shipped
from tests.support.subsession import ROOT


@pytest.fixture(scope="session")
def trained() -> dict[str, Path]:
    """The folders of three trained checkpoints, built by the command that users run, where they are not there yet."""
    names = ["tiny-llama", "tiny-qwen", "tiny-mixtral"]
    subprocess.run([sys.executable, "-m", "plimsoll", "tiny", "build", *names], cwd=ROOT, check=True, timeout=300)
    return {name: Store().checkpoint_path(shipped(name)) for name in names}
