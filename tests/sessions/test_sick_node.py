"""Eight GPUs in one session, four of them sick in four ways: each is named, and what is to be done is right.

The driver is the stand-in, and hosts on the processor stand for the GPUs (tests/support/plugins/hosts_for_gpus.py).
Counters rise, and a GPU is lost, once a model is on that GPU. The bit is turned in the weights that one GPU's hosts
load, and found by what they compute. That a GPU is slow comes in as figures do: its hosts answer with rates that follow
from counted work, and the run holds them against the others'.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from plimsoll.report.results import results_schema
from tests.support.nvml import stand_in
from tests.support.subsession import Outcome, run_suite

ASKED: Final = (
    "tiny-llama/nf4-dq and (loads_completely or while_used) or small/bf16 and agrees or as_fast_as or "
    "health and not while_used"
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stand-in lies for one run after the other: hosts of one path come from one fork server."""
    return tmp_path_factory.mktemp("nvml")


def _run(reports: Path, driver: Path, *lines: str, flips: str = "", crawls: str = "") -> Outcome:
    folder = stand_in(driver, "eight-h100", *(line.format(hosts=f"{reports}/*/hosts") for line in lines))
    env = {"LD_LIBRARY_PATH": str(folder), "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}
    env |= {"GPU_THAT_FLIPS": flips, "GPU_THAT_CRAWLS": crawls}
    arguments = ("-m", "tiny", "--device=cuda", "-k", ASKED, "-p", "tests.support.plugins.hosts_for_gpus")
    return run_suite(reports, *arguments, env=env, timeout=900)


@pytest.fixture(scope="module")
def sick(driver: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The run on the sick node."""
    return _run(
        tmp_path_factory.mktemp("sick"),
        driver,
        "gpu.3.ecc.volatile.corrected.dram [exists={hosts}/*:gpu3.log] = 40+1/call",
        "gpu.6.lost [exists={hosts}/*:gpu6.log] = 15",
        flips="gpu2",
        crawls="gpu5",
    )


def _failed(outcome: Outcome) -> set[str]:
    return {cell["id"].partition("::")[2] for cell in outcome.results["cells"] if cell["outcome"] == "fail"}


def _reason(outcome: Outcome, name: str) -> str:
    return next(str(cell["reason"]) for cell in outcome.results["cells"] if cell["id"].endswith(f"::{name}"))


def test_four_sick_gpus_of_eight_are_named_and_no_other(sick: Outcome) -> None:
    assert (sick.status, sick.verdict) == (1, "REJECTED"), sick.output
    assert sick.results["verdict"]["scope"].endswith(" on 8 of 8 GPUs")
    assert _failed(sick) == {
        "test_agrees_with_its_product[gpu2-small/bf16]",
        "test_health_while_used[tiny-llama/nf4-dq:cuda:gpu3]",
        "test_ecc[gpu3]",
        "test_as_fast_as_its_product[gpu5-bf16]",
        "test_as_fast_as_its_product[gpu5-memory]",
        "test_health_while_used[tiny-llama/nf4-dq:cuda:gpu6]",
        "test_gpus_stay[tiny]",
    }
    jsonschema.validate(sick.results, results_schema())


def test_each_says_which_gpu_it_is_and_what_is_to_be_done(sick: Outcome) -> None:
    seen = {
        (found["index"], found["group"], found["action"]) for one in sick.results["health"] for found in one["findings"]
    }
    assert seen == {(3, "ecc", "drain"), (6, "presence", "drain")}
    flipped = _reason(sick, "test_agrees_with_its_product[gpu2-small/bf16]")
    assert "action: drain: take the node out of service" in flipped
    slow = _reason(sick, "test_as_fast_as_its_product[gpu5-bf16]")
    assert "behind_others 0.12;" in slow
    assert "action: reset: end what uses the GPU and reset it" in slow
    for text in (flipped, slow):
        assert text.splitlines()[-1] in sick.output
    page = (sick.folder / "report.html").read_text()
    assert "action: reset: end what uses the GPU" in page
    tiles = page.partition('class="plimsoll-tiles"')[2].partition("</ul></section>")[0].split("plimsoll-tile ")[1:]
    words = [re.findall(r'plimsoll-state [^"]*">([^<]*)', tile)[0] for tile in tiles]
    assert words == ["sound", "sound", "sound", "sick", "sound", "sound", "sick", "sound"]
    assert [("plimsoll-tone-bad" in tile.partition(">")[0]) for tile in tiles] == [
        index in (2, 3, 5, 6) for index in range(8)
    ]
    assert "bf16 behind its product <strong" in tiles[5]


def test_counters_rose_and_the_gpu_was_lost_under_a_model_and_not_before(sick: Outcome) -> None:
    of_models = {one["variant"]: {finding["index"] for finding in one["findings"]} for one in sick.results["health"]}
    assert of_models["tiny-llama/nf4-dq:cuda:gpu0"] == set(), "nothing was wrong with any GPU while the first was used"
    assert of_models["tiny-llama/nf4-dq:cuda:gpu3"] == {3}
    assert of_models["tiny-llama/nf4-dq:cuda:gpu6"] == {6}


def test_of_a_sound_node_nothing_is_said(driver: Path, tmp_path: Path) -> None:
    outcome = _run(tmp_path, driver)
    assert outcome.verdict == "ACCEPTED", outcome.output
    assert _failed(outcome) == set()
    rates: list[dict[str, Any]] = [
        cell["measurements"][0] for cell in outcome.results["cells"] if "as_fast_as" in cell["id"]
    ]
    assert [rate["value"] for rate in rates] == pytest.approx([0.0] * 16)
