"""The entries of the catalogue, as frozen values.

The words are those of the design: a *model* is an entry, a *variant* one way to load it, a *tier* what a variant needs
of a machine, a *profile* a reference machine of the data sheets, a *claim* what a document says that a variant costs.
Sizes are in bytes, times in seconds: units of the files are converted when they are read. A *dataset* says where
questions come from and how they are asked and scored; an *experiment* says which variants are asked which datasets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final


class DatasetSchema(StrEnum):
    """The official formats of rows: which fields a row has, and what they mean."""

    TRIVIA_QA = "trivia_qa"
    SQUAD_V2 = "squad_v2"
    NQ_OPEN = "nq_open"
    SVAMP = "svamp"
    BIOASQ = "bioasq"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectnessRule:
    """The rule by which an answer counts as right. Rankings by uncertainty depend on it, so every report states it."""

    metric: str
    """A score of `plimsoll.metrics`: `exact_match`, `f1`, `rouge_l`, `numeric`, ..."""
    at_least: float
    """In the score's own range, 0 to 1."""

    def __str__(self) -> str:
        return f"{self.metric} >= {self.at_least:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset: where its questions come from, under which terms, how they are asked and scored."""

    id: str
    """Also a pytest mark: `triviaqa`, `squad`, `nq`, `bioasq`, `svamp`."""
    title: str
    schema: DatasetSchema
    hub_id: str | None
    config: str | None
    revision: str | None
    """A commit, tag or branch of the Hub's repository; None for the newest, and evidence says which that was."""
    split: str
    """The split that is asked."""
    shots_split: str
    """The split that few-shot examples are taken from."""
    licence: str
    registration: str | None
    """Where to register for data that is not on the Hub; None for data that anybody can fetch."""
    prompt: str
    """The text of one question, with `{question}` and, where the schema has one, `{context}`; it ends where the answer
    begins. A few-shot example is the same text, a blank and its answer."""
    stop: str
    """Texts that end an answer, besides the end token: base models would continue with another question."""
    max_new_tokens: int
    correct: CorrectnessRule
    split_sizes: Mapping[str, int] = field(default_factory=dict)
    """Split -> number of rows, where it is known: a truncated file has fewer."""
    unanswerable: Mapping[str, int] = field(default_factory=dict)
    """Split -> number of rows without an answer, where it is known."""
    miniature: str | None
    """Folder under `catalogue/miniatures/` with our own questions in the official format; None for no miniature."""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Which variants are asked which datasets, in this order. Pairs that no experiment names are not asked."""

    id: str
    description: str
    variants: tuple[str, ...]
    """Ids of variants, patterns already resolved, in the order in which they run."""
    datasets: tuple[str, ...]
    """Ids of datasets, likewise."""
    asked_with: tuple[str, ...] = ()
    """Marks that select it in `-m`, besides those of the datasets themselves."""
    origin: Origin


_NONE: Mapping[str, int | float | str] = MappingProxyType({})


class Quantization(StrEnum):
    """How the weights are stored after loading."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"
    NF4 = "nf4"
    NF4_DQ = "nf4-dq"

    @property
    def is_quantized(self) -> bool:
        """True where linear weights are packed by bitsandbytes instead of stored as floats."""
        return self in (Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ)

    @property
    def compute_dtype(self) -> str:
        """The torch dtype name of everything that is not packed: `float32`, `bfloat16` or `float16`."""
        return {"fp32": "float32", "fp16": "float16"}.get(self.value, "bfloat16")


def float_dtype(quantization: Quantization, load_options: Mapping[str, Any]) -> str:
    """The torch dtype name of everything that is not packed: the dtype in which an entry has a packed model compute
    (`bnb_4bit_compute_dtype`), else the quantization's own.

    A GPU without bfloat16 can then hold a packed model whole: its embeddings and norms are in float16 too.
    """
    fields = load_options.get("quantization_config")
    asked = fields.get("bnb_4bit_compute_dtype") if isinstance(fields, Mapping) else None
    known = isinstance(asked, str) and asked.removeprefix("torch.") in ("float16", "bfloat16", "float32")
    return str(asked).removeprefix("torch.") if known and quantization.is_quantized else quantization.compute_dtype


class WeightSource(StrEnum):
    """Where the weights of a variant come from; evidence names it."""

    HUB = "hub"
    LOCAL = "local"
    TRAINED = "trained"
    SYNTHETIC = "synthetic"


