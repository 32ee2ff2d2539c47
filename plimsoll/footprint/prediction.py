"""A prediction: everything about one variant before a byte is loaded, as numbers that need no torch.

A host computes it from the configuration; the controller keeps it, evaluates it for any batch and length, and writes it
to a cache on disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from plimsoll.catalogue.entries import Quantization, Variant
from plimsoll.catalogue.settings import merged_config
from plimsoll.footprint.activations import Activations, Cache
from plimsoll.footprint.sizes import Footprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The subject of a prediction: exactly what it depends on, so that variants with the same costs are predicted
    once."""

    config_json: str
    auto_class: str
    architecture: str
    quantization: Quantization
    attention: str
    """`eager`, or `fused` for every kind of attention that works in one kernel."""
    experts_covered: bool = True
    """False where fused experts stay in floats, as transformers and bitsandbytes leave them by default."""
    floats: str = ""
    """The torch dtype name of unpacked parts; empty for the quantization's own."""
    implementation: str = "sdpa"
    """transformers' name of the chosen attention, which a class may not have."""
    skipped: tuple[str, ...] | None = None
    """The modules that the entry's own `llm_int8_skip_modules` keeps in floats; None for the default ones."""

    @property
    def dtype(self) -> str:
        """The torch dtype name of unpacked parts."""
        return self.floats or self.quantization.compute_dtype

    @classmethod
    def of(cls, variant: Variant, *, experts_covered: bool | None = None) -> Self:
        """The subject of a variant; its load options say whether experts are covered, where `experts_covered` does
        not."""
        stock = variant.load_options.get("fused_experts") == "stock"
        return cls(
            config_json=_canonical(merged_config(variant.model.config, variant.config)),
            auto_class=variant.model.auto_class,
            architecture=variant.model.architecture,
            quantization=variant.quantization,
            attention="eager" if variant.attention == "eager" else "fused",
            experts_covered=not stock if experts_covered is None else experts_covered,
            floats=variant.dtype,
            implementation=variant.attention,
            skipped=_skipped(variant.load_options.get("quantization_config")),
        )


def _skipped(fields: object) -> tuple[str, ...] | None:
    names = fields.get("llm_int8_skip_modules") if isinstance(fields, Mapping) else None
    return None if names is None else tuple(map(str, names))


_SIZES_NOTHING: Final = ("bos_token_id", "eos_token_id")
"""Keys of a configuration in which a base model and its instructed version may differ, and which affect no shape."""


def _canonical(config: Mapping[str, Any]) -> str:
    """A configuration as one text, whatever the order of its keys."""
    return json.dumps({key: value for key, value in config.items() if key not in _SIZES_NOTHING}, sort_keys=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a loaded model does at once: so many prompts of so many tokens, each continued by so many new tokens."""

    batch: int
    prompt: int
    new: int
    all_logits: bool = False
    """True where the logits of every position of the prompt are needed, as for scoring texts."""

    def __str__(self) -> str:
        tokens = "1 token" if self.prompt == 1 else f"{self.prompt:,} tokens"
        if self.batch == 1:
            return f"a prompt of {tokens} and {self.new:,} new ones"
        return f"{self.batch:,} prompts of {tokens} and {self.new:,} new ones each"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureFacts:
    """What the configuration says about the architecture, with the class's defaults; None for what it does not have."""

    hidden_size: int | None
    key_value_heads: int | None
    context_length: int | None
    sliding_window: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why an architecture cannot be run as its entry asks, on any machine; known before anything is loaded."""

    have: str
    need: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one variant should take; sizes in bytes. `cache` and `activations` are None where no forward pass could be
    followed on the meta device, and `unpredicted` then says why."""

    footprint: Footprint
    facts: ArchitectureFacts
    cache: Cache | None = None
    activations: Activations | None = None
    unpredicted: str = ""
    followed: str = ""
    """The part of the model whose forward pass was followed, such as `thinker`; empty for the whole."""
    obstacle: Obstacle | None = None
    remarks: tuple[str, ...] = ()
    """Notes for the reader of a plan: weights that the software stack will leave in floats, unexpected defaults."""

    def __post_init__(self) -> None:
        if (self.cache is None or self.activations is None) and not self.unpredicted:
            raise ValueError("a prediction without cache or activations needs the reason why")

    def prompt_bytes(self, batch: int, prompt: int, *, all_logits: bool = False) -> int | None:
        """The peak of a prompt's pass besides the weights: cache and activations. None where not predicted."""
        if self.cache is None or self.activations is None:
            return None
        peak = self.activations.of_prompt(batch, prompt, all_logits=all_logits)
        return self.cache.of_prompt(batch, prompt) + peak

    def running_bytes(self, workload: Workload) -> int | None:
        """The peak of a workload besides the weights: the prompt's pass, or the last token's. None where not
        predicted."""
        first = self.prompt_bytes(workload.batch, workload.prompt, all_logits=workload.all_logits)
        if first is None or self.cache is None or self.activations is None or not workload.new:
            return first
        tokens = workload.prompt + workload.new
        last = self.cache.held(workload.batch, tokens) + self.activations.of_token(workload.batch, tokens)
        return max(first, last)
