"""Changes the catalogue by the options of a run or a plan: other weights, fewer layers, the CPU in place of a GPU or a
GPU in place of the CPU, a path for an entry, settings of a load.

What is changed gets an id of its own (`llama-3.1-70b:1-layer/nf4-dq:cpu`; no entry can have a colon in its id), so that
its result can never be mistaken for that of the unchanged entry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import Catalogue, Claim, Model, Quantization, Tier, Variant, WeightSource, without_gpus
from plimsoll.catalogue.settings import DTYPES, PLANNERS, LoadSettings
from plimsoll.errors import PlimsollError
from plimsoll.metrics import METRICS, MetricKind
from plimsoll.userpath import user_path
from plimsoll.usertoml.suggest import did_you_mean

_DEPTHS: Final = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
"""The keys under which configurations give the number of layers."""
CPU: Final = "cpu"
"""The alteration of a variant whose tier is for a GPU, run on the processor."""
GPU: Final = "cuda"
"""The alteration of a variant whose tier is for the processor, run on a GPU."""
AUTO: Final = "auto"
SOURCES: Final = (AUTO, *(source.value for source in WeightSource))
"""What `--weights` takes."""


def alterations_of(variant: str) -> tuple[str, ...]:
    """The alterations in a variant's id: `1-layer` and `cpu` of `llama-3.1-70b:1-layer/nf4-dq:cpu`. The choice of a GPU
    is no alteration."""
    return tuple(alteration for part in without_gpus(variant).split("/") for alteration in part.split(":")[1:])


def with_sources(catalogue: Catalogue, weights: str, model_dirs: Sequence[str], base: Path) -> Catalogue:
    """The catalogue with each model's source as the options say; relative folders start at `base`.

    Raises PlimsollError for a missing folder, an unknown model, and options that contradict each other.
    """
    if model_dirs and weights not in (AUTO, WeightSource.LOCAL):
        raise PlimsollError(
            f"--model-dir names folders, and --weights={weights} asks for others: leave one of them out"
        )
    folders = named_paths("--model-dir", "model", "folder", model_dirs, base, catalogue.models, _is_checkpoint)
    if weights == AUTO and not folders:
        return catalogue
    models = {name: _from(model, weights, folders.get(name)) for name, model in catalogue.models.items()}
    variants = {name: replace(variant, model=models[variant.model.id]) for name, variant in catalogue.variants.items()}
    return replace(catalogue, models=models, variants=variants)


def altered(catalogue: Catalogue, *, weights: str, layers: int | None, device: str | None) -> Catalogue:
    """The catalogue with the layers and the device that the options of these names ask for.

    Raises PlimsollError for `--layers` without synthetic weights.
    """
    if layers is not None:
        if weights != WeightSource.SYNTHETIC:
            raise PlimsollError(
                f"--layers={layers} takes layers away, and a checkpoint has them all: add --weights=synthetic"
            )
        catalogue = with_layers(catalogue, layers)
    moved = {CPU: on_cpu, GPU: on_gpu}.get(device or "")
    return catalogue if moved is None else moved(catalogue)


def with_layers(catalogue: Catalogue, layers: int) -> Catalogue:
    """The catalogue with every model cut to so many layers. Models with no more layers stay as they are, and so do
    those whose configuration does not give the number.
    """
    models = {name: _cut(model, layers) for name, model in catalogue.models.items()}
    variants = {name: _of_model(variant, models[variant.model.id]) for name, variant in catalogue.variants.items()}
    return _with_variants(replace(catalogue, models={model.id: model for model in models.values()}), variants)


def on_cpu(catalogue: Catalogue) -> Catalogue:
    """The catalogue with every variant on the CPU, whatever its tier and its device map say."""
    return _on(catalogue, CPU)


def on_gpu(catalogue: Catalogue) -> Catalogue:
    """The catalogue with every variant on a GPU, even where its tier needs none: such as the tiny checkpoints, which
    have taught answers and need no download."""
    return _on(catalogue, GPU)


def _on(catalogue: Catalogue, device: str) -> Catalogue:
    tiers = {name: _moved(tier, device) for name, tier in catalogue.tiers.items()}
    variants = {name: _in_tier(variant, tiers[variant.tier.id]) for name, variant in catalogue.variants.items()}
    return _with_variants(replace(catalogue, tiers=tiers), variants)


def _with_variants(catalogue: Catalogue, variants: Mapping[str, Variant]) -> Catalogue:
    """The catalogue with altered variants, given by the ids of their entries, which experiments then ask instead."""
    experiments = {
        name: replace(experiment, variants=tuple(variants[id_].id for id_ in experiment.variants))
        for name, experiment in catalogue.experiments.items()
    }
    return replace(catalogue, variants={one.id: one for one in variants.values()}, experiments=experiments)


def _cut(model: Model, layers: int) -> Model:
    config = cut_config(model.config, layers)
    if config == model.config:
        return model
    return replace(model, id=f"{model.id}:{layers}-layer{'s' if layers > 1 else ''}", config=config, is_cut=True)


def cut_config(config: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """A configuration with at most so many layers: lists with an item for each layer are shortened too, and each part
    of a configuration (`text_config`) is cut by its own depth."""
    depth = next((config[key] for key in _DEPTHS if isinstance(config.get(key), int)), 0)

    def cut(key: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return cut_config(value, layers)
        if depth <= layers:
            return value
        if key in _DEPTHS:
            return layers
        return value[:layers] if isinstance(value, list | tuple) and len(value) == depth else value

    return {key: cut(key, value) for key, value in config.items()}


def _of_model(variant: Variant, model: Model) -> Variant:
    if model is variant.model:
        return variant
    name = variant.id.partition("/")[2]
    return replace(variant, id=f"{model.id}/{name}", model=model, claims=_numerics(variant.claims))


def _moved(tier: Tier, device: str) -> Tier:
    return tier if tier.device == device else replace(tier, device=device, instead_of=tier.device)


def _in_tier(variant: Variant, tier: Tier) -> Variant:
    if tier is variant.tier:
        return variant
    return replace(
        variant, id=f"{variant.id}:{tier.device}", tier=tier, device_map=None, claims=_numerics(variant.claims)
    )


def _numerics(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """The claims on a model's numerics, which hold on any hardware, without those on its costs."""
    return tuple(claim for claim in claims if METRICS[claim.metric].kind is MetricKind.NUMERIC)


