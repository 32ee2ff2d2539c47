"""`plimsoll baseline save|list|show`: runs that are kept to be compared with."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from plimsoll.commands.output import add_output
from plimsoll.commands.parser import add_report_dir
from plimsoll.compare.baselines import FOLDER, baselines, find_baseline, save_baseline
from plimsoll.evidence.reader import read_run
from plimsoll.evidence.run_folder import find_run
from plimsoll.present.foreign_text import one_line
from plimsoll.report.node_card import node_card
from plimsoll.units import capitalised
from plimsoll.verdict.verdict import Word, reach_verdict

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_SUMMARY = "keep runs to compare with, and list them"
_STATUS = "Exit status: 0 done, 2 usage error or nothing of that name."


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command, its actions and their options."""
    parser = subparsers.add_parser("baseline", help=_SUMMARY, description=f"{capitalised(_SUMMARY)}.")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    save = _action(actions, "save", "keep the evidence of a run under its machine and driver")
    save.add_argument("run_name", metavar="RUN", help="a run folder, an evidence file, a run id, or `latest`")
    save.add_argument("--name", help="what to call it (default: the run id)")
    save.add_argument("--replace", action="store_true", help="replace a baseline of that name")
    save.set_defaults(run=run_save)

    listing = _action(actions, "list", "list the baselines with their verdicts")
    add_output(listing, "print JSON")
    listing.set_defaults(run=run_list)

    show = _action(actions, "show", "show the machine and the verdict of a baseline")
    show.add_argument("name", metavar="NAME", help="its name, or as much of machine/driver/name as tells it apart")
    show.set_defaults(run=run_show)

    for action in (save, listing, show):
        add_report_dir(action)


def _action(actions: _SubParsersAction[argparse.ArgumentParser], name: str, summary: str) -> argparse.ArgumentParser:
    return actions.add_parser(name, help=summary, description=f"{capitalised(summary)}. {_STATUS}")


def run_save(options: argparse.Namespace) -> int:
    """Keep a run; a verdict other than ACCEPTED is no obstacle, but is said."""
    run = find_run(options.run_name, options.report_dir)
    saved = save_baseline(run, options.report_dir, name=options.name, replace=options.replace)
    print(f"saved {saved.folder}; compare with it as baseline:{saved}")
    verdict = reach_verdict(read_run(saved.folder))
    if verdict.word is not Word.ACCEPTED:
        print(f"note: {one_line(verdict.statement)}")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """List the baselines."""
    known = baselines(options.report_dir)
    verdicts = [reach_verdict(read_run(baseline.folder)) for baseline in known]
    if options.json:
        rows = [
            {"name": str(b), "folder": str(b.folder), "verdict": v.word.value, "scope": v.scope}
            for b, v in zip(known, verdicts, strict=True)
        ]
        print(json.dumps(rows, indent=2))
        return 0
    for baseline, verdict in zip(known, verdicts, strict=True):
        print(f"{baseline}  {one_line(verdict.statement)}")
    if not known:
        print(f"no baselines in {options.report_dir / FOLDER}; keep one with `plimsoll baseline save RUN`")
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Show one baseline."""
    record = read_run(find_baseline(options.name, options.report_dir))
    print(one_line(reach_verdict(record).statement))
    print(f"{record.folder}, run {one_line(record.run_id)}, {len(record.benchmarks)} timed checks")
    for label, text in [] if record.node is None else node_card(record.node):
        print(f"  {label}: {one_line(text)}")
    return 0
