"""The environment in which NVML is the stand-in for the NVIDIA driver's library, which the real pynvml then asks."""

from __future__ import annotations

from pathlib import Path

from tests.support.nvml import stand_in


def build_driver(folder: Path, *lines: str, scenario: str = "h200-pair") -> dict[str, str]:
    """Put the stand-in into a folder, beside a scenario with these lines after it (`tests.support.nvml`)."""
    return {"LD_LIBRARY_PATH": str(stand_in(folder, scenario, *lines))}
