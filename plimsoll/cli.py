"""The command line `plimsoll`: runs a sub-command, and turns an error into one line and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from pathlib import Path
from typing import Final

from plimsoll.child.exits import hear_of_children
from plimsoll.commands.output import printing
from plimsoll.commands.parser import build_parser
from plimsoll.errors import PlimsollError
from plimsoll.garbage import collect_seldom, end_without_looking

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
    try:
        status = _of_this_process()
    except SystemExit as end:  # as argparse ends
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _of_this_process() -> int:
    collect_seldom()
    _open_closed_streams()
    hear_of_children()
    try:
        return _command(sys.argv[1:])
    except Exception as error:  # noqa: BLE001  whatever it is, its status must not be that of a verdict
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _throw_output_away()
            sys.stderr.write(f"plimsoll: error: the output, or a file, could not be written: {error.strerror}\n")
            return USAGE_ERROR
        traceback.print_exc()
        return INTERNAL_ERROR
    finally:
        end_without_looking()


def _open_closed_streams() -> None:
    """Open the standard streams that a caller closed, as some daemons do, on the null device: otherwise the next file
    to be opened would take their place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # which takes the lowest number that is free
    sys.stdin = sys.stdin or open(0, encoding="utf-8")  # noqa: SIM115  open for as long as the process lives
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115


def _throw_output_away() -> None:
    """Discard what standard output did not take: otherwise the interpreter complains again when it flushes at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _command(arguments: Sequence[str]) -> int:
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except PlimsollError as error:
        print(f"plimsoll: error: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _throw_output_away()  # the reader (`head`) has gone
        return BROKEN_PIPE
    return status


def _run(arguments: Sequence[str]) -> int:
    try:
        Path.cwd()
    except OSError as error:
        raise PlimsollError(f"the current folder is gone ({error.strerror}): change to one that is there") from None
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
