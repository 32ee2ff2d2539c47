"""Looks at the buffers of a loaded model that no file holds: what its modules work out when they are made, such as the
frequencies of rotary positions.

A load makes every module without memory and has to work such buffers out again. Where it does not, they hold whatever
lay there, every weight is the checkpoint's, and the model reads as if its positions were lost.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn

from plimsoll.host.protocol import TensorContent

_SCHEME: Final = "worked out"
_MOST: Final = 1e-4
"""Largest relative difference: a GPU takes powers with other last bits than a processor."""
_MOST_HALF: Final = 2e-2
"""The same where the buffer has 16 bits: two steps of bfloat16."""


def worked_out(model: nn.Module) -> Iterator[TensorContent]:
    """Compare the buffers of each module that can be made again from its own configuration with those of the new one.
    Of the others a NaN alone is a fault."""
    for prefix, module in model.named_modules():
        saved = module.state_dict(keep_vars=True).keys()
        names = [name for name, _ in module.named_buffers(recurse=False) if name not in saved]
        twice = [_made_again(module), _made_again(module)] if names else []
        for name in names:
            found = getattr(module, name)
            if isinstance(found, torch.Tensor) and not found.is_meta:
                expected = None if _follows_the_text(module, name) else _expected(twice, name)
                fault = _fault(found.detach().cpu(), expected)
                path = f"{prefix}.{name}" if prefix else name
                # What is only looked at for a NaN is not counted as compared.
                size = int(expected is not None)
                yield TensorContent(name=path, scheme=_SCHEME, blocks=size, checked=size, excess=0.0, fault=fault)


def _made_again(module: nn.Module) -> nn.Module | None:
    """A module of the same class and configuration, on the processor; None for one that has weights, or that cannot be
    made from a configuration alone."""
    config = getattr(module, "config", None)
    if config is None or next(module.parameters(), None) is not None:
        return None
    takes = [one for one in inspect.signature(type(module)).parameters.values() if one.default is one.empty]
    if [one.name for one in takes] != ["config"]:
        return None
    made: Any = type(module)
    try:
        with torch.device("cpu"):
            again: nn.Module = made(config)
    except Exception:  # noqa: BLE001  it may have been made from another configuration, and any code may stand here
        return None
    return again


def _expected(twice: Sequence[nn.Module | None], name: str) -> torch.Tensor | None:
    """What both modules hold; None where they do not agree, as on what is drawn by lot."""
    one, other = (getattr(each, name, None) for each in twice)
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor) or not torch.equal(one, other):
        return None
    return one


def _follows_the_text(module: nn.Module, name: str) -> bool:
    """True for frequencies that a pass works out anew for the length of its text; those it begins with stay beside
    them, as `original_inv_freq`."""
    if not name.endswith("inv_freq") or "original_" in name:
        return False
    kinds = getattr(module, "rope_type", "")
    each = kinds.values() if isinstance(kinds, Mapping) else (kinds,)
    return any("dynamic" in str(kind) or kind == "longrope" for kind in each)


def _fault(found: torch.Tensor, expected: torch.Tensor | None) -> str:
    if not found.is_floating_point():
        same = expected is None or expected.shape != found.shape or torch.equal(found, expected.to(found.dtype))
        return "" if same else "it is not what its class works out"
    if bool(found.isnan().any()):
        return "it holds NaN: nothing has worked it out after the load"
    if expected is None or expected.shape != found.shape:
        return ""
    wanted, most = expected.to(found.dtype).double(), _MOST if found.dtype.itemsize > 2 else _MOST_HALF
    apart = (found.double() - wanted).abs() > most * wanted.abs()
    if not bool(apart.any()):
        return ""
    place = int(apart.reshape(-1).nonzero()[0])
    numbers = f"{float(found.reshape(-1)[place]):.6g}, and {float(wanted.reshape(-1)[place]):.6g}"
    return f"it is not what its class works out from the configuration: {numbers} in place {place:,}"
