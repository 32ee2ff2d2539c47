"""Is there a way to load each model, from the surest on?

Asked by name alone (`pytest -m ladder`). The rungs are those of `plimsoll ladder` (docs/ladder.md), each in a process
of its own. A rung that fails is no fault where another works: a model's float32 need not fit into RAM.
"""

from __future__ import annotations

import pytest

from fixtures.judging import Judge
from fixtures.skipping import skip_with
from plimsoll.ladder.attempt import RungOutcome
from plimsoll.ladder.climb import Climb
from plimsoll.ladder.document import attempt_to_json, lines_of
from plimsoll.ladder.rungs import RUNGS

pytestmark = pytest.mark.ladder


@pytest.mark.measures("working_rung")
def test_ladder(climbed: Climb, judge: Judge) -> None:
    """A rung beyond the dry run loads the model, and gives 10 tokens from finite logits.

    Limit: Any rung from the second on (docs/ladder.md).
    Fails when: no rung beyond the dry run works. Where the gate refuses the rungs, for want of memory say, the check
    is skipped instead.
    Do: The failure has the reason of each rung. `plimsoll ladder MODEL` tries them one by one and writes the settings
    that work as an entry.
    Symptoms: ram, gpu-memory, missing-package, too-old
    """
    working = climbed.working
    beyond = working is not None and not working.rung.is_dry_run
    refused = [one.skip for one in climbed.attempts if one.skip is not None and not one.rung.is_dry_run]
    if not beyond and refused and not any(one.outcome is RungOutcome.FAILED for one in climbed.attempts):
        skip_with(refused[0])
    told = "\n".join(line for one in climbed.attempts if one.outcome is not RungOutcome.WORKS for line in lines_of(one))
    judge.limit(
        "working_rung",
        RUNGS.index(working.rung.id) + 1 if working is not None and beyond else None,
        low=2,
        high=len(RUNGS),
        source="docs/ladder.md",
        reason=f"no rung works beyond the dry run:\n{told}",
        settings={} if working is None else working.settings,
        rungs=[attempt_to_json(one) for one in climbed.attempts],
    )
