"""The command line `plimsoll`: runs a sub-command, and turns an error into one line and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from pathlib import Path
from typing import Final

from plimsoll.child.exits import hear_of_children
from plimsoll.commands.output import printing
from plimsoll.commands.parser import build_parser
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.garbage import collect_seldom, end_without_looking
from plimsoll.streams import LastingFile, open_closed_streams, throw_away

USAGE_ERROR: Final = 2
INTERNAL_ERROR: Final = 3
"""A defect of ours, as pytest has it. Python's own 1 would read as REJECTED, and have Slurm drain a sound node."""
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
"""The status that a shell reports for a program ended by SIGPIPE; 1 would mean REJECTED."""

_NO_ROOM: Final = (ENOSPC, EDQUOT, EFBIG, EIO)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a user's mistake gives one message, never a traceback.

    With `argv`, the caller is in this process, and gets the exceptions that a defect of ours raises.
    """
    if argv is not None:
        return _command(list(argv))
    if not sys.flags.inspect:
        return _of_this_process()
    # `python -i` and PYTHONINSPECT go on with a prompt, whose status takes the place of ours.
    status = _of_this_process()
    sys.stderr.flush()
    os._exit(status)


def _of_this_process() -> int:
    collect_seldom()
    open_closed_streams()
    # A message that nobody can be told changes no status.
    sys.stderr = LastingFile(sys.stderr, lambda _: None)
    hear_of_children()
    try:
        status = _ended(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        throw_away(sys.stdout)  # the reader (`head`) has gone
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001  whatever it is, its status must not be that of a verdict
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            throw_away(sys.stdout)
            sys.stderr.write(f"plimsoll: error: the output, or a file, could not be written: {reason_of(error)}\n")
            return USAGE_ERROR
        traceback.print_exc()
        throw_away(sys.stdout)
        return INTERNAL_ERROR
    else:
        return status
    finally:
        end_without_looking()


def _ended(arguments: Sequence[str]) -> int:
    """The status of a command, however it ends."""
    try:
        return _command(arguments)
    except SystemExit as end:  # as argparse ends
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def _command(arguments: Sequence[str]) -> int:
    try:
        return _run(arguments)
    except PlimsollError as error:
        print(f"plimsoll: error: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    try:
        Path.cwd()
    except OSError as error:
        raise PlimsollError(f"the current folder is gone ({reason_of(error)}): change to one that is there") from None
    if arguments[:1] == ["run"] and arguments[1:] not in (["-h"], ["--help"]):
        # Everything after `run` is for pytest.
        from plimsoll.commands.run import start

        return start(arguments[1:])
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    parser = build_parser(called)
    if not arguments:
        parser.print_help(sys.stderr)
        return USAGE_ERROR
    options = parser.parse_args(arguments)
    with printing(options):
        status: int = options.run(options)
    return status
