"""The shape of the tables about datasets; what it says of `schema` holds here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from plimsoll.catalogue.datasets import DatasetSchema
from plimsoll.catalogue.schema import Count, FileTable, HubId, Id, Names, Rounds, Text


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
    split_sizes: dict[str, Count] = Field(default_factory=dict)
    unanswerable: dict[str, Rounds] = Field(default_factory=dict)
    miniature: Id | None = None
    replaces: bool = False


class ExperimentTable(FileTable):
    """`[[experiment]]`: `variants` and `datasets` are patterns over ids, asked in their order."""

    id: Id
    description: Text
    variants: Names
    datasets: Names
    asked_with: list[Text] = Field(default_factory=list)
    replaces: bool = False
