"""Decides which variants, machines and tiers each check is for, and in which order checks run.

One list of parameters serves both pytest's parametrisation and the plan, which is made without pytest: a new kind of
parameter is a new entry of `_PARAMETERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from plimsoll.catalogue.entries import Catalogue, Profile, Tier, Variant, WeightSource
from plimsoll.catalogue.expression import Expression
from plimsoll.catalogue.settings import is_configured
from plimsoll.footprint.demand import is_spread
from plimsoll.footprint.reference import is_compared
from plimsoll.node.devices import CPU_KIND, CUDA_KIND, NO_GPUS, Device, Devices
from plimsoll.plan.cases import (
    Case,
    alike_cases,
    bits_cases,
    golden_cases,
    matmul_cases,
    peer_cases,
    rank_cases,
    same_bits_cases,
    soak_cases,
    training_cases,
    transfer_cases,
)

SUBJECTS: Final = (
    "node",
    "golden",
    "agreement",
    "devices",
    "load",
    "quantization",
    "memory",
    "generation",
    "attentions",
    "dataset",
    "health",
    "unload",
    "comparison",
    "usage",
    "ladder",
    "headroom",
    "ddp",
    "plan",
)
"""The order of checks of one variant: timing comes before anything touches the model, the proof of quantization before
the first forward repacks weights, then unloading, and last what another load of the same weights is for:
the two are never there at once. Training has hosts of its own, and planning asks no variant that is loaded."""

_LAST: Final = 2
"""The place of checks of the node's health: last, because they judge what every model left behind."""

DATASETS: Final = "test_dataset.py"
HEADROOM: Final = "test_headroom.py"
RANKS: Final = "test_ddp.py"
PLANNING: Final = "test_plan.py"
LADDER: Final = "test_ladder.py"
USAGE: Final = "test_usage.py"
SOAKING: Final = "test_soak.py"


def _from_files(variant: Variant) -> bool:
    return variant.model.source is not WeightSource.SYNTHETIC


def _is_taught(variant: Variant) -> bool:
    """True for a model that knows what its recipe teaches, even where another folder replaces its checkpoint."""
    return variant.model.recipe is not None and _from_files(variant)


def _is_on_gpu(variant: Variant) -> bool:
    return variant.tier.device == CUDA_KIND


KINDS: Final[dict[str, Callable[[Variant], bool]]] = {
    "quantized": lambda variant: variant.quantization.is_quantized,
    "compared": is_compared,
    "gpu": _is_on_gpu,
    "configured": is_configured,
    "one-device": lambda variant: variant.device_map is None,
    "taught": _is_taught,
    # All models with real weights read plain English.
    "untaught": lambda variant: _from_files(variant) and not _is_taught(variant),
    "cold": lambda variant: variant.tier.cold_rounds > 0 and _from_files(variant),
    "warm": lambda variant: variant.tier.warm_rounds > 0 and _from_files(variant),
    # Synthetic weights come from no disk, have no tokenizer, and mean nothing.
    "files": _from_files,
    "text": _from_files,
    # Documents' figures do not hold for fewer layers, nor for a CPU in place of a GPU.
    # For a GPU in place of a CPU, only the suite's own limits hold.
    "as-entered": lambda variant: not variant.is_altered or (_is_on_gpu(variant) and not variant.model.is_cut),
    # On a CPU, RAM replaces GPU memory; without files, no page of a file can be mistaken for a weight.
    "altered-on-cpu": lambda variant: variant.is_altered and variant.tier.device == "cpu" and not _from_files(variant),
}
"""The kinds that `only(kind)` may name, with the variants that belong to each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What the command line selects by name: the `-m` expression, and the paths as given."""

    marks: Expression
    paths: tuple[str, ...] = ()
    soak: bool = False
    """True where --soak says how long."""

    def asks(self, file: str, catalogue: Catalogue) -> bool:
        """True unless the file's checks run only by name and were not named.

        Checks of datasets and training take minutes, those of reference machines are hundreds, and ladder and profiles
        of use load each model again; none of them is part of "does this node carry this model".
        """
        if file == SOAKING:
            return self.soak
        asking = {
            DATASETS: {"dataset", *catalogue.datasets, *_experiment_marks(catalogue)},
            PLANNING: {"plan"},
            LADDER: {"ladder"},
            USAGE: {"usage"},
            HEADROOM: {"headroom"},
            RANKS: {"ddp"},
        }.get(file)
        return asking is None or self._path_names(file) or not self.marks.asked.isdisjoint(asking)

    def asks_for_all_datasets(self, catalogue: Catalogue) -> bool:
        """True where datasets are named, False where only an experiment is (`-m small`)."""
        return not self.marks.asked.isdisjoint({"dataset", *catalogue.datasets}) or self._path_names(DATASETS)

    def _path_names(self, file: str) -> bool:
        return any(file in path for path in self.paths)


