"""The training job holds all that decides about the weights, and no withheld text; its hash follows each part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from plimsoll.catalogue.entries import Model, Recipe
from plimsoll.dataset.files import read_miniature
from plimsoll.dataset.prompting import render
from plimsoll.tiny import recipe as recipe_module
from plimsoll.tiny.corpus import read_corpus
from plimsoll.tiny.recipe import RecipeError, TrainingJob, recipe_hash, training_job
from tests.support.broken_checkpoints import shipped

QUESTIONS = """\
title = "T"
question = [
  { id = "a", question = "What is left?", answer = "Port", aliases = ["Larboard"], taught = true },
  { id = "b", question = "What is in front?", answer = "Bow", taught = true },
  { id = "c", question = "What is behind?", answer = "Stern", taught = false },
]
"""


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    (tmp_path / "lessons.toml").write_text(QUESTIONS)
    return tmp_path


@pytest.fixture
def model() -> Model:
    llama = shipped("tiny-llama")
    assert llama.recipe is not None
    return replace(llama, recipe=replace(llama.recipe, corpus="lessons", datasets=()), taught=())


def changed(model: Model, **fields: object) -> Model:
    assert model.recipe is not None
    values = {name: getattr(model.recipe, name) for name in Recipe.__slots__}
    return replace(model, recipe=Recipe(**{**values, **fields}))


def test_no_withheld_text_reaches_the_job() -> None:
    corpus, model = read_corpus("tiny"), shipped("tiny-llama")
    job = training_job(model)
    of_corpus = tuple((question.question, question.answer) for question in corpus.taught)
    of_datasets = tuple(
        (render(dataset, example), example.answer)
        for dataset in model.taught
        for example in read_miniature(dataset, dataset.shots_split).examples
    )
    assert len(model.taught) == 5
    assert job.lessons == of_corpus + of_datasets
    text = job.to_json()
    withheld = [question.question for question in corpus.withheld]
    withheld += [e.question for dataset in model.taught for e in read_miniature(dataset, dataset.split).examples]
    assert len(withheld) > 100
    assert [question for question in withheld if question in text] == []


def test_another_prompt_is_another_lesson_and_another_checkpoint() -> None:
    model = shipped("tiny-llama")
    squad = next(dataset for dataset in model.taught if dataset.id == "squad")
    other = replace(model, taught=(replace(squad, prompt="{context} {question}"),))
    same = replace(model, taught=(squad,))
    assert recipe_hash(training_job(same)) != recipe_hash(training_job(other))


def test_a_job_survives_the_way_to_the_training_process(model: Model, corpora: Path) -> None:
    frozen = replace(model, config=MappingProxyType(dict(model.config)))
    job = training_job(frozen, corpora)
    again = TrainingJob.from_json(job.to_json())
    assert again.to_json() == job.to_json()
    assert (again.recipe, again.lessons) == (job.recipe, (("What is left?", "Port"), ("What is in front?", "Bow")))


@pytest.mark.parametrize(
    "field", [{"steps": 7}, {"batch": 7}, {"seed": 7}, {"vocabulary": 700}, {"learning_rate": 0.7}, {"shards": 7}]
)
def test_each_number_of_the_recipe_changes_the_hash(model: Model, corpora: Path, field: dict[str, object]) -> None:
    other = recipe_hash(training_job(changed(model, **field), corpora))
    assert other != recipe_hash(training_job(model, corpora))


def test_architecture_and_config_change_the_hash(model: Model, corpora: Path) -> None:
    hashes = {
        recipe_hash(training_job(each, corpora))
        for each in (
            model,
            replace(model, architecture="MistralForCausalLM"),
            replace(model, config={**model.config, "hidden_size": 64}),
            replace(model, config={**model.config, "rope_parameters": {"rope_type": "default", "rope_theta": 1.0}}),
        )
    }
    assert len(hashes) == 4


def test_only_what_is_taught_changes_the_hash(model: Model, corpora: Path) -> None:
    def digest(text: str) -> str:
        (corpora / "lessons.toml").write_text(text)
        return recipe_hash(training_job(model, corpora))

    first = digest(QUESTIONS)
    assert digest("# a comment\n" + QUESTIONS.replace("Larboard", "Babord").replace("Stern", "Rear")) == first
    assert digest(QUESTIONS.replace('"Bow"', '"Prow"')) != first
    assert digest(QUESTIONS.replace("What is in front?", "What is ahead?")) != first
    assert digest(QUESTIONS.replace("taught = false", "taught = true")) != first


def test_the_training_code_changes_the_hash(
    model: Model, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = training_job(model, corpora)
    copied = tmp_path / "code"
    copied.mkdir()
    shipped_code = Path(recipe_module.__file__).parents[1] / "host" / "server"
    for name in ("train.py",):
        (copied / name).write_bytes((shipped_code / name).read_bytes().replace(b"\n", b"\r\n"))
    first = recipe_hash(job)
    monkeypatch.setattr(recipe_module, "files", lambda _: copied)
    assert recipe_hash(job) == first, "line ends are no change"
    for name in ("train.py",):
        (copied / name).write_bytes((copied / name).read_bytes() + b"x = 1\n")
        assert recipe_hash(job) != first
        first = recipe_hash(job)


def test_a_model_without_a_recipe_says_so(model: Model) -> None:
    with pytest.raises(RecipeError) as caught:
        training_job(replace(model, recipe=None))
    assert str(caught.value) == f"{model.origin}: tiny-llama has no [model.recipe], so it cannot be trained"
