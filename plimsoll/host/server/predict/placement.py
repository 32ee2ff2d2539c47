"""Predicts which GPU gets which part of a model under `device_map="auto"` and similar maps.

transformers' own planner is asked, which is accelerate's with the sizes that quantization leaves; it looks at shapes
alone, so that the model on the meta device and figures for GPUs that are not there will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import nn
from transformers.integrations import accelerate as planner

from plimsoll.footprint.sizes import Footprint

_ENDLESS: Final = 2**50
"""Bytes of RAM that the planner may use, so that what the GPUs cannot hold is seen to go there."""
_KEPT_FREE: Final = 0.9
"""The fraction of a GPU that the planner uses: of a single one, and of each where weights are quantized on the fly."""


class _Sizes:
    """Answers the planner's one question to a quantizer: bytes an element of a parameter."""

    def __init__(self, footprint: Footprint) -> None:
        self._sizes = {p.name: p.data_bytes / p.count for p in (*footprint.parameters, *footprint.buffers) if p.count}

    def param_element_size(self, model: nn.Module, name: str, parameter: Any) -> float:  # noqa: ARG002  the interface's
        return self._sizes[name] if name in self._sizes else float(parameter.element_size())


def place(
    model: nn.Module, footprint: Footprint, device_map: str, memory: Sequence[int], *, quantized: bool
) -> Mapping[str, str | int]:
    """The beginnings of parameters' names with the place of each: a GPU's number, `cpu` or `disk`.

    `memory` is what each GPU has for the model, in bytes.
    """
    sizes: Any = _Sizes(footprint)
    own: Any = model
    usable = {number: int(size * (_KEPT_FREE if len(memory) == 1 else 1)) for number, size in enumerate(memory)}
    room: Any = {**usable, "cpu": _ENDLESS}
    no_split = own._no_split_modules  # noqa: SLF001  as transformers passes it on
    if device_map != "sequential":
        low_zero = device_map == "balanced_low_0"
        room = planner.get_balanced_memory(own, room, no_split, sizes, low_zero=low_zero)
    if quantized:
        room = {name: size * _KEPT_FREE for name, size in room.items()}
    return dict(
        planner.infer_auto_device_map(own, max_memory=room, no_split_module_classes=no_split, hf_quantizer=sizes)
    )
