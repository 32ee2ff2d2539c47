"""Says why a file of settings cannot be read: what it holds in place of them, where, and the next step.

transformers takes a generation_config.json that it cannot read for one that is not there, and any text for a chat
template; of other files it says what its parser said, without the file.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from plimsoll.catalogue.sizes import too_large
from plimsoll.errors import reason_of
from plimsoll.hub.pointers import stand_in
from plimsoll.present.foreign_text import one_line

CONFIG: Final = "config.json"
SCHEME: Final = "quantization_config"
"""The key under which a configuration says how its weights are packed."""
READ_ALWAYS: Final = (CONFIG, "generation_config.json", "tokenizer_config.json", "chat_template.jinja")
"""Files that a load reads where they are there. Of some it says nothing where it cannot."""
_AGAIN: Final = "download or build it again"
_WEB_PAGE: Final = (b"<!doctype html", b"<html")
_ENCODINGS: Final = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
"""The marks with which texts begin, the longest first."""
_TEXTS: Final = frozenset((".json", ".jinja", ".txt"))
"""What is read as text; of others, such as a vocabulary of sentencepiece, it is only seen whether they are empty."""
_LONGEST: Final = 1000
"""Characters of a path, whose name may have a newline in it."""
_LARGEST: Final = 512 * 2**20
"""Bytes; what is larger is no file of settings."""


def fault_of(path: Path) -> str | None:
    """What is wrong with a file of settings, with the next step; None for a sound one,
    and for one that is not there."""
    if (instead := stand_in(path)) is not None:
        return instead
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            is_folder = stat.S_ISDIR(found.st_mode)
            what = "a folder, where a file belongs" if is_folder else "no file, but a pipe or a device"
            return f"is {what}; {_AGAIN}"
        if found.st_size > _LARGEST:
            return f"has {found.st_size:,} bytes, which no file of settings has; {_AGAIN}"
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be read ({reason_of(error)}); let this user read it"
    return fault_of_content(path.name, content)


def first_fault(paths: Iterable[Path]) -> str | None:
    """The first of these files that cannot be read, with the fault; None where there is none."""
    return next((f"{_named(path)}: {found}" for path in paths if (found := fault_of(path)) is not None), None)


def _named(path: Path) -> str:
    """A path as it is, or on one line where its name would break it."""
    name = str(path)
    return name if name.isprintable() else one_line(name, _LONGEST)


def fault_of_content(name: str, content: bytes) -> str | None:
    """The same of what a file of this name holds."""
    suffix = PurePosixPath(name).suffix
    if not content.strip(b"\0"):
        what = f"holds {len(content):,} zeros and nothing else" if content else "is empty: it has no byte"
        return f"{what}; {_AGAIN}"
    if suffix not in _TEXTS:
        return None
    if (encoding := next((name for mark, name in _ENCODINGS if content.startswith(mark)), None)) is not None:
        return f"is text in {encoding}, and is read as UTF-8; save it as UTF-8, or {_AGAIN}"
    if content.lstrip()[:20].lower().startswith(_WEB_PAGE):
        return f"is a web page, which a proxy or a login page gave in its place; {_AGAIN}, past that"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"is not UTF-8 at line {line} (byte {error.start:,}); {_AGAIN}"
    return _fault_of_json(name, text) if suffix == ".json" else None


def _fault_of_json(name: str, text: str) -> str | None:
    if text.startswith("\ufeff"):
        return f"begins with a byte order mark, which JSON does not have; save it as UTF-8 without one, or {_AGAIN}"
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        what = "ends before its JSON does" if cut else "is not JSON"
        return f"{what}, at line {error.lineno}, column {error.colno} ({error.msg}); {_AGAIN}"
    except (ValueError, RecursionError) as error:
        return f"is not JSON ({error}); {_AGAIN}"
    if not isinstance(data, dict):
        return f"is JSON, but no table of settings; {_AGAIN}"
    return (_too_large(data) or _no_scheme(data)) if name == CONFIG else None


def _too_large(config: Mapping[str, Any]) -> str | None:
    """The first size of a configuration that no model has: its class would be built for days."""
    for path, value, most in too_large(config):
        return f"says {'.'.join(path)} = {value:,}, and no model has more than {most:,}; correct it, or {_AGAIN}"
    return None


def _no_scheme(config: Mapping[str, Any]) -> str | None:
    """The first scheme of a configuration that is none: transformers asks anything for its settings, whatever it is."""
    for path, value in no_schemes(config):
        return (
            f"says {path} = {one_line(json.dumps(value), 60)}, where a table of settings belongs; take it out where "
            f"the weights are in floats, or {_AGAIN}"
        )
    return None


def no_schemes(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The path and the value of what stands in the place of a scheme, in a configuration and its parts, and is none."""
    for key, value in config.items():
        if key != SCHEME and isinstance(value, Mapping):
            yield from no_schemes(value, f"{path}{key}.")
        elif key == SCHEME and value is not None and not isinstance(value, Mapping):
            yield f"{path}{key}", value
