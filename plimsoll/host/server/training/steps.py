"""Runs a few real training steps of a loaded model, counting bytes, and one update in several ways."""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from statistics import median
from typing import Any, Final

import torch

from plimsoll import clock
from plimsoll.errors import PlimsollError
from plimsoll.footprint.training import Optimizer, Phase, StepParts, Training
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.server import loading
from plimsoll.host.server.loading import LoadedModel
from plimsoll.host.server.repeatable import repeatable
from plimsoll.host.server.training.learner import Learner, peft_beside
from plimsoll.host.server.training.measured import PhaseBytes, Work, held_tensors, meter_for, stored_bytes
from plimsoll.host.training import CompareSteps, StepsCompared, Train, Trained, TrainingData

_CHUNK: Final = 2**26
"""Bytes that are hashed at a time: frozen weights on a GPU come over in pieces."""
_DECAY: Final = 0.0
"""No weight decay: a loss that falls must fall by its gradients."""
_SEED: Final = 12


def train(request: Train) -> Trained:
    """Train on the same tokens, step after step. Raises PlimsollError, and what loading raises."""
    model, partner = _loaded(request.spec), None if request.partner is None else _loaded(request.partner)
    torch.manual_seed(_SEED)
    learner = learner_of(request.training, model, partner)
    batches = batches_of(model, request.data)
    optimizer = optimizer_of(learner, request.training.optimizer, request.rate)
    step = Step(learner, optimizer, batches)
    frozen = sha256_of(_frozen(learner))
    seconds, parts = [], None
    for number in range(request.steps):
        began = clock.monotonic()
        if number == 1:
            parts = step.counted()
        else:
            step.make()
        seconds.append(clock.monotonic() - began)
    if parts is None:
        raise PlimsollError(f"{request.steps} steps: the second is counted, so there must be two at least")
    return Trained(
        losses=tuple(step.losses),
        gradient_norms=tuple(step.norms),
        frozen_before=frozen,
        frozen_after=sha256_of(_frozen(learner)),
        frozen_bytes=stored_bytes(_frozen(learner)),
        trained_parameters=sum(parameter.numel() for parameter in learner.trained),
        parts=parts,
        device=str(learner.device),
        method=meter_for(learner.device).method,
        seconds=median(seconds[2:] or seconds[:1]),
    )


def compare(request: CompareSteps) -> StepsCompared:
    """One batch at once, its sequences one by one, and with layers computed again. Raises as `train` does."""
    model = _loaded(request.spec)
    torch.manual_seed(_SEED)
    learner = learner_of(request.training, model)
    (whole,) = batches_of(model, request.data)
    none = torch.optim.SGD(learner.trained, lr=0.0)
    at_once = Step(learner, none, [whole])
    one_by_one = Step(learner, none, list(torch.split(whole, 1)))
    again = Step(learner, none, [whole])
    # Else sums over a mixture's experts come in another order each time on a GPU, and with them the loss.
    with repeatable():
        parts = at_once.counted()
        expected = gradients_of(at_once)
        one_by_one.make()
        apart = rms_apart(gradients_of(one_by_one), expected)
        learner.compute_again(True)
        again_parts = again.counted()
    return StepsCompared(
        accumulation_difference=apart,
        whole_loss=at_once.losses[-1],
        again_loss=again.losses[-1],
        again_difference=rms_apart(gradients_of(again), expected),
        whole=parts,
        again=again_parts,
    )


def _loaded(spec: LoadSpec) -> LoadedModel:
    loaded = loading.load(spec, "as-is")
    loaded.gpus.stop()
    return loaded


def learner_of(training: Training, model: LoadedModel, partner: LoadedModel | None = None) -> Learner:
    """What is trained of loaded models. Raises PlimsollError for what cannot be."""
    return Learner(training, model.model, None if partner is None else partner.model, adapt=peft_beside)


def optimizer_of(learner: Learner, optimizer: Optimizer, rate: float) -> torch.optim.Optimizer:
    """The optimizer, in the form that takes no copy of all weights."""
    if optimizer is Optimizer.SGD:
        return torch.optim.SGD(learner.trained, lr=rate, fused=True)
    if optimizer is Optimizer.ADAMW:
        return torch.optim.AdamW(learner.trained, lr=rate, weight_decay=_DECAY, fused=True)
    bitsandbytes: Any = importlib.import_module("bitsandbytes.optim")
    packed: torch.optim.Optimizer = bitsandbytes.AdamW8bit(learner.trained, lr=rate, weight_decay=_DECAY)
    return packed


