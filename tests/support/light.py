"""An environment with what the command line needs and nothing more: no torch, no transformers, no pytest.

The interpreter leaves out site-packages (-S); in their place stands a folder with links to the installed files of the
project's own dependencies, and of theirs.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.subsession import ROOT, environment


def link_dependencies(folder: Path) -> Path:
    """Fill a folder with links to the dependencies that pyproject.toml names without an extra."""
    folder.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for path in _files(project["dependencies"]):
        link = folder / path.name
        if not link.exists():
            link.symlink_to(path)
    return folder


def _files(lines: list[str]) -> Iterator[Path]:
    """The packages, modules and metadata of distributions and of all that they need."""
    seen: set[str] = set()
    waiting = [Requirement(line) for line in lines]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in seen or (one.marker is not None and not one.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        found = distribution(name)
        waiting += [Requirement(line) for line in found.requires or ()]
        tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
        yield from (Path(str(found.locate_file(top))) for top in sorted(tops))


def light(folder: Path, *arguments: str, cwd: Path = ROOT, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` in the environment of a folder that `link_dependencies` filled; the library is that of
    `root`, this checkout or where a wheel was unpacked."""
    env = {**environment({"PYTHONPATH": f"{folder}:{root}"}), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
