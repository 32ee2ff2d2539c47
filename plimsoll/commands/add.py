"""`plimsoll add`: writes the catalogue entry of a model of one's own, ready to be run."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plimsoll.catalogue.entries import Catalogue, Quantization, Tier
from plimsoll.catalogue.marks import suite_marks
from plimsoll.commands.entry_file import add_out, must_be_free, write_entry
from plimsoll.commands.inspect import add_model, inspector
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.gate.need import HOST_ALLOWANCE
from plimsoll.host.describing import Counts, Description
from plimsoll.hub.cache import indexed_files
from plimsoll.hub.contents import CheckpointContents
from plimsoll.hub.files import INDEX, WEIGHTS
from plimsoll.hub.settings_files import READ_ALWAYS, first_fault
from plimsoll.hub.vouching import digests_of, notes_of
from plimsoll.inspection.entry import EntryChoices, compose, enterable, must_fit, takeable, trained_by_us
from plimsoll.inspection.finding import FoundModel, NameKind
from plimsoll.inspection.inspection import Inspection
from plimsoll.inspection.model import id_of
from plimsoll.node.node import Node
from plimsoll.node.probe import SystemProbe
from plimsoll.plan.cells import keyword_names
from plimsoll.plan.checks import FOLDER
from plimsoll.present.foreign_text import one_line
from plimsoll.present.progress_line import ProgressLine
from plimsoll.suite import command, program_here
from plimsoll.tiny.store import cache_folder
from plimsoll.units import format_bytes
from plimsoll.usertoml.suggest import did_you_mean

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_ROOT: Final = Path(__file__).resolve().parents[2]
_USUAL: Final = (Quantization.BF16, Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ)
_PROCESSOR: Final = "cpu"
"""The tier of a model of one's own where there is no GPU."""
_BY_SIZE: Final = ((2.5e9, "gpu1b"), (6e9, "gpu3b"), (25e9, "gpu8b"))
"""Parameters up to which a model is of a tier."""
_LARGEST, _LARGEST_MIXTURE = "gpu70b", "gpumoe"
_ON_CPU, _ON_GPU = 32, 256
"""New tokens of an answer."""

_DESCRIPTION = """\
Inspect a model and write its catalogue entry: what config.json says, the quantizations that it can take, a tier, and
limits that are named as predictions; for a folder also the digests of its files, so that a run sees what changes later.
`plimsoll run -k ID --catalogue=FILE` then runs the suite on it. What the suite cannot
ask of it is said in one line. Exit status: 0 written, 2 usage error, no such model, or one that cannot be entered."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "add", help="write the catalogue entry that accepts a model of yours", description=_DESCRIPTION
    )
    add_model(parser)
    parser.add_argument(
        "--quantizations",
        type=_quantizations,
        default=(),
        metavar="Q,...",
        help=f"which of {', '.join(Quantization)} (default: {', '.join(_USUAL)}, as far as its class can take them)",
    )
    add_out(parser, "the file to write (default: ID.toml in this folder)")
    parser.add_argument("--id", metavar="ID", help="the model's id (default: from its name)")
    parser.add_argument(
        "--tier",
        metavar="TIER",
        help="the tier (default: cpu where this machine has no GPU and the RAM for it, else by its size)",
    )
    parser.add_argument(
        "--no-digests",
        dest="digests",
        action="store_false",
        help="do not hash a folder's files: nothing vouches for them then, unless they came from the Hub",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the entry. Raises PlimsollError where it cannot be written, or would overwrite a file."""
    if options.out is not None:
        must_be_free(options.out, force=options.force)
    with inspector(options.catalogue) as one:
        inspection = one.inspect(options.model, options.revision, options.quantizations or _USUAL)
        catalogue = one.catalogue
        _must_be_readable(inspection.found)
        description = enterable(inspection)
        quantizations, refused = takeable(inspection, options.quantizations)
        must_fit(inspection.found.name, one.fit(inspection, quantizations[0]))
    id_ = options.id or id_of(inspection.found, description, _taken(catalogue))
    out: Path = options.out or Path(f"{id_}.toml")
    must_be_free(out, force=options.force)
    tier, why = _tier(options.tier, catalogue, inspection, description, quantizations)
    choice = EntryChoices(
        id=id_,
        family=_family(description.model_type),
        tier=tier,
        quantizations=quantizations,
        max_new_tokens=_ON_CPU if tier.device == "cpu" else _ON_GPU,
        folder=out.absolute().parent,
        command=f"plimsoll add {shlex.quote(options.model)}",
    )
    # First without them: to hash a large checkpoint for an entry that cannot be written takes long.
    entry = compose(inspection, choice)
    if options.digests:
        entry = compose(inspection, replace(choice, digests=_digests(inspection.found)))
    write_entry(out, entry, options.catalogue)
    _tell(out, choice, inspection, refused, why)
    return 0


def _must_be_readable(found: FoundModel) -> None:
    """Raise PlimsollError for a folder with a file that a load would stumble over: its digest would make it sound."""
    if found.kind is NameKind.FOLDER and found.folder is not None:
        fault = first_fault(found.folder / name for name in (*READ_ALWAYS, "tokenizer.json", INDEX))
        if fault is None and not (found.folder / WEIGHTS).exists() and (found.folder / INDEX).exists():
            fault = _fault_of_index(found.folder / INDEX)
        if fault is not None:
            raise PlimsollError(f"{one_line(found.name, 400)} cannot be entered: {fault}")


