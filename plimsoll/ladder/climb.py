"""Climbs the ladder: rung after rung, each in a host of its own, until one works."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from plimsoll.catalogue.entries import Symptom, Variant
from plimsoll.errors import PlimsollError
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.host.client.process import Host
from plimsoll.host.failures import HostFailure, HostStartError
from plimsoll.host.protocol import Call, Generate, Load, LoadSpec, Prompt, Unload
from plimsoll.judge.load import unheeded
from plimsoll.ladder.attempt import (
    Attempt,
    RungOutcome,
    failed,
    implied,
    incomplete,
    not_numbers,
    refused,
    too_short,
    worked,
)
from plimsoll.ladder.rungs import BF16, FP16, RUNGS, TOKENS, Room, Rung, best_dtype, rung, variant_on, weight_bytes

QUESTION: Final = "The capital of France is"
IDS: Final[Prompt] = (5, 6, 7, 8, 9, 10)
"""For a model without a tokenizer."""

Specify = Callable[[Variant], LoadSpec]
"""The request to load a variant. Raises PlimsollError where its weights cannot be had."""
Start = Callable[[str], Host]
"""A fresh host by a name. Raises HostStartError."""
Gate = Callable[[Variant], Skip | str | None]
"""Why a variant cannot run here; None where it can, or nobody knows."""
Tell = Callable[[Attempt], None]
Trying = Callable[[Rung], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """What climbing needs to know, and the ways to ask."""

    base: Variant
    """The entry: its model, its quantization, what it sets beside."""
    device: str
    """`cpu` or `cuda`, for all rungs but the dry run."""
    room: Room
    given: Mapping[str, Any]
    """Settings of the user's own, over those of every rung."""
    scratch: str
    """A folder for weights that go to a disk."""
    start: Start
    specify: Specify
    gate: Gate
    symptoms: Sequence[Symptom] | None = None
    """The catalogue's; None for the shipped ones."""
    ram: int | None = None
    """Bytes that each host may take beside what it has when it starts; None for all there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """All rungs that were come to, in their order."""

    base: Variant
    attempts: tuple[Attempt, ...]

    @property
    def working(self) -> Attempt | None:
        """The first rung that works; the dry run only where no other does."""
        good = [attempt for attempt in self.attempts if attempt.outcome is RungOutcome.WORKS]
        return next((attempt for attempt in good if not attempt.rung.is_dry_run), good[0] if good else None)


def climb(
    ladder: Ladder,
    *,
    every: bool = False,
    tell: Tell = lambda _: None,
    trying: Trying = lambda _: nullcontext(),
) -> Climb:
    """Try the rungs, up to the first that works after the dry run, or all of them; `tell` hears of each at once, and
    `trying` is entered while one is tried."""
    attempts: list[Attempt] = []
    for attempt in _attempts(ladder, attempts, trying):
        attempts.append(attempt)
        tell(attempt)
        if attempt.outcome is RungOutcome.WORKS and not attempt.rung.is_dry_run and not every:
            break
    return Climb(base=ladder.base, attempts=tuple(attempts))


def _attempts(ladder: Ladder, before: Sequence[Attempt], trying: Trying) -> Iterator[Attempt]:
    for name in RUNGS:
        numbers = [one.dtype for one in before if one.is_of_numbers]
        unsupported = [
            one.dtype for one in before if one.is_of_dtype or (one.outcome is RungOutcome.REFUSED and _lacks(one))
        ]
        dtype = best_dtype(numbers, unsupported)
        step = rung(name, ladder.device, ladder.room, dtype, ladder.scratch, ladder.given)
        why = why_implied(step, before, ladder)
        if why:
            yield implied(step, why)
            continue
        with trying(step):
            attempt = _attempt(ladder, step)
        yield attempt


def _lacks(attempt: Attempt) -> bool:
    """True for a rung that the gate refused for what its dtype asks of a GPU."""
    return any(diagnosis.symptom in ("unsupported-dtype", "unsupported-gpu") for diagnosis in attempt.diagnoses)


def why_implied(step: Rung, before: Sequence[Attempt], ladder: Ladder) -> str:
    """Why a rung would fail as an earlier one did; empty where that is not known."""
    for one in before:
        if one.outcome in (RungOutcome.WORKS, RungOutcome.IMPLIED):
            continue
        if one.of_the_checkpoint:
            return f"{one.rung.id} failed for what no setting of a load changes"
        if one.of_the_settings:
            return f"{one.rung.id} failed for a setting that stands over this rung too: mend it, and climb again"
        if one.is_of_numbers:
            if one.dtype == "float32":
                return f"{one.rung.id} computed no numbers in float32, and fewer bits make none of them"
            if one.dtype == step.settings.dtype:
                return f"{one.rung.id} computed no numbers in {one.dtype}, wherever the weights lie"
            if one.rung.id == BF16 and step.id == FP16:
                return "bf16 computed no numbers, and float16 has a smaller range"
        if one.is_of_memory and one.rung.device == step.device and not step.is_planned and not one.rung.is_planned:
            took, takes = (_bytes(ladder, each) for each in (one.rung, step))
            if takes >= took:
                return f"{one.rung.id} ran out of memory on the same device, with weights that are no larger"
        same_attention = one.rung.settings.attention == step.settings.attention
        if same_attention and "attention" in one.why and _names(one.why, step.settings.attention):
            return f"{one.rung.id} failed because the class has no {step.settings.attention} attention"
    return ""


def _names(why: str, attention: str | None) -> bool:
    """True where a failure says that the class does not have an attention."""
    told = why.lower()
    return bool(attention) and ("does not support" in told or "has no" in told) and attention != "eager"


def _bytes(ladder: Ladder, step: Rung) -> int:
    """The relative size of weights, by their dtype; exact figures are not needed to compare."""
    return weight_bytes(ladder.base.quantization, 1, step.settings.dtype or "bfloat16") or 1


def _attempt(ladder: Ladder, step: Rung) -> Attempt:
    variant = variant_on(ladder.base, step)
    decision = ladder.gate(variant)
    # Within limits, what does not fit goes to RAM and to a disk: that is what such a rung tries.
    within = isinstance(decision, Skip) and decision.code in (SkipCode.RAM, SkipCode.VRAM) and step.is_planned
    if decision is not None and not within:
        return refused(step, decision, ladder.symptoms)
    try:
        spec = ladder.specify(variant)
    except PlimsollError as error:
        attempt = refused(step, str(error), ladder.symptoms)
        return Attempt(
            rung=step,
            outcome=RungOutcome.FAILED,
            why=attempt.why,
            diagnoses=attempt.diagnoses,
            of_the_checkpoint=True,
            settings=attempt.settings,
        )
    try:
        host = ladder.start(variant.id)
    except HostStartError as failure:
        return failed(step, failure, ladder.symptoms)
    try:
        return _asked(ladder, step, variant, spec, host)
    except HostFailure as failure:
        return failed(step, failure, ladder.symptoms)
    finally:
        host.close()


def _asked(ladder: Ladder, step: Rung, variant: Variant, spec: LoadSpec, host: Host) -> Attempt:
    """Load, validate with a few tokens, unload. Raises HostFailure."""
    tier = variant.tier
    if ladder.ram is not None:
        limit = Call(target="plimsoll.host.server.linux:limit_memory", arguments={"size": ladder.ram})
        host.ask(limit, deadline=tier.request_deadline)
    report = host.ask(Load(spec=spec), deadline=tier.load_deadline)
    if (less := incomplete(step, report, ladder.symptoms)) is not None:
        return less
    question = IDS if spec.is_synthetic else QUESTION
    asked = Generate(questions=(question,), max_new_tokens=TOKENS, past_ends=True)
    generated = host.ask(asked, deadline=tier.request_deadline)
    if not generated.finite:
        return not_numbers(step, report, generated)
    if (short := too_short(step, report, generated)) is not None:
        return short
    host.ask(Unload(), deadline=tier.request_deadline)
    findings = unheeded(variant, report)
    if report.attention != variant.attention:
        findings.append(f"{variant.attention} attention was asked for, and {report.attention} is in use")
    return worked(step, report, generated, findings)