KEY_OF_SOURCE: Final = {WeightSource.HUB: "hub_id", WeightSource.LOCAL: "path", WeightSource.TRAINED: "recipe"}
"""The key of a model's entry that says where weights of a source are; synthetic weights need none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The file and key path from which an entry was read, for messages: `catalogue/tiny.toml: model[3]`."""

    file: Path
    key: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The generation settings that the suite sets explicitly, never a checkpoint's own."""

    max_new_tokens: int
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    pad_token: str | None = None
    """Text of the padding token; None for the end-of-sequence token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a small checkpoint is trained (source `trained`). Everything that changes the weights is in here or in the
    model's `config`, so that their hash names the checkpoint."""

    corpus: str
    """Name of a corpus under `catalogue/corpus/`."""
    vocabulary: int
    """Size of the trained tokenizer's vocabulary, special tokens included."""
    steps: int
    batch: int
    learning_rate: float
    seed: int
    shards: int = 2
    """Least number of safetensors files that the checkpoint is saved as."""
    datasets: tuple[str, ...] = ()
    """Ids of datasets whose miniatures' example splits are taught too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An entry of the catalogue: which weights, of which architecture, under which terms."""

    id: str
    family: str
    """A mark: `llama`, `qwen`, `mistral`, `mixtral`, `phi`, ..."""
    auto_class: str
    """The transformers class that loads it, `AutoModelForCausalLM` for most."""
    architecture: str
    """The transformers model class, `MixtralForCausalLM`."""
    config: Mapping[str, Any]
    """Keyword arguments of the transformers configuration, including `model_type`: enough to build the model without a
    network."""
    source: WeightSource
    hub_id: str | None = None
    revision: str | None = None
    path: Path | None = None
    """Folder of a `local` checkpoint, absolute."""
    recipe: Recipe | None = None
    taught: tuple[Dataset, ...] = ()
    """The datasets that its recipe names."""
    generation: Generation
    recommended_generation: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `generate` that its makers recommend. A record only: the suite uses `generation`."""
    licence: str
    gated: bool = False
    card: str | None = None
    trust_remote_code: bool = False
    allow_pickle: str | None = None
    """Why a checkpoint that is not safetensors may be loaded; None to refuse it."""
    hardware: str | None = None
    """The hardware that the model card assumes, in words."""
    tuned_from: str | None = None
    """Id of the model that this one was instruction-tuned from; None for a base model."""
    instruct: bool | None = None
    """True for a model that answers in chats and ends its answers; None to decide by `tuned_from`, else by whether the
    checkpoint has a chat template."""
    nll_per_byte: float | None = None
    """Its known negative log-likelihood of the shipped plain text in bf16, in nats a byte; None where nobody measured
    it."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """File of its checkpoint -> the SHA-256 digest that it must have, for as many files as the entry names."""
    marks: tuple[str, ...] = ()
    is_cut: bool = False
    """True where a run removed layers: id and `config` say how many are left."""
    origin: Origin

    @property
    def is_packed(self) -> bool:
        """True for a checkpoint that was saved quantized, as far as its entry or its folder shows."""
        if self.config.get("quantization_config"):
            return True
        if self.path is None:
            return False
        try:
            told = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(told, dict) and bool(told.get("quantization_config"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What a variant needs of a machine; also a pytest mark."""

    id: str
    description: str
    device: str
    """`cpu` or `cuda`."""
    cold_rounds: int
    warm_rounds: int
    """Timed loads with the checkpoint evicted from the page cache, and with it present there, each; 0 for none."""
    load_deadline: float
    """Seconds after which a load counts as hung."""
    request_deadline: float
    """Seconds after which any other request to a host counts as hung."""
    instead_of: str | None = None
    """The device that its entry names, where a run uses `device` instead."""
    origin: Origin


