"""`plimsoll slurm script|stamp|check`: the batch file that accepts nodes, and what a Prolog asks before each job."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll import clock
from plimsoll.commands.output import add_output
from plimsoll.commands.parser import add_report_dir, number, positive
from plimsoll.engines.slurm_script import BatchJob, arguments_of, script_text
from plimsoll.engines.stamp import DEFAULT_STAMP, Found, check_stamp, hints, present_node
from plimsoll.errors import PlimsollError
from plimsoll.fleet.draining import SEVERAL, drain_arguments, drain_command, drain_reason, names_several
from plimsoll.present.foreign_text import one_line
from plimsoll.units import capitalised

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_SUMMARY = "accept nodes under Slurm: the batch file, and the stamp that a Prolog checks"

STALE = 1
NAGIOS_CRITICAL = 2
NAGIOS_UNKNOWN = 3


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command, its actions and their options."""
    parser = subparsers.add_parser("slurm", help=_SUMMARY, description=f"{capitalised(_SUMMARY)}.")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_script(actions)
    _add_stamp(actions)
    _add_check(actions)


def _add_script(actions: _SubParsersAction[argparse.ArgumentParser]) -> None:
    script = actions.add_parser(
        "script",
        help="print the batch file that accepts nodes",
        description="Print a batch file for sbatch: one run a node, one verdict over all. What it selects is given "
        "here, or stands behind the file when it is submitted. Exit status: 0 printed, 2 usage error.",
    )
    job = BatchJob()
    script.add_argument("--nodes", type=positive, metavar="N", help="how many nodes")
    script.add_argument("--time", default=job.time, help=f"the time limit, as Slurm takes it (default: {job.time})")
    script.add_argument("--partition", metavar="NAME", help="where")
    script.add_argument("--gpus-per-node", metavar="N", help="for a Slurm that manages GPUs")
    script.add_argument("--array", action="store_true", help="an array of jobs of one node each, instead of one job")
    script.add_argument(
        "--shared", action="store_true", help="do not ask for whole nodes; others then change what is measured"
    )
    script.add_argument(
        "--lead",
        type=positive,
        default=job.lead,
        metavar="SECONDS",
        help=f"how long before the time limit runs are stopped and judged (default: {job.lead})",
    )
    script.add_argument("--container", metavar="IMAGE", help="make the runs in this image of Apptainer")
    script.add_argument("-m", dest="mark", metavar="MARK", help="the marks to select, as pytest takes them")
    script.add_argument("-k", dest="keyword", metavar="WORDS", help="the checks to select, likewise")
    script.add_argument("selection", nargs=argparse.REMAINDER, metavar="-- ...", help="further arguments for pytest")
    script.set_defaults(run=run_script)


def _add_stamp(actions: _SubParsersAction[argparse.ArgumentParser]) -> None:
    stamp = actions.add_parser(
        "stamp",
        help="note on this node that it was accepted",
        description="Write the stamp that `plimsoll slurm check` reads: of an accepted run of this very node, by the "
        "UUIDs of its GPUs and its driver. A run of it that is rejected withdraws an older stamp. Exit status: 0 "
        "stamped, 2 where the run is not accepted, is of another node, or the stamp cannot be written.",
    )
    stamp.add_argument("run_name", nargs="?", default="latest", metavar="RUN", help="the run (default: latest)")
    add_report_dir(stamp)
    _add_stamp_option(stamp)
    stamp.set_defaults(run=run_stamp)


