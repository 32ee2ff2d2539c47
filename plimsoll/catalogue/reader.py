"""Reads the catalogue, the shipped files and the user's together, into one frozen value or one error.

Checked tables become entries: groups are expanded, names resolved, units converted. Mappings are plain dicts under a
read-only type, and each entry has its own copy: requests carry them to hosts, and a mappingproxy cannot be pickled.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from plimsoll.catalogue.consistency import check
from plimsoll.catalogue.entries import (
    Catalogue,
    CatalogueFile,
    Claim,
    CorrectnessRule,
    Dataset,
    Experiment,
    Floor,
    Generation,
    Model,
    Profile,
    Recipe,
    Statement,
    Symptom,
    SymptomSign,
    Tier,
    Variant,
)
from plimsoll.catalogue.files import read_documents, shipped_root
from plimsoll.catalogue.marks import Marks
from plimsoll.catalogue.references import References, ids_of, matching
from plimsoll.catalogue.schema import (
    ClaimTable,
    DatasetTable,
    ExperimentTable,
    FileTable,
    FloorTable,
    ModelTable,
    ProfileTable,
    RecipeTable,
    SignTable,
    StatementTable,
    SymptomTable,
    TierTable,
    VariantShape,
)
from plimsoll.catalogue.settings import read_rope
from plimsoll.catalogue.tables import TomlTable, profile_id, tables_of
from plimsoll.errors import CatalogueError, Fault
from plimsoll.units import to_base

AnyTable = TypeVar("AnyTable", bound=FileTable)


def read_catalogue(
    extra: Sequence[Path] = (), *, known_marks: Marks | None = None, shipped: Path | None = None
) -> Catalogue:
    """The shipped catalogue with the user's files on top, in the order given.

    `known_marks` are those of markers.ini (`read_marks`): tiers, families, quantizations and marks must be declared
    there; None skips that check, where the suite is not installed. `shipped` is the folder of the shipped files; None
    for the one beside or inside the package.

    Raises CatalogueError with every fault of every file.
    """
    documents, faults = read_documents(extra, shipped or shipped_root())
    by_document: list[tuple[list[TomlTable], list[Fault]]] = [tables_of(document) for document in documents]
    tables = [table for its_tables, _ in by_document for table in its_tables]
    references = References(tables, known_marks)
    for its_tables, its_faults in by_document:
        faults += its_faults
        for table in its_tables:
            faults += (*table.faults, *check(table), *references.check(table))
    if faults:
        raise CatalogueError(faults)
    return build(tables, [document.file for document in documents])


def build(tables: Sequence[TomlTable], files: Sequence[CatalogueFile]) -> Catalogue:
    """The catalogue that faultless tables describe; a later entry replaces an earlier one with the same id."""
    tiers = {parsed.id: _tier(table, parsed) for table, parsed in _of(tables, TierTable)}
    entries = [(table.document.file.shipped, _dataset(table, parsed)) for table, parsed in _of(tables, DatasetTable)]
    datasets = {dataset.id: dataset for _, dataset in entries}
    # Where a user replaces a dataset, other questions are asked; the shipped checkpoints are still taught the shipped
    # ones.
    shipped = {dataset.id: dataset for is_shipped, dataset in entries if is_shipped}
    models = {
        parsed.id: _model(table, parsed, shipped if table.document.file.shipped else datasets)
        for table, parsed in _of(tables, ModelTable)
    }
    profiles = {p.id: p for table, parsed in _of(tables, ProfileTable) for p in _profiles(table, parsed)}
    claims = _claims(tables)
    by_variant = _by_variant(claims)
    variants = {
        variant.id: variant
        for table, parsed in _of(tables, VariantShape)
        for variant in _variants(table, parsed, models, tiers, by_variant)
    }
    return Catalogue(
        models=models,
        variants=variants,
        tiers=tiers,
        profiles=profiles,
        claims=claims,
        datasets=datasets,
        experiments={
            parsed.id: _experiment(table, parsed, tuple(variants), tuple(datasets))
            for table, parsed in _of(tables, ExperimentTable)
        },
        floors=tuple(_floor(table, parsed) for table, parsed in _of(tables, FloorTable)),
        statements=tuple(_statement(table, parsed, models) for table, parsed in _of(tables, StatementTable)),
        symptoms=symptoms_of(tables),
        files=tuple(files),
    )


def _of(tables: Sequence[TomlTable], kind: type[AnyTable]) -> Iterator[tuple[TomlTable, AnyTable]]:
    for table in tables:
        if isinstance(table.parsed, kind):
            yield table, table.parsed


def _tier(table: TomlTable, parsed: TierTable) -> Tier:
    return Tier(**parsed.model_dump(exclude={"replaces"}), origin=table.origin)


def _model(table: TomlTable, parsed: ModelTable, datasets: Mapping[str, Dataset]) -> Model:
    recipe = None if parsed.recipe is None else _recipe(parsed.recipe)
    plain = parsed.model_dump(exclude={"replaces", "config_null", "path", "recipe", "generation", "marks"})
    plain["config"] = deepcopy(parsed.config) | dict.fromkeys(parsed.config_null)
    return Model(
        **plain,
        path=_absolute(table, parsed.path),
        recipe=recipe,
        taught=() if recipe is None else tuple(datasets[name] for name in recipe.datasets),
        generation=Generation(**parsed.generation.model_dump()),
        marks=tuple(parsed.marks),
        origin=table.origin,
    )


def _recipe(parsed: RecipeTable) -> Recipe:
    return Recipe(**{**parsed.model_dump(), "datasets": tuple(parsed.datasets)})


def _absolute(table: TomlTable, path: str | None) -> Path | None:
    """An absolute path, relative to the file that has it, so that a catalogue can be moved together with its
    checkpoints."""
    if path is None:
        return None
    return Path(os.path.normpath(table.document.file.path.absolute().parent / Path(path).expanduser()))


def _dataset(table: TomlTable, parsed: DatasetTable) -> Dataset:
    plain = parsed.model_dump(exclude={"replaces", "schema_", "correct"})
    return Dataset(
        **plain, schema=parsed.schema_, correct=CorrectnessRule(**parsed.correct.model_dump()), origin=table.origin
    )


def _experiment(
    table: TomlTable, parsed: ExperimentTable, variants: Sequence[str], datasets: Sequence[str]
) -> Experiment:
    return Experiment(
        id=parsed.id,
        description=parsed.description,
        variants=tuple(dict.fromkeys(id_ for pattern in parsed.variants for id_ in matching(pattern, variants))),
        datasets=tuple(dict.fromkeys(id_ for pattern in parsed.datasets for id_ in matching(pattern, datasets))),
        asked_with=tuple(parsed.asked_with),
        origin=table.origin,
    )


def _profiles(table: TomlTable, parsed: ProfileTable) -> Iterator[Profile]:
    for count in parsed.counts:
        yield Profile(
            id=profile_id(parsed.id, count),
            gpu=parsed.gpu,
            count=count,
            memory=round(parsed.memory),
            bandwidth=parsed.bandwidth,
            bf16_rate=parsed.bf16_rate,
            compute_capability=parsed.compute_capability,
            source=parsed.source,
            origin=table.origin,
        )


def _claims(tables: Sequence[TomlTable]) -> tuple[Claim, ...]:
    """All claims in force. A claim with `replaces` removes its variants from the earlier limits on the same metric;
    claims that are only a record (disputed, or without effect) stay.

    What ships speaks of models that ship: a user's own may be called anything, `tiny-mine` too.
    """
    variants = ids_of(tables, "variant")
    models = ids_of([table for table in tables if table.document.file.shipped], "model")
    of_shipped = [id_ for id_ in variants if id_.partition("/")[0] in models]
    claims: list[Claim] = []
    for table, parsed in _of(tables, ClaimTable):
        claim = _claim(table, parsed, of_shipped if table.document.file.shipped else variants)
        if parsed.replaces:
            claims = [_yielding(earlier, claim) for earlier in claims]
        claims.append(claim)
    return tuple(claim for claim in claims if claim.variants)


def _claim(table: TomlTable, parsed: ClaimTable, variants: Sequence[str]) -> Claim:
    matched = dict.fromkeys(id_ for pattern in parsed.variants for id_ in matching(pattern, variants))
    low, high = (None if bound is None else to_base(bound, parsed.unit)[0] for bound in (parsed.low, parsed.high))
    return Claim(
        variants=tuple(matched),
        metric=parsed.metric,
        low=low,
        high=high,
        unit=to_base(0.0, parsed.unit)[1],
        source=parsed.source,
        quote=parsed.quote,
        limits=parsed.limits,
        together=parsed.together,
        conditions=dict(parsed.conditions),
        disputed=parsed.disputed,
        shipped=table.document.file.shipped,
        origin=table.origin,
    )


def _floor(table: TomlTable, parsed: FloorTable) -> Floor:
    return Floor(
        devices=tuple(parsed.devices),
        metric=parsed.metric,
        of=parsed.of,
        low=to_base(parsed.low, parsed.unit)[0],
        sheet=None if parsed.sheet is None else to_base(parsed.sheet, parsed.unit)[0],
        source=parsed.source,
        origin=table.origin,
    )


def _statement(table: TomlTable, parsed: StatementTable, models: Mapping[str, Model]) -> Statement:
    matched = dict.fromkeys(id_ for pattern in parsed.models for id_ in matching(pattern, models))
    return Statement(
        models=tuple(matched),
        says=parsed.says,
        source=parsed.source,
        disputed=parsed.disputed,
        origin=table.origin,
    )


def symptoms_of(tables: Sequence[TomlTable]) -> tuple[Symptom, ...]:
    """The symptoms that faultless tables describe, with a user's own first."""
    found: dict[str, tuple[bool, Symptom]] = {}
    for table, parsed in _of(tables, SymptomTable):
        found[parsed.id] = (table.document.file.shipped, _symptom(table, parsed))
    return tuple(
        symptom for is_shipped in (False, True) for shipped, symptom in found.values() if shipped is is_shipped
    )


