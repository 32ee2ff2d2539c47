"""What a catalogue comes to once it is read: groups, units, replacement, the order of files, where files are found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from plimsoll.catalogue.reader import read_catalogue

ROOT = Path(__file__).parents[2]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def read_elsewhere(site: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Read the catalogue of the package in `site`, as an installed one, from an unrelated folder."""
    code = (
        "from plimsoll.catalogue.reader import read_catalogue as r; c = r(); print(len(c.variants), c.files[-1].path)"
    )
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def install(site: Path) -> None:
    """The package and its data, laid out as pyproject.toml tells the wheel to be."""
    built = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    # Other tests write bytecode meanwhile, under names that are gone before they can be copied.
    without = shutil.ignore_patterns("__pycache__")
    for package in built["wheel"]["packages"]:
        shutil.copytree(ROOT / package, site / package, ignore=without)
    for source, target in built["wheel"]["force-include"].items():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, site / target, ignore=without)
        else:
            shutil.copy(ROOT / source, site / target)


def test_wheel_carries_the_catalogue_inside_the_package(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site)
    (site / "catalogue").mkdir()
    write(site / "catalogue" / "tiers.toml", "somebody else's")
    run = read_elsewhere(site, tmp_path)
    catalogue = read_catalogue()
    last = site / "plimsoll" / "catalogue" / "shipped" / catalogue.files[-1].path.relative_to(ROOT / "catalogue")
    assert run.stdout == f"{len(catalogue.variants)} {last}\n", run.stderr


def test_installation_without_data_says_so(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site)
    shutil.rmtree(site / "plimsoll" / "catalogue" / "shipped")
    run = read_elsewhere(site, tmp_path)
    assert run.returncode == 1
    assert run.stderr.endswith(
        f"{site / 'plimsoll'}: the shipped catalogue is missing from this installation; install plimsoll again\n"
    )


def test_reading_does_not_import_torch() -> None:
    code = (
        "import sys; from plimsoll.catalogue.reader import read_catalogue; read_catalogue(); "
        "print(sorted({'torch', 'transformers', 'numpy', 'pytest'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout == "[]\n"
