"""Do several ranks train one model as one, started by torchrun, each on the device that it is to have?

Asked by name alone (`pytest -m ddp`). On GPUs they are joined by NCCL; on a processor two ranks are joined by gloo, so
that the same code is tried there.
"""

from __future__ import annotations

import pytest

from fixtures.judging import Judge
from fixtures.ranks import RankTrainer
from plimsoll.judge.own_limits import one_update
from plimsoll.node.devices import CPU_KIND
from plimsoll.plan.device_cases import DeviceCase

pytestmark = pytest.mark.ddp


@pytest.mark.measures("replica_peak")
def test_each_rank_on_its_device(replicas: DeviceCase, rank_trainer: RankTrainer, judge: Judge) -> None:
    """Every rank's weights lie on the device of its number and on no other, no two share a GPU, and each takes what the
    others take."""
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
    """After the backward pass all ranks have the same gradients, to the bit, and they are those of all sequences
    together; so each rank saw its own part."""
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
