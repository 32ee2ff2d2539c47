"""`make offline` with real pip and real environments: the packages of the node are seen and kept, others are added.

The distributions are made here, and so is a build backend that takes the place of hatchling: no network is asked.
"""

from __future__ import annotations

import base64
import ensurepip
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from plimsoll.wheelhouse.manifest import Carried, WheelhouseManifest, sha256
from tests.support.subsession import ROOT

BACKEND = """\
import zipfile
def build_editable(folder, settings=None, metadata=None):
    import os
    name = "plimsoll_gpu-0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("plimsoll_gpu.pth", os.getcwd())
        info = "plimsoll_gpu-0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: plimsoll-gpu\\nVersion: 0\\n"
                       "Requires-Dist: torch>=2.6\\nRequires-Dist: carried>=1\\nRequires-Dist: kept>=1\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""
PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "plimsoll-gpu"
version = "0"
dependencies = ["torch>=2.6", "carried>=1", "kept>=1"]
[project.optional-dependencies]
"""


def wheel(folder: Path, name: str, version: str, **modules: str) -> None:
    """A wheel with modules of these texts, as pip takes it."""
    info = f"{name}-{version}.dist-info"
    files = {f"{name}/{module}.py": text for module, text in modules.items()}
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},"
        for path, text in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


def site_of(environment: Path) -> Path:
    (found,) = environment.glob("lib/python3*/site-packages")
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a node is brought, to be changed."""
    return make_checkout(tmp_path)


def make_checkout(folder: Path) -> Path:
    """A project with the installing half of the library, and its wheelhouse."""
    root = folder / "checkout"
    (root / "plimsoll").mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "extras.py"):
        shutil.copy(ROOT / "plimsoll" / name, root / "plimsoll")
    # Other tests write bytecode meanwhile, under names that are gone before they can be copied.
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "plimsoll" / "wheelhouse", root / "plimsoll" / "wheelhouse", ignore=without)
    for name in ("Makefile", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    (root / "pyproject.toml").write_text(PROJECT)
    wheels = root / "wheelhouse"
    wheels.mkdir()
    wheel(wheels, "hatchling", "1.0", __init__="", build=BACKEND)
    wheel(wheels, "editables", "1.0", __init__="")
    wheel(wheels, "carried", "1.2", __init__="")
    wheel(wheels, "kept", "9.0", __init__="")
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(pip, wheels)
    _list(wheels)
    return root


def _list(wheels: Path) -> None:
    files = []
    for path in sorted(wheels.glob("*.whl")):
        name, version = path.name.split("-")[:2]
        size, digest = path.stat().st_size, sha256(path)
        files.append(Carried(file=path.name, distribution=name, version=version, bytes=size, sha256=digest))
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    manifest = WheelhouseManifest(
        python=here, machine=platform.machine(), system=("torch",), extras=(), suite="", files=tuple(files)
    )
    manifest.write(wheels)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """The interpreter of a node, to be changed."""
    return make_node(tmp_path)


def make_node(folder: Path) -> Path:
    """An environment with `torch`, as machines for models often have it."""
    environment = folder / "node"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(environment)
    import packaging

    shutil.copytree(Path(packaging.__file__).parent, site_of(environment) / "packaging")
    for name, version in (("torch", "2.11.0+cu130"), ("kept", "1.5")):
        info = site_of(environment) / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "RECORD").write_text("")
        (info / "INSTALLER").write_text("pip\n")
    (site_of(environment) / "torch.py").write_text("where = __file__\n")
    return environment / "bin" / "python3"


def make_offline(checkout: Path, python: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "offline", f"PYTHON={python}"]
    # Within `make test` a make is one of several, and would say which folder it enters.
    alone = {name: value for name, value in os.environ.items() if name not in {"MAKELEVEL", "MAKEFLAGS", "MFLAGS"}}
    return subprocess.run(command, cwd=checkout, env=alone, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Offline:
    """What `make offline` did in a checkout, with the interpreter of a node."""

    checkout: Path
    node: Path
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """One that all may read and none may change."""
    folder = tmp_path_factory.mktemp("offline")
    checkout, node = make_checkout(folder), make_node(folder)
    return Offline(checkout, node, make_offline(checkout, node))


def test_the_nodes_torch_is_seen_and_nothing_of_the_nodes_is_replaced(offline: Offline) -> None:
    done, checkout, node = offline.done, offline.checkout, offline.node
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"installed into .venv, beside what {node} has\n"
    ask = "import torch, plimsoll, carried; from importlib.metadata import version as v; print(torch.where, v('kept'))"
    here = subprocess.run(
        [checkout / ".venv/bin/python", "-c", ask], cwd=checkout.parent, capture_output=True, text=True, check=True
    )
    assert here.stdout == f"{site_of(node.parents[1]) / 'torch.py'} 1.5\n"
    assert not (site_of(checkout / ".venv") / "kept").exists()


def test_what_make_needs_next_is_there_already(offline: Offline) -> None:
    assert offline.done.returncode == 0
    asked = subprocess.run(["make", "--question", "setup"], cwd=offline.checkout, check=False)  # noqa: S607  that of the system
    assert asked.returncode == 0, "make would set up another environment, from a network that there is not"


def test_a_torch_that_is_too_old_is_refused_before_anything_is_made(checkout: Path, node: Path) -> None:
    site = site_of(node.parents[1])
    (site / "torch-2.11.0+cu130.dist-info").rename(site / "torch-2.5.0.dist-info")
    (site / "torch-2.5.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.5.0\n")
    done = make_offline(checkout, node)
    assert done.returncode != 0
    assert f"plimsoll: {node} has torch 2.5.0, and torch>=2.6 is supported: install another\n" in done.stderr
    assert not (checkout / ".venv").exists()


def test_what_a_wheel_requires_and_nobody_has_is_pips_sentence(checkout: Path, node: Path) -> None:
    wheels = checkout / "wheelhouse"
    path = wheels / "carried-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    files["carried-1.2.dist-info/METADATA"] += "Requires-Dist: nowhere-to-be-had>=3\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    _list(wheels)
    done = make_offline(checkout, node)
    assert done.returncode != 0
    sentence = (
        "plimsoll: pip cannot install from the wheelhouse: No matching distribution found for nowhere-to-be-had>=3"
    )
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cannot_be_had_is_one_sentence_and_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheelhouse").mkdir()
    (tmp_path / "wheelhouse" / "old").touch()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheelhouse"))
    command = [sys.executable, "-m", "plimsoll.wheelhouse.collect", str(tmp_path / "wheelhouse"), "--machine", "x86_64"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    start = "plimsoll: no wheel for Python 3.12 on x86_64: No matching distribution found for "
    assert done.stderr.startswith(start)
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["wheelhouse", "old"]
