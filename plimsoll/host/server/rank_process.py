"""One rank of a training step over several devices: `python -m plimsoll.host.server.rank_process FOLDER`, started by
torchrun alone, which says by its environment which rank this is."""

from __future__ import annotations

import json
import os
import pickle
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from plimsoll.child.inside import end_with_parent
from plimsoll.garbage import keep_all
from plimsoll.host.ranks import BACKENDS, ORDER, RankAnswer, RankOrder, answer_name, device_map_of


def main() -> int:
    """Take part in one step, and leave what came of it in the folder."""
    # torchrun may be killed, and must not leave ranks that wait for each other.
    end_with_parent(os.getppid())
    folder = Path(sys.argv[1])
    order: RankOrder = pickle.loads((folder / ORDER).read_bytes())  # noqa: S301  written by our own controller
    answer = _take_part(order, *(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    (folder / answer_name(answer.rank)).write_text(json.dumps(asdict(answer)), encoding="utf-8")
    return 0


def _take_part(order: RankOrder, rank: int, ranks: int, local_rank: int) -> RankAnswer:
    with keep_all():
        import torch

        from plimsoll.host.server.group import joined

    if order.kind == "cuda":
        torch.cuda.set_device(local_rank)
    else:
        torch.set_num_threads(1)
    device = f"cuda:{local_rank}" if order.kind == "cuda" else "cpu"
    with joined(BACKENDS[order.kind], rank, ranks, "env://", device):
        return _step(order, rank, ranks, local_rank)


def _step(order: RankOrder, rank: int, ranks: int, local_rank: int) -> RankAnswer:
    with keep_all():
        import torch
        from torch.nn.parallel import DistributedDataParallel

        from plimsoll.host.server.putting_off import compiled_when_called, import_losses

        with compiled_when_called(torch):
            import_losses()
            from plimsoll.host.server import loading
        from plimsoll.host.server.training.learner import Objective
        from plimsoll.host.server.training.steps import Step, batches_of, gradients_of, learner_of, rms_apart, sha256_of

    spec = replace(order.spec, device_map=device_map_of(order.kind, local_rank))
    loaded = loading.load(spec, "as-is")
    loaded.gpus.stop()
    torch.manual_seed(0)
    learner = learner_of(order.training, loaded)
    (whole,) = batches_of(loaded, order.data)
    own = whole.chunk(ranks)[rank]
    together: Any = DistributedDataParallel(
        Objective(learner),
        device_ids=[local_rank] if order.kind == "cuda" else None,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
    )
    none = torch.optim.SGD(learner.trained, lr=0.0)
    step = Step(learner, none, [own], objective=together)
    step.make()
    parts = step.counted()
    found = gradients_of(step)
    loss = step.losses[-1]
    digest = sha256_of(p.grad for p in learner.trained if p.grad is not None)
    first = [gradient.clone() for gradient in found]
    for gradient in first:
        torch.distributed.broadcast(gradient, 0)
    alone = Step(learner, none, [whole])
    alone.make()
    return RankAnswer(
        rank=rank,
        ranks=ranks,
        local_rank=local_rank,
        pid=os.getpid(),
        devices=tuple(sorted({str(parameter.device) for parameter in learner.parameters})),
        uuid=str(torch.cuda.get_device_properties(local_rank).uuid) if order.kind == "cuda" else None,
        loss=loss,
        gradients_sha256=digest,
        difference=rms_apart(found, first),
        error=rms_apart(found, gradients_of(alone)),
        parts=parts,
        held=_held(order.kind, local_rank),
    )


def _held(kind: str, local_rank: int) -> int:
    if kind == "cuda":
        import torch

        return torch.cuda.max_memory_reserved(local_rank)
    from plimsoll.host.server.memory import resident_bytes

    return resident_bytes()


if __name__ == "__main__":
    sys.exit(main())
