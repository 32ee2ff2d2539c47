"""Turns rows of an official format into examples, and reports everything that is wrong with them at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from plimsoll.catalogue.entries import Dataset, DatasetSchema
from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.dataset.fields import Fields
from plimsoll.dataset.formats import read_bioasq, read_nq_open, read_squad_v2, read_svamp, read_trivia_qa
from plimsoll.dataset.structure import DatasetError, LeftOut, StructureReport
from plimsoll.dataset.unwrapping import unwrap
from plimsoll.errors import Fault

_Read = Callable[[Fields, str], Example | LeftOut | None]

_FORMATS: Final[Mapping[DatasetSchema, _Read]] = MappingProxyType(
    {
        DatasetSchema.TRIVIA_QA: read_trivia_qa,
        DatasetSchema.SQUAD_V2: read_squad_v2,
        DatasetSchema.NQ_OPEN: read_nq_open,
        DatasetSchema.SVAMP: read_svamp,
        DatasetSchema.BIOASQ: read_bioasq,
    }
)

_REPEATED: Final = LeftOut(why="repeats the id and the question of an earlier row")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsRead:
    """The examples of a split in the order of its rows, and a report on the rows."""

    examples: tuple[Example, ...]
    report: StructureReport


def read_examples(
    dataset: Dataset,
    rows: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    split: str,
    *,
    published: bool = False,
    place: str = "",
) -> RowsRead:
    """The examples of a split's rows, or of an official document that holds them.

    `published` says that these should be the whole split as it is published, so that its size and how many have no
    answer are known; `place` is where they come from, for the message. Raises DatasetError with all that is wrong.
    """
    faults: list[Fault] = []
    found = _RowTally(may_repeat=dataset.schema is DatasetSchema.TRIVIA_QA)
    for prefix, row in unwrap(dataset.schema, rows, faults):
        fields = Fields(row, prefix, faults)
        outcome = _FORMATS[dataset.schema](fields, f"{split}-{found.rows}")
        found.add(outcome, fields)
    report = found.report()
    if not faults:
        faults += _of_the_whole(dataset, split, report, published=published)
    if faults:
        raise DatasetError(faults, dataset=dataset.id, split=split, place=place)
    return RowsRead(examples=tuple(found.examples.values()), report=report)


@dataclass(slots=True, kw_only=True)
class _RowTally:
    """What the rows have come to so far."""

    may_repeat: bool
    """TriviaQA has a question once for each of two sources, under one id; asked twice, it would count twice."""
    rows: int = 0
    examples: dict[str, Example] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Example | LeftOut | None, fields: Fields) -> None:
        """Count a row."""
        self.rows += 1
        if isinstance(outcome, Example):
            earlier = self.examples.setdefault(outcome.id, outcome)
            if earlier is outcome:
                return
            other = (earlier.question, earlier.context) != (outcome.question, outcome.context)
            if other or not self.may_repeat:
                also = ", and another question" if other else ""
                fields.fault("", f"has the id {outcome.id!r} of an earlier row{also}")
            outcome = _REPEATED
        if outcome is not None:
            self.left_out[outcome.why] += 1

    def report(self) -> StructureReport:
        """The counts of all rows so far."""
        kinds = Counter(example.kind for example in self.examples.values())
        questions = {(example.question, example.context) for example in self.examples.values()}
        return StructureReport(
            rows=self.rows,
            examples=len(self.examples),
            left_out=dict(self.left_out),
            kinds={kind.value: kinds[kind] for kind in AnswerKind if kinds[kind]},
            unanswerable=kinds[AnswerKind.UNANSWERABLE],
            repeated_questions=len(self.examples) - len(questions),
        )


def _of_the_whole(dataset: Dataset, split: str, report: StructureReport, *, published: bool) -> Iterator[Fault]:
    if not report.examples:
        why = "".join(f"; {count} left out: {reason}" for reason, count in report.left_out.items())
        yield Fault(where="the whole", what=f"has {report.rows} rows and no example{why}")
    if not published:
        return
    for what, have, want in (
        ("rows", report.rows, dataset.split_sizes.get(split)),
        ("questions without an answer", report.unanswerable, dataset.unanswerable.get(split)),
    ):
        if want is not None and have != want:
            yield Fault(
                where="the whole",
                what=f"has {have:,} {what}, and the published split {want:,}",
                fix="the file was cut short, or is another split",
            )
