"""What starts import, seen in fresh interpreters: nothing heavy that they do not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.subsession import ROOT, environment

HEAVY = {
    *("anyio", "datasets", "detect_secrets", "httpx", "huggingface_hub", "hypothesis", "jinja2", "jsonschema"),
    *("markupsafe", "matplotlib", "numpy", "pyarrow", "pydantic", "pytest", "requests", "rouge_score", "scipy"),
    *("sentence_transformers", "shtab", "torch", "transformers", "wandb", "yaml"),
}
"""What takes a tenth of a second or more to import, or belongs to a command of its own."""


def imported(statement: str) -> set[str]:
    """Which of HEAVY an interpreter has imported once a statement has made its `status` 0."""
    script = f"import sys\n{statement}\nprint('status', int(status), *sorted({HEAVY!r} & set(sys.modules)))\n"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    said, status, *names = (done.stdout.splitlines() or [""])[-1].split() or ["", ""]
    assert (said, status) == ("status", "0"), done.stdout + done.stderr
    return set(names)


@pytest.mark.parametrize(
    ("arguments", "used"),
    [
        (["--help"], set()),
        (["probe"], set()),
        # The catalogue's tables are checked by pydantic.
        (["plan", "-m", "tiny and llama"], {"pydantic"}),
    ],
)
def test_a_command_imports_only_what_it_uses(arguments: list[str], used: set[str]) -> None:
    # --help leaves by SystemExit, with 0 or None.
    statement = (
        "from plimsoll.cli import main\n"
        f"try: status = main({arguments!r})\n"
        "except SystemExit as left: status = left.code or 0"
    )
    assert imported(statement) == used


def test_collecting_imports_only_what_it_uses() -> None:
    # jinja2 and markupsafe are pytest-html's.
    arguments = ["--collect-only", "-q", "-p", "no:cacheprovider", "acceptance/test_node.py"]
    statement = f"import pytest\nstatus = pytest.main({arguments!r})"
    assert imported(statement) == {"jinja2", "markupsafe", "pydantic", "pytest"}