def _fault_of_index(index: Path) -> str | None:
    """What is wrong with an index that is JSON, or with the files that it lists."""
    names = indexed_files(index)
    if names is None:
        return f"{index}: is not an index of weights in its folder; download or build it again"
    missing = [name for name in names if not (index.parent / name).is_file()]
    if not missing and not isinstance(json.loads(index.read_text("utf-8")).get("metadata"), dict):
        # transformers asks for it, though nothing in it matters.
        return f"{index}: lacks a table metadata, without which transformers loads nothing; download or build it again"
    if not missing:
        return None
    first = one_line(str(index.parent / missing[0]), 200)
    return (
        f"{first}: {len(missing)} of {len(names)} files that {index.name} lists "
        f"{'is' if len(missing) == 1 else 'are'} missing; download or build it again"
    )


def _digests(found: FoundModel) -> dict[str, str]:
    """The digests of a folder's files. Empty for what has none, for a repository, whose files the Hub vouches for, and
    for a checkpoint that the suite trained, whose manifest does.

    Raises PlimsollError where a file is not what it was when it came: the entry would take the damage for sound.
    """
    folder, contents = found.folder, found.contents
    if found.kind is not NameKind.FOLDER or folder is None or contents is None or trained_by_us(found) is not None:
        return {}
    try:
        with ProgressLine(sys.stderr, f"hashing {folder.name}", _bytes_read(contents)) as progress:
            digests, faults = digests_of(folder, notes_of(folder, cache_folder()), progress.add)
    except OSError as error:
        raise PlimsollError(f"{found.name}: cannot be read: {reason_of(error)}") from None
    if faults:
        words = "; ".join(f"{name} {fault}" for name, fault in faults.items())
        raise PlimsollError(
            f"{found.name} cannot be entered: it is damaged, or changed since it came: {one_line(words, 400)}; "
            "fetch it again, or enter a copy without that record"
        )
    return digests


def _bytes_read(contents: CheckpointContents) -> int:
    return sum(contents.files[name] for name in contents.weights)


def _quantizations(words: str) -> tuple[Quantization, ...]:
    found = []
    for word in filter(None, (part.strip() for part in words.split(","))):
        if word not in set(Quantization):
            raise argparse.ArgumentTypeError(f"no quantization {word!r}; {did_you_mean(word, list(Quantization))}")
        found.append(Quantization(word))
    if not found:
        raise argparse.ArgumentTypeError(f"names none of {', '.join(Quantization)}")
    return tuple(dict.fromkeys(found))


def _taken(catalogue: Catalogue) -> list[str]:
    """What `-k` looks at beside the entry's own variants: names of checks and of files, their parameters, ids of other
    variants, and marks: with an id that is part of one, the command that is printed would ask other models, too."""
    names = keyword_names(_ROOT, catalogue) if (_ROOT / FOLDER).is_dir() else ()
    return [*names, *(suite_marks() or ()), *catalogue.variants]


def _family(model_type: str) -> str:
    marks = suite_marks()
    families = () if marks is None else marks.section("families")
    return next((family for family in families if model_type.startswith(family)), "other")


def _tier(
    asked: str | None,
    catalogue: Catalogue,
    inspection: Inspection,
    description: Description,
    quantizations: Sequence[Quantization],
) -> tuple[Tier, str]:
    """The tier, and why it was taken; empty where it was asked for. Raises PlimsollError for an unknown one."""
    if asked is not None:
        if asked not in catalogue.tiers:
            raise PlimsollError(f"no tier '{asked}'; {did_you_mean(asked, catalogue.tiers)}")
        return catalogue.tiers[asked], ""
    if trained_by_us(inspection.found) is not None:
        return catalogue.tiers["tiny"], "the suite has trained it"
    loads = [one.load or 0 for one in inspection.weighed if one.quantization in quantizations]
    node = SystemProbe(weights_path=cache_folder()).probe()
    name, why = fitting_tier(description.counts, max(loads, default=0), node)
    return catalogue.tiers[name], why


def fitting_tier(counts: Counts, load: int, node: Node) -> tuple[str, str]:
    """The tier for a model whose largest load takes so many bytes at its highest, on this node, and why it is that."""
    largest = _LARGEST_MIXTURE if counts.experts else _LARGEST
    by_size = next((tier for most, tier in _BY_SIZE if counts.total <= most), largest)
    needed = load + HOST_ALLOWANCE
    if node.gpus:
        return by_size, "by its size"
    if needed > node.memory.available:
        return by_size, f"by its size: this machine has no GPU, and no {format_bytes(needed)} of RAM for it"
    return _PROCESSOR, f"this machine has no GPU; on one that has: --tier {by_size}"


def _tell(out: Path, choice: EntryChoices, inspection: Inspection, refused: dict[str, str], why: str) -> None:
    told = f" ({why})" if why else ""
    print(f"wrote {out}: {choice.id} in {', '.join(choice.quantizations)}, tier {choice.tier.id}{told}")
    by_reason: dict[str, list[str]] = {}
    for name, reason in refused.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        print(f"left out: {', '.join(names)}: {one_line(reason, 300)}")
    if inspection.cannot_ask:
        print(f"note: {one_line(inspection.cannot_ask, 400)}")
    asked = command(program_here(), "-k", choice.id, f"--catalogue={out}")
    if trained_by_us(inspection.found) is not None:
        folder = shlex.quote(f"--model-dir={choice.id}={inspection.found.folder}")
        print(f"next: {asked} {folder}")
        return
    print(f"next: {asked}")
