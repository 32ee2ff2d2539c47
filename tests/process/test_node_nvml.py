"""The real pynvml against a stand-in libnvidia-ml.so.1 (tests/support/native/nvml.c) that plays a scenario."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.forked import Forks
from tests.support.forked_sessions import run_python
from tests.support.forked_stacks import STACKS
from tests.support.nvml import stand_in
from tests.support.subsession import Outcome, run_suite

ROOT = Path(__file__).parents[2]
Build = Callable[..., Path]
SECOND_SERIAL = "gpu.1.serial = 1650000000001"


def split_into(count: int) -> list[str]:
    """Both GPUs split; NVML leaves the first place of each free."""
    names = [f"gpu.{gpu}.mig.{n + 1}.uuid = MIG-stand-in-{gpu}-{n}" for gpu in (0, 1) for n in range(1, count + 1)]
    return [
        "gpu.?.mig = 1",
        *names,
        "gpu.*.mig.?.name = NVIDIA H200 MIG 1g.18gb",
        "gpu.*.mig.?.memory.total = 18000000000",
        "gpu.*.mig.?.memory.used = 1200000000",
    ]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    def make(*lines: str, scenario: str = "h200-pair", without: tuple[str, ...] = ()) -> Path:
        return stand_in(tmp_path_factory.mktemp("nvml"), scenario, *lines, without=without)

    return make


@pytest.fixture(scope="module")
def stack() -> Forks:
    """What processes are forked from that have imported the model stack."""
    return STACKS


def python(*arguments: str, **env: str) -> str:
    """What a process says that ends well."""
    done = run_python(*arguments, env={**os.environ, "PYTHONPATH": str(ROOT), **env})
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_probe(folder: Path, *arguments: str) -> str:
    return python("-m", "plimsoll", "probe", *arguments, LD_LIBRARY_PATH=str(folder))


def probe(folder: Path) -> dict[str, Any]:
    node: dict[str, Any] = json.loads(run_probe(folder, "--json"))
    return node


def started_probe(folder: Path) -> dict[str, Any]:
    """The same from a process whose loader looks for the library."""
    variables = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "plimsoll", "probe", "--json"]
    node: dict[str, Any] = json.loads(subprocess.run(command, env=variables, check=True, capture_output=True).stdout)
    return node


def test_two_gpus_of_which_one_has_no_serial_number(build: Build) -> None:
    node = started_probe(build())
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
            "instances": [],
            "unified": False,
            "lost": None,
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
            "instances": [],
            "unified": False,
            "lost": None,
        },
    ]
    assert node["unread"] == [{"what": "gpus[1].serial", "why": "NVML says: Not Supported", "code": 3}]


def test_the_table_shows_what_was_read_and_what_was_not(build: Build) -> None:
    lines = run_probe(build()).splitlines()
    assert "  0      NVIDIA H200  150.75 GB (140.40 GiB)  150.15 GB (139.84 GiB)  9.0         off" in lines
    assert "  1      GPU-stand-in-1  not read       96.00.AD.00.01" in lines
    assert "  gpus[1].serial  NVML says: Not Supported" in lines
    assert "driver        580.82.07, up to CUDA 13.1" in lines


def test_memory_that_cannot_be_read_is_unread_and_not_zero(build: Build) -> None:
    node = probe(build("gpu.1.memory.total = !999", SECOND_SERIAL))
    assert (node["gpus"][1]["memory_total"], node["gpus"][1]["memory_free"]) == (None, None)
    assert not node["gpus"][1]["unified"]
    assert node["unread"] == [{"what": "gpus[1].memory", "why": "NVML says: Unknown Error", "code": 999}]


def test_a_gpu_without_memory_of_its_own_is_told_from_one_that_does_not_say(build: Build) -> None:
    node = probe(build("gpu.0.memory.total = !3", SECOND_SERIAL))
    assert [gpu["unified"] for gpu in node["gpus"]] == [True, False]
    assert node["gpus"][0]["memory_free"] is None
    assert node["unread"] == []


def test_a_lost_gpu_stays_in_the_list(build: Build) -> None:
    node = probe(build("gpu.1.handle = !15"))
    assert len(node["gpus"]) == 2
    assert {key: value for key, value in node["gpus"][1].items() if value not in (None, [], False)} == {
        "index": 1,
        "lost": "NVML says: GPU is lost",
    }
    assert node["unread"] == [{"what": "gpus[1]", "why": "NVML says: GPU is lost", "code": 15}]


@pytest.mark.parametrize(
    ("define", "lost"),
    [
        ("gpu.1.handle = !16", "GPU requires restart"),
        ("gpu.1.handle = !999", "Unknown Error"),
        ("gpu.1.memory.total = !15", "GPU is lost"),
        ("gpu.1.name = !15", "GPU is lost"),
        ("gpu.1.handle = !4", None),
        ("gpu.1.memory.total = !999", None),
        ("gpu.1.name = !3", None),
    ],
)
def test_a_gpu_that_has_gone_is_told_from_one_that_one_may_not_ask(build: Build, define: str, lost: str | None) -> None:
    said = [gpu["lost"] for gpu in probe(build(define))["gpus"]]
    assert said == [None, None if lost is None else f"NVML says: {lost}"]


def test_the_instances_of_split_gpus_are_read_with_their_own_memory(build: Build) -> None:
    node = probe(build(*split_into(2), SECOND_SERIAL))
    assert node["gpus"][1]["instances"] == [
        {
            "uuid": f"MIG-stand-in-1-{number}",
            "name": "NVIDIA H200 MIG 1g.18gb",
            "memory_total": 18_000_000_000,
            "memory_free": 16_800_000_000,
        }
        for number in (1, 2)
    ]
    assert node["unread"] == []


def test_instances_that_one_may_not_look_at_are_noted(build: Build) -> None:
    node = probe(build(*split_into(1), "gpu.*.mig.*.handle = !4", SECOND_SERIAL))
    assert [gpu["instances"] for gpu in node["gpus"]] == [[], []]
    assert node["unread"][0] == {
        "what": "gpus[0].instances[1]",
        "why": "NVML says: Insufficient Permissions",
        "code": 4,
    }


@pytest.mark.parametrize(
    ("defines", "capabilities"),
    [((), [(9, 0), (9, 0)]), (("gpu.1.handle = !15",), [(9, 0)]), (("init = !18",), [])],
    ids=["two", "one lost", "mismatch"],
)
def test_a_gpu_that_does_not_answer_keeps_no_host_from_starting(
    build: Build, stack: Forks, defines: tuple[str, ...], capabilities: list[tuple[int, int]]
) -> None:
    """The fork server asks for compute capabilities as it imports bitsandbytes, where torch sees a GPU."""
    code = (
        "from types import SimpleNamespace as N\n"
        "from plimsoll.host.server.preload import _compute_capabilities\n"
        "print(_compute_capabilities(N(version=N(hip=None), cuda=N(is_available=lambda: True))))\n"
    )
    done = stack.run(["-c", code], {**os.environ, "LD_LIBRARY_PATH": str(build(*defines))})
    assert (done.stdout.strip(), done.returncode) == (str(capabilities), 0), done.stderr


@pytest.mark.parametrize(
    ("defines", "split"),
    [(["gpu.?.mig = 1"], True), (["gpu.?.mig = !3"], False), (["gpu.?.mig = !999"], None)],
    ids=["split", "cannot be split", "no answer"],
)
def test_split_gpus_are_told_apart_from_no_answer(build: Build, defines: list[str], split: bool | None) -> None:
    node = probe(build(SECOND_SERIAL, *defines))
    assert [gpu["mig"] for gpu in node["gpus"]] == [split, split]
    unknown = [] if split is not None else ["gpus[0].mig", "gpus[1].mig"]
    assert [entry["what"] for entry in node["unread"]] == unknown


def test_a_driver_that_is_not_loaded_is_said(build: Build) -> None:
    node = probe(build("init = !9"))
    assert (node["gpus"], node["driver"], node["cuda"]) == ([], None, None)
    assert node["unread"] == [{"what": "gpus", "why": "NVML did not start: Driver Not Loaded", "code": 9}]


def test_a_library_that_does_not_load_is_said_with_the_loaders_words(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    node = started_probe(tmp_path)
    assert node["gpus"] == []
    [entry] = node["unread"]
    assert entry["what"] == "gpus"
    assert entry["why"].startswith("the library of the NVIDIA driver does not load (")
    assert str(tmp_path / "libnvidia-ml.so.1") in entry["why"]


def test_a_node_without_a_driver_says_so_before_the_loaders_words(tmp_path: Path) -> None:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        [entry] = started_probe(tmp_path)["unread"][:1]
        assert entry["why"].startswith("no NVIDIA driver is installed (libnvidia-ml.so.1: cannot open ")
    else:
        pytest.skip("this machine has a driver")


def acceptance(folder: Path, tmp_path: Path, *arguments: str) -> Outcome:
    return run_suite(
        tmp_path,
        "-k",
        "test_gpus_answer or test_stack",
        *arguments,
        env={"LD_LIBRARY_PATH": str(folder), "CUDA_VISIBLE_DEVICES": "0"},
    )


def test_a_node_with_a_lost_gpu_is_rejected(build: Build, tmp_path: Path) -> None:
    outcome = acceptance(build("gpu.1.handle = !15"), tmp_path, "-m", "gpu1b")
    assert outcome.verdict == "REJECTED"
    assert "GPU 1 is lost: NVML says: GPU is lost; fix: take the node out of service and reboot it" in outcome.output


def test_a_node_with_all_its_gpus_is_accepted(build: Build, tmp_path: Path) -> None:
    assert acceptance(build(), tmp_path, "-m", "gpu1b", "--expect-gpus=2").verdict == "ACCEPTED"


def test_a_node_with_another_number_of_gpus_is_rejected_on_any_tier(build: Build, tmp_path: Path) -> None:
    outcome = acceptance(build(), tmp_path, "-m", "tiny", "--expect-gpus=8")
    assert outcome.verdict == "REJECTED"
    assert "NVML lists 2 GPUs, and --expect-gpus says 8: one may have fallen off the bus" in outcome.output


def test_the_number_of_gpus_is_held_where_its_check_is_not_selected(build: Build, tmp_path: Path) -> None:
    selected = ("-m", "gpu1b", "-k", "test_gpus_answer")
    assert acceptance(build(), tmp_path, *selected, "--expect-gpus=2").verdict == "ACCEPTED"
    outcome = acceptance(build(), tmp_path, *selected, "--expect-gpus=8")
    assert (outcome.status, outcome.verdict) == (6, "INCOMPLETE")
    assert "NVML lists 2 GPUs, and --expect-gpus says 8: one may have fallen off the bus" in outcome.output


def test_the_fork_server_asks_for_gpus_in_a_child_alone(stack: Forks) -> None:
    """What asking initialises, NVML or the CUDA runtime, would be forked into every host, and fail there."""
    code = (
        "import json, os, sys\n"
        "from types import SimpleNamespace as N\n"
        "from plimsoll.host.server import preload\n"
        "asked = []\n"
        "def answer(value): asked.append(os.getpid()); return value\n"
        "cuda = N(is_available=lambda: answer(True), device_count=lambda: answer(3), get_device_capability=None)\n"
        "torch = N(version=N(hip=None), cuda=cuda)\n"
        "with preload._told_by_a_child(torch):\n"
        "    told = torch.cuda.is_available(), torch.cuda.device_count(), torch.cuda.get_device_capability(0)\n"
        "dead = preload._in_a_child(lambda: os._exit(3), {'count': 0})\n"
        "json.dump([told, list(asked), dead, torch.cuda.device_count()], sys.stdout)\n"
    )
    done = stack.run(["-c", code], os.environ)
    assert done.returncode == 0, done.stderr
    told, asked, dead, afterwards = json.loads(done.stdout)
    assert told[:2] == [True, 3]
    assert len(asked) == 0, "this process itself was asked for nothing"
    assert (dead, afterwards) == ({"count": 0}, 3)


def tenants(folder: Path, asked: str) -> str:
    """What is said of the tenants of a GPU, asked as the suite asks."""
    code = f"from plimsoll.node.tenants import read_tenants; print(read_tenants({asked}))"
    return python("-c", code, LD_LIBRARY_PATH=str(folder)).strip()


def test_who_has_another_instance_of_a_split_gpu_is_no_tenant_of_this_one(build: Build) -> None:
    others = [
        "gpu.0.processes = 4242:9000000000",
        "gpu.0.mig.2.processes = 4242:9000000000",
        "gpu.0.mig.1.processes = ",
    ]
    folder = build(*others, scenario="a100-mig")
    assert tenants(folder, "0, (), 'MIG-a100-0'") == "used by nobody else"
    assert tenants(folder, "0, (), 'MIG-a100-1'").startswith("used by process 4242")
    assert tenants(folder, "0").startswith("used by process 4242")


def test_a_gpu_of_which_nothing_is_told_is_not_empty(build: Build) -> None:
    """Not supported by a driver in a container: neither processes nor memory."""
    silent = [f"gpu.1.{what} = !3" for what in ("processes", "processes.graphics", "memory.total", "memory.used")]
    assert "Not Supported" in tenants(build(*silent), "1")
    assert tenants(build(*silent[2:], "gpu.1.processes = "), "1") == "used by nobody else"
