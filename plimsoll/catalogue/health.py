"""Reads the rules for GPU health from `catalogue/health/health.toml`: the limits of counters, and what to do beyond
them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.files import shipped_root

_FILE: Final = "health/health.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterRule:
    """One counter of a GPU; without bounds it is reported and never judged."""

    id: str
    group: str
    """The check that judges it: `ecc`, `remapped_rows`, `throttle`, `links`."""
    meaning: str
    unit: str = "1"
    """`1` for a count, `ns` for a time that NVML adds up."""
    most: int | None = None
    rise: int | None = None
    """How much it may grow while the suite runs."""
    rise_per_second: float | None = None
    action: str = ""
    source: str = ""
    needs_ecc: bool = False
    """True for a counter that only GPUs with ECC have."""
    needs_nvlink: int = 0
    """NVML's number for the first version of NVLink that has the counter; 0 for all that is no such counter."""

    @property
    def is_judged(self) -> bool:
        """True where the counter has a bound."""
        return not (self.most is None and self.rise is None and self.rise_per_second is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class XidClass:
    """What NVIDIA says about some Xid codes."""

    name: str
    codes: frozenset[int]
    fails: bool
    action: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SXidClass:
    """What to do about an SXid, which says itself how grave it is; no action where it is told alone."""

    says: str
    source: str
    action: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRule:
    """What to do with a GPU that fails a check of a figure."""

    metric: str
    action: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What a value or a bit of NVML means, and what to do; no action where nothing is wrong."""

    value: int
    says: str
    action: str = ""
    source: str = "NVML, nvmlDeviceGetFieldValues: NVML_FI_DEV_GET_GPU_RECOVERY_ACTION (230)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRules:
    """All rules of the file."""

    actions: Mapping[str, str]
    """Action -> what it does, mildest first."""
    counters: Mapping[str, CounterRule]
    figures: Mapping[str, FigureRule]
    recovery: Mapping[int, Advice]
    reasons: tuple[Advice, ...]
    xids: tuple[XidClass, ...]
    sxids: Mapping[str, SXidClass]
    """By the word of the line, in lower case."""

    def xid(self, code: int) -> XidClass | None:
        """The class of an Xid; None for an unknown code."""
        return next((each for each in self.xids if code in each.codes), None)

    def remedy(self, metric: str) -> str:
        """What to do with a GPU that fails this metric, such as `drain: take the node ...`; empty where the file does
        not say."""
        rule = self.figures.get(metric)
        return "" if rule is None else f"{rule.action}: {self.actions[rule.action]}"

    def gravest(self, actions: Iterable[str]) -> str:
        """The gravest of some actions; empty where there is none."""
        order = list(self.actions)
        return max((action for action in actions if action), key=order.index, default="")


@cache
def read_health(root: Path | None = None) -> HealthRules:
    """The shipped rules. Raises OSError, ValueError, TypeError or KeyError where the installation lacks them, where two
    say different things of one counter or code, or a bound has no action or no source."""
    data = tomllib.loads(((root or shipped_root()) / _FILE).read_text(encoding="utf-8"))
    rules = HealthRules(
        actions={each["id"]: each["does"] for each in data["action"]},
        counters={each["id"]: CounterRule(**each) for each in data["counter"]},
        figures={each["metric"]: FigureRule(**each) for each in data["figure"]},
        recovery={each["value"]: Advice(**each) for each in data["recovery"]},
        reasons=tuple(
            Advice(value=each["bit"], says=each["says"], action=each["action"], source=each["source"])
            for each in data["reason"]
        ),
        xids=tuple(_xid_class(each) for each in data["xid"]),
        sxids={each["says"]: SXidClass(**each) for each in data["sxid"]},
    )
    _refuse_doubt(data, rules)
    return rules


def _xid_class(each: Mapping[str, Any]) -> XidClass:
    return XidClass(
        name=each["class"],
        codes=frozenset(each["codes"]),
        fails=each["fails"],
        action=each.get("action", ""),
        source=each["source"],
    )


def _refuse_doubt(data: Mapping[str, Any], rules: HealthRules) -> None:
    if len(rules.counters) != len(data["counter"]):
        raise ValueError(f"{_FILE}: a counter is there twice")
    if len(rules.figures) != len(data["figure"]):
        raise ValueError(f"{_FILE}: a figure is there twice")
    codes = [code for each in rules.xids for code in each.codes]
    if len(codes) != len(set(codes)):
        raise ValueError(f"{_FILE}: an Xid is in two classes")
    for rule in rules.counters.values():
        if rule.is_judged and not (rule.action and rule.source):
            raise ValueError(f"{_FILE}: {rule.id} has a bound, and no action or no source")
    named = [rule.action for rule in rules.counters.values()]
    named += [each.action for each in rules.figures.values()]
    named += [each.action for each in (*rules.recovery.values(), *rules.reasons)]
    named += [each.action for each in rules.xids]
    named += [each.action for each in rules.sxids.values()]
    if unknown := {action for action in named if action} - rules.actions.keys():
        raise ValueError(f"{_FILE}: {min(unknown)!r} is no action")
