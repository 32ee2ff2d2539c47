"""`plimsoll audit`: what documents say of models, held against prediction and the evidence of runs."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from plimsoll.audit.auditing import Auditor
from plimsoll.audit.table import render, to_json
from plimsoll.catalogue.expression import compile_expression
from plimsoll.catalogue.marks import suite_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.commands.output import add_output, show
from plimsoll.commands.parser import add_catalogue, add_report_dir
from plimsoll.evidence.reader import read_run
from plimsoll.evidence.run_folder import find_run
from plimsoll.plan.limiting import idle_claims
from plimsoll.plan.predictions import HostPool, NoStackError, Predictions
from plimsoll.plan.shipped import Shipped
from plimsoll.suite import suite_root
from plimsoll.tiny.store import cache_folder

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_DISHONEST = 1
_NOT_MEASURED = (
    "plimsoll: note: the evidence has no measurement of what is claimed here; a variant with fewer layers, or on a CPU "
    "in place of a GPU, is another one"
)
_NOTHING = 5

_DESCRIPTION = """\
Hold every claim of the catalogue against what is predicted, and against what runs have measured (--evidence):
confirmed, plausible, tight, refuted by measurement, impossible, or not to be judged, and why; and what a reader should
write instead: counts first, then a line for each claim to correct; the others with --all. Nothing is loaded.
Exit status: 0 every dispute goes with the arithmetic, 1 one does not, 2 usage error, 5 nothing selected."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "audit", help="hold what documents claim against prediction and evidence", description=_DESCRIPTION
    )
    parser.add_argument("-m", dest="marks", default="", metavar="EXPR", help="select variants by marks, as pytest does")
    parser.add_argument(
        "--evidence",
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs whose measurements count: folders, evidence files, run ids, or `latest`",
    )
    add_report_dir(parser)
    add_catalogue(parser)
    parser.add_argument(
        "--all", action="store_true", help="print every claim, with its source and grounds, not only those to correct"
    )
    add_output(parser, "print JSON with every claim, figures in base units")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the audit. Raises PlimsollError for an unknown mark or run, and where no host can be started
    or torch is missing for one."""
    catalogue = read_catalogue(options.catalogue, known_marks=suite_marks())
    known = dict.fromkeys(mark for variant in catalogue.variants.values() for mark in variant.all_marks)
    selects = compile_expression(options.marks, known)
    variants = [variant for variant in catalogue.variants.values() if selects(variant.all_marks)]
    runs = [read_run(find_run(name, options.report_dir)) for name in options.evidence]
    with HostPool(sys.stderr) as hosts:
        predictions = Predictions(cache_folder(), hosts.ask, Shipped.read())
        hosts.fill(predictions, variants)
        findings = list(Auditor(catalogue, predictions, runs).findings({variant.id for variant in variants}))
    if predictions.unmade:
        # A claim of which nothing is known would read as one that goes with the arithmetic, or does not.
        raise NoStackError(predictions.why_unmade())
    if not findings:
        print(f"plimsoll: -m '{options.marks}' selects no variant of which anything is claimed", file=sys.stderr)
        return _NOTHING
    if runs and not any(finding.measured for finding in findings):
        print(_NOT_MEASURED, file=sys.stderr)
    for claim in idle_claims(suite_root(), catalogue, variants):
        print(f"plimsoll: note: {claim}", file=sys.stderr)
    if options.json:
        print(json.dumps({**to_json(findings), "predictions": predictions.origin_data()}, indent=2))
    else:
        show("\n\n".join(filter(None, (render(findings, options.all), predictions.origin))))
    return 0 if all(finding.is_honest for finding in findings) else _DISHONEST
