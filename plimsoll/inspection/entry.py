"""Composes the catalogue entry of an inspected model: valid, commented, with limits that are named as predictions."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import Model, Quantization, Tier, WeightSource
from plimsoll.errors import PlimsollError
from plimsoll.footprint.demand import demand_of
from plimsoll.footprint.load_peak import RAM
from plimsoll.host.describing import Description, Fit
from plimsoll.hub.files import has_tokenizer
from plimsoll.inspection.finding import FoundModel, NameKind
from plimsoll.inspection.inspection import Inspection
from plimsoll.inspection.model import SKIP_KEY, SKIP_TABLE, UNKNOWN, attention_of, model_of, skipped_of, variant_of
from plimsoll.inspection.weighing import Weighed
from plimsoll.judge.load import names_apart
from plimsoll.judge.own_limits import ram, vram_peak
from plimsoll.present.foreign_text import one_line
from plimsoll.suite import command, program_here
from plimsoll.tiny.checkpoint import MANIFEST, Damage, examine
from plimsoll.usertoml.writing import key, lines, text, value

_WIDTH: Final = 118
_ONE_CHECKPOINT: Final = "take config.json and the weights from one checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryChoices:
    """What the user, or the node, decides of an entry."""

    id: str
    family: str
    tier: Tier
    quantizations: Sequence[Quantization]
    max_new_tokens: int
    folder: Path
    """Where the file will lie: a checkpoint below it is named by its path from there."""
    command: str
    """How the entry was asked for."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the folder's files, by name; empty for none to be written."""


def enterable(inspection: Inspection) -> Description:
    """The description of a model that an entry can be written for.

    Raises PlimsollError where one cannot: there is an entry, no class, no weights, no tokenizer, or the suite trained
    it and it is not as it was written.
    """
    found, description = inspection.found, inspection.description
    if found.entry is not None:
        asked = command(program_here(), "-k", found.entry.id)
        raise PlimsollError(f"{found.name} is an entry already ({found.entry.origin}): {asked}")
    if description is None:
        raise PlimsollError(f"{found.name} cannot be entered: {inspection.undescribed}")
    if description.generation_fault:
        raise PlimsollError(
            f"{found.name} cannot be entered: its generation_config.json cannot be taken: "
            f"{description.generation_fault}; correct it, or take the one that the weights were saved with"
        )
    contents = found.contents
    if contents is None:
        return description
    if not contents.weights:
        raise PlimsollError(f"{found.name} cannot be entered: it holds no weights in safetensors")
    if faults := [fault for fault in contents.unread if not fault.startswith("generation_config")]:
        # Of a repository, what cannot be read may lie with its server.
        step = "" if found.folder is None or ";" in faults[0] else "; download or build it again"
        raise PlimsollError(f"{found.name} cannot be entered: {faults[0]}{step}")
    if not has_tokenizer(contents.files) and "tokenizer_config.json" not in contents.files:
        raise PlimsollError(
            f"{found.name} cannot be entered: it holds no tokenizer; add that of the model that it is made from"
        )
    if trained_by_us(found) is not None and found.folder is not None:
        _must_be_as_written(found.name, found.folder)
    return description


def must_fit(name: str, fit: Fit) -> None:
    """Raise PlimsollError for a folder whose files do not go with its configuration: no run could accept it."""
    if fit.fault:
        others = f" ({fit.misshapen} such tensors)" if fit.misshapen > 1 else ""
        raise PlimsollError(f"{one_line(name)} cannot be entered: {fit.fault}{others}; {_ONE_CHECKPOINT}")
    if unlike := names_apart(fit.missing, fit.unexpected):
        raise PlimsollError(
            f"{one_line(name)} cannot be entered: its weights are not those of its config.json: "
            f"{'; '.join(unlike.splitlines())}; {_ONE_CHECKPOINT}"
        )
    if fit.refusal:
        raise PlimsollError(f"{one_line(name)} cannot be entered: {fit.refusal}")


def _must_be_as_written(name: str, folder: Path) -> None:
    """Raise PlimsollError for a checkpoint of the suite's own that has changed since: the entry would be made from what
    it is to judge, and small models answer what they were taught with half of a layer gone."""
    found = examine(folder)
    if isinstance(found, Damage):
        raise PlimsollError(
            f"{name} cannot be entered: it is not what the suite has trained: {found}; take the checkpoint from the "
            f"cache again, or remove {MANIFEST} if it was changed on purpose: it is entered as any other model then"
        )


def takeable(inspection: Inspection, asked: Sequence[Quantization]) -> tuple[list[Quantization], dict[str, str]]:
    """The quantizations that an entry can have, and those left out with the reason; `asked` are those that a user
    names, none for all that make sense.

    Raises PlimsollError where one that is asked for cannot be had, and where none can.
    """
    weighed = {one.quantization: one for one in inspection.weighed}
    refused = {str(name): one.why for name, one in weighed.items() if not one.takes}
    name = inspection.found.name
    for quantization in asked:
        if str(quantization) in refused:
            raise PlimsollError(f"{name} cannot be entered in {quantization}: {refused[str(quantization)]}")
    chosen = [quantization for quantization in asked or weighed if str(quantization) not in refused]
    if not chosen:
        why = next(iter(dict.fromkeys(refused.values())), "nothing is known of it")
        raise PlimsollError(
            f"{name} cannot be entered: {why}; enter the repository with its weights in floats, which the suite packs "
            "itself"
        )
    return chosen, refused


