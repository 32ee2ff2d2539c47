"""`plimsoll headroom`: the largest safe batch of one model and of two, without a GPU."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import plimsoll


def headroom(*arguments: str) -> subprocess.CompletedProcess[str]:
    return plimsoll("headroom", *arguments)


def room(*arguments: str) -> dict[str, Any]:
    done = headroom(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


TINY = ("tiny-llama", "--profile", "h100-80g", "--bridge", "16k", "--seq", "128")


def test_parts_add_up_and_the_next_batch_is_not_safe() -> None:
    found = room(*TINY)
    step = found["step"]
    assert step["peak_bytes"] == (
        step["weights_bytes"] + step["activations_bytes"] + step["optimizer_bytes"] + step["workspace_bytes"]
    ), "in the backward pass no gradient of an earlier part is there"
    assert found["left_bytes"] == found["memory_bytes"] - found["context_bytes"] - step["peak_bytes"]
    assert found["left_bytes"] >= found["reserve_bytes"]
    assert found["safe_batch"] == step["batch"] > 100
    assert (found["variant"], found["partner"], found["limited_by"]) == ("tiny-llama/bf16", None, "activations")
    ways = {(way["training"]["mode"], way["training"]["checkpointing"]) for way in found["otherwise"]}
    assert ways == {("bridge", True), ("lora", False), ("lora", True)}


def test_two_models_are_joined_into_the_second(tmp_path: Path) -> None:
    drawn = tmp_path / "room.svg"
    found = room("tiny-qwen", *TINY, "--picture", str(drawn))
    assert (found["variant"], found["partner"]) == ("tiny-llama/bf16", "tiny-qwen/bf16")
    assert found["step"]["weights_bytes"] > room(*TINY)["step"]["weights_bytes"]
    picture = drawn.read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert "memory of the GPU" in picture


def test_the_page_names_the_answer_first() -> None:
    done = headroom(*TINY, "--full", "--accumulation", "4")
    assert done.returncode == 2, "a bridge and all weights at once"
    done = headroom("tiny-llama", "--profile", "h100-80g", "--full", "--seq", "128", "--accumulation", "4")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()[:2]
    assert first == "tiny-llama/bf16 on h100-80g, 80.00 GB (74.51 GiB): full, adamw, 128 tokens"
    assert second.startswith("largest safe batch: ")
    assert "before each update" in second
    assert "with lora of rank 16, adamw: " in done.stdout


def test_what_does_not_fit_is_an_exit_status() -> None:
    done = headroom("llama-3.1-70b-instruct/bf16", "--profile", "h100-80g")
    if done.returncode == 2:
        pytest.fail(done.stderr)
    assert done.returncode == 1
    assert "not one sequence is safe: " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny-lama", "--profile", "h100-80g"), "no variant 'tiny-lama'; did you mean 'tiny-llama'"),
        (("tiny-llama", "--profile", "h100"), "no profile 'h100'; did you mean"),
        (("tiny-llama", "--profile", "h100-80g", "--bridge", "lots"), "must be a number of parameters such as 64M"),
        (("tiny-llama", "--profile", "h100-80g", "--bridge", "9"), "has at least 256 parameters, and 9 were asked for"),
        (("tiny-llama", "tiny-qwen", "--profile", "h100-80g", "--lora", "4"), "two models are joined by a bridge"),
        (("tiny-llama/nf4", "--profile", "h100-80g", "--full"), "packed weights cannot be trained"),
    ],
)
def test_mistakes_are_one_message(arguments: tuple[str, ...], message: str) -> None:
    done = headroom(*arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
