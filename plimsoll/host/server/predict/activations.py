"""Predicts cache and activations of an architecture, from a few forward passes on the meta device.

Every tensor is as large as a product of shapes, so what is in use at a step is a polynomial in batch and length: four
passes, of two batches and two lengths, give its coefficients exactly, as whole numbers. The long length is far beyond
every sliding window and costs nothing, since no byte is there.

Layers that are alike cost alike, so a deep model is cut to the first few in which each kind has come after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

import numpy as np
from torch import nn
from transformers import PreTrainedModel

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.activations import Activations, Cache, CacheLayer, Moment
from plimsoll.host.server.predict.coverage import output_head
from plimsoll.host.server.predict.layers import Layers, text_part, widest_window, with_attention, without_padding
from plimsoll.host.server.predict.passes import NotFollowedError, TracedPass, follow
from plimsoll.host.server.predict.trace import Operation, Watch

_LONG: Final = 2**24
"""Tokens of the long passes: beyond every window, and so few that no count of bytes leaves 64 bits."""
SHORT: Final = 64
"""Tokens of the short passes beyond the widest window."""
BATCHES: Final = (2, 3)
"""Sequences of the passes. A single one takes shortcuts in products of matrices, which are steps of their own."""
_FLOAT32: Final = 4

_Terms = tuple[int, int, int, int, int, int]


class ForwardPasses:
    """The forward passes of a model on the meta device: followed once, costed for any quantization.

    `attention` is `eager`, or anything else for attention in one kernel. Raises NotFollowedError.
    """

    def __init__(self, model: nn.Module, attention: str) -> None:
        self.part_name, part = text_part(model)
        self._itemsize = part.dtype.itemsize
        self._vocabulary = int(getattr(output_head(part), "out_features", 0))
        self._layers = Layers(part)
        self._short = SHORT + widest_window(part.config)
        watch = Watch(model, part)
        try:
            with with_attention(part, attention), without_padding(part), self._layers.cut():
                self._runs = _follow_all(watch, part, (self._short, _LONG))
        finally:
            watch.close()

    def cache(self) -> Cache:
        """What each layer keeps. Raises NotFollowedError where that cannot be told for the layers that were cut off."""
        short, long = self._runs[0].cache, self._runs[1].cache
        if len(short) != self._layers.told:
            raise NotFollowedError(f"{self._layers.told} layers were run, and the cache has {len(short)}")
        followed = []
        for at_short, at_long in zip(short, long, strict=True):
            token = (at_long.memory - at_short.memory) // (_LONG - self._short)
            state = at_short.memory - token * self._short
            window = at_long.tensors // token if token and at_long.tensors < at_long.memory else None
            followed.append((state // BATCHES[0], token // BATCHES[0], window))
        names = self._layers.names(self.part_name)
        layers = [
            CacheLayer(module=name, state_bytes=state, token_bytes=token, window=window)
            for name, (state, token, window) in zip(names, self._layers.spread(followed), strict=True)
        ]
        return Cache(layers=tuple(layers))

    def activations(self, quantization: Quantization, *, experts_covered: bool = True) -> Activations:
        """The peaks of passes with the weights packed by a scheme, fused experts with them or not."""

        def height(step: Operation) -> int:
            return step.bytes(quantization, self._itemsize, experts_covered)

        prompts = [
            [height(step) - cached for step, cached in zip(run.prompt.steps, run.cached, strict=True)]
            for run in self._runs
        ]
        tokens = [[height(step) - run.in_use for step in run.token.steps] for run in self._runs]
        first = self._runs[0]
        moments = self._moments(prompts, first.prompt.operations)
        head = len(moments) if first.prompt.head is None else first.prompt.head
        return Activations(
            prefill=outer(moments[:head]),
            head=outer(moments[head:]),
            decode=outer(self._moments(tokens, first.token.operations)),
            last_logits=self._vocabulary * (self._itemsize + _FLOAT32),
        )

    def _moments(self, by_run: Sequence[Sequence[int]], operations: Sequence[str]) -> list[Moment]:
        return [
            Moment(terms=_terms(values, self._short), operation=operation)
            for operation, *values in zip(operations, *by_run, strict=True)
        ]


def _follow_all(watch: Watch, part: PreTrainedModel, lengths: Sequence[int]) -> tuple[TracedPass, ...]:
    """Runs of the smaller batch, then of the larger, each of both lengths. Raises NotFollowedError."""
    runs: list[TracedPass] = []
    for batch, length in product(BATCHES, lengths):
        runs.append(follow(watch, part, batch, length))
        watch.limit = 2 * len(runs[0].prompt.steps)
    if len({run.prompt.operations for run in runs}) > 1:
        raise NotFollowedError(
            "its layers take other steps for prompts of other lengths, so that no few passes tell of all"
        )
    if len({run.token.operations for run in runs}) > 1:
        for run in runs:
            run.token.steps.clear()
    return tuple(runs)


def _terms(values: Sequence[int], short: int) -> _Terms:
    """The coefficients behind the bytes of four runs: the smaller batch short and long, the larger short and long."""
    smaller = _quadratic(values[0], values[1], short)
    larger = _quadratic(values[2], values[3], short)
    own = [more - less for less, more in zip(smaller, larger, strict=True)]
    shared = [less - BATCHES[0] * each for less, each in zip(smaller, own, strict=True)]
    return (shared[0], shared[1], shared[2], own[0], own[1], own[2])


def _quadratic(at_short: int, at_long: int, short: int) -> tuple[int, int, int]:
    """Whole numbers c, t, p with c + t*length + p*length^2; the long length is larger than any t, which parts t from p.

    Where shapes are rounded (to blocks, to chunks) a rest is left, and the slope is rounded up.
    """
    slope = -((at_short - at_long) // (_LONG - short))
    base = _LONG + short
    pair = (slope + base // 2) // base
    token = slope - pair * base
    return at_short - token * short - pair * short**2, token, pair


def outer(moments: Sequence[Moment]) -> tuple[Moment, ...]:
    """Those that can be the highest for some batch and length: none that another exceeds in every term; of alike ones
    the first, so that a prediction is the same each time."""
    unlike = sorted(dict.fromkeys(moments), key=lambda m: m.at(1, 1024), reverse=True)
    terms = np.array([moment.terms for moment in unlike], dtype=np.int64).reshape(len(unlike), -1)
    kept: list[int] = []
    for number, own in enumerate(terms):
        if not (terms[kept] >= own).all(axis=1).any():
            kept.append(number)
    return tuple(unlike[number] for number in kept)
