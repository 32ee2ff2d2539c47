"""What a host can do to a run: it dies, hangs or raises while it loads or generates, and costs no more than its own."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.support.broken_checkpoints import copy_damaged, model_entry, shipped, variant_entry, with_faulty_code
from tests.support.plugins import time_limit
from tests.support.subsession import Outcome, pids_of_hosts, run_suite

FAULTS = ["kill-loading", "hang-loading", "kill-generating", "hang-generating", "raise-measuring"]


@pytest.fixture(scope="module")
def outcome(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One run over model code that does each of these, and over a sound variant after it. Three questions hang until
    the deadline, which leaves a busy machine twenty times as long as the others take."""
    folder = tmp_path_factory.mktemp("faulty")
    entries = [
        '[[tier]]\nid = "tiny"\nreplaces = true\ndescription = "short deadlines"\ndevice = "cpu"\ncold_rounds = 1\n'
        'warm_rounds = 0\nload_deadline = "20 s"\nrequest_deadline = "20 s"\n',
    ]
    for fault in FAULTS:
        path = copy_damaged(trained["tiny-llama"], folder / fault, with_faulty_code(fault))
        entry = model_entry(shipped("tiny-llama"), f"tiny-fault-{fault}", path, trust_remote_code=True)
        entries += [entry, variant_entry(f"tiny-fault-{fault}", ["bf16"])]
    entries += [model_entry(shipped("tiny-llama"), "tiny-sound-llama", trained["tiny-llama"])]
    entries += [variant_entry("tiny-sound-llama", ["bf16"])]
    catalogue = folder / "faulty.toml"
    catalogue.write_text("\n".join(entries))
    questions = (
        "test_cold_load_time or test_loads_completely or test_finite_logits or test_cached or test_process_is_gone"
    )
    return run_suite(
        tmp_path_factory.mktemp("reports"),
        f"--catalogue={catalogue}",
        "-m",
        "tiny",
        "-k",
        f"(fault- or sound-) and ({questions})",
    )


def test_next_variant_runs(outcome: Outcome) -> None:
    assert outcome.verdict == "REJECTED", outcome.output
    assert outcome.status == 1
    sound = [cell for cell in outcome.results["cells"] if cell["variant"] == "tiny-sound-llama/bf16"]
    assert len(sound) == 5
    assert {cell["outcome"] for cell in sound} <= {"pass", "marginal"}, outcome.output


@pytest.mark.parametrize("fault", FAULTS)
def test_everything_planned_has_a_result(outcome: Outcome, fault: str) -> None:
    cells = [cell for cell in outcome.results["cells"] if cell["model"] == f"tiny-fault-{fault}"]
    assert len(cells) == 5
    assert not any(cell["outcome"] in {"not_run", "skip"} for cell in cells)
    assert any(cell["outcome"] == "fail" for cell in cells)


@pytest.mark.parametrize(
    ("fault", "question", "texts"),
    [
        ("kill-loading", "test_cold_load_time", ["killed by SIGKILL", "Load"]),
        ("kill-generating", "test_finite_logits", ["killed by SIGKILL", "Generate"]),
        ("hang-loading", "test_cold_load_time", ["did not answer Load", "sleep_for_ever"]),
        ("hang-generating", "test_finite_logits", ["did not answer Generate", "sleep_for_ever"]),
        ("raise-measuring", "test_cached_decoding_agrees", ["the kernel for uncached decoding is not built"]),
    ],
)
def test_failure_says_how_the_host_ended(outcome: Outcome, fault: str, question: str, texts: list[str]) -> None:
    cell = outcome.cell(question, f"tiny-fault-{fault}/bf16")
    assert cell["outcome"] == "fail"
    for text in texts:
        assert text in cell["reason"], cell["reason"]


def test_measured_before_the_death_is_kept(outcome: Outcome) -> None:
    cell = outcome.cell("test_cold_load_time", "tiny-fault-kill-generating/bf16")
    assert cell["outcome"] in {"pass", "marginal"}
    assert cell["judgements"][0]["value"] > 0


def test_a_failed_load_is_not_tried_again_for_every_question(outcome: Outcome) -> None:
    loads = [
        event
        for event in outcome.events
        if event["event"] == "host"
        and event.get("variant") == "tiny-fault-kill-loading/bf16"
        and event["state"] == "died"
    ]
    assert len(loads) == 1
    assert "did not load" in outcome.cell("test_finite_logits", "tiny-fault-kill-loading/bf16")["reason"]


def test_no_host_outlives_the_run(outcome: Outcome) -> None:
    pids = pids_of_hosts(outcome.events)
    assert len(pids) > len(FAULTS)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_a_check_that_a_time_limit_ends_costs_only_itself(trained: dict[str, Path], tmp_path: Path) -> None:
    """Its request is abandoned and the host ended, and whoever asks next has the model loaded again."""
    selection = "tiny-llama and bf16 and (test_loads_completely or test_finite_logits or test_no_more_tokens)"
    plugin = ("-p", time_limit.__name__)
    outcome = run_suite(tmp_path, *plugin, "-m", "tiny", "-k", selection)
    failed = [cell["question"] for cell in outcome.results["cells"] if cell["outcome"] == "fail"]
    assert failed == [time_limit.ENDED], outcome.output
    assert outcome.cell("test_no_more_tokens_than_asked", "tiny-llama/bf16")["outcome"] == "pass"
