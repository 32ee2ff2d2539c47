"""What is done of a campaign, and what comes next in the time that is left.

Each step keeps a file of its own, so that whoever comes after a kill, another slice of time or another machine goes on
where the last one stopped. The file says what was tried; that a step is done, its evidence says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from benchmarks.campaign.stages import Stage, Step
from plimsoll.errors import PlimsollError
from plimsoll.evidence.reader import EVIDENCE_FILE, read_run
from plimsoll.verdict.cells import CellOutcome
from plimsoll.verdict.verdict import Verdict, reach_verdict

STATE: Final = "step.json"
_LEAST: Final = 60
"""Seconds in which a step of many small checks gets somewhere."""


class Progress(StrEnum):
    """How far a step has come."""

    NOT_RUN = "not run"
    STOPPED = "stopped"
    """It ran out of time or was killed, and a next run goes on with it."""
    DONE = "done"
    UNEXPECTED = "done, not as it should be"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """What is known of a step: its file."""

    command: str = ""
    attempts: int = 0
    seconds: float = 0
    """Of all attempts together, but for those in which the campaign itself was killed."""
    exit: int | None = None
    """Of the last attempt; None while it runs, and where it was killed."""
    said: str = ""
    """The verdict in one line, or what went wrong."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The state that a step's folder holds; that of a step which was never run where it holds none. Raises
        PlimsollError where it cannot be understood."""
        try:
            return cls(**json.loads((folder / STATE).read_text("utf-8")))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError) as error:
            raise PlimsollError(
                f"{folder / STATE} cannot be read ({error}); delete {folder} to run the step anew"
            ) from None

    def write(self, folder: Path) -> None:
        """Keep it, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{STATE}"
        part.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")
        os.replace(part, folder / STATE)  # noqa: PTH105  replaces, as Path.rename promises on Linux alone


def verdict_of(run: Path) -> Verdict | None:
    """The verdict on the evidence in a folder; None where it has none that can be read."""
    if not (run / EVIDENCE_FILE).is_file():
        return None
    try:
        return reach_verdict(read_run(run, alone=True))
    except PlimsollError:
        return None


def is_whole(verdict: Verdict) -> bool:
    """True where every planned check was at least tried, and the evidence has no fault. A check that the gate turned
    away would be turned away again, and where nothing was planned nothing will be."""
    return not verdict.count(CellOutcome.NOT_RUN) and not verdict.faults


def is_expected(step: Step, verdict: Verdict) -> bool:
    """True where the run came to what it had to, and for the reason that it had to."""
    reasons = (result.reason for result in verdict.results if result.outcome is CellOutcome.FAIL)
    return verdict.word in step.verdicts and (not step.because or any(step.because in reason for reason in reasons))


def progress_of(step: Step, out: Path) -> Progress:
    """How far a step has come, by what its folder under `out` holds."""
    folder = out / step.id
    state = StepState.read(folder)
    if step.output and state.exit in (0, 1) and _is_told(folder / step.output):
        return Progress.UNEXPECTED if state.exit else Progress.DONE
    verdict = verdict_of(folder)
    if verdict is not None and is_whole(verdict):
        return Progress.DONE if is_expected(step, verdict) else Progress.UNEXPECTED
    return Progress.STOPPED if state.attempts else Progress.NOT_RUN


def left_of(stages: Iterable[Stage], out: Path, *, rehearse: bool) -> list[Step]:
    """The steps that are still to be run, those that are worth most first; without those that have no rehearsal, in
    one."""
    steps = [step for stage in stages for step in stage.steps if step.command(rehearse=rehearse)]
    left = [step for step in steps if progress_of(step, out) in (Progress.NOT_RUN, Progress.STOPPED)]
    return sorted(left, key=lambda step: -step.worth)


def next_step(left: Sequence[Step], seconds: float, tried: Iterable[str] = ()) -> Step | None:
    """The step that is worth most of those that fit into the seconds that are left; None where none does.

    What comes in many small checks fits into any minute. `tried` are those that this run has tried already.
    """
    tried = set(tried)
    for step in left:
        if step.id in tried:
            continue
        enough = _LEAST if step.divisible else 60 * step.minutes
        if enough <= seconds:
            return step
    return None


def _is_told(path: Path) -> bool:
    """True for a file that holds what a command had to say: of JSON, all of it."""
    try:
        text = path.read_text("utf-8")
        return bool(json.loads(text) if path.suffix == ".json" else text.strip())
    except (OSError, ValueError):
        return False
