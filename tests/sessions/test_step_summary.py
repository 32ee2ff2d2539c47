"""GITHUB_STEP_SUMMARY: what GitHub shows of a run, what is cut, and that no file of GitHub's changes a verdict."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plimsoll.report.write import LARGEST, append_step_summary, fitting, short_summary_text
from plimsoll.verdict.verdict import reach_verdict
from tests.process.test_replay import replay
from tests.support.commands import plimsoll
from tests.support.compare_runs import noisy, timed_run
from tests.support.run_events import (
    HOSTILE,
    cell,
    gate,
    good_run,
    numbered,
    recorded,
    report,
    run_of_every_outcome,
    start,
    write_events,
)
from tests.support.subsession import Outcome, run_suite

NODE_CELLS = ("-m", "tiny", "-k", "tiny-llama/bf16 and test_free")


def test_a_run_appends_its_summary_behind_what_the_step_has_written(recorded_by_workers: Outcome) -> None:
    text = (recorded_by_workers.reports.parent / "step.md").read_text()
    assert text.startswith("# Before\n\n# ACCEPTED over ")
    assert text.count("# ACCEPTED") == 1
    assert f"- run: `{recorded_by_workers.folder.name}`, started " in text
    assert "| `tiny-llama/bf16` | 2/2 | 1/1 | 1/1 |" in text
    assert "- CPU: " in text


def test_a_file_that_cannot_be_written_is_one_line_and_no_other_verdict(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    outcome = run_suite(tmp_path, *NODE_CELLS, env={"GITHUB_STEP_SUMMARY": str(tmp_path / "none" / "step.md")})
    assert outcome.status == 0
    warning = f"warning: the step summary {tmp_path}/none/step.md could not be written (No such file or directory)"
    assert outcome.output.splitlines().count(warning) == 1
    assert outcome.output.splitlines()[-1].startswith("ACCEPTED over ")


def test_failures_and_gaps_are_tables_with_what_to_do(tmp_path: Path) -> None:
    record = recorded(tmp_path, run_of_every_outcome())
    text = short_summary_text(record, reach_verdict(record))
    head, _, rest = text.partition("## Failures\n\n| check | what |\n| --- | --- |\n")
    assert head.startswith(
        "# REJECTED over -m tiny: 1 of 7 checks passed, 1 marginal, 2 failed, 2 skipped, 1 not run\n"
    )
    assert "- scope: `-m tiny`\n" in head
    failures, _, rest = rest.partition("\n\n## Missing\n\n| what | to run them |\n| --- | --- |\n")
    assert [row.split(" | ")[0] for row in failures.splitlines()] == [
        "| `acceptance/test_it.py::test_slow[tiny-llama/nf4]`",
        "| `acceptance/test_it.py::test_talks[tiny-phi/int8]`",
    ]
    missing = rest.partition("\n\n")[0].splitlines()
    assert missing[0].startswith("| 2 checks skipped (vram): ")
    assert missing[0].endswith(" | `use <a bigger> GPU` |")
    assert missing[1] == "| 1 check not run: no report arrived | `pytest -m tiny` |"


def test_text_of_models_breaks_no_table(tmp_path: Path) -> None:
    one = cell("test_it", "tiny-llama/nf4")
    skip = gate("tiny-llama/nf4", "skip", code="vram", have=HOSTILE, need=HOSTILE, fix=f"{HOSTILE} `` | x")
    skipped = report(one, "setup", "skipped", ["x", 1, HOSTILE])
    good = good_run([one])
    record = recorded(tmp_path, [start(), *good[1:3], skip, skipped, good[-1]])
    text = short_summary_text(record, reach_verdict(record))
    (row,) = (line for line in text.splitlines() if line.startswith("| 1 check skipped"))
    assert row.replace("\\|", "").count("|") == 3
    assert "\x1b" not in text
    assert "<script>" not in re.sub(r"\\<|(`+).*?\1", "", text)
    assert "\nACCEPTED" not in text


@pytest.mark.parametrize("before", [0, 1000, LARGEST - 5000])
def test_what_is_too_large_for_github_is_cut_at_a_line_and_says_so(tmp_path: Path, before: int) -> None:
    step = tmp_path / "step.md"
    step.write_bytes(b"x" * before)
    text = "".join(f"| {i} | ä |\n" for i in range(100_000))
    assert append_step_summary(step, text, "reports/r/summary.md") is None
    data = step.read_bytes()
    assert LARGEST - 20 < len(data) <= LARGEST
    lines = data[before:].decode().splitlines()
    assert lines[-1] == "Cut here, for a step's summary holds 1 MiB; the whole is in reports/r/summary.md."
    assert lines[-4] == f"| {len([line for line in lines if line.startswith('| ')]) - 1} | ä |"


def test_what_fits_is_whole_and_a_full_file_stays_as_it_is() -> None:
    text = "ä\n" * 100
    assert fitting(text, 300, "s") == text.encode()
    assert fitting(text, 299, "s").endswith(b"the whole is in s.\n")
    assert fitting(text, 20, "s") == b""
    assert fitting(text, -5, "s") == b""


def test_replays_and_commands_append_only_when_asked_to(tmp_path: Path) -> None:
    write_events(tmp_path / "run", numbered(good_run([cell("test_it")])))
    step = tmp_path / "step.md"
    env = {"GITHUB_STEP_SUMMARY": str(step)}
    replay(f"--replay={tmp_path / 'run'}", "-q", env=env)
    assert plimsoll("report", tmp_path / "run", "--no-pages", env=env).returncode == 0
    assert not step.exists()
    assert plimsoll("report", tmp_path / "run", "--no-pages", "--step-summary", env=env).returncode == 0
    assert step.read_text().startswith("# ACCEPTED over -m tiny: 1 of 1 check passed\n")
    done = plimsoll("report", tmp_path / "run", "--no-pages", "--step-summary", env={})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "plimsoll: error: --step-summary: GITHUB_STEP_SUMMARY is not set, as it is in a job of GitHub Actions; "
        "leave it out\n"
    )
    blocked = plimsoll(
        *("report", tmp_path / "run", "--no-pages", "--step-summary"), env={"GITHUB_STEP_SUMMARY": str(tmp_path)}
    )
    assert blocked.returncode == 0
    assert f"warning: the step summary {tmp_path} could not be written (Is a directory)" in blocked.stdout


def test_a_comparison_appends_its_markdown(tmp_path: Path) -> None:
    times = {f"model-{i}/nf4": noisy(i, 8) for i in range(3)}
    base, other = timed_run(tmp_path, "a", times), timed_run(tmp_path, "b", times)
    step = tmp_path / "step.md"
    env = {"GITHUB_STEP_SUMMARY": str(step)}
    done = plimsoll("compare", base, other, "--step-summary", "--markdown", tmp_path / "c.md", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert step.read_text() == (tmp_path / "c.md").read_text()
    blocked = plimsoll("compare", base, other, "--step-summary", env={"GITHUB_STEP_SUMMARY": str(tmp_path)})
    assert blocked.returncode == 0
    assert blocked.stderr == f"plimsoll: warning: the step summary {tmp_path} could not be written (Is a directory)\n"
