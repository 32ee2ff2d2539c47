"""`plimsoll plan`: what would run here or on a reference machine, before anything is loaded or downloaded."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.catalogue.entries import Catalogue, Profile, Variant
from plimsoll.catalogue.expression import compile_expression
from plimsoll.catalogue.marks import suite_marks
from plimsoll.catalogue.overrides import AUTO, CPU, GPU, SOURCES, altered, with_settings, with_sources
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.catalogue.settings import read_settings
from plimsoll.commands.output import add_output, show
from plimsoll.commands.parser import add_catalogue, explained, positive
from plimsoll.errors import PlimsollError
from plimsoll.node.probe import SystemProbe
from plimsoll.plan.estimates import DISK_RATE, LINK_RATE, AssumedSpeeds
from plimsoll.plan.limiting import idle_claims
from plimsoll.plan.placing import GpuChoice, KnownDemands, Policy
from plimsoll.plan.planning import PlannedMachine, Planner, deal_of, machines_of
from plimsoll.plan.predictions import HostPool, Predictions
from plimsoll.plan.shipped import Shipped
from plimsoll.plan.table import render, to_json
from plimsoll.suite import suite_root
from plimsoll.tiny.store import cache_folder
from plimsoll.usertoml.suggest import did_you_mean

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_NOTHING = 5
"""The exit status for a selection without variants, as pytest has it."""
_UNDECIDED = 6

_DESCRIPTION = """\
Show what would run on this node, or on a reference machine (--profile): memory needed, available and left, the time a
load should take, the largest context and batch that fit, and for what would be skipped the reason and the fix; of
several GPUs, which one carries what, and which would carry nothing (--gpus). Nothing is loaded or downloaded, and the
Hub is not asked. Predictions for the shipped entries come with them, so that a plan for a reference machine needs no
torch; what else is predicted is kept in the cache folder.
Exit status: 0 planned, 2 usage error, 5 nothing selected, 6 where a variant could not be predicted."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "plan", help="show what would run here or on a reference machine, and what it takes", description=_DESCRIPTION
    )
    parser.add_argument("-m", dest="marks", default="", metavar="EXPR", help="select variants by marks, as pytest does")
    parser.add_argument(
        "--profile",
        action="append",
        default=[],
        metavar="P",
        help="plan for a reference machine: an id or a pattern such as 'a100-*' (repeatable)",
    )
    parser.add_argument(
        "--gpus",
        type=explained(GpuChoice.of),
        metavar="HOW",
        help="how a run deals variants over several GPUs: `spread` (as on this node without the option), `each`, "
        "`first`, or GPUs by index or UUID with commas between; a reference machine's are dealt where this is given",
    )
    add_catalogue(parser)
    _add_overrides(parser)
    add_output(parser, "print JSON, sizes in bytes and times in seconds")
    parser.add_argument(
        "--length",
        type=positive,
        default=2048,
        metavar="TOKENS",
        help="the prompt that the largest batch is reckoned with (default: 2048)",
    )
    for name, rate, what in (("disk", DISK_RATE, "the disk with the weights"), ("link", LINK_RATE, "RAM to the GPU")):
        parser.add_argument(
            f"--{name}-speed",
            type=_rate,
            default=rate,
            metavar="GB/S",
            help=f"speed of {what}, for load times (default: {rate / 1e9:g})",
        )
    parser.set_defaults(run=run)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    """What a run alters of the catalogue by options of the same names."""
    parser.add_argument(
        "--weights", choices=SOURCES, default=AUTO, help="plan with weights from there, as pytest loads them"
    )
    parser.add_argument(
        "--model-dir",
        action="append",
        default=[],
        metavar="MODEL=FOLDER",
        help="plan with a folder of your own for a model of the catalogue (repeatable)",
    )
    parser.add_argument(
        "--device", choices=(CPU, GPU), help="plan every variant on this device, whatever its tier asks for"
    )
    parser.add_argument(
        "--layers",
        type=positive,
        metavar="N",
        help="plan every model cut to its first N layers; needs --weights=synthetic",
    )
    parser.add_argument(
        "--load-config",
        metavar="JSON",
        help='plan with these settings over those of every entry, as pytest loads them: {"torch_dtype": "float16"}, or '
        "the path of a file with them",
    )


