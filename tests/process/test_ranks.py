"""Real ranks on this processor, started by torchrun: one batch as one, and the log of a rank that dies."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from plimsoll.catalogue.entries import Generation, Quantization
from plimsoll.footprint.training import Mode, Training
from plimsoll.host.client.processor_time import ProcessorTime
from plimsoll.host.client.torchrun import RanksFailedError, run_ranks
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.ranks import RankOrder
from plimsoll.host.training import TrainingData

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


def test_a_rank_that_dies_ends_the_others_and_tells_its_log(tmp_path: Path) -> None:
    alone = replace(ORDER, data=TrainingData(batch=1, length=32))
    with pytest.raises(RanksFailedError) as error:
        run_ranks(alone, 2, tmp_path, DEADLINE)
    text = str(error.value)
    assert text.startswith("2 ranks ended with status 1\n")
    assert "rank 1:" in text
    assert "IndexError: tuple index out of range" in text


def test_ranks_that_others_keep_from_running_are_told_from_those_that_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel accounts for it: the ranks wait in the queue for nearly all of the time."""
    read = ProcessorTime.of.__func__  # type: ignore[attr-defined]
    first = ProcessorTime.of(os.getpid())
    assert first is not None
    at, all_ran = first.at, first.all_ran
    calls: list[int] = []

    def accounts(cls: type[ProcessorTime], pid: int) -> ProcessorTime | None:
        found: ProcessorTime | None = read(cls, pid)
        calls.append(pid)
        if found is None or len(calls) == 1:
            return found
        elapsed = 4.0
        busy = elapsed * (os.cpu_count() or 1)
        return replace(found, ran=0.2, waited=elapsed, at=at + elapsed, all_ran=all_ran + busy)

    monkeypatch.setattr(ProcessorTime, "of", classmethod(accounts))
    with pytest.raises(RanksFailedError, match="2 ranks did not finish in 2 s") as error:
        run_ranks(ORDER, 2, tmp_path, 2.0)
    assert str(error.value.starved).startswith("it got 5% of the processor time that it wanted")
    assert len(calls) > 1
    assert calls[0] not in calls[1:], "a rank is asked, and not torchrun, which sleeps"
