"""Defines the shape of the catalogue's files: the tables, their keys, and the allowed values.

These pydantic models check the values of one table one by one; `consistency` and `references` check what several keys
or tables must have in common. They are apart from the entries, which the rest of the project uses: a file may group
what the entries list one by one, and writes quantities with their unit.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from plimsoll.catalogue.entries import DatasetSchema, LimitedSide, Quantization, WeightSource
from plimsoll.catalogue.settings import PLANNERS, read_device_map
from plimsoll.errors import PlimsollError
from plimsoll.units import SCALE, to_base
from plimsoll.userpath import user_path
from plimsoll.usertoml.reading import shows_something
from plimsoll.usertoml.suggest import did_you_mean

REFUSED: Final = "plimsoll"
"""The type of errors with our own text, in their context's `what` and `fix`."""

_QUANTITY: Final = re.compile(r"(?P<number>[0-9][0-9_]*(\.[0-9_]*)?([eE][+-]?[0-9]+)?)\s*(?P<unit>[A-Za-z%]\S*)")


def _refuse(what: str, fix: str = "") -> PydanticCustomError:
    return PydanticCustomError(REFUSED, "{what}", {"what": what, "fix": fix})


def _shaped(pattern: str, what: str) -> AfterValidator:
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            shown = value if len(value) <= 60 else f"{value[:57]}..."
            raise _refuse(what.format(shown=repr(shown)) if value.strip() else "must not be empty")
        return value

    return AfterValidator(check)


def _quantity(base: str, example: str) -> BeforeValidator:
    units = [unit for unit, (its_base, _) in SCALE.items() if its_base == base]

    def read(value: object) -> float:
        match = _QUANTITY.fullmatch(value) if isinstance(value, str) and len(value) < 60 else None
        if match is None:
            raise _refuse(f"must be a number with a unit, such as '{example}', not {value!r:.60}")
        if match["unit"] not in units:
            raise _refuse(f"unknown unit '{match['unit']}'", did_you_mean(match["unit"], units))
        amount, _ = to_base(float(match["number"].replace("_", "")), match["unit"])
        if not isfinite(amount) or amount <= 0:
            raise _refuse(f"must be more than zero and finite, not '{value}'")
        return amount

    return BeforeValidator(read)


def _device_map(value: object) -> object:
    if not isinstance(value, dict | str):
        raise _refuse("must be text such as 'auto' or 'cuda:0', or a table of module = device")
    try:
        return read_device_map(value)
    except ValueError as error:
        raise _refuse(str(error), did_you_mean(value, PLANNERS) if isinstance(value, str) else "") from None


def _visible(value: str) -> str:
    if not value.strip():
        raise _refuse("must not be empty")
    if not shows_something(value):
        raise _refuse(f"holds nothing that a reader sees: {value!a:.60}")
    return value


def _user_path(value: str) -> str:
    try:
        user_path(value)
    except PlimsollError as error:
        raise _refuse(str(error)) from None
    return value


