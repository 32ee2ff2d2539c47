"""Does memory come back when the model is dropped, and does its process end? These run last, but for what is
compared with another load of the same weights.
"""

from __future__ import annotations

from dataclasses import asdict

import psutil
import pytest

from fixtures.hosts import LoadedVariant
from fixtures.judging import Judge
from plimsoll.host.protocol import Score
from plimsoll.judge.gpu_memory import most_kept
from plimsoll.judge.own_limits import ram, vram_returned

pytestmark = pytest.mark.unload


@pytest.mark.only("as-entered")
@pytest.mark.measures("ram_returned")
def test_ram_returns(loaded: LoadedVariant, judge: Judge, parting: tuple[Score, ...]) -> None:
    """Dropping the model returns its memory to the system, but for a stated rest."""
    for question in parting:
        loaded.ask_once(question)
    answer = loaded.unload()
    judge.note("ram_after", answer.ram_loaded - answer.ram_before_load)
    device = loaded.variant.tier.device
    judge.claims(
        "ram_returned",
        answer.ram_after - answer.ram_before_load,
        otherwise=[ram("ram_returned", 0, device)],
        tensors=answer.blocks,
    )


@pytest.mark.only("gpu")
@pytest.mark.measures("vram_returned")
def test_vram_returns(loaded: LoadedVariant, judge: Judge, parting: tuple[Score, ...]) -> None:
    """Dropping the model returns its memory to each GPU, but for what libraries keep; torch's allocator is judged, on
    the GPU that keeps most, and what NVML says stands beside it."""
    for question in parting:
        loaded.ask_once(question)
    gpus = loaded.unload().gpus
    judge.claims(
        "vram_returned",
        most_kept(gpus),
        otherwise=[vram_returned()],
        reason="the host measured no GPU",
        gpus=[asdict(gpu) for gpu in gpus],
    )


@pytest.mark.only("altered-on-cpu")
@pytest.mark.measures("ram_returned")
def test_weights_are_returned(loaded: LoadedVariant, judge: Judge, parting: tuple[Score, ...]) -> None:
    """Dropping the model returns its weights to the system; code that was pulled in stays."""
    for question in parting:
        loaded.ask_once(question)
    answer = loaded.unload()
    judge.note("ram_after", answer.ram_loaded - answer.ram_before_load)
    held = answer.ram_after - answer.ram_before_load
    judge.limit("ram_returned", held, high=512 * 2**20, source="docs/synthetic-weights.md")


def test_process_is_gone(loaded: LoadedVariant, parting: tuple[Score, ...]) -> None:
    """Ending the host leaves no process behind."""
    for question in parting:
        loaded.ask_once(question)
    if loaded.pid is None:
        _ = loaded.report
    assert loaded.pid is not None, "no host was started for this variant"
    process = psutil.Process(loaded.pid)
    loaded.close()
    # psutil compares the start time too, so a number that was given to a new process does not deceive it.
    assert not process.is_running(), f"host {process.pid} is still there after it was closed"
