"""Answers that no model gave: a seeded generator of what runs leave behind, with effects of a known size.

Right answers get lower losses than wrong ones, by `gap`; the right ones are `accurate` of all. Several models can be
asked the same questions: how hard each question is, is drawn once for all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from plimsoll.catalogue.entries import CorrectnessRule
from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.evidence.answers import AnswerRecord, Asking, SampledAnswer
from plimsoll.evidence.encoding import encode
from plimsoll.evidence.events import Event
from tests.support.run_events import Line, finish, line, plan, start

RULES = {
    "triviaqa": CorrectnessRule(metric="rouge_l", at_least=0.3),
    "squad": CorrectnessRule(metric="f1", at_least=0.5),
}


def asking(variant: str = "tiny-llama/bf16", dataset: str = "triviaqa", **changes: Any) -> Asking:
    """One variant that was asked one dataset."""
    model, _, quantization = variant.partition("/")
    fields: dict[str, Any] = {
        "variant": variant,
        "model": model,
        "family": "llama",
        "quantization": quantization,
        "tuned_from": None,
        "parameters": 10**6,
        "dataset": dataset,
        "fingerprint": f"{dataset}-0",
        "source": "miniature",
        "revision": None,
        "split": "validation",
        "available": 400,
        "chosen": 100,
        "seed": 0,
        "shots": 0,
        "correct": RULES.get(dataset, CorrectnessRule(metric="exact_match", at_least=1.0)),
        "max_new_tokens": 16,
        "samples": 0,
        "temperature": 1.0,
    }
    return Asking(**{**fields, **changes})


def answer(log_probs: tuple[float, ...] = (-0.5, -0.25, -0.125), **changes: Any) -> AnswerRecord:
    """One answer, ` Paris` and its end by default; what is asked for replaces the rest."""
    pieces = (*(f" w{i}" for i in range(len(log_probs) - 1)), "</s>") if log_probs else ()
    fields: dict[str, Any] = {
        "variant": "tiny-llama/bf16",
        "dataset": "triviaqa",
        "fingerprint": "triviaqa-0",
        "index": 0,
        "example": Example(
            id="q0",
            question="What is the capital of France?",
            context="",
            kind=AnswerKind.TEXT,
            golds=(("Paris",),),
        ),
        "prompt_tokens": 8,
        "text": "".join(pieces[:-1]),
        "token_ids": tuple(range(len(log_probs))),
        "pieces": pieces,
        "log_probs": log_probs,
        "ended": True,
        "finite": True,
        "scores": {"exact_match": 1.0},
        "correct": True,
    }
    return AnswerRecord(**{**fields, **changes})


def answers(
    to: Asking, *, seed: int = 0, accurate: float = 0.6, gap: float = 1.0, spread: float = 1.0
) -> list[AnswerRecord]:
    """As many answers as were asked for. `gap` is by how many standard deviations the losses of wrong ones are higher;
    `spread` is how far the losses of one answer's tokens lie apart."""
    hardness = np.random.default_rng([7, len(to.dataset), *to.dataset.encode()]).standard_normal(to.chosen)
    random = np.random.default_rng([seed, *to.variant.encode(), *to.dataset.encode()])
    noise = random.standard_normal(to.chosen)
    hard = (hardness + noise) / np.sqrt(2.0)
    right = hard < np.quantile(hard, accurate)
    return [_made(to, i, bool(right[i]), gap, spread, random) for i in range(to.chosen)]


def _made(to: Asking, i: int, right: bool, gap: float, spread: float, random: np.random.Generator) -> AnswerRecord:
    count = int(random.integers(2, 7))
    level = 0.35 * np.exp(0.8 * (random.standard_normal() + (0.0 if right else gap)))
    losses = level * np.exp(spread * 0.3 * random.standard_normal(count)) / count
    words = tuple(f" word{int(w)}" for w in random.integers(0, 50, count - 1))
    score = float(random.uniform(to.correct.at_least, 1.0) if right else random.uniform(0.0, to.correct.at_least) * 0.9)
    drawn = tuple(
        SampledAnswer(text="x", log_prob=-float(losses.sum() * random.uniform(0.9, 1.6)), tokens=count)
        for _ in range(to.samples)
    )
    known = bool(random.random() < (0.9 if right else 0.1))
    return AnswerRecord(
        variant=to.variant,
        dataset=to.dataset,
        fingerprint=to.fingerprint,
        index=i,
        example=Example(
            id=f"{to.dataset}-{i}",
            question=f"Question {i} about word{i % 50}?",
            context="",
            kind=AnswerKind.TEXT,
            golds=(("word",),),
            known=known,
        ),
        prompt_tokens=12,
        text="".join(words).strip(),
        token_ids=tuple(range(count)),
        pieces=(*words, "\n"),
        log_probs=tuple(-float(loss) for loss in losses),
        ended=True,
        finite=True,
        scores={to.correct.metric: score, "exact_match": float(right)},
        correct=right,
        samples=drawn,
    )


