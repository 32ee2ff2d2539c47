"""Everything that the evidence of runs says about uncertainty, computed once and written in many ways."""

from __future__ import annotations

from dataclasses import dataclass

from plimsoll.evidence.record import RunRecord
from plimsoll.uncertainty.answer_sets import gather
from plimsoll.uncertainty.comparing import Compared, compare
from plimsoll.uncertainty.measuring import Result, Settings, measure
from plimsoll.uncertainty.published import PublishedFigures, published_figures
from plimsoll.uncertainty.research import TopicAnswer, answer_all


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
