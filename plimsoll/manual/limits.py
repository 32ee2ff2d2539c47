"""The limits of a figure for its page in the manual: those of the suite itself, and those of the shipped catalogue.

They are read where they are applied, so that a page cannot name another figure than a check judges by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from plimsoll.catalogue.entries import Catalogue, Quantization
from plimsoll.judge import own_limits
from plimsoll.judge.content import MOST_EXCESS, MOST_PRODUCT_ERROR
from plimsoll.judge.judgement import Limit
from plimsoll.judge.speed import ERROR_LIMITS, OTHERS_LIMIT
from plimsoll.metrics import METRICS
from plimsoll.units import counted, format_bytes, format_value

_LAYERS: Final = 30
_WIDTH: Final = 576
"""The depth and the width at which the limits on numbers are told: those of the model that they were measured on."""
_DEVICES: Final = {"cpu": "on a CPU", "cuda": "with a GPU"}
_MOST_NAMED: Final = 6

Told = Iterator[tuple[str, str]]
"""Pairs of a case, `bf16`, and the limit in it, `at most 0.25`."""


def suite_limits(metric: str) -> str:
    """The suite's own limits on a figure, `bf16: at most 0.25; nf4: ...`; empty where they follow from what is measured
    or predicted, or where there are none."""
    make = _OWN.get(metric)
    if make is None:
        return ""
    alike: dict[str, list[str]] = {}
    for case, limit in make():
        alike.setdefault(limit, []).append(case)
    return "; ".join(f"{', '.join(cases)}: {limit}" if any(cases) else limit for limit, cases in alike.items())


def catalogue_limits(metric: str, catalogue: Catalogue) -> str:
    """How many claims and floors of the shipped catalogue limit a figure, and whose they are; empty for none."""
    claims = [claim for claim in catalogue.claims if claim.metric == metric and claim.is_limit]
    floors = [floor for floor in catalogue.floors if floor.metric == metric]
    parts = []
    if claims:
        documents = list(dict.fromkeys(claim.source.partition(", ")[0] for claim in claims))
        parts.append(f"{counted(len(claims), 'claim')}: {_some(documents)}")
    if floors:
        devices = list(dict.fromkeys(f"`{device}`" for floor in floors for device in floor.devices))
        parts.append(f"{counted(len(floors), 'floor')} for {_some(devices)}")
    return "; ".join(parts)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _by_quantization(make: Callable[[Quantization], Limit], *without: Quantization) -> Told:
    for quantization in Quantization:
        if quantization not in without:
            yield quantization.value, str(make(quantization))


def _rounding(metric: str) -> Callable[[], Told]:
    return lambda: _by_quantization(lambda quantization: own_limits.rounding(metric, quantization, _LAYERS))


def _ram(metric: str, predicted: str) -> Callable[[], Told]:
    def told() -> Told:
        for device, where in _DEVICES.items():
            high = own_limits.ram(metric, 0, device).high
            yield where, f"at most {predicted}{format_bytes(high or 0)}"

    return told


def _instructed(make: Callable[..., Limit]) -> Callable[[], Told]:
    def told() -> Told:
        for case, speaks in (("an instructed model", True), ("a base model", False)):
            yield case, str(make(speaks=speaks))

    return told


def _one(limit: Callable[[], Limit]) -> Callable[[], Told]:
    return lambda: iter([("", str(limit()))])


def _at_most(metric: str, high: float) -> Callable[[], Told]:
    return lambda: iter([("", f"at most {format_value(high, METRICS[metric].unit)}")])


def _matmul_errors() -> Told:
    for dtype, high in ERROR_LIMITS.items():
        yield dtype, f"at most {high:g}"


_PREDICTED: Final = "what is predicted and "
_OWN: Final[Mapping[str, Callable[[], Told]]] = {
    "ram_peak": _ram("ram_peak", _PREDICTED),
    "ram_after": _ram("ram_after", _PREDICTED),
    "ram_returned": _ram("ram_returned", ""),
    "vram_returned": _one(own_limits.vram_returned),
    "cache_divergence": _rounding("cache_divergence"),
    "batch_divergence": _rounding("batch_divergence"),
    "attention_divergence": _rounding("attention_divergence"),
    "quantized_divergence": lambda: _by_quantization(
        lambda quantization: own_limits.divergence(quantization, _WIDTH), Quantization.BF16
    ),
    "repetition": _instructed(own_limits.repetition),
    "general_answers": _instructed(own_limits.general_answers),
    "ended_share": _instructed(own_limits.ended_share),
    "nll_per_byte": _one(own_limits.any_meaning),
    "bandwidth_share": lambda: iter([("", str(own_limits.bandwidth_share("device")))]),
    "accumulation_difference": _one(own_limits.one_update),
    "recomputed_difference": _one(own_limits.one_update),
    "replica_error": _one(own_limits.one_update),
    "weight_excess": _at_most("weight_excess", MOST_EXCESS),
    "product_error": _at_most("product_error", MOST_PRODUCT_ERROR),
    "behind_others": _at_most("behind_others", OTHERS_LIMIT),
    "matmul_error": _matmul_errors,
}
"""The limits that do not depend on what is measured or predicted, told at `_LAYERS` and `_WIDTH`."""
