"""Answers prompts inside a host, with the probability of each token, for scores and uncertainties.

Probabilities are taken from raw logits while `generate` runs, one number a token and row: the logits of a whole answer,
for a vocabulary of 150,000, would take gigabytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from plimsoll import clock
from plimsoll.host.protocol import Answer, Answered, AnswerPrompts, Sampled
from plimsoll.host.server.generation import encode, input_device, question_ids

if TYPE_CHECKING:
    from plimsoll.host.server.loading import LoadedModel


class _TokenProbabilities(LogitsProcessor):
    """Notes the log-probability of each token that was chosen, without changing any score.

    Which token a step chose is only known at the next one, so one step's distribution is kept for that long.
    `temperature` is that of the drawing: the distribution drawn from is the one to note.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        self.finite = True
        self._temperature = temperature
        self._pending: torch.Tensor | None = None
        self._noted: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.finite = self.finite and bool(torch.isfinite(scores).all())
        self._settle(input_ids[:, -1])
        self._pending = (scores.float() / self._temperature).log_softmax(-1)
        return scores

    def of(self, sequences: torch.Tensor) -> list[list[float]]:
        """For each row the log-probabilities of its new tokens; what follows an end is noted too, and means nothing."""
        self._settle(sequences[:, -1])
        rows: list[list[float]] = torch.stack(self._noted, dim=1).tolist()
        return rows

    def _settle(self, chosen: torch.Tensor) -> None:
        if self._pending is not None:
            self._noted.append(self._pending.gather(-1, chosen[:, None])[:, 0])
        self._pending = None


class _StopText(StoppingCriteria):
    """Ends a row once the stop text follows something that is not blank: instructed models begin with empty lines."""

    def __init__(self, tokenizer: Any, stop: str, prompt_width: int) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._width = prompt_width

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002  the interface's
        texts = self._tokenizer.batch_decode(input_ids[:, self._width :], skip_special_tokens=True)
        done = [self._stop in text.lstrip() for text in texts]
        return torch.tensor(done, device=input_ids.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One generated row, cut where its answer ends."""

    text: str
    token_ids: tuple[int, ...]
    pieces: tuple[str, ...]
    log_probs: tuple[float, ...]
    ended: bool


@torch.inference_mode()
def answer(loaded: LoadedModel, request: AnswerPrompts) -> Answered:
    """Answer the prompts, those of like length together; see `Answered`."""
    started = clock.monotonic()
    lengths = [len(question_ids(loaded, prompt)) for prompt in request.prompts]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    answers: dict[int, Answer] = {}
    for start in range(0, len(order), request.batch_size):
        places = order[start : start + request.batch_size]
        rows, finite = _generate(loaded, request, [request.prompts[place] for place in places])
        for place, row in zip(places, rows, strict=True):
            samples, drawn_finite = _samples(loaded, request, request.prompts[place])
            answers[place] = Answer(
                text=row.text,
                token_ids=row.token_ids,
                pieces=row.pieces,
                log_probs=row.log_probs,
                prompt_tokens=lengths[place],
                ended=row.ended,
                finite=finite and drawn_finite,
                samples=samples,
            )
    return Answered(
        answers=tuple(answers[place] for place in range(len(lengths))),
        seconds=clock.monotonic() - started,
    )


def _generate(
    loaded: LoadedModel, request: AnswerPrompts, prompts: Sequence[str], drawn: int = 0
) -> tuple[list[_Row], bool]:
    """The rows of one batch, greedy or `drawn` at random for each prompt; and whether all logits were finite."""
    batch = encode(loaded, prompts)
    del batch["position_ids"]  # generate() keeps its own
    width = batch["input_ids"].shape[1]
    noted = _TokenProbabilities(request.temperature if drawn else 1.0)
    drawing: dict[str, Any] = {"do_sample": False}
    if drawn:
        drawing = {
            "do_sample": True,
            "temperature": request.temperature,
            "top_k": 0,
            "top_p": 1.0,
            "num_return_sequences": drawn,
        }
    sequences = loaded.model.generate(
        **batch,
        **drawing,
        max_new_tokens=request.max_new_tokens,
        logits_processor=LogitsProcessorList([noted]),
        stopping_criteria=StoppingCriteriaList([_StopText(loaded.tokenizer, request.stop, width)]),
    )
    log_probs = noted.of(sequences)
    new = sequences[:, width:].tolist()
    return [_cut(loaded, request.stop, ids, its) for ids, its in zip(new, log_probs, strict=True)], noted.finite


def _samples(loaded: LoadedModel, request: AnswerPrompts, prompt: str) -> tuple[tuple[Sampled, ...], bool]:
    """Answers drawn for one prompt alone, with a seed of its own: no neighbour and no resumed run changes them."""
    if not request.samples:
        return (), True
    digest = hashlib.sha256(f"{request.seed}\n{prompt}".encode()).digest()
    device = input_device(loaded.model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(digest[:7], "big"))
        rows, finite = _generate(loaded, request, [prompt], drawn=request.samples)
    return tuple(Sampled(text=r.text, log_prob=sum(r.log_probs), tokens=len(r.token_ids)) for r in rows), finite


def _cut(loaded: LoadedModel, stop: str, ids: list[int], log_probs: list[float]) -> _Row:
    """A row up to and with the token that ended it."""
    eos = loaded.model.generation_config.eos_token_id
    ends = set(eos) if isinstance(eos, (list, tuple)) else {eos}
    decode = loaded.tokenizer.decode
    before, pieces, ended = "", [], False
    for count, token in enumerate(ids, start=1):
        whole = decode(ids[:count], skip_special_tokens=True)
        # A character of several tokens is shown as a replacement until its last one is there.
        pieces.append(whole[len(before) :] if whole.startswith(before) else whole[-1:])
        before = whole
        ended = token in ends or stop in whole.lstrip()
        if ended:
            break
    kept = len(pieces)
    return _Row(
        text=before.lstrip().partition(stop)[0].strip(),
        token_ids=tuple(ids[:kept]),
        pieces=tuple(pieces),
        log_probs=tuple(log_probs[:kept]),
        ended=ended,
    )
