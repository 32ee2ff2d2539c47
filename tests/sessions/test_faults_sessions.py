"""What a session can go through and must not end green: nothing selected, a typo, no room, an early end."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

import psutil
import pytest

from tests.support.broken_checkpoints import (
    copy_damaged,
    model_entry,
    shipped,
    variant_entry,
    with_faulty_code,
)
from tests.support.commands import plimsoll
from tests.support.fork_servers import run_with_hosts
from tests.support.subsession import (
    ROOT,
    command,
    environment,
    interrupt,
    kill,
    pids_of_hosts,
    read_events,
    run_inside,
    run_suite,
    run_until,
)

ONE = ("-m", "tiny", "-k", "tiny-llama/bf16")


def test_everything_skipped_is_incomplete(trained: dict[str, Path], tmp_path: Path) -> None:
    catalogue = tmp_path / "gpu.toml"
    entry = model_entry(shipped("tiny-llama"), "tiny-needs-gpu", trained["tiny-llama"])
    variant = variant_entry("tiny-needs-gpu", ["bf16"]).replace('"tiny"', '"gpu1b"')
    catalogue.write_text(f"{entry}{variant}")
    arguments = (f"--catalogue={catalogue}", "-m", "gpu1b", "-k", "tiny-needs-gpu/")
    outcome = run_suite(tmp_path / "reports", *arguments, env={"CUDA_VISIBLE_DEVICES": ""})
    assert outcome.verdict == "INCOMPLETE"
    assert outcome.status == 6
    assert {cell["outcome"] for cell in outcome.results["cells"]} == {"skip"}
    assert "no_gpu" in outcome.output
    assert outcome.output.rstrip().splitlines()[-1].startswith("INCOMPLETE over -m gpu1b")
    assert not pids_of_hosts([e for e in outcome.events if e.get("variant") == "tiny-needs-gpu/bf16"])

    allowed = run_suite(tmp_path / "allowed", *arguments, "--allow-incomplete", env={"CUDA_VISIBLE_DEVICES": ""})
    assert allowed.status == 0
    assert allowed.verdict == "INCOMPLETE"
    assert "--allow-incomplete" in (allowed.folder / "summary.md").read_text()


def test_empty_selection_is_incomplete(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", "tiny", "-k", "no_such_question", "--allow-incomplete")
    assert outcome.verdict == "INCOMPLETE"
    assert outcome.status == 5
    assert "nothing was planned" in outcome.output.splitlines()[-1]


@pytest.mark.parametrize("mistake", [("-k", "no-such-model"), ("-k", "tiny("), ("acceptance/test_nope.py",)])
def test_a_run_that_plans_nothing_is_not_the_latest(mistake: tuple[str, ...], tmp_path: Path) -> None:
    done = tmp_path / "20261127T000000Z-vm-0001"
    done.mkdir()
    (tmp_path / "latest").symlink_to(done.name)
    outcome = run_suite(tmp_path, "-m", "tiny", *mistake)
    assert outcome.status in (4, 5)
    assert "nothing was planned" in outcome.output
    assert (tmp_path / "latest").resolve() == done


def test_typo_in_marks_is_an_error(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", "tinny and not nf4-dq")
    assert outcome.status == 4
    assert "unknown mark 'tinny' in -m 'tinny and not nf4-dq'; did you mean 'tiny'?" in outcome.output
    assert "nf4-dq" in outcome.output.split("known marks:")[1]
    assert "Traceback" not in outcome.output


def test_faulty_catalogue_is_one_clear_error(tmp_path: Path) -> None:
    catalogue = tmp_path / "mine.toml"
    catalogue.write_text(
        '[[variant]]\nmodels = ["tiny-lama"]\nquantizations = ["nf5"]\ntier = "tiny"\n'
        '[[variant]]\nmodels = ["tiny-llama"]\nquantizations = ["nf4"]\nname = "typo"\ntier = "tiny"\n'
        "load_options = { quantization_config = { load_in_4_bit = true } }\n"
    )
    outcome = run_inside(tmp_path / "reports", f"--catalogue={catalogue}", "-m", "tiny")
    assert outcome.status == 4
    assert "tiny-lama" in outcome.output
    assert "nf5" in outcome.output
    assert "load_in_4_bit" in outcome.output
    assert "Traceback" not in outcome.output


def test_load_time_that_was_not_recorded_fails(trained: dict[str, Path], tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *ONE, "--benchmark-disable")
    assert outcome.verdict == "REJECTED"
    cell = outcome.cell("test_cold_load_time", "tiny-llama/bf16")
    assert cell["outcome"] == "fail"
    assert "--benchmark-disable" in cell["reason"]


def test_kill_of_pytest_leaves_a_report(trained: dict[str, Path], tmp_path: Path) -> None:
    def half_way(events: list[dict[str, object]]) -> bool:
        return sum(event["event"] == "report" for event in events) > 20

    outcome = run_until(tmp_path, half_way, kill, "-m", "tiny", "-k", "tiny-llama/")
    assert outcome.status == -9
    assert not (outcome.folder / "results.json").exists()
    report = plimsoll("report", str(tmp_path / "latest"))
    assert report.returncode == 6, report.stderr
    assert outcome.verdict == "INCOMPLETE"
    outcomes = [cell["outcome"] for cell in outcome.results["cells"]]
    assert "pass" in outcomes
    assert "not_run" in outcomes
    assert (outcome.folder / "summary.md").read_text().count("INCOMPLETE")
    wait_until_gone(pids_of_hosts(outcome.events))


def test_interrupt_keeps_what_was_measured(trained: dict[str, Path], tmp_path: Path) -> None:
    def measuring(events: list[dict[str, object]]) -> bool:
        return any(event["event"] == "judgement" and event["metric"] == "cold_load_time" for event in events)

    outcome = run_until(tmp_path, measuring, interrupt, "-m", "tiny", "-k", "tiny-llama/")
    assert outcome.status == 2
    assert outcome.verdict == "INCOMPLETE"
    assert any(cell["judgements"] for cell in outcome.results["cells"])
    assert outcome.output.rstrip().splitlines()[-1].startswith("INCOMPLETE")
    wait_until_gone(pids_of_hosts(outcome.events))


def wait_until_gone(pids: list[int]) -> None:
    """Hosts end with their controller, but the kernel may take a moment."""
    assert pids, "the evidence names no host, so nothing was shown"
    end = time.monotonic() + 60
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < end, f"still there: {[pid for pid in pids if psutil.pid_exists(pid)]}"
        time.sleep(0.05)


def in_small_filesystem(folder: Path, size: str, then: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run with `folder` on a tmpfs of its own, in a mount namespace that ends with the command. Hosts come from
    outside, and write their logs where the session that asked opened them."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    probe = subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", str(folder)], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip(f"no mount namespace can be made here: {probe.stderr.decode().strip()}")
    mounted = f"mount -t tmpfs -o size={size} tmpfs {shlex.quote(str(folder))}"
    script = f"exec 2>&1; {mounted} && {then}{shlex.join(arguments)}"
    return run_with_hosts([*unshare, "sh", "-c", script], environment(), ROOT, 240)


def test_read_only_reports_folder_is_one_clear_error(tmp_path: Path) -> None:
    then = f"mount -o remount,bind,ro {shlex.quote(str(tmp_path))} && "
    done = in_small_filesystem(tmp_path, "1m", then, command(tmp_path, *ONE))
    assert done.returncode == 4, done.stdout
    assert str(tmp_path) in done.stdout
    assert "--report-dir" in done.stdout
    assert "Traceback" not in done.stdout


def test_full_disk_does_not_end_green_and_loses_nothing(
    trained: dict[str, Path],
    tmp_path: Path,
) -> None:
    reports, kept = tmp_path / "reports", tmp_path / "kept"
    reports.mkdir()
    kept.mkdir()
    # The namespace's file system is gone afterwards, so what the run left on it is copied out first.
    run = shlex.join(command(reports, *ONE))
    copy = f"{run}; status=$?; cp -r {shlex.quote(str(reports))}/. {shlex.quote(str(kept))}; exit $status"
    done = in_small_filesystem(reports, "64k", "", ["env", f"TMPDIR={tmp_path}", "sh", "-c", copy])
    assert done.returncode not in (0, 5), done.stdout
    assert "No space left on device" in done.stdout
    assert "INTERNALERROR" not in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith(("INCOMPLETE", "REJECTED"))
    lines = read_events(next(kept.glob("*/evidence.jsonl")))
    for fallback in tmp_path.glob("plimsoll-*.jsonl"):
        lines += read_events(fallback)
    assert any(event["event"] == "finish" for event in lines), "the end of the run was lost"
    assert sum(event["event"] == "judgement" for event in lines) > 5


def test_outcome_of_a_missing_run_is_one_clear_error(tmp_path: Path) -> None:
    report = plimsoll("report", str(tmp_path))
    assert report.returncode == 2
    assert "no evidence" in report.stderr
    assert "Traceback" not in report.stderr


class Elements(HTMLParser):
    """Counts what a browser would make of a text: its elements, and attributes that run code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.blob = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name.startswith("on"):
                self.handlers.append(f"{tag} {name}={value}")
            if name == "data-jsonblob":
                self.blob = value or ""


