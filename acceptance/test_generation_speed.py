"""How fast does the model answer: to the first token, and from token to token, alone and eight at once."""

from __future__ import annotations

import pytest

from fixtures.benchmarks import LOAD_CLOCK
from fixtures.generation_timing import GenerationTimer
from fixtures.judging import Judge

pytestmark = [pytest.mark.generation, pytest.mark.speed]

_ALONE = 1
_TOGETHER = 8


@pytest.mark.only("as-entered")
@pytest.mark.benchmark(timer=LOAD_CLOCK.read)
@pytest.mark.measures("first_token_time")
def test_first_token_time(generation_timer: GenerationTimer, judge: Judge) -> None:
    """The time from a prompt to its first token stays within its limit."""
    generation_timer.judge_first(judge, _ALONE)


@pytest.mark.only("as-entered")
@pytest.mark.benchmark(timer=LOAD_CLOCK.read)
@pytest.mark.measures("token_time", "bandwidth_share")
def test_token_time_alone(generation_timer: GenerationTimer, judge: Judge) -> None:
    """The time of each further token of one sequence stays within its limit, and is not beyond what memory allows."""
    generation_timer.judge_steps(judge, _ALONE)


@pytest.mark.only("as-entered")
@pytest.mark.benchmark(timer=LOAD_CLOCK.read)
@pytest.mark.measures("token_time", "bandwidth_share")
def test_token_time_of_eight(generation_timer: GenerationTimer, judge: Judge) -> None:
    """The same for eight sequences at once."""
    generation_timer.judge_steps(judge, _TOGETHER)
