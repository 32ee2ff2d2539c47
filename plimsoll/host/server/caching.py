"""Decodes token by token with what each pass keeps for the next, and holds that against a pass over the whole text.

What is kept is keys and values, or states; some classes give it back, and some keep it in their own modules.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from plimsoll.host.protocol import Agreement, CompareCache
from plimsoll.host.server.generation import agreement_of, input_device, past_ends, question_ids
from plimsoll.host.server.predict.passes import CACHES

if TYPE_CHECKING:
    from plimsoll.host.server.loading import LoadedModel


@torch.inference_mode()
def compare_cache(loaded: LoadedModel, request: CompareCache) -> Agreement | None:
    """Decode token by token with the cache, then once over the same tokens without it, and compare the logits. None for
    a class that has no cache."""
    rows = [question_ids(loaded, question) for question in request.questions]
    longest = max(map(len, rows))
    # Said again before itself, a shorter one needs no mask and no padding, and all take the passes of one.
    filled = [(row * (longest // len(row) + 1))[-longest:] for row in rows]
    tokens = torch.tensor(filled, device=input_device(loaded.model))
    try:
        cached, said = _decoded(loaded.model, tokens, request.new_tokens)
    except NoCacheError:
        output = generated(loaded.model, tokens, request.new_tokens, output_logits=True)
        if output is None:
            return None
        # The last token was chosen, and no pass took it.
        cached, said = torch.stack(output.logits, dim=1), output.sequences[:, :-1]
    whole = loaded.model(input_ids=said, position_ids=_positions(said), use_cache=False).logits
    # generate() brings logits to where the tokens are, which need not be where the last layer is.
    return agreement_of(list(zip(cached.to(whole.device), whole[:, -request.new_tokens :], strict=True)))


def _decoded(model: Any, tokens: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits of the next tokens of rows of one length, each by the cache that the pass before gave back, and all
    tokens that passes took. Raises NoCacheError where one gave none."""
    output = model(input_ids=tokens, position_ids=_positions(tokens), use_cache=True)
    cached = [output.logits[:, -1]]
    while len(cached) < count:
        choice = output.logits[:, -1:].argmax(-1).to(tokens.device)
        tokens = torch.cat([tokens, choice], dim=1)
        positions = _positions(tokens)[:, -1:]
        output = model(input_ids=choice, position_ids=positions, **kept(output), use_cache=True)
        cached.append(output.logits[:, -1])
    return torch.stack(cached, dim=1), tokens


class NoCacheError(ValueError):
    """A pass that was asked for a cache gave none back."""

    def __init__(self) -> None:
        super().__init__("a pass that was asked for a cache gave none")


def kept(output: Any) -> dict[str, Any]:
    """What a pass has kept for the next token, as its class calls it: keys and values, or states.

    Raises NoCacheError where it kept nothing.
    """
    for name in CACHES:
        if (kept := getattr(output, name, None)) is not None:
            return {name: kept}
    raise NoCacheError


def generated(model: Any, tokens: torch.Tensor, count: int, **settings: Any) -> Any:
    """What generate() makes of rows of one length: some classes keep in their own modules what the next token needs
    (RecurrentGemma), and it knows how each is asked.

    None for a class that has no cache, to which it gives the whole text again for each token (the first GPT). Raises
    NoCacheError where it does so for a class that takes one: to compare that would show nothing.
    """
    widths: list[int] = []

    def watch(_model: Any, _given: Any, named: dict[str, Any]) -> None:
        widths.append(named["input_ids"].shape[1])

    hook = model.register_forward_pre_hook(watch, with_kwargs=True)
    try:
        output = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=count,
            use_cache=True,
            return_dict_in_generate=True,
            **past_ends(model),
            **settings,
        )
    finally:
        hook.remove()
    if all(width == 1 for width in widths[1:]):
        return output
    # The class is asked, not the model: a pass that something was put around does not tell what it takes.
    if set(CACHES) & signature(type(model).forward).parameters.keys():
        raise NoCacheError
    return None


def _positions(tokens: torch.Tensor) -> torch.Tensor:
    """Said at each call: a model that works them out itself may keep them for the next (Qwen2.5-Omni)."""
    return torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape[0], -1)
