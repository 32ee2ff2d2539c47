"""Whole runs on a node whose GPUs a scenario plays: who is named, what the verdict is, and what is to be done."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema

from plimsoll.report.results import results_schema
from tests.support.nvml import stand_in
from tests.support.subsession import Outcome, run_suite

GPU = "GPU-4d3e0000-0000-4000-8000-00000000000"
GROUPS = ("ecc", "remapped_rows", "throttle", "xid", "links")
FILES = ("acceptance/test_health.py", "acceptance/test_node.py")
"""Where all that is asked here lies: to collect the rest takes as long as these checks."""


def run(folder: Path, tmp_path: Path, *arguments: str) -> Outcome:
    """The checks of the node's GPUs, and none of a model: nothing here can hold one."""
    env = {"LD_LIBRARY_PATH": str(folder), "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}
    chosen = "health and not while_used or test_gpus_answer"
    return run_suite(tmp_path, "-k", chosen, "-m", "gpu1b", *arguments, *FILES, env=env)


def findings(outcome: Outcome) -> set[tuple[Any, ...]]:
    seen = outcome.results["health"]
    return {(each["index"], each["group"], each["action"]) for one in seen for each in one["findings"]}


def test_of_eight_gpus_the_one_whose_errors_rise_and_the_one_that_is_lost_are_named(tmp_path: Path) -> None:
    # Nobody but a look asks for the mode: the GPU answers the one at the beginning, and is lost in the one at the end.
    lines = ["gpu.3.ecc.volatile.corrected.dram = 40+1/call", "gpu.6.ecc.mode [calls>=2] = !15"]
    outcome = run(stand_in(tmp_path / "nvml", "eight-h100", *lines), tmp_path)
    assert (outcome.status, outcome.verdict) == (1, "REJECTED")
    assert findings(outcome) == {(3, "ecc", "drain"), (6, "presence", "drain")}
    failed = {cell["id"].partition("::")[2] for cell in outcome.results["cells"] if cell["outcome"] == "fail"}
    assert failed == {"test_ecc[gpu3]", "test_gpus_stay[gpu1b]"}
    outcomes = {cell["id"].partition("::")[2]: cell["outcome"] for cell in outcome.results["cells"]}
    assert outcomes["test_ecc[gpu6]"] == "skip", "what a lost GPU does not tell is not sound"
    assert (outcomes["test_ecc[gpu5]"], outcomes["test_links[gpu3]"]) == ("pass", "pass")
    assert re.search(rf"GPU 3 \({GPU}3\): ecc.volatile.corrected.dram rose by \d+ to \d+ within", outcome.output)
    assert re.search(rf"GPU 6 \({GPU}6\): it is lost: NVML says: GPU is lost", outcome.output)
    assert "take the node out of service, keep nvidia-bug-report.sh, reboot" in outcome.output
    page = (outcome.folder / "report.html").read_text()
    assert "Health of the GPUs" in page
    assert f"{GPU}3" in page
    jsonschema.validate(outcome.results, results_schema())


def test_a_gpu_that_is_lost_from_the_beginning_hides_no_other(tmp_path: Path) -> None:
    lines = ["gpu.6.lost = 15", "gpu.3.remap.failed = 1"]
    outcome = run(stand_in(tmp_path / "nvml", "eight-h100", *lines), tmp_path)
    assert outcome.verdict == "REJECTED"
    assert findings(outcome) == {(3, "remapped_rows", "rma"), (6, "presence", "drain")}


def cells(outcome: Outcome) -> dict[str, str]:
    return {cell["id"].partition("::")[2]: cell["outcome"] for cell in outcome.results["cells"]}


def after_the_probe(tmp_path: Path) -> str:
    """The condition that holds once the run is planned: after the probe, and before the watch begins."""
    return f"[exists={tmp_path}/latest]"


def test_gpus_that_are_gone_between_probe_and_watch_are_missed(tmp_path: Path) -> None:
    line = f"count {after_the_probe(tmp_path)} = 5"
    outcome = run(stand_in(tmp_path / "nvml", "eight-h100", line), tmp_path)
    assert outcome.verdict == "REJECTED"
    assert findings(outcome) == {(index, "presence", "drain") for index in (5, 6, 7)}
    assert outcome.results["health"][0]["gpus"] == list(range(8))
    of_gpus = {name: state for name, state in cells(outcome).items() if re.search(r"\[gpu[5-7]\]", name)}
    assert {f"test_{group}[gpu6]" for group in GROUPS} <= of_gpus.keys()
    assert "pass" not in {state for name, state in of_gpus.items() if name.partition("[")[0] != "test_gpus_answer"}
    assert cells(outcome)["test_ecc[gpu4]"] == "pass"


def test_a_list_of_gpus_that_cannot_be_read_leaves_all_unread(tmp_path: Path) -> None:
    always = f"count {after_the_probe(tmp_path)} = !999"
    outcome = run(stand_in(tmp_path / "nvml", "eight-h100", always), tmp_path)
    assert outcome.verdict == "INCOMPLETE"
    assert findings(outcome) == set()
    assert {cells(outcome)[f"test_{group}[gpu{index}]"] for group in GROUPS for index in range(8)} == {"skip"}
    assert cells(outcome)["test_gpus_stay[gpu1b]"] == "skip"


def test_gpus_whose_numbers_changed_since_the_probe_are_not_judged_by_anothers_figures(tmp_path: Path) -> None:
    at = after_the_probe(tmp_path)
    lines = [f"gpu.2.uuid {at} = {GPU}3", f"gpu.3.uuid {at} = {GPU}2", "gpu.3.remap.failed = 1"]
    outcome = run(stand_in(tmp_path / "nvml", "eight-h100", *lines), tmp_path)
    assert outcome.verdict == "REJECTED"
    assert findings(outcome) == {(2, "presence", "drain"), (3, "presence", "drain")}
    assert {cells(outcome)[f"test_{group}[gpu{index}]"] for group in GROUPS for index in (2, 3)} == {"skip"}
    assert f"GPU 2 ({GPU}2): another GPU has its number now: the driver lists {GPU}3 there" in outcome.output


def test_a_sound_node_is_accepted_and_what_was_read_is_kept(tmp_path: Path) -> None:
    outcome = run(stand_in(tmp_path / "nvml", "eight-h100"), tmp_path)
    assert outcome.verdict == "ACCEPTED", outcome.output
    [seen] = outcome.results["health"]
    assert (seen["variant"], seen["gpus"], seen["findings"], seen["unread"]) == (None, list(range(8)), [], [])
    assert seen["last"][7]["values"]["ecc.volatile.uncorrected.sram"] == 0


def test_a_counter_that_cannot_be_read_leaves_the_run_incomplete_with_a_next_step(tmp_path: Path) -> None:
    folder = stand_in(tmp_path / "nvml", "eight-h100", without=("nvmlDeviceGetRemappedRows",))
    outcome = run(folder, tmp_path)
    assert outcome.verdict == "INCOMPLETE"
    skipped = [cell for cell in outcome.results["cells"] if cell["outcome"] == "skip"]
    assert {cell["id"].rpartition(":")[2] for cell in skipped} == {f"test_remapped_rows[gpu{n}]" for n in range(8)}
    assert {cell["code"] for cell in skipped} == {"counter"}
    assert skipped[0]["fix"] == "update the NVIDIA driver, which is older than what nvidia-ml-py asks it"


def asked_for_tenants(folder: Path, tmp_path: Path, *arguments: str) -> Outcome:
    env = {"LD_LIBRARY_PATH": str(folder), "CUDA_VISIBLE_DEVICES": f"{GPU}2"}
    return run_suite(tmp_path, "-k", "test_tenants", "-m", "gpu1b", *arguments, *FILES, env=env)


def test_others_on_a_gpu_are_said_or_fail_as_is_asked(tmp_path: Path) -> None:
    other = "gpu.2.processes = 4242:9000000000"
    said = asked_for_tenants(stand_in(tmp_path / "a", "eight-h100", other), tmp_path)
    assert said.verdict == "ACCEPTED"
    assert f"GPU 2 ({GPU}2) is used by process 4242 (9.00 GB (8.38 GiB)): memory and speed" in said.output
    failed = asked_for_tenants(stand_in(tmp_path / "b", "eight-h100", other), tmp_path, "--tenants=fail")
    assert failed.verdict == "REJECTED"
    [cell] = failed.results["cells"]
    assert "fix: end them, or give the suite another GPU (CUDA_VISIBLE_DEVICES)" in cell["reason"]


def test_others_are_waited_for_where_that_is_asked(tmp_path: Path) -> None:
    lines = ["gpu.2.processes = 4242:9000000000", "gpu.2.processes [calls>=4] = "]
    outcome = asked_for_tenants(stand_in(tmp_path / "nvml", "eight-h100", *lines), tmp_path, "--tenants=wait")
    assert outcome.verdict == "ACCEPTED"
    [cell] = outcome.results["cells"]
    [measured] = cell["measurements"]
    assert (measured["metric"], measured["value"]) == ("vram_of_others", 0)
