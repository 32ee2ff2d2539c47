"""Measures how well a model predicts plain text, and tells whether it has a chat template, without a reference
model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from plimsoll.host.protocol import LoadSpec, Manners, ReadText, TextLikelihood
from plimsoll.host.server.chat import rendered
from plimsoll.host.server.generation import context_of, input_device
from plimsoll.host.server.tokens import deciding_ends

if TYPE_CHECKING:
    from plimsoll.host.server.loading import LoadedModel

_SHOWN = 200
"""Characters of a text that is told to people."""


@torch.inference_mode()
def read(loaded: LoadedModel, request: ReadText) -> tuple[TextLikelihood, ...]:
    """How each text is read, as far as the context reaches; a pass a text."""
    return tuple(_read(loaded, text) for text in request.texts)


def _read(loaded: LoadedModel, text: str) -> TextLikelihood:
    tokenizer = loaded.tokenizer
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    decoded = str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
    # What a tokenizer puts before every text is what the model was trained to begin with.
    begin = _beginning(tokenizer, text, ids)
    context, size = context_of(loaded.model), len(text.encode())
    if context is not None and len(begin) + len(ids) > context:
        ids = ids[: context - len(begin)]
        size = len(str(tokenizer.decode(ids)).encode())
    device = input_device(loaded.model)
    logits = loaded.model(input_ids=torch.tensor([[*begin, *ids]], device=device), use_cache=False).logits[0].float()
    first = len(begin) or 1
    wanted = torch.tensor([*begin, *ids][first:], device=logits.device)
    chosen = logits.log_softmax(-1)[first - 1 : -1].gather(-1, wanted[:, None])
    unread = 0 if begin else len(str(tokenizer.decode(ids[:1])).encode())
    return TextLikelihood(
        nats=-float(chosen.double().sum()) if bool(torch.isfinite(logits).all()) else math.nan,
        bytes=size - unread,
        tokens=len(wanted),
        faithful=decoded.strip() == text.strip(),
        decoded=decoded[:_SHOWN],
    )


def _beginning(tokenizer: Any, text: str, ids: list[int]) -> list[int]:
    whole: list[int] = tokenizer(text)["input_ids"]
    extra = len(whole) - len(ids)
    return next((whole[:at] for at in range(extra, -1, -1) if whole[at : at + len(ids)] == ids), [])


def manners(loaded: LoadedModel) -> Manners:
    """How the checkpoint is spoken to, by its chat template and its end tokens."""
    tokenizer = loaded.tokenizer
    ends = loaded.model.generation_config.eos_token_id
    eos = [ends] if isinstance(ends, int) else list(ends or ())
    end = _turn_end(loaded.spec, tokenizer) if tokenizer is not None and tokenizer.chat_template else None
    return Manners(
        has_chat_template=bool(tokenizer is not None and tokenizer.chat_template),
        turn_end=None if end is None else str(tokenizer.convert_ids_to_tokens(end)),
        turn_end_ends=None if end is None else end in eos,
        eos_tokens=tuple(str(tokenizer.convert_ids_to_tokens(token)) for token in eos) if tokenizer else (),
        ends_by=deciding_ends(loaded.spec),
    )


def _turn_end(spec: LoadSpec, tokenizer: Any) -> int | None:
    """The id of the first special token that the template writes after an answer."""
    answer = "plimsoll"
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": answer}]
    text = rendered(spec, tokenizer, turns)
    rest = text[text.rindex(answer) + len(answer) :] if answer in text else ""
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    ids: list[int] = tokenizer(rest, add_special_tokens=False)["input_ids"]
    return next((token for token in ids if token in special), None)
