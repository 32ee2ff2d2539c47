"""The forward passes of the five families in float64, from their papers and published configurations.

Rows of a text are positions, columns are channels. Nothing in here is shared with torch or transformers: an agreement
of the two is one of independent code. RMSNorm (arXiv 1910.07467), rotary embeddings (2104.09864), grouped queries
(2305.13245), SwiGLU (2002.05202), sliding windows (2310.06825), the mixture of experts (2401.04088).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.golden.weights import Floats


def logits(config: Mapping[str, Any], weights: Mapping[str, Floats], text: Sequence[int]) -> Floats:
    """The logits after each token of a text, shape (tokens, vocabulary)."""
    found, _ = logits_and_gaps(config, weights, text)
    return found


def logits_and_gaps(
    config: Mapping[str, Any], weights: Mapping[str, Floats], text: Sequence[int]
) -> tuple[Floats, Floats]:
    """The logits, and for each token the least gap, over all layers, between the router's logits of the last expert
    that was chosen and the first that was not; infinite in a dense model."""
    eps = config["rms_norm_eps"]
    embedding = weights["model.embed_tokens.weight"]
    stream = embedding[list(text)]
    gaps = np.full(len(text), np.inf)
    for number in range(config["num_hidden_layers"]):
        layer = _Layer(config, weights, f"model.layers.{number}.")
        normed = _rms_norm(stream, layer["input_layernorm.weight"], eps)
        stream = stream + layer.attention(normed)
        normed = _rms_norm(stream, layer["post_attention_layernorm.weight"], eps)
        output, gap = layer.feed_forward(normed)
        stream = stream + output
        gaps = np.minimum(gaps, gap)
    head = weights.get("lm_head.weight", embedding)
    return _rms_norm(stream, weights["model.norm.weight"], eps) @ head.T, gaps


class _Layer:
    """One decoder layer, its weights found by the layer's prefix."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Floats], prefix: str) -> None:
        self._config = config
        self._weights = weights
        self._prefix = prefix

    def __getitem__(self, name: str) -> Floats:
        return self._weights[self._prefix + name]

    def _project(self, name: str, x: Floats) -> Floats:
        bias = self._weights.get(f"{self._prefix}{name}.bias")
        product = x @ self[f"{name}.weight"].T
        return product if bias is None else product + bias

    def attention(self, x: Floats) -> Floats:
        heads, kept = self._config["num_attention_heads"], self._config["num_key_value_heads"]
        width = self._config["hidden_size"] // heads
        if self._config["model_type"] == "phi3":
            fused = self._project("self_attn.qkv_proj", x)
            query, key, value = np.split(fused, [heads * width, (heads + kept) * width], axis=1)
        else:
            query, key, value = (self._project(f"self_attn.{letter}_proj", x) for letter in "qkv")
        angles = np.arange(len(x))[:, None] * _frequencies(self._config["rope_parameters"], width)
        allowed = _allowed(len(x), self._config.get("sliding_window"))
        outputs = []
        for head in range(heads):
            shared = head * kept // heads
            mine, theirs = slice(head * width, (head + 1) * width), slice(shared * width, (shared + 1) * width)
            scores = _rotate(query[:, mine], angles) @ _rotate(key[:, theirs], angles).T / math.sqrt(width)
            outputs.append(_softmax(np.where(allowed, scores, -np.inf)) @ value[:, theirs])
        return self._project("self_attn.o_proj", np.concatenate(outputs, axis=1))

    def feed_forward(self, x: Floats) -> tuple[Floats, Floats]:
        kind = self._config["model_type"]
        if kind == "mixtral":
            return self._experts(x)
        if kind == "phi3":
            gate, up = np.split(self._project("mlp.gate_up_proj", x), 2, axis=1)
        else:
            gate, up = self._project("mlp.gate_proj", x), self._project("mlp.up_proj", x)
        return self._project("mlp.down_proj", _silu(gate) * up), np.full(len(x), np.inf)

    def _experts(self, x: Floats) -> tuple[Floats, Floats]:
        """Each token goes to the experts with the highest scores, weighted by the softmax over those alone."""
        chosen = self._config["num_experts_per_tok"]
        scores = self._project("block_sparse_moe.gate", x)
        order = np.argsort(-scores, axis=1)
        ranked = np.take_along_axis(scores, order, axis=1)
        gaps = ranked[:, chosen - 1] - ranked[:, chosen]
        shares = np.zeros_like(scores)
        np.put_along_axis(shares, order[:, :chosen], _softmax(ranked[:, :chosen]), axis=1)
        output = np.zeros_like(x)
        for expert in range(scores.shape[1]):
            name = f"block_sparse_moe.experts.{expert}"
            here = shares[:, expert] > 0
            inner = _silu(self._project(f"{name}.w1", x[here])) * self._project(f"{name}.w3", x[here])
            output[here] += shares[here, expert, None] * self._project(f"{name}.w2", inner)
        return output, gaps


def _rms_norm(x: Floats, scale: Floats, eps: float) -> Floats:
    normed: Floats = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * scale
    return normed


def _silu(x: Floats) -> Floats:
    activated: Floats = x / (1 + np.exp(-x))
    return activated


def _softmax(x: Floats) -> Floats:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def _allowed(length: int, window: int | None) -> Any:
    """Which tokens (columns) each position (row) may look at: itself and those before, `window` in all."""
    back = np.arange(length)[:, None] - np.arange(length)[None, :]
    return (back >= 0) & (back < (window or length))


def _frequencies(rope: Mapping[str, Any], width: int) -> Floats:
    """Radians a position for each pair of channels."""
    plain = float(rope["rope_theta"]) ** (-np.arange(0, width, 2) / width)
    if rope["rope_type"] == "default":
        return plain
    assert rope["rope_type"] == "llama3", rope
    # Llama 3.1: waves longer than the context that it was first trained on are stretched, short ones are not, and
    # those between are blended by how often they fit into it.
    fits = rope["original_max_position_embeddings"] * plain / (2 * math.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    kept = np.clip((fits - low) / (high - low), 0, 1)
    scaled: Floats = kept * plain + (1 - kept) * plain / rope["factor"]
    return scaled


def _rotate(x: Floats, angles: Floats) -> Floats:
    """Turn each pair of channels, of which one lies in the first half and one in the second."""
    first, second = np.split(x, 2, axis=1)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=1)
