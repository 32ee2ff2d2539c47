"""Do several ranks train one model as one, started by torchrun, each on its own device?

Asked by name alone (`pytest -m ddp`). GPUs are joined by NCCL. On a processor two ranks are joined by gloo, so that the
same code is tried there.
"""

from __future__ import annotations

import pytest

from fixtures.judging import Judge
from fixtures.ranks import RankTrainer
from plimsoll.judge.own_limits import one_update
from plimsoll.node.devices import CPU_KIND
from plimsoll.plan.cases import DeviceCase

pytestmark = pytest.mark.ddp


@pytest.mark.measures("replica_peak")
def test_each_rank_on_its_device(replicas: DeviceCase, rank_trainer: RankTrainer, judge: Judge) -> None:
    """Every rank keeps its weights on the device of its number alone, no two ranks share a GPU, and each takes as
    much memory as the others.

    Limit: Within 10 % of the memory of the first rank: ranks with equal parts of a batch take equal memory.
    Fails when: a rank's weights lie elsewhere, two ranks are one process or share a GPU, or one takes more or less
    memory.
    Do: Look at CUDA_VISIBLE_DEVICES and at what starts the ranks: each needs its own local rank. Other memory on one
    GPU is often another process (`nvidia-smi`).
    Symptoms: no-gpu, gpu-memory
    """
    answers = rank_trainer.answers(replicas)
    for answer in answers:
        own = CPU_KIND if replicas.device.kind == CPU_KIND else f"cuda:{answer.local_rank}"
        assert answer.devices == (own,), f"rank {answer.rank} should lie on {own}, and lies on {answer.devices}"
    assert len({answer.pid for answer in answers}) == len(answers), "two ranks are one process"
    uuids = [answer.uuid for answer in answers if answer.uuid is not None]
    assert len(set(uuids)) == len(uuids), f"ranks share a GPU: {uuids}"
    first = answers[0].parts.peak
    for answer in answers:
        judge.limit(
            "replica_peak",
            answer.parts.peak,
            low=0.9 * first,
            high=1.1 * first,
            source="the suite's own: ranks with equal parts of a batch take equal memory",
            rank=answer.rank,
            held=answer.held,
            uuid=answer.uuid,
        )


@pytest.mark.measures("replica_difference", "replica_error")
def test_gradients_of_one_batch(replicas: DeviceCase, rank_trainer: RankTrainer, judge: Judge) -> None:
    """After the backward pass all ranks have the same gradients to the bit, and they are those of all sequences
    together. So each rank saw its own part of the batch.

    Limit: No difference between ranks. Against one process with all sequences: what the order of sums costs in
    bfloat16 (docs/headroom.md).
    Fails when: gradients differ between ranks or from those of one process, or two ranks were given the same
    sequences.
    Do: Run it again with NCCL_DEBUG=INFO, and look at the links with the checks of `-m devices` (test_all_reduce,
    test_peer_copies). Gradients that differ between ranks are a fault of the joining, not of the model.
    Symptoms: nccl, fabric, gpu-broken, hang
    """
    answers = rank_trainer.answers(replicas)
    digests = {answer.rank: answer.gradients_sha256 for answer in answers}
    losses = {answer.rank: answer.loss for answer in answers}
    for answer in answers:
        judge.limit(
            "replica_difference",
            answer.difference,
            high=0.0,
            source="all ranks add up the same numbers, and keep one sum",
            rank=answer.rank,
            sha256=answer.gradients_sha256,
        )
        limit = one_update()
        judge.limit("replica_error", answer.error, high=limit.high, source=limit.source, rank=answer.rank)
    assert len(set(digests.values())) == 1, f"gradients differ between ranks: {digests}"
    assert len(set(losses.values())) == len(answers), f"ranks were given the same sequences: losses {losses}"
