"""Makes the plan: all checks that a selection must run, from the catalogue and the source, not from pytest's
collection.

Only `-m`, `-k` and paths narrow it, since only they are in a verdict's scope. Whatever else keeps a check from running
is a gap, which this list reveals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import Catalogue, Variant
from plimsoll.catalogue.expression import Expression, Value, parse
from plimsoll.node.devices import CUDA_KIND, NO_GPUS, Device, Devices
from plimsoll.plan.asking import SUBJECTS, Named, Order, Parameter, Subjects, parameters_of
from plimsoll.plan.checks import FOLDER, Check, read_checks
from plimsoll.userpath import resolved

_MANY: Final = Devices(
    gpus=tuple(Device(id=f"gpu{index}", kind=CUDA_KIND, index=index, name="one product") for index in range(16))
)
"""GPUs of a node that has as many as nodes come with, so that all questions are asked that several can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the command line selects. `arguments` are paths and node ids as given, empty for everything; relative ones
    start at `base`."""

    mark: str = ""
    keyword: str = ""
    arguments: tuple[str, ...] = ()
    base: Path
    by_module: bool = False
    """True where arguments may be names of modules (`--pyargs`)."""
    soak: bool = False
    """True where --soak says how long devices are kept busy."""

    @property
    def named(self) -> Named:
        """What is selected by name. Raises ExpressionError for an invalid expression."""
        return Named(marks=parse(self.mark), paths=self.arguments, soak=self.soak)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCell:
    """One check with one parameter."""

    check: Check
    parameter: Parameter | None

    @property
    def id(self) -> str:
        """pytest's node id."""
        return self.check.id if self.parameter is None else f"{self.check.id}[{self.parameter.id}]"

    @property
    def subject(self) -> str:
        """The first of SUBJECTS among its marks; empty for none."""
        return check_subject(self.check)

    def to_json(self) -> dict[str, Any]:
        """The check as evidence stores it."""
        variant = None if self.parameter is None else self.parameter.variant
        return {
            "id": self.id,
            "variant": variant.id if variant else None,
            "model": variant.model.id if variant else None,
            "quantization": variant.quantization.value if variant else None,
            "tier": "" if self.parameter is None else self.parameter.tier,
            "subject": self.subject,
            "question": self.check.name,
            "measures": list(self.check.arguments_of("measures")),
            "weights": variant.model.source.value if variant else None,
            "gpu": gpu_text(variant, None if self.parameter is None else self.parameter.device),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MadePlan:
    """Every planned check in order, and the test functions whose parameters only a collection can tell."""

    cells: tuple[PlannedCell, ...]
    open: tuple[Check, ...]
    left_out: int
    """The number of checks that `-m`, `-k` and paths leave out."""


def make_plan(root: Path, catalogue: Catalogue, selection: Selection, devices: Devices = NO_GPUS) -> MadePlan:
    """The plan of a selection on these devices, for the suite under `root`.

    Raises PlimsollError for what cannot be read, and ExpressionError for an invalid expression.
    """
    return plan_among(root, Subjects(catalogue=catalogue, named=selection.named, devices=devices), selection)


def plan_among(root: Path, subjects: Subjects, selection: Selection) -> MadePlan:
    """The plan of a selection whose subjects are known. Raises as `make_plan` does."""
    catalogue, named = subjects.catalogue, subjects.named
    order = Order(catalogue, named)
    asked = [check for check in read_checks(root) if named.asks(Path(check.file).name, catalogue)]
    known = [check for check in asked if not check.open and check_subject(check)]
    every = [(check, _parameters(check, subjects)) for check in known]
    selector = Selector(root, selection)
    chosen = [cell for check, parameters in every for cell in selector.among(check, parameters)]
    chosen.sort(key=lambda cell: _place(order, cell))
    opened = tuple(check for check in asked if check.open)
    left_out = sum(len(parameters) for _, parameters in every) - len(chosen)
    return MadePlan(cells=tuple(chosen), open=opened, left_out=left_out)


def keyword_names(root: Path, catalogue: Catalogue) -> frozenset[str]:
    """What `-k` looks at in the checks of the suite, whatever else selects them and however many GPUs a node has: their
    ids with their files, the ids of their parameters, and marks. Raises PlimsollError for what cannot be read."""
    # By the mark of all datasets, so that each pair of a variant and a dataset is there.
    subjects = Subjects(catalogue=catalogue, named=Named(marks=parse("dataset")), devices=_MANY)
    names: set[str] = set()
    for check in read_checks(root):
        names |= {check.id, *(mark.name for mark in check.marks)}
        for parameter in _parameters(check, subjects):
            names |= set() if parameter is None else {parameter.id, *parameter.marks}
    return frozenset(names)


def subject_among(marks: Iterable[str]) -> str:
    """The first of SUBJECTS among names of marks; empty for none."""
    names = set(marks)
    return next((subject for subject in SUBJECTS if subject in names), "")


def check_subject(check: Check) -> str:
    """The first of SUBJECTS among the marks of a check; empty for none."""
    return subject_among(mark.name for mark in check.marks)


def gpu_text(variant: Variant | None, device: Device | None) -> str | None:
    """The GPUs of a check as evidence stores them, `gpu3` or `gpu0+gpu1`; None for a check without, and where there is
    no GPU."""
    if variant is not None:
        return "+".join(variant.gpus) or None
    return device.id if device is not None and device.cuda_name is not None else None


def _parameters(check: Check, subjects: Subjects) -> Sequence[Parameter | None]:
    found = parameters_of(check.wants, [str(kind) for kind in check.arguments_of("only")], subjects)
    return [None] if found is None else found[1]


def _place(order: Order, cell: PlannedCell) -> tuple[int, int, int, int, str, int, int]:
    variant = None if cell.parameter is None else cell.parameter.variant
    dataset = None if cell.parameter is None else cell.parameter.dataset
    tier = "" if cell.parameter is None else cell.parameter.tier
    check = cell.check
    return order.place(cell.subject, variant.id if variant else None, dataset, check.file, check.line, tier)


class Selector:
    """Applies `-m`, `-k` and paths to checks as pytest would. Raises ExpressionError for an invalid expression."""

    def __init__(self, root: Path, selection: Selection) -> None:
        # pytest reads a blank -m as an expression that selects nothing, and a blank -k as none.
        self._nothing = bool(selection.mark) and not selection.mark.strip()
        self._marks = parse(selection.mark)
        self._asked = frozenset(self._marks.names)
        self._words = parse(selection.keyword, "-k")
        self._paths = [_argument(argument, root, selection) for argument in selection.arguments]

    def among(self, check: Check, parameters: Sequence[Parameter | None]) -> Iterator[PlannedCell]:
        """What is selected of a check."""
        if self._nothing:
            return
        # Hundreds of parameters differ in few of the marks that are asked for.
        by_marks: dict[frozenset[str], bool] = {}
        for parameter in parameters:
            marks = self._asked.intersection(() if parameter is None else parameter.marks)
            if marks not in by_marks:
                by_marks[marks] = self._marks.is_empty or _holds(self._marks, _marks_of(check, marks))
            if by_marks[marks]:
                cell = PlannedCell(check=check, parameter=parameter)
                if self._path(cell) and self._word(cell):
                    yield cell

    def _path(self, cell: PlannedCell) -> bool:
        return not self._paths or any(argument.selects(cell) for argument in self._paths)

    def _word(self, cell: PlannedCell) -> bool:
        if self._words.is_empty:
            return True
        check, marks = cell.check, () if cell.parameter is None else cell.parameter.marks
        names = [*check.file.split("/"), cell.id.rpartition("::")[2], *dict(_marks_of(check, marks))]
        # Line ends keep the names apart: no word of an expression holds one.
        lowered = "\n".join(names).lower()
        return self._words.evaluate(lambda word, _: word.lower() in lowered)


def _holds(expression: Expression, marks: Sequence[tuple[str, Mapping[str, Any]]]) -> bool:
    def matches(name: str, arguments: Mapping[str, Value]) -> bool:
        return any(
            name == own and all(key in kwargs and kwargs[key] == value for key, value in arguments.items())
            for own, kwargs in marks
        )

    return expression.evaluate(matches)


def _marks_of(check: Check, of_parameter: Iterable[str]) -> list[tuple[str, Mapping[str, Any]]]:
    return [*((name, {}) for name in of_parameter), *((mark.name, mark.kwargs) for mark in check.marks)]


@dataclass(frozen=True, slots=True)
class _Argument:
    """A path relative to the root, and the names behind its double colons; no path for one that contains everything."""

    path: str | None
    names: tuple[str, ...]

    def selects(self, cell: PlannedCell) -> bool:
        if self.path is None:
            return False
        inside = self.path in ("", cell.check.file) or cell.check.file.startswith(f"{self.path}/")
        own = cell.id.partition("::")[2]
        return inside and self.names in ((), (own,), (cell.check.name,))


def _argument(argument: str, root: Path, selection: Selection) -> _Argument:
    head, bracket, rest = argument.partition("[")
    name, *parts = head.split("::")
    if bracket and parts:
        parts[-1] += f"{bracket}{rest}"
    elif bracket:
        name += f"{bracket}{rest}"
    path = resolved(selection.base / name)
    if selection.by_module and not path.exists():
        module = root.joinpath(*name.split("."))
        path = module if module.is_dir() else module.with_name(f"{module.name}.py")
    top = root.resolve()
    if path == top or path in top.parents:
        return _Argument("", tuple(parts))
    return _Argument(path.relative_to(top).as_posix() if path.is_relative_to(top) else None, tuple(parts))


def is_of_the_suite(arguments: Sequence[str], root: Path, base: Path) -> bool:
    """True where an argument contains, is, or lies in the folder of the checks."""
    acceptance = (root / FOLDER).resolve()
    for argument in arguments:
        path = resolved(base / argument.partition("::")[0])
        if path == acceptance or path in acceptance.parents or acceptance in path.parents:
            return True
    return False
