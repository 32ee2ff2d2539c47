"""Supported versions come from the project's own requirements, and each fault names what to do."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from plimsoll.errors import PlimsollError
from plimsoll.node import stack
from plimsoll.node.node import Node
from plimsoll.node.probe import RecordedProbe
from plimsoll.node.stack import check_packages, check_stack, installed_packages

ROOT = Path(__file__).parents[2]


@pytest.fixture
def node() -> Node:
    return RecordedProbe(ROOT / "tests/support/recorded/synthetic-8xh100-80g.json").probe()


def with_packages(node: Node, **versions: str | None) -> Node:
    return replace(node, packages={**node.packages, **versions})


def test_a_supported_stack_has_no_faults(node: Node) -> None:
    assert check_stack(node) == ()


@pytest.mark.parametrize("name", ["synthetic-8xh100-80g", "synthetic-rtx4090-24g"])
def test_a_recorded_node_names_all_that_the_project_declares_now(name: str) -> None:
    # By the file, not by the metadata of this environment, which may be older: a fresh clone would then differ.
    packages = RecordedProbe(ROOT / f"tests/support/recorded/{name}.json").probe().packages
    declared = stack._from_checkout(ROOT / "pyproject.toml").packages
    assert declared.keys() - {canonicalize_name(package) for package in packages} == set()


def test_each_fault_says_have_need_and_fix(node: Node) -> None:
    faults = check_stack(with_packages(node, bitsandbytes=None, transformers="4.57.1"))
    assert sorted(map(str, faults)) == [
        "bitsandbytes is not installed, needs bitsandbytes>=0.48; fix: pip install 'bitsandbytes>=0.48'",
        "transformers 4.57.1, needs transformers<6,>=5.0; fix: pip install 'transformers<6,>=5.0'",
    ]


@pytest.mark.parametrize(
    ("version", "supported"),
    [
        ("5.0.0", True),
        ("5.24.0.dev0", True),
        ("5.23.0+local", True),
        ("6.0.0rc1", False),
        ("6.0.0", False),
        ("4.99", False),
        ("mine", False),
    ],
)
def test_versions_are_compared_as_pip_does(node: Node, version: str, supported: bool) -> None:
    assert (check_packages(with_packages(node, transformers=version), ["transformers"]) == ()) is supported


def test_a_package_that_the_node_does_not_list_is_missing(node: Node) -> None:
    listed = {name: version for name, version in node.packages.items() if name != "torch"}
    [fault] = check_stack(replace(node, packages=listed))
    assert (fault.package, fault.have) == ("torch", None)


def test_a_package_without_a_declared_range_may_have_any_version(node: Node) -> None:
    assert check_packages(with_packages(node, kernels="0.0.1"), ["kernels"]) == ()
    [fault] = check_packages(node, ["kernels"])
    assert fault.fix == "pip install 'kernels'"


def test_names_are_compared_as_pip_does(node: Node) -> None:
    assert check_packages(node, ["PyTest_Benchmark"]) == ()


def test_an_old_python_is_a_fault(node: Node) -> None:
    [fault] = check_stack(replace(node, python="3.10.4"))
    assert str(fault) == "python 3.10.4, needs python>=3.11; fix: make the environment anew with Python >=3.11"


def test_what_is_recorded_is_what_is_installed() -> None:
    packages = installed_packages()
    assert packages["pytest"] == pytest.__version__
    assert {"torch", "huggingface_hub", "pydantic", "plimsoll"} <= packages.keys()
    assert packages["plimsoll"] is not None


def test_a_checkout_reads_the_ranges_from_its_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *project["optional-dependencies"]["suite"],
        *project["optional-dependencies"]["models"],
    ]
    supported = stack._from_checkout(ROOT / "pyproject.toml")
    wanted = [r for r in map(Requirement, lines) if r.name != project["name"]]
    assert supported.packages == {r.name: r for r in wanted}
    assert supported.python == project["requires-python"]


def test_a_checkout_without_its_project_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(
        PlimsollError, match="the supported versions are unknown; install it, or run it from its checkout"
    ):
        stack._from_checkout(tmp_path / "pyproject.toml")


def test_the_recorded_names_are_real_distributions() -> None:
    installed = {found.metadata["Name"].lower().replace("_", "-") for found in metadata.distributions()}
    recorded = {name.lower().replace("_", "-") for name in stack.RECORDED}
    # The last two are for some models alone: they are recorded where they are there.
    assert recorded - installed <= {"plimsoll", "flash-attn", "sentencepiece"}


def test_everything_installed_is_named_as_its_metadata_name_it() -> None:
    parsed = [(found.metadata["Name"], found.version) for found in metadata.distributions()]
    assert stack.everything_installed() == {str(canonicalize_name(name)): version for name, version in parsed if name}


def test_names_are_read_from_the_head_alone_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A README may show the metadata of another package, and old tools wrote headers in any letters."""
    for name, said in {
        "One.Two-1.dist-info/METADATA": "Metadata-Version: 2.1\nname: One.Two\nVERSION: 1\n\nName: other\nVersion: 9\n",
        "old-3.egg-info/PKG-INFO": "Name: old\nVersion: 3\n",
        "removed-4.dist-info/RECORD": "",
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(said)
    with monkeypatch.context() as patch:
        patch.setattr("sys.path", [str(tmp_path)])
        found = stack.everything_installed()
    assert found == {"old": "3", "one-two": "1"}
