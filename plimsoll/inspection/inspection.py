"""Inspects a model by its name before it is loaded: finds it, has a host describe and predict it, and weighs it.

What is known is put together as chapters of facts, weights, levers, and what cannot be asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from plimsoll.catalogue.entries import Catalogue, Quantization, Tier
from plimsoll.errors import PlimsollError
from plimsoll.extras import why_missing
from plimsoll.host import specify
from plimsoll.host.describing import Describe, Description, Fit, TryFolder
from plimsoll.host.failures import HostFailure
from plimsoll.inspection.architecture import attention_facts, class_facts, parameter_facts
from plimsoll.inspection.facts import Chapter, source_facts, use_facts
from plimsoll.inspection.finding import Describe as AskHub
from plimsoll.inspection.finding import FoundModel, NameKind, find
from plimsoll.inspection.model import model_of, variant_of
from plimsoll.inspection.weighing import SHOWN, Lever, Scales, Weighed, levers
from plimsoll.plan.estimates import DISK_RATE, LINK_RATE, AssumedSpeeds
from plimsoll.plan.planning import Planner
from plimsoll.plan.predictions import Asker, Predictions

_DESCRIBERS = ("torch", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All that is known of one model."""

    found: FoundModel
    description: Description | None
    """None where this environment cannot build the class, and `undescribed` says why."""
    undescribed: str
    chapters: Sequence[Chapter]
    weighed: Sequence[Weighed]
    levers: Sequence[Lever]
    cannot_ask: str
    """What the suite cannot ask of it, in one line; empty where it can ask everything."""


def inspection_of(
    found: FoundModel,
    description: Description | None,
    undescribed: str,
    weighed: Sequence[Weighed],
    levers: Sequence[Lever],
) -> Inspection:
    """The inspection of a found model, with what a host said of it."""
    bf16 = next((one for one in weighed if one.quantization is Quantization.BF16), None)
    chapters = (
        Chapter(key="source", title="where it comes from", facts=tuple(source_facts(found))),
        Chapter(key="class", title="what it is", facts=tuple(class_facts(found, description, undescribed))),
        Chapter(key="parameters", title="parameters", facts=tuple(parameter_facts(found, description, undescribed))),
        Chapter(
            key="attention",
            title="attention and context",
            facts=tuple(attention_facts(found, description, bf16, undescribed)),
        ),
        Chapter(key="use", title="how its makers use it", facts=tuple(use_facts(found))),
    )
    return Inspection(
        found=found,
        description=description,
        undescribed=undescribed,
        chapters=chapters,
        weighed=weighed,
        levers=levers,
        cannot_ask=cannot_ask(found, description, bf16),
    )


def cannot_ask(found: FoundModel, description: Description | None, bf16: Weighed | None) -> str:
    """What the suite cannot ask of a model, and what becomes of its checks; empty where it can ask all."""
    if description is None:
        return ""
    name = description.architecture
    if description.encoder_decoder:
        return f"{name} is an encoder with a decoder: all checks are skipped (architecture), so a run is INCOMPLETE"
    if not description.generates:
        return f"{name} generates no text: all checks are skipped (architecture), so a run is INCOMPLETE"
    if description.scheme:
        return "its weights are packed already, so it is not compared with bf16"
    if found.kind is NameKind.CONFIG:
        return "there are no weights, so they are made up: memory and loading are asked, answers are not"
    if bf16 is not None and bf16.prediction is not None and bf16.prediction.unpredicted:
        return (
            f"cache and activations are not predicted ({bf16.prediction.unpredicted}), so room for them is not checked"
        )
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """What inspecting needs: the catalogue, the way to the Hub, and hosts that predict."""

    catalogue: Catalogue
    ask_hub: AskHub
    ask_host: Asker
    predictions: Predictions

    def inspect(self, name: str, revision: str | None, quantizations: Sequence[Quantization] = SHOWN) -> Inspection:
        """All that is known of a model. Raises PlimsollError where there is no such model, or nothing to inspect."""
        found = find(name, revision, self.catalogue, self.ask_hub)
        description, why = self._described(found)
        weighed = [] if description is None else self._weighed(found, description, quantizations)
        context = None if description is None else description.shape.context
        return inspection_of(found, description, why, weighed, list(levers(weighed, context)))

    def fit(self, inspection: Inspection, quantization: Quantization) -> Fit:
        """How the files of a folder go with its configuration, in a quantization that it can be loaded in; nothing of
        what has no folder, and where no host could try it. Raises PlimsollError where the weights cannot be found."""
        found, description = inspection.found, inspection.description
        if found.kind is not NameKind.FOLDER or description is None:
            return Fit()
        variant = variant_of(model_of(found, description, "model"), quantization, gpu_tier(self.catalogue), description)
        try:
            return self.ask_host(TryFolder(spec=specify.load_spec(variant, str(found.folder))))
        except HostFailure as failure:
            if isinstance(failure.__cause__, PlimsollError):
                raise failure.__cause__ from None
            return Fit()

    def _described(self, found: FoundModel) -> tuple[Description | None, str]:
        """What a host says of the configuration, or why none can."""
        if (missing := why_missing("models", "building the class", _DESCRIBERS)) is not None:
            return None, missing
        entry = found.entry
        request = Describe(
            config_json=json.dumps(found.config),
            architecture="" if entry is None else entry.architecture,
            auto_class="" if entry is None else entry.auto_class,
            generation_json=json.dumps(dict(found.settings("generation_config.json"))),
        )
        try:
            return self.ask_host(request), ""
        except PlimsollError as error:  # no host can be started
            return None, str(error)
        except HostFailure as failure:
            if isinstance(failure.__cause__, PlimsollError):
                return None, str(failure.__cause__)
            raise PlimsollError(f"{found.name}: the host that builds its class failed:\n{failure}") from failure

    def _weighed(
        self, found: FoundModel, description: Description, quantizations: Sequence[Quantization]
    ) -> list[Weighed]:
        model = model_of(found, description, "model")
        planner = Planner(self.predictions, AssumedSpeeds(disk=DISK_RATE, link=LINK_RATE), 1)
        scales = Scales(
            self.predictions, planner, list(self.catalogue.profiles.values()), gpu_tier(self.catalogue), description
        )
        return [scales.weigh(model, quantization) for quantization in quantizations]


def gpu_tier(catalogue: Catalogue) -> Tier:
    """A tier of GPUs, whichever: what a model takes does not depend on it. Raises PlimsollError where there is none."""
    tier = next((tier for tier in catalogue.tiers.values() if tier.device == "cuda"), None)
    if tier is None:
        raise PlimsollError(
            "the catalogue has no tier of GPUs: its shipped files are not whole; install plimsoll again"
        )
    return tier
