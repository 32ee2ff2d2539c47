"""`plimsoll report RUN...`: writes the reports of runs again from their evidence, also of a run that was killed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll import clock
from plimsoll.commands.parser import add_report_dir
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.evidence.reader import EVIDENCE_FILE, read_runs
from plimsoll.evidence.run_folder import find_run
from plimsoll.report.closing import closing_lines, fitted
from plimsoll.report.pages import HTML_FILE, JUNIT_FILE, why_no_pages, write_pages
from plimsoll.report.write import (
    SUMMARY_FILE,
    append_step_summary,
    required_step_summary,
    short_summary_text,
    write_ctrf,
    write_reports,
)
from plimsoll.streams import width_of
from plimsoll.userpath import resolved
from plimsoll.verdict.verdict import reach_verdict
from plimsoll.verdict.waivers import read_waivers

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_DESCRIPTION = """\
Read the evidence of a run, write results.json, summary.md and benchmark.json from it, and, where pytest is installed,
report.html and junit.xml, unless they were written after the last of the evidence; then print how it ended. Works for a
run that was killed or whose disk ran full: what it had measured is there, and the verdict says INCOMPLETE. Several runs
are judged as one: of a cell that ended differently the worst counts, and all are shown.
Exit status: 0 ACCEPTED, 1 REJECTED, 5 nothing was planned, 6 INCOMPLETE (0 where the run had --allow-incomplete and
nothing but results is missing), 2 where there is no evidence, a waiver is wrong, or a report cannot be written."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "report", help="write the reports of a run again from its evidence", description=_DESCRIPTION
    )
    parser.add_argument(
        "run_names", nargs="+", metavar="RUN", help="a run folder, an evidence file, a run id, or `latest`"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write here instead of into the run folder; needed for several runs"
    )
    add_report_dir(parser)
    parser.add_argument(
        "--waivers", type=Path, metavar="FILE", help="judge with these waivers, as of today, instead of the runs' own"
    )
    pages = parser.add_mutually_exclusive_group()
    pages.add_argument(
        "--pages",
        action="store_true",
        help="write report.html and junit.xml, for which pytest is started, though the run has them already",
    )
    pages.add_argument("--no-pages", action="store_true", help="never write them")
    parser.add_argument("--ctrf", action="store_true", help="write ctrf.json too, in the Common Test Report Format")
    parser.add_argument(
        "--step-summary", action="store_true", help="append the summary to that of the step, in a job of GitHub Actions"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the reports and return the verdict's exit status.

    Raises PlimsollError where there is no such run, a waiver is wrong, or a report could not be written.
    """
    step = required_step_summary() if options.step_summary else None
    runs = [find_run(name, options.report_dir) for name in options.run_names]
    waivers = None if options.waivers is None else read_waivers(options.waivers, clock.now().date())
    record = read_runs(runs)
    if waivers is not None:
        waivers.refuse_unmatched(cell.id for cell in record.plan)
    verdict = reach_verdict(record, waivers=waivers)
    folder = _folder(options.output, record.folder, several=len(runs) > 1)
    problems = write_reports(record, verdict, folder)
    if options.ctrf:
        problems += write_ctrf(record, verdict, folder)
    notes = []
    if not (options.pages or options.no_pages) and _has_pages(record.folder, folder, options.waivers):
        notes.append(f"{HTML_FILE} and {JUNIT_FILE} are as they were written after the run; --pages writes them again")
    elif not options.no_pages:
        if (missing := why_no_pages()) is not None:
            notes.append(f"not written: {missing}")
        elif (problem := write_pages(runs, folder, options.waivers)) is not None:
            problems.append(problem)
    if step is not None:
        problem = append_step_summary(step, short_summary_text(record, verdict), str(folder / SUMMARY_FILE))
        notes += [] if problem is None else [problem]
    lines = [*notes, *closing_lines(record, verdict, folder)]
    width = width_of(sys.stdout)
    sys.stdout.write("".join(f"{part}\n" for line in lines for part in fitted(line, width)))
    if problems:
        sys.stdout.flush()
        raise PlimsollError(f"{'; '.join(problems)}; use --output DIR for another folder")
    return verdict.exit_status


def _has_pages(run: Path, folder: Path, waivers: Path | None) -> bool:
    """True where the pages of this folder are those of its run: nothing was recorded since they were written, and
    nothing judges anew."""
    if waivers is not None or resolved(folder) != resolved(run):
        return False
    try:
        recorded = (run / EVIDENCE_FILE).stat().st_mtime_ns
        return all(_written(folder / name) >= recorded for name in (HTML_FILE, JUNIT_FILE))
    except OSError:
        return False


def _written(path: Path) -> int:
    """When a page was written. Raises OSError where there is none."""
    if not path.is_file():
        raise FileNotFoundError(path)
    return path.stat().st_mtime_ns


def _folder(output: Path | None, own: Path, *, several: bool) -> Path:
    if output is None and several:
        raise PlimsollError("reports of several runs belong into no run's folder: name one with --output DIR")
    folder = own if output is None else output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlimsollError(f"output folder {folder} cannot be made ({reason_of(error)})") from None
    return folder
