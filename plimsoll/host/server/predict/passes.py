"""Runs one prompt, and one more token after it, through a model on the meta device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import torch
from transformers import PreTrainedModel

from plimsoll.host.server.predict.trace import Pass, TooManyStepsError, Watch, key_of

CACHES: Final = ("past_key_values", "cache_params", "state")
"""Where outputs of transformers keep what the next token needs."""


class NotFollowedError(Exception):
    """No forward pass over text could be followed; the message says why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The cache of one layer after a prompt: bytes of memory, and of the tensors, which may be views of a part."""

    memory: int
    tensors: int


@dataclass(frozen=True, slots=True)
class TracedPass:
    """A prompt and one more token a sequence."""

    prompt: Pass
    cached: tuple[int, ...]
    """For each step of the prompt, bytes that are there after it and stay in the cache."""
    cache: tuple[Kept, ...]
    token: Pass
    """Without steps where the next token could not be followed."""
    in_use: int
    """Bytes in use when the next token came."""


def follow(watch: Watch, model: PreTrainedModel, batch: int, length: int) -> TracedPass:
    """Run a model over `batch` sequences of `length` tokens. Raises NotFollowedError with what the model said."""
    with torch.inference_mode(), torch.device("meta"), watch:
        prompt = watch.begin()
        output = _call(model, input_ids=torch.zeros(batch, length, dtype=torch.long))
        name = next((name for name in CACHES if getattr(output, name, None) is not None), None)
        if name is None:
            raise NotFollowedError("its output has no cache")
        cache = getattr(output, name)
        del output
        layers = [list(_tensors(layer)) for layer in getattr(cache, "layers", ())]
        layers = [tensors for tensors in layers if tensors]
        cached = _cached(watch, len(prompt.steps), layers)
        kept = tuple(_kept(tensors) for tensors in layers)
        del layers
        in_use = watch.in_use
        token = watch.begin()
        try:
            _call(model, input_ids=torch.zeros(batch, 1, dtype=torch.long), **{name: cache})
        except NotFollowedError:
            token.steps.clear()
        return TracedPass(prompt=prompt, cached=cached, cache=kept, token=token, in_use=in_use)


def _call(model: PreTrainedModel, **inputs: Any) -> Any:
    try:
        return model(**inputs, use_cache=True)
    except TooManyStepsError:
        raise NotFollowedError(
            "its layers go through a prompt token by token, so that no few steps tell of all"
        ) from None
    except NotImplementedError:
        # How many tokens an expert gets, for one: a tensor without values cannot tell.
        raise NotFollowedError("the sizes of its steps depend on values, which only real weights give") from None
    except Exception as error:
        # A model's code may raise anything, and remote code all the more.
        reason = str(error).strip().partition("\n")[0]
        raise NotFollowedError(f"{type(error).__name__}: {reason}") from error


def _tensors(layer: Any) -> Iterator[torch.Tensor]:
    """Every tensor of a cache's layer with as much as one number a sequence; the rest is book-keeping."""
    for value in vars(layer).values():
        for tensor in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(tensor, torch.Tensor) and tensor.dim() > 1:
                yield tensor


def _kept(tensors: list[torch.Tensor]) -> Kept:
    storages = {key_of(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}
    return Kept(memory=sum(storages.values()), tensors=sum(tensor.numel() * tensor.itemsize for tensor in tensors))


def _cached(watch: Watch, steps: int, layers: list[list[torch.Tensor]]) -> tuple[int, ...]:
    made = [0] * steps
    seen: set[int] = set()
    for tensor in (tensor for tensors in layers for tensor in tensors):
        key, step = key_of(tensor), watch.born(tensor)
        if step is not None and key not in seen:
            seen.add(key)
            made[step] += tensor.untyped_storage().nbytes()
    return tuple(accumulate(made))
