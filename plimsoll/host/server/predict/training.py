"""Memory of a training step, followed on the meta device through the forward and the backward pass.

As for inference (`activations`): every tensor's bytes are a polynomial in batch and length, and four passes give its
coefficients. Here the whole depth of a model is run, since what is kept for the backward pass grows with every layer.
Fused attention is stood in for by one of its form, for torch has no such kernel for the meta device and would keep the
scores that a fused one never writes.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any, Final

import torch

from plimsoll.catalogue.entries import Quantization
from plimsoll.errors import PlimsollError
from plimsoll.footprint.activations import Moment
from plimsoll.footprint.training import Mode, StepPrediction, Training, optimizer_bytes, updating_on_cpu
from plimsoll.host.server.predict.activations import BATCHES, LONG, SHORT, outer, terms
from plimsoll.host.server.predict.coverage import fused_experts
from plimsoll.host.server.predict.layers import text_part, widest_window, with_attention, without_padding
from plimsoll.host.server.predict.passes import NotFollowedError
from plimsoll.host.server.predict.trace import Step, TooManyStepsError, Watch
from plimsoll.host.server.training.learner import Learner, low_rank_beside

_LOOKS: Final = "find_packed_sequence_indices"
"""transformers' function that answers None where each sequence is one text, as all of ours are."""


@dataclass(frozen=True, slots=True)
class Base:
    """A frozen model on the meta device, which following it changes, and how it is stored and computes."""

    model: Any
    quantization: Quantization
    attention: str
    """`eager`, or anything else for attention in one kernel."""
    weights: int
    """Stored bytes."""


@dataclass(frozen=True, slots=True)
class _TracedStep:
    """A forward and a backward pass."""

    heights: tuple[int, ...]
    """Bytes in use at the highest point of each operation."""
    operations: tuple[str, ...]
    forward: int
    """How many of them belong to the forward pass."""
    gradients: tuple[int, ...]
    """Bytes of gradients that are there before each operation."""
    kept: int
    """Bytes in use between the passes."""


def predict_step(training: Training, base: Base, partner: Base | None = None) -> StepPrediction:
    """What a step takes of a model, with a partner whose states cross the bridge into it.

    Raises NotFollowedError, and PlimsollError as `Learner` does.
    """
    bases = tuple(one for one in (base, partner) if one is not None)
    parts = [text_part(one.model)[1] for one in bases]
    _refuse_unpacked_experts(bases)
    learner = Learner(training, *parts, adapt=low_rank_beside)
    watch = Watch(base.model, parts[0])
    for module in (*(one.model for one in bases[1:]), *learner.modules):
        watch.also(module)
    short = SHORT + max(widest_window(part.config) for part in parts)
    runs: list[_TracedStep] = []
    try:
        with ExitStack() as stack:
            stack.enter_context(_stand_ins())
            for part, one in zip(parts, bases, strict=True):
                stack.enter_context(with_attention(part, one.attention))
                stack.enter_context(without_padding(part))
            for batch, length in product(BATCHES, (short, LONG)):
                runs.append(_follow(watch, learner, bases, batch, length))
                watch.limit = 2 * len(runs[0].operations)
    finally:
        watch.close()
    if len({run.operations for run in runs}) > 1:
        raise NotFollowedError("a step takes other operations for other lengths, so that no few passes tell of all")
    return _prediction(training, learner, sum(one.weights for one in bases), runs, short)


def _refuse_unpacked_experts(bases: Sequence[Base]) -> None:
    for one in bases:
        if one.quantization.is_quantized and fused_experts(one.model):
            raise NotFollowedError("packed experts stay unpacked between the passes, which is not followed")


def _follow(watch: Watch, learner: Learner, bases: Sequence[Base], batch: int, length: int) -> _TracedStep:
    """One step. Raises NotFollowedError with what the model said."""
    crossed: list[int] = []
    with torch.device("meta"), watch:
        before, traced = watch.in_use, watch.begin()
        hook = None
        if learner.partner is not None:
            hook = learner.partner.base_model.register_forward_hook(lambda *_: crossed.append(len(traced.steps)))
        try:
            loss = learner.loss(torch.zeros(batch, length, dtype=torch.long))
            kept, forward = watch.in_use - before, len(traced.steps)
            loss.backward()  # type: ignore[no-untyped-call]
        except TooManyStepsError:
            raise NotFollowedError("its layers go through a text token by token") from None
        except PlimsollError:
            raise
        except Exception as error:
            # A model's code may raise anything, and remote code all the more.
            raise NotFollowedError(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}") from error
        finally:
            if hook is not None:
                hook.remove()
        born = _gradients(watch, learner, len(traced.steps))
    for parameter in learner.trained:
        parameter.grad = None
    return _TracedStep(
        heights=tuple(
            _height(step, _whose(number, crossed, bases), backward=number >= forward) - before
            for number, step in enumerate(traced.steps)
        ),
        operations=traced.operations,
        forward=forward,
        gradients=born,
        kept=kept,
    )


