"""What a wheelhouse carries, what its list says of it, and what keeps it from being installed."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from plimsoll.errors import PlimsollError
from plimsoll.wheelhouse.collect import EXTRAS, SYSTEM, described, refuse_weight
from plimsoll.wheelhouse.install import install, refuse_system
from plimsoll.wheelhouse.manifest import Carried, WheelhouseManifest, sha256
from plimsoll.wheelhouse.needed import Target, needed, own_requirements, pinned

ROOT = Path(__file__).parents[2]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
TARGET = Target(python="3.12", machine="x86_64")


def manifest_of(folder: Path, **files: str) -> WheelhouseManifest:
    """A wheelhouse for this interpreter, whose files have these contents."""
    folder.mkdir(exist_ok=True)
    carried = []
    for distribution, text in files.items():
        path = folder / f"{distribution}-1.0-py3-none-any.whl"
        path.write_text(text)
        carried.append(
            Carried(
                file=path.name,
                distribution=distribution,
                version="1.0",
                bytes=path.stat().st_size,
                sha256=sha256(path),
            )
        )
    made = WheelhouseManifest(
        python=HERE,
        machine=platform.machine(),
        system=("torch",),
        extras=(),
        suite="suite.tar.gz",
        files=tuple(carried),
    )
    made.write(folder)
    return made


def project(folder: Path, *requirements: str) -> Path:
    lines = ", ".join(json.dumps(requirement) for requirement in requirements)
    (folder / "pyproject.toml").write_text(f"[project]\ndependencies = [{lines}]\n[project.optional-dependencies]\n")
    return folder


def test_the_nodes_own_packages_and_what_they_require_are_left_to_the_node() -> None:
    carried = needed(ROOT, SYSTEM, EXTRAS, TARGET)
    assert {"torch", "transformers", "accelerate", "numpy", "tokenizers", "safetensors"}.isdisjoint(carried)
    assert {"bitsandbytes", "pytest", "pytest-xdist", "pytest-html", "jsonschema", "nvidia-ml-py"} <= carried.keys()
    pins = pinned(ROOT / "constraints.txt")
    assert carried == {name: pins[name] for name in carried}


def test_what_comes_with_them_by_way_of_others_is_carried_for_other_versions_lack_it() -> None:
    """The newest huggingface_hub brings pydantic along, and 1.33 does not."""
    assert {"pydantic", "pydantic-core"} <= needed(ROOT, SYSTEM, EXTRAS, TARGET).keys()


def test_every_requirement_of_the_suite_is_carried_or_the_nodes() -> None:
    carried = needed(ROOT, ("torch",), EXTRAS, TARGET)
    names = {requirement.name for requirement in own_requirements(ROOT, EXTRAS, TARGET)}
    # torch itself, and what it requires of these.
    assert names - carried.keys() == {"torch", "filelock", "jinja2"}
    assert {"torch", "transformers", "accelerate"} <= names


def test_what_the_node_has_too_old_is_carried_on_demand() -> None:
    assert "filelock" not in needed(ROOT, SYSTEM, EXTRAS, TARGET)
    assert "filelock" in needed(ROOT, SYSTEM, EXTRAS, TARGET, also=["filelock"])


def test_a_group_brings_those_that_it_names() -> None:
    names = [requirement.name for requirement in own_requirements(ROOT, ("suite",), TARGET)]
    assert {"pytest", "jinja2", "pydantic"} <= set(names)
    assert "plimsoll-gpu" not in names


@pytest.mark.parametrize(
    ("system", "extras", "message"),
    [
        (("torch",), ("suits",), "pyproject.toml has no extra 'suits'; there are compare, completion,"),
        (("torch cuda",), ("suite",), "'torch cuda' is no name of a package;"),
        (("no-such-package",), ("suite",), "the node needs no-such-package on Python 3.12, and what that needs is not"),
    ],
)
def test_a_mistake_is_one_sentence(system: tuple[str, ...], extras: tuple[str, ...], message: str) -> None:
    with pytest.raises(PlimsollError) as raised:
        needed(ROOT, system, extras, TARGET)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_the_list_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    made = manifest_of(tmp_path / "w", pip="a", packaging="b")
    assert WheelhouseManifest.read(tmp_path / "w") == made
    made.refuse_damage(tmp_path / "w")
    assert described(made, Path("w")).startswith(f"w: 2 files, 0.0 MB, for Python {HERE} on ")


def test_more_than_the_limit_is_refused_with_what_weighs_most(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "w", small="a", large="b" * 2_000_000, middle="c" * 300_000)
    refuse_weight(manifest, 2.31)
    with pytest.raises(PlimsollError) as raised:
        refuse_weight(manifest, 2.29)
    assert str(raised.value) == (
        "the wheelhouse would take 2.3 MB, more than 2.29; the largest are large 2.0, middle 0.3, small 0.0: "
        "name with SYSTEM what the node has, or allow more with MOST_MB"
    )


def test_a_wheel_that_is_missing_or_another_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    manifest_of(folder, pip="a", packaging="b")
    (folder / "pip-1.0-py3-none-any.whl").write_text("c")
    with pytest.raises(PlimsollError, match=r"^\S+w: not what was collected: pip-1.0-py3-none-any.whl; make it anew"):
        install(folder, tmp_path / "env")
    (folder / "packaging-1.0-py3-none-any.whl").unlink()
    with pytest.raises(PlimsollError, match=r"^\S+w lacks packaging-1.0-py3-none-any.whl; make it anew with"):
        install(folder, tmp_path / "env")
    assert not (tmp_path / "env").exists()


def test_a_folder_without_a_list_is_no_wheelhouse(tmp_path: Path) -> None:
    with pytest.raises(PlimsollError, match=r"is no wheelhouse: it has no manifest\.json"):
        install(tmp_path, tmp_path / "env")
    (tmp_path / "manifest.json").write_text('{"files": []}')
    with pytest.raises(PlimsollError, match=r"manifest\.json cannot be read"):
        install(tmp_path, tmp_path / "env")


@pytest.mark.parametrize(
    ("python", "machine", "message"),
    [
        ("3.8", platform.machine(), "the wheelhouse is for Python 3.8, and "),
        (HERE, "s390x", "the wheelhouse is for s390x, and this machine is "),
    ],
)
def test_wheels_for_another_node_are_refused(tmp_path: Path, python: str, machine: str, message: str) -> None:
    replace(manifest_of(tmp_path / "w"), python=python, machine=machine).write(tmp_path / "w")
    with pytest.raises(PlimsollError) as raised:
        install(tmp_path / "w", tmp_path / "env")
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        ({}, "has no torch, which the wheelhouse leaves to the node: name the interpreter"),
        ({"torch": "2.5.1"}, "has torch 2.5.1, and torch>=2.6 is supported: install another"),
        ({"torch": "2.11.0"}, "filelock>=3.13 is neither here nor in the wheelhouse (the node has none)"),
        ({"torch": "2.11.0", "filelock": "3.1"}, "in the wheelhouse (the node has 3.1): make it anew with `make whe"),
    ],
)
def test_a_node_outside_the_supported_range_is_refused(tmp_path: Path, installed: dict[str, str], message: str) -> None:
    manifest = manifest_of(tmp_path / "w", pytest="a")
    with pytest.raises(PlimsollError) as raised:
        refuse_system(manifest, project(tmp_path, "torch>=2.6", "filelock>=3.13", "pytest>=1"), installed)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_versions_that_the_node_has_are_no_matter_within_the_range(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "w", pytest="a")
    own = project(tmp_path, "torch>=2.6", "filelock>=3.13", "pytest>=1")
    refuse_system(manifest, own, {"torch": "2.11.0+cu130", "filelock": "4.2"})
