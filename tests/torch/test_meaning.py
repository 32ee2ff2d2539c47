"""What a host says of plain text and of turns, and the reference that is brought in part by part."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.protocol import CompareLogits, LoadSpec, MakeReference, ReadText, Score
from plimsoll.host.server import generation, meaning, reference
from plimsoll.host.server.failures import NotStreamedError
from plimsoll.host.server.loading import load
from plimsoll.node.node import Memory
from tests.support.broken_checkpoints import shipped
from tests.support.random_checkpoints import ARCHITECTURES, load_spec, save_checkpoint, save_tokenizer
from tests.support.small_architectures import save_small

NUMBERS = "1 2 3 5 8 13 21 34 55 89 144 233"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("families")
    return {family: save_checkpoint(family, folder / family) for family in ARCHITECTURES}


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_a_streamed_reference_gives_the_logits_of_a_whole_model_to_the_bit(
    checkpoints: dict[str, Path], family: str, tmp_path: Path
) -> None:
    spec = load_spec(checkpoints[family], family, Quantization.BF16)
    questions, answers = ("1 2 3", "5 8 13 21 34"), ("4 5 6 7", "55 89")
    whole, streamed = (str(tmp_path / f"{name}.safetensors") for name in ("whole", "streamed"))
    generation.score(load(spec, "as-is"), Score(questions=questions, answers=answers, save_to=whole))
    score = Score(questions=questions, answers=answers, save_to=streamed)
    reference.make(MakeReference(spec=spec, score=score, scratch=str(tmp_path / "scratch")))
    one, other = load_file(whole), load_file(streamed)
    assert torch.equal(one["logits"], other["logits"])
    assert torch.equal(one["tokens"], other["tokens"])


@pytest.fixture
def unstreamable(tmp_path: Path) -> tuple[LoadSpec, MakeReference]:
    """A class that reads where its embedding lies, which is nowhere while it is on the disk."""
    folder = save_small("llama-4", tmp_path / "llama-4")
    spec = replace(load_spec(folder, "llama", Quantization.BF16), architecture="Llama4ForCausalLM")
    score = Score(questions=("1 2 3",), answers=("4 5 6 7",), save_to=str(tmp_path / "streamed.safetensors"))
    return spec, MakeReference(spec=spec, score=score, scratch=str(tmp_path / "scratch"))


def test_what_cannot_be_streamed_is_loaded_as_a_whole(
    unstreamable: tuple[LoadSpec, MakeReference], tmp_path: Path
) -> None:
    spec, request = unstreamable
    whole = replace(request.score, save_to=str(tmp_path / "whole.safetensors"))
    generation.score(load(spec, "as-is"), whole)
    reference.make(request)
    assert torch.equal(*(load_file(str(score.save_to))["logits"] for score in (whole, request.score)))


def test_what_can_neither_be_streamed_nor_held_is_told_for_a_skip(
    unstreamable: tuple[LoadSpec, MakeReference], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Memory(total=10**9, available=100_000, limit=None), ()
    monkeypatch.setattr(reference, "read_memory", lambda: full)
    with pytest.raises(NotStreamedError) as caught:
        reference.make(unstreamable[1])
    told = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  as it comes from a host
    assert told.free == "100,000 bytes free on the machine"
    assert "meta" in told.found
    assert str(told).endswith(f"as a whole they take {told.needed}")


def test_a_streamed_model_holds_no_weight(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    spec = load_spec(checkpoints["llama"], "llama", Quantization.BF16, device_map={"": "disk"})
    loaded = load(spec, "as-is")
    assert {parameter.device.type for parameter in loaded.model.parameters()} == {"meta"}


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_on_a_gpu_all_but_the_smallest_part_stay_on_the_disk(checkpoints: dict[str, Path], family: str) -> None:
    spec = load_spec(checkpoints[family], family, Quantization.BF16, device="cuda:0")
    places = reference.streaming_map(spec)
    (anchor,) = [name for name, place in places.items() if place == "cuda:0"]
    assert anchor.endswith("norm")
    assert {place for name, place in places.items() if name != anchor} == {"disk"}
    names = [name for name, _ in load(replace(spec, device="cpu"), "as-is").model.named_parameters()]
    assert all(any(name == part or name.startswith(f"{part}.") for part in places) for name in names)


def test_text_is_read_with_the_probability_of_each_token(checkpoints: dict[str, Path]) -> None:
    loaded = load(load_spec(checkpoints["llama"], "llama", Quantization.FP32), "as-is")
    (reading,) = meaning.read(loaded, ReadText(texts=(NUMBERS,)))
    ids = loaded.tokenizer(NUMBERS, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        loss = loaded.model(input_ids=ids, labels=ids).loss
    assert reading.tokens == ids.shape[1] - 1
    assert reading.nats / reading.tokens == pytest.approx(float(loss), rel=1e-5)
    assert reading.bytes == len(NUMBERS) - 1
    assert reading.faithful


def short_of_positions(folder: Path) -> LoadSpec:
    """A GPT-2 with eight learned positions."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=512, n_positions=8, n_embd=64, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2)
    model: Any = GPT2LMHeadModel(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(folder)
    return load_spec(folder, "llama", Quantization.FP32, architecture="GPT2LMHeadModel")


def test_text_is_read_up_to_the_end_of_the_context(tmp_path: Path) -> None:
    loaded = load(short_of_positions(tmp_path), "as-is")
    whole, *parts = meaning.read(loaded, ReadText(texts=(NUMBERS, "1 2 3 5 8 13 21 34", "1 2 3")))
    assert whole.faithful
    assert (whole.tokens, whole.bytes) == (7, len("1 2 3 5 8 13 21 34") - 1)
    assert (whole.nats, whole.bytes) == (parts[0].nats, parts[0].bytes)
    assert (parts[1].tokens, parts[1].bytes) == (2, 4)


def test_texts_beyond_the_context_are_cut_alike_on_both_sides(tmp_path: Path) -> None:
    spec = short_of_positions(tmp_path / "gpt2")
    questions, answers = ("1 2 3", NUMBERS, "7 8 9 10 11 12"), (NUMBERS, "9 8", NUMBERS)
    paths = {name: str(tmp_path / f"{name}.safetensors") for name in ("packed", "reference")}
    score = Score(questions=questions, answers=answers, save_to=paths["packed"])
    packed = replace(spec, quantization=Quantization.INT8)
    assert generation.score(load(packed, "as-is"), score).positions == 5 + 2 + 4
    asked = replace(score, save_to=paths["reference"])
    reference.make(MakeReference(spec=spec, score=asked, scratch=str(tmp_path / "scratch")))
    found = generation.compare_logits(CompareLogits(logits=paths["packed"], reference=paths["reference"]))
    assert found.positions == 11
    assert found.mean_kl is not None
    assert found.mean_kl < 0.01


def test_a_tokenizer_that_loses_words_is_not_faithful(checkpoints: dict[str, Path]) -> None:
    loaded = load(load_spec(checkpoints["llama"], "llama", Quantization.BF16), "as-is")
    (reading,) = meaning.read(loaded, ReadText(texts=("1 2 harbour",)))
    assert not reading.faithful


def test_the_end_of_a_turn_is_held_against_the_end_tokens(trained: dict[str, Path], tmp_path: Path) -> None:
    spec = load_spec(trained["tiny-llama"], "llama", Quantization.BF16, generation=shipped("tiny-llama").generation)
    told = meaning.manners(load(spec, "as-is"))
    assert (told.has_chat_template, told.turn_end_ends) == (True, True)
    copy = Path(shutil.copytree(trained["tiny-llama"], tmp_path / "copy"))
    path = copy / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": 7}))
    spec = load_spec(copy, "llama", Quantization.BF16, generation=shipped("tiny-llama").generation)
    told = meaning.manners(load(spec, "as-is"))
    assert told.turn_end_ends is False
    assert told.turn_end not in told.eos_tokens
