"""The project's own workflow and pre-commit hooks: what they call exists, and nothing that they watch is left out."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.commands.parser import build_parser
from plimsoll.plan.prediction_keys import source_files

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
HOOKS = {
    hook["id"]: hook
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repo["hooks"]
}


def jobs() -> dict[str, Any]:
    # YAML 1.1 reads the bare word `on` as true.
    loaded = yaml.safe_load(WORKFLOW.read_text())
    assert set(loaded) == {"name", True, "permissions", "concurrency", "jobs"}
    assert loaded["permissions"] == {"contents": "read"}
    found: dict[str, Any] = loaded["jobs"]
    return found


def commands() -> Iterator[list[str]]:
    for job in jobs().values():
        for step in job["steps"]:
            for line in step.get("run", "").splitlines():
                yield shlex.split(line)


def test_the_workflow_is_one_that_github_takes() -> None:
    for job in jobs().values():
        assert {"runs-on", "timeout-minutes", "steps"} <= set(job)
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    # Text from outside must not become a command.
    assert not re.search(r"run:.*\$\{\{", WORKFLOW.read_text())


def test_it_runs_what_ci_runs() -> None:
    assert [".ci/run"] in list(commands())
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_its_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {words[1] for words in commands() if words[0] == "make"}
    # `check` shares its line with `test`.
    assert asked == {"setup", "check", "lock"}
    assert "setup" in targets
    assert re.search(r"^check:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_its_commands_exist() -> None:
    ours = [words[1:] for words in commands() if words[0] == "plimsoll"]
    assert {words[0] for words in ours} == {"plan", "audit", "headroom"}, "what needs no torch is tried without it"
    for words in ours:
        assert callable(build_parser(words[0]).parse_args(words).run)


def test_it_has_every_python_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r":: \d+\.\d+$", line)}
    asked = {
        version
        for job in jobs().values()
        for version in (
            *job.get("strategy", {}).get("matrix", {}).get("python", ()),
            *(step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})),
        )
        if not version.startswith("$")
    }
    assert asked == declared


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_calls_what_exists(name: str) -> None:
    words = shlex.split(HOOKS[name]["entry"])
    assert words[0] in {".venv/bin/ruff", ".venv/bin/python"}
    if words[1] == "-m":
        assert find_spec(words[2]) is not None


def test_the_hook_of_the_list_watches_every_listed_file() -> None:
    listed = [line.split()[1] for line in (ROOT / "plimsoll/release.sha256").read_text().splitlines()]
    assert listed
    assert [path for path in listed if not re.search(HOOKS["digests"]["files"], path)] == []


def test_the_hook_of_the_predictions_watches_every_source_of_theirs() -> None:
    watched = [path.relative_to(ROOT).as_posix() for path in source_files()]
    watched += ["catalogue/models/llama.toml", "catalogue/predictions.json.gz", "plimsoll/catalogue/entries.py"]
    assert len(watched) > 20
    assert [path for path in watched if not re.search(HOOKS["predictions"]["files"], path)] == []
