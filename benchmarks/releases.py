"""Which releases of transformers the suite works with: each minor one installed beside, and the tiny tier's quick part.

    python benchmarks/releases.py                  # what has no result yet; then writes docs/releases.md
    python benchmarks/releases.py 5.17 5.0         # these alone
    python benchmarks/releases.py --again          # all anew
    python benchmarks/releases.py --table          # nothing is tried; the table is made from the results that are kept

A release is installed without what it depends on into a folder of its own under .make/releases; where the environment
has a version of something that it cannot work with (huggingface_hub, tokenizers), the newest that suits is put beside
it. torch is never installed. The folder goes before the environment on the path, so one release more costs some 30 MB
and the time of its run. Results are kept in .make/releases/results.json after each release.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from plimsoll.extras import DISTRIBUTION

ROOT: Final = Path(__file__).resolve().parents[1]
WORK: Final = ROOT / ".make" / "releases"
TABLE: Final = ROOT / "docs" / "releases.md"
PACKAGE: Final = "transformers"
TRIED: Final = SpecifierSet(">=5.0,<6")
"""What is tried, whatever is declared: what does not hold stands in the table too."""
NEVER: Final = ("torch", "bitsandbytes", "accelerate", "numpy")
"""Never installed beside: the environment's own are what is tried with."""

HOLDS, FAILS, NOT_MEASURED = "holds", "does not hold", "not measured"

QUICK: Final = (
    "((test_golden and (cpu-llama/bf16 or cpu-mixtral/nf4)) or ((tiny-llama/bf16 or tiny-llama/int8 or "
    "tiny-mixtral/nf4) and (test_loads_completely or test_applied or test_state or test_coverage or "
    "test_weights_are or test_packed_layers or test_stored_bytes or test_bytes_of_each or test_taught_answers))) "
    "and not nf4-dq"
)
"""Loading, prediction by tracing, the content proof, golden logits and generation, of a dense model and of a mixture of
experts."""
_MARK: Final = "tiny"
_LIMIT: Final = 900
"""Seconds for one release's run, on a busy machine."""
_MARKER: Final = "<!-- made by benchmarks/releases.py: what follows is its table -->"


class NotMeasuredError(Exception):
    """A release that could not be installed, or whose run gave no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one release came to."""

    release: str
    result: str
    """One of HOLDS, FAILS and NOT_MEASURED."""
    checks: str
    """How many passed of how many that were asked; empty where nothing was."""
    reason: str
    """The first reason of a failure; empty where it holds."""
    beside: str
    """What else was installed for it, `tokenizers 0.22.2`."""


def newest_of_each_minor() -> list[str]:
    """The newest patch of each minor release on the package index, oldest first. Raises NotMeasuredError."""
    listed = _pip("index", "versions", PACKAGE)
    found = re.search(r"Available versions: (.*)", listed)
    if found is None:
        raise NotMeasuredError(f"pip lists no versions of {PACKAGE}")
    newest: dict[tuple[int, int], Version] = {}
    for version in map(Version, found[1].split(", ")):
        minor = (version.major, version.minor)
        if version in TRIED and not version.is_prerelease:
            newest[minor] = max(version, newest.get(minor, version))
    return [str(newest[minor]) for minor in sorted(newest)]


def try_release(release: str) -> Result:
    """Install it beside, and run the quick part over it."""
    try:
        folder, beside = install_beside(release)
        return replace(_run(release, folder), beside=", ".join(beside))
    except NotMeasuredError as error:
        return Result(release=release, result=NOT_MEASURED, checks="", reason=str(error), beside="")


def install_beside(release: str) -> tuple[Path, list[str]]:
    """A folder with the release, and with what it needs in another version than the environment has, named beside it.
    Raises NotMeasuredError."""
    folder = WORK / f"{PACKAGE}-{release}"
    if not (folder / ".whole").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        _install(folder, f"{PACKAGE}=={release}")
        _settle(folder)
        _declare_any(folder)
        (folder / ".whole").touch()
    there = {canonicalize_name(d.metadata["Name"]): d.version for d in metadata.distributions(path=[str(folder)])}
    return folder, [f"{n} {v}" for n, v in sorted(there.items()) if n not in (PACKAGE, canonicalize_name(DISTRIBUTION))]


def _settle(folder: Path) -> None:
    """Put beside what does not suit, and what that needs in turn, until nothing changes."""
    for _ in range(5):
        unmet = [str(r) for d in metadata.distributions(path=[str(folder)]) for r in _unmet(folder, d.requires or [])]
        if not unmet:
            return
        _install(folder, *unmet)
    raise NotMeasuredError(f"what suits {folder.name} does not suit each other: {', '.join(unmet)}")


def _unmet(folder: Path, requires: Iterable[str]) -> list[Requirement]:
    path = [str(folder), *sys.path]
    unmet = []
    for requirement in map(Requirement, requires):
        if requirement.name in NEVER or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found = next(iter(metadata.distributions(name=requirement.name, path=path)), None)
        if found is None or found.version not in requirement.specifier:
            unmet.append(Requirement(f"{requirement.name}{requirement.specifier}"))
    return unmet


