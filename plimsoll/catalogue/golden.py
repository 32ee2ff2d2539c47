"""Reads the golden models: what they are made of, which texts they are given, and which logits they must compute.

The definitions are data (`catalogue/golden/`); the expected logits are float32 numbers in files beside them, computed
in float64 by code that shares nothing with the stack under test (`benchmarks/golden`). This module reads them, and
lists the tensors from which both sides make their weights; likewise the models of `agreement.toml`, whose bits are not
given but must be the same on all devices.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.files import shipped_root
from plimsoll.errors import PlimsollError, reason_of

FOLDER: Final = "golden"
DEFINITION: Final = "golden.toml"
MANIFEST: Final = "make.json"

LONG: Final = "long"
"""The name of the logits of the long text."""
_PLAIN: Final = "plain"
"""The name of weights that are not packed, in whatever dtype they are computed."""
_AGREEMENT: Final = "agreement.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenTensor:
    """One tensor of a golden checkpoint, by its published name. `exponent` is None for the scale of a norm."""

    name: str
    shape: tuple[int, ...]
    exponent: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenTexts:
    """The number and length of the texts, and how they are given to a model."""

    count: int
    tokens: int
    packed_texts: int
    """How many of them are given to packed weights."""
    prefix: int
    """Tokens of each text that are read at once, before `decoded` more follow one at a time."""
    decoded: int
    padded: tuple[int, ...]
    """Tokens of each text in one batch, which is padded on the left and on the right in turn."""
    long: int = 0
    """Tokens of one more text, for plain weights: kernels of attention work in tiles of 64 to 256 tokens, and a fault
    at the edge of one shows beyond it alone. 0 for none."""
    long_decoded: int = 0
    """How many of its last tokens are also decoded one at a time."""
    long_every: int = 1
    """Of the tokens before those, each of so many has its logits kept."""

    @property
    def long_kept(self) -> tuple[int, ...]:
        """The places of the long text whose logits are kept, in order."""
        decoded = self.long - self.long_decoded
        return (*range(self.long_every - 1, decoded, self.long_every), *range(decoded, self.long))


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenModel:
    """One golden model, with the digests of its weights and logits."""

    family: str
    architecture: str
    config: Mapping[str, Any]
    tensors: tuple[GoldenTensor, ...]
    texts: GoldenTexts
    tokens: tuple[tuple[int, ...], ...]
    """The token ids of each text."""
    long_tokens: tuple[int, ...]
    """Those of the long text."""
    weights_sha256: str
    """SHA-256 over the values of all tensors in their order, as little-endian float32."""
    files: Mapping[str, str]
    """For each kind of weights, `plain`, the packed schemes, and `long` for those of the long text, the SHA-256 of the
    file with its logits."""
    folder: Path

    def expected(self, quantization: Quantization) -> array[float]:
        """The logits of the texts for this kind of weights, flat in the order (texts, tokens, vocabulary).

        Raises PlimsollError where the file's digest differs.
        """
        return self._read(weights_kind(quantization))

    def expected_long(self) -> array[float]:
        """The logits of plain weights at the kept places of the long text, flat in the order (places, vocabulary).

        Raises PlimsollError where the file's digest differs.
        """
        return self._read(LONG)

    def _read(self, kind: str) -> array[float]:
        path = self.folder / f"{self.family}-{kind}.f32"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PlimsollError(f"{path} cannot be read ({reason_of(error)}); install plimsoll again") from None
        if hashlib.sha256(content).hexdigest() != self.files[kind]:
            raise PlimsollError(f"{path} has other content than was made; install plimsoll again")
        return floats(content)

    def asked(self, quantization: Quantization) -> tuple[tuple[int, ...], ...]:
        """The texts that are given to weights of this kind."""
        return self.tokens[: self.texts.packed_texts] if quantization.is_quantized else self.tokens

    def asked_long(self, quantization: Quantization) -> tuple[int, ...]:
        """The long text for weights of this kind; empty for packed ones, whose attention is no other."""
        return () if quantization.is_quantized else self.long_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenLimit:
    """How far logits of these weights may lie from the expected ones (relative RMS error), and why."""

    quantizations: tuple[Quantization, ...]
    families: tuple[str, ...]
    high: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """All golden models, in the order of the definition, with their limits."""

    models: Mapping[str, GoldenModel]
    limits: tuple[GoldenLimit, ...]

    def limit(self, family: str, quantization: Quantization) -> GoldenLimit:
        """The limit for weights of a family; PlimsollError where there is none."""
        for limit in self.limits:
            if quantization in limit.quantizations and family in limit.families:
                return limit
        raise PlimsollError(f"{DEFINITION} has no limit for {family} in {quantization}")


def weights_kind(quantization: Quantization) -> str:
    """The name under which the logits of such weights are stored: all plain dtypes share one."""
    return str(quantization.value) if quantization.is_quantized else _PLAIN


def floats(content: bytes) -> array[float]:
    """Decode little-endian float32 numbers. Raises PlimsollError for an incomplete last number."""
    numbers: array[float] = array("f")
    if len(content) % numbers.itemsize:
        raise PlimsollError(f"{len(content)} bytes are no whole number of float32 values")
    numbers.frombytes(content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def read_golden(root: Path | None = None) -> Golden:
    """Read the golden models of the catalogue under `root`, by default the shipped one.

    Raises PlimsollError for files that are missing or were not made from this definition.
    """
    folder = (root or shipped_root()) / FOLDER
    try:
        return _golden_of(folder, _text(folder / DEFINITION), _text(folder / MANIFEST))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlimsollError(f"{folder} holds no golden models ({type(error).__name__}: {error})") from None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@lru_cache(maxsize=2)  # the plan and pytest ask for them once for each device
def _golden_of(folder: Path, definition: str, manifest: str) -> Golden:
    defined = tomllib.loads(definition)
    models = {model.family: model for model in _models(folder, defined, json.loads(manifest))}
    return Golden(models=models, limits=tuple(_limit(entry) for entry in defined["limit"]))


def _models(folder: Path, definition: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[GoldenModel]:
    texts = read_texts(definition)
    for family, entry in definition["family"].items():
        results = made["family"][family]
        yield GoldenModel(
            family=family,
            architecture=entry["architecture"],
            config=entry["config"],
            tensors=tuple(tensors_of(entry["config"], definition["exponents"])),
            texts=texts,
            tokens=tuple(tuple(text) for text in results["tokens"]),
            long_tokens=tuple(results["long_tokens"]),
            weights_sha256=results["weights_sha256"],
            files=results["files"],
            folder=folder,
        )


def read_texts(definition: Mapping[str, Any]) -> GoldenTexts:
    """The [texts] of a definition."""
    return GoldenTexts(**{**definition["texts"], "padded": tuple(definition["texts"]["padded"])})


def _limit(entry: Mapping[str, Any]) -> GoldenLimit:
    return GoldenLimit(
        quantizations=tuple(Quantization(name) for name in entry["quantizations"]),
        families=tuple(entry["families"]),
        high=float(entry["high"]),
        source=str(entry["source"]),
    )


def tensors_of(config: Mapping[str, Any], exponents: Mapping[str, int]) -> Iterator[GoldenTensor]:
    """Every tensor of a checkpoint of this configuration, with its published name and shape."""
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]

    def tensor(name: str, shape: tuple[int, ...], role: str | None) -> GoldenTensor:
        return GoldenTensor(name=name, shape=shape, exponent=None if role is None else exponents[role])

    yield tensor("model.embed_tokens.weight", (vocabulary, hidden), "embedding")
    for number in range(config["num_hidden_layers"]):
        for name, shape, role in (*_attention(config), *_feed_forward(config)):
            yield tensor(f"model.layers.{number}.{name}", shape, role)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield tensor(f"model.layers.{number}.{name}.weight", (hidden,), None)
    yield tensor("model.norm.weight", (hidden,), None)
    if not config["tie_word_embeddings"]:
        yield tensor("lm_head.weight", (vocabulary, hidden), "head")


_Part = tuple[str, tuple[int, ...], str]


def _attention(config: Mapping[str, Any]) -> Iterator[_Part]:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    width = hidden // heads
    kept = config["num_key_value_heads"] * width
    if config["model_type"] == "phi3":
        yield "self_attn.qkv_proj.weight", (hidden + 2 * kept, hidden), "query"
    else:
        for letter, rows, role in (("q", hidden, "query"), ("k", kept, "key"), ("v", kept, "value")):
            yield f"self_attn.{letter}_proj.weight", (rows, hidden), role
            if config["model_type"] == "qwen2":
                yield f"self_attn.{letter}_proj.bias", (rows,), "bias"
    yield "self_attn.o_proj.weight", (hidden, hidden), "output"


def _feed_forward(config: Mapping[str, Any]) -> Iterator[_Part]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    if config["model_type"] == "phi3":
        yield "mlp.gate_up_proj.weight", (2 * inner, hidden), "gate"
        yield "mlp.down_proj.weight", (hidden, inner), "down"
    elif config["model_type"] == "mixtral":
        yield "block_sparse_moe.gate.weight", (config["num_local_experts"], hidden), "router"
        for expert in range(config["num_local_experts"]):
            for letter, shape, role in (
                ("w1", (inner, hidden), "gate"),
                ("w2", (hidden, inner), "down"),
                ("w3", (inner, hidden), "up"),
            ):
                yield f"block_sparse_moe.experts.{expert}.{letter}.weight", shape, role
    else:
        yield "mlp.gate_proj.weight", (inner, hidden), "gate"
        yield "mlp.up_proj.weight", (inner, hidden), "up"
        yield "mlp.down_proj.weight", (hidden, inner), "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementModel:
    """A model made by a formula, and how it is run. What the formula does not define comes from its golden `base`."""

    id: str
    base: GoldenModel
    config: Mapping[str, Any]
    tensors: tuple[GoldenTensor, ...]
    devices: tuple[str, ...]
    """The kinds of devices that run it: `cpu`, `cuda`."""
    batches: tuple[int, ...]
    """Texts in one batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementModels:
    """All agreement models, in the order of the file."""

    models: Mapping[str, AgreementModel]
    quantizations: tuple[Quantization, ...]
    rounds: int
    """How often each device runs each model."""


