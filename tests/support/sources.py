"""What the modules of the suite import and define, each parsed once for all tests of a process that ask."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is kept of a module; its syntax tree takes a hundred times as much."""

    imports: frozenset[str]
    """Full names, wherever in the module they are imported."""
    has_relative_imports: bool
    classes: tuple[str, ...]
    """Those at its top."""


def modules(folder: str) -> list[Path]:
    """The modules below a folder of the repository, of which there is one at least."""
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no module in {folder}: a test of them would prove nothing"
    return found


@cache
def source_of(path: Path) -> Source:
    """What a module imports and defines."""
    tree = ast.parse(path.read_text())
    imports: set[str] = set()
    is_relative = False
    for node in _statements(tree.body):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            is_relative |= node.level > 0
            imports |= {node.module} if node.module else set()
    classes = tuple(node.name for node in tree.body if isinstance(node, ast.ClassDef))
    return Source(imports=frozenset(imports), has_relative_imports=is_relative, classes=classes)


def _statements(block: Iterable[Any]) -> Iterator[ast.AST]:
    """Those of a block and of the blocks in it. Nothing is looked for in expressions, which are nine tenths of a tree:
    no statement can stand there."""
    for node in block:
        yield node
        inner = (getattr(node, name, ()) for name in ("body", "handlers", "orelse", "finalbody", "cases"))
        yield from _statements(chain.from_iterable(inner))
