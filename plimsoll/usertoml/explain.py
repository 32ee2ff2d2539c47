"""Words the faults of a TOML file: key paths, values, and unknown keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Any, Final

from plimsoll.errors import Fault
from plimsoll.usertoml.suggest import did_you_mean

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST: Final = 60


def key_path(*parts: str | int) -> str:
    """`variant[2].models[0]`; keys that TOML would have to quote are quoted."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if _BARE_KEY.fullmatch(part) else f".{part[:_LONGEST]!r}"
    return path.removeprefix(".")


def shown(value: object) -> str:
    """A value of a TOML file, on one short line and without control characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, datetime | date | time):
        return f"the date or time {value}"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def unknown_keys(where: str, table: Mapping[str, Any], known: Iterable[str]) -> Iterator[Fault]:
    """A fault for each unknown key of a table at `where`, with the nearest known one."""
    names = tuple(known)
    for key in table:
        if key not in names:
            yield Fault(
                where=f"{where}.{key_path(key)}", what=f"unknown key {shown(key)}", fix=did_you_mean(key, names)
            )
