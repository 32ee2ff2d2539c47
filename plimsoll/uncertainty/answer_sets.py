"""Collects answer sets from evidence: one for each variant that was asked one dataset.

A run that was cut short and the one that resumed it are one; independent runs are not mixed, because two machines
need not give the same answers. What is incomplete is kept and says so: leaving it out would hide it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from plimsoll.evidence.answers import AnswerRecord, Asking
from plimsoll.evidence.merge import resumers
from plimsoll.evidence.record import RunRecord

Key = tuple[str, str, str]
"""Variant, dataset, fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSet:
    """One variant that was asked one dataset, with the answers in the order of asking."""

    asking: Asking
    answers: tuple[AnswerRecord, ...]
    run_id: str
    """The runs that it is from, joined by ` + ` where one resumed another."""
    dataset: str
    """The dataset's id, with the fingerprint's beginning where the variant was asked it in several ways."""
    problem: str
    """Why no figure may be made of it; empty where every answer is there."""

    @property
    def name(self) -> str:
        """`llama-3.2-1b/bf16 on triviaqa`."""
        return f"{self.asking.variant} on {self.dataset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """All of it, in the order in which it was asked, with what a reader must know of what was left out."""

    asked: tuple[AnswerSet, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Chain:
    """A run, or one with those that resumed it, oldest first."""

    run_ids: list[str] = field(default_factory=list)
    askings: dict[Key, Asking] = field(default_factory=dict)
    answers: dict[Key, dict[int, AnswerRecord]] = field(default_factory=dict)
    replaced: Counter[Key] = field(default_factory=Counter)

    def add(self, run: RunRecord) -> None:
        self.run_ids.append(run.run_id)
        for asking in run.askings:
            self.askings[asking.variant, asking.dataset, asking.fingerprint] = asking
        for answer in run.answers:
            key = (answer.variant, answer.dataset, answer.fingerprint)
            rows = self.answers.setdefault(key, {})
            if answer.index in rows and rows[answer.index] != answer:
                self.replaced[key] += 1
            rows[answer.index] = answer

    @property
    def name(self) -> str:
        return " + ".join(self.run_ids)


def gather(record: RunRecord) -> Gathered:
    """Everything that the record holds of datasets.

    Where independent runs asked the same, the newest that is complete counts, else the one with the most answers.
    """
    chains = _chains(record.runs)
    keys = list(dict.fromkeys(key for chain in chains for key in chain.askings))
    notes = [note for chain in chains for note in _notes(chain)]
    several = Counter((variant, dataset) for variant, dataset, _ in keys)
    asked = []
    for key in keys:
        candidates = [_asked(chain, key, several[key[:2]] > 1) for chain in reversed(chains) if key in chain.askings]
        best = max(candidates, key=lambda one: (not one.problem, len(one.answers)))
        asked.append(best)
        notes += [
            f"{best.name}: also asked in {other.run_id}; {best.run_id} counts"
            for other in candidates
            if other is not best
        ]
    return Gathered(asked=tuple(asked), notes=tuple(notes))


def _chains(runs: Sequence[RunRecord]) -> list[_Chain]:
    """Oldest first, as the runs are."""
    went_on = resumers(runs)
    chains: list[_Chain] = []
    of_run: dict[str, _Chain] = {}
    for run in runs:
        chain = of_run.get(run.run_id)
        if chain is None:
            chain = _Chain()
            chains.append(chain)
        chain.add(run)
        for later in went_on.get(run.run_id, ()):
            of_run[later] = chain
    return chains


def _notes(chain: _Chain) -> Iterable[str]:
    for key, count in chain.replaced.items():
        yield f"{key[0]} on {key[1]}: {count} questions have two different answers in {chain.name}; the later counts"
    for key, rows in chain.answers.items():
        if key not in chain.askings:
            yield f"{key[0]} on {key[1]}: {len(rows)} answers in {chain.name} lack the line that says what was asked"


def _asked(chain: _Chain, key: Key, several: bool) -> AnswerSet:
    asking = chain.askings[key]
    rows = chain.answers.get(key, {})
    return AnswerSet(
        asking=asking,
        answers=tuple(rows[index] for index in sorted(rows)),
        run_id=chain.name,
        dataset=f"{asking.dataset} #{asking.fingerprint[:8]}" if several else asking.dataset,
        problem=_problem(asking, rows),
    )


def _problem(asking: Asking, rows: dict[int, AnswerRecord]) -> str:
    if asking.chosen == 0:
        return "no question was asked"
    if beyond := [index for index in rows if not 0 <= index < asking.chosen]:
        return f"there is an answer to question {beyond[0]}, and {asking.chosen} were asked"
    missing = [index for index in range(asking.chosen) if index not in rows]
    if missing:
        return f"{len(rows)} of {asking.chosen} answers are there; the first that is missing is that to {missing[0]}"
    if broken := sum(not row.finite for row in rows.values()):
        return f"{broken} of {asking.chosen} answers were made from logits that were NaN or infinite"
    return ""
