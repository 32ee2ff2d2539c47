"""Computes the peak memory of a variant on each GPU and in RAM: while loading, and at any workload.

What does not depend on the workload is computed once, so that the largest fitting batch or context can be searched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Variant
from plimsoll.footprint.activations import Cache
from plimsoll.footprint.load_peak import RAM, load_peaks
from plimsoll.footprint.prediction import Prediction, Workload

Placement = Mapping[str, str | int]
"""Where each part of a model goes, by prefixes of its parameters' names: a CUDA number, `cpu` or `disk`."""

_SPREADING: Final = ("auto", "balanced", "balanced_low_0", "sequential")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Bytes by place: CUDA's numbers, and `RAM`."""

    prediction: Prediction
    load: Mapping[int, int]
    """At the highest point of loading."""
    held: Mapping[int, int]
    """Once loaded: weights and buffers."""
    caches: Mapping[int, Cache]
    """The cache of the layers on each place; empty where it was not predicted."""
    placed: bool
    """True where the planner's placement is known."""
    offloaded: int
    """Bytes of weights that go to RAM or a disk instead of a GPU."""

    def at(self, workload: Workload) -> Mapping[int, int]:
        """The peak on each place: the larger of loading and the workload; only loading where cache and activations were
        not predicted."""
        peaks = Counter(self.load)
        for place, running in self._running(workload).items():
            peaks[place] = max(peaks[place], self.held.get(place, 0) + running)
        return peaks

    def _running(self, workload: Workload) -> Mapping[int, int]:
        """Bytes besides the weights on each place with layers: the cache of its layers, and the activations, which move
        from place to place."""
        whole, activations = self.prediction.running_bytes(workload), self.prediction.activations
        if whole is None or activations is None:
            return {}
        if len(self.caches) == 1:
            return dict.fromkeys(self.caches, whole)
        tokens = workload.prompt + workload.new
        moment = max(
            activations.of_prompt(workload.batch, workload.prompt, all_logits=workload.all_logits),
            activations.of_token(workload.batch, tokens),
        )
        return {place: cache.held(workload.batch, tokens) + moment for place, cache in self.caches.items()}


def layers_of(variant: Variant, demand: Demand) -> int:
    """The number of layers of a variant: those with a cache, or what the entry says where nothing was predicted."""
    cache = demand.prediction.cache
    return len(cache.layers) if cache is not None else int(variant.model.config.get("num_hidden_layers", 1))


def demand_of(variant: Variant, prediction: Prediction, placement: Placement | None = None) -> Demand:
    """The demand of a variant; `placement` is the planner's, for a variant that is spread over GPUs; without it, all is
    counted on one GPU."""
    place_of = _placing(variant, placement)
    held: Counter[int] = Counter()
    for part in (*prediction.footprint.parameters, *prediction.footprint.buffers):
        held[place_of(part.name)] += part.data_bytes + part.statistics_bytes
    layers = () if prediction.cache is None else prediction.cache.layers
    places = {layer.module: place_of(f"{layer.module}.") for layer in layers}
    return Demand(
        prediction=prediction,
        load=load_peaks(prediction.footprint, variant.quantization, place_of),
        held=held,
        caches={
            place: Cache(layers=tuple(layer for layer in layers if places[layer.module] == place))
            for place in set(places.values())
        },
        placed=placement is not None,
        offloaded=held[RAM] if placement is not None else 0,
    )


def is_spread(variant: Variant) -> bool:
    """True where the entry lets the planner choose which GPU holds which part."""
    return isinstance(variant.device_map, str) and variant.device_map in _SPREADING


def _placing(variant: Variant, placement: Placement | None) -> Callable[[str], int]:
    """Where a parameter goes: by the longest prefix of its name in the device map, else to the tier's device."""
    device_map = variant.device_map if placement is None else placement
    if variant.tier.device == "cpu":
        return lambda _: RAM
    if isinstance(device_map, Mapping):
        entries = device_map
        return lambda name: _number(_entry(name, entries))
    place = 0 if device_map is None or is_spread(variant) else _number(device_map)
    return lambda _: place


def _entry(name: str, device_map: Placement) -> str | int:
    while name and name not in device_map:
        name = name.rpartition(".")[0]
    return device_map.get(name, 0)


def _number(place: str | int) -> int:
    """CUDA's number of `1`, `"cuda:1"` or `"cuda"`. Anything else counts as RAM, even `disk`: offloaded weights come
    back through RAM."""
    if isinstance(place, int):
        return place
    kind, _, number = place.partition(":")
    return int(number or 0) if kind == "cuda" else RAM
