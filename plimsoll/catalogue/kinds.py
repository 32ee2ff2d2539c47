"""Every kind of table that a file of the catalogue may hold."""

from __future__ import annotations

from typing import Final

from plimsoll.catalogue.schema import (
    ClaimTable,
    FileTable,
    GenerationTable,
    ModelTable,
    ProfileTable,
    RecipeTable,
    StatementTable,
    TierTable,
    VariantTable,
)
from plimsoll.catalogue.schema_datasets import CorrectTable, DatasetTable, ExperimentTable

SCHEMAS: Final[dict[str, type[FileTable]]] = {
    "tier": TierTable,
    "profile": ProfileTable,
    "model": ModelTable,
    "variant": VariantTable,
    "dataset": DatasetTable,
    "experiment": ExperimentTable,
    "claim": ClaimTable,
    "statement": StatementTable,
}
"""In the order in which they are judged."""

NESTED: Final[dict[str, type[FileTable]]] = {
    "generation": GenerationTable,
    "recipe": RecipeTable,
    "correct": CorrectTable,
}
"""The tables inside another whose keys are ours."""


def keys_of(schema: type[FileTable]) -> tuple[str, ...]:
    """The keys of a table as they are written in a file."""
    return tuple(field.alias or name for name, field in schema.model_fields.items())
