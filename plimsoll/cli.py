"""The command line `plimsoll`: finds the sub-command, and turns what went wrong into one line and an exit status.

Only the called command's module is imported, so that `plimsoll probe` does not wait for what other commands need.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import plimsoll
from plimsoll.errors import PlimsollError

COMMANDS: Final = {
    "probe": "show this node: GPUs, driver, processor, memory, disk, software stack",
    "tiny": "build, list and clean the small checkpoints that are trained on first use",
    "plan": "show what would run here or on a reference machine, and what it takes",
    "audit": "hold what documents claim against prediction and evidence",
    "report": "write the reports of a run again from its evidence",
    "uncertainty": "compute from the answers to datasets whether models knew when they were wrong",
    "sign": "bundle an accepted run with its evidence, sealed and signed",
    "verify": "check a sign-off: hashes, signature, schema, and the verdict once more from the evidence",
    "compare": "hold runs against each other: what became slower, larger or worse",
    "baseline": "keep runs to compare with, and list them",
}
"""Command -> what it does. Each is a module of plimsoll.commands with an `add_parser`; dashes become underscores."""

USAGE_ERROR: Final = 2
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
"""What a shell reports for a program that SIGPIPE ended; 1 would read as REJECTED."""

_DESCRIPTION: Final = """\
Plimsoll says which language models a GPU node carries, and proves it.

The checks themselves are run by pytest (`pytest -m tiny` on any machine); this
command looks at the node, prepares the tiny checkpoints, and reads what runs
have left behind."""

_EPILOG: Final = """\
exit status:
  0    done; for a command that gives a verdict: ACCEPTED
  1    REJECTED: at least one planned check failed; of a bundle: it does not hold
  2    usage error, or a mistake that the message tells how to mend
  5    nothing was planned, so there is no verdict to speak of
  6    INCOMPLETE: none failed, but not all that was planned has an answer
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a mistake of the user's is one message, never a traceback."""
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
        # The reader (`head`) has gone; without this the interpreter complains once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return status


def _run(arguments: Sequence[str]) -> int:
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    parser = _build_parser(called)
    if not arguments:
        parser.print_help(sys.stderr)
        return USAGE_ERROR
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status


def _build_parser(called: str | None) -> argparse.ArgumentParser:
    """The parser, with the options of the called command alone: of the others the help names what they do."""
    parser = argparse.ArgumentParser(
        prog="plimsoll",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"plimsoll {plimsoll.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name == called:
            import_module(f"plimsoll.commands.{name.replace('-', '_')}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    return parser