# Ids become test ids, file names and HTML; two of them must fit into a file name of 255 bytes.
Id = Annotated[
    str,
    _shaped(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
        "{shown} cannot be an id: up to 100 letters, digits, '.', '_' and '-', a letter or a digit first",
    ),
]
Text = Annotated[str, AfterValidator(_visible)]
UserPath = Annotated[Text, AfterValidator(_user_path)]
ClassName = Annotated[str, _shaped(r"[A-Za-z_][A-Za-z0-9_]*", "{shown} is not the name of a class")]
DottedName = Annotated[
    str, _shaped(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", "{shown} is not the name of an exception such as 'MemoryError'")
]
Signal = Annotated[str, _shaped(r"SIG[A-Z0-9]+", "{shown} is not a signal such as 'SIGKILL'")]
HubId = Annotated[
    str, _shaped(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", "{shown} is not a Hub id such as 'owner/name'")
]
FileName = Annotated[
    str,
    _shaped(r"(?!/|\./)(?!(.*/)?\.\.(/|$))[^\\\0]*[^/\\\0]", "{shown} is not the name of a file in the folder"),
]
Sha256 = Annotated[str, _shaped(r"[0-9a-f]{64}", "{shown} is not the 64 digits of a SHA-256, as sha256sum prints them")]
Capability = Annotated[str, _shaped(r"[0-9]+\.[0-9]+", "{shown} is not a compute capability such as '9.0'")]
Seconds = Annotated[float, _quantity("s", "30 min")]
Bytes = Annotated[float, _quantity("bytes", "80 GB")]
BytesPerSecond = Annotated[float, _quantity("bytes/s", "3.35 TB/s")]
OperationsPerSecond = Annotated[float, _quantity("FLOP/s", "989 TFLOP/s")]
Count = Annotated[int, Field(gt=0)]
Rounds = Annotated[int, Field(ge=0)]
Bound = Annotated[float, Field(ge=0)]
Names = Annotated[list[Text], Field(min_length=1)]


class FileTable(BaseModel):
    """The base of all tables: no unknown keys, no conversions, no infinities."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class GenerationTable(FileTable):
    """`[model.generation]`."""

    max_new_tokens: Count
    do_sample: bool = False
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    pad_token: Text | None = None


class RecipeTable(FileTable):
    """`[model.recipe]`."""

    corpus: Id
    vocabulary: Count
    steps: Count
    batch: Count
    learning_rate: Annotated[float, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]
    shards: Count = 2
    datasets: list[Text] = []


class ModelTable(FileTable):
    """`[[model]]`. TOML has no null, so `config_null` names the keys of `config` that are null."""

    id: Id
    family: Id
    architecture: ClassName
    auto_class: ClassName = "AutoModelForCausalLM"
    source: Annotated[WeightSource, Field(strict=False)]
    hub_id: HubId | None = None
    revision: Text | None = None
    path: UserPath | None = None
    recipe: RecipeTable | None = None
    config: dict[str, Any]
    config_null: list[Text] = []
    generation: GenerationTable
    recommended_generation: dict[str, Any] = {}
    licence: Text
    gated: bool = False
    card: Text | None = None
    trust_remote_code: bool = False
    allow_pickle: Text | None = None
    hardware: Text | None = None
    tuned_from: Id | None = None
    instruct: bool | None = None
    nll_per_byte: Annotated[float, Field(gt=0)] | None = None
    sha256: dict[FileName, Sha256] = {}
    marks: list[Text] = []
    replaces: bool = False


class VariantShape(FileTable):
    """`[[variant]]`: every one of `models` in every one of `quantizations`."""

    models: Names
    quantizations: Annotated[list[Annotated[Quantization, Field(strict=False)]], Field(min_length=1)]
    tier: Text
    name: Id | None = None
    attention: Literal[
        "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention"
    ] = "sdpa"
    device_map: Annotated[Any, AfterValidator(_device_map)] = None
    load_options: dict[str, Any] = {}
    config: dict[str, Any] = {}
    tokenizer: dict[str, Any] = {}
    marks: list[Text] = []
    replaces: bool = False


class TierTable(FileTable):
    """`[[tier]]`."""

    id: Id
    description: Text
    device: Literal["cpu", "cuda"]
    cold_rounds: Rounds
    warm_rounds: Rounds
    load_deadline: Seconds
    request_deadline: Seconds
    replaces: bool = False


class ProfileTable(FileTable):
    """`[[profile]]`: one GPU of a data sheet; each number in `counts` makes a machine with so many of them."""

    id: Id
    gpu: Text
    counts: Annotated[list[Count], Field(min_length=1)] = [1]
    memory: Bytes
    bandwidth: BytesPerSecond
    bf16_rate: OperationsPerSecond
    compute_capability: Capability | None = None
    source: Text
    replaces: bool = False


class ClaimTable(FileTable):
    """`[[claim]]`: `variants` are patterns over variant ids; `low` and `high` are in `unit`."""

    variants: Names
    metric: Text
    low: Bound | None = None
    high: Bound | None = None
    unit: Text
    source: Text
    quote: Text | None = None
    limits: Annotated[LimitedSide, Field(strict=False)] = LimitedSide.BOTH
    together: bool = False
    conditions: dict[str, Any] = {}
    disputed: Text | None = None
    replaces: bool = False


class FloorTable(FileTable):
    """`[[floor]]`: `devices` are patterns over names of GPUs as NVML gives them, or `cpu`; `low` and `sheet` are in
    `unit`."""

    devices: Names
    metric: Text
    of: Text | None = None
    low: Annotated[float, Field(gt=0)]
    sheet: Annotated[float, Field(gt=0)] | None = None
    unit: Text
    source: Text


class StatementTable(FileTable):
    """`[[statement]]`: `models` are patterns over model ids."""

    models: Names
    says: Text
    source: Text
    disputed: Text | None = None


class CorrectTable(FileTable):
    """`[dataset.correct]`: when an answer counts as right."""

    metric: Text
    at_least: Annotated[float, Field(gt=0, le=1)]


class DatasetTable(FileTable):
    """`[[dataset]]`."""

    id: Id
    title: Text
    schema_: Annotated[DatasetSchema, Field(strict=False, alias="schema")]
    hub_id: HubId | None = None
    config: Text | None = None
    revision: Text | None = None
    split: Text
    shots_split: Text
    licence: Text
    registration: Text | None = None
    prompt: Text
    stop: Text = "\n"
    max_new_tokens: Count
    correct: CorrectTable
    split_sizes: dict[str, Count] = {}
    unanswerable: dict[str, Rounds] = {}
    miniature: Id | None = None
    replaces: bool = False


class ExperimentTable(FileTable):
    """`[[experiment]]`: `variants` and `datasets` are patterns over ids, asked in their order."""

    id: Id
    description: Text
    variants: Names
    datasets: Names
    asked_with: list[Text] = []
    replaces: bool = False


class NextInTable(FileTable):
    """`[symptom.next_in]`: what to do instead in a given place."""

    container: Text | None = None
    kubernetes: Text | None = None
    slurm: Text | None = None


class SignTable(FileTable):
    """`[[symptom.sign]]`: one way in which it shows."""

    message: list[Text] = []
    beside: list[Text] = []
    unless: list[Text] = []
    exception: list[DottedName] = []
    signal: list[Signal] = []
    evidence: dict[str, str | int | bool] = {}
    facts: list[Id] = []
    otherwise: bool = False
    cause: Text | None = None
    next: Text | None = None
    next_in: NextInTable = Field(default_factory=NextInTable)


class SymptomTable(FileTable):
    """`[[symptom]]`."""

    id: Id
    title: Text
    cause: Text
    next: Text
    next_in: NextInTable = Field(default_factory=NextInTable)
    explains: list[Id] = []
    sign: Annotated[list[SignTable], Field(min_length=1)]
    see: Text | None = None
    replaces: bool = False


SCHEMAS: Final[dict[str, type[FileTable]]] = {
    "tier": TierTable,
    "profile": ProfileTable,
    "model": ModelTable,
    "variant": VariantShape,
    "dataset": DatasetTable,
    "experiment": ExperimentTable,
    "claim": ClaimTable,
    "floor": FloorTable,
    "statement": StatementTable,
    "symptom": SymptomTable,
}
"""In the order in which they are checked."""

NESTED: Final[dict[str, type[FileTable]]] = {
    "generation": GenerationTable,
    "recipe": RecipeTable,
    "correct": CorrectTable,
    "sign": SignTable,
    "next_in": NextInTable,
}
"""The tables inside another whose keys are ours."""


def keys_of(schema: type[FileTable]) -> tuple[str, ...]:
    """The keys of a table as written in a file."""
    return tuple(field.alias or name for name, field in schema.model_fields.items())
