"""Unwraps the rows of a file, each with the place that messages name it by.

The Hub has a row for each question. The official files wrap them: TriviaQA in `Data`, BioASQ in `questions`, and SQuAD
in articles and paragraphs, where many questions share a passage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from plimsoll.catalogue.entries import DatasetSchema
from plimsoll.dataset.fields import Fields, said
from plimsoll.errors import Fault
from plimsoll.usertoml.suggest import did_you_mean

_LIST_OF_ROWS: Final = {
    DatasetSchema.TRIVIA_QA: "Data",
    DatasetSchema.SQUAD_V2: "data",
    DatasetSchema.BIOASQ: "questions",
}

Row = tuple[str, Mapping[str, Any]]
"""What stands before the names of its fields in messages, and the fields."""


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
