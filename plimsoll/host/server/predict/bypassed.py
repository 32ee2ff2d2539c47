"""Finds linear layers that raise once they are packed, in one short pass on the meta device, for every class alike.

- Other code of the model multiplies with the layer's weight, past the layer: a packed one has another shape and dtype.
  Mamba's mixer does so with `dt_proj`.
- The layer gets inputs of four dimensions: bitsandbytes multiplies two and three in int8, on a GPU as on a processor.
  The latent attention of DeepSeek-V3 gives `kv_b_proj` such.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, Final

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.server.predict.coverage import Coverage, is_linear, output_head
from plimsoll.host.server.predict.layers import Layers, left_as_found, text_part
from plimsoll.host.server.predict.passes import NotFollowedError
from plimsoll.host.server.predict.shapes import name_of, result_of
from plimsoll.host.server.predict.trace import key_of

_TOKENS: Final = 2
_KEPT: Final = 4
"""How many models' answers are kept: quantizations of one model are asked for one after another."""
_PRODUCTS: Final = ("aten.mm", "aten.bmm", "aten.addmm", "aten.baddbmm", "aten.mv", "aten.matmul", "aten.linear")
"""What packed weights cannot take part in. Classes that only scale a weight once know the packed ones."""
_INT8_TAKES: Final = (2, 3)
"""Dimensions of inputs that bitsandbytes multiplies in int8."""


def bypassed_layers(model: nn.Module) -> Mapping[str, str]:
    """The full name of each linear layer whose weight is multiplied with past it, with the class of the module that
    does so.

    A pass that cannot be followed to its end tells of what came before.
    """
    return _watched(model).found


def unusual_inputs(model: nn.Module) -> Mapping[str, tuple[str, int]]:
    """The full name of each linear layer with inputs that int8 does not take: the class of the module that gives them,
    and their dimensions."""
    return _watched(model).unusual


def packed_all_the_same(model: nn.Module, skip: Sequence[str] | None = None) -> Mapping[str, str]:
    """Of the bypassed layers those that a scheme packs; `skip` is the entry's own list, None for the default."""
    return {name: bypassed_layers(model)[name] for name in _packed(model, bypassed_layers(model), skip)}


def unusual_in_int8(model: nn.Module, skip: Sequence[str] | None = None) -> Mapping[str, tuple[str, int]]:
    """Of the layers with unusual inputs those that int8 packs; `skip` as for `packed_all_the_same`."""
    return {name: unusual_inputs(model)[name] for name in _packed(model, unusual_inputs(model), skip)}


def _packed(model: nn.Module, names: Iterable[str], skip: Sequence[str] | None) -> list[str]:
    coverage = Coverage(model, skip=skip)
    modules = dict(model.named_modules())
    return [name for name in names if coverage.packs_weight_of(name, modules[name])]


@lru_cache(maxsize=_KEPT)
def _watched(model: nn.Module) -> _Readers:
    prefix, layers = _layers(model)
    if layers is not None:
        watch = _Readers(model)
        with layers.cut():
            ended = _follow(model, watch)
        if ended:
            watch.found |= layers.spread_names(prefix, watch.found)
            watch.unusual |= layers.spread_names(prefix, watch.unusual)
            return watch
    watch = _Readers(model)
    _follow(model, watch)
    return watch


def _follow(model: nn.Module, watch: _Readers) -> bool:
    """Watch one pass; False where the model's code raised before its end."""
    ids = torch.zeros(1, _TOKENS, dtype=torch.long, device="meta")
    # It raises anything, where a tensor without values cannot tell.
    with torch.inference_mode(), left_as_found(model), watch.installed(), suppress(Exception):
        model(input_ids=ids)
        return True
    return False


def _layers(model: nn.Module) -> tuple[str, Layers | None]:
    """The stack of layers, with the name of the part that it lies in; none where all have to be run."""
    try:
        prefix, part = text_part(model)
        return prefix, Layers(part)
    except NotFollowedError:
        return "", None


def names_to_skip(model: nn.Module, quantization: Quantization) -> tuple[str, ...]:
    """What `llm_int8_skip_modules` must name for this class to work in a quantization; empty where the default list
    will do.

    A list of one's own takes the place of the default, so that the output head is named too.
    """
    if not quantization.is_quantized:
        return ()
    raising = {*packed_all_the_same(model), *(unusual_in_int8(model) if quantization is Quantization.INT8 else ())}
    names = sorted({name.rpartition(".")[2] for name in raising})
    head = output_head(model)
    return (*names, *(name for name, module in model.named_modules() if module is head)) if names else ()


class _Readers(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types its modes in part
    """Notes who reads the weight of a linear layer while the layer itself is not at work, and who gives it what."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, str] = {}
        self.unusual: dict[str, tuple[str, int]] = {}
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

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        weight = getattr(module, "weight", None)
        name, layer = self._layers.get(key_of(weight), ("", None)) if isinstance(weight, torch.Tensor) else ("", None)
        if layer is module and inputs and isinstance(inputs[0], torch.Tensor) and self._at_work:
            dimensions = inputs[0].dim()
            if dimensions not in _INT8_TAKES:
                self.unusual.setdefault(name, (type(self._at_work[-1]).__name__, dimensions))
        self._at_work.append(module)

    def _leave(self, *_: Any) -> None:
        self._at_work.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for value in pytree.tree_leaves((args, kwargs)) if name_of(func) in _PRODUCTS else ():
            if not isinstance(value, torch.Tensor):
                continue
            name, layer = self._layers.get(key_of(value), ("", None))
            if layer is not None and self._at_work and self._at_work[-1] is not layer:
                self.found.setdefault(name, type(self._at_work[-1]).__name__)
        return result_of(func, args, kwargs)
