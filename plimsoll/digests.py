"""Lists the SHA-256 of every file that a verdict depends on, for a release, and compares them at the start of a run.

`python -m plimsoll.digests` says whether the list is current, and `--write` renews it. An edited suite still runs; its
verdict names the files that differ from the release.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from plimsoll.errors import reason_of
from plimsoll.suite import PACKAGE, SHIPPED

LIST: Final = PACKAGE / "release.sha256"
"""`<sha256>  <path>` a line, as sha256sum(1) has it; paths as in a checkout."""
_FOLDERS: Final = {"acceptance": ".py", "fixtures": ".py", "plimsoll": ".py", "catalogue": ""}
"""Folder -> how the names of the files in it end that are listed."""
_FILES: Final = ("conftest.py", "markers.ini")
_LEFT_OUT: Final = frozenset({"__pycache__", SHIPPED.name})
"""Folders within the library that are not listed here: Python's own, and those that are listed by themselves."""
_MOST_NAMED: Final = 12


def differences(root: Path = PACKAGE.parent, listed: Path = LIST) -> tuple[str, ...] | None:
    """The files under `root` that differ from the list, each with how; None where there is no list. A folder that is
    not installed, as in a wheel, counts as equal."""
    try:
        lines = listed.read_text("utf-8").splitlines()
    except OSError:
        return None
    released = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
    here = dict(_digests(root))
    changed = [path for path, digest in here.items() if released.get(path, digest) != digest]
    added = [f"{path} (added)" for path in here if path not in released]
    folders = {path.partition("/")[0] for path in here}
    gone = [f"{path} (gone)" for path in released if path not in here and path.partition("/")[0] in folders]
    return tuple(sorted([*changed, *added, *gone]))


def shortened(files: Sequence[str]) -> list[str]:
    """As many names as a line can hold, and how many more there are."""
    more = len(files) - _MOST_NAMED
    return [*files[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])]


def _digests(root: Path) -> Iterator[tuple[str, str]]:
    for folder, ending in _FOLDERS.items():
        base = _where(root, folder)
        for name in sorted(_files(str(base), ending), key=lambda name: name.split("/")):
            yield f"{folder}/{name}", _digest(base / name)
    for name in _FILES:
        path = _where(root, name)
        if path.is_file():
            yield name, _digest(path)


def _files(folder: str, ending: str, within: str = "") -> Iterator[str]:
    """The names of files below a folder, with slashes; by hand, since pathlib takes as long for names as it takes to
    read the files."""
    try:
        entries = [*os.scandir(folder)]
    except OSError:  # as pathlib has it: what cannot be listed has no files
        return
    for entry in entries:
        if entry.name in _LEFT_OUT:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, ending, f"{within}{entry.name}/")
        elif entry.name.endswith(ending) and (entry.is_file(follow_symlinks=False) or Path(entry.path).is_file()):
            yield f"{within}{entry.name}"


def _where(root: Path, name: str) -> Path:
    """Where a file or folder of a checkout lies; a wheel has inside the library what a checkout has beside it."""
    inside = root / PACKAGE.name / ("catalogue/shipped" if name == "catalogue" else f"{SHIPPED.name}/{name}")
    return inside if inside.exists() else root / name


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(path: Path) -> str:
    try:
        # Of hundreds of small files: for each, `file_digest` would make a buffer of 256 KiB.
        with path.open("rb", buffering=0) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        return f"unreadable: {reason_of(error)}"


def main(arguments: Sequence[str]) -> int:
    """Compare the list, or renew it with `--write`; returns 0 where it is current, 1 where it is not, 2 for a usage
    error."""
    if arguments == ["--write"]:
        text = "".join(f"{digest}  {path}\n" for path, digest in _digests(PACKAGE.parent))
        LIST.write_text(text, "utf-8")
        return 0
    if arguments:
        sys.stderr.write("usage: python -m plimsoll.digests [--write]\n")
        return 2
    unlike = differences()
    if unlike == ():
        return 0
    sys.stderr.write(
        f"{LIST.name} is not current: {', '.join(shortened(unlike or ['there is none']))}\n"
        "renew it: python -m plimsoll.digests --write\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
