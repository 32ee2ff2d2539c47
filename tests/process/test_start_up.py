"""What starts import, seen in fresh interpreters: nothing heavy that they do not use."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.host.ranks import ORDER
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


def test_collecting_imports_nothing_that_compares() -> None:
    """Only sessions with --against compare."""
    arguments = ["--collect-only", "-q", "-p", "no:cacheprovider", "acceptance/test_node.py"]
    script = (
        f"import sys, pytest\npytest.main({arguments!r})\nprint([n for n in sys.modules if n.startswith('plimsoll.c')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    names = done.stdout.splitlines()[-1]
    assert "plimsoll.catalogue" in names
    assert "plimsoll.compare" not in names


def test_a_command_looks_for_garbage_seldom() -> None:
    script = (
        "import atexit, gc, sys\n"
        "sys.argv = ['plimsoll', '--help']\n"
        "atexit.register(lambda: print(gc.get_threshold()[0], gc.isenabled(), gc.get_freeze_count() > 0))\n"
        "from plimsoll.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n200000 True True\n")


def test_a_session_of_pytest_looks_for_garbage_seldom_until_it_ends() -> None:
    script = (
        "import gc, pytest\n"
        "class Seen:\n"
        "    def pytest_collection_finish(self): print('while', gc.get_threshold()[0], gc.isenabled())\n"
        "before = gc.get_threshold()\n"
        "pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider', 'acceptance/test_node.py'], plugins=[Seen()])\n"
        "print('after', gc.get_threshold() == before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    assert "while 200000 True\n" in done.stdout
    assert done.stdout.endswith("after True\n")


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("plimsoll.host.server.train_process", "torch"),
        ("plimsoll.host.server.rank_process", "torch"),
        ("plimsoll.host.server.cross_encoder", "sentence_transformers"),
    ],
)
def test_no_process_looks_for_garbage_while_it_imports_torch(module: str, library: str, tmp_path: Path) -> None:
    """Seen from a library that is put in the place of the real one."""
    said = "import gc, os; os.write(2, b'it looks' if gc.isenabled() else b'it does not'); os._exit(0)"
    (tmp_path / f"{library}.py").write_text(said)
    (tmp_path / ORDER).write_bytes(pickle.dumps(None))
    done = subprocess.run(
        [sys.executable, "-m", module, str(tmp_path)],
        cwd=ROOT,
        env=environment({"PYTHONPATH": str(tmp_path), "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}),
        input=json.dumps({"parent": os.getpid()}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "it does not"


def test_what_was_made_without_looking_is_not_looked_at_later() -> None:
    script = (
        "import gc\n"
        "from plimsoll.garbage import keep_all\n"
        "with keep_all(): made = [[] for _ in range(10_000)]\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 10_000, len(gc.get_objects()) < 1_000)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True True True\n"
