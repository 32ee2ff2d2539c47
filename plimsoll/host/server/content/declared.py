"""Judges the number formats that a checkpoint's files declare for its weights.

A header that names another format of the same width over the same bytes gives other numbers, and both the load and the
comparison with the file read that header. So it is held against the rest of the checkpoint:

- Weights are floats. An integer is no weight of a model in floats, whatever its bytes.
- Some tensors in 8 bits among wider ones are no format that anybody saves without a scheme and its scales. A checkpoint
  of which most tensors are cast to 8 bits is.
- float16 and bfloat16 do not mix within a layer: whoever saves a layer saves it in one of them. float32 beside either
  is common, for norms, routers and states. Layers may differ from each other, as in a merge of two models, and so may
  the parts of a model, as a tower for images may. What lies outside of layers is of a format that some layer has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import torch

_EIGHTHS: Final = frozenset(
    getattr(torch, name)
    for name in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")
    if hasattr(torch, name)
)
_HALVES: Final = (torch.float16, torch.bfloat16)


def integer_fault(name: str, kind: torch.dtype) -> str:
    """What is wrong with a tensor of a file that a weight in floats is read from; empty where nothing is."""
    if kind.is_floating_point or kind.is_complex:
        return ""
    return f"the file declares {name} as {_short(kind)}, and a weight in floats is no integer; save it again"


def lone_eighths(kinds: Mapping[str, torch.dtype]) -> dict[str, str]:
    """What is wrong with tensors that are declared as floats of 8 bits where most are wider: name -> text."""
    scaled = {name.partition("_scale")[0] for name in kinds if "_scale" in name}
    found = {name: kind for name, kind in kinds.items() if kind in _EIGHTHS and name not in scaled}
    if 2 * len(found) > len(kinds):
        return {}
    return {
        name: f"the file declares {name} as {_short(kind)}, and most tensors as wider ones; 8 bits hold a weight "
        "only beside the scales of a scheme, so save it again"
        for name, kind in found.items()
    }


def mixed_halves(kinds: Mapping[str, torch.dtype]) -> dict[str, str]:
    """What is wrong with the tensors of a checkpoint whose 16-bit format is not that of their layer: name -> text.

    `kinds` are the formats by the names in the files.
    """
    halves = {name: kind for name, kind in kinds.items() if kind in _HALVES}
    usual = _most(halves.values())
    layers: dict[str | None, list[str]] = {}
    for name in halves:
        layers.setdefault(layer_of(name), []).append(name)
    outside = layers.pop(None, [])
    expected = {layer: _most((halves[name] for name in names), usual) for layer, names in layers.items()}
    wrong = {
        name: _unlike(name, halves[name], expected[layer], f"what else there is of {layer}")
        for layer, names in layers.items()
        for name in names
        if halves[name] != expected[layer]
    }
    known = set(expected.values()) or {usual}
    for name in outside:
        if halves[name] not in known:
            wrong[name] = _unlike(name, halves[name], usual, "every layer")
    return wrong


def layer_of(name: str) -> str | None:
    """`model.layers.3` of `model.layers.3.mlp.experts.5.up_proj.weight`; None for a tensor outside of all layers."""
    parts = name.split(".")
    number = next((place for place, part in enumerate(parts) if part.isdecimal()), None)
    return None if number is None else ".".join(parts[: number + 1])


def _most(kinds: Iterable[torch.dtype], tie: torch.dtype | None = None) -> torch.dtype | None:
    """The format that most have; where two have as many, `tie`."""
    counts = Counter(kinds).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return tie
    return counts[0][0]


def _unlike(name: str, kind: torch.dtype | None, expected: torch.dtype | None, where: str) -> str:
    return (
        f"the file declares {name} as {_short(kind)}, and {where} as {_short(expected)}, in which the same bytes are "
        "other numbers; save the checkpoint again in one format"
    )


def _short(kind: torch.dtype | None) -> str:
    return str(kind).removeprefix("torch.")