MODELS: tuple[dict[str, Any], ...] = (
    {"model": "llama-3.2-1b", "family": "llama", "parameters": 1_235_814_400},
    {"model": "llama-3.1-8b", "family": "llama", "parameters": 8_030_261_248},
    {"model": "llama-3.1-8b-instruct", "family": "llama", "parameters": 8_030_261_248, "tuned_from": "llama-3.1-8b"},
    {"model": "qwen2.5-1.5b", "family": "qwen", "parameters": 1_543_714_304},
    {"model": "mistral-7b-v0.3", "family": "mistral", "parameters": 7_248_023_552},
    {
        "model": "mistral-7b-instruct-v0.3",
        "family": "mistral",
        "parameters": 7_248_023_552,
        "tuned_from": "mistral-7b-v0.3",
    },
)
"""The six models of the published comparison, by shape alone."""


def many_askings(chosen: int = 400, samples: int = 0) -> list[Asking]:
    """Six models in bf16 and int8, asked two datasets."""
    return [
        asking(f"{model['model']}/{quantization}", dataset, chosen=chosen, samples=samples, **model)
        for model in MODELS
        for quantization in ("bf16", "int8")
        for dataset in ("triviaqa", "squad")
    ]


def answers_of_many(askings: list[Asking], seed: int = 0) -> list[AnswerRecord]:
    """Answers of models that differ: larger and tuned ones know more and say better how sure they are; squad is
    harder; int8 changes little."""
    found = []
    for to in askings:
        size = np.log10((to.parameters or 10**9) / 1e9)
        tuned = 0.3 if to.tuned_from else 0.0
        gap = 0.6 + 0.5 * size + tuned - (0.35 if to.dataset == "squad" else 0.0)
        accurate = 0.35 + 0.25 * size - (0.1 if to.dataset == "squad" else 0.0)
        made = answers(replace(to, variant=f"{to.model}/any"), seed=seed, accurate=accurate, gap=gap)
        found += [_as_variant(one, to, seed) for one in made]
    return found


def _as_variant(one: AnswerRecord, to: Asking, seed: int) -> AnswerRecord:
    """The same model's answer in another quantization: nearly as sure, and now and then another one."""
    if to.quantization == "bf16":
        return replace(one, variant=to.variant)
    random = np.random.default_rng([seed, one.index, *to.variant.encode()])
    factor = float(np.exp(random.normal(0.0, 0.1)))
    correct = one.correct != (random.random() < 0.03)
    scores = {to.correct.metric: 1.0 if correct else 0.0, "exact_match": float(correct)}
    log_probs = tuple(factor * p for p in one.log_probs)
    return replace(one, variant=to.variant, log_probs=log_probs, correct=correct, scores=scores)


def run_with(askings: list[Asking], made: list[AnswerRecord], **head: Any) -> list[Line]:
    """The events of a run that left these."""
    events = [line(Event.DATASET, **encode(one.to_json())) for one in askings]
    events += [line(Event.ANSWER, **encode(one.to_json())) for one in made]
    return [start(**head), plan([]), *events, finish()]


def claim(low: float | None, high: float | None, dataset: str = "triviaqa", **changes: Any) -> dict[str, Any]:
    """A published AUROC as a gate's event holds it."""
    fields: dict[str, Any] = {
        "metric": "auroc_g_nll",
        "low": low,
        "high": high,
        "source": "somebody",
        "quote": None,
        "limits": "none",
        "conditions": {"dataset": dataset, "samples": 400, "shots": 5},
        "disputed": None,
        "origin": "claims.toml: claim[1]",
        "bounds": {},
    }
    return {**fields, **changes}
