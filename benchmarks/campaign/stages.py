"""The stages of a campaign as data: what each runs, what it is worth, how long it takes, what shows that it is done.

They are read from a TOML file and held against this checkout before anything starts: an hour on a borrowed GPU must not
be spent on finding out that a mark is misspelt.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks.synthetic_row import ROOT, Row
from fixtures.options import pytest_addoption
from plimsoll.catalogue.expression import ExpressionError, compile_expression
from plimsoll.catalogue.marks import read_marks
from plimsoll.errors import Fault, PlimsollError
from plimsoll.usertoml.suggest import did_you_mean
from plimsoll.verdict.verdict import Word

SHIPPED: Final = ROOT / "benchmarks" / "gpu_campaign.toml"
MARKS: Final = ROOT / "markers.ini"
LONGEST: Final = 9
"""Minutes that one stage may take: machines are lent in slices of ten."""
_UPDATE: Final = "or bring the checkout up to date"
_STAGE_KEYS: Final = frozenset({"number", "title", "worth", "step"})
_STEP_KEYS: Final = frozenset({"id", "minutes", "worth", "pytest", "load", "plimsoll", "script", "verdict", "because"})
_STEP_KEYS_TOO: Final = frozenset({"rehearsal", "gigabytes", "divisible", "options"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of a stage, and what it leaves."""

    id: str
    stage: int
    worth: int
    """Higher comes first, over all stages."""
    minutes: float
    """Predicted, on one GPU of this decade, the start of pytest and hosts included."""
    arguments: tuple[str, ...]
    """Of the command on a GPU: pytest's, or for `output` those of Python."""
    rehearsal: tuple[str, ...]
    """The same at small sizes on a CPU; empty where there is nothing to rehearse."""
    output: str = ""
    """The file with what the command prints; empty for a run of pytest, which leaves evidence."""
    verdicts: tuple[Word, ...] = (Word.ACCEPTED,)
    """What the run may come to."""
    because: str = ""
    """What some failure must say, where it has to be rejected."""
    variant: str = ""
    """The variant that is loaded, where the step is about one: its row of the table."""
    gigabytes: float = 0
    """What its weights are in 16 bit, which is what has to be made up."""
    divisible: bool = False
    """True for many small checks: worth starting in the little time that is left, for a later run goes on with it."""

    def command(self, *, rehearse: bool) -> tuple[str, ...]:
        """The arguments to run it with."""
        return self.rehearsal if rehearse else self.arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Steps that belong together and fit into one slice of time."""

    number: int
    title: str
    worth: str
    """Why it is where it is, in a sentence."""
    steps: tuple[Step, ...]

    @property
    def minutes(self) -> float:
        """Predicted, of all its steps."""
        return sum(step.minutes for step in self.steps)


def read_stages(path: Path = SHIPPED) -> tuple[Stage, ...]:
    """The campaign of a file. Raises PlimsollError with every fault."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PlimsollError(f"{path} cannot be read: {error}") from None
    faults: list[Fault] = []
    stages = [
        _stage(entry, f"{path.name}: stage[{place}]", faults) for place, entry in enumerate(data.get("stage", []))
    ]
    if not stages:
        faults.append(Fault(where=path.name, what="has no stage"))
    steps = [step for stage in stages for step in stage.steps]
    names = Counter(step.id for step in steps)
    faults += [Fault(where=path.name, what=f"{n} steps are called {name!r}") for name, n in names.items() if n > 1]
    if faults:
        raise _mistakes(faults)
    return tuple(stages)


def refuse_unknown(stages: Sequence[Stage], *, rehearse: bool, marks: Path = MARKS) -> None:
    """Raise PlimsollError where a step that is to run names a mark or an option that this checkout does not have."""
    known = read_marks(marks)
    faults = [
        Fault(where=f"step {step.id}", what=what, fix=fix)
        for stage in stages
        for step in stage.steps
        for what, fix in (_no_module if step.output else partial(_unknown, marks=known))(
            step.command(rehearse=rehearse)
        )
    ]
    if faults:
        raise _mistakes(faults)


def _mistakes(faults: Sequence[Fault]) -> PlimsollError:
    return PlimsollError("\n".join(["nothing was started, for in the campaign:", *(f"  {fault}" for fault in faults)]))


