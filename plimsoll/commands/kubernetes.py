"""`plimsoll kubernetes manifest|patches`: the Jobs that accept nodes, and what tells nodes their verdict."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll import clock
from plimsoll.commands.parser import number, positive
from plimsoll.engines.kubernetes import TIME, KubernetesJob, manifest_text, patches, read_fleet_file
from plimsoll.engines.slurm_script import arguments_of
from plimsoll.errors import PlimsollError
from plimsoll.units import capitalised

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_SUMMARY = "accept nodes under Kubernetes: manifests, and labels and conditions of nodes"


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command, its actions and their options."""
    parser = subparsers.add_parser("kubernetes", help=_SUMMARY, description=f"{capitalised(_SUMMARY)}.")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_manifest(actions)
    told = actions.add_parser(
        "patches",
        help="print the commands that tell nodes their verdict",
        description="Print, for each node of a fleet, the kubectl commands that give it a label and a condition; "
        "nothing is run. Exit status: 0 printed, 2 usage error, no fleet.json.",
    )
    told.add_argument("fleet", type=Path, metavar="FLEET.json", help="what `plimsoll fleet --output` wrote")
    told.set_defaults(run=run_patches)


def _add_manifest(actions: _SubParsersAction[argparse.ArgumentParser]) -> None:
    manifest = actions.add_parser(
        "manifest",
        help="print the manifests",
        description="Print an indexed Job with a pod a node, a claim for the evidence, and a Job for the verdict. Exit "
        "status: 0 printed, 2 usage error.",
    )
    manifest.add_argument(
        "--image", required=True, help="an image with the suite in /plimsoll (docs/examples/Dockerfile)"
    )
    manifest.add_argument("--nodes", type=positive, required=True, metavar="N", help="how many nodes")
    manifest.add_argument("--gpus", type=positive, default=8, metavar="N", help="GPUs of each (default: 8)")
    manifest.add_argument("--name", default="plimsoll", help="of the Job (default: plimsoll)")
    manifest.add_argument("--claim", default="plimsoll-evidence", metavar="NAME", help="the claim for the evidence")
    manifest.add_argument(
        "--hours", type=number(0.01, 1000.0), default=8.0, help="after which the pods are ended (default: 8)"
    )
    manifest.add_argument(
        "--node-selector",
        type=_label,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="which nodes (repeatable)",
    )
    manifest.add_argument("-m", dest="mark", metavar="MARK", help="the marks to select, as pytest takes them")
    manifest.add_argument("-k", dest="keyword", metavar="WORDS", help="the checks to select, likewise")
    manifest.add_argument("selection", nargs=argparse.REMAINDER, metavar="-- ...", help="further arguments for pytest")
    manifest.set_defaults(run=run_manifest)


def run_manifest(options: argparse.Namespace) -> int:
    """Print the manifests. Raises PlimsollError for what the API would refuse, and for labels that no node has."""
    selector = dict(options.node_selector)
    for key, value in options.node_selector:
        if selector[key] != value:
            raise PlimsollError(
                f"--node-selector: {key} is asked to be {value} and {selector[key]}, and a node has one value of each "
                "label: give it once"
            )
    job = KubernetesJob(
        image=options.image,
        selection=arguments_of(options.mark, options.keyword, options.selection),
        nodes=options.nodes,
        gpus=options.gpus,
        name=options.name,
        claim=options.claim,
        seconds=round(3600 * options.hours),
        selector=selector,
    )
    sys.stdout.write(manifest_text(job))
    return 0


def run_patches(options: argparse.Namespace) -> int:
    """Print the commands. Raises PlimsollError where there is no such file."""
    at = clock.now().strftime(TIME)
    fleet = read_fleet_file(options.fleet)
    try:
        lines = list(patches(fleet, at))
    except (KeyError, TypeError, AttributeError):
        raise PlimsollError(
            f"{options.fleet} lacks what a fleet.json has; make it anew: plimsoll fleet --output"
        ) from None
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, not {text!r}")
    return key, value
