"""`plimsoll fleet RUN...|DIR`: judges many nodes as one, says what differs between them, and names the odd ones."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from plimsoll.commands.output import must_differ
from plimsoll.commands.parser import add_fail_on, add_report_dir, number, positive
from plimsoll.engines.metrics_file import required_metrics, write_metrics
from plimsoll.fleet.data import fleet_text
from plimsoll.fleet.discovery import find_lineages
from plimsoll.fleet.expected import read_expected
from plimsoll.fleet.fleet import Fleet, judge_fleet, read_conditions
from plimsoll.fleet.reading import read_nodes, split
from plimsoll.fleet.write import files_of, lines_text, required_output, terminal_lines, write_fleet
from plimsoll.present.progress_line import ProgressLine

if TYPE_CHECKING:
    from argparse import _SubParsersAction

Found = TypeVar("Found")

_SUMMARY = "judge many nodes as one, and name the odd ones"
_DESCRIPTION = """\
Read the evidence of many nodes, one after the other, and give one verdict: ACCEPTED where every expected node left
evidence and is accepted, all were asked the same, and no GPU computes other bits than its like. Then say what differs
between nodes, which GPUs are slower than others of their product, and which nodes took long. A RUN is a run folder, an
evidence file, a run id or `latest`; a DIR holds runs at any depth."""

_EPILOG = """\
exit status:
  0    ACCEPTED
  1    REJECTED: a node is rejected, or computes other bits; or something of --fail-on was found
  2    usage error, no evidence, or a file that cannot be written
  5    nothing was planned on any node
  6    INCOMPLETE: a node is incomplete or left no evidence (0 where every run had
       --allow-incomplete and nothing but results is missing)

--fail-on:
  difference  nodes or GPUs differ in driver, VBIOS, kernel, packages, clocks, limits, ECC, ...
  outlier     a GPU or a node is slower than its like
  straggler   a node took much longer than its like
"""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "fleet",
        help=_SUMMARY,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run, or a folder that holds runs")
    parser.add_argument(
        "--expect-nodes",
        metavar="FILE|N",
        help="which nodes there must be: their number, or a file with a name (or gpu[01-16]) a line, and behind it, "
        "where that is to be held, the number of its GPUs",
    )
    parser.add_argument(
        "--newest",
        action="store_true",
        help="of a node with several runs the newest counts, instead of the worst outcome of each check",
    )
    parser.add_argument(
        "--max-age",
        type=_age,
        metavar="HOURS",
        help="how long ago a run that counts may have ended (default: no limit; a note names nodes whose run is a week "
        "older than the newest)",
    )
    add_fail_on(parser, read_conditions, "difference,outlier,straggler")
    parser.add_argument(
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="write fleet.html, .md, .json and .jsonl into a folder, or one file with such an ending (repeatable)",
    )
    parser.add_argument(
        "--metrics-file",
        type=Path,
        metavar="FILE.prom",
        help="write figures for Prometheus' node exporter, in one step",
    )
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument("--json", action="store_true", help="print JSON")
    printed.add_argument("--json-lines", action="store_true", help="print a line of JSON for each node")
    parser.add_argument("--jobs", type=positive, metavar="N", help="processes that read evidence (default: one a core)")
    add_report_dir(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Judge, print, write the files. Raises PlimsollError for what the user can mend."""
    if options.metrics_file is not None:
        required_metrics(options.metrics_file)
    outputs = [required_output(path) for path in options.output]
    files = [("--output", file) for path in outputs for file in files_of(path)]
    must_differ(options, [*files, ("--metrics-file", options.metrics_file)])
    expected = read_expected(options.expect_nodes)
    lineages = find_lineages(options.runs, options.report_dir)
    with ProgressLine(sys.stderr, "reading runs", len(lineages), lambda count: f"{count:,}") as progress:
        read, unread = split(_counted(read_nodes(lineages, options.jobs), progress))
    conditions = tuple(dict.fromkeys(options.fail_on))
    fleet = judge_fleet(read, unread, expected, conditions, newest=options.newest, most_age=options.max_age)
    sys.stdout.write(_printed(fleet, options))
    sys.stdout.flush()
    for path in outputs:
        for file in write_fleet(fleet, path):
            sys.stderr.write(f"wrote {file}\n")
    if options.metrics_file is not None:
        write_metrics(options.metrics_file, fleet)
        sys.stderr.write(f"wrote {options.metrics_file}\n")
    return fleet.exit_status


def _counted(found: Iterable[Found], progress: ProgressLine) -> Iterator[Found]:
    for each in found:
        progress.add(1)
        yield each


def _printed(fleet: Fleet, options: argparse.Namespace) -> str:
    if options.json:
        return fleet_text(fleet)
    if options.json_lines:
        return lines_text(fleet)
    return "".join(f"{line}\n" for line in terminal_lines(fleet))


def _age(text: str) -> timedelta:
    return timedelta(hours=number(0.001, 1e6)(text))