def _declare_any(folder: Path) -> None:
    """Let the suite's own metadata, which goes before that of the environment, allow any transformers: the range that
    is declared is what is tried here, and the gate would keep to it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(f'{line}; extra == "{e}"' for e in ("suite", "models") for line in extras[e])]
    kept = [PACKAGE + '; extra == "models"' if Requirement(line).name == PACKAGE else line for line in lines]
    info = folder / f"{DISTRIBUTION.replace('-', '_')}-0.dist-info"
    info.mkdir()
    head = [
        "Metadata-Version: 2.1",
        f"Name: {DISTRIBUTION}",
        "Version: 0",
    ]
    needs = [f"Requires-Python: {project['requires-python']}", *(f"Requires-Dist: {line}" for line in kept)]
    (info / "METADATA").write_text("\n".join([*head, *needs]) + "\n", "utf-8")


def _run(release: str, folder: Path) -> Result:
    reports = WORK / "reports" / release
    shutil.rmtree(reports, ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    arguments = ["-q", "-m", _MARK, "-k", QUICK, f"--report-dir={reports}"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotMeasuredError(f"its run took more than {_LIMIT} s on this machine") from None
    (WORK / f"{release}.txt").write_text(done.stdout + done.stderr, "utf-8")
    try:
        results = json.loads((reports / "latest" / "results.json").read_text("utf-8"))
    except (OSError, ValueError):
        raise NotMeasuredError(f"pytest left no results: {_last_line(done.stdout + done.stderr)}") from None
    tried = results["node"]["packages"][PACKAGE]
    if tried != release:
        raise NotMeasuredError(f"transformers {tried} was run instead")
    return _judged(release, results)


def _judged(release: str, results: Mapping[str, object]) -> Result:
    verdict, cells, failures = results["verdict"], results["cells"], results["host_failures"]
    assert isinstance(verdict, dict)
    assert isinstance(cells, list)
    assert isinstance(failures, list)
    counts = verdict["counts"]
    good = counts["pass"] + counts["marginal"]
    first = next((c for c in cells if c["outcome"] == "fail"), None) or next(
        (c for c in cells if c["outcome"] not in ("pass", "marginal")), None
    )
    reason = "" if first is None else f"{first['question']}: {_first_line(str(first['reason']))}"
    holds = verdict["exit_status"] == 0 and good == verdict["planned"] > 0
    return Result(
        release=release,
        result=HOLDS if holds else FAILS,
        checks=f"{good} of {verdict['planned']}",
        reason="" if holds else reason or str(verdict["statement"])[:200],
        beside="",
    )


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else "no reason given"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing said"


def _install(folder: Path, *requirements: str) -> None:
    _pip("install", "--quiet", "--no-deps", "--upgrade", "--target", str(folder), *requirements)


def _pip(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasuredError(f"pip {arguments[0]}: {_last_line(done.stderr)}")
    return done.stdout


def table(results: Iterable[Result], declared: SpecifierSet) -> str:
    """The Markdown table, and under what it was measured."""
    rows = [
        "| transformers | declared | result | checks | first reason | beside |",
        "|---|---|---|---|---|---|",
    ]
    for result in sorted(results, key=lambda r: Version(r.release)):
        inside = "yes" if Version(result.release) in declared else "no"
        reason = result.reason.replace("|", "\\|").replace("<", "&lt;")
        rows.append(f"| {result.release} | {inside} | {result.result} | {result.checks} | {reason} | {result.beside} |")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "bitsandbytes", "accelerate"))
    return "\n".join([*rows, "", f"With Python {platform.python_version()}, {versions}, on a CPU.", ""])


def declared_range() -> SpecifierSet:
    """The range of transformers in pyproject.toml."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    return next(r.specifier for r in map(Requirement, extras["models"]) if r.name == PACKAGE)


def main() -> int:
    """Try the releases, print each, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="5.17, or 5.17.0; all minor ones by default")
    parser.add_argument("--again", action="store_true", help="also those that have a result")
    parser.add_argument("--table", action="store_true", help="try nothing: write the table of kept results")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    kept = WORK / "results.json"
    results = {r["release"]: Result(**r) for r in json.loads(kept.read_text("utf-8"))} if kept.is_file() else {}
    known = newest_of_each_minor()
    asked = (
        []
        if options.table
        else [r for r in known if not options.releases or any(f"{r}.".startswith(f"{o}.") for o in options.releases)]
    )
    for release in asked:
        if release in results and not options.again and results[release].result != NOT_MEASURED:
            continue
        results[release] = result = try_release(release)
        print(f"{release}: {result.result} {result.checks} {result.reason}", flush=True)
        kept.write_text(json.dumps([asdict(r) for r in results.values()], indent=1), "utf-8")
    untried = [
        Result(release=release, result=NOT_MEASURED, checks="", reason="not tried yet", beside="")
        for release in known
        if release not in results
    ]
    head = TABLE.read_text("utf-8").partition(_MARKER)[0] if TABLE.is_file() else ""
    TABLE.write_text(f"{head}{_MARKER}\n\n{table([*results.values(), *untried], declared_range())}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
