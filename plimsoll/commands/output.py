"""The one way to have what a command prints as JSON (`--json`), and in a file (`--output FILE`)."""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.userpath import resolved

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
    from plimsoll.report.write import write_output

    try:
        write_output(file, printed.getvalue())
    except OSError as error:
        raise PlimsollError(f"--output {file}: cannot be written: {reason_of(error)}") from None


def must_differ(options: argparse.Namespace, targets: Sequence[tuple[str, Path | None]]) -> None:
    """Raise PlimsollError where two options of a command, `--output` among them, name one file: what is written last
    would be all that is left. What goes to /dev/null is meant to be lost."""
    taken: dict[Path, str] = {}
    for option, path in (("--output", getattr(options, _DESTINATION, None)), *targets):
        if path is None or (place := resolved(path)) == Path(os.devnull):
            continue
        if place in taken:
            raise PlimsollError(f"{taken[place]} and {option} both name {place}; give each a file of its own")
        taken[place] = option
