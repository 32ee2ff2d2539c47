"""Finds the command that asks one check alone, on the least hardware that it can be asked on.

The plan decides, and not a rule of the manual's own: a tier asks a check only where it has a variant, a device or
several devices of the kind that the check is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final

from plimsoll.catalogue.entries import Catalogue
from plimsoll.catalogue.overrides import altered, with_settings, with_sources
from plimsoll.catalogue.settings import read_settings
from plimsoll.errors import PlimsollError
from plimsoll.node.devices import CUDA_KIND, NO_GPUS, Device, Devices
from plimsoll.plan.cells import PlannedCell, Selection, make_plan

OWN: Final = "<your variant>"
"""Stands in a command for the id of a variant of one's own."""
_SOAK: Final = "soak"


def _gpus(*products: str) -> Devices:
    return Devices(
        gpus=tuple(Device(id=f"gpu{n}", kind=CUDA_KIND, index=n, name=name) for n, name in enumerate(products))
    )


class Hardware(Enum):
    """What a machine has, from the least on; the value is how a page names what it needs."""

    ANY = ""
    GPU = "a GPU"
    GPUS = "several GPUs"
    ALIKE = "several GPUs of one product"

    @property
    def devices(self) -> Devices:
        """The devices of such a machine."""
        return {
            Hardware.ANY: NO_GPUS,
            Hardware.GPU: _gpus("one"),
            Hardware.GPUS: _gpus("one", "other"),
            Hardware.ALIKE: _gpus("one", "one"),
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOptions:
    """A tier with options of the run."""

    tier: str
    weights: str = "auto"
    layers: int | None = None
    device: str | None = None
    settings: str | None = None

    def options(self, *, of_own: bool = False) -> str:
        """The options as a command has them, each behind a blank; `of_own` without those that only spare time."""
        given = (
            f"--weights={self.weights}" if self.weights != "auto" else "",
            f"--layers={self.layers}" if self.layers is not None and not of_own else "",
            f"--device={self.device}" if self.device is not None else "",
            f"--load-config='{self.settings}'" if self.settings is not None else "",
        )
        return "".join(f" {one}" for one in given if one)

    def catalogue(self, catalogue: Catalogue) -> Catalogue:
        """The catalogue as a run with these options has it."""
        changed = with_sources(catalogue, self.weights, (), Path())
        changed = altered(changed, weights=self.weights, layers=self.layers, device=self.device)
        return changed if self.settings is None else with_settings(changed, read_settings(self.settings, Path()))


WAYS: Final = (
    TierOptions(tier="tiny"),
    TierOptions(tier="tiny", settings='{"attn_implementation": "eager"}'),
    TierOptions(tier="gpu1b", weights="synthetic", layers=1, device="cpu"),
    TierOptions(tier="gpu1b"),
)
"""What is tried in this order on a machine without a GPU."""
_ON_GPUS: Final = (TierOptions(tier="tiny", device="cuda"), TierOptions(tier="gpu1b"))
"""The same where there is a GPU: the tiny checkpoints need no download."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """How to ask for checks alone."""

    way: TierOptions
    hardware: Hardware
    cells: tuple[PlannedCell, ...]

    @property
    def of_variants(self) -> bool:
        """True where variants are asked, so that one's own can be."""
        return any(cell.parameter is not None and cell.parameter.variant is not None for cell in self.cells)

    @property
    def of_devices(self) -> bool:
        """True where devices are asked."""
        return any(cell.parameter is not None and cell.parameter.device is not None for cell in self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """Finds the ways to the checks of a suite; what is planned once serves all checks of a mark."""

    root: Path
    catalogue: Catalogue
    _catalogues: dict[TierOptions, Catalogue] = field(default_factory=dict, repr=False)
    _plans: dict[tuple[TierOptions, str, Hardware], tuple[PlannedCell, ...]] = field(default_factory=dict, repr=False)

    def alone(self, names: Sequence[str], mark: str, *, with_gpu: bool = False) -> Alone:
        """The least that asks for one of these checks, which all have the mark; `with_gpu` on a GPU at least. Raises
        PlimsollError where nothing does."""
        for hardware in Hardware:
            if with_gpu and hardware is Hardware.ANY:
                continue
            for way in WAYS if hardware is Hardware.ANY else _ON_GPUS:
                planned = self._planned(way, mark, hardware)
                if cells := tuple(cell for cell in planned if cell.check.name in names):
                    return Alone(way=way, hardware=hardware, cells=cells)
        raise PlimsollError(f"nothing asks for {', '.join(names)}: {__name__} knows no tier with options that does")

    def _planned(self, way: TierOptions, mark: str, hardware: Hardware) -> tuple[PlannedCell, ...]:
        key = way, mark, hardware
        if key not in self._plans:
            self._plans[key] = tuple(self._plan(way, mark, hardware))
        return self._plans[key]

    def _plan(self, way: TierOptions, mark: str, hardware: Hardware) -> Iterator[PlannedCell]:
        if way not in self._catalogues:
            self._catalogues[way] = way.catalogue(self.catalogue)
        catalogue = self._catalogues[way]
        selection = Selection(mark=f"{way.tier} and {mark}", base=self.root, soak=mark == _SOAK)
        cells = make_plan(self.root, catalogue, selection, hardware.devices).cells
        # Where a machine has no GPU, one is planned all the same, for the gate to refuse.
        return filter(partial(_is_askable, catalogue, hardware), cells)


def _is_askable(catalogue: Catalogue, hardware: Hardware, cell: PlannedCell) -> bool:
    parameter = cell.parameter
    if hardware is not Hardware.ANY or parameter is None:
        return True
    if parameter.device is not None:
        return parameter.device.kind != CUDA_KIND
    return parameter.tier == "" or catalogue.tiers[parameter.tier].device != CUDA_KIND
