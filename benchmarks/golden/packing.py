"""What packed weights stand for, in float64, from the descriptions of the schemes: NF4 and its nested statistics
(QLoRA, arXiv 2305.14314), dynamic 8-bit codes (2110.02861), LLM.int8's rows (2208.07339).

Every choice of a code is also measured: `closest` keeps how near the nearest choice came to a tie, since a library that
divides where another multiplies by the reciprocal would decide a tie another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.golden.weights import Floats

NF4: Final = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ]
)
"""QLoRA, appendix E."""
_BLOCK: Final = 64
_NESTED_BLOCK: Final = 256


def dynamic_codes() -> Floats:
    """The signed dynamic 8-bit codes: in each of seven decades 1, 2, 4 ... 64 fractions, the middles of equal parts of
    [0.1, 1]; zero; and one."""
    positive = []
    for decade in range(7):
        edges = np.linspace(0.1, 1.0, 2**decade + 1)
        positive.append((edges[:-1] + edges[1:]) / 2 * 10.0 ** (decade - 6))
    values = np.concatenate(positive)
    return np.sort(np.concatenate([-values, [0.0, 1.0], values]))


@dataclass(slots=True)
class Packing:
    """Packs and unpacks the matrices of a scheme; `closest` is the least distance to a tie of all choices so far, in
    parts of the largest code."""

    scheme: str
    closest: float = np.inf

    def unpacked(self, matrix: Floats) -> Floats:
        """What the packed matrix stands for. The first axis of a stack of experts belongs to the rows."""
        unpack: Callable[[Floats], Floats] = {
            "int8": self._int8,
            "nf4": lambda m: self._nf4(m, nested=False),
            "nf4-dq": lambda m: self._nf4(m, nested=True),
        }[self.scheme]
        return unpack(matrix)

    def _int8(self, matrix: Floats) -> Floats:
        largest = np.abs(matrix).max(axis=-1, keepdims=True)
        exact = matrix * 127 / largest
        self._note(np.abs(exact - np.floor(exact) - 0.5) / 127)
        integers: Floats = np.rint(exact)
        unpacked: Floats = integers * largest / 127
        return unpacked

    def _nf4(self, matrix: Floats, *, nested: bool) -> Floats:
        blocks = matrix.reshape(-1, _BLOCK)
        largest = np.abs(blocks).max(axis=1)
        codes = self._nearest(NF4, blocks / largest[:, None])
        scales = self._nested(largest) if nested else largest
        unpacked: Floats = (codes * scales[:, None]).reshape(matrix.shape)
        return unpacked

    def _nested(self, scales: Floats) -> Floats:
        """The scales as 8-bit codes around their mean, 256 to a scale of their own."""
        offset = scales.mean()
        around = scales - offset
        found = np.empty_like(scales)
        for start in range(0, len(scales), _NESTED_BLOCK):
            part = around[start : start + _NESTED_BLOCK]
            largest = np.abs(part).max()
            found[start : start + _NESTED_BLOCK] = self._nearest(dynamic_codes(), part / largest) * largest
        unpacked: Floats = found + offset
        return unpacked

    def _nearest(self, codes: Floats, values: Floats) -> Floats:
        middles = (codes[:-1] + codes[1:]) / 2
        places = np.searchsorted(middles, values)
        distances = np.abs(
            values[..., None] - middles[np.clip(np.stack([places - 1, places], -1), 0, len(middles) - 1)]
        )
        self._note(distances)
        nearest: Floats = codes[places]
        return nearest

    def _note(self, distances: Any) -> None:
        self.closest = min(self.closest, float(np.min(distances)))


def packed_weights(config: Mapping[str, Any], weights: Mapping[str, Floats], packing: Packing) -> dict[str, Floats]:
    """The weights with every matrix of a layer replaced by what its packed form stands for; embeddings, head, norms,
    biases and routers stay as they are."""
    found = dict(weights)
    for names, matrix in _fused(config, weights):
        pieces = packing.unpacked(matrix)
        start = 0
        flat = pieces.reshape(-1, pieces.shape[-1])
        for name in names:
            rows = len(weights[name])
            found[name] = flat[start : start + rows]
            start += rows
        assert start == len(flat)
    return found


def _fused(config: Mapping[str, Any], weights: Mapping[str, Floats]) -> Iterator[tuple[list[str], Floats]]:
    """The matrices as they are packed, each with the published names of its parts in order. The experts of a layer are
    one tensor for gate and up together, and one for down, so they share the mean of nested statistics."""
    for name, values in weights.items():
        if name.startswith("model.layers.") and values.ndim == 2 and "block_sparse_moe" not in name:
            yield [name], values
    for number in range(config["num_hidden_layers"] if config["model_type"] == "mixtral" else 0):
        for letters in (("w1", "w3"), ("w2",)):
            names = [
                f"model.layers.{number}.block_sparse_moe.experts.{expert}.{letter}.weight"
                for expert in range(config["num_local_experts"])
                for letter in letters
            ]
            yield names, np.concatenate([weights[name] for name in names])
