"""The one way to have what a command prints as JSON (`--json`), and in a file (`--output FILE`)."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.userpath import is_no_file

_DESTINATION: Final = "printed_to"
OUTPUT: Final = "--output"


def add_output(parser: argparse.ArgumentParser, json_words: str | None = None) -> None:
    """Add `--output FILE`, and `--json` where it is described."""
    if json_words is not None:
        parser.add_argument("--json", action="store_true", help=json_words)
    parser.add_argument(
        OUTPUT, dest=_DESTINATION, type=Path, metavar="FILE", help="write what would be printed to FILE instead"
    )


@contextmanager
def printing(options: argparse.Namespace) -> Iterator[None]:
    """Print what the block prints, or write it to the file that was asked for once the block has ended.

    Raises PlimsollError where that file cannot be written; a missing folder is told before the block begins.
    """
    file: Path | None = getattr(options, _DESTINATION, None)
    if file is None:
        yield
        return
    must_have_folders({OUTPUT: file})
    printed = io.StringIO()
    with redirect_stdout(printed):
        yield
    write_to(OUTPUT, file, printed.getvalue())


def outputs_of(options: argparse.Namespace, *names: str) -> dict[str, Path]:
    """The files that the options of these names, and `--output`, are to write, by option.

    Raises PlimsollError for one that two of them name, and for one in a folder that is not there.
    """
    given = {f"--{name}": getattr(options, name) for name in names} | {OUTPUT: getattr(options, _DESTINATION, None)}
    files = {option: file for option, file in given.items() if file is not None}
    first: dict[Path, str] = {}
    for option, file in files.items():
        # What two options may write one after the other is no file: a terminal, a pipe.
        if not is_no_file(file) and (other := first.setdefault(file.resolve(), option)) != option:
            raise PlimsollError(f"{other} and {option} both name {file}, and the second would replace the first")
    must_have_folders(files)
    return files


def must_have_folders(files: Mapping[str, Path]) -> None:
    """Raise PlimsollError for a file in a folder that is not there."""
    for option, file in files.items():
        if not file.absolute().parent.is_dir():
            raise PlimsollError(f"{option} {file}: there is no folder {file.absolute().parent}; make it first")


def write_to(option: str, file: Path, text: str) -> None:
    """Write the text to the file that an option names, in one step; into a pipe, a device or an open stream it goes as
    it is. Raises PlimsollError where it cannot be written."""
    from plimsoll.report.write import write_atomically

    try:
        if is_no_file(file):
            with file.open("w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(text)
        else:
            write_atomically(file, text)
    except OSError as error:
        raise PlimsollError(f"{option} {file}: cannot be written: {reason_of(error)}") from None