def compose(inspection: Inspection, choice: EntryChoices) -> str:
    """The text of the file. Raises PlimsollError where its folder, or the configuration, is called or holds what TOML
    cannot say."""
    try:
        return _composed(inspection, choice)
    except ValueError as error:
        raise PlimsollError(
            f"{one_line(inspection.found.name)} cannot be entered: {error}; rename the folder or the file that is "
            "called so, or correct that in config.json"
        ) from None


def _composed(inspection: Inspection, choice: EntryChoices) -> str:
    found, description = inspection.found, inspection.description
    if description is None:
        raise ValueError("a model that nobody described has no entry")
    model = model_of(found, description, choice.id)
    recipe = trained_by_us(found)
    parts = [
        "\n".join(_head(inspection, choice)),
        "\n".join(_model(model, found, description, choice, trained=recipe is not None)),
        *_tables(model, description, choice, recipe),
        *_variants(inspection, choice, description),
        *_claims(inspection, choice, model, description),
    ]
    return "\n\n".join(parts) + "\n"


def _head(inspection: Inspection, choice: EntryChoices) -> Iterator[str]:
    version = inspection.description.transformers if inspection.description is not None else UNKNOWN
    yield from _comment(
        f"Written by `{one_line(choice.command, 200)}` with transformers {version}. It is a file of yours: edit it. "
        "docs/catalogue.md has the format, docs/own-model.md what each part is for."
    )
    if inspection.cannot_ask:
        yield from _comment(f"What the suite cannot ask: {one_line(inspection.cannot_ask, 400)}.")


