"""Finds linear layers whose weight other code of the model multiplies with, past the layer itself.

A packed weight has another shape and dtype, so such a model raises as soon as it is asked: Mamba's mixer multiplies
with the weight of `dt_proj` itself. One short pass on the meta device tells, for every class alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, Final

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from plimsoll.host.server.predict.coverage import Coverage, is_linear, output_head
from plimsoll.host.server.predict.trace import key_of

_TOKENS: Final = 2
_KEPT: Final = 4
"""How many models' answers are kept: quantizations of one model are asked for one after another."""
_PRODUCTS: Final = ("aten.mm", "aten.bmm", "aten.addmm", "aten.baddbmm", "aten.mv", "aten.matmul", "aten.linear")
"""What packed weights cannot take part in. Classes that only scale a weight once know the packed ones."""


@lru_cache(maxsize=_KEPT)
def bypassed_layers(model: nn.Module) -> Mapping[str, str]:
    """The full name of each linear layer whose weight is multiplied with past it, with the class of the module that
    does so.

    A pass that cannot be followed to its end tells of what came before.
    """
    watch = _Readers(model)
    ids = torch.zeros(1, _TOKENS, dtype=torch.long, device="meta")
    # The code of a model raises anything, where a tensor without values cannot tell.
    with torch.inference_mode(), watch.installed(), suppress(Exception):
        model(input_ids=ids)
    return watch.found


def packed_all_the_same(model: nn.Module, skip: Sequence[str] | None = None) -> Mapping[str, str]:
    """Of the bypassed layers those that a scheme packs; `skip` is the entry's own list, None for the default."""
    coverage = Coverage(model, skip=skip)
    modules = dict(model.named_modules())
    return {
        name: reader for name, reader in bypassed_layers(model).items() if coverage.packs_weight_of(name, modules[name])
    }


def names_to_skip(model: nn.Module) -> tuple[str, ...]:
    """What `llm_int8_skip_modules` must name for this class to work packed; empty where the default list will do.

    A list of one's own takes the place of the default, so that the output head is named too.
    """
    names = sorted({name.rpartition(".")[2] for name in packed_all_the_same(model)})
    head = output_head(model)
    return (*names, *(name for name, module in model.named_modules() if module is head)) if names else ()


class _Readers(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types its modes in part
    """Notes who reads the weight of a linear layer while the layer itself is not at work."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, str] = {}
        self._model = model
        self._at_work: list[nn.Module] = []
        self._layers: dict[int, tuple[str, nn.Module]] = {
            key_of(module.weight): (name, module)
            for name, module in model.named_modules()
            if is_linear(module) and isinstance(module.weight, torch.Tensor)
        }

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Follow the modules and the operations of the model."""
        hooks = [
            hook
            for module in self._model.modules()
            for hook in (
                module.register_forward_pre_hook(self._enter),
                module.register_forward_hook(self._leave, always_call=True),
            )
        ]
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, module: nn.Module, _: Any) -> None:
        self._at_work.append(module)

    def _leave(self, *_: Any) -> None:
        self._at_work.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in pytree.tree_leaves((args, kwargs)) if str(func).startswith(_PRODUCTS) else ():
            if not isinstance(value, torch.Tensor):
                continue
            name, layer = self._layers.get(key_of(value), ("", None))
            if layer is not None and self._at_work and self._at_work[-1] is not layer:
                self.found.setdefault(name, type(self._at_work[-1]).__name__)
        return func(*args, **(kwargs or {}))
