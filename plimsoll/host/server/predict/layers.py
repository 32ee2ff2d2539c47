"""Finds the parts of an architecture that a forward pass over text runs through, and the few layers that represent
all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from torch import nn
from transformers import PreTrainedModel

from plimsoll.host.server.predict.config import settings_of
from plimsoll.host.server.predict.coverage import output_head
from plimsoll.host.server.predict.passes import NotFollowedError

T = TypeVar("T")
_PADDING: Final = "pad_token_id"


def text_part(model: nn.Module) -> tuple[str, PreTrainedModel]:
    """The part that takes text and gives logits, with its name: the model itself (''), or else the largest part of it
    that can be run. Raises NotFollowedError where there is none."""
    children = sorted(model.named_children(), key=lambda pair: _size(pair[1]), reverse=True)
    for name, module in [("", model), *children]:
        if isinstance(module, PreTrainedModel) and _has_forward(module) and output_head(module) is not None:
            return name, module
    raise NotFollowedError("neither it nor a part of it takes text and gives logits")


def _has_forward(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward


def widest_window(config: Any) -> int:
    """The most tokens that any layer looks back over, where it is not all of them; 0 where it is."""
    text = config.get_text_config()
    windows = (window for name in ("sliding_window", "attention_chunk_size") for window in settings_of(text, name))
    return max((window for window in windows if isinstance(window, int)), default=0)


@contextmanager
def without_padding(model: PreTrainedModel) -> Iterator[None]:
    """Let a model know no padding token for a while: some look for it among the tokens, which have no values here."""
    name = getattr(model.config, "attribute_map", {}).get(_PADDING, _PADDING)
    # Past the class's own check: some declare the field as a number, and refuse it to be none.
    values = vars(model.config)
    padding = values.get(name)
    values[name] = None
    try:
        yield
    finally:
        values[name] = padding


@contextmanager
def left_as_found(model: nn.Module) -> Iterator[None]:
    """Put every buffer back that a pass replaces: some cast or lengthen a table for the text that they are given, and
    what a model stores is told by what it is loaded with."""
    before = [(module, dict(module._buffers)) for module in model.modules()]  # noqa: SLF001  there is no other list
    try:
        yield
    finally:
        for module, buffers in before:
            module._buffers.clear()  # noqa: SLF001
            module._buffers.update(buffers)  # noqa: SLF001


@contextmanager
def with_attention(model: PreTrainedModel, attention: str) -> Iterator[None]:
    """Run a model with eager attention where that is asked for, and otherwise with what its class prefers: all others
    work in one kernel each, and are alike in what they keep."""
    text = model.config.get_text_config()
    before = text._attn_implementation  # noqa: SLF001  transformers has a setter, and no public getter
    if attention != "eager" or before == "eager":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class Layers:
    """The stack of layers of a model: the list of modules with the most weights, if it has one."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and name]
        lists = [(name, module) for name, module in lists if len(module)]
        if not lists:
            raise NotFollowedError("it has no list of layers")
        self._name, self._list = max(lists, key=lambda pair: _size(pair[1]))
        types = getattr(model.config.get_text_config(), "layer_types", None) or []
        attentions = [*types, *[None] * (len(self._list) - len(types))]
        self._kinds = [(_shapes(layer), attention) for layer, attention in zip(self._list, attentions, strict=False)]
        self.told = min(len(self._list), max(map(self._tells, set(self._kinds))) + 1)
        """How many layers, counted from the first, tell of all."""

    def _tells(self, kind: object) -> int:
        """The first layer of its kind that is not the first of all: while that runs, its input is still needed as the
        embedding, so it takes less than others."""
        return next((index for index, other in enumerate(self._kinds) if index and other == kind), 0)

    @property
    def count(self) -> int:
        """How many layers there are."""
        return len(self._list)

    @property
    def are_alike(self) -> bool:
        """True where all are of one kind."""
        return len(set(self._kinds)) == 1

    @contextmanager
    def cut(self, told: int | None = None) -> Iterator[Sequence[nn.Module]]:
        """Leave so many of the first layers for a while, those that tell of all where nothing is said."""
        told = self.told if told is None else told
        owner_name, _, own_name = self._name.rpartition(".")
        owner = self._model.get_submodule(owner_name)
        setattr(owner, own_name, self._list[:told])
        try:
            yield list(self._list[:told])
        finally:
            setattr(owner, own_name, self._list)

    def names(self, prefix: str) -> list[str]:
        """The full names of all layers, in a model in which this one is called `prefix`."""
        return [".".join(filter(None, (prefix, self._name, str(index)))) for index in range(len(self._list))]

    def spread(self, told: Sequence[T]) -> list[T]:
        """What is known of the layers that tell, for all of them."""
        by_kind = dict(zip(self._kinds[: self.told], told, strict=True))
        return [*told, *(by_kind[kind] for kind in self._kinds[self.told :])]

    def spread_names(self, prefix: str, told: Mapping[str, T]) -> dict[str, T]:
        """What is known of modules by their full names, in a model in which this one is called `prefix`, with those
        of layers that were cut."""
        names = self.names(prefix)
        within = [
            {key.removeprefix(f"{name}."): value for key, value in told.items() if key.startswith(f"{name}.")}
            for name in names[: self.told]
        ]
        spread = zip(names, self.spread(within), strict=True)
        return dict(told) | {f"{name}.{key}": value for name, held in spread for key, value in held.items()}


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _shapes(layer: nn.Module) -> tuple[object, ...]:
    return (type(layer), *((name, tuple(parameter.shape)) for name, parameter in layer.named_parameters()))