def _add_check(actions: _SubParsersAction[argparse.ArgumentParser]) -> None:
    check = actions.add_parser(
        "check",
        help="say in under a second whether this node was accepted as it is now",
        description="For a Prolog or a health check: is there a fresh stamp of this node, with these GPUs and this "
        "driver. Nothing is measured, and nothing is drained unless --drain says so. Exit status: 0 accepted as it is, "
        "1 not accepted, or not lately, 2 usage error, or --drain failed.",
    )
    check.add_argument(
        "--max-age",
        type=number(0.001, 1e6),
        default=168.0,
        metavar="HOURS",
        help="how old a stamp may be (default: 168, a week)",
    )
    check.add_argument("--node", metavar="NAME", help="the node's name for Slurm (default: SLURMD_NODENAME, host name)")
    add_output(check, "print JSON")
    check.add_argument("--nagios", action="store_true", help="the statuses of Nagios: 0 OK, 2 CRITICAL, 3 UNKNOWN")
    check.add_argument("--drain", action="store_true", help="run the scontrol command instead of only printing it")
    _add_stamp_option(check)
    check.set_defaults(run=run_check)


def _add_stamp_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stamp", type=Path, default=DEFAULT_STAMP, metavar="FILE", help=f"the stamp (default: {DEFAULT_STAMP})"
    )


def run_script(options: argparse.Namespace) -> int:
    """Print the batch file. Raises PlimsollError for what cannot be asked."""
    job = BatchJob(
        selection=arguments_of(options.mark, options.keyword, options.selection),
        nodes=options.nodes,
        time=options.time,
        partition=options.partition,
        gpus_per_node=options.gpus_per_node,
        exclusive=not options.shared,
        array=options.array,
        lead=options.lead,
        container=options.container,
    )
    sys.stdout.write(script_text(job))
    return 0


def run_stamp(options: argparse.Namespace) -> int:
    """Write the stamp. Raises PlimsollError where there is no accepted run of this node."""
    # A Prolog waits for `check`: what reads evidence is not imported for it.
    from plimsoll.engines.stamping import RejectedError, stamp_of, withdraw, write_stamp
    from plimsoll.evidence.run_folder import find_run

    try:
        stamp = stamp_of(find_run(options.run_name, options.report_dir), present_node())
    except RejectedError as rejected:
        if withdraw(options.stamp, rejected):
            raise PlimsollError(f"{rejected}; the older stamp {options.stamp} is withdrawn") from None
        raise
    write_stamp(options.stamp, stamp)
    sys.stdout.write(f"stamped {options.stamp}: {stamp.statement}\n")
    sys.stdout.write("".join(f"{line}\n" for line in hints(options.stamp)))
    return 0


def run_check(options: argparse.Namespace) -> int:
    """Say whether the stamp fits; with --drain, drain where it does not. Raises PlimsollError where that fails."""
    node = present_node()
    found = check_stamp(options.stamp, node, clock.now(), timedelta(hours=options.max_age))
    name = options.node or node.name
    command = None if found.is_fresh else drain_command(name, drain_reason(found.why))
    sys.stdout.write(_told(found, name, command, as_json=options.json))
    sys.stdout.flush()
    if options.drain and command is not None:
        _drain(name, found.why)
    if found.is_fresh:
        return 0
    if options.nagios:
        return NAGIOS_CRITICAL if found.is_known else NAGIOS_UNKNOWN
    return STALE


def _told(found: Found, name: str, command: str | None, *, as_json: bool) -> str:
    if as_json:
        data = {
            "schema": "plimsoll/stamp-check/1",
            "node": name,
            "accepted": found.is_fresh,
            "known": found.is_known,
            "why": found.why,
            "drain": command,
        }
        return json.dumps(data) + "\n"
    if command is None:
        return f"OK: {found.why}\n"
    return f"{'NOT ACCEPTED' if found.is_known else 'UNKNOWN'}: {found.why}\nto take it out of service: {command}\n"


def _drain(name: str, why: str) -> None:
    if names_several(name):
        raise PlimsollError(f"--drain: {one_line(name, 80)}: {SEVERAL}")
    arguments = drain_arguments(name, drain_reason(why))
    try:
        done = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlimsollError(f"--drain: scontrol could not be run ({error})") from None
    if done.returncode != 0:
        raise PlimsollError(f"--drain: scontrol ended with {done.returncode}: {done.stderr.strip()[:300]}")
