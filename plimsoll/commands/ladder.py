"""`plimsoll ladder`: tries the ways to load a model, and writes the settings that work as an entry."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plimsoll.catalogue.entries import Catalogue, Model, Variant, WeightSource, without_gpus
from plimsoll.catalogue.overrides import with_layers
from plimsoll.catalogue.settings import read_settings, size_in_bytes
from plimsoll.commands.entry_file import add_out, must_be_free, write_entry
from plimsoll.commands.inspect import add_model, inspector
from plimsoll.commands.parser import positive
from plimsoll.errors import PlimsollError
from plimsoll.extras import require
from plimsoll.gate.hub import refusal_of
from plimsoll.host.client.process import Host, Hosts
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.specify import load_spec
from plimsoll.hub import client
from plimsoll.hub.access import Access
from plimsoll.hub.unasked import query_of
from plimsoll.inspection.entry import EntryChoices, compose, enterable
from plimsoll.inspection.inspection import Inspection, Inspector
from plimsoll.inspection.model import id_of, model_of
from plimsoll.ladder.attempt import Attempt, RungOutcome
from plimsoll.ladder.climb import Climb, Ladder, climb
from plimsoll.ladder.document import conclusion, lines_of, to_json
from plimsoll.ladder.entry import entry_id, name_of, tier_for, variant_table
from plimsoll.ladder.room import gate, quantization_of, room_of
from plimsoll.node.node import Node
from plimsoll.node.probe import SystemProbe
from plimsoll.node.visible import free_gpus
from plimsoll.present.progress_line import WaitingLine
from plimsoll.suite import program_here
from plimsoll.tiny.store import Store, cache_folder
from plimsoll.userpath import is_there, user_path

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_NONE_WORKS: Final = 1
_UNDECIDED: Final = 6
_NOTES: Final = "hub"

_DESCRIPTION = """\
Try to load a model, rung after rung, each in a process of its own with an answer of 10 tokens: on the processor in
float32, on the device in bfloat16 and in float16 with eager attention, with limits for what each place holds, and with
the rest on a disk. The first says whether the weights can be read at all; after it, the first rung that works ends the
climb. Of each that does not, the cause and one next step are told; what an earlier failure implies is not tried.
Exit status: 0 a rung works, 1 none does, 2 usage error, 6 none failed, but none could be tried."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "ladder",
        help="try the ways to load a model, from the surest on, and write the settings that work",
        description=_DESCRIPTION,
    )
    add_model(parser)
    parser.add_argument("--all", action="store_true", help="try every rung, also after one that works")
    add_out(parser, "write the settings that work as a catalogue entry")
    parser.add_argument(
        "--load-config",
        metavar="JSON",
        help='settings over those of every rung: {"attn_implementation": "sdpa"}, or the path of a file with them',
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="the device of all rungs but the first (default: a GPU where there is one)",
    )
    parser.add_argument(
        "--ram", type=_size, metavar="SIZE", help="let each process take so much RAM, 8GiB, and no more"
    )
    parser.add_argument(
        "--weights", choices=("auto", "synthetic"), default="auto", help="`synthetic` makes them up from the entry"
    )
    parser.add_argument("--layers", type=positive, metavar="N", help="keep N layers; needs --weights=synthetic")
    parser.add_argument("--json", action="store_true", help="print JSON: sizes in bytes and times in seconds")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Climb, tell, write. Raises PlimsollError where there is no such model, or the entry cannot be written."""
    if options.layers is not None and options.weights != "synthetic":
        raise PlimsollError(
            f"--layers={options.layers} takes layers away, and a checkpoint has them all: add --weights=synthetic"
        )
    if options.out is not None:
        must_be_free(options.out, force=options.force)
    # Without them every rung would fail, and nothing would be known of the model.
    require("models", "trying to load a model", ("torch", "transformers", "accelerate"))
    tell = (lambda _: None) if options.json else _print
    with ExitStack() as stack:
        one = stack.enter_context(inspector(options.catalogue))
        catalogue = _altered(one.catalogue, options)
        node = SystemProbe(weights_path=cache_folder()).probe()
        device = options.device or ("cuda" if free_gpus(node) else "cpu")
        base, inspection = _base(one, catalogue, options, device)
        if options.out is not None and inspection is not None:
            enterable(inspection)
        given = _given(options, base.model)
        climbed = climb(
            _ladder(stack, one, base, node, device, given, options),
            every=options.all,
            tell=tell,
            trying=lambda step: WaitingLine(sys.stderr, f"trying {step.id}"),
        )
        if options.json:
            print(json.dumps(to_json(climbed), indent=2))
        else:
            sys.stdout.write("".join(f"{line}\n" for line in conclusion(climbed)))
        if options.out is not None and climbed.working is not None:
            _write(options, climbed, climbed.working, catalogue, inspection)
    if climbed.working is not None:
        return 0
    return _NONE_WORKS if any(one.outcome is RungOutcome.FAILED for one in climbed.attempts) else _UNDECIDED


def _print(attempt: Attempt) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines_of(attempt)))
    sys.stdout.flush()


def _size(text: str) -> int:
    size = size_in_bytes(text)
    if not size:
        raise argparse.ArgumentTypeError(f"must be a size such as 8GiB, not {text!r}")
    return size


def _altered(catalogue: Catalogue, options: argparse.Namespace) -> Catalogue:
    return catalogue if options.layers is None else with_layers(catalogue, options.layers)


def _given(options: argparse.Namespace, model: Model) -> Mapping[str, Any]:
    if options.load_config is None:
        return {}
    pinned = model.source is WeightSource.HUB and not model.trust_remote_code
    return read_settings(options.load_config, Path.cwd(), pinned=pinned).given


def _base(
    one: Inspector, catalogue: Catalogue, options: argparse.Namespace, device: str
) -> tuple[Variant, Inspection | None]:
    """The variant that rungs start from: an entry's, or that of a model that is not in the catalogue."""
    entered = _entered(catalogue, options)
    if entered is not None:
        return _made_up(entered) if options.weights == "synthetic" else entered, None
    inspection = one.inspect(options.model, options.revision, (quantization_of({}),))
    description = inspection.description
    if description is None:
        raise PlimsollError(f"{options.model} cannot be tried: {inspection.undescribed}")
    model = model_of(inspection.found, description, id_of(inspection.found, description, catalogue.variants))
    tier = next(tier for tier in catalogue.tiers.values() if tier.device == device and tier.id != "tiny")
    variant = Variant(
        id=f"{model.id}/ladder",
        model=model,
        quantization=quantization_of(model.config),
        tier=tier,
        attention="eager",
        origin=model.origin,
    )
    return _made_up(variant) if options.weights == "synthetic" else variant, inspection


