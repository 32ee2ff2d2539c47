"""The layout reads as the flow: imports run one way, and torch stays out of the controller."""

import ast
from pathlib import Path

import pytest

from tests.support.sources import ROOT, modules, source_of

# The flow of the design. A package may import itself and what stands before it.
FLOW = [
    "errors",
    "clock",
    "suspension",
    "garbage",
    "streams",
    "suite",
    "units",
    "userpath",
    "extras",
    "metrics",
    "digests",
    "wheelhouse",
    "redaction",
    "child",
    "present",
    "statistics",
    "usertoml",
    "catalogue",
    "symptoms",
    "node",
    "footprint",
    "hub",
    "gate",
    "dataset",
    "tiny",
    "host",
    "plan",
    "scoring",
    "judge",
    "manual",
    "inspection",
    "ladder",
    "evidence",
    "tracking",
    "audit",
    "verdict",
    "report",
    "compare",
    "uncertainty",
    "signoff",
    "fleet",
    "engines",
    "shipping",
    "commands",
    "cli",
    "__main__",
]

ABOVE_THE_LIBRARY = {"pytest", "_pytest", "fixtures", "acceptance", "tests"}

# The one folder that may import torch and its family: what runs inside a host, or in a process that trains.
TORCH_SIDE = ("plimsoll/host/server/",)
TORCH_FAMILY = {
    "torch",
    "transformers",
    "accelerate",
    "bitsandbytes",
    "safetensors",
    "tokenizers",
    "sentence_transformers",
}


def imports_of(path: Path) -> frozenset[str]:
    source = source_of(path)
    assert not source.has_relative_imports, f"{path}: relative imports hide the direction of the layers"
    return source.imports


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "plimsoll").with_suffix("").parts[0]


ROOMS = sorted({room_of(path) for path in modules("plimsoll")} - {"__init__"})


def test_every_room_has_its_place_in_the_flow() -> None:
    assert sorted(FLOW) == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_library_imports_follow_the_flow(room: str) -> None:
    for path in modules("plimsoll"):
        if room_of(path) == room:
            for name in imports_of(path):
                _assert_follows(name, path.relative_to(ROOT), FLOW.index(room))


def _assert_follows(name: str, path: Path, place: int) -> None:
    first, *rest = name.split(".")
    assert first not in ABOVE_THE_LIBRARY, f"{path} imports {name}"
    if first == "plimsoll" and rest:
        assert FLOW.index(rest[0]) <= place, f"{path} imports {name}, which comes after it in the flow"


@pytest.mark.parametrize("folder", ["plimsoll", "fixtures", "acceptance"])
def test_torch_is_imported_by_the_host_side_alone(folder: str) -> None:
    for path in modules(folder):
        relative = str(path.relative_to(ROOT))
        family = {name.split(".")[0] for name in imports_of(path)} & TORCH_FAMILY
        assert not family or relative.startswith(TORCH_SIDE), f"{relative} imports {', '.join(sorted(family))}"


SKIPPING = {"skip", "skipif", "importorskip", "skipTest", "SkipTest", "Skipped"}


def _skips(node: ast.AST) -> str | None:
    """What skips here, be it a call, a mark or an import; None for anything else."""
    if isinstance(node, ast.Attribute) and node.attr in SKIPPING:
        owner = ast.unparse(node.value)
        return node.attr if owner in {"pytest", "pytest.mark", "unittest", "self"} else None
    if isinstance(node, ast.ImportFrom) and node.module in {"pytest", "_pytest.outcomes", "unittest"}:
        return next((alias.name for alias in node.names if alias.name in SKIPPING), None)
    return None


def test_every_skip_of_the_suite_is_of_the_gates_type() -> None:
    """With a code, what there is, what it takes and a next step: one function skips, and takes nothing else."""
    paths = [path for folder in ("plimsoll", "fixtures", "acceptance") for path in modules(folder)]
    # Each of the names has "skip" in it, however it is written; most modules have it nowhere, and need not be parsed.
    assert all("skip" in name.lower() for name in SKIPPING)
    texts = {path: path.read_text() for path in paths}
    speaking = {path: text for path, text in texts.items() if "skip" in text.lower()}
    found = [(path, _skips(node)) for path, text in speaking.items() for node in ast.walk(ast.parse(text))]
    places = [f"{path.relative_to(ROOT)}: {name}" for path, name in found if name is not None]
    assert places == ["fixtures/skipping.py: skip"]


@pytest.mark.parametrize("folder", ["plimsoll", "fixtures", "acceptance"])
def test_a_run_imports_neither_tests_nor_how_golden_numbers_are_made(folder: str) -> None:
    for path in modules(folder):
        for name in imports_of(path):
            assert name.split(".")[0] not in {"tests", "benchmarks"}, f"{path} imports {name}"


def test_one_class_name_stands_for_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for folder in ("plimsoll", "fixtures"):
        for path in modules(folder):
            for name in source_of(path).classes:
                if not name.startswith("_"):
                    places.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
