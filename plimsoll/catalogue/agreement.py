"""Reads the models that devices must compute to the same bits (`catalogue/golden/agreement.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.files import shipped_root
from plimsoll.catalogue.golden import DEFINITION, FOLDER, GoldenModel, GoldenTensor, read_golden, tensors_of
from plimsoll.errors import PlimsollError

_NAME: Final = "agreement.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementModel:
    """A model made by a formula, and how it is run. What the formula does not define comes from its golden `base`."""

    id: str
    base: GoldenModel
    config: Mapping[str, Any]
    tensors: tuple[GoldenTensor, ...]
    devices: tuple[str, ...]
    """The kinds of devices that run it: `cpu`, `cuda`."""
    batches: tuple[int, ...]
    """Texts in one batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementModels:
    """All agreement models, in the order of the file."""

    models: Mapping[str, AgreementModel]
    quantizations: tuple[Quantization, ...]
    rounds: int
    """How often each device runs each model."""


def read_agreement(root: Path | None = None) -> AgreementModels:
    """Read the agreement models of the catalogue under `root`, by default the shipped one.

    Raises PlimsollError for files that are missing or invalid.
    """
    folder = (root or shipped_root()) / FOLDER
    try:
        definition = tomllib.loads((folder / _NAME).read_text(encoding="utf-8"))
        exponents = tomllib.loads((folder / DEFINITION).read_text(encoding="utf-8"))["exponents"]
        models = {model.id: model for model in _models(definition, read_golden(root).models, exponents)}
        quantizations = tuple(Quantization(name) for name in definition["quantizations"])
        return AgreementModels(models=models, quantizations=quantizations, rounds=int(definition["rounds"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlimsollError(f"{folder / _NAME} holds no models ({type(error).__name__}: {error})") from None


def _models(
    definition: Mapping[str, Any], golden: Mapping[str, GoldenModel], exponents: Mapping[str, int]
) -> Iterator[AgreementModel]:
    for name, entry in definition["model"].items():
        base = golden[entry["family"]]
        config = {**base.config, **entry.get("config", {})}
        shifted = {role: exponent + entry["shift"] for role, exponent in exponents.items()}
        yield AgreementModel(
            id=name,
            base=base,
            config=config,
            tensors=tuple(tensors_of(config, shifted)),
            devices=tuple(entry["devices"]),
            batches=tuple(entry["batches"]),
        )
