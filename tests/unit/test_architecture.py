"""The layout reads as the flow: imports run one way, and torch stays out of the controller."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The flow of the design. A package may import itself and what stands before it.
FLOW = [
    "errors",
    "clock",
    "garbage",
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


@cache
def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction of the layers"
            found.add(node.module or "")
    return found


def modules(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no module in {folder}: this test would prove nothing"
    return found


@pytest.mark.parametrize("path", modules("plimsoll"), ids=lambda path: str(path.relative_to(ROOT)))
def test_library_imports_follow_the_flow(path: Path) -> None:
    parts = path.relative_to(ROOT / "plimsoll").with_suffix("").parts
    if parts[0] == "__init__":
        return
    place = FLOW.index(parts[0])
    for name in imports_of(path):
        assert name.split(".")[0] not in {"pytest", "_pytest", "fixtures", "acceptance", "tests"}, (
            f"{path} imports {name}"
        )
        if name.startswith("plimsoll."):
            other = name.split(".")[1]
            assert FLOW.index(other) <= place, (
                f"{path.relative_to(ROOT)} imports {name}, which comes after it in the flow"
            )


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
    found = [(path, _skips(node)) for path in paths for node in ast.walk(ast.parse(path.read_text()))]
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
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
