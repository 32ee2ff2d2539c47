"""`plimsoll tiny`: builds, lists and cleans the small checkpoints that are trained on first use."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plimsoll.catalogue.entries import Model, WeightSource
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.clock import monotonic
from plimsoll.commands.output import add_output
from plimsoll.commands.parser import add_catalogue, positive
from plimsoll.errors import PlimsollError
from plimsoll.present.document import Table, columns
from plimsoll.present.terminal import LONGEST, aligned
from plimsoll.tiny.checkpoint import Damage, TinyCheckpoint, examine
from plimsoll.tiny.display import Display
from plimsoll.tiny.store import Store, default_jobs, ensure_all, model_of
from plimsoll.units import capitalised, format_bytes, format_seconds
from plimsoll.usertoml.suggest import did_you_mean

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_SUMMARY = "build, list and clean the small checkpoints that are trained on first use"
_CLEAN = """\
Remove checkpoints from the cache. Without arguments: those of recipes that are no longer in the catalogue, damaged
ones, and what killed builds have left. A build that is running is left alone.
Exit status: 0 removed, or nothing to remove, 2 usage error or a model that nobody knows."""
_BUILD_SUMMARY = "build the checkpoints that are missing or damaged"
_BUILD = f"""\
{capitalised(_BUILD_SUMMARY)}.
Exit status: 0 all are there, 2 usage error, or a build failed."""
_LIST_SUMMARY = "list the checkpoints, each compared byte by byte with its manifest"
_LIST = f"""\
{capitalised(_LIST_SUMMARY)}.
Exit status: 0 listed, 1 with --verify where not all are built and sound, 2 usage error."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command, its sub-commands and their options."""
    parser = subparsers.add_parser("tiny", help=_SUMMARY, description=f"{capitalised(_SUMMARY)}.")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    build = actions.add_parser("build", help=_BUILD_SUMMARY, description=_BUILD)
    build.add_argument("models", nargs="*", metavar="MODEL", help="which ones (default: all)")
    build.add_argument("--jobs", type=positive, metavar="N", help="builds side by side (default: one a processor)")
    build.set_defaults(run=run_build)

    listing = actions.add_parser("list", help=_LIST_SUMMARY, description=_LIST)
    add_output(listing, "print JSON")
    listing.add_argument("--verify", action="store_true", help="exit with status 1 unless all are built and sound")
    listing.set_defaults(run=run_list)

    clean = actions.add_parser("clean", help="remove checkpoints", description=_CLEAN)
    clean.add_argument("models", nargs="*", metavar="MODEL", help="remove all checkpoints of these models")
    clean.add_argument("--all", action="store_true", help="remove every checkpoint")
    clean.set_defaults(run=run_clean)

    for action in (build, listing, clean):
        add_catalogue(action)


def run_build(options: argparse.Namespace) -> int:
    """Build what is missing; raises PlimsollError when any build failed."""
    store = Store()
    models = _chosen(options.models, _trained_models(options.catalogue))
    jobs = min(options.jobs or default_jobs(), max(1, len(models)))
    display = Display(sys.stdout, [model.id for model in models])
    began = monotonic()
    try:
        checkpoints = ensure_all(store, models, jobs=jobs, progress=display.update)
    finally:
        display.close()
    for checkpoint in checkpoints:
        print(_sentence(checkpoint))
    built = sum(checkpoint.built_now for checkpoint in checkpoints)
    there = len(checkpoints) - built
    print(f"{built} built, {there} already there, in {format_seconds(monotonic() - began)}; {store.folder}")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """List what the catalogue has recipes for, then what else is in the cache."""
    rows = _rows(Store(), _trained_models(options.catalogue))
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        _print_table(rows)
    sound = all(row["state"] == "built" for row in rows if row["state"] != "stale")
    return 1 if options.verify and not sound else 0


def run_clean(options: argparse.Namespace) -> int:
    """Remove checkpoints; raises PlimsollError where the cache cannot be changed."""
    store = Store()
    models = _trained_models(options.catalogue)
    paths = store.paths()
    if options.all:
        doomed = paths
    elif options.models:
        known = {*models, *map(model_of, paths)}
        for name in options.models:
            _check_known(name, sorted(known))
        doomed = tuple(path for path in paths if model_of(path) in options.models)
    else:
        current = {store.checkpoint_path(model) for model in models.values()}
        doomed = tuple(p for p in paths if p not in current or isinstance(examine(p), Damage))
    busy = [path for path in doomed if not store.remove(path)]
    for path in doomed:
        print(f"in use by a build, left alone: {path}" if path in busy else f"removed {path}")
    swept = store.sweep()
    if swept:
        print(f"removed what {swept} interrupted {'build' if swept == 1 else 'builds'} had left")
    if not doomed and not swept:
        print(f"nothing to remove in {store.folder}")
    return 0


def _trained_models(extra: Sequence[Path]) -> dict[str, Model]:
    models = read_catalogue(extra).models
    return {name: model for name, model in models.items() if model.source is WeightSource.TRAINED}


def _chosen(names: Sequence[str], models: Mapping[str, Model]) -> list[Model]:
    for name in names:
        _check_known(name, models)
    return [models[name] for name in dict.fromkeys(names or models)]


def _check_known(name: str, known: Mapping[str, Model] | Sequence[str]) -> None:
    if name not in known:
        raise PlimsollError(f"no trained model '{name}'; {did_you_mean(name, known)}")


def _sentence(checkpoint: TinyCheckpoint) -> str:
    figures = checkpoint.figures
    how = f"built in {format_seconds(figures.seconds)}" if checkpoint.built_now else "already there"
    return (
        f"{checkpoint.model}: {how}; answers {figures.answered} of {figures.taught} taught questions; "
        f"{format_bytes(checkpoint.bytes)} in {len(checkpoint.files)} files"
    )


def _rows(store: Store, models: Mapping[str, Model]) -> list[dict[str, Any]]:
    places = [store.place(model) for model in models.values()]
    rows = [_row(place.path, place.examine(), place.model.id, place.recipe_hash) for place in places]
    current = {place.path for place in places}
    rows += [_row(path, examine(path), model_of(path), None) for path in store.paths() if path not in current]
    return rows


def _row(path: Path, found: TinyCheckpoint | Damage | None, model: str, current: str | None) -> dict[str, Any]:
    """One line of the listing; `current` is the recipe hash that the catalogue asks for, None for a stale one."""
    row: dict[str, Any] = {"model": model, "recipe_hash": current, "path": str(path)}
    match found:
        case None:
            return {**row, "state": "missing"}
        case Damage():
            return {**row, "state": "damaged" if current else "stale", "faults": list(found.faults)}
        case TinyCheckpoint():
            return {
                **row,
                "state": "built" if current else "stale",
                "recipe_hash": found.recipe_hash,
                "bytes": found.bytes,
                "accuracy": found.figures.accuracy,
                "training": asdict(found.figures),
                "files": [asdict(file) for file in found.files],
            }


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    cells = []
    for row in rows:
        training = row.get("training")
        cells.append(
            (
                row["model"],
                row["state"],
                (row["recipe_hash"] or "-")[:16],
                format_bytes(row["bytes"]) if "bytes" in row else "-",
                f"{training['answered']}/{training['taught']}" if training else "-",
                row["path"],
            )
        )
    head = columns("model", "state", "recipe", "size", "answers", "path")
    for line in aligned(Table(columns=head, rows=tuple(cells)), indent=0, widest=LONGEST):
        print(line)
    for row in rows:
        for fault in row.get("faults", ()):
            print(f"{row['model']}: {fault}")
