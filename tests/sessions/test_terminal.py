"""What a run says on a terminal: variants as they end, a failure once, pytest's own lines where asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.support.plugins import held
from tests.support.subsession import ROOT, Outcome, command, environment, own_arguments, run_suite
from tests.support.terminals import on_a_terminal, on_a_watched_terminal, writing_to

SOME = ("-m", "tiny", "-k", "tiny-llama/bf16 and (test_free or stored_bytes or warm_load)")


def test_a_log_has_a_line_for_each_variant_and_no_dots(recorded: Outcome) -> None:
    assert "\r" not in recorded.output
    assert re.search(r"^✓ tiny-llama/bf16 +\d checks  load \d", recorded.output, re.MULTILINE)
    assert not re.search(r"^acceptance/test_\w+\.py", recorded.output, re.MULTILINE)
    assert "Rounds" not in recorded.output, "pytest-benchmark's table"


def test_workers_are_told_alike(recorded_by_workers: Outcome) -> None:
    assert re.search(r"^✓ tiny-llama/bf16 +\d checks  load \d", recorded_by_workers.output, re.MULTILINE)
    assert "%]" not in recorded_by_workers.output


@pytest.fixture(scope="module")
def damaged(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged") / "model"
    shutil.copytree(trained["tiny-llama"], folder, ignore=shutil.ignore_patterns("plimsoll.json"))
    for weights in folder.glob("*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:100])
    return folder


@pytest.fixture(scope="module")
def failed(damaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_suite(tmp_path_factory.mktemp("failed"), *SOME, f"--model-dir=tiny-llama={damaged}")


def test_a_model_that_does_not_load_is_one_failure(failed: Outcome, damaged: Path) -> None:
    assert failed.status == 1
    told = [line for line in failed.output.splitlines() if line.startswith("✗")]
    assert len(told) == 2
    assert told[0].startswith(f"✗ tiny-llama/bf16 test_warm_load_time: tiny-llama/bf16 did not load: {damaged}")
    assert told[1].rstrip().endswith("failed")
    assert "Traceback" not in failed.output
    assert "FAILURES" not in failed.output
    closing = failed.output[failed.output.index("\nplanned ") :].strip().splitlines()
    assert len(closing) <= 25
    assert sum("did not load" in line for line in closing) == 1
    assert closing[-1].startswith("REJECTED")


@pytest.mark.parametrize("option", [("-x",), ("-n", "1", "--maxfail=1"), ("--sw", "-p", "cacheprovider")], ids=" ".join)
def test_a_run_that_an_option_ends_at_a_failure_is_rejected(
    option: tuple[str, ...], damaged: Path, tmp_path: Path
) -> None:
    """With workers it was interrupted, with 2: a pipeline that tries again on that asked a rejected node again."""
    asked = (*SOME, *option, "-o", f"cache_dir={tmp_path / 'cache'}")
    outcome = run_suite(tmp_path / "reports", *asked, f"--model-dir=tiny-llama={damaged}")
    assert (outcome.status, outcome.verdict) == (1, "REJECTED"), outcome.output
    assert "the run was cut short: Interrupted" not in outcome.output


def test_pytest_speaks_itself_where_that_is_asked_for(damaged: Path, tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *SOME, f"--model-dir=tiny-llama={damaged}", "-v")
    assert "= FAILURES =" in outcome.output
    assert "test_stored_bytes[tiny-llama/bf16] FAILED" in outcome.output
    assert not [line for line in outcome.output.splitlines() if line.startswith("✗")]


@pytest.mark.parametrize("option", ["-rf", "-rfE", "-qra"])
def test_who_asks_for_the_short_summary_has_it_without_tracebacks(damaged: Path, tmp_path: Path, option: str) -> None:
    outcome = run_suite(tmp_path, *SOME, f"--model-dir=tiny-llama={damaged}", option)
    assert "= short test summary info =" in outcome.output
    assert re.search(r"^FAILED .*test_warm_load_time\[tiny-llama/bf16\]", outcome.output, re.MULTILINE)
    assert "= FAILURES =" not in outcome.output
    assert [line for line in outcome.output.splitlines() if line.startswith("✗")], "the story goes on"


def test_a_terminal_is_told_what_goes_on(tmp_path: Path) -> None:
    status, output = on_a_terminal("pytest", *SOME, f"--report-dir={tmp_path}", "-p", "no:cacheprovider")
    assert status == 0
    assert re.search(r"\rtiny-llama/bf16, \d of \d checks, \d+ s so far", output)
    line = next(line for line in output.splitlines() if "✓ tiny-llama/bf16" in line)
    written_over = line.rpartition("\r")[2]
    assert re.sub(r"\x1b\[[0-9;]*m", "", written_over).startswith("✓ tiny-llama/bf16")


def test_a_narrow_terminal_keeps_one_line(tmp_path: Path) -> None:
    """pytest takes less than 40 columns for 80, and what went on to the next line was never drawn over."""
    _, output = on_a_terminal("pytest", *SOME, f"--report-dir={tmp_path}", "-p", "no:cacheprovider", COLUMNS="30")
    shown = re.findall(r"\r(tiny-llama/bf16, [^\r\n]*)", output)
    assert shown
    assert max(map(len, shown)) < 30


def test_the_clock_goes_on_while_workers_give_no_sign(tmp_path: Path) -> None:
    """However long the terminal takes to show it: the first check begins once it has."""
    shown = tmp_path / "shown"

    def clocks(output: str) -> set[str]:
        return set(re.findall(r"\rtiny-llama/bf16, 0 of \d checks, (\d+) s so far", output))

    def look(output: str) -> None:
        if len(clocks(output)) >= 3:
            shown.touch()

    asked = ("-n", "1", "-p", held.__name__, f"--report-dir={tmp_path / 'reports'}", "-p", "no:cacheprovider")
    status, output = on_a_watched_terminal(look, "pytest", *SOME, *asked, **{held.UNTIL: str(shown)})
    assert status == 0
    assert len(clocks(output)) >= 3, output
    assert re.search(r"^1 worker \[\d items\]$", "\n".join(line.strip() for line in seen(output)), re.MULTILINE)
    assert output.index("so far") > output.index("1 worker ["), "xdist writes over what is shown before"


def test_a_pipe_is_told_while_the_run_goes_on(tmp_path: Path) -> None:
    """No check begins before it was looked: a run that is over by then would say nothing of when the line came."""
    looked = tmp_path / "looked"
    words = command(tmp_path / "reports", *SOME, "-p", held.__name__)
    around = environment({held.UNTIL: str(looked)})
    with subprocess.Popen(words, cwd=ROOT, env=around, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        was_over = bool([*tmp_path.rglob("results.json")])
        looked.touch()
        rest = process.stdout.read()
    assert "test session starts" in first
    assert not was_over, "this line came with the last one"
    assert process.returncode == 0, rest


@pytest.fixture(scope="module")
def narrow(damaged: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Reports and lines of a run with a failure, on a terminal of 80 columns."""
    reports = tmp_path_factory.mktemp("narrow")
    asked = (*SOME, f"--model-dir=tiny-llama={damaged}", f"--report-dir={reports}", "-p", "no:cacheprovider")
    _, output = on_a_terminal("pytest", *asked, COLUMNS="80")
    return reports, seen(output)


