"""Planning as a user meets it: `pytest -m plan` in real sub-sessions, and `plimsoll plan`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import plimsoll
from tests.support.driver import build_driver
from tests.support.subsession import ROOT, Outcome, environment, run_inside, run_suite

PROMISE = """
[[claim]]
variants = ["llama-3.1-70b-instruct/nf4-dq"]
metric = "vram_needed"
high = 30
unit = "GB"
source = "a brochure"
"""


def noted(outcome: Outcome, cell: str, metric: str) -> Any:
    (event,) = (
        event
        for event in outcome.events
        if event["event"] == "measurement" and event["metric"] == metric and cell in event["cell"]
    )
    return event


def test_each_pairing_is_a_cell_that_judges_what_is_left(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", "plan and primary", "-k", "llama or omni")
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED")
    results = outcome.results["cells"]
    assert len(results) == 16  # two variants on eight machines with one GPU
    assert all(cell["judgements"] for cell in results)
    refused = noted(outcome, "llama-3.1-70b-instruct/nf4-dq-on-a10-24g", "vram_left")
    assert refused["value"] < 0
    assert refused["context"]["decision"].startswith("skip[vram]")
    assert noted(outcome, "llama-3.1-70b-instruct/nf4-dq-on-a10-24g", "largest_context")["value"] is None
    fits = noted(outcome, "llama-3.1-70b-instruct/nf4-dq-on-h100-80g", "largest_context")
    assert 50_000 < fits["value"] < 131_072
    assert fits["context"]["method"] == "predicted"
    assert not [event for event in outcome.events if event["event"] in ("load", "gate")], "nothing is loaded or gated"
    assert "16 of 16 checks are of the plan: predicted for reference machines with nothing loaded" in outcome.output


def test_a_promise_that_cannot_be_kept_fails_its_cell(tmp_path: Path) -> None:
    catalogue = tmp_path / "brochure.toml"
    catalogue.write_text(PROMISE)
    outcome = run_suite(
        tmp_path,
        "-m",
        "plan and primary",
        "-k",
        "nf4-dq-on-l40s or nf4-dq-on-a100-40g or nf4-dq-on-a10-24g",
        f"--catalogue={catalogue}",
    )
    by_machine = {cell["id"].partition("-on-")[2]: cell for cell in outcome.results["cells"] if "llama" in cell["id"]}
    # 48 GB are enough, so there the brochure is right; 24 GB are less than it asks for; 40 GB refute it.
    assert {name: cell["outcome"] for name, cell in by_machine.items()} == {
        "l40s-48g]": "pass",
        "a10-24g]": "pass",
        "a100-40g]": "fail",
    }
    assert "a brochure says that llama-3.1-70b-instruct/nf4-dq does with 30.00 GB" in by_machine["a100-40g]"]["reason"]
    assert outcome.status == 1


IDLE = """
[[claim]]
variants = ["llama-3.1-70b-instruct/*", "qwen2.5-omni-7b/int8"]
metric = "load_time"
high = 2
unit = "min"
source = "our own rule"
"""


def test_a_claim_that_no_check_judges_is_noted_wherever_the_verdict_stands(tmp_path: Path) -> None:
    catalogue = tmp_path / "mine.toml"
    catalogue.write_text(IDLE)
    selection = ("-m", "plan and primary", "-k", "(llama or omni) and l40s", f"--catalogue={catalogue}")
    first = run_suite(tmp_path / "first", *selection)
    assert (first.status, first.verdict) == (0, "ACCEPTED"), first.output
    named = "llama-3.1-70b-instruct/nf4-dq, qwen2.5-omni-7b/int8"
    note = (
        f"no check holds load_time of {named} to at most 2 min 00 s (mine.toml: claim[0]), so this limits nothing; "
        "checks judge cold_load_time"
    )
    assert first.results["verdict"]["notes"][0] == note
    assert f"note: {note}" in " ".join(first.output.split())
    assert note in (first.folder / "summary.md").read_text().replace("\\", "")
    assert "no check holds load_time of" in (first.folder / "report.html").read_text()
    # The same is read from the evidence later, of one run and of two; workers of xdist tell it once.
    second = run_suite(tmp_path / "second", *selection, "-n2")
    both = [str(first.folder), str(second.folder)]
    for runs in (both[:1], both[1:], both):
        done = plimsoll("report", *runs, "--output", str(tmp_path / "again"))
        assert done.stdout.count("note: no check holds load_time of") == 1, done.stdout + done.stderr
    for asked in (("plan", "--profile=l40s-48g"), ("audit",)):
        done = plimsoll(*asked, "-m", "primary", f"--catalogue={catalogue}")
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines() == [f"plimsoll: note: {note}"]


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (("-m", "gpu1b"), False),
        ((), False),
        (("-m", "plan and gpu1b"), True),
        (("acceptance/test_plan.py",), True),
        (("-m", "not plan"), True),
    ],
)
def test_planning_is_asked_by_name_alone(tmp_path: Path, arguments: tuple[str, ...], asked: bool) -> None:
    outcome = run_inside(tmp_path, *arguments, "--collect-only", "-q")
    collected = any("test_plan.py" in line for line in outcome.output.splitlines() if "::" in line)
    assert collected is (asked and "not plan" not in arguments)


# --- the command


def test_the_command_shows_a_machine_that_is_not_there() -> None:
    done = plimsoll("plan", "-m", "primary", "--profile", "a100-40g")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if "/" in line.split(" ")[0]}
    assert "skip[vram]" in lines["llama-3.1-70b-instruct/nf4-dq"]
    assert "choose a smaller quantization, or a node with more GPU memory" in lines["llama-3.1-70b-instruct/nf4-dq"]
    assert lines["qwen2.5-7b/int8"].split()[1] == "run"
    assert "2 of 4 would run" in done.stdout


def test_json_has_the_figures_in_base_units() -> None:
    done = plimsoll("plan", "-m", "primary and nf4-dq", "--profile", "h200-141g", "--json", "--disk-speed", "1")
    data = json.loads(done.stdout)
    (plan,) = data["plans"]
    assert data["assumptions"] == {"disk_bytes_per_second": 1e9, "link_bytes_per_second": 12e9}
    llama = next(row for row in plan["rows"] if row["variant"].startswith("llama"))
    assert (llama["decision"], llama["checkpoint_bytes"]) == ("run", 2 * 70_553_706_496)
    assert llama["load_seconds"] == pytest.approx(141.1 + 141.1 / 12, rel=1e-3)
    assert llama["available_bytes"] == 141_000_000_000
    assert llama["left_bytes"] == llama["available_bytes"] - llama["needed_bytes"]
    assert plan["totals"]["disk_bytes"] == sum(row["checkpoint_bytes"] for row in plan["rows"])


def test_patterns_of_profiles_and_several_gpus() -> None:
    done = plimsoll("plan", "-m", "gpu70b and bf16", "--profile", "a100-80g*", "--json")
    plans = {plan["machine"]: plan["rows"][0] for plan in json.loads(done.stdout)["plans"]}
    assert {name: row["decision"] for name, row in plans.items()} == {
        "a100-80g": "skip",
        "a100-80g-x2": "run",
        "a100-80g-x4": "run",
        "a100-80g-x8": "run",
    }
    assert plans["a100-80g-x4"]["left_bytes"] > plans["a100-80g-x2"]["left_bytes"] > 0


def test_weights_device_and_layers_are_planned_as_a_run_loads_them() -> None:
    asked = ("plan", "-m", "gpu8b and bf16 and llama", "--profile", "a100-40g", "--json")
    whole = json.loads(plimsoll(*asked).stdout)["plans"][0]["rows"]
    done = plimsoll(*asked, "--weights=synthetic", "--layers=2", "--device=cpu")
    assert done.returncode == 0, done.stderr
    cut = json.loads(done.stdout)["plans"][0]["rows"]
    assert [row["variant"] for row in cut] == [
        f"{model}:2-layers/{rest}:cpu" for model, rest in (row["variant"].split("/") for row in whole)
    ]
    assert {row["device"] for row in cut} == {"cpu"}
    assert all(small["needed_bytes"] < big["needed_bytes"] / 4 for small, big in zip(cut, whole, strict=True))
    assert all("login" in row["note"] for row in whole)
    assert not any("login" in row["note"] for row in cut), "weights that are made need none"


def test_a_folder_of_ones_own_is_planned_with(trained: dict[str, Path]) -> None:
    done = plimsoll("plan", "-m", "tiny and bf16", f"--model-dir=tiny-llama={trained['tiny-llama']}", "--json")
    assert done.returncode == 0, done.stderr
    lost = plimsoll("plan", "-m", "tiny and bf16", "--model-dir=tiny-llama=nowhere-at-all")
    assert (lost.returncode, "there is no folder" in lost.stderr) == (2, True)


def test_load_settings_are_planned_with_and_named() -> None:
    arguments = ("plan", "-m", "gpu1b and bf16", "--profile", "a100-40g", "--json")
    fused, eager = (
        json.loads(plimsoll(*arguments, *more).stdout)["plans"][0]["rows"]
        for more in ((), ("--load-config", '{"attn_implementation": "eager"}'))
    )
    assert [row["variant"].partition(":")[0] for row in eager] == [row["variant"] for row in fused]
    assert all(":load-" in row["variant"] for row in eager)
    # Eager attention keeps the scores of each pair of tokens.
    assert all(own["largest_batch"] < 0.5 * other["largest_batch"] for own, other in zip(eager, fused, strict=True))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--load-config", '{"dtpye": "float16"}'), 2, "--load-config: 1 setting cannot be used:\n  unknown setting"),
        (("-m", "gpu70"), 2, "unknown mark 'gpu70' in -m 'gpu70'; did you mean 'gpu70b'?"),
        (("--profile", "a100-40"), 2, "no profile 'a100-40'; did you mean 'a100-40g'?"),
        (("-m", "tiny and gpu70b"), 5, "-m 'tiny and gpu70b' selects none of"),
        (("--disk-speed", "0"), 2, "argument --disk-speed: must be GB/s, such as 3.5, not '0'"),
        (("--length", "-3"), 2, "argument --length: must be a whole number from 1 to 1,000,000,000, not '-3'"),
    ],
)
def test_mistakes_are_one_message(arguments: tuple[str, ...], status: int, message: str) -> None:
    done = plimsoll("plan", *arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def own_entry(folder: Path, architecture: str) -> Path:
    """A catalogue of a model that does not ship, and so has no prediction that ships."""
    entry = folder / "odd.toml"
    entry.write_text(
        f'[[model]]\nid = "odd"\nfamily = "other"\narchitecture = "{architecture}"\nsource = "synthetic"\n'
        'licence = "none"\n[model.config]\nmodel_type = "llama"\n[model.generation]\nmax_new_tokens = 8\n'
        '[[variant]]\nmodels = ["odd"]\nquantizations = ["bf16"]\ntier = "tiny"\n'
    )
    return entry


def test_a_model_that_cannot_be_built_is_told_in_its_row(tmp_path: Path) -> None:
    entry = own_entry(tmp_path, "MistralForCausalLM")
    done = plimsoll("plan", "-m", "other", "--catalogue", str(entry), env={"PLIMSOLL_CACHE": str(tmp_path)})
    assert done.returncode == 6
    assert "builds LlamaForCausalLM from model_type 'llama', and the entry says MistralForCausalLM" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def where_no_host_starts(cache: Path, *arguments: str) -> dict[str, Any]:
    """What a plan prints as JSON where the stack cannot be imported."""
    broken = cache / "broken"
    (broken / "torch").mkdir(parents=True)
    (broken / "torch" / "__init__.py").write_text("raise ImportError('not here')")
    done = subprocess.run(
        [sys.executable, "-m", "plimsoll", "plan", *arguments, "--json"],
        cwd=ROOT,
        env=environment({"PLIMSOLL_CACHE": str(cache), "PYTHONPATH": str(broken)}),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_second_plan_starts_no_host(tmp_path: Path) -> None:
    arguments = ("-m", "other", "--catalogue", str(own_entry(tmp_path, "LlamaForCausalLM")))
    first = json.loads(plimsoll("plan", *arguments, "--json", env={"PLIMSOLL_CACHE": str(tmp_path)}).stdout)
    kept = sorted((tmp_path / "predictions").iterdir())
    assert kept
    second = where_no_host_starts(tmp_path, *arguments)
    figures = [found["plans"][0]["rows"][0]["needed_bytes"] for found in (first, second)]
    assert figures[0] == figures[1] > 0
    assert sorted((tmp_path / "predictions").iterdir()) == kept


def test_what_ships_starts_no_host_at_all(tmp_path: Path) -> None:
    found = where_no_host_starts(tmp_path, "-m", "tiny and nf4 and llama")
    assert found["predictions"]["predicted_here"] is False
    assert all(row["needed_bytes"] > 0 for row in found["plans"][0]["rows"])
    assert not (tmp_path / "predictions").exists()


def test_the_command_deals_over_the_gpus_of_this_node(tmp_path: Path) -> None:
    """Torch of the CPU keeps everything from a GPU here, so that none would carry anything: which the plan says."""
    env = environment({**build_driver(tmp_path, "count = 3"), "CUDA_VISIBLE_DEVICES": "0,1,2"})
    command = [sys.executable, "-m", "plimsoll", "plan", "-m", "gpu1b and bf16", "--gpus=GPU-stand-in-2,0", "--json"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    (plan,) = json.loads(done.stdout)["plans"]
    assert {tuple(row["on_gpus"]) for row in plan["rows"]} == {("gpu0",), ("gpu2",)}
    assert {row["code"] for row in plan["rows"]} == {"package"}
    told = [(one["uuid"], one["used"], bool(one["dealt"]), one["runs"]) for one in plan["placement"]]
    assert told == [
        ("GPU-stand-in-0", True, True, []),
        ("GPU-stand-in-1", False, False, []),
        ("GPU-stand-in-2", True, True, []),
    ]


def test_the_command_refuses_a_gpu_that_is_none() -> None:
    done = plimsoll("plan", "-m", "gpu1b and bf16", "--profile=a100-80g-x4", "--gpus=9")
    assert done.returncode == 2
    assert "--gpus: 9 names no GPU that this session may use; known: gpu0, gpu1, gpu2, gpu3" in done.stderr
