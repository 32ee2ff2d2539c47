"""What the catalogue holds of datasets, as frozen values: where the questions come from, how they are asked and scored,
and which variants are asked which of them.

Apart from the other entries: whoever loads models needs none of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from plimsoll.catalogue.entries import Origin


class DatasetSchema(StrEnum):
    """Which fields a row has, and what they mean: one for each official format."""

    TRIVIA_QA = "trivia_qa"
    SQUAD_V2 = "squad_v2"
    NQ_OPEN = "nq_open"
    SVAMP = "svamp"
    BIOASQ = "bioasq"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectnessRule:
    """When an answer counts as right. Rankings by uncertainty change with it, so every report states it."""

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
    """A commit, a tag or a branch of the Hub's repository; None takes the newest, and evidence says which that was."""
    split: str
    """The split that is asked."""
    shots_split: str
    """The split that few-shot examples are taken from."""
    licence: str
    registration: str | None
    """Where one registers for data that is not on the Hub; None for data that anybody can fetch."""
    prompt: str
    """The text of one question, with `{question}` and, where the schema has one, `{context}`; it ends where the answer
    begins. A few-shot example is the same text, a blank and its answer."""
    stop: str
    """Text at which an answer ends, beside the end token: base models go on with a next question."""
    max_new_tokens: int
    correct: CorrectnessRule
    split_sizes: Mapping[str, int] = field(default_factory=dict)
    """Rows a split, where they are known: a file that was cut short has fewer."""
    unanswerable: Mapping[str, int] = field(default_factory=dict)
    """How many of them have no answer, a split, where that is known."""
    miniature: str | None
    """Folder under `catalogue/miniatures/` with our own questions in the official format; None where there is none."""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Which variants are asked which datasets, in this order. A pair that no experiment names is not asked."""

    id: str
    description: str
    variants: tuple[str, ...]
    """Ids of variants, patterns already resolved, in the order in which they run."""
    datasets: tuple[str, ...]
    """Ids of datasets, likewise."""
    asked_with: tuple[str, ...] = ()
    """Marks whose mention in `-m` asks it, beside those of the datasets themselves."""
    origin: Origin
