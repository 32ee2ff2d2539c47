"""The real pynvml against a stand-in libnvidia-ml.so.1, compiled from tests/support/native/nvml.c."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Build = Callable[..., Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): the stand-in for the NVIDIA driver cannot be built")

    def compile_with(*defines: str) -> Path:
        folder = tmp_path_factory.mktemp("nvml")
        flags = ["-shared", "-fPIC", "-Wall", "-Werror", *(f"-D{define}" for define in defines)]
        target, source = folder / "libnvidia-ml.so.1", ROOT / "tests/support/native/nvml.c"
        subprocess.run([compiler, *flags, "-o", str(target), str(source)], check=True)
        return folder

    return compile_with


def run_probe(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "plimsoll", "probe", *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def probe(folder: Path) -> dict[str, Any]:
    node: dict[str, Any] = json.loads(run_probe(folder, "--json"))
    return node


def test_two_gpus_of_which_one_has_no_serial_number(build: Build) -> None:
    node = probe(build())
    assert (node["driver"], node["cuda"]) == ("580.82.07", "13.1")
    assert node["gpus"] == [
        {
            "index": 0,
            "name": "NVIDIA H200",
            "uuid": "GPU-stand-in-0",
            "serial": "1650000000000",
            "vbios": "96.00.AD.00.01",
            "memory_total": 150754820096,
            "memory_free": 150154820096,
            "compute_capability": "9.0",
            "mig": False,
        },
        {
            "index": 1,
            "name": "NVIDIA H200",
            "uuid": "GPU-stand-in-1",
            "serial": None,
            "vbios": "96.00.AD.00.01",
            "memory_total": 150754820096,
            "memory_free": 149554820096,
            "compute_capability": "9.0",
            "mig": False,
        },
    ]
    assert node["unread"] == [{"what": "gpus[1].serial", "why": "NVML says: Not Supported"}]


def test_the_table_shows_what_was_read_and_what_was_not(build: Build) -> None:
    lines = run_probe(build()).splitlines()
    assert "  0      NVIDIA H200  150.75 GB (140.40 GiB)  150.15 GB (139.84 GiB)  9.0         off" in lines
    assert "  1      GPU-stand-in-1  not read       96.00.AD.00.01" in lines
    assert "  gpus[1].serial  NVML says: Not Supported" in lines
    assert "driver        580.82.07, up to CUDA 13.1" in lines


def test_memory_that_cannot_be_read_is_unread_and_not_zero(build: Build) -> None:
    node = probe(build("SECOND_MEMORY=3", "SECOND_SERIAL=0"))
    assert (node["gpus"][1]["memory_total"], node["gpus"][1]["memory_free"]) == (None, None)
    assert node["unread"] == [{"what": "gpus[1].memory", "why": "NVML says: Not Supported"}]


def test_a_lost_gpu_stays_in_the_list(build: Build) -> None:
    node = probe(build("SECOND_HANDLE=15"))
    assert len(node["gpus"]) == 2
    assert {key: value for key, value in node["gpus"][1].items() if value is not None} == {"index": 1}
    assert node["unread"] == [{"what": "gpus[1]", "why": "NVML says: GPU is lost"}]


@pytest.mark.parametrize(
    ("defines", "split"),
    [(["SPLIT=1"], True), (["MIG=3"], False), (["MIG=999"], None)],
    ids=["split", "cannot be split", "no answer"],
)
def test_split_gpus_are_told_apart_from_no_answer(build: Build, defines: list[str], split: bool | None) -> None:
    node = probe(build("SECOND_SERIAL=0", *defines))
    assert [gpu["mig"] for gpu in node["gpus"]] == [split, split]
    unknown = [] if split is not None else ["gpus[0].mig", "gpus[1].mig"]
    assert [entry["what"] for entry in node["unread"]] == unknown


def test_a_driver_that_is_not_loaded_is_said(build: Build) -> None:
    node = probe(build("INIT=9"))
    assert (node["gpus"], node["driver"], node["cuda"]) == ([], None, None)
    assert node["unread"] == [{"what": "gpus", "why": "NVML did not start: Driver Not Loaded"}]


def test_a_library_that_does_not_load_is_said_with_the_loaders_words(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    node = probe(tmp_path)
    assert node["gpus"] == []
    [entry] = node["unread"]
    assert entry["what"] == "gpus"
    assert entry["why"].startswith("no NVIDIA driver: ")
    assert str(tmp_path / "libnvidia-ml.so.1") in entry["why"]
