"""Reads the fields of a row that came from outside: what is wrong with one is noted with its key path.

Nothing is raised here. A reader gets None for a bad field and continues with the next, so that all faults of all rows
are reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from reprlib import Repr
from typing import Any, Final, TypeGuard

from plimsoll.errors import Fault
from plimsoll.usertoml.suggest import did_you_mean

_SHORT: Final = Repr()
_SHORT.maxstring = _SHORT.maxother = 40


class Fields:
    """The fields of a row or of a part of it, and the list that its faults go to.

    A field may have several names, one for each layout in which a dataset is published; null counts as missing.
    """

    def __init__(self, values: Mapping[str, Any], prefix: str, faults: list[Fault]) -> None:
        """`prefix` is what stands before the name of a field in messages: `row 7: `, `data[0].paragraphs[1].`."""
        self.values = values
        self.prefix = prefix
        self._faults = faults

    def fault(self, key: str, what: str, fix: str = "") -> None:
        """Note what is wrong with a field, or with all of this where `key` is empty."""
        self._faults.append(Fault(where=self._path(key), what=what, fix=fix))

    def raw(self, *names: str) -> tuple[str, Any] | None:
        """The name that is there and its value; None where none is, without a fault."""
        return next(((name, self.values[name]) for name in names if self.values.get(name) is not None), None)

    def required(self, *names: str) -> tuple[str, Any] | None:
        """The same, with a fault where none is there."""
        found = self.raw(*names)
        if found is None:
            null = next((name for name in names if name in self.values), None)
            if null is not None:
                self.fault(null, "is null")
                return None
            present = [name for name in self.values if isinstance(name, str) and name.isprintable()]
            self.fault(names[0], "is missing", did_you_mean(names[0], present) if present else "the row is empty")
        return found

    def text(self, *names: str, optional: bool = False, blank: bool = False) -> str | None:
        """A text as it stands, which must be more than white space unless `blank`."""
        found = self.raw(*names) if optional else self.required(*names)
        if found is None:
            return None
        name, value = found
        if not _is_text(value):
            self.fault(name, f"is {said(value)}, where a text belongs")
            return None
        if not (blank or value.strip()):
            self.fault(name, "is empty")
            return None
        return value

    def texts(self, *names: str, optional: bool = False) -> tuple[str, ...] | None:
        """A list of texts, without those that are empty; an empty tuple where nothing is left or, optional, there."""
        found = self.raw(*names) if optional else self.required(*names)
        if found is None:
            return () if optional else None
        name, value = found
        if not isinstance(value, list | tuple):
            self.fault(name, f"is {said(value)}, where a list of texts belongs")
            return None
        wrong = [place for place, item in enumerate(value) if not _is_text(item)]
        for place in wrong:
            self.fault(f"{name}[{place}]", f"is {said(value[place])}, where a text belongs")
        return None if wrong else tuple(item for item in value if item.strip())

    def child(self, *names: str) -> Fields | None:
        """The fields of a field."""
        found = self.required(*names)
        if found is None:
            return None
        name, value = found
        if not isinstance(value, Mapping):
            self.fault(name, f"is {said(value)}, where fields belong")
            return None
        return Fields(value, f"{self._path(name)}.", self._faults)

    def children(self, *names: str) -> Iterator[Fields]:
        """The fields of each part of a list."""
        found = self.required(*names)
        if found is None:
            return
        name, value = found
        if not isinstance(value, list | tuple):
            self.fault(name, f"is {said(value)}, where a list belongs")
            return
        for place, item in enumerate(value):
            if isinstance(item, Mapping):
                yield Fields(item, f"{self._path(name)}[{place}].", self._faults)
            else:
                self.fault(f"{name}[{place}]", f"is {said(item)}, where fields belong")

    def _path(self, key: str) -> str:
        return f"{self.prefix}{key}" if key else self.prefix.rstrip(": .")


def _is_text(value: object) -> TypeGuard[str]:
    """JSON can hold half of a character (`\\ud800`), which nothing could write down again."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def said(value: object) -> str:
    """What a value is, in words, short and safe to print."""
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, Mapping):
        return "fields"
    kind = {"int": "a number", "float": "a number", "bool": "true or false", "str": "a text", "NoneType": "nothing"}
    name = type(value).__name__
    if isinstance(value, float) and not math.isfinite(value):
        return f"no finite number ({value})"
    if isinstance(value, str) and not _is_text(value):
        return f"half of a character ({_SHORT.repr(value)})"
    return f"{kind.get(name, name)} ({_SHORT.repr(value)})"
