"""Builds the stand-in for the NVIDIA driver's library, which the real pynvml then asks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "native" / "nvml.c"


def build_driver(folder: Path, *defines: str) -> dict[str, str]:
    """Compile the stand-in into a folder; returns the environment in which NVML is the stand-in."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): the stand-in for the NVIDIA driver cannot be built")
    flags = ["-shared", "-fPIC", "-Wall", "-Werror", *(f"-D{define}" for define in defines)]
    subprocess.run([compiler, *flags, "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE)], check=True)
    return {"LD_LIBRARY_PATH": str(folder)}
