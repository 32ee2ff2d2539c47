"""Reads the catalogue, the shipped files and the user's together, into one frozen value or one error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plimsoll.catalogue.building import build
from plimsoll.catalogue.consistency import check
from plimsoll.catalogue.entries import Catalogue
from plimsoll.catalogue.files import read_documents, shipped_root
from plimsoll.catalogue.marks import Marks
from plimsoll.catalogue.references import References
from plimsoll.catalogue.tables import TomlTable, tables_of
from plimsoll.errors import CatalogueError, Fault


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
