"""`plimsoll completion SHELL`: the script that lets a shell complete commands, options, files and runs.

The script is written by shtab from the parser itself, once: pressing Tab starts no Python.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from plimsoll.extras import require

if TYPE_CHECKING:
    from argparse import _SubParsersAction

SHELLS: Final = ("bash", "zsh", "fish")

_SUMMARY: Final = "print what lets a shell complete commands, options and runs"
_DESCRIPTION: Final = """\
Print a script that lets your shell complete the commands of plimsoll, their options, files, and the runs in ./reports
when you press Tab. Printing it needs the extra `completion`; using it needs nothing more.
Exit status: 0 printed, 2 usage error."""
_EPILOG: Final = """\
bash:  plimsoll completion bash > ~/.local/share/bash-completion/completions/plimsoll
zsh:   plimsoll completion zsh > DIRECTORY/_plimsoll   (a directory of $fpath)
fish:  plimsoll completion fish > ~/.config/fish/completions/plimsoll.fish"""

_RUNS: Final = ("run_name", "run_names", "base", "others", "like", "evidence")
"""The arguments that name runs."""
_FILES: Final = ("bundle",)
_LIST_RUNS: Final = "ls reports 2>/dev/null | grep -Ex 'latest|[0-9]{8}T[0-9]{6}Z-[A-Za-z0-9.-]+'"
"""In words that all three shells know. Nothing but ids: bash would execute a command that a folder is named after."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "completion",
        help=_SUMMARY,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the script. Raises PlimsollError where shtab is not installed."""
    require("completion", "shell completion", ("shtab",))
    sys.stdout.write(script(options.shell))
    return 0


def script(shell: str) -> str:
    """The completion script of the whole command line."""
    import shtab

    from plimsoll.commands.parser import COMMANDS, build_parser

    parser = build_parser(*COMMANDS)
    _mark(parser, shtab)
    return f"{shtab.complete(parser, shell).rstrip()}\n"


def _mark(parser: argparse.ArgumentParser, shtab: Any) -> None:
    """Say of every argument what may stand there, as far as a shell can know it."""
    for action in parser._actions:  # noqa: SLF001  argparse has no other way to its arguments
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for inner in action.choices.values():
                _mark(inner, shtab)
        elif action.dest in _RUNS:
            action.complete = shtab.cmd(_LIST_RUNS)  # type: ignore[attr-defined]  # shtab's own protocol
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar == "FILE" or action.dest in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
