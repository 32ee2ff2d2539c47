"""Collects everything from which a tiny checkpoint is trained as one value, whose hash names the result.

The job is all that the training process gets to see. So the hash over it cannot forget an input, and a withheld
question cannot reach the weights: it is not in the job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import Dataset, Model, Recipe
from plimsoll.dataset.example import Example
from plimsoll.dataset.files import read_miniature
from plimsoll.dataset.prompting import render
from plimsoll.errors import PlimsollError
from plimsoll.tiny.corpus import read_corpus

_CODE: Final = "train.py"
"""The module that shapes the weights. Its source is hashed instead of a version number: a number that someone forgot to
raise would let checkpoints of older code pass for new ones, while a needless rebuild costs seconds."""
_SERVER: Final = "plimsoll.host.server"
"""The package of the training code, named and not imported: it imports torch."""


class RecipeError(PlimsollError):
    """A recipe that cannot be carried out as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """Everything that decides about the weights, but for the code."""

    architecture: str
    """The transformers model class, `MixtralForCausalLM`."""
    config: Mapping[str, Any]
    recipe: Recipe
    lessons: tuple[tuple[str, str], ...]
    """Questions with their answers, in the order of the corpus."""

    def to_json(self) -> str:
        """The job as one line with sorted keys: equal jobs give equal text."""
        return json.dumps(
            {
                "architecture": self.architecture,
                "config": self.config,
                "recipe": asdict(self.recipe),
                "lessons": self.lessons,
            },
            sort_keys=True,
            default=dict,  # mappings that are not dictionaries, such as a read-only view of one
        )

    @classmethod
    def from_json(cls, text: str) -> TrainingJob:
        """The job that `to_json` wrote."""
        data = json.loads(text)
        return cls(
            architecture=data["architecture"],
            config=data["config"],
            recipe=Recipe(**{**data["recipe"], "datasets": tuple(data["recipe"]["datasets"])}),
            lessons=tuple((question, answer) for question, answer in data["lessons"]),
        )


def training_job(model: Model, corpora: Path | None = None) -> TrainingJob:
    """The job that makes the checkpoint of a model, with its corpus read from `corpora` (None: the shipped ones).

    Raises RecipeError for a model without a recipe, CatalogueError for a corpus with faults, and PlimsollError for a
    dataset whose miniature cannot be read.
    """
    if model.recipe is None:
        raise RecipeError(f"{model.origin}: {model.id} has no [model.recipe], so it cannot be trained")
    corpus = read_corpus(model.recipe.corpus, corpora)
    return TrainingJob(
        architecture=model.architecture,
        config=model.config,
        recipe=model.recipe,
        lessons=(
            *((question.question, question.answer) for question in corpus.taught),
            *((render(dataset, example), example.answer) for dataset in model.taught for example in _examples(dataset)),
        ),
    )


def _examples(dataset: Dataset) -> tuple[Example, ...]:
    return read_miniature(dataset, dataset.shots_split).examples


def recipe_hash(job: TrainingJob) -> str:
    """SHA-256, in hex, over all that changes the weights: architecture, config, recipe, taught texts, training code.

    The versions of torch and transformers are not in it: a checkpoint stays the same thing to test when they change,
    and the suite is there to show that the new ones load it. The manifest of a checkpoint records them.
    """
    digest = hashlib.sha256(job.to_json().encode())
    # A checkout under Windows may have other line ends.
    digest.update(files(_SERVER).joinpath(_CODE).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()
