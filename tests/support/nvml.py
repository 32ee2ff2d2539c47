"""Builds the stand-in libnvidia-ml.so.1 and puts it beside a scenario, for processes that start with its folder in
LD_LIBRARY_PATH."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

_NATIVE = Path(__file__).with_name("native")
_SCENARIOS = _NATIVE / "scenarios"


@cache
def _library(without: tuple[str, ...]) -> bytes:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): the stand-in for the NVIDIA driver cannot be built")
    # A function that an old driver lacks gets another name, so that the library does not export it.
    absent = [f"-D{name}=absent_{name}" for name in without]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "built.so"
        # Its name is the driver's, so that a process in which it is loaded finds it wherever it lies.
        named = "-Wl,-soname,libnvidia-ml.so.1"
        flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", named, *absent]
        subprocess.run([compiler, *flags, "-o", str(target), str(_NATIVE / "nvml.c"), "-ldl"], check=True)
        return target.read_bytes()


def stand_in(folder: Path, scenario: str, *lines: str, without: tuple[str, ...] = ()) -> Path:
    """A folder for LD_LIBRARY_PATH with the library and a scenario of tests/support/native/scenarios, and `lines` after
    it; `without` names functions that the driver is too old to have. Skips where nothing can be compiled."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "libnvidia-ml.so.1").write_bytes(_library(without))
    play(folder, scenario, *lines)
    return folder


def play(folder: Path, scenario: str, *lines: str) -> None:
    """Replace the scenario, also while a process is asking: it sees the old one or the new one whole."""
    text = (_SCENARIOS / f"{scenario}.nvml").read_text() + "".join(f"{line}\n" for line in lines)
    fresh = folder / "scenario.new"
    fresh.write_text(text)
    fresh.replace(folder / "scenario")
