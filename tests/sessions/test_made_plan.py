"""The plan that is made from catalogue and source, held against what pytest collects where nothing narrows it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from _pytest.mark import deselect_by_keyword, deselect_by_mark

from plimsoll.catalogue.marks import read_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.plan.cells import Selection, make_plan
from plimsoll.plan.checks import read_checks
from tests.support.subsession import ROOT, pytest_says

SELECTIONS = [
    (),
    ("-m", "tiny"),
    ("-m", "tiny and dataset"),
    ("-m", "tiny and not nq"),
    ("-m", "small"),
    ("-m", "plan"),
    ("-m", "not tiny", "-k", "llama and not (int8 or BF16)"),
    ("-m", "tiny or measures", "-k", "test_load.py or acceptance"),
    ("-k", "nf4-dq] or stack"),
    ("-m", "memory"),
    ("acceptance/test_dataset.py",),
    ("acceptance/test_load.py::test_loads_completely", "acceptance/test_node.py::test_stack[tiny]"),
    ("acceptance/test_load.py::test_loads_completely[tiny-llama/nf4]",),
    ("-m", "  "),
]

BY_NAME_ALONE = ("dataset", "small", "plan")
"""Marks of checks that are in no run whose `-m` does not name them."""


def collected(*arguments: str, plugins: Sequence[object] = ()) -> list[str]:
    """The ids that pytest would run, in its order."""
    output = pytest_says("--collect-only", "-q", *arguments, plugins=plugins).stdout
    return [line for line in output.splitlines() if line.startswith("acceptance/")]


def of_all_items(*arguments: str, plugins: Sequence[object] = ()) -> list[str]:
    """The same where pytest alone selects, from an item for each parameter: the plan's word is not asked."""
    with mock.patch("fixtures.parametrize._selected", lambda _config, _definition, parameters: parameters):
        return collected(*arguments, plugins=plugins)


class Everything:
    """A plugin that keeps an item for each parameter of each check but of those by name alone, in pytest's order."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = session.items

    def of(self, mark: str, keyword: str) -> list[str]:
        """The ids of those that pytest selects of them."""
        items = list(self.items)
        for config in {item.config for item in items}:
            with mock.patch.multiple(config.option, markexpr=mark, keyword=keyword):
                deselect_by_keyword(items, config)
                deselect_by_mark(items, config)
        return [item.nodeid for item in items]


@pytest.fixture(scope="module")
def everything() -> Everything:
    found = Everything()
    of_all_items(plugins=[found])
    assert found.items
    return found


@pytest.mark.parametrize("arguments", SELECTIONS, ids=" ".join)
def test_the_made_plan_is_what_pytest_would_ask_in_the_same_order(
    arguments: tuple[str, ...], everything: Everything
) -> None:
    options = dict(pairwise(arguments))
    paths = tuple(argument for argument in arguments if argument.startswith("acceptance/"))
    selection = Selection(mark=options.get("-m", ""), keyword=options.get("-k", ""), arguments=paths, base=ROOT)
    catalogue = read_catalogue([], known_marks=read_marks(ROOT / "markers.ini"))
    made = [cell.id for cell in make_plan(ROOT, catalogue, selection).cells]
    is_apart = bool(paths) or any(name in selection.mark for name in BY_NAME_ALONE)
    assert made == (of_all_items(*arguments) if is_apart else everything.of(selection.mark, selection.keyword))
    assert made == collected(*arguments)


def made_items(*arguments: str) -> int:
    """How many items pytest makes, of which it leaves out most again."""
    said = pytest_says("--collect-only", "-q", *arguments).stdout
    found = re.search(r"^(?:no|\d+/(\d+)) tests collected(?: \((\d+) deselected\))?", said, re.MULTILINE)
    assert found, said
    return int(found[1] or found[2])


def test_pytest_makes_few_items_that_it_leaves_out_again() -> None:
    asked = ("-m", "tiny and load", "-k", "tiny-phi")
    assert len(collected(*asked)) < made_items(*asked) <= len(collected(*asked)) + len(read_checks(ROOT))


@pytest.mark.parametrize(
    "untold", [{"open": "it has parameters of its own"}, {"marks": ()}], ids=["parameters", "marks"]
)
def test_what_the_source_does_not_tell_is_left_to_pytest(untold: dict[str, Any]) -> None:
    asked = ("-m", "not load", "acceptance/test_load.py")
    checks = read_checks(ROOT)
    few = made_items(*asked)
    with mock.patch("fixtures.parametrize.read_checks", return_value=[replace(one, **untold) for one in checks]):
        assert made_items(*asked) > 5 * few


def test_a_check_that_is_named_and_deselected_is_no_unknown_one() -> None:
    named = "acceptance/test_load.py::test_loads_completely[llama-3.1-8b/bf16]"
    assert pytest_says("--collect-only", "-m", "tiny", named).returncode == pytest.ExitCode.NO_TESTS_COLLECTED


def test_every_shipped_check_can_be_planned_from_its_source() -> None:
    checks = read_checks(ROOT)
    assert len(checks) > 30
    assert [f"{check.id}: {check.open}" for check in checks if check.open] == []


def test_a_check_is_named_without_marks_families_and_datasets_that_it_does_not_carry() -> None:
    """`-k "my-model and bf16"` would pick it for each quantization; `load` in a check of loading picks nothing more."""
    marks = [name for name in read_marks(ROOT / "markers.ini") if not name.startswith(("only", "measures"))]
    unlucky = [
        f"{check.id} holds {mark!r}"
        for check in read_checks(ROOT)
        for mark in marks
        if mark in check.name and mark not in {own.name for own in check.marks}
    ]
    assert unlucky == []


def test_checks_that_the_source_does_not_tell_are_open(tmp_path: Path) -> None:
    folder = tmp_path / "acceptance"
    folder.mkdir()
    (folder / "test_own.py").write_text(
        "import pytest\nWHAT = ('vram_peak', 'ram_peak')\npytestmark = [pytest.mark.load]\n"
        "@pytest.fixture\ndef mine(variant): pass\n"
        "@pytest.mark.measures(*WHAT)\ndef test_closed(mine, n=3): pass\n"
        "@pytest.mark.parametrize('x', [1])\ndef test_own_parameters(x): pass\n"
        "@pytest.mark.only(kind())\ndef test_computed(variant): pass\n"
        "@wrapped\ndef test_wrapped(): pass\n"
        "class TestThem:\n    def test_it(self): pass\n"
    )
    found = {check.name: check for check in read_checks(tmp_path)}
    assert {name for name, check in found.items() if check.open} == {
        "test_own_parameters",
        "test_computed",
        "test_wrapped",
        "TestThem",
    }
    assert found["test_closed"].wants == {"mine", "variant"}
    assert found["test_closed"].arguments_of("measures") == ("vram_peak", "ram_peak")
