"""Memory of a forward pass besides the weights: the cache, which stays, and the activations, which do not.

Plain numbers, so that a controller without torch can compute any batch and length. Each figure is a polynomial in both,
because the size of every tensor in a forward pass is a product of shapes; the peak is the largest figure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Bytes in use at one moment of a forward pass. `terms` are the factors of 1, length, length^2, batch, batch*length
    and batch*length^2; a negative term is memory that was freed."""

    terms: tuple[int, int, int, int, int, int]
    operation: str
    """torch's name of what was computed then: `aten.linear`, `aten.softmax`, ..."""

    def at(self, batch: int, length: int) -> int:
        """The bytes for so many sequences of so many tokens."""
        one, token, pair, sequence, sequence_token, sequence_pair = self.terms
        own = sequence + length * (sequence_token + length * sequence_pair)
        return one + length * (token + length * pair) + batch * own


def highest(moments: Iterable[Moment], batch: int, length: int) -> int:
    """The largest of the moments, in bytes; 0 for none."""
    return max((moment.at(batch, length) for moment in moments), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """The memory of forward passes, without weights and cache, for sequences of one length: padding adds a mask of
    length^2 bytes a sequence."""

    prefill: tuple[Moment, ...]
    """A prompt, up to the output head."""
    head: tuple[Moment, ...]
    """The output head over all positions, and what follows it."""
    decode: tuple[Moment, ...]
    """One more token with `length` in the cache; empty where only a first pass could be followed."""
    last_logits: int
    """Bytes a sequence of the logits that generation uses: one position, with its float32 copy."""

    def of_prompt(self, batch: int, length: int, *, all_logits: bool = False) -> int:
        """The peak of a prompt's pass; with `all_logits` for every position instead of the last."""
        body = highest(self.prefill, batch, length)
        return max(body, highest(self.head, batch, length) if all_logits else batch * self.last_logits)

    def of_token(self, batch: int, cached: int) -> int:
        """The peak of one more token a sequence."""
        moments = self.decode or self.prefill
        return max(highest(moments, batch, cached if self.decode else 1), batch * self.last_logits)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLayer:
    """What one layer caches of the tokens it has seen, in bytes a sequence."""

    module: str
    """The layer's name in the model, which decides its place."""
    state_bytes: int
    """Bytes that do not depend on the length."""
    token_bytes: int
    window: int | None
    """The most tokens that are kept once decoding has begun; None for all."""

    def held(self, tokens: int) -> int:
        """Bytes a sequence of so many tokens, while it is decoded."""
        kept = tokens if self.window is None else min(tokens, self.window)
        return self.state_bytes + self.token_bytes * kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """The keys and values (or states) of all layers."""

    layers: tuple[CacheLayer, ...]
    _alike: tuple[tuple[CacheLayer, int], ...] = field(init=False, repr=False, compare=False)
    """One layer of each kind, and how many there are: a search for the largest batch asks often."""

    def __post_init__(self) -> None:
        kinds: dict[tuple[int, int, int | None], list[CacheLayer]] = {}
        for layer in self.layers:
            kinds.setdefault((layer.state_bytes, layer.token_bytes, layer.window), []).append(layer)
        object.__setattr__(self, "_alike", tuple((layers[0], len(layers)) for layers in kinds.values()))

    def of_prompt(self, batch: int, length: int) -> int:
        """Bytes after a prompt's pass: until the next token a sliding window is a view of the whole prompt."""
        return batch * sum(count * (one.state_bytes + one.token_bytes * length) for one, count in self._alike)

    def held(self, batch: int, tokens: int) -> int:
        """Bytes while decoding, after so many tokens of each sequence."""
        return batch * sum(count * one.held(tokens) for one, count in self._alike)

    @property
    def token_bytes(self) -> int:
        """Bytes that one more token takes in all layers, as long as no window is full."""
        return sum(layer.token_bytes for layer in self.layers)
