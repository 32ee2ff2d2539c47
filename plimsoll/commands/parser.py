"""The parser of the command line: the name of every command, what it does, and the options that several commands have.

Only the module of a command that is asked for is imported, so that `plimsoll probe` does not wait for what others need.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import plimsoll
from plimsoll.errors import PlimsollError

T = TypeVar("T")

COMMANDS: Final = {
    "run": "ask the checks: pytest on this suite, from any folder",
    "probe": "show this node: GPUs, driver, processor, memory, disk, software stack",
    "tiny": "build, list and clean the small checkpoints that are trained on first use",
    "inspect": "show what a model asks for, from its name, before it is loaded",
    "add": "write the catalogue entry that accepts a model of yours",
    "plan": "show what would run here or on a reference machine, and what it takes",
    "ladder": "try the ways to load a model, from the surest on, and write the settings that work",
    "headroom": "show how large a batch can be trained on a GPU, and what limits it",
    "audit": "hold what documents claim against prediction and evidence",
    "explain": "say the cause of a message, a log or a run, and the next step",
    "report": "write the reports of a run again from its evidence",
    "uncertainty": "compute whether models knew when they were wrong",
    "sign": "bundle an accepted run with its evidence, sealed and signed",
    "verify": "check a sign-off: hashes, signature, schema, and the verdict once more from the evidence",
    "compare": "hold runs against each other: what became slower, larger or worse",
    "baseline": "keep runs to compare with, and list them",
    "fleet": "judge many nodes as one, and name the odd ones",
    "slurm": "accept nodes under Slurm: the batch file, and the stamp that a Prolog checks",
    "kubernetes": "accept nodes under Kubernetes: manifests, and labels and conditions of nodes",
    "schema": "print the JSON Schema of what other tools read",
    "completion": "print what lets a shell complete commands, options and runs",
}
"""Command -> what it does. Each is a module of plimsoll.commands with an `add_parser`."""

_DESCRIPTION: Final = """\
Plimsoll says which language models a GPU node carries, and proves it.

`plimsoll run -m tiny` asks the checks on any machine, as `pytest -m tiny` does in a
checkout; the other commands look at the node, prepare the tiny checkpoints, and
read what runs have left behind."""

_EPILOG: Final = """\
exit status:
  0    done; for a command that gives a verdict: ACCEPTED
  1    REJECTED: at least one planned check failed; of a bundle: it does not hold
  2    usage error, or a mistake that the message tells how to mend
  3    a defect of Plimsoll's own, with a traceback
  5    nothing was planned, so there is no verdict to speak of
  6    INCOMPLETE: none failed, but not all that was planned has an answer
  130  interrupted
  141  the reader of the output left before its end
"""


_CHOICE: Final = re.compile(r"invalid choice: '(?P<word>[^']*)' \(choose from (?P<known>.*)\)$")
_UNRECOGNIZED: Final = re.compile(r"unrecognized arguments: .*?(?P<word>--?[A-Za-z][\w-]*)")


_MOST: Final = 1_000_000_000
_MAY_BE_EMPTY: Final = frozenset({"marks", "mark", "keyword"})
"""Where the empty text means everything, as it does to pytest."""


class Parser(argparse.ArgumentParser):
    """A parser that says which command, choice or option a mistyped one is nearest to."""

    def error(self, message: str) -> NoReturn:
        """End with the message, and the nearest name where there is one."""
        super().error(f"{message}{self._hint(message)}")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """Refuse a text that is empty, as an unset variable of a shell leaves it: as a path it would be the current
        folder, and as a name whatever comes first."""
        goes_on = action.nargs in (argparse.PARSER, argparse.REMAINDER)
        if not arg_string.strip() and not goes_on and action.dest not in _MAY_BE_EMPTY:
            raise argparse.ArgumentError(action, "must not be empty; is a variable of the shell unset?")
        return super()._get_value(action, arg_string)

    def _hint(self, message: str) -> str:
        # Looking for near names imports difflib, which no command that is understood needs.
        from plimsoll.usertoml.suggest import nearest

        if (choice := _CHOICE.search(message)) is not None:
            near = nearest(choice["word"], [name.strip("'") for name in choice["known"].split(", ")])
        elif (option := _UNRECOGNIZED.search(message)) is not None:
            near = nearest(option["word"], self._options())
        else:
            near = None
        return "" if near is None else f"; did you mean '{near}'?"

    def _options(self) -> Iterator[str]:
        """The options of this parser and of the commands whose options are known."""
        for action in self._actions:
            yield from action.option_strings
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  argparse has no public name for it
                for parser in action.choices.values():
                    yield from parser._options()  # noqa: SLF001  of its own class


def build_parser(*asked: str | None) -> argparse.ArgumentParser:
    """The parser, with the options of the commands that are asked for; of the others it knows what they do."""
    parser = Parser(
        prog="plimsoll",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"plimsoll {plimsoll.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name in asked:
            import_module(f"plimsoll.commands.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    return parser


def add_catalogue(parser: argparse.ArgumentParser) -> None:
    """Add `--catalogue FILE`, which may be repeated."""
    parser.add_argument(
        "--catalogue", action="append", default=[], type=Path, metavar="FILE", help="a catalogue file of your own"
    )


def add_report_dir(parser: argparse.ArgumentParser) -> None:
    """Add `--report-dir DIR`, where runs are looked for by their ids."""
    parser.add_argument(
        "--report-dir", type=Path, metavar="DIR", default=Path("reports"), help="where runs lie (default: reports)"
    )


def add_fail_on(parser: argparse.ArgumentParser, read: Callable[[str], Sequence[Any]], words: str) -> None:
    """Add `--fail-on WORDS`, read by `read`. A second one adds its words: what was asked for first is not dropped."""
    parser.add_argument(
        "--fail-on",
        action="extend",
        type=explained(read),
        default=[],
        metavar="WORDS",
        help=f"{words} (repeatable)",
    )


def positive(text: str) -> int:
    """The whole number of an option, from 1. Raises ArgumentTypeError for anything else."""
    found = int(text) if text.isdecimal() and len(text) <= len(str(_MOST)) else 0
    if not 1 <= found <= _MOST:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {_MOST:,}, not {text!r}")
    return found


def number(least: float, most: float) -> Callable[[str], float]:
    """The type of an option that takes a number between these, which its message names."""

    def value(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"must be a number from {least:,g} to {most:,g}, not {text!r}")
        return found

    return value


def explained(read: Callable[[str], T]) -> Callable[[str], T]:
    """`read` as the type of an option: what it says of a mistake is the parser's message."""

    def value(text: str) -> T:
        try:
            return read(text)
        except PlimsollError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value
