"""Real ranks on this processor, started by torchrun: one batch as one, and the log of a rank that dies."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from plimsoll.catalogue.entries import Generation, Quantization
from plimsoll.footprint.training import Mode, Training
from plimsoll.host.client import torchrun
from plimsoll.host.client.processor_time import ProcessorTime
from plimsoll.host.client.torchrun import RanksFailedError, _starved, run_ranks
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.ranks import RankOrder
from plimsoll.host.training import TrainingData
from tests.support.forked_ranks import torchrun_forked_from
from tests.support.forked_stacks import STACKS

CONFIG = {
    "model_type": "llama",
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SPEC = LoadSpec(
    checkpoint="made-up",
    revision=None,
    auto_class="AutoModelForCausalLM",
    architecture="LlamaForCausalLM",
    quantization=Quantization.FP32,
    device="cpu",
    device_map=None,
    attention="sdpa",
    generation=Generation(max_new_tokens=8),
    synthetic_config=CONFIG,
)
ORDER = RankOrder(spec=SPEC, kind="cpu", training=Training(mode=Mode.FULL), data=TrainingData(batch=4, length=32))
DEADLINE = 300.0


def test_two_ranks_have_the_gradients_of_one_batch(tmp_path: Path) -> None:
    answers = run_ranks(ORDER, 2, tmp_path, DEADLINE)
    assert [(answer.rank, answer.ranks, answer.local_rank) for answer in answers] == [(0, 2, 0), (1, 2, 1)]
    assert len({answer.pid for answer in answers}) == 2
    assert {answer.devices for answer in answers} == {("cpu",)}
    assert len({answer.gradients_sha256 for answer in answers}) == 1
    assert [answer.difference for answer in answers] == [0.0, 0.0]
    assert all(answer.error < 1e-5 for answer in answers)
    assert answers[0].loss != answers[1].loss, "each has sequences of its own"
    assert all(answer.parts.peak > answer.parts.weights for answer in answers)
    assert all(answer.held > answer.parts.weights for answer in answers)


def test_a_rank_that_dies_ends_the_others_and_tells_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchrun, "subprocess", torchrun_forked_from(STACKS, STACKS.address))
    alone = replace(ORDER, data=TrainingData(batch=1, length=32))
    with pytest.raises(RanksFailedError) as error:
        run_ranks(alone, 2, tmp_path, DEADLINE)
    text = str(error.value)
    assert text.startswith("2 ranks ended with status 1\n")
    assert "rank 1:" in text
    assert "IndexError: tuple index out of range" in text


def account(since: ProcessorTime, *, waited: float) -> ProcessorTime:
    """What the kernel would say four seconds later of a process that ran for .2 s, while others used all processors."""
    return replace(since, at=since.at + 4.0, ran=0.2, waited=waited, all_ran=since.all_ran + 4.0 * since.processors)


def test_a_launch_that_others_keep_from_running_is_told_from_one_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not it has come to start its ranks."""
    began: list[ProcessorTime] = []
    read = ProcessorTime.of.__func__  # type: ignore[attr-defined]

    def accounts(cls: type[ProcessorTime], pid: int) -> ProcessorTime | None:
        found: ProcessorTime | None = read(cls, pid)
        assert found is not None
        began.append(found)
        return found if len(began) == 1 else account(began[0], waited=4.0)

    monkeypatch.setattr(ProcessorTime, "of", classmethod(accounts))
    with pytest.raises(RanksFailedError, match="2 ranks did not finish in 1 s") as error:
        run_ranks(ORDER, 2, tmp_path, 1.0)
    assert str(error.value.starved).startswith("it got 5% of the processor time that it wanted")


_LAUNCHER = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"


def test_a_rank_that_others_keep_from_running_is_told_though_its_launcher_sleeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real processes; what the kernel would account for them on a busy node."""
    began = ProcessorTime.of(os.getpid())
    assert began is not None
    command = [sys.executable, "-c", _LAUNCHER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == "1\n"
        (rank,) = psutil.Process(launcher.pid).children()
        waited = {launcher.pid: 0.0, rank.pid: 4.0}
        monkeypatch.setattr(ProcessorTime, "of", lambda pid: account(began, waited=waited[pid]))
        assert str(_starved(launcher.pid, began)).startswith("it got 5% of the processor time that it wanted")
        waited[rank.pid] = 0.0
        assert _starved(launcher.pid, began) is None
        launcher.communicate("\n")
