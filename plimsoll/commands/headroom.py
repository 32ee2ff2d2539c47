"""`plimsoll headroom`: how large a batch can be trained on a GPU, before anything is loaded or downloaded."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.catalogue.entries import Catalogue, Variant
from plimsoll.catalogue.marks import suite_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.commands.output import add_output, must_differ, show
from plimsoll.commands.parser import add_catalogue, positive
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.extras import require
from plimsoll.footprint.training import DEFAULT_BRIDGE, Mode, Optimizer, Training
from plimsoll.node.probe import SystemProbe
from plimsoll.plan.headroom import Wanted, headroom_of, otherwise, parse_count
from plimsoll.plan.headroom_table import picture, render, to_json
from plimsoll.plan.planning import PlannedMachine, machine_of
from plimsoll.plan.predictions import HostPool, Predictions
from plimsoll.plan.shipped import Shipped
from plimsoll.present.document import Svg
from plimsoll.tiny.store import cache_folder
from plimsoll.usertoml.suggest import did_you_mean

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_TOO_LITTLE = 1

_SUMMARY = "show how large a batch can be trained on a GPU, and what limits it"
_DESCRIPTION = """\
Tell the largest batch that can be trained safely on a GPU of this node, or of a reference machine (--profile): its
parts, what limits it, and what other ways to train would give. Of two variants the states of the first cross a bridge
into the second, and both are frozen. Nothing is loaded; what is predicted once is kept in the cache folder.
Exit status: 0 a batch is safe, 1 not even one sequence is, 2 usage error, or no step could be predicted."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser("headroom", help=_SUMMARY, description=_DESCRIPTION)
    parser.add_argument("variant", metavar="A", help="a variant, `llama-3.1-8b/nf4`, or a model, which stands for bf16")
    parser.add_argument("into", nargs="?", metavar="B", help="the variant into which a bridge from A leads")
    parser.add_argument("--profile", metavar="P", help="a reference machine, `h100-80g` (default: this node)")
    parser.add_argument("--seq", type=positive, default=1536, metavar="TOKENS", help="of a sequence (default: 1536)")
    parser.add_argument("--accumulation", type=positive, default=1, metavar="N", help="batches before each update")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--lora", type=positive, metavar="RANK", help="train LoRA of this rank beside all linear layers")
    ways.add_argument("--bridge", metavar="SIZE", help="train a bridge of so many parameters: 64M (default)")
    ways.add_argument("--full", action="store_true", help="train all weights")
    parser.add_argument("--optimizer", choices=[one.value for one in Optimizer], default=Optimizer.ADAMW.value)
    parser.add_argument("--checkpointing", action="store_true", help="compute layers again in the backward pass")
    parser.add_argument("--attention", choices=("sdpa", "eager"), help="in place of the entry's own")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the parts over the batch, as SVG")
    add_catalogue(parser)
    add_output(parser, "print JSON, sizes in bytes")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the room. Raises PlimsollError for what is not in the catalogue, and for a step that is not predicted."""
    must_differ(options, [("--picture", options.picture)])
    if options.picture is not None:
        require("pictures", "--picture", ("matplotlib",))
    catalogue = read_catalogue(options.catalogue, known_marks=suite_marks())
    named = [_variant(catalogue, name, options.attention) for name in (options.variant, options.into) if name]
    wanted = Wanted(
        variant=named[-1],
        partner=named[0] if len(named) > 1 else None,
        training=_training(options),
        length=options.seq,
        accumulation=options.accumulation,
    )
    machine = _machine(catalogue, options.profile)
    if not machine.gpus:
        raise PlimsollError(f"{machine.name} has no GPU to train on: name a reference machine, --profile h100-80g")
    memory = min(machine.gpus)
    with HostPool(sys.stderr) as hosts:
        predictions = Predictions(cache_folder(), hosts.ask, Shipped.read())
        room = headroom_of(wanted, memory, predictions)
        others = list(otherwise(wanted, memory, predictions))
    if options.json:
        print(json.dumps({**to_json(machine.name, room, others), "predictions": predictions.origin_data()}, indent=2))
    else:
        show("\n\n".join(filter(None, (render(machine.name, room, others), predictions.origin))))
    if options.picture is not None:
        _draw(options.picture, picture(room))
    return 0 if room.safe_batch() else _TOO_LITTLE


def _variant(catalogue: Catalogue, name: str, attention: str | None) -> Variant:
    found = catalogue.variants.get(name if "/" in name else f"{name}/bf16")
    if found is None:
        raise PlimsollError(f"no variant '{name}'; {did_you_mean(name, [*catalogue.variants, *catalogue.models])}")
    return found if attention is None else replace(found, attention=attention)


def _training(options: argparse.Namespace) -> Training:
    mode, size = Mode.BRIDGE, DEFAULT_BRIDGE
    if options.full:
        mode, size = Mode.FULL, 0
    elif options.lora is not None:
        mode, size = Mode.LORA, options.lora
    elif options.bridge is not None:
        size = parse_count(options.bridge)
    optimizer = Optimizer(options.optimizer)
    return Training(mode=mode, size=size, optimizer=optimizer, checkpointing=options.checkpointing)


def _machine(catalogue: Catalogue, name: str | None) -> PlannedMachine:
    if name is None:
        node = SystemProbe(weights_path=cache_folder()).probe()
        return PlannedMachine(name=node.hostname, node=node)
    if name not in catalogue.profiles:
        raise PlimsollError(f"no profile '{name}'; {did_you_mean(name, catalogue.profiles)}")
    return machine_of(catalogue.profiles[name])


def _draw(path: Path, element: Svg) -> None:
    from plimsoll.present.drawing import svg_file
    from plimsoll.report.write import write_output

    try:
        write_output(path, svg_file(element))
    except OSError as error:
        raise PlimsollError(f"--picture {path}: cannot be written: {reason_of(error)}") from None
