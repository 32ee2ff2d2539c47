"""The one way to have what a command prints as JSON (`--json`), and in a file (`--output FILE`)."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import chain
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.streams import width_of
from plimsoll.userpath import is_no_file, resolved

_DESTINATION: Final = "printed_to"
_OUTPUTS: Final = (_DESTINATION, "output", "json", "markdown", "html", "picture", "metrics_file", "out")
"""Where options hold files that are written: two of one file are another mistake."""
_LONGEST: Final = 2**20
"""Bytes of a first line that are read."""


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

    Raises PlimsollError where that file cannot be written, or is evidence or what the command reads; that and a missing
    folder are told before the block begins.
    """
    file: Path | None = getattr(options, _DESTINATION, None)
    if file is None:
        yield
        return
    if not file.absolute().parent.is_dir():
        raise PlimsollError(f"--output {file}: there is no folder {file.absolute().parent}; make it first")
    _must_not_replace("--output", file, options)
    printed = io.StringIO()
    with redirect_stdout(printed):
        yield
    from plimsoll.report.write import write_output

    try:
        write_output(file, printed.getvalue())
    except OSError as error:
        raise PlimsollError(f"--output {file}: cannot be written: {reason_of(error)}") from None


def show(text: str) -> None:
    """Print what people read. On a terminal, lines that are too long are broken between words and columns: it would
    break them itself, within a word or a number. A file and a pipe have them whole."""
    from plimsoll.present.terminal import wrapped

    width = width_of(sys.stdout)
    sys.stdout.write("".join(f"{part}\n" for line in text.split("\n") for part in wrapped(line, width)))


def must_differ(options: argparse.Namespace, targets: Sequence[tuple[str, Path | None]]) -> None:
    """Raise PlimsollError where two options of a command, `--output` among them, name one file: what is written last
    would be all that is left. What goes to /dev/null is meant to be lost. So too where one names evidence, or a file
    that the command reads."""
    taken: dict[Path, str] = {}
    for option, path in (("--output", getattr(options, _DESTINATION, None)), *targets):
        if path is None or (place := resolved(path)) == Path(os.devnull):
            continue
        if place in taken:
            raise PlimsollError(f"{taken[place]} and {option} both name {place}; give each a file of its own")
        taken[place] = option
        _must_not_replace(option, path, options)


def _must_not_replace(option: str, path: Path, options: argparse.Namespace) -> None:
    """Raise PlimsollError where writing to a path would lose what nothing else keeps."""
    if is_no_file(path):
        return
    from plimsoll.evidence.reader import EVIDENCE_FILE

    place = resolved(path)
    if path.name == EVIDENCE_FILE or _is_evidence(place):
        raise PlimsollError(f"{option} {path}: that is a run's evidence, which nothing else keeps; name another file")
    given = [value for name, value in vars(options).items() if name not in _OUTPUTS]
    read = chain.from_iterable(value if isinstance(value, list | tuple) else [value] for value in given)
    if place.is_file() and any(isinstance(one, str | Path) and one and resolved(Path(one)) == place for one in read):
        raise PlimsollError(f"{option} {path}: the command reads that file; name another one for what it writes")


def _is_evidence(place: Path) -> bool:
    """True for a file that begins as evidence does, whatever it is called."""
    try:
        with place.open("rb") as file:
            first = json.loads(file.readline(_LONGEST))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and first.get("event") == "run"