def seen(output: str) -> list[str]:
    """What stands on the terminal in the end."""
    return [re.sub(r"\x1b\[[0-9;]*[mK]", "", line).rpartition("\r")[2] for line in output.splitlines()]


def assert_words_are_whole(lines: list[str]) -> None:
    """No line is wider than the terminal, but for one word or what is copied."""
    to_copy = ("to run them: ", "evidence and reports: ")
    wide = [line for line in lines if len(line) > 80 and " " in line.strip()]
    assert [line for line in wide if not line.lstrip().startswith(to_copy)] == []


def test_what_is_wider_than_the_terminal_breaks_between_words(damaged: Path, narrow: tuple[Path, list[str]]) -> None:
    lines = narrow[1]
    first = next(place for place, line in enumerate(lines) if line.startswith("✗ tiny-llama/bf16 test_warm_load_time"))
    rest = lines[first + 1 :]
    failure = [lines[first], *(line for line in rest[: next(n for n, one in enumerate(rest) if one[:4].strip())])]
    assert len(failure) > 2
    assert_words_are_whole(failure)
    assert f" {damaged}/" in " ".join(line.strip() for line in failure)


def test_the_last_lines_break_between_words_as_the_story_does(damaged: Path, narrow: tuple[Path, list[str]]) -> None:
    reports, lines = narrow
    assert_closing_is_whole(lines, damaged)
    status, output = on_a_terminal(
        "plimsoll", "report", "latest", f"--report-dir={reports}", "--no-pages", COLUMNS="80"
    )
    assert status == 1
    assert_closing_is_whole(seen(output), damaged)


def assert_closing_is_whole(lines: list[str], damaged: Path) -> None:
    """From the counts to the verdict each line fits, and what was broken says the same when it is put together."""
    begins = next(place for place, line in enumerate(lines) if line.startswith("planned "))
    closing = lines[begins:]
    assert any(line.startswith("REJECTED over ") for line in closing)
    assert_words_are_whole(closing)
    told = [line for line in closing if line.startswith("      ")]
    assert told, "a failure goes on below itself"
    assert f" {damaged}/" in " ".join(line.strip() for line in closing)


def test_an_old_terminal_is_told_in_words(tmp_path: Path) -> None:
    asked = (*SOME, f"--report-dir={tmp_path}", "-p", "no:cacheprovider")
    status, output = on_a_terminal("pytest", *asked, PYTHONIOENCODING="ascii")
    assert status == 0
    assert "ok tiny-llama/bf16" in output


@pytest.fixture(params=["a full disk", "a reader that left"])
def spent(request: pytest.FixtureRequest) -> Iterator[IO[str]]:
    if request.param == "a full disk":
        with Path("/dev/full").open("w") as full:
            yield full
    else:
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as left:
            yield left


OF_THE_STACK = ("-m", "node", "-k", "stack", "acceptance/test_node.py")


@pytest.mark.parametrize("flags", [(), ("-u",)], ids=["buffered", "unbuffered"])
def test_a_run_outlives_its_terminal(spent: IO[str], flags: tuple[str, ...], tmp_path: Path) -> None:
    """Python's own status of 1 would be a rejection, at the first line or, from a buffer, the last."""
    words = (*flags, "-m", "pytest", *own_arguments(tmp_path), *OF_THE_STACK)
    status, error = writing_to(spent, words, environment())
    outcome = Outcome(status=status, output=error, reports=tmp_path)
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED"), outcome.output
    [line] = outcome.output.splitlines()
    assert line.startswith("plimsoll: nothing more can be written to standard output (")
    assert line.endswith(f"; the run goes on, and its verdict will stand in {outcome.folder}")


def test_a_run_outlives_both_its_streams(spent: IO[str], tmp_path: Path) -> None:
    """In an interpreter that is started: what its end makes of them is its own."""
    words = command(tmp_path, *OF_THE_STACK)
    done = subprocess.run(
        words, cwd=ROOT, env=environment(), stdout=spent, stderr=subprocess.STDOUT, check=False, timeout=240
    )
    outcome = Outcome(status=done.returncode, output="", reports=tmp_path)
    assert (outcome.status, outcome.verdict) == (0, "ACCEPTED")