def _stage(entry: Mapping[str, Any], where: str, faults: list[Fault]) -> Stage:
    faults.extend(_unknown_keys(entry, _STAGE_KEYS, where))
    number = entry.get("number", 0)
    steps = [_step(step, number, f"{where}.step[{place}]", faults) for place, step in enumerate(entry.get("step", []))]
    stage = Stage(number=number, title=entry.get("title", ""), worth=entry.get("worth", ""), steps=tuple(steps))
    faults.extend(
        Fault(where=where, what=f"{name} is missing") for name in ("number", "title", "worth") if not entry.get(name)
    )
    if stage.minutes > LONGEST:
        what = f"takes {stage.minutes:g} minutes, and a stage may take {LONGEST}"
        faults.append(Fault(where=where, what=what, fix="divide it"))
    return stage


def _step(entry: Mapping[str, Any], stage: int, where: str, faults: list[Fault]) -> Step:
    faults.extend(_unknown_keys(entry, _STEP_KEYS | _STEP_KEYS_TOO, where))
    faults.extend(
        Fault(where=where, what=f"{name} is missing") for name in ("id", "minutes", "worth") if not entry.get(name)
    )
    kinds = [kind for kind in ("pytest", "load", "plimsoll", "script") if kind in entry]
    if len(kinds) != 1:
        faults.append(Fault(where=where, what="a step is one of pytest, load, plimsoll and script"))
        kinds = ["pytest"]
    words = entry.get("verdict", "ACCEPTED")
    words = [words] if isinstance(words, str) else words
    wrong = [word for word in words if word not in tuple(Word)]
    faults += [Fault(where=f"{where}.verdict", what=f"{word!r} is no verdict") for word in wrong]
    arguments, rehearsal, output = _commands(kinds[0], entry)
    return Step(
        id=entry.get("id", ""),
        stage=stage,
        worth=entry.get("worth", 0),
        minutes=entry.get("minutes", 0),
        arguments=arguments,
        rehearsal=rehearsal,
        output=output,
        verdicts=tuple(Word(word) for word in words if word not in wrong),
        because=entry.get("because", ""),
        variant=entry.get("load", ""),
        gigabytes=entry.get("gigabytes", 0),
        divisible=entry.get("divisible", False),
    )


def _commands(kind: str, entry: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Arguments on a GPU and in a rehearsal, and the file that they print, empty for a run of the suite."""
    given, rehearsal = entry.get(kind, ()), entry.get("rehearsal", ())
    options = tuple(entry.get("options", ()))
    match kind:
        case "load":
            # The tiny tier is loaded on the CPU whatever the machine.
            small = () if not rehearsal else (*Row(variant=rehearsal, on_cpu=False).arguments, *options)
            return (*Row(variant=given, on_cpu=False).arguments, *options), small, ""
        case "plimsoll":
            return ("-m", "plimsoll", *given), ("-m", "plimsoll", *(rehearsal or given)), f"{entry.get('id')}.json"
        case "script":
            return tuple(given), tuple(rehearsal), f"{entry.get('id')}.txt"
        case _:
            return tuple(given), tuple(rehearsal), ""


def _unknown_keys(entry: Mapping[str, Any], known: frozenset[str], where: str) -> Iterator[Fault]:
    for key in entry.keys() - known:
        yield Fault(where=f"{where}.{key}", what="is no key of it", fix=did_you_mean(key, known))


def _no_module(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The module that Python is to run, where this checkout does not have it."""
    for word, value in pairwise(arguments):
        if word == "-m" and find_spec(value) is None:
            yield f"there is no module {value}", _UPDATE
            return


def _unknown(arguments: Sequence[str], marks: Collection[str]) -> Iterator[tuple[str, str]]:
    """What pytest would not know of its arguments, with a step."""
    for word, value in pairwise(arguments):
        if word == "-m":
            try:
                compile_expression(value, marks)
            except ExpressionError as error:
                yield str(error), _UPDATE
    parser = pytest.Parser(_ispytest=True)
    pytest_addoption(parser)
    for word in arguments:
        if word.startswith("--"):
            try:
                _, left = parser.parse_known_and_unknown_args([word])
            except (pytest.UsageError, SystemExit) as error:
                yield f"pytest refuses it: {str(error).strip().rpartition('error: ')[2]}", _UPDATE
                continue
            if left:
                yield f"{word.partition('=')[0]} is no option of the suite", _UPDATE