def read_agreement(root: Path | None = None) -> AgreementModels:
    """Read the agreement models of the catalogue under `root`, by default the shipped one.

    Raises PlimsollError for files that are missing or invalid.
    """
    folder = (root or shipped_root()) / FOLDER
    try:
        read_golden(root)  # what is wrong with them is said there
        return _agreement_of(folder, *(_text(folder / name) for name in (_AGREEMENT, DEFINITION, MANIFEST)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlimsollError(f"{folder / _AGREEMENT} holds no models ({type(error).__name__}: {error})") from None


@lru_cache(maxsize=2)  # likewise
def _agreement_of(folder: Path, agreement: str, definition: str, manifest: str) -> AgreementModels:
    defined, exponents = tomllib.loads(agreement), tomllib.loads(definition)["exponents"]
    golden = _golden_of(folder, definition, manifest)
    return AgreementModels(
        models={model.id: model for model in _agreement_models(defined, golden.models, exponents)},
        quantizations=tuple(Quantization(name) for name in defined["quantizations"]),
        rounds=int(defined["rounds"]),
    )


def _agreement_models(
    definition: Mapping[str, Any], golden: Mapping[str, GoldenModel], exponents: Mapping[str, int]
) -> Iterator[AgreementModel]:
    for name, entry in definition["model"].items():
        base = golden[entry["family"]]
        config = {**base.config, **entry.get("config", {})}
        shifted = {role: exponent + entry["shift"] for role, exponent in exponents.items()}
        yield AgreementModel(
            id=name,
            base=base,
            config=config,
            tensors=tuple(tensors_of(config, shifted)),
            devices=tuple(entry["devices"]),
            batches=tuple(entry["batches"]),
        )
