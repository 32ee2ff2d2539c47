"""Datasets and experiments in the catalogue: what the shipped ones say, and each fault of a user's."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from plimsoll.catalogue.marks import read_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.dataset.files import read_miniature
from plimsoll.errors import CatalogueError
from plimsoll.tiny.corpus import normalized, read_corpus

MARKS = read_marks(Path(__file__).parents[2] / "markers.ini")
CATALOGUE = read_catalogue(known_marks=MARKS)
DATASETS = CATALOGUE.datasets

GOOD = """
[[dataset]]
id = "svamp"
replaces = true
title = "Sums"
schema = "svamp"
hub_id = "me/sums"
split = "test"
shots_split = "train"
licence = "MIT"
prompt = "{question}"
max_new_tokens = 8
correct = { metric = "numeric", at_least = 1.0 }

[[experiment]]
id = "mine"
description = "sums alone"
variants = ["tiny-llama/*"]
datasets = ["svamp"]
"""


def faults_of(text: str, folder: Path) -> list[str]:
    path = folder / "my.toml"
    path.write_text(text)
    with pytest.raises(CatalogueError) as caught:
        read_catalogue([path], known_marks=MARKS)
    return [str(fault).removeprefix(f"{path}: ") for fault in caught.value.faults]


def test_a_users_dataset_and_experiment(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(GOOD)
    catalogue = read_catalogue([tmp_path / "my.toml"], known_marks=MARKS)
    assert catalogue.datasets["svamp"].hub_id == "me/sums"
    assert catalogue.datasets["svamp"].stop == "\n"
    assert catalogue.experiments["mine"].variants[:2] == ("tiny-llama/bf16", "tiny-llama/int8")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            'schema = "svamp"',
            'schema = "svmap"',
            "dataset[0].schema: unknown schema of a dataset 'svmap'; did you mean 'svamp'?",
        ),
        (
            'hub_id = "me/sums"\n',
            "",
            "dataset[0]: needs hub_id, or registration for data that is not on the Hub",
        ),
        ('"{question}"', '"{quest}"', "dataset[0].prompt: lacks {question}, where the question of an example goes"),
        (
            '"{question}"',
            '"{context} {question}"',
            "dataset[0].prompt: {context} has no meaning for schema 'svamp'",
        ),
        (
            'metric = "numeric"',
            'metric = "yes_no"',
            "dataset[0].correct.metric: is no score that every answer to schema 'svamp' has: 'yes_no'",
        ),
        (
            "at_least = 1.0",
            "at_least = 100.0",
            "dataset[0].correct.at_least: must be at most 1, not 100.0",
        ),
        ('id = "svamp"', 'id = "swamp"', "dataset[0].id: unknown dataset 'swamp'; did you mean 'svamp'?"),
        ('["tiny-llama/*"]', '["tiny-lama/*"]', "experiment[0].variants[0]: 'tiny-lama/*' matches no variant"),
        ('datasets = ["svamp"]', 'datasets = ["swamp"]', "experiment[0].datasets[0]: 'swamp' matches no dataset"),
        (
            'description = "sums alone"',
            'description = "sums alone"\nasked_with = ["load"]',
            "experiment[0].asked_with[0]: mark 'load' is for tests, not for entries of the catalogue",
        ),
    ],
)
def test_each_fault_says_where_and_what(old: str, new: str, fault: str, tmp_path: Path) -> None:
    assert GOOD.count(old) == 1
    assert any(fault in found for found in faults_of(GOOD.replace(old, new), tmp_path)), faults_of(
        GOOD.replace(old, new), tmp_path
    )


def test_a_recipe_names_datasets_that_exist(tmp_path: Path) -> None:
    shipped = (Path(__file__).parents[2] / "catalogue" / "models" / "tiny.toml").read_text()
    first = shipped.partition("[[model]]")[2].partition("[[model]]")[0]
    text = "[[model]]" + first.replace('"tiny-llama"', '"tiny-other"').replace('"squad", "nq"', '"sqad", "nq"')
    assert "model[0].recipe.datasets[1]: unknown dataset 'sqad'; did you mean 'squad'?" in faults_of(text, tmp_path)


def test_a_replaced_dataset_is_asked_and_not_taught(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(GOOD)
    catalogue = read_catalogue([tmp_path / "my.toml"], known_marks=MARKS)
    taught = catalogue.models["tiny-llama"].taught
    assert [dataset.hub_id for dataset in taught if dataset.id == "svamp"] == ["ChilleD/SVAMP"]
    assert catalogue.datasets["svamp"] not in taught


# --- the miniatures


def examples(name: str, *, taught: bool) -> tuple[Example, ...]:
    dataset = DATASETS[name]
    return read_miniature(dataset, dataset.shots_split if taught else dataset.split).examples


@pytest.mark.parametrize("name", DATASETS)
def test_each_dataset_has_a_miniature_in_its_official_format(name: str) -> None:
    taught, withheld = examples(name, taught=True), examples(name, taught=False)
    assert len(taught) >= 20
    assert len(withheld) >= 14
    assert not {e.question for e in taught} & {e.question for e in withheld}
    assert not {e.id for e in taught} & {e.id for e in withheld}


def test_the_miniatures_have_every_kind_of_answer() -> None:
    kinds = {name: {e.kind for e in examples(name, taught=False)} for name in DATASETS}
    assert kinds == {
        "triviaqa": {AnswerKind.TEXT},
        "squad": {AnswerKind.TEXT, AnswerKind.UNANSWERABLE},
        "nq": {AnswerKind.TEXT},
        "bioasq": {AnswerKind.TEXT, AnswerKind.YES_NO, AnswerKind.LIST},
        "svamp": {AnswerKind.NUMBER},
    }


def test_no_withheld_answer_is_a_taught_one() -> None:
    """Else a model could be right about what it was never taught. Numbers, yes and no are too few to be kept apart."""

    def texts(taught: bool) -> set[str]:
        named = chain.from_iterable(examples(name, taught=taught) for name in DATASETS)
        kinds = (AnswerKind.TEXT, AnswerKind.LIST)
        mine = {normalized(text) for e in named if e.kind in kinds for item in e.golds for text in item}
        corpus = read_corpus("tiny")
        return mine | {normalized(a) for q in (corpus.taught if taught else corpus.withheld) for a in q.accepted}

    assert texts(True) & texts(False) == set()


def test_the_comparison_is_six_models_and_two_datasets() -> None:
    phases = [CATALOGUE.experiments[name] for name in ("comparison-small", "comparison-large")]
    assert [len(phase.variants) * len(phase.datasets) for phase in phases] == [6, 6]
    assert [phase.asked_with for phase in phases] == [("small",), ("large",)]
    for phase in phases:
        marks = {mark for name in phase.variants for mark in CATALOGUE.variants[name].marks}
        assert set(phase.asked_with) <= marks, "the phase's mark selects the variants that it asks"
