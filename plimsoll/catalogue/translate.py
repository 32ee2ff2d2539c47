"""Translates pydantic's errors into ours: with the key path as the user wrote it, and the nearest known name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic_core import ErrorDetails

from plimsoll.catalogue.schema import NESTED, REFUSED, SCHEMAS, keys_of
from plimsoll.errors import Fault
from plimsoll.usertoml.reading import key_path, shown
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
