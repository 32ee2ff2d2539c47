"""Everything that the evidence of runs says about uncertainty, computed once and written in many ways.

Figures that others published for the same models and datasets are found among the claims that a run recorded: they are
shown beside what was measured, never in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.evidence.record import RunRecord
from plimsoll.uncertainty.answer_sets import gather
from plimsoll.uncertainty.comparing import Compared, compare
from plimsoll.uncertainty.measuring import Result, Settings, measure
from plimsoll.uncertainty.research import TopicAnswer, answer_all
from plimsoll.uncertainty.scores import TokenScore

_METRIC: Final = "auroc_g_nll"
"""The metric of the claims that are read; their conditions say on which dataset, and how many samples and shots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An AUROC of G-NLL that somebody published."""

    low: float
    high: float
    """Both the same where one figure was published."""
    source: str
    conditions: Mapping[str, int | float | str]

    def __str__(self) -> str:
        return f"{self.low:.3f}" if self.low == self.high else f"{self.low:.3f} to {self.high:.3f}"


PublishedFigures = Mapping[tuple[str, str], tuple[Published, ...]]
"""(variant, dataset) -> figures."""


def published_figures(record: RunRecord) -> dict[tuple[str, str], tuple[Published, ...]]:
    """The published figures among the claims that the run recorded of its variants: those of its own catalogue, as it
    was that day. A claim with one bound alone names no figure."""
    found: dict[tuple[str, str], tuple[Published, ...]] = {}
    for variant, gate in record.gates.items():
        for claim in gate.claims:
            low, high, conditions = claim["low"], claim["high"], claim["conditions"]
            dataset = conditions.get("dataset")
            if claim["metric"] != _METRIC or low is None or high is None or not isinstance(dataset, str):
                continue
            rest = {name: value for name, value in conditions.items() if name != "dataset"}
            figure = Published(low=low, high=high, source=str(claim.get("source") or ""), conditions=rest)
            found[variant, dataset] = (*found.get((variant, dataset), ()), figure)
    return found


def beside(result: Result, figure: Published) -> str:
    """What the measured AUROC of G-NLL says of the published one, and what was asked differently."""
    ours = result.aurocs.get(TokenScore.G_NLL)
    if ours is None or ours.interval is None:
        return "not measured" + (f": {ours.reason}" if ours is not None else "")
    overlaps = ours.interval.low <= figure.high and figure.low <= ours.interval.high
    words = ["within the interval" if overlaps else "outside of the interval"]
    asked = {"samples": result.asked.asking.chosen, "shots": result.asked.asking.shots}
    words += [
        f"{name} {asked[name]} here, {value} there"
        for name, value in figure.conditions.items()
        if name in asked and asked[name] != value
    ]
    return "; ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """The whole; `results` are in the order in which they were asked."""

    run_ids: tuple[str, ...]
    setting: Settings
    results: tuple[Result, ...]
    comparisons: tuple[Compared, ...]
    answers: tuple[TopicAnswer, ...]
    published: PublishedFigures
    notes: tuple[str, ...]
    """What a reader must know: answers that were left out, faults of the evidence."""

    @property
    def unmeasured(self) -> tuple[Result, ...]:
        """Those without an AUROC of the first score."""
        return tuple(r for r in self.results if r.aurocs[self.setting.primary].value is None)


def analyse(record: RunRecord, setting: Settings | None = None) -> Analysis:
    """Analyse a record. The same evidence and setting give the same figures, to the last digit."""
    setting = setting or Settings()
    gathered = gather(record)
    results = tuple(measure(gathered.asked, setting))
    comparisons = compare(results, setting)
    return Analysis(
        run_ids=tuple(run.run_id for run in record.runs),
        setting=setting,
        results=results,
        comparisons=comparisons,
        answers=answer_all(comparisons),
        published=published_figures(record),
        notes=(*gathered.notes, *record.faults),
    )