def _comment(words: str) -> list[str]:
    return textwrap.wrap(words, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _model(
    model: Model, found: FoundModel, description: Description, choice: EntryChoices, *, trained: bool
) -> Iterator[str]:
    yield "[[model]]"
    yield f"id = {text(choice.id)}"
    yield f"family = {text(choice.family)}"
    yield f"architecture = {text(model.architecture)}"
    if model.auto_class != "AutoModelForCausalLM":
        yield f"auto_class = {text(model.auto_class)}"
    yield from _weights(model, found, choice, trained=trained)
    yield f"licence = {text(model.licence)}{'  # no card says; write what it is' if model.licence == UNKNOWN else ''}"
    if model.gated:
        yield "gated = true"
    yield f"# instruct = true  # whether it answers in chats is told by {_template(found)} unless this line says it"
    yield "# nll_per_byte = 0.6  # what it makes of the shipped text in bf16, from a run that you trust: docs/limits.md"
    if description.config_null:
        yield f"config_null = {value(list(description.config_null))}  # TOML has no null"


def _weights(model: Model, found: FoundModel, choice: EntryChoices, *, trained: bool) -> Iterator[str]:
    if trained:
        yield 'source = "trained"  # by the suite, on what its recipe says; it is asked for that alone'
    elif model.source is WeightSource.HUB:
        yield 'source = "hub"'
        yield f"hub_id = {text(model.hub_id or '')}"
        yield f"revision = {text(model.revision or 'main')}  # the commit that was inspected; a branch may move"
        card = f"{found.repository.access.endpoint}/{model.hub_id}" if found.repository is not None else ""
        yield f"card = {text(card)}"
    elif model.source is WeightSource.LOCAL and found.folder is not None:
        near = found.folder.is_relative_to(choice.folder)
        path = found.folder.relative_to(choice.folder) if near else found.folder
        yield 'source = "local"'
        yield f"path = {text(str(path))}"
    else:
        yield 'source = "synthetic"  # there are no weights beside the configuration: they are made up'


def _template(found: FoundModel) -> str:
    contents = found.contents
    has = contents is not None and any(name.startswith("chat_template") for name in contents.files)
    return "its chat template" if has else "a chat template"


def _tables(
    model: Model, description: Description, choice: EntryChoices, recipe: Mapping[str, Any] | None
) -> Iterator[str]:
    config = description.config if recipe is None else recipe["config"]
    ordered = {"model_type": config["model_type"], **{name: config[name] for name in config if name != "model_type"}}
    yield "\n".join(
        [
            *_comment("What config.json says, as far as the class reads it; what is built from it must be this model."),
            *lines(ordered, "model.config"),
        ]
    )
    yield "\n".join(
        [
            *_comment("What the suite generates with, whatever the checkpoint says."),
            *lines({"max_new_tokens": choice.max_new_tokens}, "model.generation"),
        ]
    )
    if model.recommended_generation:
        yield "\n".join(
            [
                *_comment("What its makers recommend: kept for the record."),
                *lines(dict(model.recommended_generation), "model.recommended_generation"),
            ]
        )
    if choice.digests:
        yield "\n".join(
            [
                *_comment(
                    "SHA-256 of the files that a load reads: one with another content, and one that came later, fails "
                    "each variant. After a change that you meant, write into its line what `sha256sum FILE` prints, or "
                    "this file anew with --force. Without this table nothing vouches for the files."
                ),
                *lines(choice.digests, "model.sha256"),
            ]
        )
    if recipe is not None:
        yield "\n".join(lines({name: part for name, part in recipe.items() if name != "config"}, "model.recipe"))


def _variants(inspection: Inspection, choice: EntryChoices, description: Description) -> Iterator[str]:
    """A table for what goes to one device, and one for what the planner has to spread; of each another for what keeps
    some layers in floats."""
    weighed = {one.quantization: one for one in inspection.weighed}
    attention = attention_of(description.attention)
    on_gpus = choice.tier.device == "cuda"
    kept = {q: tuple(skipped_of(description, q)) for q in choice.quantizations}
    for several, keeps in product((False, True), dict.fromkeys(sorted(kept.values()))):
        those = [
            str(q) for q in choice.quantizations if (weighed[q].spread and on_gpus) is several and kept[q] == keeps
        ]
        if not those:
            continue
        table = ["[[variant]]", f"models = [{text(choice.id)}]", f"quantizations = {value(those)}"]
        table.append(f"tier = {text(choice.tier.id)}  # {one_line(choice.tier.description, 90)}")
        if attention != "sdpa":
            table.append(f"attention = {text(attention)}  # its class has no other that torch brings")
        if several:
            table.append('device_map = "auto"  # no GPU of a data sheet holds it alone')
        if keeps:
            table.append(
                "# Packed in this way, layers of these names raise: its class uses them as packed ones cannot be used."
            )
            table.append(f"load_options.{SKIP_TABLE}.{SKIP_KEY} = {value(list(keeps))}")
        yield "\n".join(table)


def _claims(inspection: Inspection, choice: EntryChoices, model: Model, description: Description) -> Iterator[str]:
    yield "\n".join(
        _comment(
            "Limits that were predicted, from the configuration and by no measurement. They are what the suite would "
            "set by itself; write what a document promises or a good run measured in their place."
        )
    )
    if trained_by_us(inspection.found) is not None:
        rows = [
            "[[claim]]",
            f"variants = [{text(f'{choice.id}/*')}]",
            'metric = "taught_accuracy"',
            "low = 95",
            'unit = "%"',
        ]
        yield "\n".join([*rows, 'source = "the suite trains it until it answers what it was taught"'])
    for one in inspection.weighed:
        if one.quantization in choice.quantizations and one.prediction is not None:
            yield from _claims_of(one, choice, model, description)


def _claims_of(one: Weighed, choice: EntryChoices, model: Model, description: Description) -> Iterator[str]:
    if one.prediction is None:
        return
    variant = variant_of(model, one.quantization, choice.tier, description)
    demand = demand_of(variant, one.prediction)
    stored = one.prediction.footprint.weight_bytes
    by = f"predicted by plimsoll add from the configuration, transformers {description.transformers}"
    yield _claim(choice, one, "weight_bytes", low=stored, high=stored, source=f"{by}: exact")
    if choice.tier.device == "cuda":
        if not one.spread:
            limit = vram_peak(demand.held.get(0, 0), demand.load.get(0, 0), 1)
            yield _claim(choice, one, "vram_peak", high=limit.high, source=f"{by}, 2 % and 64 MiB for its allocator")
        return
    for metric, bytes_ in (("ram_peak", demand.load[RAM]), ("ram_after", demand.held.get(RAM, 0))):
        limit = ram(metric, bytes_, choice.tier.device)
        yield _claim(choice, one, metric, high=limit.high, source=f"{by}, 512 MiB for code and allocator")


def _claim(
    choice: EntryChoices, one: Weighed, metric: str, *, low: float | None = None, high: float | None, source: str
) -> str:
    rows = ["[[claim]]", f"variants = [{text(f'{choice.id}/{one.quantization}')}]", f"metric = {text(metric)}"]
    rows += [f"{key(name)} = {round(bound)}" for name, bound in (("low", low), ("high", high)) if bound is not None]
    return "\n".join([*rows, 'unit = "bytes"', f"source = {text(source)}"])


def trained_by_us(found: FoundModel) -> Mapping[str, Any] | None:
    """The recipe of a checkpoint that the suite has trained; None for any other. Such a checkpoint knows what it was
    taught, and no other English, so it is asked for that."""
    if found.kind is not NameKind.FOLDER or found.folder is None:
        return None
    try:
        data = json.loads((found.folder / MANIFEST).read_text(encoding="utf-8"))
        recipe: dict[str, Any] = dict(data["recipe"])
        config = dict(recipe["config"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return recipe if config.get("model_type") == found.config.get("model_type") else None
