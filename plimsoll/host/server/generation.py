"""Generates and compares inside a host: logits are reduced to numbers before they cross the pipe.

Decoding is greedy with every setting explicit, so that two runs, two releases or two machines can be compared. Raw
logits are looked at, never processed scores, because processors hide a NaN behind a mask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors.torch import load_file, save_file
from transformers import LogitsProcessor, LogitsProcessorList

from plimsoll import clock
from plimsoll.errors import PlimsollError
from plimsoll.host.protocol import (
    Agreement,
    CompareBatch,
    CompareLogits,
    Completion,
    Generate,
    Generated,
    Prompt,
    Score,
    Scored,
)
from plimsoll.host.server.chat import chat_text
from plimsoll.host.server.predict.config import setting_of
from plimsoll.host.server.tokens import deciding_ends, deciding_padding

if TYPE_CHECKING:
    from plimsoll.host.server.loading import LoadedModel


_CONTEXTS: Final = ("max_position_embeddings", "n_positions", "max_seq_len")
"""What configurations call the tokens that there are positions for; transformers knows many by the first name."""


class _FiniteCheck(LogitsProcessor):
    """Watches raw logits without changing them; must come first in the list."""

    def __init__(self) -> None:
        self.finite = True

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002  the interface's
        self.finite = self.finite and bool(torch.isfinite(scores).all())
        return scores


class _LogitDigests(LogitsProcessor):
    """Digests the bits of each row's raw logits, step after step, without changing them."""

    def __init__(self, rows: int) -> None:
        self._digests = [hashlib.sha256() for _ in range(rows)]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002  the interface's
        for digest, row in zip(self._digests, bits_of(scores), strict=True):
            digest.update(row)
        return scores

    def result(self) -> list[str]:
        """One digest a row."""
        return [digest.hexdigest() for digest in self._digests]


def bits_of(logits: torch.Tensor) -> list[bytes]:
    """The bits of each row, as they lie in memory: equal bits are equal numbers, and a NaN is one too."""
    rows = logits.detach().cpu().contiguous()
    return [row.view(torch.uint8).numpy().tobytes() for row in rows]


def question_ids(loaded: LoadedModel, question: Prompt) -> list[int]:
    """The tokens of a question; of a text those of its chat."""
    if not isinstance(question, str):
        return list(question)
    tokenizer = loaded.tokenizer
    # A chat template has written the special tokens already.
    return _text_ids(tokenizer, chat_text(loaded.spec, tokenizer, question), special=not tokenizer.chat_template)


def _text_ids(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=special)["input_ids"]
    return ids


def encode(loaded: LoadedModel, questions: Sequence[Prompt], *, right: bool = False) -> dict[str, torch.Tensor]:
    """Token ids, mask and positions, shape (questions, tokens), padded on the left, where a decoder wants it, or on the
    right, where no token that counts looks."""
    rows = [question_ids(loaded, question) for question in questions]
    width = max(map(len, rows))
    # Masked positions do not matter, so a model without a padding token takes any token.
    pad = loaded.model.generation_config.pad_token_id or 0
    ids, mask = (
        torch.tensor([part + fill if right else fill + part for part, fill in padded])
        for padded in (
            [(row, [pad] * (width - len(row))) for row in rows],
            [([1] * len(row), [0] * (width - len(row))) for row in rows],
        )
    )
    device = input_device(loaded.model)
    return {
        "input_ids": ids.to(device),
        "attention_mask": mask.to(device),
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0).to(device),
    }


def input_device(model: Any) -> torch.device:
    """Where tokens must lie: beside the embedding, or where a pass brings it in to."""
    embedding = model.get_input_embeddings()
    if not embedding.weight.is_meta:
        found: torch.device = embedding.weight.device
        return found
    place = getattr(getattr(embedding, "_hf_hook", None), "execution_device", None)
    # Parameters that are brought in one by one are nowhere between two passes.
    return torch.device("cpu") if place is None else torch.device("cuda", place) if isinstance(place, int) else place


def context_of(model: Any) -> int | None:
    """The tokens that the model has positions for, by its configuration; None where that does not say. Beyond them a
    table of positions has no row."""
    config = model.config.get_text_config()
    told = (setting_of(config, name) for name in _CONTEXTS)
    return next((tokens for tokens in told if isinstance(tokens, int) and tokens > 0), None)


