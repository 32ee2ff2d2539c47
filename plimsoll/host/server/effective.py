"""Reads from a loaded model and its tokenizer which settings are in force.

What was asked is no evidence: transformers and accelerate take settings that they do not heed. So the modules, the
tensors and the tokenizer are looked at, and the controller compares.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import nn

from plimsoll.host.protocol import LoadSpec
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.predict.config import setting_of


def effective(model: Any, asked: Any, tokenizer: Any, spec: LoadSpec) -> dict[str, Any]:
    """The settings in force, as JSON data; `asked` is the part of the model that reads text."""
    config = asked.config.get_text_config()
    found: dict[str, Any] = {
        "dtype": _dtypes(model),
        "attention": list(attentions_of(model)),
        "bytes": _bytes_by_place(model),
        "remote_code": type(model).__module__.startswith("transformers_modules"),
        "config": {name: setting_of(config, name) for name in spec.config},
    }
    if tokenizer is not None:
        found["tokenizer"] = {
            "class": type(tokenizer).__name__,
            "use_fast": bool(tokenizer.is_fast),
            "padding_side": tokenizer.padding_side,
            "pad_token": tokenizer.pad_token,
            "chat_template": template_digest(tokenizer.chat_template),
        }
    return found


def template_digest(template: Any) -> str | None:
    """SHA-256 of a chat template's text; None for none."""
    return hashlib.sha256(str(template).encode()).hexdigest() if template else None


def attentions_of(model: nn.Module) -> tuple[str, ...]:
    """The attention implementations of all parts of a model that attend, each once, the most frequent first.

    A module dispatches by its own configuration, which need not be that of the whole: a part that has none of the
    asked kind keeps another.
    """
    own = getattr(getattr(model, "config", None), "_attn_implementation", None)
    counts: Counter[str] = Counter()
    for module in model.modules():
        config = getattr(module, "config", None)
        name = getattr(config, "_attn_implementation", None)
        if name is not None and "attention" in type(module).__name__.lower():
            counts[str(name)] += 1
    return tuple(name for name, _ in counts.most_common()) or (str(own or "unknown"),)


def _dtypes(model: nn.Module) -> list[str]:
    """The dtypes of the parameters in floats, that of the most bytes first."""
    counts: Counter[str] = Counter()
    for parameter in model.parameters():
        if parameter.is_floating_point():
            counts[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    return [name for name, _ in counts.most_common()]


def _bytes_by_place(model: Any) -> dict[str, int]:
    """Bytes of weights and buffers by where they are kept: a device, or `cpu` and `disk` for what a hook brings in."""
    counts: Counter[str] = Counter()
    entries = getattr(model, "hf_device_map", None) or {}
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        place = _entry(name, entries) if tensor.is_meta else str(tensor.device)
        counts[str(place)] += tensor.numel() * tensor.element_size()
    return dict(sorted(counts.items()))


def _entry(name: str, places: dict[str, Any]) -> Any:
    """The place of a parameter by the longest prefix of its name."""
    prefixes = [key for key in places if not key or name == key or name.startswith(f"{key}.")]
    return places[max(prefixes, key=len)] if prefixes else "meta"


def brought_in(model: nn.Module, names: Iterable[str]) -> frozenset[str]:
    """Those of these tensors whose weights a hook of accelerate's brings in from RAM or disk when they are needed: they
    are on the meta device between two passes, and not missing."""
    wanted = frozenset(names)
    return wanted & brought_in_by_name(model).keys() if wanted else wanted


def brought_in_by_name(model: nn.Module) -> dict[str, Callable[[], torch.Tensor]]:
    """What a hook brings in, by the name of the tensor in the model: a call gives it, from RAM or its file."""
    return dict(_hooked(model))


def _hooked(model: nn.Module) -> Iterator[tuple[str, Callable[[], torch.Tensor]]]:
    for prefix, module in model.named_modules():
        hook = getattr(module, "_hf_hook", None)
        for one in getattr(hook, "hooks", (hook,)):
            weights = getattr(one, "weights_map", None) if getattr(one, "offload", False) else None
            if weights is None:
                continue
            # A look at the keys brings nothing in, which asking the map for one would.
            start, source = getattr(weights, "prefix", ""), getattr(weights, "dataset", weights)
            keys = getattr(source, "all_keys", source)
            for name, _ in chain(module.named_parameters(), module.named_buffers()):
                if f"{start}{name}" in keys:
                    yield f"{prefix}.{name}" if prefix else name, partial(_taken, weights, name)


def _taken(weights: Any, name: str) -> torch.Tensor:
    found: torch.Tensor = weights[name]
    return found


def refuse_unheeded(spec: LoadSpec, tokenizer: Any) -> None:
    """Raise LoadFailed for a setting of the tokenizer that it does not have once it is made."""
    for name, asked in spec.tokenizer.items():
        found = tokenizer.is_fast if name == "use_fast" else getattr(tokenizer, name, None)
        if name == "use_fast" and found != asked:
            raise _refused(
                f"use_fast = {str(asked).lower()} has no effect: transformers 5 makes a {type(tokenizer).__name__} "
                f"of this checkpoint's files, which is {'a fast one' if found else 'no fast one'}; remove it"
            )
        if found != asked:
            raise _refused(f"{name} = {asked!r} has no effect: {type(tokenizer).__name__} has {found!r}")


def _refused(message: str) -> LoadFailed:
    return LoadFailed(LoadFailure.OPTIONS, f"tokenizer: {message}")