def run(options: argparse.Namespace) -> int:
    """Print the plan. Raises PlimsollError for an unknown mark or profile, options and settings that cannot be used,
    and where no host can be started."""
    catalogue = read_catalogue(options.catalogue, known_marks=suite_marks())
    catalogue = with_sources(catalogue, options.weights, options.model_dir, Path())
    catalogue = altered(catalogue, weights=options.weights, layers=options.layers, device=options.device)
    if options.load_config is not None:
        catalogue = with_settings(catalogue, read_settings(options.load_config, Path()))
    variants = _selected(catalogue, options.marks)
    if not variants:
        print(f"plimsoll: -m '{options.marks}' selects none of {len(catalogue.variants)} variants", file=sys.stderr)
        return _NOTHING
    choice = options.gpus or GpuChoice(policy=Policy.SPREAD)
    shipped = Shipped.read()
    machines = machines_of(_profiles(catalogue, options.profile), shipped.packages) or [_this_node()]
    speeds = AssumedSpeeds(disk=options.disk_speed, link=options.link_speed)
    with HostPool(sys.stderr) as hosts:
        predictions = Predictions(cache_folder(), hosts.ask, shipped)
        hosts.fill(predictions, variants)
        planner = Planner(predictions, speeds, options.length)
        known: KnownDemands = {}
        deals = [
            deal_of(machine, variants, choice, predictions, known) if options.gpus or machine.profile is None else None
            for machine in machines
        ]
        plans = [
            (machine, planner.rows(variants, machine, deal), deal)
            for machine, deal in zip(machines, deals, strict=True)
        ]
    decided = [not isinstance(row.decision, str) for _, rows, _ in plans for row in rows]
    if options.json:
        assumptions = {"disk_bytes_per_second": speeds.disk, "link_bytes_per_second": speeds.link}
        told = {"assumptions": assumptions, "predictions": predictions.origin_data()}
        print(json.dumps({**told, "plans": [to_json(*plan) for plan in plans]}, indent=2))
    elif any(decided) or not predictions.unmade:
        closing = [predictions.origin] if predictions.origin else []
        show("\n\n".join([*(render(machine, rows, speeds, deal) for machine, rows, deal in plans), *closing]))
    if predictions.unmade:
        print(f"plimsoll: {predictions.why_unmade()}", file=sys.stderr)
    for claim in idle_claims(suite_root(), catalogue, variants):
        print(f"plimsoll: note: {claim}", file=sys.stderr)
    return 0 if all(decided) else _UNDECIDED


def _selected(catalogue: Catalogue, expression: str) -> list[Variant]:
    known = dict.fromkeys(mark for variant in catalogue.variants.values() for mark in variant.all_marks)
    selects = compile_expression(expression, known)
    return [variant for variant in catalogue.variants.values() if selects(variant.all_marks)]


def _profiles(catalogue: Catalogue, patterns: Sequence[str]) -> list[Profile]:
    chosen: dict[str, Profile] = {}
    for pattern in patterns:
        fitting = {name: found for name, found in catalogue.profiles.items() if fnmatchcase(name, pattern)}
        if not fitting:
            raise PlimsollError(f"no profile '{pattern}'; {did_you_mean(pattern, catalogue.profiles)}")
        chosen |= fitting
    return list(chosen.values())


def _this_node() -> PlannedMachine:
    node = SystemProbe(weights_path=cache_folder()).probe()
    return PlannedMachine(name=node.hostname, node=node)


def _rate(text: str) -> float:
    """GB/s as bytes a second."""
    try:
        rate = float(text) * 1e9
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"must be GB/s, such as 3.5, not {text!r}")
    return rate
