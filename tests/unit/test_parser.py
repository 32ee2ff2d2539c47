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