HOSTILE = "</td><script>document.title='owned'</script><img src=x onerror=alert(1)>"


def hostile(folder: Path) -> None:
    """Every text that the model writes, and the error that its code raises, is markup."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    replace = {"type": "Replace", "pattern": {"String": "e"}, "content": HOSTILE}
    tokenizer["decoder"] = {"type": "Sequence", "decoders": [tokenizer["decoder"], replace]}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with_faulty_code("raise-measuring")(folder)
    code = folder / "modeling_faulty.py"
    code.write_text(code.read_text().replace("the kernel for uncached decoding is not built", HOSTILE))


def test_model_output_cannot_run_in_the_report(trained: dict[str, Path], tmp_path: Path) -> None:
    path = copy_damaged(trained["tiny-llama"], tmp_path / "hostile", hostile)
    entry = model_entry(shipped("tiny-llama"), "tiny-hostile", path, trust_remote_code=True)
    catalogue = tmp_path / "hostile.toml"
    catalogue.write_text(f"{entry}{variant_entry('tiny-hostile', ['bf16'])}")
    outcome = run_suite(tmp_path / "reports", f"--catalogue={catalogue}", "-m", "tiny", "-k", "hostile/")
    assert outcome.verdict == "REJECTED"
    evidence = (outcome.folder / "evidence.jsonl").read_text()
    assert evidence.count("owned") > 2, "neither the text nor the error reached the evidence; nothing was shown"
    page = (outcome.folder / "report.html").read_text()
    assert "owned" in page
    elements = Elements(page)
    assert elements.tags.count("script") == 2, "ours and pytest-html's are the only scripts"
    assert not [handler for handler in elements.handlers if "alert" in handler]
    # pytest-html's script puts these into the page as they are.
    for tests in json.loads(elements.blob)["tests"].values():
        for test in tests:
            inner = Elements("".join([*test["resultsTableRow"], *test["log"]]))
            assert not {"script", "img"} & set(inner.tags), test
            assert not inner.handlers
    outside_of_code = re.sub(
        r"^(`{3,})text$.*?^\1$", "", (outcome.folder / "summary.md").read_text(), flags=re.MULTILINE | re.DOTALL
    )
    assert "owned" not in outside_of_code
