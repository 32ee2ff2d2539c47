"""Checkpoints that several tests of real tensors load, and damage copies of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.random_checkpoints import save_checkpoint


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of three shards with random weights."""
    return save_checkpoint("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(llama, tmp_path / "copy"))
