"""`plimsoll compare A B [C...]`: holds runs against the first, and says what is slower, what is not, and what nobody
can tell from so few rounds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plimsoll.commands.output import add_output, must_differ, show
from plimsoll.commands.parser import add_fail_on, add_report_dir, number
from plimsoll.compare.fail_on import (
    FailCondition,
    exit_status,
    findings,
    read_conditions,
)
from plimsoll.compare.finding import find_source, read_side
from plimsoll.compare.result import Comparison
from plimsoll.compare.rule import Rule
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.extras import require
from plimsoll.report.write import append_step_summary, required_step_summary, write_output
from plimsoll.userpath import is_there

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_PRINTED: Final = Path("-")
"""What `--json` without a file stands for, as a lone dash does."""

_DESCRIPTION = """\
Hold one or more runs against the first: times by a rank test with a bootstrap interval, corrected for the number of
times; memory, outcomes and the verdict beside them; and what differs between the machines before all else. A RUN is a
run folder, an evidence file, a run id, `latest`, a file of pytest-benchmark, or `baseline:NAME`."""

_EPILOG = """\
exit status:
  0    done; nothing of --fail-on was found, and nothing was left open
  1    something of --fail-on was found
  2    usage error, unlike machines, or a file that cannot be read
  5    the runs have nothing in common
  6    --fail-on slower, and some times have too few samples to rule it out; or
       slower, memory or outcome, and the runs have no time, memory figure or check
       in common (--allow-undecided makes both 0); or numerics, and they have no
       digest of logits in common

--fail-on:
  slower    a time is slower
  memory    a memory figure is more
  outcome   a cell lost a good outcome, or the verdict is worse
  numerics  other bits are computed of the same model than in the first run
  missing   something of the first run is not in another, or no longer comparable
"""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "compare",
        help="hold runs against each other: what became slower, larger or worse",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rule = Rule()
    parser.add_argument("base", metavar="BASE", help="what the others are held against")
    parser.add_argument("others", metavar="RUN", nargs="+", help="what is held against it")
    parser.add_argument(
        "--like",
        action="append",
        default=[],
        metavar="RUN",
        help="another run of the base's configuration (repeatable): how much these differ is learnt from them",
    )
    add_fail_on(parser, read_conditions, "slower,memory,outcome,numerics,missing")
    parser.add_argument(
        "--allow-undecided",
        action="store_true",
        help="too few samples, or nothing of a kind in common, do not change the exit status",
    )
    parser.add_argument("--force-unlike", action="store_true", help="compare unlike GPUs or processors all the same")
    parser.add_argument("--allow-damaged", action="store_true", help="read damaged evidence as far as it goes")
    parser.add_argument(
        "--margin",
        type=_fraction,
        default=rule.margin,
        metavar="PERCENT",
        help=f"a smaller change does not count, and `same` means within it (default: {rule.margin * 100:g})",
    )
    parser.add_argument(
        "--alpha",
        type=_fraction,
        default=rule.alpha,
        metavar="PERCENT",
        help=f"the chance of any false `slower` or `faster` in the whole comparison (default: {rule.alpha * 100:g})",
    )
    parser.add_argument(
        "--json",
        nargs="?",
        type=Path,
        const=_PRINTED,
        metavar="FILE",
        help="print JSON; with FILE, which the next word is, write it there beside what is printed",
    )
    add_output(parser)
    for option, what in (("markdown", "Markdown"), ("html", "a page with charts")):
        parser.add_argument(f"--{option}", type=Path, metavar="FILE", help=f"write {what} to FILE")
    parser.add_argument(
        "--step-summary", action="store_true", help="append the Markdown to the step's summary, in GitHub Actions"
    )
    parser.add_argument("--quiet", action="store_true", help="print the statements alone")
    add_report_dir(parser)
    parser.set_defaults(run=run)


def _must_be_no_run(word: Path, reports: Path) -> None:
    """Raise PlimsollError where `--json` has taken a run for its file."""
    try:
        find_source(str(word), reports)
    except PlimsollError:
        return
    raise PlimsollError(f"--json took {word} for its file, which is a run: write the runs first, and --json last")


def run(options: argparse.Namespace) -> int:
    """Compare, print, write the files. Raises PlimsollError for what the user can mend."""
    step = required_step_summary() if options.step_summary else None
    written = None if options.json == _PRINTED else options.json
    named = ("--markdown", options.markdown), ("--json", written), ("--html", options.html), ("--step-summary", step)
    if written is not None and not is_there(written):
        _must_be_no_run(written, options.report_dir)
    must_differ(options, named)
    require("compare", "comparing runs", ("numpy",))
    if options.html is not None:
        require("pages", "the page of a comparison", ("jinja2",))
    from plimsoll.compare.comparison import compare
    from plimsoll.compare.data import comparison_text
    from plimsoll.compare.texts import terminal_lines

    paths = [find_source(name, options.report_dir) for name in (options.base, *options.others, *options.like)]
    sides = [read_side(path, allow_damaged=options.allow_damaged) for path in paths]
    count = 1 + len(options.others)
    rule = Rule(margin=options.margin, alpha=options.alpha)
    comparison = compare(sides[:count], rule, likes=sides[count:], force_unlike=options.force_unlike)
    conditions = tuple(dict.fromkeys(options.fail_on))
    status = exit_status(comparison, conditions, allow_undecided=options.allow_undecided)
    if options.json == _PRINTED:
        sys.stdout.write(comparison_text(comparison, conditions, findings(comparison, conditions), status))
    else:
        lines = terminal_lines(
            comparison, conditions, status, allow_undecided=options.allow_undecided, quiet=options.quiet
        )
        show("\n".join(lines))
    sys.stdout.flush()
    _write(comparison, conditions, status, options, step)
    return status


def _write(
    comparison: Comparison,
    conditions: Sequence[FailCondition],
    status: int,
    options: argparse.Namespace,
    step: Path | None,
) -> None:
    from plimsoll.compare.data import comparison_text
    from plimsoll.compare.texts import markdown_text, page_text

    found = findings(comparison, conditions)
    if step is not None:
        problem = append_step_summary(step, markdown_text(comparison, found), "a file by --markdown FILE")
        sys.stderr.write("" if problem is None else f"plimsoll: {problem}\n")
    if options.markdown is not None:
        _write_file(options.markdown, lambda: markdown_text(comparison, found))
    if options.json not in (None, _PRINTED):
        _write_file(options.json, lambda: comparison_text(comparison, conditions, found, status))
    if options.html is not None:
        _write_file(options.html, lambda: page_text(comparison, found))


def _write_file(path: Path, text: Callable[[], str]) -> None:
    try:
        write_output(path, text())
    except OSError as error:
        raise PlimsollError(f"{path} could not be written ({reason_of(error)})") from None


def _fraction(text: str) -> float:
    """Percent as a fraction."""
    return number(0.001, 99.999)(text.removesuffix("%")) / 100.0
