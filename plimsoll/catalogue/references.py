"""Checks that tables fit together: names exist, ids are unique, marks are declared."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache
from typing import Final

from plimsoll.catalogue.entries import LimitedSide, Origin
from plimsoll.catalogue.marks import Marks
from plimsoll.catalogue.tables import TomlTable
from plimsoll.errors import Fault
from plimsoll.usertoml.reading import shown
from plimsoll.usertoml.suggest import did_you_mean


@dataclass(slots=True)
class References:
    """Checks tables in the given order, which defines *earlier* and *later*. It needs `all_tables` beforehand, because
    a table may refer to a later one.
    """

    all_tables: Sequence[TomlTable]
    marks: Marks | None
    _ids: dict[str, tuple[str, ...]] = field(init=False)
    _declared: dict[tuple[str, str], Origin] = field(init=False, default_factory=dict)
    _bases: dict[str, str] = field(init=False)
    """Model -> the model that it was tuned from."""
    _limited: set[tuple[str, str]] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        kinds = ("model", "tier", "profile", "variant", "dataset", "symptom")
        self._ids = {kind: ids_of(self.all_tables, kind) for kind in kinds}
        models = [table.sound for table in self.all_tables if table.kind == "model"]
        self._bases = {str(one.get("id")): str(one["tuned_from"]) for one in models if one.get("tuned_from")}

    def check(self, table: TomlTable) -> Iterator[Fault]:
        """The faults between this table and the others."""
        yield from self._unique(table)
        match table.kind:
            case "tier":
                yield from self._marked(table, "id", table.sound.get("id"), "tiers", "tier")
            case "model":
                yield from self._marked(table, "family", table.sound.get("family"), "families", "family")
                yield from self._selections(table)
                yield from self._model(table)
            case "variant":
                yield from self._variant(table)
                yield from self._selections(table)
            case "dataset":
                yield from self._marked(table, "id", table.sound.get("id"), "datasets", "dataset")
            case "experiment":
                yield from self._patterns(table, "variants", "variant", [])
                yield from self._patterns(table, "datasets", "dataset", [])
                yield from self._selections(table, "asked_with")
            case "symptom":
                for id_ in table.sound.get("explains", ()):
                    if id_ not in self._ids["symptom"]:
                        hint = did_you_mean(id_, self._ids["symptom"])
                        yield table.fault(table.place("explains", id_), f"unknown symptom {shown(id_)}", hint)
            case "claim":
                yield from self._claim(table)
            case "statement":
                yield from self._patterns(table, "models", "model", [])

    def _unique(self, table: TomlTable) -> Iterator[Fault]:
        replaces = table.sound.get("replaces", False)
        for id_ in table.ids:
            earlier = self._declared.get((table.kind, id_))
            if earlier is not None and not replaces:
                fix = "give it another id, or say replaces = true"
                yield table.fault("", f"{table.kind} '{id_}' is declared already, in {earlier}", fix)
            elif earlier is None and replaces:
                known = [known for kind, known in self._declared if kind == table.kind]
                yield table.fault("replaces", f"there is no earlier {table.kind} '{id_}'", did_you_mean(id_, known))
            self._declared[table.kind, id_] = table.origin

    def _model(self, table: TomlTable) -> Iterator[Fault]:
        base, models = table.sound.get("tuned_from"), self._ids["model"]
        if base is not None and base not in models:
            yield table.fault("tuned_from", f"unknown model {shown(base)}", did_you_mean(base, models))
        if circle := self._circle(table.sound.get("id")):
            yield table.fault("tuned_from", f"goes round in a circle: {' from '.join(circle)}", "a base model has none")
        recipe = table.sound.get("recipe")
        named = recipe.get("datasets") if isinstance(recipe, dict) else None
        for number, name in enumerate(named if isinstance(named, list) else ()):
            if name not in self._ids["dataset"]:
                hint = did_you_mean(name, self._ids["dataset"])
                yield table.fault(f"recipe.datasets[{number}]", f"unknown dataset {shown(name)}", hint)

    def _circle(self, model: str | None) -> list[str]:
        """The models on the way from this one back to itself; empty where a base model ends the chain."""
        line = [] if model is None else [model]
        while line and (base := self._bases.get(line[-1])) is not None:
            if base in line:
                return [*line, base] if base == model else []
            line.append(base)
        return []

    def _variant(self, table: TomlTable) -> Iterator[Fault]:
        for model in dict.fromkeys(table.sound.get("models", ())):
            if model not in self._ids["model"]:
                hint = did_you_mean(model, self._ids["model"])
                yield table.fault(table.place("models", model), f"unknown model {shown(model)}", hint)
        tier = table.sound.get("tier")
        if tier is not None and tier not in self._ids["tier"]:
            yield table.fault("tier", f"unknown tier {shown(tier)}", did_you_mean(tier, self._ids["tier"]))
        for quantization in dict.fromkeys(table.sound.get("quantizations", ())):
            place = table.place("quantizations", quantization)
            yield from self._marked(table, place, quantization, "quantizations", "quantization")

    def _claim(self, table: TomlTable) -> Iterator[Fault]:
        matched: list[str] = []
        yield from self._patterns(table, "variants", "variant", matched)
        if table.sound.get("together") and len(set(matched)) == 1:
            yield table.fault("together", f"has no meaning for {matched[0]} alone")
        metric = table.sound.get("metric")
        if metric is None:
            return
        limited = {(id_, metric) for id_ in matched}
        if table.sound.get("replaces") and matched and not limited & self._limited:
            yield table.fault("replaces", f"there is no earlier claim on {shown(metric)} of these variants")
        if not _is_aside(table):
            self._limited |= limited

    def _patterns(self, table: TomlTable, key: str, kind: str, matched: list[str]) -> Iterator[Fault]:
        """The faults of the patterns at `key`; the ids that they match are appended to `matched`."""
        known = self._ids[kind]
        for pattern in dict.fromkeys(table.sound.get(key, ())):
            ids = matching(pattern, known)
            matched += ids
            if not ids:
                whole_models = [f"{model}/*" for model in self._ids["model"]] if kind == "variant" else []
                hint = did_you_mean(pattern, (*known, *whole_models))
                yield table.fault(table.place(key, pattern), f"{shown(pattern)} matches no {kind}", hint)

    def _marked(self, table: TomlTable, place: str, name: str | None, section: str, noun: str) -> Iterator[Fault]:
        if self.marks is not None and name is not None and name not in self.marks.section(section):
            known = self.marks.section(section)
            hint = did_you_mean(name, known)
            fix = hint if hint.startswith("did") else f"declare it in [{section}] of markers.ini ({hint or 'empty'})"
            yield table.fault(place, f"unknown {noun} {shown(name)}", fix)

    def _selections(self, table: TomlTable, key: str = "marks") -> Iterator[Fault]:
        for mark in dict.fromkeys(table.sound.get(key, ())):
            if self.marks is None or mark in self.marks.selections:
                continue
            place = table.place(key, mark)
            if mark in self.marks:
                yield table.fault(place, f"mark '{mark}' is for tests, not for entries of the catalogue")
            else:
                yield table.fault(place, f"unknown mark {shown(mark)}", did_you_mean(mark, self.marks.selections))


def ids_of(tables: Sequence[TomlTable], kind: str) -> tuple[str, ...]:
    """All ids that tables of one kind declare, each once, in the order of the files."""
    return tuple(dict.fromkeys(id_ for table in tables if table.kind == kind for id_ in table.ids))


_WILDCARD: Final = re.compile(r"[*?\[]")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


def matching(pattern: str, ids: Collection[str]) -> list[str]:
    """The ids that match a pattern: `*` also matches the slash, and case matters. Most patterns are plain ids, and
    there are many of them for hundreds of variants, so plain ids are looked up instead of matched.
    """
    if not _WILDCARD.search(pattern):
        return [pattern] if pattern in ids else []
    return list(filter(_compiled(pattern).match, ids))


def _is_aside(table: TomlTable) -> bool:
    """True for a claim that limits nothing, like `Claim.is_limit`, but for a table whose other values may be faulty."""
    return (
        bool(table.given & {"disputed", "conditions"})
        or bool(table.sound.get("together"))
        or table.sound.get("limits") == LimitedSide.NONE
    )
