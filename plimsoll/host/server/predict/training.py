"""Predicts the memory of a training step, traced on the meta device through forward and backward pass.

As for inference (`activations`): every tensor's bytes are a polynomial in batch and length, and six passes give its
coefficients; a single sequence, which may take other ways, has three passes of its own. What is kept for the backward
pass grows with every layer, so two depths are followed (`depth`).
Fused attention is stood in for by one of its form, for torch has no such kernel for the meta device and would keep the
scores that a fused one never writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, product
from typing import Any, Final

import torch
from torch import nn

from plimsoll.catalogue.entries import Quantization
from plimsoll.errors import PlimsollError
from plimsoll.footprint.activations import Moment
from plimsoll.footprint.training import PARTS, Mode, StepPrediction, Training, optimizer_bytes, updating_on_cpu
from plimsoll.host.server.predict.activations import BATCHES, SHORT, outer
from plimsoll.host.server.predict.coverage import packed_layers
from plimsoll.host.server.predict.depth import SharedSpan, TracedStep, deepened, shared_spans
from plimsoll.host.server.predict.layers import Layers, text_part, widest_window, with_attention, without_padding
from plimsoll.host.server.predict.passes import NotFollowedError
from plimsoll.host.server.predict.stand_ins import keep_inputs, stand_ins, unpack_experts
from plimsoll.host.server.predict.trace import Operation, Pass, TooManyStepsError, Watch
from plimsoll.host.server.training.learner import Learner, low_rank_beside

_ALONE: Final = (1,)
_LOST: Final = 0.0005
"""The part of a peak that makes no difference: a few bytes of labels and rounded blocks."""


@dataclass(frozen=True, slots=True)
class Base:
    """A frozen model on the meta device, which following it changes, and how it is stored and computes."""

    model: Any
    quantization: Quantization
    attention: str
    """`eager`, or anything else for attention in one kernel."""
    weights: int
    """Stored bytes."""
    experts_covered: bool = True
    """False where fused experts stay in floats."""
    skip: Sequence[str] | None = None
    """As for `Coverage`."""

    @property
    def itemsize(self) -> int:
        """Bytes of a number of the dtype that it computes in."""
        return int(self.model.dtype.itemsize)


def predict_step(training: Training, base: Base, partner: Base | None = None) -> StepPrediction:
    """What a step takes of a model, with a partner whose states cross the bridge into it.

    Raises NotFollowedError, and PlimsollError as `Learner` does.
    """
    bases = tuple(one for one in (base, partner) if one is not None)
    _refuse_packed(training, bases)
    steps = _Steps(training, bases)
    try:
        return steps.predicted()
    finally:
        steps.close()


class _Steps:
    """Steps of models on the meta device, at whatever depth."""

    def __init__(self, training: Training, bases: Sequence[Base]) -> None:
        parts = [text_part(one.model)[1] for one in bases]
        # By their kinds as they are, before LoRA puts others in their place.
        self._layers = [Layers(part) for part in parts]
        self._training, self._bases, self._parts = training, bases, parts
        self._watch = Watch(bases[0].model, parts[0])
        for one in bases[1:]:
            self._watch.also(one.model)
        adapt = partial(low_rank_beside, packed=self._pack())
        self._learner = Learner(training, *parts, adapt=adapt)
        for module in self._learner.modules:
            self._watch.is_there(module)
        self._short = SHORT + max(widest_window(part.config) for part in parts)

    def _pack(self) -> dict[nn.Module, Quantization]:
        """Have the models do what packed ones do; returns the layers that are packed.

        This comes before anything is added that no scheme packs, and before experts are no parameters of their module:
        by them routers are told from layers that are packed.
        """
        packed: dict[nn.Module, Quantization] = {}
        for one in self._bases:
            if not one.quantization.is_quantized:
                continue
            layers = packed_layers(one.model, one.skip)
            packed |= dict.fromkeys(layers, one.quantization)
            if one.quantization is Quantization.INT8:
                keep_inputs(layers)
            if one.experts_covered:
                unpack_experts(one.model, one.quantization)
        return packed

    def close(self) -> None:
        """Let the models be."""
        self._watch.close()

    def predicted(self) -> StepPrediction:
        """The prediction for the whole depth. Raises NotFollowedError."""
        step, alone = self._of(BATCHES), self._of(_ALONE)
        lengths = _lengths(self._short)
        return step if all(_are_alike(step, alone, length) for length in lengths) else replace(step, alone=alone)

    def _of(self, batches: Sequence[int]) -> StepPrediction:
        """The prediction that steps of these batches give. Raises NotFollowedError."""
        own, told = self._layers[0], self._layers[0].told
        if own.are_alike and own.count > told + 1:
            try:
                return self._from_two_depths(self._runs(told, batches), self._runs(told + 1, batches), own.count - told)
            except NotFollowedError:
                self._watch.limit = None
        runs = self._runs(own.count, batches)
        first = runs[0]
        return self._prediction(
            [run.kept for run in runs],
            self._moments(first.operations, [run.heights for run in runs], 0, first.forward),
            self._moments(first.operations, [run.heights for run in runs], first.forward, len(first.operations)),
            self._moments(first.operations, [run.again for run in runs], first.forward, len(first.operations)),
        )

    def _from_two_depths(self, less: Sequence[TracedStep], more: Sequence[TracedStep], missing: int) -> StepPrediction:
        first = less[0]
        pairs = list(zip(less, more, strict=True))
        shared = [shared_spans(*pair) for pair in pairs]
        there, back = ([parts[:2] for parts in shared], [parts[2:] for parts in shared])

        def moments(name: str, parts: Sequence[Sequence[SharedSpan]]) -> list[Moment]:
            values = [
                deepened(getattr(one, name), getattr(other, name), part, missing)
                for (one, other), part in zip(pairs, parts, strict=True)
            ]
            operations = [first.operations[n] for part in parts[0] for n in range(part.start, part.stop)]
            return self._moments(operations, values, 0, len(operations))

        return self._prediction(
            [one.kept + missing * (other.kept - one.kept) for one, other in pairs],
            moments("heights", there),
            moments("heights", back),
            moments("again", back),
        )

    def _runs(self, depth: int, batches: Sequence[int]) -> list[TracedStep]:
        """Steps of each batch, of every length. Raises NotFollowedError."""
        runs: list[TracedStep] = []
        with ExitStack() as stack:
            stack.enter_context(stand_ins())
            for part, one in zip(self._parts, self._bases, strict=True):
                stack.enter_context(with_attention(part, one.attention))
                stack.enter_context(without_padding(part))
            for layers in self._layers[1:]:
                stack.enter_context(layers.cut())
            layers_run = stack.enter_context(self._layers[0].cut(depth))
            for batch, length in product(batches, _lengths(self._short)):
                runs.append(self._follow(layers_run, batch, length))
                self._watch.limit = 2 * len(runs[0].operations)
        self._watch.limit = None
        if len({run.operations for run in runs}) > 1:
            raise NotFollowedError("a step takes other operations for other lengths, so that no few passes tell of all")
        return runs

    def _follow(self, layers: Sequence[Any], batch: int, length: int) -> TracedStep:
        """One step. Raises NotFollowedError with what the model said."""
        learner, watch = self._learner, self._watch
        for parameter in learner.trained:
            parameter.grad = None
        with torch.device("meta"), watch, ExitStack() as hooks:
            before, traced = watch.in_use, watch.begin()
            crossed, entered, returned = _Places(traced), _Places(traced), _Places(traced)
            if learner.partner is not None:
                hooks.callback(learner.partner.base_model.register_forward_hook(crossed.note).remove)
            for layer in layers:
                hooks.callback(layer.register_forward_pre_hook(entered.note).remove)
                hooks.callback(layer.register_forward_hook(returned.note_return).remove)
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
                reason = str(error).strip().partition("\n")[0]
                raise NotFollowedError(f"{type(error).__name__}: {reason}") from error
            there = _gradients(watch, learner, len(traced.steps))
        all_gradients = sum(p.grad.untyped_storage().nbytes() for p in learner.trained if p.grad is not None)
        for parameter in learner.trained:
            parameter.grad = None
        partners = crossed.places[0] if crossed.places else 0
        stored = [(one.quantization, one.itemsize) for one in self._bases]
        heights = [
            _height(step, *stored[-1 if number < partners else 0], backward=number >= forward) - before
            for number, step in enumerate(traced.steps)
        ]
        return TracedStep(
            heights=tuple(heights),
            again=tuple(height - made + all_gradients for height, made in zip(heights, there, strict=True)),
            operations=traced.operations,
            forward=forward,
            kept=kept,
            entered=tuple(entered.places[: len(layers)]),
            returned=tuple(returned.places[::-1]),
        )

    def _moments(self, operations: Sequence[str], runs: Sequence[Sequence[int]], start: int, stop: int) -> list[Moment]:
        return [
            Moment(terms=fitted(values, self._short), operation=operation)
            for operation, *values in list(zip(operations, *runs, strict=True))[start:stop]
        ]

    def _prediction(
        self, kept: Sequence[int], forward: Sequence[Moment], backward: Sequence[Moment], again: Sequence[Moment]
    ) -> StepPrediction:
        trained, optimizer = self._learner.trained, self._training.optimizer
        gradients = sum(parameter.numel() * parameter.itemsize for parameter in trained)
        added = 0 if self._training.mode is Mode.FULL else gradients
        return StepPrediction(
            weights=sum(one.weights for one in self._bases) + added,
            trained_parameters=sum(parameter.numel() for parameter in trained),
            gradients=gradients,
            optimizer=optimizer_bytes([(p.numel(), p.itemsize) for p in trained], optimizer),
            updating_on_cpu=updating_on_cpu([p.numel() for p in trained], optimizer),
            kept=Moment(terms=fitted(kept, self._short), operation="between the passes"),
            forward=outer(forward),
            backward=outer(backward),
            backward_again=outer(again),
        )


def _are_alike(step: StepPrediction, alone: StepPrediction, length: int) -> bool:
    """Whether a single sequence takes what the prediction for all batches says, but for what is lost beside a peak."""
    one, other = step.at(1, length), alone.at(1, length)
    return all(abs(getattr(one, part) - getattr(other, part)) <= _LOST * one.peak for part in PARTS)


def _lengths(short: int) -> tuple[int, int, int]:
    """Three in even steps. Far apart, as those of inference are, would not do: what a token takes of a deep model, with
    logits over a large vocabulary, is more than can be told from what a pair of tokens takes."""
    return short, 2 * short, 3 * short


def fitted(values: Sequence[int], short: int) -> tuple[int, int, int, int, int, int]:
    """The coefficients of a `Moment` behind the bytes of six runs: the smaller batch at all lengths, then the other; or
    of three, of one sequence, which hold for that alone."""
    smaller = _quadratic(values[:3], short)
    if len(values) == len(smaller):
        return *smaller, 0, 0, 0
    larger = _quadratic(values[3:], short)
    own = [more - less for less, more in zip(smaller, larger, strict=True)]
    shared = [less - BATCHES[0] * each for less, each in zip(smaller, own, strict=True)]
    return shared[0], shared[1], shared[2], own[0], own[1], own[2]


def _quadratic(values: Sequence[int], short: int) -> tuple[int, int, int]:
    """Whole numbers c, t, p with c + t*length + p*length^2. Where shapes are rounded (to blocks, to chunks) a rest is
    left, and the slope is rounded up."""
    first, second, third = values
    pair = round((third - 2 * second + first) / (2 * short**2))
    token = -((first - second) // short) - 3 * short * pair
    return first - token * short - pair * short**2, token, pair


class _Places:
    """Notes after how many operations something comes, as a hook of a module."""

    def __init__(self, traced: Pass) -> None:
        self._traced = traced
        self.places: list[int] = []

    def note(self, *_: object) -> None:
        """Now."""
        self.places.append(len(self._traced.steps))

    def note_return(self, _module: object, _given: object, output: Any) -> None:
        """When the backward pass comes to this output."""
        states = output[0] if isinstance(output, tuple) else output
        if isinstance(states, torch.Tensor) and states.requires_grad:
            states.register_hook(self.note)  # type: ignore[no-untyped-call]


def _refuse_packed(training: Training, bases: Sequence[Base]) -> None:
    """What cannot be trained once weights are packed: on the meta device they are not."""
    for one in bases:
        if one.quantization.is_quantized and training.mode is Mode.FULL:
            raise PlimsollError(
                f"packed weights cannot be trained, and {one.quantization} packs them: train with LoRA or a bridge, or "
                "take an unquantized variant"
            )


def _gradients(watch: Watch, learner: Learner, steps: int) -> list[int]:
    """Bytes of gradients that are there before each step."""
    made = [0] * (steps + 1)
    for parameter in learner.trained:
        step = None if parameter.grad is None else watch.born(parameter.grad)
        if parameter.grad is not None and step is not None:
            made[step + 1] += parameter.grad.untyped_storage().nbytes()
    return list(accumulate(made))[:steps]


def _height(step: Operation, quantization: Quantization, itemsize: int, *, backward: bool) -> int:
    """Bytes at the highest point of a step, of weights so stored, computed with in numbers of so many bytes.

    On the way back a packed weight is unpacked, whatever the scheme; LLM.int8 does not pack the gradient. Two gradients
    of one tensor are added in the place of the first, which torch leaves to a new tensor while a mode looks on.
    """
    if backward and step.by_engine:
        return step.before
    if backward and step.product is not None and quantization is Quantization.INT8:
        return step.after + step.product.weight * itemsize
    # Experts that are unpacked are tensors here, and counted as such.
    return step.bytes(quantization, itemsize, experts_covered=False)
