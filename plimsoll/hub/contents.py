"""Reads what a checkpoint holds besides its weights: names and sizes of files, settings, headers of tensors. From a
folder here; from a repository in the Hub's own process (`plimsoll.hub.describing`). Weights are never read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from plimsoll.hub.access import Access
from plimsoll.hub.cache import indexed_files
from plimsoll.hub.files import INDEX, needed_files
from plimsoll.hub.headers import DtypeTotals, HeaderError, read_file_header, total
from plimsoll.hub.pointers import stand_in
from plimsoll.hub.settings_files import CONFIG, fault_of

SETTINGS: Final = (
    CONFIG,
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.json",
    "chat_template.jinja",
)
"""The files that are read whole."""
MOST_TEXT: Final = 8 * 2**20
"""The largest settings file, in bytes; a larger file is something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointContents:
    """A checkpoint without its weights; sizes in bytes."""

    files: Mapping[str, int]
    """Path -> size of every file."""
    weights: tuple[str, ...] = ()
    """The files with the weights that a load reads."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The files of SETTINGS that are there."""
    stored: tuple[DtypeTotals, ...] = ()
    """The tensors by dtype, summed over the headers of the weights' files."""
    headers: int = 0
    """The number of headers that were read."""
    unread: tuple[str, ...] = ()
    """What could not be read, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository of the Hub: whether it may be read, and its contents."""

    access: Access
    contents: CheckpointContents | None = None
    """None where it may not be read."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """The metadata of its card: `license`, `base_model`, `language`, ..."""
    gated: bool = False
    similar: tuple[str, ...] = ()
    """For a repository that does not exist: those with a similar name."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; `from_json` is its inverse."""
        return {**asdict(self), "access": self.access.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        contents = data["contents"]
        if contents is not None:
            stored = tuple(DtypeTotals(**part) for part in contents["stored"])
            lists = {name: tuple(contents[name]) for name in ("weights", "unread")}
            contents = CheckpointContents(**{**contents, **lists, "stored": stored})
        access = Access.from_json(data["access"])
        return cls(**{**data, "access": access, "contents": contents, "similar": tuple(data["similar"])})


def weight_files(names: Iterable[str], indexed: Collection[str] = ()) -> tuple[str, ...]:
    """The files of a checkpoint with the weights that a load reads; `indexed` as for `needed_files`."""
    return tuple(name for name in needed_files(names, indexed=indexed) if name.endswith(".safetensors"))


def read_folder(folder: Path) -> CheckpointContents:
    """Read a folder. Raises OSError where it cannot be listed."""
    files = {}
    for path in sorted(folder.rglob("*")):
        names = path.relative_to(folder).parts
        if not any(name.startswith(".") for name in names) and (path.is_file() or path.is_symlink()):
            files[path.relative_to(folder).as_posix()] = path.stat().st_size if path.exists() else 0
    texts, unread = {}, []
    for name in SETTINGS:
        if name not in files:
            continue
        if (fault := fault_of(folder / name)) is not None:
            unread.append(f"{name}: {fault}")
            continue
        try:
            texts[name] = read_text(folder / name)
        except (OSError, ValueError) as error:
            unread.append(f"{name}: {error}")
    parts: list[DtypeTotals] = []
    read = 0
    weights = weight_files(files, indexed_files(folder / INDEX) or ())
    for name in weights:
        instead = stand_in(folder / name)
        try:
            parts += () if instead is not None else read_file_header(folder / name)
            read += instead is None
        except (OSError, HeaderError) as error:
            instead = str(error)
        if instead is not None:
            unread.append(f"{name}: {instead}")
    return CheckpointContents(
        files=files,
        weights=weights,
        texts={str(name): text for name, text in texts.items()},
        stored=total(parts),
        headers=read,
        unread=tuple(unread),
    )


def read_text(path: Path) -> str:
    """Read a settings file. Raises OSError, and ValueError for one that is too large or not text."""
    if path.stat().st_size > MOST_TEXT:
        raise ValueError(f"has {path.stat().st_size:,} bytes, which no file of settings has")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
