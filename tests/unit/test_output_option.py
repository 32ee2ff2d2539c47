"""The convention of the commands' output, `--json` and `--output FILE`, and the near names that parsers suggest."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.commands.parser import COMMANDS, build_parser
from tests.support.commands import plimsoll
from tests.support.compare_runs import timed_events, write_run


def parsers(parser: argparse.ArgumentParser, name: str = "plimsoll") -> Iterator[tuple[str, set[str]]]:
    """Every command and action, with its options."""
    yield name, {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, found in action.choices.items():
                yield from parsers(found, f"{name} {inner}")


ALL = dict(parsers(build_parser(*COMMANDS)))


def test_what_prints_json_can_be_written_to_a_file() -> None:
    with_json = {name for name, options in ALL.items() if "--json" in options}
    assert len(with_json) > 12
    assert {name for name in with_json if "--output" not in ALL[name]} == set()


def test_the_older_spelling_stays() -> None:
    for name in ("plimsoll add", "plimsoll ladder", "plimsoll uncertainty"):
        assert {"--out", "--output"} <= ALL[name]


def test_the_file_has_what_would_be_printed(tmp_path: Path) -> None:
    printed = plimsoll("schema", "plan")
    done = plimsoll("schema", "plan", "--output", tmp_path / "plan.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "plan.json").read_text() == printed.stdout
    json.loads(printed.stdout)


def test_a_file_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    lost = tmp_path / "none" / "plan.json"
    done = plimsoll("schema", "plan", "--output", lost)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"plimsoll: error: --output {lost}: there is no folder {lost.parent}; make it first\n"
    done = plimsoll("schema", "plan", "--output", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"plimsoll: error: --output {tmp_path}: cannot be written: ")


def test_a_command_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    kept = tmp_path / "audit.json"
    kept.write_text("of yesterday")
    done = plimsoll("audit", "-m", "no_such_mark", "--json", "--output", kept)
    assert done.returncode == 2
    assert kept.read_text() == "of yesterday"


def test_a_comparison_is_printed_as_json_or_written_to_the_file_of_json(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, timed_events({"m/nf4": [1.0, 1.1, 1.2, 1.3, 1.4]}, run_id=name))
    printed = plimsoll("compare", "a", "b", "--json", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert json.loads(printed.stdout)["schema"] == "plimsoll/comparison/1"
    beside = plimsoll("compare", "a", "b", "--json", "both.json", cwd=tmp_path)
    assert "b against a: " in beside.stdout
    assert (tmp_path / "both.json").read_text() == printed.stdout
    written = plimsoll("compare", "a", "b", "--json", "--output", "alone.json", cwd=tmp_path)
    assert written.stdout == ""
    assert (tmp_path / "alone.json").read_text() == printed.stdout


def test_nothing_is_written_over_what_nothing_else_keeps(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_run(tmp_path / "reports" / name, timed_events({"m/nf4": [1.0, 1.1, 1.2, 1.3, 1.4]}, run_id=name))
    folder = tmp_path / "reports" / "a"
    (tmp_path / "copy.txt").write_bytes((folder / "evidence.jsonl").read_bytes())
    (tmp_path / "node.json").write_text("{}")
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    evidence = "that is a run's evidence, which nothing else keeps; name another file"
    for words, said in (
        (("compare", "--json", "reports/a/evidence.jsonl", "b", "c"), f"--json reports/a/evidence.jsonl: {evidence}"),
        (("compare", "b", "c", "--html=copy.txt"), f"--html copy.txt: {evidence}"),
        (("explain", "a", "--output", folder / "evidence.jsonl"), f"--output {folder}/evidence.jsonl: {evidence}"),
        (("schema", "plan", "--output", "evidence.jsonl"), f"--output evidence.jsonl: {evidence}"),
        (
            ("probe", "--recorded", "node.json", "--output", "./node.json"),
            "--output node.json: the command reads that file; name another one for what it writes",
        ),
        (
            ("compare", "b", "c", "--json", "a"),
            "--json took a for its file, which is a run: write the runs first, and --json last",
        ),
    ):
        done = plimsoll(*words, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"plimsoll: error: {said}\n")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == kept


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("prob",), "'probe'"),
        (("baseline", "sav"), "'save'"),
        (("schema", "pln"), "'plan'"),
        (("headroom", "llama-3.1-8b", "--optimizer", "adamm"), "'adamw'"),
        (("headroom", "llama-3.1-8b", "--profle", "h100-80g"), "'--profile'"),
        (("tiny", "list", "--jsn"), "'--json'"),
        (("plan", "-m", "gpu8"), "'gpu8b'"),
        (("plan", "--profile", "h100-8g"), "'h100-80g'"),
        (("headroom", "llama-3.1-8"), "'llama-3.1-8b'"),
    ],
)
def test_a_near_name_is_suggested(words: tuple[str, ...], near: str) -> None:
    done = plimsoll(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.rstrip().endswith(f"; did you mean {near}?")


def test_what_is_near_to_nothing_is_left_as_it_is() -> None:
    assert plimsoll("zzz").stderr.rstrip().endswith("'completion')")
    assert plimsoll("plan", "--zzz").stderr.rstrip().endswith("unrecognized arguments: --zzz")


def test_a_run_is_suggested_too(tmp_path: Path) -> None:
    write_run(tmp_path / "reports" / "20261120T1-node-ab12", timed_events({"m/nf4": [1.0] * 5}))
    for typed, near in (("latst", "latest"), ("20261120T1-node-ab13", "20261120T1-node-ab12")):
        done = plimsoll("report", typed, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.rstrip().endswith(f"; did you mean '{near}'?")