def named_paths(
    option: str,
    noun: str,
    place: str,
    given: Sequence[str],
    base: Path,
    known: Collection[str],
    check: Callable[[str, Path], None],
) -> dict[str, Path]:
    """Id -> path of each `NAME=PATH` given to `option`; relative paths start at `base`.

    `noun` says what the ids name, `place` what the path is (`folder`, `path`). `check` is called with the option as
    written and the path, and raises for a bad path. Raises PlimsollError for an option of another form, an unknown id,
    and a second path for one id.
    """
    paths: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        written = f"{option}={text}"
        if not (name and equals and path):
            raise PlimsollError(f"{written}: write it as {option}={noun.upper()}={place.upper()}")
        if name not in known:
            raise PlimsollError(f"{written}: no {noun} '{name}' in the catalogue; {did_you_mean(name, known)}")
        if name in paths:
            raise PlimsollError(f"{written}: a second {place} for {name}; the first is {paths[name]}")
        paths[name] = Path(base, user_path(path))
        check(written, paths[name])
    return paths


def with_settings(catalogue: Catalogue, settings: LoadSettings) -> Catalogue:
    """The catalogue with every variant loaded as the settings say. A variant that they alter gets an id of its own, so
    that its result is never mistaken for the entry's; one that they do not alter keeps its id."""
    return _with_variants(
        catalogue, {name: configured(variant, settings) for name, variant in catalogue.variants.items()}
    )


def configured(variant: Variant, settings: LoadSettings) -> Variant:
    """A variant with settings merged over its entry; the same variant where they change nothing."""
    changed = replace(
        variant,
        quantization=_quantization(variant, settings.dtype),
        attention=settings.attention or variant.attention,
        device_map=variant.device_map if settings.device_map is None else settings.device_map,
        load_options=_load_options(variant, settings),
        config={**variant.config, **settings.config},
        tokenizer={**variant.tokenizer, **settings.tokenizer},
        model=_model(variant.model, settings),
    )
    if changed == variant:
        return variant
    return replace(
        changed,
        id=f"{variant.id}:{settings.alteration}",
        claims=_numerics(variant.claims),
        settings=dict(settings.given),
    )


def _quantization(variant: Variant, dtype: str | None) -> Quantization:
    return variant.quantization if dtype is None or variant.quantization.is_quantized else DTYPES[dtype]


def _load_options(variant: Variant, settings: LoadSettings) -> dict[str, Any]:
    options = {**variant.load_options, **settings.load_options}
    fields = {
        **(variant.load_options.get("quantization_config") or {}),
        **(settings.load_options.get("quantization_config") or {}),
    }
    if settings.dtype is not None and variant.quantization.is_quantized and settings.dtype != variant.dtype:
        fields["bnb_4bit_compute_dtype"] = settings.dtype
    if fields:
        options["quantization_config"] = fields
    if "max_memory" in options and settings.device_map is not None and settings.device_map not in PLANNERS:
        # The entry's own limits: with named places nothing is planned.
        options = {name: value for name, value in options.items() if name != "max_memory"}
    return options


def _model(model: Model, settings: LoadSettings) -> Model:
    changes: dict[str, Any] = {}
    if settings.trust_remote_code is not None:
        changes["trust_remote_code"] = settings.trust_remote_code
    if settings.revision is not None and model.source is WeightSource.HUB:
        changes["revision"] = settings.revision
    return replace(model, **changes) if changes else model


def _from(model: Model, weights: str, folder: Path | None) -> Model:
    if folder is not None:
        return replace(model, source=WeightSource.LOCAL, path=folder)
    return model if weights == AUTO else replace(model, source=WeightSource(weights))


def _is_checkpoint(option: str, folder: Path) -> None:
    if folder.is_file():
        raise PlimsollError(f"{option}: {folder} is a file; name the folder that it lies in, {folder.parent}")
    if not folder.is_dir():
        raise PlimsollError(f"{option}: there is no folder {folder}")
    if not (folder / "config.json").is_file():
        inside = [path.parent.name for path in sorted(folder.glob("*/config.json"))]
        hint = f"; did you mean {folder / inside[0]}?" if inside else ""
        raise PlimsollError(f"{option}: {folder} has no config.json, so it is no checkpoint{hint}")