def _experiment_marks(catalogue: Catalogue) -> set[str]:
    return {mark for experiment in catalogue.experiments.values() for mark in experiment.asked_with}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A variant on a reference machine."""

    variant: Variant
    profile: Profile

    @property
    def id(self) -> str:
        """The parameter's id; it begins as a variant's does, so that `-k` selects both alike."""
        return f"{self.variant.id}-on-{self.profile.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parametrisation of a check: values of fixtures by their names, with an id and marks."""

    id: str
    marks: tuple[str, ...]
    values: Mapping[str, Any]

    @property
    def variant(self) -> Variant | None:
        """The variant; None for checks of the node and of reference machines."""
        found = self.values.get("variant")
        return found if isinstance(found, Variant) else None

    @property
    def tier(self) -> str:
        """The id of the tier that it belongs to; empty for none."""
        found = self.values.get("tier")
        if self.variant is not None:
            return self.variant.tier.id
        return found.id if isinstance(found, Tier) else ""

    @property
    def device(self) -> Device | None:
        """The device of a check of devices; None for checks of the node, and of variants."""
        return device_among(self.values)

    @property
    def dataset(self) -> str | None:
        """The id of the dataset; None for none."""
        found = self.values.get("dataset")
        return None if found is None else str(found.id)


def device_among(values: Mapping[str, Any]) -> Device | None:
    """The device among the values of fixtures; None where there is none."""
    for value in values.values():
        if isinstance(value, Device):
            return value
        if isinstance(value, Case):
            return value.device
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """The subjects of checks: the catalogue's entries, the devices of the run, and what the command line names."""

    catalogue: Catalogue
    named: Named
    devices: Devices = NO_GPUS
    made: dict[tuple[str, tuple[str, ...]], tuple[Parameter, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """The parameters by fixture and kinds: most checks of variants have the same, and both the plan and pytest ask."""


def parameters_of(
    wants: Collection[str], kinds: Sequence[str], subjects: Subjects
) -> tuple[tuple[str, ...], tuple[Parameter, ...]] | None:
    """The parametrised fixtures and all parameters of a check that uses these fixtures and is `only` for these kinds;
    None for a check that runs once. Checks that are alike get the same parameters. Raises KeyError for an unknown
    kind."""
    for fixture, names, make in _PARAMETERS:
        if fixture in wants:
            key = fixture, tuple(sorted(kinds))
            if key not in subjects.made:
                variants = subjects.catalogue.variants.values()
                asked = [one for one in variants if all(KINDS[kind](one) for kind in kinds)]
                subjects.made[key] = tuple(make(subjects, asked))
            return names, subjects.made[key]
    return None


def served_devices(subjects: Subjects, asked: Sequence[Variant]) -> Iterator[tuple[Device, tuple[str, ...]]]:
    """Every device that the tiers of these variants need, with the marks of those tiers, the processor first."""
    tiers = {variant.tier.id: variant.tier.device for variant in asked}
    for kind in (CPU_KIND, CUDA_KIND):
        served = tuple(name for name, device in tiers.items() if device == kind)
        for device in subjects.devices.of_kind(kind) if served else ():
            yield device, served


def _of_datasets(subjects: Subjects, asked: Sequence[Variant]) -> Iterator[Parameter]:
    """The pairs of variant and dataset of all experiments, each once, in the experiments' order."""
    catalogue, named = subjects.catalogue, subjects.named
    among = {variant.id: variant for variant in asked}
    everything = named.asks_for_all_datasets(catalogue)
    seen: set[tuple[str, str]] = set()
    for experiment in catalogue.experiments.values():
        if not everything and named.marks.asked.isdisjoint(experiment.asked_with):
            continue
        pairs = [(one, name) for one in experiment.variants if one in among for name in experiment.datasets]
        for one, name in pairs:
            if (one, name) not in seen:
                seen.add((one, name))
                variant, dataset = among[one], catalogue.datasets[name]
                yield Parameter(
                    id=f"{one}-{name}",
                    marks=(*variant.all_marks, dataset.id),
                    values={"variant": variant, "dataset": dataset},
                )


def _of_variants(_subjects: Subjects, asked: Sequence[Variant]) -> Iterator[Parameter]:
    for variant in asked:
        yield Parameter(id=variant.id, marks=variant.all_marks, values={"variant": variant})


def _of_models(_subjects: Subjects, asked: Sequence[Variant]) -> Iterator[Parameter]:
    """One variant of each model: the first that packs nothing, else the first."""
    by_model: dict[str, Variant] = {}
    for variant in asked:
        known = by_model.get(variant.model.id)
        if known is None or (known.quantization.is_quantized and not variant.quantization.is_quantized):
            by_model[variant.model.id] = variant
    yield from _of_variants(_subjects, [*by_model.values()])


def _of_tiers(subjects: Subjects, asked: Sequence[Variant]) -> Iterator[Parameter]:
    used = {variant.tier.id for variant in asked}
    for tier in subjects.catalogue.tiers.values():
        if tier.id in used:
            yield Parameter(id=tier.id, marks=(tier.id,), values={"tier": tier})


def _of_pairings(subjects: Subjects, _asked: Sequence[Variant]) -> Iterator[Parameter]:
    for pairing in pairings(subjects.catalogue):
        yield Parameter(id=pairing.id, marks=pairing.variant.all_marks, values={"pairing": pairing})


def _of_training(_subjects: Subjects, asked: Sequence[Variant]) -> Iterator[Parameter]:
    for case in training_cases(asked):
        values = {"variant": case.variant, "training_case": case}
        yield Parameter(id=case.id, marks=case.variant.all_marks, values=values)


def _of_devices(subjects: Subjects, asked: Sequence[Variant]) -> Iterator[Parameter]:
    for device, served in served_devices(subjects, asked):
        yield Parameter(id=device.id, marks=served, values={"device": device})


def _of_cases(
    fixture: str, cases: Callable[[Device, Sequence[Device]], Iterator[Case]]
) -> tuple[str, tuple[str, ...], _Make]:
    """The cases of each device, with the marks of the tiers that it serves."""

    def make(subjects: Subjects, asked: Sequence[Variant]) -> Iterator[Parameter]:
        for device, served in served_devices(subjects, asked):
            for case in cases(device, subjects.devices.of_kind(device.kind)):
                yield Parameter(id=case.id, marks=(*served, *case.marks), values={fixture: case})

    return fixture, (fixture,), make


def pairings(catalogue: Catalogue) -> Iterator[Pairing]:
    """Every variant that needs a GPU, on every reference machine; with several GPUs only variants that are spread over
    them, since others would leave all but one idle."""
    # The GPUs of this node do not matter on another machine.
    entered = {one.entry_id: replace(one, id=one.entry_id, gpus=()) for one in catalogue.variants.values()}
    for variant in entered.values():
        for profile in catalogue.profiles.values():
            if variant.tier.device == "cuda" and (profile.count == 1 or is_spread(variant)):
                yield Pairing(variant=variant, profile=profile)


_Make = Callable[[Subjects, Sequence[Variant]], Iterator[Parameter]]
_PARAMETERS: Final[tuple[tuple[str, tuple[str, ...], _Make], ...]] = (
    ("dataset", ("variant", "dataset"), _of_datasets),
    ("climbed", ("variant",), _of_models),
    ("used", ("variant",), _of_models),
    ("training_case", ("variant", "training_case"), _of_training),
    ("variant", ("variant",), _of_variants),
    ("tier", ("tier",), _of_tiers),
    ("pairing", ("pairing",), _of_pairings),
    _of_cases("golden", golden_cases),
    _of_cases("matmul", matmul_cases),
    _of_cases("transfer", transfer_cases),
    _of_cases("peers", peer_cases),
    _of_cases("ranks", rank_cases),
    _of_cases("replicas", rank_cases),
    _of_cases("alike", alike_cases),
    _of_cases("bits", bits_cases),
    _of_cases("same_bits", same_bits_cases),
    _of_cases("soaked", soak_cases),
    ("device", ("device",), _of_devices),
)
"""The fixture that triggers parametrisation, the fixtures that are filled, and the parameters; the first match
counts."""


class Order:
    """The order of checks: the node first, then each variant in the catalogue's order, with its checks in the order of
    SUBJECTS, dataset by dataset, and within a file as written there, so that a cold load comes before a warm one. Where
    an experiment is named, its order replaces the catalogue's. Checks without a subject come last.
    """

    def __init__(self, catalogue: Catalogue, named: Named) -> None:
        asked = [one for one in catalogue.experiments.values() if not named.marks.asked.isdisjoint(one.asked_with)]
        first = [name for experiment in asked for name in experiment.variants]
        self._variants = {name: place for place, name in enumerate(dict.fromkeys((*first, *catalogue.variants)))}
        self._datasets = {name: place for place, name in enumerate(catalogue.datasets)}
        self._tiers = {name: place for place, name in enumerate(catalogue.tiers)}

    def place(
        self, subject: str, variant: str | None, dataset: str | None, file: str, line: int, tier: str = ""
    ) -> tuple[int, int, int, int, str, int, int]:
        """The sort key of a check; `variant`, `dataset` and `tier` are ids."""
        if not subject:
            return (3, 0, 0, 0, "", 0, 0)
        place = self._variants[variant] if variant is not None else 0
        among = self._datasets[dataset] if dataset is not None else 0
        stage = 1 if variant is not None else _LAST if subject == "health" else 0
        return (stage, place, SUBJECTS.index(subject), among, file, line, self._tiers.get(tier, 0))
