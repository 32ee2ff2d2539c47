"""What plugins make of calls, reports and the exit status does not change what a run came to."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forked_sessions import run_python
from tests.support.subsession import ROOT, Outcome, command, environment, run_inside, run_suite

STACK = ("-m", "node", "-k", "stack", "acceptance/test_node.py")
SCOPE = "-m node -k stack acceptance/test_node.py"
"""Six cells, one for each tier, of which nothing is loaded; of one file, for collecting all takes as long as a run."""
MEDDLING = ("-p", "tests.support.plugins.meddling")
TINY = "acceptance/test_node.py::test_stack[tiny]"


def meddled(reports: Path, meddle: str, *arguments: str) -> Outcome:
    """A run with the plugin that meddles."""
    environment = {"MEDDLE": meddle, "MEDDLE_REPORTS": str(reports)}
    outcome = run_suite(reports, *STACK, *MEDDLING, *arguments, env=environment)
    assert "Traceback" not in outcome.output, outcome.output
    assert "INTERNALERROR" not in outcome.output
    return outcome


def cell(outcome: Outcome) -> tuple[str, str]:
    """Outcome and reason of the cell that was meddled with."""
    [found] = [one for one in outcome.results["cells"] if one["id"] == TINY]
    return found["outcome"], found["reason"]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_a_caller_closed_change_no_status(closed: str, tmp_path: Path) -> None:
    """As a daemon starts its programs; pytest would end with 1, which is that of REJECTED."""
    called = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command(tmp_path, *STACK)]
    done = subprocess.run(called, cwd=ROOT, env=environment(), check=False)
    assert done.returncode == 0
    assert Outcome(status=0, output="", reports=tmp_path).verdict == "ACCEPTED"


def test_checks_that_come_by_the_name_of_a_module_are_refused(tmp_path: Path) -> None:
    outcome = run_inside(tmp_path, *STACK[:4], "--pyargs", "acceptance.test_node")
    assert_one_usage_error(outcome, "name checks by their paths, such as acceptance/test_node.py")


def test_a_session_hears_of_its_children_though_its_launcher_ignored_them() -> None:
    """Under nohup-like launchers; the status of a child that a check starts would else be lost, and taken for 0."""
    script = (
        "import signal, sys, pytest\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "status = pytest.main(['--collect-only', '-q', 'acceptance/test_usage.py'])\n"
        "sys.exit(status or signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL)"
    )
    done = run_python("-c", script, env=environment())
    assert done.returncode == 0, done.stdout


def test_each_call_is_recorded_by_the_suite(tmp_path: Path) -> None:
    outcome = meddled(tmp_path, "")
    calls = [event for event in outcome.events if event["event"] == "call"]
    assert len(calls) == 6
    assert {call["raised"] for call in calls} == {None}
    assert all(call["seconds"] >= 0 and call["started"].endswith("+00:00") for call in calls)
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED")


def test_a_call_that_a_plugin_swallows_is_no_pass(tmp_path: Path) -> None:
    outcome = meddled(tmp_path, "swallow")
    assert (outcome.status, outcome.verdict) == (6, "INCOMPLETE")
    assert cell(outcome) == ("not_run", "pytest reports a pass, but the check was never called")


def test_a_function_that_a_plugin_puts_in_place_of_the_check_is_no_call(tmp_path: Path) -> None:
    outcome = meddled(tmp_path, "replace")
    assert (outcome.status, outcome.verdict) == (6, "INCOMPLETE")
    assert cell(outcome) == ("not_run", "pytest reports a pass, but the check was never called")


def test_what_a_wrapper_of_a_plugin_swallows_fails(tmp_path: Path) -> None:
    outcome = meddled(tmp_path, "soften")
    assert (outcome.status, outcome.verdict) == (1, "REJECTED")
    what, reason = cell(outcome)
    assert what == "fail"
    assert "raised AttributeError: " in reason
    assert reason.endswith("but pytest reports a pass")


def test_a_second_call_is_no_pass(tmp_path: Path) -> None:
    outcome = meddled(tmp_path, "again")
    assert (outcome.status, outcome.verdict) == (6, "INCOMPLETE")
    assert cell(outcome) == ("not_run", "it was called 2 times, and exactly one clean call counts")


def test_a_call_that_failed_before_it_passed_fails(tmp_path: Path) -> None:
    outcome = meddled(tmp_path, "until-it-passes")
    assert (outcome.status, outcome.verdict) == (1, "REJECTED")
    what, reason = cell(outcome)
    assert what == "fail"
    assert reason.startswith("it was called 2 times, and a call raised AttributeError: ")
    assert reason.endswith("but pytest reports a pass")


def test_a_report_that_a_plugin_rewrites_is_no_pass(tmp_path: Path) -> None:
    outcome = meddled(tmp_path, "fail;rewrite")
    assert (outcome.status, outcome.verdict) == (6, "INCOMPLETE")
    assert cell(outcome)[0] == "not_run"


def test_a_load_time_that_nothing_measured_fails(tmp_path: Path) -> None:
    arguments = ("-m", "tiny", "-k", "tiny-llama/bf16 and warm_load_time", *MEDDLING)
    outcome = run_suite(tmp_path, *arguments, env={"MEDDLE": "untimed"})
    assert outcome.status == 1, outcome.output
    assert "Benchmark fixture was not used at all" in outcome.output


@pytest.mark.parametrize(
    "silenced",
    [(), ("-W", "ignore"), ("-p", "no:threadexception"), ("-p", "no:warnings"), ("-o", "filterwarnings=ignore")],
    ids=" ".join,
)
def test_a_thread_that_dies_while_a_check_runs_fails_it(silenced: tuple[str, ...], tmp_path: Path) -> None:
    """Whatever it was to watch or to measure, it did not; pytest only warns of it, which can be silenced."""
    outcome = run_suite(tmp_path, *STACK, *MEDDLING, *silenced, env={"MEDDLE": "dying-thread"})
    assert (outcome.status, outcome.verdict, cell(outcome)[0]) == (1, "REJECTED", "fail")
    assert "which ran beside the check, died of ValueError: invalid literal for int()" in cell(outcome)[1]


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=" ".join)
@pytest.mark.parametrize(
    ("where", "said"),
    [("setup", "setup: planted"), ("teardown", "teardown: RuntimeError: planted"), ("hook", "teardown: planted")],
)
def test_an_error_of_a_plugins_own_is_neither_the_nodes_nor_green(
    where: str, said: str, workers: tuple[str, ...], tmp_path: Path
) -> None:
    plugin = "tests.support.plugins.breaking"
    outcome = run_suite(tmp_path, *STACK, *workers, "-p", plugin, env={"BREAKS": where})
    assert (outcome.status, outcome.verdict) == (6, "INCOMPLETE")
    told = f"the plugin {plugin}, which is none of the suite, raised an error of its own: {said}"
    assert cell(outcome) == ("not_run", told)
    assert f"run without the plugin: -p no:{plugin}" in outcome.output
    assert "the evidence shows no failure" not in outcome.output
    assert "✗" not in outcome.output, "no check failed"
    when, _, error = said.partition(": ")
    assert f"6 checks  6 skipped  {when}: an error of the plugin {plugin}: {error}" in outcome.output


def test_an_interrupt_while_pages_are_written_is_no_status_of_zero(tmp_path: Path) -> None:
    """As a disk that is full just then: who asked for a page has none."""
    outcome = run_suite(tmp_path, *STACK, "-p", "tests.support.plugins.interrupted_pages")
    assert (outcome.status, outcome.verdict) == (6, "ACCEPTED"), outcome.output
    assert f"interrupted while pages were written; write them: plimsoll report {outcome.folder.name}" in outcome.output


def test_a_check_that_gives_something_back_fails(tmp_path: Path) -> None:
    """As one whose last line was to be an assertion."""
    outcome = run_suite(tmp_path, *STACK, *MEDDLING, "-W", "ignore", env={"MEDDLE": "giving"})
    assert (outcome.status, outcome.verdict, cell(outcome)[0]) == (1, "REJECTED", "fail")
    assert "a check gives nothing back, and this one gave False" in cell(outcome)[1]


def test_a_warning_of_another_package_fails_no_check(tmp_path: Path) -> None:
    outcome = meddled(tmp_path, "deprecated")
    assert (outcome.status, outcome.verdict, cell(outcome)[0]) == (0, "ACCEPTED", "pass")
    assert "a package of this node will change" in outcome.output


@pytest.mark.parametrize("meddle", ["status", "last-status"])
def test_no_plugin_has_the_last_word_on_the_status(meddle: str, tmp_path: Path) -> None:
    outcome = meddled(tmp_path / "red", f"fail;{meddle}")
    assert (outcome.status, outcome.verdict) == (1, "REJECTED")
    replayed = run_suite(tmp_path / "again", f"--replay={outcome.folder}", *MEDDLING, env={"MEDDLE": meddle})
    assert replayed.status == 1
    nothing = run_suite(tmp_path / "none", "-m", "node", "-k", "nothing", *STACK[4:], *MEDDLING, env={"MEDDLE": meddle})
    assert nothing.status == 5


@pytest.mark.parametrize(
    ("meddle", "status"),
    [
        ("exit-at-once", 0),
        ("fail;exit-at-once", 1),
        ("exit-at-the-end", 6),
        ("fail;exit-at-the-end", 6),
        ("exit-as-failed", 6),
        ("exit-as-interrupted", 2),
    ],
)
def test_a_process_that_a_plugin_ends_at_once_has_the_verdicts_status(meddle: str, status: int, tmp_path: Path) -> None:
    """Some do with 0, and 0 is ACCEPTED to whoever reads a status; some, as pytest-timeout does where a check hangs,
    with 1, which is REJECTED."""
    outcome = run_suite(tmp_path, *STACK, *MEDDLING, env={"MEDDLE": meddle})
    assert outcome.status == status
    if status == 6:
        assert outcome.output.rstrip().endswith(
            "ERROR: plimsoll: the session ended without a verdict, so nothing was accepted; to judge what there is: "
            f"plimsoll report {outcome.folder}"
        )


@pytest.mark.parametrize("code", [0, 1, 3])
@pytest.mark.parametrize(("meddle", "status"), [("leave-at-the-end", 0), ("fail;leave-at-the-end", 1)])
def test_a_plugin_that_exits_as_pytest_ends_has_not_the_last_word(
    meddle: str, status: int, code: int, tmp_path: Path
) -> None:
    outcome = run_suite(tmp_path, *STACK, *MEDDLING, env={"MEDDLE": meddle, "MEDDLE_WITH": str(code)})
    assert outcome.status == status
    assert f"WARNING: plimsoll: a plugin called sys.exit({code}) as pytest ended" in outcome.output


@pytest.mark.parametrize(("meddle", "status"), [("fail-at-the-end", 3), ("fail;fail-at-the-end", 1)])
def test_an_error_after_the_verdict_is_not_taken_for_rejected(meddle: str, status: int, tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *STACK, *MEDDLING, env={"MEDDLE": meddle})
    assert outcome.status == status
    assert "RuntimeError: planted" in outcome.output


def test_without_its_judge_a_run_is_not_green(tmp_path: Path) -> None:
    outcome = meddled(tmp_path, "no-judge")
    assert outcome.status == 6
    assert "the session ended without a verdict, so nothing was accepted" in outcome.output


NEEDED = {
    ("-p", "no:plimsoll-judging"): "plimsoll-judging; leave out -p no:plimsoll-judging",
    ("-p", "no:fixtures.reporting"): "fixtures.reporting; leave out -p no:fixtures.reporting",
    ("-p", "no:fixtures.run"): "fixtures.run; leave out -p no:fixtures.run",
    ("-p", "no:html", "-p", "no:junitxml"): "junitxml, html; leave out -p no:junitxml and -p no:html",
    ("-p", "no:skipping"): "skipping; leave out -p no:skipping",
    ("-p", "no:benchmark"): "benchmark; leave out -p no:benchmark",
    ("-p", "no:metadata"): "metadata; leave out -p no:metadata",
}


def assert_one_usage_error(outcome: Outcome, message: str) -> None:
    """Exit status 4, one line, no run."""
    assert outcome.status == 4, outcome.output
    lines = [line for line in outcome.output.splitlines() if line.strip()]
    assert lines[-1].startswith("ERROR: "), outcome.output
    assert message in lines[-1]
    assert not re.search("Traceback|INTERNALERROR", outcome.output)
    assert not (outcome.reports / "latest").exists()


@pytest.mark.parametrize("arguments", NEEDED, ids=" ".join)
def test_a_plugin_that_the_suite_stands_on_cannot_be_left_out(arguments: tuple[str, ...], tmp_path: Path) -> None:
    message = f"a run stands on plugins that are not loaded: {NEEDED[arguments]}"
    assert_one_usage_error(run_inside(tmp_path, *STACK, *arguments), message)


def test_plugins_of_packages_must_be_loaded(tmp_path: Path) -> None:
    outcome = run_inside(tmp_path, *STACK, env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    assert_one_usage_error(outcome, "metadata, html, benchmark; unset PYTEST_DISABLE_PLUGIN_AUTOLOAD")


@pytest.mark.parametrize("option", ["--forked", "--isolate", "--parallel-threads=2", "--iterations=3"])
def test_a_plugin_that_runs_checks_by_itself_is_refused(option: str, tmp_path: Path) -> None:
    outcome = run_inside(tmp_path, *STACK, "-p", "tests.support.plugins.own_runner", option)
    named = option.partition("=")[0]
    assert_one_usage_error(outcome, f"{named} has a plugin run checks in processes or threads of its own")


def test_a_plugin_that_forbids_the_sockets_of_hosts_is_refused(tmp_path: Path) -> None:
    """Each check of a model failed with its error, and the node was rejected."""
    plugin = ("-p", "tests.support.plugins.own_runner", "--disable-socket")
    message = (
        "--disable-socket has a plugin forbid the sockets by which model processes are asked: add --allow-unix-socket"
    )
    assert_one_usage_error(run_inside(tmp_path, *STACK, *plugin), message)
    assert run_inside(tmp_path, *STACK, *plugin, "--allow-unix-socket", "--collect-only").status == 0


@pytest.mark.parametrize("options", [("-n", "2", "--dist", "each"), ("--dist=each", "--tx", "2*popen")], ids=" ".join)
def test_workers_that_each_run_every_check_are_refused(options: tuple[str, ...], tmp_path: Path) -> None:
    """It was INCOMPLETE after all of it, with a next step that repeated the same."""
    message = "--dist each has every worker run every check, and exactly one call of each counts: leave it out"
    assert_one_usage_error(run_inside(tmp_path, *STACK, *options), message)


def test_plugins_that_warn_or_are_idle_fail_no_check(tmp_path: Path) -> None:
    plugins = ("-p", "tests.support.plugins.warning", "-p", "tests.support.plugins.own_runner")
    outcome = run_suite(tmp_path, *STACK, *plugins)
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED"), outcome.output
    assert "DeprecationWarning: an old name of a library" in outcome.output


@pytest.mark.parametrize("option", ["--rootdir=", "-c"])
def test_a_root_that_is_not_the_suites_is_refused(option: str, tmp_path: Path) -> None:
    settings = tmp_path / "other" / "pytest.ini"
    settings.parent.mkdir()
    settings.write_text("[pytest]\n")
    given = f"{option}{settings}" if option == "-c" else f"{option}{settings.parent}"
    # In a process of its own: with other settings pytest loads hypothesis's plugin, which warns where it comes late.
    outcome = run_suite(tmp_path, *STACK, given)
    message = f"pytest takes {settings.parent} for the root, and the suite's is {ROOT}: leave out --rootdir and -c"
    assert_one_usage_error(outcome, message)


@pytest.mark.parametrize("how", ["beside", "-c"])
def test_settings_that_are_not_the_suites_are_refused(how: str, tmp_path: Path) -> None:
    """A file of theirs beside pyproject.toml takes its place as a whole: no paths of tests, and no marks."""
    root = tmp_path / "suite"
    root.mkdir()
    for name in ("acceptance", "fixtures", "plimsoll", "catalogue"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "plimsoll_gpu.py", "markers.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    settings = root / ("pytest.ini" if how == "beside" else "own.ini")
    arguments = ("-c", str(settings)) if how == "-c" else ()

    def told() -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "pytest", "--markers", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(call, cwd=root, env=environment(), capture_output=True, text=True, check=False)

    settings.write_text("[pytest]\n")
    refused = told()
    assert refused.returncode == 4, refused.stdout + refused.stderr
    assert refused.stderr.strip().splitlines()[-1] == (
        f"ERROR: pytest takes its settings from {settings} instead of {root / 'pyproject.toml'}: "
        "move it away, or leave out -c"
    )
    settings.unlink()
    arguments = ()
    assert told().returncode == 0


def test_settings_that_name_no_folder_for_reports_are_refused() -> None:
    """It would be the root itself, and whatever lies there."""
    call = [sys.executable, "-m", "pytest", "-m", "tiny", "-k", "nothing_at_all", "-p", "no:cacheprovider"]
    settings = ["-o", "plimsoll_reports="]
    done = subprocess.run([*call, *settings], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "plimsoll_reports must not be empty: name a folder, or leave it out for `reports`" in done.stderr


@pytest.mark.parametrize(("flags", "variables"), [(("-i",), {}), ((), {"PYTHONINSPECT": "1"})], ids=["-i", "variable"])
def test_a_prompt_that_hides_the_status_is_refused(
    flags: tuple[str, ...], variables: dict[str, str], tmp_path: Path
) -> None:
    """Its own status is 0, whatever the run came to."""
    python, *rest = command(tmp_path, *STACK)
    done = subprocess.run(
        [python, *flags, *rest],
        cwd=ROOT,
        env=environment(variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert (
        done.stderr == "ERROR: python -i (or PYTHONINSPECT) ends every run with a prompt and status 0: run without it\n"
    )
    assert not (tmp_path / "latest").exists()


def test_python_without_assertions_is_refused(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *STACK, env={"PYTHONOPTIMIZE": "1"})
    assert_one_usage_error(outcome, "python -O (or PYTHONOPTIMIZE) removes the assertions that checks are made of")
    assert_one_usage_error(run_inside(tmp_path, *STACK, "--assert=plain"), "--assert=plain hides what checks say")


def test_pages_that_cannot_be_written_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    outcome = run_inside(tmp_path, *STACK)
    assert outcome.status == 4
    assert "is a folder, not a link to the newest run" in outcome.output
    assert "Traceback" not in outcome.output
    for option in ("--html", "--junitxml"):
        reports = tmp_path / option
        outcome = run_suite(reports, *STACK, f"{option}={tmp_path}/no/such/page.x")
        assert outcome.status in (0, 4), outcome.output
        assert not re.search("Traceback|INTERNALERROR", outcome.output)


@pytest.mark.parametrize("meddle", ["remove", "null", "pipe"])
def test_evidence_that_is_taken_away_is_told_and_not_lost(meddle: str, tmp_path: Path) -> None:
    outcome = meddled(tmp_path, meddle)
    assert outcome.status == 6, outcome.output
    assert outcome.output.rstrip().splitlines()[-1].startswith(f"INCOMPLETE over {SCOPE}: 6 of 6 checks passed")
    assert "does not take the evidence of main" in outcome.output


def test_evidence_that_is_cut_in_mid_run_is_told(tmp_path: Path) -> None:
    outcome = meddled(tmp_path, "cut")
    assert outcome.status in (1, 6), outcome.output
    assert "events of main are missing" in outcome.output


@pytest.mark.parametrize("again", ["interrupt-again", "interrupt-at-the-end"])
def test_a_second_interrupt_leaves_the_verdict(again: str, tmp_path: Path) -> None:
    outcome = meddled(tmp_path, f"interrupt;{again}")
    assert outcome.status == 2, outcome.output
    assert f"\nINCOMPLETE over {SCOPE}: " in outcome.output
