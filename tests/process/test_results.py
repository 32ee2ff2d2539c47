"""results.json, summary.md, benchmark.json and the terminal's lines: what each says of a run with every outcome."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from plimsoll.evidence.events import Event
from plimsoll.evidence.record import RunRecord
from plimsoll.report.results import results
from plimsoll.report.write import summary_text, write_reports
from plimsoll.verdict.verdict import Verdict, reach_verdict
from tests.support.run_events import (
    RUN_ID,
    Line,
    cell,
    good_run,
    line,
    recorded,
    run_of_every_outcome,
)
from tests.support.subsession import environment

FULL_DISK = (
    "-c",
    "import resource, sys; from tests.process.test_results import write_within; write_within(*sys.argv[1:])",
)


def told(folder: Path, events: list[Line]) -> tuple[RunRecord, Verdict]:
    record = recorded(folder, events)
    return record, reach_verdict(record)


def test_results_say_what_happened(tmp_path: Path) -> None:
    data = results(*told(tmp_path, run_of_every_outcome()))
    counts = {"pass": 1, "marginal": 1, "waived": 0, "fail": 2, "skip": 2, "not_run": 1}
    assert data["verdict"]["counts"] == counts
    assert (data["verdict"]["word"], data["verdict"]["exit_status"]) == ("REJECTED", 1)
    assert [c["outcome"] for c in data["cells"]] == ["pass", "marginal", "fail", "fail", "skip", "skip", "not_run"]
    near = data["cells"][1]
    assert near["judgements"][0]["value"] == near["measurements"][0]["value"] == 1.95
    assert near["measurements"][0]["context"] == {"n": 1}
    assert data["node"]["gpus"][0]["serial"] == "123"
    assert data["run"]["id"] == RUN_ID
    assert data["loads"][0]["report"]["seconds"] == 2.0
    assert [g["code"] for g in data["gates"]] == [None, "vram"]
    assert data["host_failures"][0]["signal"] == 9
    assert data["collect_errors"][0]["nodeid"] == "acceptance/test_x.py"
    (file,) = data["files"]
    done = subprocess.run(
        ["sha256sum", tmp_path / RUN_ID / "evidence.jsonl"],  # noqa: S607  the tool of the system
        capture_output=True,
        text=True,
        check=True,
    )
    assert file["sha256"] == done.stdout.split()[0]


BENCHMARKED = """
import json
def test_load(benchmark):
    benchmark.pedantic(sum, args=([1, 2],), rounds=3)
    row = benchmark.stats.as_dict(include_data=True)
    row["name"] = row["fullname"] = "test_load[tiny-llama/nf4]"
    json.dump(row, open("row.json", "w"))
"""


def test_pytest_benchmark_compares_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "test_b.py").write_text(BENCHMARKED)
    run_pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."]
    subprocess.run(
        [*run_pytest, "--benchmark-json=own.json"], cwd=tmp_path, env=environment(), check=True, capture_output=True
    )
    own = json.loads((tmp_path / "own.json").read_text())
    row = json.loads((tmp_path / "row.json").read_text())
    timed = cell("test_load")
    head = {key: own[key] for key in ("machine_info", "commit_info", "version")}
    events = [*good_run([timed]), line(Event.MACHINE, **head), line(Event.BENCHMARK, cell=timed.id, benchmark=row)]
    record, verdict = told(tmp_path, events)
    assert write_reports(record, verdict, tmp_path) == []
    written = json.loads((tmp_path / "benchmark.json").read_text())
    assert set(written) == set(own)
    assert set(written["benchmarks"][0]) == set(own["benchmarks"][0])
    assert written["machine_info"] == own["machine_info"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", "own.json", "benchmark.json", "--columns=median,rounds"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert "test_load[tiny-llama/nf4]" in done.stdout


def write_within(folder: str, room: str) -> None:
    """Write the reports of a run under a quota; runs in a process of its own."""
    import resource

    record, verdict = told(Path(folder), run_of_every_outcome())
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), resource.RLIM_INFINITY))
    print(json.dumps(write_reports(record, verdict, Path(folder))))


def test_a_report_that_cannot_be_written_is_told_and_the_others_are_there(tmp_path: Path) -> None:
    size = len(summary_text(*told(tmp_path, run_of_every_outcome())).encode())
    (tmp_path / "results.json").write_text("the one before")
    done = subprocess.run(
        [sys.executable, *FULL_DISK, str(tmp_path), str(size + 100)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [f"{tmp_path / 'results.json'} could not be written (File too large)"]
    assert (tmp_path / "results.json").read_text() == "the one before"
    assert (tmp_path / "summary.md").read_text().startswith("# REJECTED")
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []
