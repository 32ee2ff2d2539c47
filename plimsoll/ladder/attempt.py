"""What came of a rung: that it works, why it failed, or why it was not tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from plimsoll.catalogue.entries import Symptom
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.host.failures import HostDied, HostError, HostFailure, HostStartError
from plimsoll.host.protocol import Generated, LoadReport
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.ladder.rungs import TOKENS, Rung
from plimsoll.symptoms.recognise import Diagnosis, Seen, recognise

PAGE: Final = "docs/ladder.md"
NUMBERS: Final = "not-finite"
"""Our own name of a rung that computes, and not numbers."""
_OF_THE_CHECKPOINT: Final = frozenset(
    {
        LoadFailure.NOT_FOUND,
        LoadFailure.DAMAGED,
        LoadFailure.PICKLE,
        LoadFailure.SHAPE,
        LoadFailure.TOKENIZER,
    }
)
_SYMPTOMS_OF_THE_CHECKPOINT: Final = frozenset(
    {
        *("licence", "not-logged-in", "wrong-id", "pointer-file", "corrupt-file", "index-mismatch", "wrong-shape"),
        *("new-weights", "pickle", "other-format", "packed-already", "missing-file", "tokenizer-missing"),
        *("tokenizer-mismatch", "remote-code", "too-old", "too-new", "missing-package", "missing-library"),
    }
)
"""What is wrong with files, packages or rights: no setting of a load mends it."""
_WHATEVER_IS_SET: Final = frozenset(
    {
        *(SkipCode.PACKAGE, SkipCode.WEIGHTS, SkipCode.OFFLINE, SkipCode.NOT_LOGGED_IN, SkipCode.LICENCE_NOT_ACCEPTED),
        *(SkipCode.WRONG_ID, SkipCode.RATE_LIMITED),
    }
)
"""Why the gate lets no rung through, whatever its settings."""
_OF_MEMORY: Final = frozenset({"ram", "gpu-memory", "group-memory"})


class RungOutcome(StrEnum):
    """How a rung ended."""

    WORKS = "works"
    FAILED = "failed"
    REFUSED = "refused"
    """By the gate: it was predicted not to fit, or the node lacks something."""
    IMPLIED = "implied"
    """Not tried, because an earlier failure says that it would fail too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A rung and what came of it."""

    rung: Rung
    outcome: RungOutcome
    why: str = ""
    """Empty for one that works."""
    diagnoses: tuple[Diagnosis, ...] = ()
    of_the_checkpoint: bool = False
    """True where no setting can mend what failed."""
    of_the_settings: bool = False
    """True where a setting was refused that stands over every rung."""
    report: LoadReport | None = None
    generated: Generated | None = None
    findings: tuple[str, ...] = ()
    """What is to be known of one that works: settings without effect."""
    skip: Skip | None = None
    """The gate's decision, where that was it."""
    settings: dict[str, Any] = field(default_factory=dict)
    """As they were asked, in the spelling of --load-config."""

    @property
    def dtype(self) -> str:
        """The dtype that was computed in."""
        return self.rung.settings.dtype or ""

    @property
    def is_of_memory(self) -> bool:
        """True where memory ran out, or was predicted to."""
        return any(diagnosis.symptom in _OF_MEMORY for diagnosis in self.diagnoses)

    @property
    def is_of_numbers(self) -> bool:
        """True where it computed what is no number."""
        return any(diagnosis.symptom == NUMBERS for diagnosis in self.diagnoses)

    @property
    def is_of_dtype(self) -> bool:
        """True where the device or the stack has no such dtype."""
        return any(diagnosis.symptom == "unsupported-dtype" for diagnosis in self.diagnoses)


def worked(rung: Rung, report: LoadReport, generated: Generated, findings: Sequence[str]) -> Attempt:
    """A rung that loaded and validated."""
    return Attempt(
        rung=rung,
        outcome=RungOutcome.WORKS,
        report=report,
        generated=generated,
        findings=tuple(findings),
        settings=dict(rung.settings.given),
    )


