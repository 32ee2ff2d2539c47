"""Compares the attention implementations of a loaded model, and records which of them a pass really calls.

A configuration says what was asked. A class may dispatch by another, and an implementation may be replaced on the way:
so the functions themselves are watched while the model computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from plimsoll import clock
from plimsoll.host.protocol import AttentionWay, CompareAttention, Prompt
from plimsoll.host.server.effective import attentions_of
from plimsoll.host.server.generation import agreement_of, encode
from plimsoll.host.server.predict.obstacles import SUPPORTS

if TYPE_CHECKING:
    from plimsoll.host.server.loading import LoadedModel

EAGER: Final = "eager"
_MODULES: Final = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}
_CAPABILITY: Final = {"flash_attention_2": (8, 0), "flash_attention_3": (9, 0), "flex_attention": (7, 0)}
WAYS: Final = (EAGER, "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
_COMPILED: Final = "flex_attention"
"""It is compiled anew in each process, by a C compiler that many nodes do not have, for up to a minute: whoever did not
choose it would pay for it, and see a node without a compiler as broken."""


@torch.inference_mode()
def compare(loaded: LoadedModel, request: CompareAttention) -> tuple[AttentionWay, ...]:
    """Ask every implementation, and leave the model with its own. Each is held against eager attention, or against the
    model's own where its class takes no other once it is made."""
    model = loaded.model
    own = attentions_of(model)[0]
    try:
        if _can_change(model):
            model.set_attn_implementation(EAGER)
        alone = [_pass(loaded, [question]).logits[0] for question in request.questions]
        return tuple(_way(loaded, name, own, request.questions, alone) for name in WAYS)
    finally:
        model.set_attn_implementation(own)


def _way(
    loaded: LoadedModel, name: str, own: str, questions: Sequence[Prompt], alone: Sequence[torch.Tensor]
) -> AttentionWay:
    """What one implementation gives; `own` is the one that the model was loaded with."""
    why = _unavailable(loaded, name, own)
    if not why:
        try:
            loaded.model.set_attn_implementation(name)
        except (ImportError, ValueError) as error:
            why = str(error).strip().splitlines()[0]
    if why:
        return AttentionWay(name=name, used=(), agreement=None, finite=False, seconds=None, peak=None, unavailable=why)
    with called() as names:
        left, right = (_pass(loaded, questions, right=side) for side in (False, True))
    pairs = [(found, one) for both in (left, right) for found, one in zip(both.logits, alone, strict=True)]
    return AttentionWay(
        name=name,
        used=tuple(names) or (EAGER if _can_change(loaded.model) else attentions_of(loaded.model)[0],),
        agreement=agreement_of(pairs),
        finite=all(bool(torch.isfinite(found).all()) for found, _ in pairs),
        # Of the second, for which kernels are there.
        seconds=right.seconds,
        peak=right.peak,
    )


def _can_change(model: Any) -> bool:
    """True where another attention can be set once the model is made. Falcon has a class for each, calls no function of
    the table, and drops what is set later with a warning alone."""
    return bool(type(model)._can_set_attn_implementation())  # noqa: SLF001


def _unavailable(loaded: LoadedModel, name: str, own: str) -> str:
    """Why an implementation is not asked here; empty where it is."""
    model = loaded.model
    device = next((p.device for p in model.parameters() if p.device.type != "meta"), torch.device("cpu"))
    if name in SUPPORTS and not getattr(model, SUPPORTS[name], False):
        return f"{type(model).__name__} has none"
    if not _can_change(model) and name != own:
        return f"{type(model).__name__} keeps the {own} that it was made with"
    if name == _COMPILED != own:
        return "each process would compile it, with a C compiler; it is asked where an entry chooses it"
    if name in _CAPABILITY:
        if device.type != "cuda":
            return "its kernels are for GPUs alone"
        if torch.cuda.get_device_capability(device) < _CAPABILITY[name]:
            return f"needs compute capability {'.'.join(map(str, _CAPABILITY[name]))}"
    if name in _MODULES:
        if loaded.spec.dtype == "float32":
            return "its kernels compute in 16 bits alone"
        if find_spec(_MODULES[name]) is None:
            return f"the package {_MODULES[name]} is not installed"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """What one pass over a padded batch gave and took."""

    logits: list[torch.Tensor]
    """Of every token of each prompt, without those of the padding, shape (tokens, vocabulary)."""
    seconds: float
    peak: int | None
    """Bytes of GPU memory beside what there was; None on a processor."""


def _pass(loaded: LoadedModel, questions: Sequence[Prompt], *, right: bool = False) -> _Pass:
    batch = encode(loaded, questions, right=right)
    device = batch["input_ids"].device
    is_gpu = device.type == "cuda"
    before, peak = 0, None
    if is_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    began = clock.monotonic()
    logits = loaded.model(**batch, use_cache=False).logits
    if is_gpu:
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device) - before
    seconds = clock.monotonic() - began
    found = [
        rows[mask.bool()].float() for rows, mask in zip(logits, batch["attention_mask"].to(logits.device), strict=True)
    ]
    return _Pass(logits=found, seconds=seconds, peak=peak)


@contextmanager
def called() -> Iterator[dict[str, None]]:
    """The names of the attention functions that are called meanwhile; eager attention is each class's own, and no
    function of the table."""
    names: dict[str, None] = {}
    table: Any = ALL_ATTENTION_FUNCTIONS
    before = {name: table[name] for name in WAYS if name in table}

    def watched(name: str, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            names[name] = None
            return function(*args, **kwargs)

        return call

    for name, function in before.items():
        table[name] = watched(name, function)
    try:
        yield names
    finally:
        for name, function in before.items():
            table[name] = function
