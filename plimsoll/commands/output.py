"""The one way to have what a command prints as JSON (`--json`), and in a file (`--output FILE`)."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.userpath import is_no_file

_DESTINATION: Final = "printed_to"


def add_output(parser: argparse.ArgumentParser, json_words: str | None = None) -> None:
    """Add `--output FILE`, and `--json` where it is described."""
    if json_words is not None:
        parser.add_argument("--json", action="store_true", help=json_words)
    parser.add_argument(
        "--output", dest=_DESTINATION, type=Path, metavar="FILE", help="write what would be printed to FILE instead"
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
    if not file.absolute().parent.is_dir():
        raise PlimsollError(f"--output {file}: there is no folder {file.absolute().parent}; make it first")
    printed = io.StringIO()
    with redirect_stdout(printed):
        yield
    from plimsoll.report.write import write_atomically

    try:
        if is_no_file(file):
            with file.open("w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(printed.getvalue())
        else:
            write_atomically(file, printed.getvalue())
    except OSError as error:
        raise PlimsollError(f"--output {file}: cannot be written: {reason_of(error)}") from None