class LimitedSide(StrEnum):
    """Which bounds of a claim a measurement must keep; the other bound is only a record."""

    BOTH = "both"
    LOW = "low"
    HIGH = "high"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a document says that a variant costs. At least one bound is set; `low <= high`; both in base units."""

    variants: tuple[str, ...]
    """Ids of the variants it speaks of, patterns already resolved."""
    metric: str
    low: float | None
    high: float | None
    unit: str
    """The base unit of the metric."""
    source: str
    quote: str | None = None
    """The document's own words, where the bounds interpret them: `~40GB`."""
    limits: LimitedSide = LimitedSide.BOTH
    together: bool = False
    """True where the figure is for all of `variants` at once: a disk that holds them, a training that needs both."""
    conditions: Mapping[str, int | float | str] = field(default_factory=dict)
    """The conditions under which the figure holds (`batch`, `sequence`, ...), where they are not those of a load."""
    disputed: str | None = None
    """Why the claim cannot hold, with the arithmetic; None where it is not disputed."""
    shipped: bool = True
    """False for one of a user's file."""
    origin: Origin

    @property
    def is_limit(self) -> bool:
        """True where this claim limits a measurement of one variant's load, as the suite makes it."""
        return self.limits_under({})

    def limits_under(self, circumstances: Mapping[str, int | float | str]) -> bool:
        """True where this claim limits a measurement of one variant under these circumstances: they must meet all its
        conditions. A figure for a batch of 8 says nothing about a measurement with no stated batch."""
        aside = self.disputed is not None or self.together
        met = all(name in circumstances and circumstances[name] == value for name, value in self.conditions.items())
        return met and not aside and (self.limit_low is not None or self.limit_high is not None)

    @property
    def limit_low(self) -> float | None:
        """The least that a measurement may be; None where the low bound is only a record, or missing."""
        return self.low if self.limits in (LimitedSide.BOTH, LimitedSide.LOW) else None

    @property
    def limit_high(self) -> float | None:
        """The most that a measurement may be; None where the high bound is only a record, or missing."""
        return self.high if self.limits in (LimitedSide.BOTH, LimitedSide.HIGH) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A document's claim about models that is not a figure: an id, a licence, a required setting."""

    models: tuple[str, ...]
    """Ids of the models it speaks of, patterns already resolved."""
    says: str
    source: str
    disputed: str | None = None
    """Why it does not hold; None where it is undisputed."""
    origin: Origin


_ON_GPUS: Final = re.compile(r":gpu\d[^/]*$")