def _entered(catalogue: Catalogue, options: argparse.Namespace) -> Variant | None:
    name = options.model
    if is_there(user_path(name)):
        return None
    variants = list(catalogue.variants.values())
    uncut = {variant.id: variant for variant in variants} | {
        _uncut(variant): variant for variant in variants if variant.model.is_cut
    }
    if (named := uncut.get(without_gpus(name))) is not None:
        return named
    of_model = [one for one in variants if name in (one.model.id, one.model.id.partition(":")[0], one.model.hub_id)]
    sixteen = [one for one in of_model if one.quantization.value == "bf16"]
    return next(iter(sixteen or of_model), None)


def _uncut(variant: Variant) -> str:
    return f"{variant.model.id.partition(':')[0]}/{variant.id.partition('/')[2]}"


def _made_up(variant: Variant) -> Variant:
    return replace(variant, model=replace(variant.model, source=WeightSource.SYNTHETIC))


def _ladder(
    stack: ExitStack,
    one: Inspector,
    base: Variant,
    node: Node,
    device: str,
    given: Mapping[str, Any],
    options: argparse.Namespace,
) -> Ladder:
    logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plimsoll-ladder-")))
    hosts = stack.enter_context(Hosts())
    access = _access(base.model)
    return Ladder(
        base=base,
        device=device,
        room=room_of(base, node, device, one.predictions, options.ram),
        given=given,
        scratch=str(logs / "offload"),
        start=_starter(hosts, logs),
        specify=_specifier(access),
        gate=partial(gate, node=node, predictions=one.predictions, access=access),
        symptoms=one.catalogue.symptoms,
        ram=options.ram,
    )


def _access(model: Model) -> Access | None:
    if model.source is not WeightSource.HUB:
        return None
    query = query_of(model)
    return client.ask([query])[query]


def _starter(hosts: Hosts, logs: Path) -> Callable[[str], Host]:
    def start(name: str) -> Host:
        return hosts.start(name, logs / f"{name.replace('/', '_')}.log")

    return start


def _specifier(access: Access | None) -> Callable[[Variant], LoadSpec]:
    """The request to load a variant; its weights are brought here when the first rung asks."""
    placed: dict[str, tuple[str, str | None]] = {}

    def specify(variant: Variant) -> LoadSpec:
        model = variant.model
        if model.source is WeightSource.SYNTHETIC:
            return load_spec(variant, model.id, None, model.config)
        if model.id not in placed:
            placed[model.id] = _place(model, access)
        return load_spec(variant, *placed[model.id])

    return specify


def _place(model: Model, access: Access | None) -> tuple[str, str | None]:
    """The folder of a model's weights, and the commit that they are of. Raises PlimsollError where there are none."""
    if model.source is WeightSource.TRAINED:
        return str(Store().ensure(model).path), None
    if model.source is WeightSource.LOCAL:
        return str(model.path), None
    if access is None or (refusal := refusal_of(access, model)) is not None:
        raise PlimsollError(str(refusal) if access is not None else f"{model.id} has no weights")
    snapshot = client.fetch(access, cache_folder() / _NOTES)
    return snapshot.folder, snapshot.commit


def _write(
    options: argparse.Namespace, climbed: Climb, working: Attempt, catalogue: Catalogue, inspection: Inspection | None
) -> None:
    """Write the entry, and say how it is asked. Raises PlimsollError where the file cannot be written."""
    base, out = climbed.base, options.out
    command = f"plimsoll ladder {shlex.quote(options.model)}"
    parts = []
    if inspection is not None:
        choice = EntryChoices(
            id=base.model.id,
            family=base.model.family,
            tier=tier_for(base, working, catalogue),
            quantizations=(),
            max_new_tokens=base.model.generation.max_new_tokens,
            folder=out.absolute().parent,
            command=command,
        )
        parts.append(compose(inspection, choice))
    if base.model.is_cut or base.model.source is WeightSource.SYNTHETIC:
        base = replace(base, model=replace(base.model, id=base.model.id.partition(":")[0]))
    parts.append(variant_table(base, working, catalogue, command))
    write_entry(out, "\n".join(parts), options.catalogue)
    if options.json:
        return
    words = [f"--catalogue={shlex.quote(str(out))}"]
    name = shlex.quote(entry_id(base, working))
    if options.weights == "synthetic":
        words.append("--weights=synthetic")
    if options.layers is not None:
        # The id of what is cut says so behind the model's name.
        name = shlex.quote(f"{base.model.id} and {name_of(working)}")
        words.append(f"--layers={options.layers}")
    print(f"wrote {out}; next: {program_here()} -k {name} {' '.join(words)}")
