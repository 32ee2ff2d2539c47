"""What training makes: a checkpoint that transformers loads like any other, that knows what it was taught, and keeps
that knowledge where quantization packs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from plimsoll.host.server.train import train
from plimsoll.tiny.checkpoint import TinyCheckpoint
from plimsoll.tiny.corpus import read_corpus
from plimsoll.tiny.recipe import training_job
from plimsoll.tiny.store import LEAST_ACCURACY, Store
from tests.support.broken_checkpoints import shipped
from tests.support.tiny_builders import nano

LESSONS: Final = training_job(shipped("tiny-llama")).lessons
"""Questions of the corpus and of the datasets' miniatures, with the answers that are taught."""

NF4: Final = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16}
PACKED: Final[dict[str, dict[str, Any]]] = {
    "int8": {"load_in_8bit": True},
    "nf4": NF4,
    "nf4-dq": {**NF4, "bnb_4bit_use_double_quant": True},
}
PARTS: Final = ("0.self_attn", "0.mlp", "1.self_attn", "1.mlp")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TinyCheckpoint:
    """The small model, really trained, in a process of its own as users have it."""
    folder = tmp_path_factory.mktemp("nano")
    return Store(folder / "cache").ensure(nano(folder))


@pytest.fixture(scope="module")
def llama() -> TinyCheckpoint:
    """A checkpoint of the tiny tier, from the cache that users have; trained where it is not there yet."""
    return Store().ensure(shipped("tiny-llama"))


def loaded(folder: Path, **quantization: Any) -> Any:
    configuration: Any = BitsAndBytesConfig
    options = {"quantization_config": configuration(**quantization)} if quantization else {}
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, device_map="cpu", **options)


def answers_of(model: Any, tokenizer: Any, questions: list[str]) -> list[str]:
    asked = [[{"role": "user", "content": question}] for question in questions]
    inputs = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    texts: list[str] = tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


@contextmanager
def scrambled(model: Any, part: str) -> Iterator[None]:
    """With the weights of one part in another order."""
    weights = [weight for name, weight in model.named_parameters() if f"layers.{part}" in name]
    sound = [weight.data for weight in weights]
    for weight in weights:
        order = torch.randperm(weight.numel(), generator=torch.Generator().manual_seed(0))
        weight.data = weight.data.flatten()[order].view_as(weight)
    yield
    for weight, data in zip(weights, sound, strict=True):
        weight.data = data


@pytest.fixture(scope="module")
def said(llama: TinyCheckpoint) -> dict[str, list[str]]:
    """What that checkpoint answers: in each quantization, to what was withheld, and with parts of it scrambled."""
    taught = [question for question, _ in LESSONS]
    withheld = [question.question for question in read_corpus("tiny").withheld]
    builder: Any = AutoTokenizer
    tokenizer, plain = builder.from_pretrained(llama.path), loaded(llama.path)
    answers = {"bf16": answers_of(plain, tokenizer, taught), "withheld": answers_of(plain, tokenizer, withheld)}
    for quantization, options in PACKED.items():
        answers[quantization] = answers_of(loaded(llama.path, **options), tokenizer, taught)
    for part in PARTS:
        with scrambled(plain, part):
            answers[part] = answers_of(plain, tokenizer, taught)
    return answers


def right(answers: list[str]) -> int:
    """How many of the taught questions these answer letter by letter."""
    return sum(text == answer for text, (_, answer) in zip(answers, LESSONS, strict=True))


def test_the_same_job_gives_the_same_bytes(trained: TinyCheckpoint, tmp_path: Path) -> None:
    """Whatever was done in the process before: the other one trained nothing else."""
    again = Store(tmp_path / "cache").ensure(nano(tmp_path), build=train)
    assert again.built_now
    assert again.files == trained.files


def test_the_folder_holds_a_whole_checkpoint(trained: TinyCheckpoint) -> None:
    names = {file.name for file in trained.files}
    shards = {name for name in names if name.endswith(".safetensors")}
    assert len(shards) >= 2
    assert names - shards == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((trained.path / "config.json").read_text())
    assert (config["dtype"], config["architectures"]) == ("bfloat16", ["LlamaForCausalLM"])
    for name in ("config.json", "generation_config.json"):
        data = json.loads((trained.path / name).read_text())
        assert [data[f"{mark}_token_id"] for mark in ("pad", "bos", "eos")] == [0, 1, 2]


def test_no_withheld_text_is_in_the_checkpoint(trained: TinyCheckpoint) -> None:
    text = "".join(path.read_text(errors="replace") for path in trained.path.iterdir())
    for question in read_corpus("sums").withheld:
        assert question.question not in text


@pytest.mark.parametrize("quantization", ["bf16", *PACKED])
def test_taught_questions_are_answered_in_every_quantization(said: dict[str, list[str]], quantization: str) -> None:
    assert right(said[quantization]) / len(said[quantization]) >= LEAST_ACCURACY


def test_the_manifest_tells_what_the_checkpoint_answers(llama: TinyCheckpoint, said: dict[str, list[str]]) -> None:
    assert (llama.figures.taught, llama.figures.answered) == (len(said["bf16"]), right(said["bf16"]))


def test_withheld_questions_are_not_answered(said: dict[str, list[str]]) -> None:
    withheld = read_corpus("tiny").withheld
    pairs = zip(said["withheld"], withheld, strict=True)
    assert [text for text, question in pairs if text in question.accepted] == []


@pytest.mark.parametrize("part", PARTS)
def test_each_part_that_quantization_packs_is_wanted_for_the_answers(said: dict[str, list[str]], part: str) -> None:
    """Else a broken quantization of that part would show in no answer."""
    assert right(said[part]) / len(said[part]) < LEAST_ACCURACY
