"""What a climb came to, for people a rung after the other, and for other tools as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from plimsoll.host.protocol import LoadReport
from plimsoll.ladder.attempt import Attempt, RungOutcome
from plimsoll.ladder.climb import Climb
from plimsoll.present.foreign_text import one_line
from plimsoll.units import format_bytes, format_seconds

SCHEMA: Final = "plimsoll/ladder/1"
_LONGEST: Final = 600


def lines_of(attempt: Attempt) -> Iterator[str]:
    """A rung with what came of it: what failed, the cause, one next step."""
    words = {RungOutcome.REFUSED: "not tried", RungOutcome.IMPLIED: "not tried"}
    yield f"{attempt.rung.id:<11}{words.get(attempt.outcome, attempt.outcome.value):<10} {attempt.rung.title}"
    if attempt.outcome is RungOutcome.WORKS and attempt.report is not None and attempt.generated is not None:
        yield f"  took:  {_cost(attempt.report)}"
        completion = attempt.generated.completions[0]
        text = repr(completion.text) if completion.text else ", ".join(map(str, completion.token_ids))
        yield (
            f"  said:  {len(completion.token_ids)} tokens in {format_seconds(attempt.generated.seconds)}: "
            + one_line(text, 200)
        )
        yield from (f"  note:  {one_line(finding, _LONGEST)}" for finding in attempt.findings)
        return
    yield f"  why:   {one_line(attempt.why, _LONGEST)}"
    if attempt.outcome is RungOutcome.IMPLIED:
        return
    if not attempt.diagnoses:
        yield "  cause: nothing that the table of symptoms knows"
        yield "  next:  read what it says above, and try the rungs that follow"
    for diagnosis in attempt.diagnoses[:1]:
        yield f"  cause: {one_line(diagnosis.cause, _LONGEST)}"
        yield f"  next:  {one_line(diagnosis.next, _LONGEST)}"
        yield f"  see:   {one_line(diagnosis.anchor, _LONGEST)}"


def _cost(report: LoadReport) -> str:
    peaks = [f"{format_bytes(gpu.allocated_peak)} of {gpu.device} at its highest" for gpu in report.gpus]
    ram = f"{format_bytes(max(0, report.memory.grown_peak))} of RAM at its highest"
    return f"{format_seconds(report.seconds)} to load, {', '.join([*peaks, ram])}, attention {report.attention}"


def conclusion(climbed: Climb) -> list[str]:
    """What works, and how to ask for it."""
    working = climbed.working
    if working is None:
        failed = [one for one in climbed.attempts if one.outcome is RungOutcome.FAILED]
        first = next((one.diagnoses[0] for one in climbed.attempts if one.diagnoses), None)
        step = f"; next: {one_line(first.next, _LONGEST)}" if first is not None else ""
        return [f"{climbed.base.model.id}: no rung works ({len(failed)} failed){step}"]
    only = ", which is the dry run alone" if working.rung.is_dry_run else ""
    return [
        f"{climbed.base.model.id}: {working.rung.id} works{only}",
        f"settings: {json.dumps(working.settings, sort_keys=True)}",
    ]


def to_json(climbed: Climb) -> dict[str, Any]:
    """The climb as JSON data: times in seconds, sizes in bytes."""
    working = climbed.working
    return {
        "schema": SCHEMA,
        "model": climbed.base.model.id,
        "works": None if working is None else working.rung.id,
        "settings": None if working is None else working.settings,
        "rungs": [attempt_to_json(attempt) for attempt in climbed.attempts],
    }


def attempt_to_json(attempt: Attempt) -> dict[str, Any]:
    """One rung as JSON data."""
    report, generated = attempt.report, attempt.generated
    return {
        "id": attempt.rung.id,
        "title": attempt.rung.title,
        "device": attempt.rung.device,
        "outcome": attempt.outcome.value,
        "settings": attempt.settings,
        "why": attempt.why,
        "diagnoses": [diagnosis.to_json() for diagnosis in attempt.diagnoses],
        "findings": list(attempt.findings),
        "load": None
        if report is None
        else {
            "seconds": round(report.seconds, 3),
            "ram_peak": report.memory.grown_peak,
            "vram_peak": {gpu.device: gpu.allocated_peak for gpu in report.gpus},
            "attention": report.attention,
            "effective": dict(report.effective),
        },
        "generated": None
        if generated is None
        else {
            "tokens": len(generated.completions[0].token_ids),
            "text": generated.completions[0].text,
            "seconds": round(generated.seconds, 3),
        },
    }
