"""What must hold between tables, whichever file they stand in: names exist, ids are unique, marks are declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from plimsoll.catalogue.entries import Origin
from plimsoll.catalogue.marks import Marks
from plimsoll.catalogue.suggest import did_you_mean
from plimsoll.catalogue.tables import Table
from plimsoll.catalogue.translate import shown
from plimsoll.errors import Fault


@dataclass(slots=True)
class References:
    """Judges tables in the order in which they are given, which is what *earlier* and *later* mean.

    `all_tables` is needed beforehand, because a table may refer to one that comes after it.
    """

    all_tables: Sequence[Table]
    marks: Marks | None
    _ids: dict[str, tuple[str, ...]] = field(init=False)
    _declared: dict[tuple[str, str], Origin] = field(init=False, default_factory=dict)
    _limited: set[tuple[str, str]] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        kinds = ("model", "tier", "profile", "variant")
        self._ids = {kind: ids_of(self.all_tables, kind) for kind in kinds}

    def check(self, table: Table) -> Iterator[Fault]:
        """The faults between this table and the others."""
        yield from self._unique(table)
        match table.kind:
            case "tier":
                yield from self._marked(table, "id", table.sound.get("id"), "tiers", "tier")
            case "model":
                yield from self._marked(table, "family", table.sound.get("family"), "families", "family")
                yield from self._selections(table)
            case "variant":
                yield from self._variant(table)
                yield from self._selections(table)
            case "claim":
                yield from self._claim(table)

    def _unique(self, table: Table) -> Iterator[Fault]:
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

    def _variant(self, table: Table) -> Iterator[Fault]:
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

    def _claim(self, table: Table) -> Iterator[Fault]:
        matched = []
        for pattern in dict.fromkeys(table.sound.get("variants", ())):
            ids = matching(pattern, self._ids["variant"])
            matched += ids
            if not ids:
                whole_models = [f"{model}/*" for model in self._ids["model"]]
                hint = did_you_mean(pattern, (*self._ids["variant"], *whole_models))
                yield table.fault(table.place("variants", pattern), f"{shown(pattern)} matches no variant", hint)
        metric = table.sound.get("metric")
        if metric is None:
            return
        limited = {(id_, metric) for id_ in matched}
        if table.sound.get("replaces") and matched and not limited & self._limited:
            yield table.fault("replaces", f"there is no earlier claim on {shown(metric)} of these variants")
        if "disputed" not in table.given:
            self._limited |= limited

    def _marked(self, table: Table, place: str, name: str | None, section: str, noun: str) -> Iterator[Fault]:
        if self.marks is not None and name is not None and name not in self.marks.section(section):
            known = self.marks.section(section)
            hint = did_you_mean(name, known)
            fix = hint if hint.startswith("did") else f"declare it in [{section}] of markers.ini ({hint or 'empty'})"
            yield table.fault(place, f"unknown {noun} {shown(name)}", fix)

    def _selections(self, table: Table) -> Iterator[Fault]:
        for mark in dict.fromkeys(table.sound.get("marks", ())):
            if self.marks is None or mark in self.marks.selections:
                continue
            place = table.place("marks", mark)
            if mark in self.marks:
                yield table.fault(place, f"mark '{mark}' is for tests, not for entries of the catalogue")
            else:
                yield table.fault(place, f"unknown mark {shown(mark)}", did_you_mean(mark, self.marks.selections))


def ids_of(tables: Sequence[Table], kind: str) -> tuple[str, ...]:
    """All ids that tables of one kind declare, each once, in the order of the files."""
    return tuple(dict.fromkeys(id_ for table in tables if table.kind == kind for id_ in table.ids))


def matching(pattern: str, variants: Sequence[str]) -> list[str]:
    """The variant ids that a claim's pattern speaks of: `*` crosses the slash, upper and lower case differ."""
    return [id_ for id_ in variants if fnmatchcase(id_, pattern)]
