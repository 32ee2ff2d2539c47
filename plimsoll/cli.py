"""The command line `plimsoll`: runs a sub-command, and turns an error into one line and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from plimsoll.commands.parser import build_parser
from plimsoll.errors import PlimsollError

USAGE_ERROR: Final = 2
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
"""The status that a shell reports for a program ended by SIGPIPE; 1 would mean REJECTED."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a user's mistake gives one message, never a traceback."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except PlimsollError as error:
        print(f"plimsoll: error: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`) has gone; without this the interpreter complains again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return status


def _run(arguments: Sequence[str]) -> int:
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
    status: int = options.run(options)
    return status