def _symptom(table: TomlTable, parsed: SymptomTable) -> Symptom:
    return Symptom(
        id=parsed.id,
        title=parsed.title,
        cause=parsed.cause,
        next=parsed.next,
        next_in=parsed.next_in.model_dump(exclude_none=True),
        explains=tuple(parsed.explains),
        signs=tuple(map(_sign, parsed.sign)),
        see=parsed.see or "",
        origin=table.origin,
    )


def _sign(parsed: SignTable) -> SymptomSign:
    return SymptomSign(
        message=tuple(parsed.message),
        beside=tuple(parsed.beside),
        unless=tuple(parsed.unless),
        exception=tuple(parsed.exception),
        signal=tuple(parsed.signal),
        evidence=dict(parsed.evidence),
        facts=tuple(parsed.facts),
        otherwise=parsed.otherwise,
        cause=parsed.cause or "",
        next=parsed.next or "",
        next_in=parsed.next_in.model_dump(exclude_none=True),
    )


def _by_variant(claims: Sequence[Claim]) -> Mapping[str, tuple[Claim, ...]]:
    """The claims on each variant, in the order of the files; a figure for several variants together counts for none of
    them."""
    found: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        for id_ in () if claim.together else claim.variants:
            found[id_].append(claim)
    return {id_: tuple(its_claims) for id_, its_claims in found.items()}


def _yielding(earlier: Claim, later: Claim) -> Claim:
    if earlier.metric != later.metric or not earlier.is_limit:
        return earlier
    return replace(earlier, variants=tuple(id_ for id_ in earlier.variants if id_ not in later.variants))


def _settings(table: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a variant's own table, in the spelling of transformers 5."""
    return {key: read_rope(value) if key == "rope_parameters" else deepcopy(value) for key, value in table.items()}


def _variants(
    table: TomlTable,
    parsed: VariantShape,
    models: Mapping[str, Model],
    tiers: Mapping[str, Tier],
    claims: Mapping[str, tuple[Claim, ...]],
) -> Iterator[Variant]:
    for model in parsed.models:
        for quantization in parsed.quantizations:
            id_ = f"{model}/{parsed.name or quantization}"
            yield Variant(
                id=id_,
                model=models[model],
                quantization=quantization,
                tier=tiers[parsed.tier],
                attention=parsed.attention,
                device_map=deepcopy(parsed.device_map),
                load_options=deepcopy(parsed.load_options),
                config=_settings(parsed.config),
                tokenizer=_settings(parsed.tokenizer),
                marks=tuple(parsed.marks),
                claims=claims.get(id_, ()),
                origin=table.origin,
            )
