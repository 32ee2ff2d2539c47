"""Writes the predictions that ship with the catalogue: what `plan`, `audit` and `headroom` ask of its entries.

`python -m plimsoll.shipping --write` makes `catalogue/predictions.json.gz` with the stack that is installed, and
`python -m plimsoll.shipping` says whether the file counts here. Nothing is listed twice: the commands' own code runs,
and what it asked for is what is written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Final

from plimsoll.audit.auditing import Auditor
from plimsoll.catalogue.entries import Catalogue, Quantization, Variant
from plimsoll.catalogue.files import shipped_root
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.footprint.prediction import Subject
from plimsoll.footprint.training import DEFAULT_BRIDGE, Mode, Training
from plimsoll.node.devices import CUDA_KIND, seen_by
from plimsoll.node.stack import installed_packages
from plimsoll.plan.headroom import Wanted, headroom_of, otherwise
from plimsoll.plan.placing import GpuChoice, KnownDemands, Policy
from plimsoll.plan.planning import PlannedMachine, deal_of, machines_of
from plimsoll.plan.predictions import HostPool, PredictionError, Predictions, hosts_at_once, require_stack
from plimsoll.plan.shipped import FILE, Shipped, public
from plimsoll.tiny.store import cache_folder

_USAGE: Final = "usage: python -m plimsoll.shipping [--write]\n"
_LENGTH: Final = 2048
"""Tokens; the same prediction answers for any number."""


def ask_all(catalogue: Catalogue, predictions: Predictions) -> None:
    """Ask for everything that the commands ask of a catalogue: each variant, its places on each reference machine under
    each way to deal, the training that claims are about, and the usual ways to train. Raises HostStartError."""
    variants = list(catalogue.variants.values())
    # Steps take most of the time, and a model's in one thread follow one another in one host.
    with ThreadPoolExecutor(max_workers=hosts_at_once()) as threads:
        list(threads.map(lambda wanted: _ask_steps(wanted, predictions), _usual(variants)))
    # Machines with the same memory are dealt alike.
    machines = {machine.gpus: machine for machine in machines_of(catalogue.profiles.values())}
    known: KnownDemands = {}
    for machine in machines.values():
        for policy in (None, *Policy):
            _ask_places(variants, machine, policy, predictions, known)
    list(Auditor(catalogue, predictions).findings(set(catalogue.variants)))


def _ask_steps(wanted: Wanted, predictions: Predictions) -> None:
    try:
        headroom_of(wanted, 0, predictions)
    except PredictionError:
        return
    list(otherwise(wanted, 0, predictions))


def _ask_places(
    variants: Sequence[Variant],
    machine: PlannedMachine,
    policy: Policy | None,
    predictions: Predictions,
    known: KnownDemands,
) -> None:
    """Where each copy of a variant goes on a machine, as a plan asks it; without a policy nothing is dealt."""
    deal = None if policy is None else deal_of(machine, variants, GpuChoice(policy=policy), predictions, known)
    for variant in variants:
        for copy, gpus in [(variant, ())] if deal is None else deal.copies(variant):
            here = replace(machine, node=seen_by(machine.node, gpus)) if gpus else machine
            with suppress(PredictionError):
                predictions.placement(copy, here.gpus if copy.tier.device == CUDA_KIND else ())


def _usual(variants: Sequence[Variant]) -> list[Wanted]:
    """What `plimsoll headroom MODEL` asks without an option, where a model stands for its bf16; alike models once. To
    follow a step takes seconds, so the other quantizations do not ship."""
    training = Training(mode=Mode.BRIDGE, size=DEFAULT_BRIDGE)
    usual = {
        Subject.of(variant): Wanted(variant=variant, partner=None, training=training, length=_LENGTH)
        for variant in variants
        if variant.tier.device == CUDA_KIND and variant.id == f"{variant.model.id}/{Quantization.BF16}"
    }
    return list(usual.values())


def write() -> None:
    """Make the file anew. Raises HostStartError, NoStackError, PredictionError where one failed that might not fail
    again, and OSError where the file cannot be written."""
    require_stack()
    catalogue = read_catalogue()
    with HostPool() as hosts:
        predictions = Predictions(cache_folder(), hosts.ask)
        hosts.fill(predictions, list(catalogue.variants.values()))
        ask_all(catalogue, predictions)
    packages = {name: public(version) for name, version in installed_packages().items() if version is not None}
    predictions.write_shipped(shipped_root() / FILE, {name: version for name, version in packages.items() if version})


def main(arguments: Sequence[str]) -> int:
    """Say whether the file counts here, or with `--write` make it; 0 where it does, 1 where it does not, 2 for a usage
    error."""
    if arguments == ["--write"]:
        try:
            write()
        except (PlimsollError, OSError) as error:
            sys.stderr.write(f"{FILE} is not written: {error}\n")
            return 2
        return 0
    if arguments:
        sys.stderr.write(_USAGE)
        return 2
    if not (why := Shipped.read().unusable):
        return 0
    sys.stderr.write(f"{FILE} does not count here: {why}\nmake it anew: make predictions\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
