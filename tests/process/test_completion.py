"""`plimsoll completion`: what bash really offers once it has read the script, and that the others are scripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.commands.completion import SHELLS, script
from plimsoll.commands.parser import COMMANDS
from plimsoll.commands.schema import SCHEMAS
from tests.support.subsession import ROOT

ASK = """\
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_plimsoll
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last word, in a folder."""
    path = folder / "plimsoll.bash"
    path.write_text(script("bash"))
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", ASK, "bash", path, "plimsoll", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["co"], ["compare", "completion"]),
        (["schema", "no"], ["node"]),
        (["baseline", "s"], ["save", "show"]),
        (["tiny", "list", "--j"], ["--json"]),
        (["completion", "z"], ["zsh"]),
        (["sign", "latest", "--op"], ["--operator"]),
        (["probe", "--recorded", "no"], ["node.json"]),
        (["verify", "sign-"], ["sign-off.zip"]),
        (["report", "--output", "rep"], ["reports"]),
    ],
)
def test_bash_offers_commands_options_choices_and_files(tmp_path: Path, words: list[str], expected: list[str]) -> None:
    for name in ("node.json", "sign-off.zip"):
        (tmp_path / name).touch()
    (tmp_path / "reports").mkdir()
    assert offered(tmp_path, *words) == expected


def test_bash_offers_every_command_and_schema(tmp_path: Path) -> None:
    assert offered(tmp_path, "") == list(COMMANDS)
    assert offered(tmp_path, "schema", "") == list(SCHEMAS)
    assert {"--fail-on", "--margin", "--json", "--like"} <= set(offered(tmp_path, "compare", "--"))


def test_bash_offers_runs_where_a_run_is_asked_for(tmp_path: Path) -> None:
    runs = ["20261120T152116Z-vm-5eb0", "20261121T152116Z-node.7-aaaa"]
    for name in (*runs, "baselines", "$(touch hacked)", "20261121T152116Z-`touch hacked`", "README.md"):
        (tmp_path / "reports" / name).mkdir(parents=True)
    (tmp_path / "reports" / "latest").symlink_to(runs[1])
    for words in (["report"], ["report", runs[0]], ["sign"], ["compare"], ["compare", runs[0]], ["baseline", "save"]):
        assert offered(tmp_path, *words, "") == [*runs, "latest"], words
    assert offered(tmp_path, "audit", "--evidence", "2026112") == runs
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_that_knows_the_commands(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "plimsoll", "completion", shell], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout == script(shell)
    assert all(name in done.stdout for name in COMMANDS)
    assert "$'" not in done.stdout.replace("IFS=$'", "") or shell != "fish"  # which knows no dollar before a quote
    first = {"bash": "# AUTOMATICALLY GENERATED", "zsh": "#compdef plimsoll", "fish": ""}[shell]
    assert done.stdout.startswith(first)


def test_without_shtab_there_is_one_message(tmp_path: Path) -> None:
    hide = (
        "import importlib.util as u; real = u.find_spec; u.find_spec = lambda n: None if n == 'shtab' else real(n)\n"
        "from plimsoll.cli import main; print(main(['completion', 'bash']))"
    )
    done = subprocess.run([sys.executable, "-c", hide], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (
        "2\n",
        "plimsoll: error: shell completion needs shtab, which is not installed; "
        f"install the extra: pip install -e '{ROOT}[completion]'\n",
    )