def not_numbers(rung: Rung, report: LoadReport, generated: Generated) -> Attempt:
    """A rung whose logits were NaN or infinite."""
    dtype = rung.settings.dtype or "its dtype"
    small = dtype == "float16"
    cause = (
        "float16 ends at 65,504, and what this model computes goes beyond it"
        if small
        else "the weights hold NaN or infinities, or what is computed from them overflows"
    )
    step = (
        "load it in bfloat16, which has the range of float32"
        if small
        else "fetch the checkpoint again, and hold it against its maker's hashes"
    )
    told = Diagnosis(
        symptom=NUMBERS,
        title=f"What is computed in {dtype} is no number",
        cause=cause,
        next=step,
        anchor=f"{PAGE}#not-finite",
        seen="raw logits that are NaN or infinite",
    )
    return Attempt(
        rung=rung,
        outcome=RungOutcome.FAILED,
        why=f"raw logits were NaN or infinite within {len(generated.completions[0].token_ids)} tokens",
        diagnoses=(told,),
        report=report,
        generated=generated,
        settings=dict(rung.settings.given),
    )


def too_short(rung: Rung, report: LoadReport, generated: Generated) -> Attempt | None:
    """A rung that gave fewer tokens than it was asked for, past every end; None for one that gave all. Of none at all
    no logit was looked at, so that nothing was found to be wrong with any."""
    given = [len(completion.token_ids) for completion in generated.completions]
    if given and min(given) >= TOKENS:
        return None
    return Attempt(
        rung=rung,
        outcome=RungOutcome.FAILED,
        why=f"gave {min(given, default=0)} of {TOKENS} tokens, though it was to go on past every end",
        report=report,
        generated=generated,
        settings=dict(rung.settings.given),
    )


def incomplete(rung: Rung, report: LoadReport, symptoms: Sequence[Symptom] | None) -> Attempt | None:
    """A rung that loaded less than the model; None for one that is whole."""
    missing = [*report.missing_keys, *report.mismatched_keys] or [*report.meta_parameters]
    if not missing:
        return None
    named = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
    absent = bool(report.missing_keys or report.mismatched_keys)
    why = f"{'not in the checkpoint, so randomly initialised' if absent else 'never materialised'}: {named}"
    return Attempt(
        rung=rung,
        outcome=RungOutcome.FAILED,
        why=why,
        diagnoses=recognise(Seen(text=why), symptoms),
        of_the_checkpoint=True,
        report=report,
        settings=dict(rung.settings.given),
    )


def failed(rung: Rung, failure: HostFailure | HostStartError, symptoms: Sequence[Symptom] | None) -> Attempt:
    """A rung that raised, died or hung."""
    mistake = failure.__cause__ if isinstance(failure, HostError) else None
    text = str(failure)
    signal = (failure.signal or "") if isinstance(failure, HostDied) else ""
    kinds = (failure.raised.kind,) if isinstance(failure, HostError) and mistake is None else ()
    diagnoses = recognise(Seen(text=text, exceptions=kinds, signal=signal), symptoms)
    told = {diagnosis.symptom for diagnosis in diagnoses}
    of_files = isinstance(mistake, LoadFailed) and mistake.kind in _OF_THE_CHECKPOINT
    return Attempt(
        rung=rung,
        outcome=RungOutcome.FAILED,
        why=_short(text),
        diagnoses=diagnoses,
        of_the_checkpoint=of_files or bool(told & _SYMPTOMS_OF_THE_CHECKPOINT),
        of_the_settings=isinstance(mistake, LoadFailed) and mistake.kind is LoadFailure.OPTIONS,
        settings=dict(rung.settings.given),
    )


def refused(rung: Rung, skip: Skip | str, symptoms: Sequence[Symptom] | None) -> Attempt:
    """A rung that the gate did not let through."""
    evidence = {"skip": skip.code.value} if isinstance(skip, Skip) else {}
    return Attempt(
        rung=rung,
        outcome=RungOutcome.REFUSED,
        why=_short(str(skip)),
        diagnoses=recognise(Seen(text=str(skip), evidence=evidence), symptoms),
        of_the_checkpoint=isinstance(skip, Skip) and skip.code in _WHATEVER_IS_SET,
        skip=skip if isinstance(skip, Skip) else None,
        settings=dict(rung.settings.given),
    )


def implied(rung: Rung, why: str) -> Attempt:
    """A rung that was not tried, because it would fail."""
    return Attempt(rung=rung, outcome=RungOutcome.IMPLIED, why=why, settings=dict(rung.settings.given))


_LONGEST: Final = 1_500


def _short(text: str) -> str:
    """What a failure says, without the stacks that its log has: the first lines, and the last of a traceback."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    kept = lines if len(lines) <= 6 else [*lines[:2], "...", *lines[-3:]]
    told = "\n".join(kept)
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]}..."
