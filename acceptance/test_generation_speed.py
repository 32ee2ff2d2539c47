"""How fast does the model answer: to the first token, and from token to token, alone and eight at once?"""

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
    """The first token comes within its limit after the prompt.

    Limit: A claim, else the limit for a token times the tokens of the prompt (docs/limits.md).
    Fails when: the median time is over the limit, or nothing was measured.
    Do: See whether test_bandwidth and test_matmul pass: a slow device makes a slow model. Then look for other load on
    the node, and for layers that were placed on the CPU (test_placed_as_asked).
    Symptoms: busy, gpu-memory
    """
    generation_timer.judge_first(judge, _ALONE)


@pytest.mark.only("as-entered")
@pytest.mark.benchmark(timer=LOAD_CLOCK.read)
@pytest.mark.measures("token_time", "bandwidth_share")
def test_token_time_alone(generation_timer: GenerationTimer, judge: Judge) -> None:
    """Each further token of one sequence comes within its limit, and no faster than memory allows.

    Limit: A claim, else a multiple of what the measured bandwidth takes to read the weights (docs/limits.md). A share
    of that bandwidth over one would mean that the model did not compute.
    Fails when: a token takes longer, or less time than reading its weights takes.
    Do: Too slow: look at test_bandwidth, other load and layers on the CPU. Too fast: part of the model was not read,
    so look at test_loads_completely and test_stored_bytes.
    Symptoms: busy, gpu-memory
    """
    generation_timer.judge_steps(judge, _ALONE)


@pytest.mark.only("as-entered")
@pytest.mark.benchmark(timer=LOAD_CLOCK.read)
@pytest.mark.measures("token_time", "bandwidth_share")
def test_token_time_of_eight(generation_timer: GenerationTimer, judge: Judge) -> None:
    """Each further token of eight sequences at once comes within its limit, and no faster than memory allows.

    Limit: As for one sequence: a claim, else the suite's own limit (docs/limits.md).
    Fails when: a token takes longer, or less time than reading the weights takes.
    Do: Compare with test_token_time_alone. If one sequence is fast and eight are slow, look at memory that is nearly
    full and at the attention in use.
    Symptoms: busy, gpu-memory
    """
    generation_timer.judge_steps(judge, _TOGETHER)
