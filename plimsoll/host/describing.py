"""The request for a description of a configuration, and the reply: its class, its parameters, its abilities. Beside it
the request to hold the files of a folder against its configuration.

Requests and replies are frozen values that cross the pipe; the host's side is `host.server.describing` and
`host.server.fitting`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.host.protocol import LoadSpec, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Parameters, exactly, of the model on the meta device; tied ones once."""

    total: int
    active: int | None
    """Those that one token goes through: all but the experts that it is not sent to. None where the configuration does
    not say how many experts a token is sent to."""
    embedding: int
    """In embeddings, the output head too where it is tied to one."""
    experts: int
    """In the experts of a mixture; 0 where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the configuration says of the text part, once its class has filled in the defaults; None for what it does
    not have."""

    layers: int | None
    hidden_size: int | None
    intermediate_size: int | None
    vocabulary: int | None
    heads: int | None
    key_value_heads: int | None
    head_dim: int | None
    context: int | None
    """`max_position_embeddings`, in tokens."""
    window: int | None
    """Tokens that layers with a sliding window look back over; None where there is no window."""
    window_layers: int | None
    """How many layers have it, where the configuration tells layers apart; None where it does not."""
    experts: int | None
    experts_per_token: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a configuration gives, in this environment's transformers."""

    transformers: str
    """Its version."""
    model_type: str
    architecture: str
    auto_class: str
    """The class of transformers that builds it: an automatic one, or the architecture itself where none does."""
    named: bool
    """False where the configuration names no architecture, and the class is the one that transformers takes then."""
    counts: Counts
    tied: bool
    """True where the output head is an embedding's weight."""
    shape: Shape
    rope: Mapping[str, Any]
    """`rope_parameters`, as the class reads them; empty where it has none."""
    attention: tuple[str, ...]
    """transformers' names of the implementations that the class supports; `eager` is every class's own."""
    generates: bool
    """True for a class that transformers can generate text with."""
    encoder_decoder: bool
    dtype: str | None
    """The torch dtype name in which the weights were saved, as the configuration says."""
    scheme: str
    """The quantization that the weights were saved in, as the configuration says; empty for floats."""
    not_packed: Mapping[str, str]
    """Quantizations that the software stack cannot apply to all that they should cover, each with the reason."""
    skipped: Mapping[str, tuple[str, ...]]
    """Quantization -> what `llm_int8_skip_modules` must name for the class to work in it; without those for which the
    default list will do."""
    config: Mapping[str, Any]
    """The keyword arguments for an entry: `model_type` and the keys that the class reads."""
    config_null: tuple[str, ...]
    """The keys that are null, where the class has another default."""
    generation_fault: str = ""
    """Why transformers does not take the settings of generation; empty where it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe(Request[Description]):
    """Ask what a configuration gives. A PlimsollError says why there is nothing to describe."""

    config_json: str
    """config.json as it is, or an entry's configuration."""
    architecture: str = ""
    """The class that an entry names; empty for the one that the configuration does."""
    auto_class: str = ""
    generation_json: str = "{}"
    """generation_config.json as it is, or a table without keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How the files of a folder go with its configuration, as a load would find; empty where nothing is wrong, and
    where this environment cannot tell."""

    fault: str = ""
    """A tensor whose shape in its file is not the one that the configuration asks for, with both."""
    misshapen: int = 0
    """How many there are."""
    missing: tuple[str, ...] = ()
    """Tensors that the class has and the files do not."""
    unexpected: tuple[str, ...] = ()
    """Tensors that the files have and the class does not."""
    refusal: str = ""
    """Why a load would refuse the folder whatever its weights are, with the next step: its index, the settings of
    generation, the tokenizer, the chat template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TryFolder(Request[Fit]):
    """Ask how the files of a folder go with its configuration. No weight is read."""

    spec: LoadSpec
    """How a run would load it."""
