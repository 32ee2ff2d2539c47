"""Turns rows of an official format into examples, and reports everything that is wrong with them at once.

The Hub has a row for each question. The official files wrap them: TriviaQA in `Data`, BioASQ in `questions`, and SQuAD
in articles and paragraphs, where many questions share a passage. Each row is unwrapped with the place that
messages name it by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from plimsoll.catalogue.entries import Dataset, DatasetSchema
from plimsoll.dataset.example import AnswerKind, DatasetError, Example, LeftOut, StructureReport
from plimsoll.dataset.fields import Fields, said
from plimsoll.dataset.formats import read_bioasq, read_nq_open, read_squad_v2, read_svamp, read_trivia_qa
from plimsoll.errors import Fault
from plimsoll.usertoml.suggest import did_you_mean

_LIST_OF_ROWS: Final = {
    DatasetSchema.TRIVIA_QA: "Data",
    DatasetSchema.SQUAD_V2: "data",
    DatasetSchema.BIOASQ: "questions",
}

Row = tuple[str, Mapping[str, Any]]
"""What stands before the names of its fields in messages, and the fields."""
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


def unwrap(schema: DatasetSchema, content: object, faults: list[Fault]) -> Iterator[Row]:
    """The rows of a list of rows, or of an official document; what is neither becomes a fault."""
    if isinstance(content, Mapping):
        yield from _document(schema, content, faults)
    elif isinstance(content, Iterable) and not isinstance(content, str | bytes):
        yield from _rows(content, "row {}", ": ", faults)
    else:
        faults.append(Fault(where="the whole", what=f"is {said(content)}, where a list of rows belongs"))


def _document(schema: DatasetSchema, content: Mapping[str, Any], faults: list[Fault]) -> Iterator[Row]:
    key = _LIST_OF_ROWS.get(schema)
    if key is None:
        faults.append(Fault(where="the whole", what=f"is fields, where {schema} has a list of rows"))
        return
    rows = content.get(key)
    if not isinstance(rows, list | tuple):
        what = f"is {said(rows)}, where a list belongs" if key in content else "is missing"
        names = [name for name in content if isinstance(name, str) and name.isprintable()]
        faults.append(Fault(where=key, what=what, fix="" if key in content else did_you_mean(key, names)))
        return
    for prefix, row in _rows(rows, f"{key}[{{}}]", ".", faults):
        if schema is DatasetSchema.SQUAD_V2 and "paragraphs" in row:
            yield from _article(prefix, row, faults)
        else:
            yield prefix, row


def _rows(rows: Iterable[object], name: str, end: str, faults: list[Fault]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        place = name.format(number)
        if isinstance(row, Mapping):
            yield f"{place}{end}", row
        else:
            faults.append(Fault(where=place, what=f"is {said(row)}, where fields belong"))


def _article(prefix: str, article: Mapping[str, Any], faults: list[Fault]) -> Iterator[Row]:
    """A question's row is its own fields and the passage of its paragraph."""
    for paragraph in Fields(article, prefix, faults).children("paragraphs"):
        context = paragraph.text("context")
        for question in paragraph.children("qas"):
            if context is not None:  # once a paragraph is enough
                yield question.prefix, {**question.values, "context": context}


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