def without_gpus(variant: str) -> str:
    """The id of a variant without the GPUs of this copy: `llama-3.1-8b/nf4` of `llama-3.1-8b/nf4:gpu0+gpu1`."""
    return _ON_GPUS.sub("", variant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to load a model; the parameter of most tests. `id` is `model/quantization`, or `model/name`."""

    id: str
    model: Model
    quantization: Quantization
    tier: Tier
    attention: str = "sdpa"
    """`attn_implementation` of transformers."""
    device_map: Mapping[str, str | int] | str | None = None
    """None for the whole model on the tier's device."""
    load_options: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments of `from_pretrained`; a `quantization_config` here replaces fields of the suite's."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """What it changes in the model's configuration: position embeddings, sliding window, context."""
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    """What it changes in the tokenizer: `use_fast`, `padding_side`, `pad_token`, `chat_template`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What --load-config added to the entry, in the spelling of transformers 5; empty for the entry as it is."""
    marks: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    """All claims on this variant, including disputed ones; claims on several variants together are in the catalogue."""
    gpus: tuple[str, ...] = ()
    """The ids of the GPUs that a run dealt to it, of which the first is its cuda:0; empty for none."""
    origin: Origin

    @property
    def entry_id(self) -> str:
        """The id of its entry, without the GPUs of this copy."""
        return without_gpus(self.id)

    @property
    def all_marks(self) -> tuple[str, ...]:
        """Every mark that selects this variant: tier, family, quantization, and the entry's own."""
        return tuple(
            dict.fromkeys((self.tier.id, self.model.family, self.quantization.value, *self.model.marks, *self.marks))
        )

    @property
    def dtype(self) -> str:
        """The torch dtype name of everything that is not packed, and of the computation."""
        return float_dtype(self.quantization, self.load_options)

    @property
    def is_altered(self) -> bool:
        """True where a run gave it fewer layers, or another device, than its entry says."""
        return self.model.is_cut or self.tier.instead_of is not None

    def claims_on(self, metric: str, circumstances: Mapping[str, int | float | str] = _NONE) -> tuple[Claim, ...]:
        """The claims that limit one metric under these circumstances, in the order of the files."""
        return tuple(claim for claim in self.claims if claim.metric == metric and claim.limits_under(circumstances))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A reference machine: the data sheet of its GPU, and how many of them it has."""

    id: str
    gpu: str
    count: int
    memory: int
    """Bytes a GPU, as the data sheet gives them."""
    bandwidth: float
    """Bytes a second, a GPU."""
    bf16_rate: float
    """Dense bf16 operations a second, a GPU."""
    compute_capability: str | None
    source: str
    origin: Origin


_INSTANCE: Final = "mig"
"""The word that marks an instance in NVML's name: `NVIDIA H100 80GB HBM3 MIG 1g.10gb`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The least that a speed of some devices may be."""

    devices: tuple[str, ...]
    """Patterns over the names of GPUs as NVML gives them; `cpu` for processors."""
    metric: str
    of: str | None
    """Which kind of the metric: a dtype of products, a direction of copies; None where the metric has only one."""
    low: float
    """In the metric's base unit."""
    sheet: float | None
    """What the product's data sheet promises, in the same unit; None where it promises nothing."""
    source: str
    origin: Origin

    def speaks_of(self, device: str, metric: str, of: str | None) -> bool:
        """True where it limits this metric for a device of this name."""
        name = device.casefold()
        # The name of an instance of a split GPU begins with the product's, and it has only a part of the whole's speed.
        named = any(
            fnmatchcase(name, pattern) and (_INSTANCE in pattern or _INSTANCE not in name.split())
            for pattern in map(str.casefold, self.devices)
        )
        return named and (self.metric, self.of) == (metric, of)


@dataclass(frozen=True, slots=True, kw_only=True)
class SymptomSign:
    """One way to recognise a symptom. All the kinds of signs that are given must be there; of several phrases,
    exceptions or signals one is enough."""

    message: tuple[str, ...] = ()
    """Phrases (`plimsoll.usertoml.phrases`), looked for in each line of a text."""
    beside: tuple[str, ...] = ()
    """Phrases that must all occur somewhere in the same text."""
    unless: tuple[str, ...] = ()
    """Phrases that must not occur in the line of the message."""
    exception: tuple[str, ...] = ()
    """Names of classes, with their module or without."""
    signal: tuple[str, ...] = ()
    """`SIGKILL`."""
    evidence: Mapping[str, str | int | bool] = field(default_factory=dict)
    """Facts that the suite knows besides a text: what the Hub answered, which figure was out of range."""
    facts: tuple[str, ...] = ()
    """Further names that `cause` and `next` may use, besides holes and evidence; where they are unknown, the symptom's
    own texts are used."""
    otherwise: bool = False
    """True for a sign that counts only where no other symptom was recognised."""
    cause: str = ""
    next: str = ""
    """Replaces the symptom's own, where this sign says more."""
    next_in: Mapping[str, str] = field(default_factory=dict)
    """What to do instead of `next` in a given place; see `Symptom.next_in`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """What a person sees when something is wrong, its cause, and one next step."""

    id: str
    """The anchor in docs/troubleshooting.md."""
    title: str
    cause: str
    next: str
    next_in: Mapping[str, str]
    """What to do instead in a given place: `container`, `kubernetes`, `slurm`."""
    explains: tuple[str, ...]
    """Symptoms that are only consequences of this one, and are not shown with it."""
    signs: tuple[SymptomSign, ...]
    """The most specific first."""
    see: str
    """Where to read more; empty for the project's own page."""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueFile:
    """A file that was read, with the SHA-256 of its bytes; `shipped` is False for a user's own."""

    path: Path
    sha256: str
    shipped: bool
    judges: bool = True
    """False for a file with symptoms only: it explains failures and decides nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All entries by id, in the order of the files."""

    models: Mapping[str, Model]
    variants: Mapping[str, Variant]
    tiers: Mapping[str, Tier]
    profiles: Mapping[str, Profile]
    claims: tuple[Claim, ...]
    statements: tuple[Statement, ...]
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    floors: tuple[Floor, ...] = ()
    symptoms: tuple[Symptom, ...] = ()
    """The user's before the shipped ones, as they know the site better; otherwise in the order of the files."""
    files: tuple[CatalogueFile, ...]

    def floor_of(self, device: str, metric: str, of: str | None = None) -> Floor | None:
        """The floor of a metric for a device of this name; of several the last one read, so that a user's floor
        overrides a shipped one; None for no floor."""
        found = [floor for floor in self.floors if floor.speaks_of(device, metric, of)]
        return found[-1] if found else None

    @property
    def limits_are_shipped(self) -> bool:
        """False where any user's file decides something: the verdict then says so."""
        return all(file.shipped or not file.judges for file in self.files)