def _batches(items: Sequence[Prompt], size: int) -> Iterator[Sequence[Prompt]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


@torch.inference_mode()
def generate(loaded: LoadedModel, request: Generate) -> Generated:
    """Answer each question greedily; see `Generated`."""
    started = clock.monotonic()
    config = loaded.model.generation_config
    ends = config.eos_token_id
    eos_ids = tuple(ends) if isinstance(ends, (list, tuple)) else () if ends is None else (int(ends),)
    never: dict[str, int] = {}
    if request.past_ends:
        eos_ids, never = (), past_ends(loaded.model)
    check = _FiniteCheck()
    completions: list[Completion] = []
    clean = True
    for questions in _batches(request.questions, request.batch_size):
        batch = encode(loaded, questions)
        del batch["position_ids"]  # generate() keeps its own
        digests = _LogitDigests(len(questions)) if request.with_digests else None
        watching = LogitsProcessorList([check, *([digests] if digests else [])])
        rows = loaded.model.generate(**batch, max_new_tokens=request.max_new_tokens, logits_processor=watching, **never)
        width = batch["input_ids"].shape[1]
        told = digests.result() if digests else [None] * len(questions)
        for row, mask, digest in zip(rows[:, width:].tolist(), batch["attention_mask"], told, strict=True):
            completion, rest = _completion(loaded.tokenizer, row, int(mask.sum()), eos_ids)
            clean = clean and all(token == config.pad_token_id for token in rest)
            completions.append(replace(completion, logits_sha256=digest))
    return Generated(
        completions=tuple(completions),
        finite=check.finite,
        clean_endings=clean,
        pad_token=_token(loaded.tokenizer, config.pad_token_id),
        eos_tokens=tuple(str(_token(loaded.tokenizer, token)) for token in eos_ids),
        seconds=clock.monotonic() - started,
        pads_by=deciding_padding(loaded.spec),
        ends_by=deciding_ends(loaded.spec),
    )


def past_ends(model: Any) -> dict[str, int]:
    """What makes generate() go on after an end token."""
    # An id that no token has; transformers takes None for what the model's own settings say.
    return {"eos_token_id": int(model.get_output_embeddings().weight.shape[0])}


def _token(tokenizer: Any, token_id: int | None) -> str | None:
    if token_id is None:
        return None
    return str(token_id if tokenizer is None else tokenizer.convert_ids_to_tokens(token_id))


def _completion(
    tokenizer: Any, row: list[int], prompt_tokens: int, eos_ids: tuple[int, ...]
) -> tuple[Completion, list[int]]:
    """One row up to and with its first end token, and what follows that."""
    end = next((index for index, token in enumerate(row) if token in eos_ids), None)
    kept, rest = (row, []) if end is None else (row[: end + 1], row[end + 1 :])
    completion = Completion(
        text="" if tokenizer is None else tokenizer.decode(kept, skip_special_tokens=True).strip(),
        token_ids=tuple(kept),
        prompt_tokens=prompt_tokens,
        ended=end is not None,
    )
    return completion, rest


@torch.inference_mode()
def compare_batch(loaded: LoadedModel, request: CompareBatch) -> Agreement:
    """The next-token logits of each prompt in one padded batch, against the same prompt alone."""
    together = loaded.model(**encode(loaded, request.questions), use_cache=False).logits[:, -1]
    pairs = []
    for index, question in enumerate(request.questions):
        alone = loaded.model(**encode(loaded, [question]), use_cache=False).logits[:, -1]
        pairs.append((together[index : index + 1], alone))
    return agreement_of(pairs)


def agreement_of(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> Agreement:
    """Compare (other, reference) logits, each of shape (positions, vocabulary); NaN anywhere gives NaN.

    Raises PlimsollError where the reference tells no token from another: such a model says nothing, and differences
    have no spread to be measured by.
    """
    other = torch.cat([pair[0] for pair in pairs]).float()
    reference = torch.cat([pair[1] for pair in pairs]).float()
    if bool(torch.isfinite(reference).all()) and bool((reference.amax(-1) == reference.amin(-1)).all()):
        raise PlimsollError(
            f"the model gives every token the same logit, at each of {reference.shape[0]} positions, so there is "
            "nothing to compare: its output head or all that goes into it is zeros, or its tokenizer makes padding of "
            "every word; compare the digests of the checkpoint's files with those of its repository"
        )
    differences = (other - reference).abs().amax(-1) / reference.std()
    return Agreement(
        divergence=float(differences.mean()),
        worst=float(differences.max()),
        same_choice=float((other.argmax(-1) == reference.argmax(-1)).float().mean()),
        positions=reference.shape[0],
    )


@torch.inference_mode()
def score(loaded: LoadedModel, request: Score) -> Scored:
    """Next-token logits at the positions of the answers; saved, or compared with those that were saved.

    Raises ValueError when the file to compare with was made from other texts.
    """
    logits, tokens = _answer_logits(loaded, request)
    finite = bool(torch.isfinite(logits).all())
    if request.save_to is not None:
        # Whole or not at all: a host may be killed while it writes, and the next would compare with the half.
        unfinished = Path(f"{request.save_to}.part")
        save_file({"logits": logits, "tokens": tokens}, unfinished)
        unfinished.replace(request.save_to)
    if request.compare_with is None:
        return Scored(finite=finite, positions=logits.shape[0], mean_kl=None, same_choice=None)
    return _compared({"logits": logits, "tokens": tokens}, load_file(request.compare_with), request.compare_with)


def compare_logits(request: CompareLogits) -> Scored:
    """The logits in one file against those in another; raises ValueError where they are of other texts."""
    return _compared(load_file(request.logits), load_file(request.reference), request.reference)


def _compared(found: Mapping[str, torch.Tensor], reference: Mapping[str, torch.Tensor], name: str) -> Scored:
    if not torch.equal(reference["tokens"], found["tokens"]):
        raise ValueError(f"{name} holds the logits of other texts")
    expected, logits = reference["logits"].log_softmax(-1), found["logits"].log_softmax(-1)
    divergence = torch.nn.functional.kl_div(logits, expected, log_target=True, reduction="none").sum(-1)
    return Scored(
        finite=bool(torch.isfinite(found["logits"]).all()),
        positions=logits.shape[0],
        mean_kl=float(divergence.mean()),
        same_choice=float((logits.argmax(-1) == expected.argmax(-1)).float().mean()),
    )


def _answer_logits(loaded: LoadedModel, request: Score) -> tuple[torch.Tensor, torch.Tensor]:
    """Float32 logits (positions, vocabulary) that predict each answer token, and those tokens (positions,).

    One pass for all texts, padded on the right, where a decoder does not look: a reference that is brought in part by
    part then reads its weights once, and both sides compute in the same shapes. What is longer than the context is cut,
    alike on both sides, which have one configuration and one tokenizer.
    """
    tokenizer, device = loaded.tokenizer, input_device(loaded.model)
    asked = [question_ids(loaded, question) for question in request.questions]
    answers = [
        _text_ids(tokenizer, answer, special=False) if isinstance(answer, str) else list(answer)
        for answer in request.answers
    ]
    context = context_of(loaded.model)
    fitted = [_fitted(prompt, target, context) for prompt, target in zip(asked, answers, strict=True)]
    prompts, targets = [prompt for prompt, _ in fitted], [target for _, target in fitted]
    rows = [[*prompt, *target] for prompt, target in zip(prompts, targets, strict=True)]
    width = max(map(len, rows))
    pad = loaded.model.generation_config.pad_token_id or 0
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    positions = torch.arange(width).expand(len(rows), width)
    batch = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    output = loaded.model(**{name: part.to(device) for name, part in batch.items()}, use_cache=False).logits
    logits = [
        output[row, len(prompt) - 1 : len(prompt) + len(target) - 1].float().cpu()
        for row, (prompt, target) in enumerate(zip(prompts, targets, strict=True))
    ]
    return torch.cat(logits).contiguous(), torch.cat([torch.tensor(target) for target in targets])


def _fitted(prompt: list[int], target: list[int], context: int | None) -> tuple[list[int], list[int]]:
    """A prompt and its answer within the context: the prompt loses its beginning where it takes more than half and the
    answer does not fit beside it, and the answer its end."""
    if context is None:
        return prompt, target
    prompt = prompt[-max(context // 2, context - len(target)) :]
    return prompt, target[: context - len(prompt)]
