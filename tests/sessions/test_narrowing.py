"""Whatever keeps planned cells from being asked, other than -m, -k and paths, is a gap that is named."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.support.subsession import Outcome, read_events, run_inside, run_suite

STACK = ("-m", "node", "-k", "stack")
"""Six cells, one for each tier, for which nothing is loaded or predicted."""
OF_FILE = (*STACK, "acceptance/test_node.py")
"""The same of the one file that has them: collecting all files takes as long as such a run."""
MEDDLING = ("-p", "tests.support.plugins.meddling")


def gaps(outcome: Outcome) -> list[dict[str, object]]:
    found: list[dict[str, object]] = outcome.results["verdict"]["gaps"]
    return found


def assert_named_gap(
    outcome: Outcome,
    reason: str,
    asked: tuple[str, ...] = STACK,
    fix: str | None = "pytest {reports} --color=no {asked}",
) -> None:
    """INCOMPLETE over the whole scope, the reason and the command that closes the gap on the terminal."""
    assert outcome.status == 6, outcome.output
    assert "Traceback" not in outcome.output
    assert outcome.verdict == "INCOMPLETE"
    assert outcome.output.rstrip().splitlines()[-1].startswith(f"INCOMPLETE over {' '.join(asked)}: ")
    assert len(outcome.results["cells"]) == 6
    lost = [cell for cell in outcome.results["cells"] if cell["outcome"] == "not_run"]
    assert lost
    for cell in lost:
        assert reason in cell["reason"], cell["reason"]
    if fix is not None:
        [gap] = gaps(outcome)
        assert gap["fix"] == fix.format(reports=shlex.quote(f"--report-dir={outcome.reports}"), asked=" ".join(asked))


@pytest.mark.parametrize(
    ("narrowing", "reason"),
    [
        (["--deselect=acceptance/test_node.py::test_stack[tiny]"], "deselected by --deselect=acceptance/test_node.py"),
        (["--deselect", "acceptance/test_node.py"], "deselected by --deselect=acceptance/test_node.py"),
        (
            ["--ignore=acceptance/test_node.py"],
            "acceptance/test_node.py was ignored by --ignore=acceptance/test_node.py",
        ),
        (["--ignore-glob", "*/test_n*"], "was ignored by --ignore-glob=*/test_n*"),
        (["-o", "python_functions=probe"], "not collected; what may have narrowed it: -o python_functions=probe"),
        (["-opython_files=test_l*.py"], "not collected; what may have narrowed it: -o python_files=test_l*.py"),
        (["-o", "testpaths=acceptance/test_load.py"], "-o testpaths=acceptance/test_load.py"),
    ],
    ids=str,
)
def test_options_that_narrow_are_named(narrowing: list[str], reason: str, tmp_path: Path) -> None:
    assert_named_gap(run_suite(tmp_path, *STACK, *narrowing), reason)


def test_addopts_of_the_environment_are_named_and_undone(tmp_path: Path) -> None:
    outcome = run_suite(
        tmp_path, *STACK, env={"PYTEST_ADDOPTS": "--deselect=acceptance/test_node.py::test_stack[tiny]"}
    )
    fix = "env -u PYTEST_ADDOPTS pytest {reports} --color=no {asked}"
    assert_named_gap(outcome, "deselected by --deselect=acceptance/test_node.py::test_stack[tiny]", fix=fix)


@pytest.mark.parametrize("option", ["--lf", "--sw"])
def test_what_failed_last_is_no_whole_run(option: str, tmp_path: Path) -> None:
    cache = ("-o", f"cache_dir={tmp_path / 'cache'}")
    broken = run_suite(tmp_path / "first", *STACK, *cache, *MEDDLING, "--sw", env={"MEDDLE": "fail"})
    assert broken.status in (1, 2), broken.output
    outcome = run_suite(tmp_path / "second", *STACK, *cache, option)
    if option == "--lf":
        assert_named_gap(outcome, "--lf", fix=None)
        closing = shlex.split(str(gaps(outcome)[0]["fix"]))
        assert "--lf" not in closing
    else:
        assert outcome.verdict == "ACCEPTED", "the first cell had failed, so none was passed over"


@pytest.mark.parametrize(
    ("meddle", "reason"),
    [
        ("drop", "deselected by plugin tests.support.plugins.meddling"),
        ("drop-and-tell", "deselected by plugin tests.support.plugins.meddling"),
        ("drop-around", "dropped after collection by plugin tests.support.plugins.meddling"),
        ("drop-at-the-end", "deselected by plugin tests.support.plugins.meddling"),
        ("pass-over", "passed over by plugin tests.support.plugins.meddling, which told pytest that it was run"),
        ("pass-over-all", "passed over by plugin tests.support.plugins.meddling, which told pytest that it was run"),
        ("ignore", "acceptance/test_node.py was ignored by plugin tests.support.plugins.meddling"),
        ("makes-none", "not collected; what may have narrowed it: plugin tests.support.plugins.meddling"),
    ],
)
def test_plugins_that_narrow_are_named(meddle: str, reason: str, tmp_path: Path) -> None:
    # A file that is named is not ignored. The command that closes the gap leaves the plugin out.
    asked = STACK if meddle == "ignore" else OF_FILE
    assert_named_gap(run_suite(tmp_path, *asked, *MEDDLING, env={"MEDDLE": meddle}), reason, asked)


@pytest.mark.parametrize(
    ("meddle", "status", "arguments"), [("refuse", 4, ()), ("crash", 3, ()), ("", 4, ("nowhere.py",))]
)
def test_a_collection_that_pytest_gives_up_leaves_the_plan(
    meddle: str, status: int, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """What was to be asked stands in the verdict, and that nothing of it was."""
    outcome = run_suite(tmp_path, *OF_FILE, *arguments, *MEDDLING, env={"MEDDLE": meddle})
    assert (outcome.status, outcome.verdict) == (status, "INCOMPLETE"), outcome.output
    assert "0 of 6 checks passed, 6 not run" in outcome.output
    reasons = {cell["reason"] for cell in outcome.results["cells"]}
    assert reasons == {f"pytest ended before it asked anything (with status {status})"}


def test_a_file_that_cannot_be_collected_leaves_the_plan(tmp_path: Path) -> None:
    broken = tmp_path / "test_broken.py"
    broken.write_text("import nothing_of_that_name\n")
    outcome = run_suite(tmp_path / "reports", *OF_FILE, str(broken))
    assert (outcome.status, outcome.verdict) == (2, "INCOMPLETE"), outcome.output
    assert "0 of 6 checks passed, 6 not run" in outcome.output
    assert "1 file could not be collected, the first is" in outcome.output


def test_an_item_that_a_plugin_doubles_does_not_pass(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *OF_FILE, *MEDDLING, env={"MEDDLE": "double"})
    assert outcome.status in (1, 6), outcome.output
    assert outcome.verdict != "ACCEPTED"
    assert "Traceback" not in outcome.output


def test_with_workers_a_gap_is_the_same_gap(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *OF_FILE, "-n", "2", "--deselect=acceptance/test_node.py::test_stack[tiny]")
    assert_named_gap(outcome, "deselected by --deselect=acceptance/test_node.py::test_stack[tiny]", OF_FILE, None)


def test_workers_without_a_number_are_workers_too(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *OF_FILE, "-d", "--tx", "2*popen")
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED"), outcome.output
    assert {event["worker"] for event in outcome.events} == {"main", "gw0", "gw1"}


def test_the_closing_command_closes_the_gap(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *STACK, "--deselect=acceptance/test_node.py::test_stack[tiny]")
    [gap] = gaps(outcome)
    words = shlex.split(str(gap["fix"]))
    again = run_suite(tmp_path, *words[words.index("-m") :])
    assert (again.status, again.verdict) == (0, "ACCEPTED"), again.output


def test_a_run_that_goes_on_asks_what_was_withheld(tmp_path: Path) -> None:
    run_suite(tmp_path, *OF_FILE, "--deselect=acceptance/test_node.py::test_stack[tiny]")
    resumed = run_suite(tmp_path, "--resume=latest")
    assert (resumed.status, resumed.verdict) == (0, "ACCEPTED"), resumed.output
    assert sum(event["event"] == "call" for event in resumed.events) == 1


def test_leaving_one_dataset_out_asks_for_no_other(tmp_path: Path) -> None:
    outcome = run_inside(tmp_path, "-m", "tiny and not nq", "--collect-only", "-q")
    assert "test_dataset" not in outcome.output


def test_what_one_worker_leaves_to_another_was_not_passed_over(recorded_by_workers: Outcome) -> None:
    plans = [event for event in read_events(recorded_by_workers.folder / "evidence.jsonl") if event["event"] == "plan"]
    assert {event["worker"] for event in plans} >= {"main", "gw0", "gw1"}
    assert [event["withheld"] for event in plans if event.get("withheld")] == []
