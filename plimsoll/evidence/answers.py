"""Records of datasets in evidence: how each was asked, and each answer token by token.

They suffice to compute every score and uncertainty again without a GPU, a model or the dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from plimsoll.catalogue.entries import CorrectnessRule
from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.evidence.encoding import decode_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One variant asked one dataset: everything that decides which answers it can be compared with."""

    variant: str
    model: str
    family: str
    quantization: str
    tuned_from: str | None
    """The model that this one was instruction-tuned from; None for a base model."""
    parameters: int | None
    """Logical parameters of the model; None where they were not counted."""
    dataset: str
    fingerprint: str
    """SHA-256 over the prompts in order, their golds and the settings: equal ones asked the same in the same way."""
    source: str
    """`hub`, `local` or `miniature`."""
    revision: str | None
    split: str
    available: int
    """Examples that the split has."""
    chosen: int
    """How many of them are asked: so many answers must be there before any figure is judged."""
    seed: int
    shots: int
    correct: CorrectnessRule
    max_new_tokens: int
    samples: int
    """Answers drawn at random for each question, beside the greedy one."""
    temperature: float

    def to_json(self) -> dict[str, Any]:
        """The fields of the event; `from_json` is its inverse."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "correct": {"metric": self.correct.metric, "at_least": self.correct.at_least}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read back an event. Raises KeyError, TypeError or ValueError for one that is not whole."""
        fields = {name: data[name] for name in cls.__slots__}
        for name in ("available", "chosen", "seed", "shots", "max_new_tokens", "samples"):
            if type(fields[name]) is not int or fields[name] < 0:
                raise TypeError(f"{name} of a dataset's event is a number from 0, not {fields[name]!r}")
        rule = data["correct"]
        fields["correct"] = CorrectnessRule(metric=str(rule["metric"]), at_least=float(rule["at_least"]))
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledAnswer:
    """One answer drawn at random. `log_prob` is the natural logarithm of its probability, summed over its tokens."""

    text: str
    log_prob: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRecord:
    """One example with the model's greedy answer, and how it was scored."""

    variant: str
    dataset: str
    fingerprint: str
    index: int
    """Its place in the order of asking, from 0."""
    example: Example
    prompt_tokens: int
    text: str
    """The answer up to its end, without special tokens."""
    token_ids: tuple[int, ...]
    """The tokens of the answer, the one that ended it included where `ended`."""
    pieces: tuple[str, ...]
    """The text of each token."""
    log_probs: tuple[float, ...]
    """Natural logarithm of the probability of each token, from raw logits."""
    ended: bool
    """True where the end token or the stop text came before the limit."""
    finite: bool
    """False where a raw logit was NaN or infinite during generation. Recorded for runs that resume this one."""
    scores: Mapping[str, float]
    """Score -> value from 0 to 1; those that mean nothing for this kind of answer are missing."""
    correct: bool
    """By the rule of its `Asking`."""
    samples: tuple[SampledAnswer, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields of the event; `from_json` is its inverse."""
        example = self.example
        return {
            "variant": self.variant,
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "index": self.index,
            "example": example.id,
            "question": example.question,
            "context": example.context,
            "kind": example.kind.value,
            "golds": [list(item) for item in example.golds],
            "known": example.known,
            "prompt_tokens": self.prompt_tokens,
            "text": self.text,
            "token_ids": list(self.token_ids),
            "pieces": list(self.pieces),
            "log_probs": list(self.log_probs),
            "ended": self.ended,
            "finite": self.finite,
            "scores": dict(self.scores),
            "correct": self.correct,
            "samples": [{"text": s.text, "log_prob": s.log_prob, "tokens": s.tokens} for s in self.samples],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read back an event. Raises KeyError, TypeError or ValueError for one that is not whole."""
        example = Example(
            id=str(data["example"]),
            question=str(data["question"]),
            context=str(data["context"]),
            kind=AnswerKind(data["kind"]),
            golds=tuple(tuple(map(str, item)) for item in data["golds"]),
            known=_known(data["known"]),
        )
        record = cls(
            variant=str(data["variant"]),
            dataset=str(data["dataset"]),
            fingerprint=str(data["fingerprint"]),
            index=int(data["index"]),
            example=example,
            prompt_tokens=int(data["prompt_tokens"]),
            text=str(data["text"]),
            token_ids=tuple(map(int, data["token_ids"])),
            pieces=tuple(map(str, data["pieces"])),
            log_probs=tuple(_number(value) for value in data["log_probs"]),
            ended=data["ended"] is True,
            finite=data["finite"] is True,
            scores={str(name): _number(value) for name, value in data["scores"].items()},
            correct=data["correct"] is True,
            samples=tuple(
                SampledAnswer(text=str(s["text"]), log_prob=_number(s["log_prob"]), tokens=int(s["tokens"]))
                for s in data["samples"]
            ),
        )
        if not len(record.token_ids) == len(record.pieces) == len(record.log_probs):
            raise ValueError("an answer has one text and one probability for each token")
        return record


def _known(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise TypeError("whether an example was taught is true, false or null")


def _number(value: object) -> float:
    number = decode_number(value)
    if number is None:
        raise TypeError("a probability or a score is a number")
    return number
