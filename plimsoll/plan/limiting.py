"""Tells which figures of each variant are judged, so that a claim that would limit nothing is refused when it is read.

What is judged is read from the checks themselves: their marks `measures` and `only`, and the parameters that the plan
gives them. A list of its own would fall behind the checks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from plimsoll.catalogue.entries import Catalogue
from plimsoll.catalogue.expression import parse
from plimsoll.catalogue.reader import Judging, Sides
from plimsoll.errors import PlimsollError
from plimsoll.metrics import METRICS
from plimsoll.plan.asking import PLANNING, Named, Subjects, pairings, parameters_of
from plimsoll.plan.checks import FOLDER, Check, read_checks
from plimsoll.suite import suite_root

_BOTH: Final = frozenset({"low", "high"})


def suite_judging() -> Judging | None:
    """What the suite judges; None where only the library is here."""
    root = suite_root()
    return None if root is None else judging_of(root)


def judging_of(root: Path) -> Judging:
    """What the checks under `root` judge. Their source is read once somebody asks: most runs bring no claims."""

    def judging(catalogue: Catalogue) -> Mapping[str, Mapping[str, Sides]] | None:
        try:
            checks = read_checks(root)
        except PlimsollError:  # the plan says so
            return None
        return None if any(check.open for check in checks) else _judged(catalogue, checks)

    return judging


def _judged(catalogue: Catalogue, checks: Sequence[Check]) -> Mapping[str, Mapping[str, Sides]]:
    # Checks that are asked by name alone limit all the same, once they are named.
    everything = Named(marks=parse(""), paths=tuple(check.file for check in checks))
    subjects = Subjects(catalogue=catalogue, named=everything)
    found: defaultdict[str, dict[str, Sides]] = defaultdict(dict)
    if any(check.file == f"{FOLDER}/{PLANNING}" for check in checks):
        # A reference machine is held to what promises room: that so much is enough, never that so much is needed.
        promising = [name for name, metric in METRICS.items() if metric.promises_room]
        for pairing in pairings(catalogue):
            found[pairing.variant.id].update(dict.fromkeys(promising, frozenset({"high"})))
    for check in checks:
        metrics = check.arguments_of("measures")
        parameters = parameters_of(check.wants, check.arguments_of("only"), subjects) if metrics else None
        for parameter in parameters[1] if parameters else ():
            if parameter.variant is not None:
                found[parameter.variant.id].update(dict.fromkeys(metrics, _BOTH))
    return found
