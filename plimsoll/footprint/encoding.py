"""Converts predictions to JSON data and back, for the cache on disk and for reports.

Parameters are written as rows without field names, since a deep model has a thousand of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from plimsoll.footprint.activations import Activations, Cache, CacheLayer, Moment
from plimsoll.footprint.prediction import ArchitectureFacts, Obstacle, Prediction
from plimsoll.footprint.sizes import ExpectedParameter, Footprint
from plimsoll.footprint.training import StepPrediction


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """Plain JSON data; `prediction_from_json` is its inverse."""
    return {
        "parameters": [_row(parameter) for parameter in prediction.footprint.parameters],
        "buffers": [_row(buffer) for buffer in prediction.footprint.buffers],
        "facts": asdict(prediction.facts),
        "cache": None if prediction.cache is None else [asdict(layer) for layer in prediction.cache.layers],
        "activations": None if prediction.activations is None else asdict(prediction.activations),
        "unpredicted": prediction.unpredicted,
        "followed": prediction.followed,
        "obstacle": None if prediction.obstacle is None else asdict(prediction.obstacle),
        "remarks": list(prediction.remarks),
    }


def prediction_from_json(data: Mapping[str, Any]) -> Prediction:
    """Read back what `prediction_to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    layers, activations = data["cache"], data["activations"]
    return Prediction(
        footprint=Footprint(
            parameters=tuple(_parameter(row) for row in data["parameters"]),
            buffers=tuple(_parameter(row) for row in data["buffers"]),
        ),
        facts=ArchitectureFacts(**data["facts"]),
        cache=None if layers is None else Cache(layers=tuple(CacheLayer(**layer) for layer in layers)),
        activations=None if activations is None else _activations(activations),
        unpredicted=data["unpredicted"],
        followed=data["followed"],
        obstacle=None if data["obstacle"] is None else Obstacle(**data["obstacle"]),
        remarks=tuple(data["remarks"]),
    )


def _row(parameter: ExpectedParameter) -> list[Any]:
    p = parameter
    return [
        p.name,
        list(p.shape),
        p.quantized,
        p.data_bytes,
        p.statistics_bytes,
        p.storage_dtype,
        p.reason,
        p.published,
    ]


def _parameter(row: list[Any]) -> ExpectedParameter:
    name, shape, quantized, data_bytes, statistics_bytes, storage_dtype, reason, published = row
    return ExpectedParameter(
        name=name,
        shape=tuple(shape),
        quantized=quantized,
        data_bytes=data_bytes,
        statistics_bytes=statistics_bytes,
        storage_dtype=storage_dtype,
        reason=reason,
        published=published,
    )


def step_to_json(step: StepPrediction) -> dict[str, Any]:
    """Plain JSON data; `step_from_json` is its inverse."""
    return asdict(step)


def step_from_json(data: Mapping[str, Any]) -> StepPrediction:
    """Read back what `step_to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    return StepPrediction(
        **{name: int(data[name]) for name in _PLAIN_PARTS},
        kept=_moment(data["kept"]),
        forward=tuple(map(_moment, data["forward"])),
        backward=tuple(map(_moment, data["backward"])),
        backward_again=tuple(map(_moment, data["backward_again"])),
        alone=None if data["alone"] is None else step_from_json(data["alone"]),
    )


_PLAIN_PARTS: Final = ("weights", "trained_parameters", "gradients", "optimizer", "updating_on_cpu")


def _moment(data: Mapping[str, Any]) -> Moment:
    return Moment(terms=_terms(data["terms"]), operation=data["operation"])


def _activations(data: Mapping[str, Any]) -> Activations:
    moments = {name: tuple(map(_moment, data[name])) for name in ("prefill", "head", "decode")}
    return Activations(**moments, last_logits=data["last_logits"])


def _terms(terms: list[int]) -> tuple[int, int, int, int, int, int]:
    one, token, pair, sequence, sequence_token, sequence_pair = terms
    return one, token, pair, sequence, sequence_token, sequence_pair
