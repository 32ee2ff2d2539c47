"""Times the first token and the further ones of the loaded model, and counts what a step must read."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from plimsoll import clock
from plimsoll.host.rates import GenerationSpeed, TimeGeneration
from plimsoll.host.server.caching import NoCacheError, generated, kept
from plimsoll.host.server.generation import context_of, input_device

if TYPE_CHECKING:
    from plimsoll.host.server.loading import LoadedModel

_SEED: Final = 20
_BYTES: Final = 256
_Round = Callable[[Any, torch.Tensor, int], tuple[float, float]]


@torch.inference_mode()
def time_generation(loaded: LoadedModel, request: TimeGeneration) -> GenerationSpeed | None:
    """Decode greedily, as often as is asked for, after a round that pulls in what it needs. None for a class that has
    no cache: what its tokens take grows with the text, and no limit is for that."""
    model = loaded.model
    device = input_device(model)
    # The first ids stand for bytes in every vocabulary; among the last are tokens that stand for pictures and sound.
    vocabulary = min(_BYTES, model.get_input_embeddings().weight.shape[0])
    new_tokens, prompt_tokens = request.new_tokens, request.prompt_tokens
    if context := context_of(model):
        new_tokens = min(new_tokens, context // 2)
        prompt_tokens = min(prompt_tokens, context - new_tokens)
    prompt = torch.randint(
        0,
        vocabulary,
        (request.batch, prompt_tokens),
        generator=torch.Generator().manual_seed(_SEED),
    ).to(device)
    play: _Round = _round
    try:
        used = _used(model, prompt, play)
    except NoCacheError:
        if generated(model, prompt, 2) is None:
            return None
        play = _generated_round
        used = _used(model, prompt, play)
    rounds = [play(model, prompt, new_tokens) for _ in range(request.rounds)]
    return GenerationSpeed(
        batch=request.batch,
        prompt_tokens=prompt_tokens,
        first=tuple(first for first, _ in rounds),
        step=tuple(step for _, step in rounds),
        used=used,
    )


def _used(model: Any, prompt: torch.Tensor, play: _Round) -> tuple[str, ...]:
    """The modules whose parameters a step reads, seen in a round that is not counted: towers for pictures and sound lie
    beside a model's text, and a token reads nothing of them."""
    seen: dict[str, None] = {}
    owners = {name: part for name, part in model.named_modules() if [*part.parameters(recurse=False)]}
    hooks = [
        part.register_forward_pre_hook(lambda _part, _inputs, name=name: seen.setdefault(name))
        for name, part in owners.items()
    ]
    try:
        play(model, prompt, 1)
    finally:
        for hook in hooks:
            hook.remove()
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    is_tied = head is not None and head.weight is embedding.weight
    return tuple(name for name in seen if is_tied or owners[name] is not embedding)


def _round(model: Any, prompt: torch.Tensor, new_tokens: int) -> tuple[float, float]:
    """Seconds to the first token, and the mean of each further one. Raises NoCacheError where a pass gives no cache
    back."""
    devices = _gpus(model)
    width = prompt.shape[1]
    _wait(devices)
    began = clock.monotonic()
    positions = torch.arange(width, device=prompt.device)[None].expand(len(prompt), -1)
    # As generate() does it: the logits of a long prompt would be larger than everything else, and are not needed.
    only_last = {"logits_to_keep": 1} if "logits_to_keep" in signature(model.forward).parameters else {}
    output = model(input_ids=prompt, position_ids=positions, use_cache=True, **only_last)
    choice = output.logits[:, -1:].argmax(-1)
    _wait(devices)
    first = clock.monotonic() - began
    for place in range(width, width + new_tokens):
        at = torch.full((len(prompt), 1), place, device=prompt.device)
        output = model(input_ids=choice, position_ids=at, use_cache=True, **kept(output))
        choice = output.logits[:, -1:].argmax(-1)
    _wait(devices)
    return first, (clock.monotonic() - began - first) / new_tokens


class _FirstToken(LogitsProcessor):
    """Notes when the logits of the first token were there."""

    def __init__(self, devices: set[torch.device]) -> None:
        self._devices = devices
        self.at = 0.0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002  the interface's
        if not self.at:
            _wait(self._devices)
            self.at = clock.monotonic()
        return scores


def _generated_round(model: Any, prompt: torch.Tensor, new_tokens: int) -> tuple[float, float]:
    """The same by generate(), for a class that keeps in its own modules what the next token needs."""
    devices = _gpus(model)
    _wait(devices)
    noted = _FirstToken(devices)
    began = clock.monotonic()
    generated(model, prompt, 1 + new_tokens, logits_processor=LogitsProcessorList([noted]))
    _wait(devices)
    return noted.at - began, (clock.monotonic() - noted.at) / new_tokens


def _gpus(model: Any) -> set[torch.device]:
    return {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}


def _wait(devices: set[torch.device]) -> None:
    for device in devices:
        torch.cuda.synchronize(device)