def batches_of(model: LoadedModel, data: TrainingData) -> list[torch.Tensor]:
    """The tokens of each part of a batch, on the CPU still. Raises PlimsollError for a text without tokens."""
    shape = (data.accumulation, data.batch, data.length)
    if model.tokenizer is None or not data.text:
        drawn = torch.Generator().manual_seed(_SEED)
        rows = model.model.get_input_embeddings().num_embeddings
        return list(torch.randint(rows, shape, generator=drawn))
    tokens: list[int] = model.tokenizer(data.text, add_special_tokens=False)["input_ids"]
    if not tokens:
        raise PlimsollError("the text to train on has no token")
    wanted = math.prod(shape)
    return list(torch.tensor((tokens * (wanted // len(tokens) + 1))[:wanted]).view(shape))


class Step:
    """One update: the parts of a batch one after another, forward and backward, and then the optimizer."""

    def __init__(
        self,
        learner: Learner,
        optimizer: torch.optim.Optimizer,
        batches: list[torch.Tensor],
        objective: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self._learner = learner
        self._objective = objective or learner.loss
        self._optimizer = optimizer
        self._batches = batches
        self._loss: torch.Tensor | None = None
        self._sum = 0.0
        self.losses: list[float] = []
        self.norms: list[float] = []

    @property
    def learner(self) -> Learner:
        """What is trained."""
        return self._learner

    def make(self) -> None:
        """Make the update."""
        self._begin()
        for _, do in self._work():
            do()
        self._end()

    def counted(self) -> StepParts:
        """Make the update, and say what it took. Raises PlimsollError where the account of it lacks a part."""
        self._begin()
        measured = meter_for(self._learner.device).measure(self._work())
        self._end()
        return self._parts(measured)

    def _begin(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        self._sum = 0.0

    def _end(self) -> None:
        self.losses.append(self._sum)
        squares = sum(float(p.grad.double().square().sum()) for p in self._learner.trained if p.grad is not None)
        self.norms.append(math.sqrt(squares) if squares >= 0 else math.nan)

    def _work(self) -> Work:
        passes = [
            pair
            for tokens in self._batches
            for pair in ((Phase.FORWARD, self._forward(tokens)), (Phase.BACKWARD, self._backward))
        ]
        return [*passes, (Phase.UPDATE, self._update)]

    def _forward(self, tokens: torch.Tensor) -> Callable[[], None]:
        def forward() -> None:
            # A copy of its own, as a loader hands it over: on a CPU too it is a part of the step.
            on_device = tokens.clone() if self._learner.device.type == "cpu" else tokens.to(self._learner.device)
            loss = self._objective(on_device)
            self._loss = loss if len(self._batches) == 1 else loss / len(self._batches)

        return forward

    def _backward(self) -> None:
        loss, self._loss = self._loss, None
        if loss is not None:
            loss.backward()  # type: ignore[no-untyped-call]
            self._sum += float(loss.detach())

    def _update(self) -> None:
        self._optimizer.step()

    def _parts(self, measured: list[PhaseBytes]) -> StepParts:
        learner = self._learner
        weights = stored_bytes(chain.from_iterable(map(held_tensors, learner.modules)))
        states = stored_bytes(chain.from_iterable(state.values() for state in self._optimizer.state.values()))
        highest = max(measured, key=lambda phase: phase.peak)
        last = [phase for phase in measured if phase.phase is Phase.FORWARD][-1]
        gradients = stored_bytes(parameter.grad for parameter in learner.trained)
        if min(highest.peak, last.after - last.before, gradients) <= 0:
            # Every step takes some of each; what an account lacks was not measured, and is not little.
            raise PlimsollError(
                f"{meter_for(learner.device).method} tells of {highest.peak:,} bytes at a step's highest point, "
                f"{last.after - last.before:,} between its passes, and {gradients:,} of gradients: it did not see the "
                "step"
            )
        return StepParts(
            weights=weights,
            activations=last.after - last.before,
            gradients=gradients,
            optimizer=states,
            peak=weights + states + highest.peak,
            phase=highest.phase,
            accumulated=len(self._batches) > 1,
        )


def _frozen(learner: Learner) -> Iterator[torch.Tensor]:
    """All that no step may change, in an order that stays."""
    for module in learner.modules:
        yield from (tensor for tensor in held_tensors(module) if not tensor.requires_grad)


def sha256_of(tensors: Iterable[torch.Tensor]) -> str:
    """The SHA-256 of the bits of tensors, one after another."""
    digest = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().contiguous().view(-1)
        for piece in torch.split(flat, max(1, _CHUNK // flat.itemsize)):
            digest.update(piece.view(torch.uint8).cpu().numpy().tobytes())
    return digest.hexdigest()


def gradients_of(step: Step) -> list[torch.Tensor]:
    """A copy of every gradient, in float64."""
    return [p.grad.double().clone() for p in step.learner.trained if p.grad is not None]


def rms_apart(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Root mean square of the difference over that of what was expected; infinite where one lacks a gradient."""
    if len(found) != len(expected):
        return math.inf
    difference = sum(float((a - b).square().sum()) for a, b in zip(found, expected, strict=True))
    scale = sum(float(b.square().sum()) for b in expected)
    return math.sqrt(difference / scale) if scale else math.inf
