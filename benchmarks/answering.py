"""Answering a dataset through the suite's host against a plain `generate` loop, one question after the other.

    python -m benchmarks.answering [--samples 400] [--model tiny-llama] [--rounds 3]

Both answer the same prompts greedily with the same loaded weights, in one process, round by round. The suite batches
prompts of like length, and notes the probability of every token on the way; the loop does neither.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from itertools import cycle, islice

import torch

from benchmarks.loading import spec_of
from plimsoll import clock
from plimsoll.catalogue.entries import Model, Quantization
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.dataset.files import read_miniature
from plimsoll.dataset.prompting import render
from plimsoll.host.protocol import AnswerPrompts
from plimsoll.host.server.answering import answer
from plimsoll.host.server.chat import chat_text
from plimsoll.host.server.loading import LoadedModel, load
from plimsoll.tiny.store import Store

_MOST = 32
_CHUNK = 32


def prompts_of(model: Model, count: int) -> list[str]:
    """So many prompts of the miniatures, again from the start where they are fewer."""
    found = [
        render(dataset, example)
        for dataset in model.taught
        for split in (dataset.shots_split, dataset.split)
        for example in read_miniature(dataset, split).examples
    ]
    return list(islice(cycle(found), count))


def suite_answers(loaded: LoadedModel, prompts: list[str]) -> tuple[float, list[str]]:
    """`(seconds, texts)` as a run of the suite asks: sorted by length, a chunk at a time."""
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    texts: dict[int, str] = {}
    start = clock.monotonic()
    for first in range(0, len(order), _CHUNK):
        places = order[first : first + _CHUNK]
        request = AnswerPrompts(
            prompts=tuple(prompts[place] for place in places), max_new_tokens=_MOST, stop="\n", batch_size=_CHUNK
        )
        for place, one in zip(places, answer(loaded, request).answers, strict=True):
            texts[place] = one.text
    return clock.monotonic() - start, [texts[place] for place in range(len(prompts))]


@torch.inference_mode()
def loop_answers(loaded: LoadedModel, prompts: list[str]) -> tuple[float, list[str]]:
    """`(seconds, texts)` of what a user would write instead."""
    tokenizer, texts = loaded.tokenizer, []
    start = clock.monotonic()
    for prompt in prompts:
        inputs = tokenizer(chat_text(loaded.spec, tokenizer, prompt), add_special_tokens=False, return_tensors="pt")
        rows = loaded.model.generate(**inputs, max_new_tokens=_MOST, do_sample=False)
        new = rows[0, inputs["input_ids"].shape[1] :]
        texts.append(tokenizer.decode(new, skip_special_tokens=True).strip())
    return clock.monotonic() - start, texts


def main() -> int:
    """Print samples a second of both and their ratio: the median over rounds, each round a pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--model", default="tiny-llama")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = read_catalogue().models[options.model]
    prompts = prompts_of(model, options.samples)
    loaded = load(spec_of(Store().ensure(model).path, Quantization.BF16), "as-is")
    suite_answers(loaded, prompts[:_CHUNK])
    loop_answers(loaded, prompts[:4])
    ours, theirs, same = [], [], 0
    for _ in range(options.rounds):
        seconds, texts = suite_answers(loaded, prompts)
        ours.append(seconds)
        seconds, plain = loop_answers(loaded, prompts)
        theirs.append(seconds)
        same = sum(one == two.partition("\n")[0].strip() for one, two in zip(texts, plain, strict=True))
    ratios = [loop / suite for loop, suite in zip(theirs, ours, strict=True)]
    print(f"{options.rounds} pairs, {options.samples} samples, {options.model}/bf16, at most {_MOST} new tokens")
    for name, figures in (("suite, batches of 32", ours), ("plain generate loop", theirs)):
        print(f"{name}: {options.samples / statistics.median(figures):.1f} samples a second")
    print(f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) samples for one")
    print(f"{same} of {options.samples} answers are the same text")
    return 0


if __name__ == "__main__":
    sys.exit(main())
