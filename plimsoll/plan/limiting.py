"""Finds a user's claims that limit nothing, because no check judges what they speak of.

What is judged is read from the checks themselves: their marks `measures` and `only`, and the parameters that the plan
gives them. A list of its own would fall behind the checks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from plimsoll.catalogue.entries import Catalogue, Claim, Variant
from plimsoll.catalogue.expression import parse
from plimsoll.errors import PlimsollError
from plimsoll.metrics import METRICS, MetricKind
from plimsoll.plan.asking import PLANNING, Named, Pairing, Parameter, Subjects, pairings, parameters_of
from plimsoll.plan.cells import MadePlan
from plimsoll.plan.checks import FOLDER, Check, read_checks
from plimsoll.plan.idle import IdleClaim, joined

_BOTH: Final = ("low", "high")
_DATASET: Final = "dataset"
"""The one condition of a claim that a measurement itself states. Claims with others are records."""

_Judged: TypeAlias = Mapping[str, Mapping[str, set[tuple[str, str]]]]
"""Id of an entry -> metric -> what is judged of it: a bound, and the dataset that is asked, empty for none."""


def idle_of(made: MadePlan, root: Path, catalogue: Catalogue) -> tuple[IdleClaim, ...]:
    """The user's claims on variants of a plan that limit nothing."""
    parameters = (cell.parameter for cell in made.cells if cell.parameter is not None)
    return idle_claims(root, catalogue, map(_variant_of, parameters))


def _variant_of(parameter: Parameter) -> Variant | None:
    """The variant of a check, on a reference machine too."""
    pairing = parameter.values.get("pairing")
    return pairing.variant if isinstance(pairing, Pairing) else parameter.variant


def idle_claims(root: Path | None, catalogue: Catalogue, variants: Iterable[Variant | None]) -> tuple[IdleClaim, ...]:
    """The user's claims on these variants that no check of the suite under `root` judges, selected or not; none where
    only the library is here. The checks are read only for who brings claims: most runs bring none."""
    own = [claim for claim in catalogue.claims if not claim.shipped and _is_meant_as_limit(claim)]
    entries = {one.entry_id: one for one in variants if one is not None} if own else {}
    limiting = [(one, claim) for claim in own for one in entries.values() if claim in one.claims]
    if root is None or not limiting:
        return ()
    try:
        checks = read_checks(root)
    except PlimsollError:  # who plans says so
        return ()
    judged = _judged(catalogue, checks)
    found = (_idle(variant, claim, judged.get(variant.entry_id, {})) for variant, claim in limiting)
    return joined(idle for idle in found if idle is not None)


def _is_meant_as_limit(claim: Claim) -> bool:
    """True for a claim that is no record. Facts of the architecture are no limits of a measurement: an audit holds them
    against the configuration."""
    metric = METRICS[claim.metric]
    is_fact = metric.kind is MetricKind.FACT and metric.predicted is not None
    return not is_fact and claim.conditions.keys() <= {_DATASET} and claim.limits_under(claim.conditions)


def _judged(catalogue: Catalogue, checks: Sequence[Check]) -> _Judged:
    # Checks that are asked by name alone limit all the same, once they are named.
    everything = Named(marks=parse(""), paths=tuple(check.file for check in checks))
    subjects = Subjects(catalogue=catalogue, named=everything)
    found: defaultdict[str, defaultdict[str, set[tuple[str, str]]]] = defaultdict(lambda: defaultdict(set))
    for check in checks:
        for entry, dataset in _asked(check, subjects) if check.arguments_of("measures") else ():
            for metric in check.arguments_of("measures"):
                found[entry][metric] |= {(side, dataset) for side in _BOTH}
    if any(check.file == f"{FOLDER}/{PLANNING}" for check in checks):
        # A reference machine is held to what promises room: that so much is enough, never that so much is needed.
        promising = [name for name, metric in METRICS.items() if metric.promises_room]
        for pairing in pairings(catalogue):
            for name in promising:
                found[pairing.variant.id][name].add(("high", ""))
    return found


def _asked(check: Check, subjects: Subjects) -> Iterator[tuple[str, str]]:
    """The entries that a check is asked of, each with the dataset, empty for none. One whose source does not tell may
    be asked of any."""
    if check.open:
        yield from ((variant.entry_id, "") for variant in subjects.catalogue.variants.values())
        return
    parameters = parameters_of(check.wants, check.arguments_of("only"), subjects)
    for parameter in parameters[1] if parameters else ():
        if parameter.variant is not None:
            yield parameter.variant.entry_id, parameter.dataset or ""


def _idle(variant: Variant, claim: Claim, judged: Mapping[str, set[tuple[str, str]]]) -> IdleClaim | None:
    """The bounds of a claim on a variant that nothing is held to; None where there are none."""
    asked = judged.get(claim.metric, ())
    sides = {side for side, dataset in asked if claim.limits_under({_DATASET: dataset} if dataset else {})}
    low = None if "low" in sides else claim.limit_low
    high = None if "high" in sides else claim.limit_high
    if low is None and high is None:
        return None
    return IdleClaim(
        origin=f"{claim.origin.file.name}: {claim.origin.key}",
        metric=claim.metric,
        unit=claim.unit,
        dataset=str(claim.conditions.get(_DATASET, "")),
        low=low,
        high=high,
        judged=(claim.metric,) if sides else _akin(claim.metric, judged),
        variants=(variant.entry_id,),
    )


def _akin(metric: str, judged: Iterable[str]) -> tuple[str, ...]:
    """The metrics of the same unit whose names have most words in common: whoever limits `load_time` means
    `cold_load_time` or `warm_load_time`."""
    words = set(metric.split("_"))
    shared = {
        name: len(words.intersection(name.split("_")))
        for name in judged
        if name != metric and name in METRICS and METRICS[name].unit == METRICS[metric].unit
    }
    most = max(shared.values(), default=0)
    return tuple(sorted(name for name, count in shared.items() if count == most > 0))