def _whose(number: int, crossed: Sequence[int], bases: Sequence[Base]) -> Base:
    """The model that an operation is of: the partner's are all done when its states cross the bridge."""
    return bases[-1] if crossed and number < crossed[0] else bases[0]


def _gradients(watch: Watch, learner: Learner, steps: int) -> tuple[int, ...]:
    made = [0] * (steps + 1)
    for parameter in learner.trained:
        step = None if parameter.grad is None else watch.born(parameter.grad)
        if parameter.grad is not None and step is not None:
            made[step + 1] += parameter.grad.untyped_storage().nbytes()
    return tuple(accumulate(made))[:steps]


def _height(step: Step, base: Base, *, backward: bool) -> int:
    """Bytes at the highest point of a step. On the way back a packed weight is unpacked, whatever the scheme; LLM.int8
    does not pack the gradient."""
    itemsize = text_part(base.model)[1].dtype.itemsize
    if backward and step.product is not None and base.quantization is Quantization.INT8:
        return step.after + step.product.weight * itemsize
    return step.bytes(base.quantization, itemsize, True)


def _prediction(
    training: Training, learner: Learner, stored: int, runs: Sequence[_TracedStep], short: int
) -> StepPrediction:
    trained = learner.trained
    gradients = sum(parameter.numel() * parameter.itemsize for parameter in trained)
    first = runs[0]

    def moments(heights: Sequence[Sequence[int]]) -> list[Moment]:
        return [
            Moment(terms=terms(values, short), operation=operation)
            for operation, *values in zip(first.operations, *heights, strict=True)
        ]

    fresh = moments([run.heights for run in runs])
    again = moments(
        [[h - there + gradients for h, there in zip(run.heights, run.gradients, strict=True)] for run in runs]
    )
    added = 0 if training.mode is Mode.FULL else gradients
    return StepPrediction(
        weights=stored + added,
        trained_parameters=sum(parameter.numel() for parameter in trained),
        gradients=gradients,
        optimizer=optimizer_bytes([(p.numel(), p.itemsize) for p in trained], training.optimizer),
        updating_on_cpu=updating_on_cpu([p.numel() for p in trained], training.optimizer),
        kept=Moment(terms=terms([run.kept for run in runs], short), operation="between the passes"),
        forward=outer(fresh[: first.forward]),
        backward=outer(fresh[first.forward :]),
        backward_again=outer(again[first.forward :]),
    )


@contextmanager
def _stand_ins() -> Iterator[None]:
    """While it is entered, attention in one kernel is `_Attention`, and transformers does not look at the numbers of
    positions, which have no values here, for several texts in a row."""
    functional: Any = torch.nn.functional
    masking: Any = importlib.import_module("transformers.masking_utils")
    places = [(functional, "scaled_dot_product_attention", _attend), (masking, _LOOKS, lambda *_args, **_kwargs: None)]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in places if hasattr(owner, name)]
    try:
        for owner, name, stand_in in places:
            setattr(owner, name, stand_in)
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None, **_: Any
) -> torch.Tensor:
    attended: torch.Tensor = _Attention.apply(query, key, value, attn_mask)  # type: ignore[no-untyped-call]
    return attended


class _Attention(torch.autograd.Function):
    """What fused attention keeps: its operands, its result, and a float32 a query and head; a boolean mask as floats.

    On the way back a GPU's kernels sum the gradient of the queries in float32.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        batch, heads, length, _ = query.shape
        out = query.new_empty(batch, length, heads, value.shape[-1]).transpose(1, 2)
        sums = query.new_empty(batch, heads, length, dtype=torch.float32)
        if mask is not None and mask.dtype == torch.bool:
            mask = query.new_empty(mask.shape)
        ctx.save_for_backward(query, key, value, out, sums, mask)
        return out

    @staticmethod
    def backward(ctx: Any, *_gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, *_ = ctx.saved_tensors
        summed = torch.empty_like(query, dtype=torch.float32)
        given = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        del summed
        return (*given, None)
