"""Reads the shipped table of symptoms alone, for code without a catalogue at hand."""

from __future__ import annotations

from functools import cache

from plimsoll.catalogue.consistency import check
from plimsoll.catalogue.entries import Symptom
from plimsoll.catalogue.files import read_shipped, shipped_root
from plimsoll.catalogue.reader import symptoms_of
from plimsoll.catalogue.tables import tables_of
from plimsoll.errors import CatalogueError

FILE = "symptoms.toml"


@cache
def shipped_symptoms() -> tuple[Symptom, ...]:
    """The shipped symptoms, in the order of the file. Raises CatalogueError where the installation lacks them."""
    tables, faults = tables_of(read_shipped(FILE, shipped_root()))
    for table in tables:
        faults += (*table.faults, *check(table))
    if faults:
        raise CatalogueError(faults)
    return symptoms_of(tables)
