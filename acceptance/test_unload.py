"""Does memory come back when the model is dropped, and does its process end?

These checks run last, before only what is compared with another load of the same weights.
"""

from __future__ import annotations

from dataclasses import asdict

import psutil
import pytest

from fixtures.judging import Judge
from fixtures.loaded import LoadedVariant
from plimsoll.host.protocol import Score
from plimsoll.judge.gpu_memory import most_kept
from plimsoll.judge.own_limits import ram, vram_returned

pytestmark = pytest.mark.unload


@pytest.mark.only("as-entered")
@pytest.mark.measures("ram_returned")
def test_ram_returns(loaded: LoadedVariant, judge: Judge, parting: tuple[Score, ...]) -> None:
    """Dropping the model returns its memory to the system, except for a stated rest.

    Limit: A claim, else what does not depend on the weights: code stays, weights must not (docs/limits.md).
    Fails when: more memory is still held after unloading.
    Do: The evidence counts the tensors that are still alive. Something keeps a reference to the model, often a cache
    or a hook of its remote code.
    Symptoms: memory-figure, remote-code
    """
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
    """Dropping the model returns its memory to each GPU, except for what libraries keep. What torch's allocator still
    holds is judged on the GPU that keeps most; NVML's figure is recorded beside it.

    Limit: A claim, else the workspaces of libraries (docs/limits.md).
    Fails when: more is still allocated after unloading, or no GPU was measured.
    Do: Something keeps a reference to the model, often a cache or a hook of its remote code. Serve such a model from
    a process that ends with it.
    Symptoms: memory-figure, remote-code
    """
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
    """Dropping the model returns its weights to the system; code that was pulled in stays.

    Limit: At most 512 MiB still held (docs/synthetic-weights.md).
    Fails when: more memory is still held after unloading.
    Do: As for test_ram_returns: something keeps a reference to the model.
    Symptoms: memory-figure
    """
    for question in parting:
        loaded.ask_once(question)
    answer = loaded.unload()
    judge.note("ram_after", answer.ram_loaded - answer.ram_before_load)
    held = answer.ram_after - answer.ram_before_load
    judge.limit("ram_returned", held, high=512 * 2**20, source="docs/synthetic-weights.md")


def test_process_is_gone(loaded: LoadedVariant, parting: tuple[Score, ...]) -> None:
    """Ending the host leaves no process behind.

    Limit: No process: the suite's own rule.
    Fails when: the process of the model still runs after it was closed.
    Do: Look with `ps` what it waits for: a process in state D hangs in the driver or the file system, so see `dmesg`.
    End it before you start another run.
    Symptoms: hang, gpu-broken
    """
    for question in parting:
        loaded.ask_once(question)
    if loaded.pid is None:
        _ = loaded.report
    assert loaded.pid is not None, "no host was started for this variant"
    process = psutil.Process(loaded.pid)
    loaded.close()
    # psutil compares the start time too, so a number that was given to a new process does not deceive it.
    assert not process.is_running(), f"host {process.pid} is still there after it was closed"
