"""Splits a file into tables, each with its place, its values, and the faults of its shape, worded for the user.

A table with faults is kept: its sound keys are still checked, and its ids still count as declared, so that one read of
the catalogue finds every fault and no fault causes another. pydantic's errors are translated into ours: with the key
path as the user wrote it, and the nearest known name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from plimsoll.catalogue.entries import CatalogueFile, Origin
from plimsoll.catalogue.files import ParsedFile
from plimsoll.catalogue.schema import NESTED, REFUSED, SCHEMAS, FileTable, keys_of
from plimsoll.errors import Fault
from plimsoll.usertoml.reading import key_path, line_of, shown
from plimsoll.usertoml.suggest import did_you_mean, nearest

_QUOTED: Final = re.compile(r"'([^']*)'")

_KINDS: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
}
_NOUNS: Final = {
    "quantizations": "quantization",
    "schema": "schema of a dataset",
    "source": "source of weights",
    "device": "device",
    "attention": "attention implementation",
    "limits": "kind of limit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TomlTable:
    """One `[[kind]]` of a file."""

    document: ParsedFile
    kind: str
    index: int
    parsed: FileTable | None
    """The parsed table; None where anything in it has the wrong shape."""
    sound: Mapping[str, Any] = field(default_factory=dict)
    """The values of the right shape, as TOML gave them."""
    given: frozenset[str] = frozenset()
    """The keys that are present, or that a typo meant."""
    faults: tuple[Fault, ...] = ()

    @property
    def origin(self) -> Origin:
        """Where the table stands, for messages."""
        return Origin(file=Path(self.document.label), key=key_path(self.kind, self.index))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that the table declares, each once, with groups expanded. Claims have none."""
        return tuple(dict.fromkeys(self._ids()))

    def fault(self, key: str, what: str, fix: str = "") -> Fault:
        """A fault of the value at `key`, a path inside this table; an empty key for the table itself."""
        return Fault(where=_where(self.document, self.kind, self.index, key), what=what, fix=fix)

    def place(self, key: str, item: object) -> str:
        """`models[1]`: the position in the file of an item of an array whose faulty items were removed."""
        return key_path(key, self.document.data[self.kind][self.index][key].index(item))

    def _ids(self) -> Iterator[str]:
        """Ids from the values as they are, even invalid ones: a reference to a misspelt id is no second mistake."""
        values = self.document.data[self.kind][self.index]
        if not isinstance(values, dict):
            return
        match self.kind:
            case "model" | "tier" | "dataset" | "experiment" | "symptom":
                yield from _texts(values.get("id"))
            case "profile" if "id" in self.sound:
                for count in self.sound.get("counts", (1,)):
                    yield profile_id(self.sound["id"], count)
            case "variant":
                names = _texts(values.get("name", values.get("quantizations")))
                for model in _texts(values.get("models")):
                    for name in names:
                        yield f"{model}/{name}"


_WITH_LINES: Final = frozenset({"symptom"})
"""The kinds of tables that are so long and nested that a key path needs a line number too."""
_STEP: Final = re.compile(r"(\w+)|\[(\d+)\]")


def _where(document: ParsedFile, kind: str, index: int, key: str) -> str:
    """Where a value stands, for messages: file, key path and, for long tables, line."""
    path = key_path(kind, index) + (f".{key}" if key else "")
    if kind in _WITH_LINES:
        steps = [int(number) if number else name for name, number in _STEP.findall(path)]
        line = line_of(document.text, steps, len(document.data[kind]))
        return f"{document.label}: {path}" if line is None else f"{document.label}: line {line}, {path}"
    return f"{document.label}: {path}"


def _texts(value: object) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def profile_id(base: str, count: int) -> str:
    """`h100-80g` for one GPU, `h100-80g-x8` for eight."""
    return base if count == 1 else f"{base}-x{count}"


def tables_of(document: ParsedFile) -> tuple[list[TomlTable], list[Fault]]:
    """The tables of a file, in the order of SCHEMAS, and the faults of anything else in it. Those of a shipped file are
    checked once in a process."""
    if not document.file.shipped:
        return _tables_of(document)
    if document.file not in _SHIPPED:
        _SHIPPED[document.file] = _tables_of(document)
    tables, faults = _SHIPPED[document.file]
    return [*tables], [*faults]


_SHIPPED: Final[dict[CatalogueFile, tuple[list[TomlTable], list[Fault]]]] = {}
"""The tables of the shipped files that were read, by path and content."""


