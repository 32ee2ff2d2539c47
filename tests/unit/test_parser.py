"""What every command refuses of its arguments."""

from __future__ import annotations

import pytest

from plimsoll.commands.parser import build_parser


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("probe", "--output", ""), "--output"),
        (("report", ""), "RUN"),
        (("report", "latest", "--output= "), "--output"),
        (("fleet", "runs", ""), "RUN"),
        (("headroom", "llama-3.1-8b", ""), "B"),
        (("slurm", "script", "--partition", ""), "--partition"),
        (("slurm", "stamp", "--stamp", ""), "--stamp"),
        (("compare", "a", "b", "--html", ""), "--html"),
        (("tiny", "build", ""), "MODEL"),
        (("plan", "--catalogue", ""), "--catalogue"),
    ],
)
def test_an_empty_text_is_refused_for_a_variable_that_is_not_set(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], named: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser(command[0]).parse_args(command)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"error: argument {named}: must not be empty; is a variable of the shell unset?" in said


def test_an_empty_selection_is_everything() -> None:
    assert build_parser("plan").parse_args(("plan", "-m", "")).marks == ""
    job = build_parser("slurm").parse_args(("slurm", "script", "-m", "", "-k", "", "--", "-k", ""))
    assert (job.mark, job.keyword, job.selection[-2:]) == ("", "", ["-k", ""])


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("fleet", "runs", "--max-age", "1e9"), "--max-age: must be a number from 0.001 to 1e+06, not '1e9'"),
        (("fleet", "runs", "--jobs", "0"), "--jobs: must be a whole number from 1 to 1,000,000,000, not '0'"),
        (("kubernetes", "manifest", "--nodes", "n1"), "--nodes: must be a whole number from 1 to 1,000,000,000, not"),
        (("kubernetes", "manifest", "--hours", "nan"), "--hours: must be a number from 0.01 to 1,000, not 'nan'"),
        (("kubernetes", "manifest", "--node-selector", "a"), "--node-selector: must be KEY=VALUE, not 'a'"),
        (("slurm", "script", "--nodes", "-1"), "--nodes: must be a whole number from 1"),
        (("slurm", "check", "--max-age", "x"), "--max-age: must be a number from 0.001"),
        (("compare", "a", "b", "--margin", "200"), "--margin: must be a number from 0.001 to 99.999, not '200'"),
        (("headroom", "a", "--accumulation", "9" * 20), "--accumulation: must be a whole number from 1"),
    ],
)
def test_a_number_that_cannot_be_used_is_refused_with_those_that_can(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit):
        build_parser(command[0]).parse_args(command)
    assert f"argument {said}" in capsys.readouterr().err
