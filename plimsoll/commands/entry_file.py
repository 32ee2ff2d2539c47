"""Writes a catalogue file that a command composed: never over one of the user's unasked, and never an unsound one."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import CatalogueError, PlimsollError, reason_of
from plimsoll.userpath import is_no_file, is_there, resolved


def add_out(parser: argparse.ArgumentParser, words: str) -> None:
    """Add what names the file; `words` is the help of --out."""
    parser.add_argument("--output", "--out", dest="out", type=Path, metavar="FILE", help=words)
    parser.add_argument("--force", action="store_true", help="overwrite the file where there is one")


def must_be_free(out: Path, *, force: bool) -> None:
    """Raise PlimsollError where a file cannot be written, or would be overwritten; asked before anything takes long."""
    if is_there(out) and out.is_dir():
        raise PlimsollError(f"{out}: is a folder; name the file to write: --out {out / 'my.toml'}")
    if is_there(out) and not force:
        raise PlimsollError(f"{out}: is there already; name another file with --out, or overwrite it with --force")
    if not out.absolute().parent.is_dir():
        raise PlimsollError(f"{out}: there is no folder {out.absolute().parent}; make it first")


def write_entry(out: Path, text: str, others: Sequence[Path]) -> None:
    """Put the file in its place once it is known to be sound beside the `others`. Raises PlimsollError."""
    if is_no_file(out):
        raise PlimsollError(f"{out}: is no file, but a device or a pipe; name the file to write: --out my.toml")
    draft = None
    try:
        handle, draft = tempfile.mkstemp(dir=out.absolute().parent, prefix=f".{out.stem[:40]}-", suffix=".toml")
        path = Path(draft)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        try:
            read_catalogue([*(other for other in others if resolved(other) != resolved(out)), path])
        except CatalogueError as error:
            told = str(error).replace(str(path), str(out)).replace(path.name, out.name)
            raise PlimsollError(f"the entry would not be sound, so {out} was not written: {told}") from None
        # mkstemp makes files that nobody else may read.
        path.chmod(0o666 & ~_umask())
        path.replace(out)
    except OSError as error:
        raise PlimsollError(f"{out}: cannot be written: {reason_of(error)}") from None
    finally:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