def _tables_of(document: ParsedFile) -> tuple[list[TomlTable], list[Fault]]:
    faults = []
    if not document.data:
        faults.append(Fault(where=document.label, what="is empty", fix="remove it, or add a [[model]]"))
    for key in document.data:
        if key not in SCHEMAS:
            fault = Fault(where=document.label, what=f"unknown table {shown(key)}", fix=did_you_mean(key, SCHEMAS))
            faults.append(fault)
    tables = []
    for kind in SCHEMAS:
        listed = document.data.get(kind, [])
        if not isinstance(listed, list):
            where = f"{document.label}: {kind}"
            faults.append(
                Fault(where=where, what=f"must be an array of tables, not {shown(listed)}", fix=f"write [[{kind}]]")
            )
            continue
        tables += [_table(document, kind, index, value) for index, value in enumerate(listed)]
    return tables, faults


def _table(document: ParsedFile, kind: str, index: int, value: object) -> TomlTable:
    def where(key: str) -> str:
        return _where(document, kind, index, key)

    given = frozenset(value) if isinstance(value, dict) else frozenset()
    sound = value if isinstance(value, dict) else {}
    try:
        parsed = SCHEMAS[kind].model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    else:
        return TomlTable(document=document, kind=kind, index=index, parsed=parsed, sound=sound, given=given)
    meant = meant_keys(kind, errors)
    return TomlTable(
        document=document,
        kind=kind,
        index=index,
        parsed=None,
        sound=_without_bad(sound, errors),
        given=given | {str(place[0]) for place in meant},
        faults=tuple(
            translate(where, kind, error) for error in errors if error["type"] != "missing" or error["loc"] not in meant
        ),
    )


def _without_bad(values: Mapping[str, Any], errors: Sequence[ErrorDetails]) -> dict[str, Any]:
    """The values without an error; of an array of names, the good items stay."""
    sound = dict(values)
    for key in {str(error["loc"][0]) for error in errors if error["loc"]}:
        places = [error["loc"][1:] for error in errors if error["loc"][:1] == (key,)]
        bad = {place[0] for place in places if place}
        if isinstance(values.get(key), list) and all(places):
            sound[key] = [item for number, item in enumerate(values[key]) if number not in bad]
        else:
            sound.pop(key, None)
    return sound


def known_keys(kind: str, inside: Sequence[str | int]) -> tuple[str, ...]:
    """The keys that a table of this kind takes, or those of its inner table at `inside`."""
    schema = NESTED[str(inside[0])] if inside else SCHEMAS[kind]
    return keys_of(schema)


def meant_keys(kind: str, errors: Sequence[ErrorDetails]) -> frozenset[tuple[str | int, ...]]:
    """The places of the keys that unknown keys most likely meant, so that these are not reported as missing too."""
    meant = set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            *inside, key = error["loc"]
            near = nearest(str(key), known_keys(kind, inside))
            if near is not None:
                meant.add((*inside, near))
    return frozenset(meant)


def translate(where: Callable[[str], str], kind: str, error: ErrorDetails) -> Fault:
    """Translate one of pydantic's errors about a table; `where` gives the place of a key path inside it."""
    location, value = error["loc"], error["input"]
    context: dict[str, Any] = error.get("ctx", {})
    what, fix = _words(error["type"], kind, location, value, context)
    return Fault(where=where(key_path(*location) if location else ""), what=what or error["msg"], fix=fix)


def _words(
    type_: str, kind: str, location: tuple[str | int, ...], value: object, context: Mapping[str, Any]
) -> tuple[str, str]:
    match type_:
        case "missing":
            return "is required", ""
        case "extra_forbidden":
            *inside, key = location
            return f"unknown key {shown(str(key))}", did_you_mean(str(key), known_keys(kind, inside))
        case "enum" | "literal_error":
            noun = _NOUNS[next(str(part) for part in reversed(location) if isinstance(part, str))]
            if not isinstance(value, str):
                return f"must be text, not {shown(value)}", ""
            return f"unknown {noun} {shown(value)}", did_you_mean(value, _QUOTED.findall(context["expected"]))
        case "greater_than":
            return f"must be more than {context['gt']:g}, not {shown(value)}", ""
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}, not {shown(value)}", ""
        case "less_than_equal":
            return f"must be at most {context['le']:g}, not {shown(value)}", ""
        case "finite_number":
            return f"must be finite, not {shown(value)}", ""
        case "too_short":
            return "must not be empty", ""
        case _ if type_ == REFUSED:
            return context["what"], context["fix"]
        case _ if type_ in _KINDS:
            return f"must be {_KINDS[type_]}, not {shown(value)}", ""
    return "", ""
