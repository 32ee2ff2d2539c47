"""Reads the checks from the source of `acceptance/`, without importing or collecting anything.

pytest's collection cannot tell what must run: options, plugins and the failures of an earlier run may narrow it. So the
functions, their marks and the fixtures that they use are read from the text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from plimsoll.errors import PlimsollError, reason_of

FOLDER: Final = "acceptance"
"""The folder of the checks, below the root of the suite."""
_FIXTURES: Final = "fixtures"
_FIXTURE: Final = "pytest.fixture"
"""How the decorator of a fixture is written, without its call."""
_UNREADABLE: Final = object()
_STEERING: Final = ("only", "measures", "usefixtures")
"""Marks whose arguments decide what is planned: where they cannot be read from the source, the check is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckMark:
    """A mark in the source; arguments that are not literals are left out."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One test function of `acceptance/`."""

    file: str
    """Relative to the root, with slashes: `acceptance/test_load.py`."""
    name: str
    line: int
    marks: tuple[CheckMark, ...]
    """Its own marks, then those of its module."""
    wants: frozenset[str]
    """Every fixture that it needs, including those of its fixtures."""
    open: str = ""
    """Why its parameters cannot be derived from the source; empty where they can."""

    @property
    def id(self) -> str:
        """`acceptance/test_load.py::test_loads_completely`."""
        return f"{self.file}::{self.name}"

    def arguments_of(self, mark: str) -> tuple[Any, ...]:
        """The arguments of all its marks of that name, in their order."""
        return tuple(argument for one in self.marks if one.name == mark for argument in one.args)


def read_checks(root: Path) -> tuple[Check, ...]:
    """The checks under `root`, file by file, in the order of their lines.

    Raises PlimsollError where the folder is missing, or a file in it is not valid Python.
    """
    folder = root / FOLDER
    files = sorted(folder.rglob("test_*.py"))
    if not files:
        raise PlimsollError(f"{folder} holds no checks, so nothing can be planned; is this the suite's own folder?")
    shared = [path for path in (*sorted((root / _FIXTURES).glob("*.py")), folder / "conftest.py") if path.is_file()]
    return _checks_of(_sources(shared, root), _sources(files, root))


_Sources: TypeAlias = tuple[tuple[str, bytes], ...]
"""Of each file its path from the root, with slashes, and its content."""


def _sources(paths: Sequence[Path], root: Path) -> _Sources:
    return tuple((path.relative_to(root).as_posix(), _content(path)) for path in paths)


@lru_cache(maxsize=2)  # a run plans twice, on the GPUs that it might use and on those that it does
def _checks_of(shared: _Sources, files: _Sources) -> tuple[Check, ...]:
    # To parse the files that define none takes a third of the time.
    defining = [(file, content) for file, content in shared if _FIXTURE.encode() in content]
    fixtures = [fixture for file, content in defining for fixture in _fixtures(_parsed(file, content))]
    return tuple(check for file, content in files for check in _checks(file, content, fixtures))


@dataclass(frozen=True, slots=True)
class _Fixture:
    name: str
    wants: tuple[str, ...]
    autouse: bool


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PlimsollError(f"{path} cannot be read ({reason_of(error)})") from None


def _parsed(file: str, content: bytes) -> ast.Module:
    try:
        return ast.parse(content, filename=file)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise PlimsollError(f"{file}{line} is no Python, so nothing can be planned: {error}") from None


def _checks(file: str, content: bytes, shared: Sequence[_Fixture]) -> Iterator[Check]:
    module = _parsed(file, content)
    constants = _constants(module)
    known = {fixture.name: fixture for fixture in (*shared, *_fixtures(module))}
    common = _module_marks(module, constants)
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            why = "it is a class, and checks are functions"
            yield Check(file=file, name=node.name, line=node.lineno, marks=(), wants=frozenset(), open=why)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            own = [_mark(decorator, constants) for decorator in node.decorator_list]
            marks = tuple(mark for mark in (*own, *common) if mark is not None)
            used = [str(name) for mark in marks if mark.name == "usefixtures" for name in mark.args]
            yield Check(
                file=file,
                name=node.name,
                line=node.lineno,
                marks=marks,
                wants=_closure((*_arguments(node), *used), known),
                open=_why_open((*own, *common)),
            )


def _why_open(marks: Sequence[CheckMark | None]) -> str:
    for mark in marks:
        if mark is None:
            return "it is decorated with something that is no mark"
        if mark.name == "parametrize":
            return "it has parameters of its own"
        if mark.name in _STEERING and _UNREADABLE in mark.args:
            return f"the arguments of its mark {mark.name} are no literals"
    return ""


def _module_marks(module: ast.Module, constants: Mapping[str, Any]) -> tuple[CheckMark | None, ...]:
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in targets):
            several = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
            return tuple(_mark(one, constants) for one in several)
    return ()


def _mark(node: ast.expr, constants: Mapping[str, Any]) -> CheckMark | None:
    """`pytest.mark.name` or a call of it; None for anything else."""
    call = node if isinstance(node, ast.Call) else None
    target = node.func if isinstance(node, ast.Call) else node
    if not (isinstance(target, ast.Attribute) and ast.unparse(target.value) == "pytest.mark"):
        return None
    args = tuple(value for argument in (call.args if call else ()) for value in _values(argument, constants))
    pairs = {word.arg: _literal(word.value, constants) for word in (call.keywords if call else ()) if word.arg}
    return CheckMark(name=target.attr, args=args, kwargs={k: v for k, v in pairs.items() if v is not _UNREADABLE})


def _values(node: ast.expr, constants: Mapping[str, Any]) -> Iterator[Any]:
    if not isinstance(node, ast.Starred):
        yield _literal(node, constants)
        return
    value = _literal(node.value, constants)
    if isinstance(value, tuple | list):
        yield from value
    else:
        yield _UNREADABLE


def _literal(node: ast.expr, constants: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return constants.get(node.id, _UNREADABLE)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        return _UNREADABLE


def _constants(module: ast.Module) -> dict[str, Any]:
    """The module's constants with literal values."""
    found: dict[str, Any] = {}
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None) if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if value is not None and len(targets) == 1 and isinstance(targets[0], ast.Name):
            found[targets[0].id] = _literal(value, found)
    return found


def _fixtures(module: ast.Module) -> Iterator[_Fixture]:
    for node in module.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            if ast.unparse(call.func if call else decorator) == _FIXTURE:
                options = {word.arg: _literal(word.value, {}) for word in (call.keywords if call else ())}
                name = options.get("name")
                yield _Fixture(
                    name if isinstance(name, str) else node.name, _arguments(node), options.get("autouse") is True
                )


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    """The arguments that pytest fills with fixtures: those without a default."""
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    plain = plain[: len(plain) - len(given.defaults)]
    required = [arg for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    return tuple(argument.arg for argument in (*plain, *required))


def _closure(names: Sequence[str], known: Mapping[str, _Fixture]) -> frozenset[str]:
    found: set[str] = set()
    waiting = [*names, *(fixture.name for fixture in known.values() if fixture.autouse)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += known[name].wants if name in known else ()
    return frozenset(found)
