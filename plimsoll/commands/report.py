"""`plimsoll report RUN`: writes the reports of a run again from its evidence, also of a run that was killed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.errors import PlimsollError
from plimsoll.evidence.reader import read_run
from plimsoll.evidence.run_folder import find_run
from plimsoll.report.terminal import closing_lines
from plimsoll.report.write import write_reports
from plimsoll.verdict.verdict import reach_verdict

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_DESCRIPTION = """\
Read the evidence of a run, write results.json, summary.md and benchmark.json from it, and print how it ended. Works
for a run that was killed or whose disk ran full: what it had measured is there, and the verdict says INCOMPLETE.
Exit status: 0 ACCEPTED, 1 REJECTED, 5 nothing was planned, 6 INCOMPLETE (0 where the run had --allow-incomplete and
nothing but results is missing), 2 where there is no evidence or a report cannot be written."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "report", help="write the reports of a run again from its evidence", description=_DESCRIPTION
    )
    parser.add_argument("run_name", metavar="RUN", help="a run folder, an evidence file, a run id, or `latest`")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write here instead of into the run folder")
    parser.add_argument(
        "--report-dir", type=Path, metavar="DIR", default=Path("reports"), help="where runs lie (default: reports)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the reports and return the verdict's exit status.

    Raises PlimsollError where there is no such run, or a report could not be written.
    """
    record = read_run(find_run(options.run_name, options.report_dir))
    verdict = reach_verdict(record)
    folder = record.folder if options.output is None else options.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlimsollError(f"output folder {folder} cannot be made ({error.strerror or error})") from None
    problems = write_reports(record, verdict, folder)
    sys.stdout.write("".join(f"{line}\n" for line in closing_lines(record, verdict, folder)))
    if problems:
        sys.stdout.flush()
        raise PlimsollError(f"{'; '.join(problems)}; use --output DIR for another folder")
    return verdict.exit_status
