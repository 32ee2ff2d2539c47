"""A user's claim that no check of the suite judges, as evidence keeps it and as a verdict, a plan and an audit tell it.

Apart from `limiting`, which finds them: whoever reads evidence needs nothing of checks and their parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from plimsoll.units import format_brief

_NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleClaim:
    """Bounds of a claim that nothing is held to, so that a run passes whatever is measured."""

    origin: str
    """The file's name and the place in it: `mine.toml: claim[0]`. Other nodes may have the file in another folder."""
    metric: str
    unit: str
    """The metric's base unit."""
    dataset: str
    """The dataset that it is about; empty for none."""
    low: float | None
    high: float | None
    """The bounds that no check judges; None for one that is missing, or is judged."""
    judged: tuple[str, ...]
    """What checks judge that is like it; the metric itself where they judge the other bound."""
    variants: tuple[str, ...]
    """Ids of their entries, without GPUs."""

    def __str__(self) -> str:
        """A sentence for readers: `no check holds load_time of tiny-llama/nf4 to at most 60 s (mine.toml: claim[0])`,
        and what follows from it."""
        more = len(self.variants) - _NAMED
        named = ", ".join(self.variants[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        bounds = (("at least", self.low), ("at most", self.high))
        told = " and ".join(f"{how} {format_brief(one, self.unit)}" for how, one in bounds if one is not None)
        on = f" on {self.dataset}" if self.dataset else ""
        text = f"no check holds {self.metric} of {named}{on} to {told} ({self.origin}), so this limits nothing"
        if self.metric in self.judged:
            return f"{text}; checks judge its {'high' if self.high is None else 'low'} bound alone"
        return f"{text}; checks judge {', '.join(self.judged)}" if self.judged else text

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; `from_json` is its inverse."""
        texts = {"origin": self.origin, "metric": self.metric, "unit": self.unit, "dataset": self.dataset}
        bounds = {"low": self.low, "high": self.high}
        return {**texts, **bounds, "judged": list(self.judged), "variants": list(self.variants)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        low, high = (None if data[name] is None else float(data[name]) for name in ("low", "high"))
        if not all(isinstance(data[name], list) for name in ("judged", "variants")):
            raise TypeError("judged and variants of a claim that is not judged are lists")
        return cls(
            origin=str(data["origin"]),
            metric=str(data["metric"]),
            unit=str(data["unit"]),
            dataset=str(data["dataset"]),
            low=low,
            high=high,
            judged=tuple(map(str, data["judged"])),
            variants=tuple(map(str, data["variants"])),
        )


def joined(claims: Iterable[IdleClaim]) -> tuple[IdleClaim, ...]:
    """Each claim once, with all variants that were told of it, and what is judged of every one of them."""
    found: dict[IdleClaim, IdleClaim] = {}
    for claim in claims:
        alike = replace(claim, judged=(), variants=())
        known = found.get(alike, claim)
        found[alike] = replace(
            claim,
            judged=tuple(metric for metric in known.judged if metric in claim.judged),
            variants=tuple(dict.fromkeys((*known.variants, *claim.variants))),
        )
    return tuple(found.values())
