"""Inspects a model by its name: finds it, lets a host describe and predict it, and weighs it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from plimsoll.catalogue.entries import Catalogue, Quantization, Tier
from plimsoll.errors import PlimsollError
from plimsoll.extras import why_missing
from plimsoll.host.describing import Describe, Description
from plimsoll.host.failures import HostFailure
from plimsoll.inspection.finding import Describe as AskHub
from plimsoll.inspection.finding import FoundModel, find
from plimsoll.inspection.inspection import Inspection, inspection_of
from plimsoll.inspection.model import model_of
from plimsoll.inspection.weighing import SHOWN, Scales, Weighed, levers
from plimsoll.plan.estimates import DISK_RATE, LINK_RATE, AssumedSpeeds
from plimsoll.plan.planning import Planner
from plimsoll.plan.predictions import Asker, Predictions

_DESCRIBERS = ("torch", "transformers")


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

    def _described(self, found: FoundModel) -> tuple[Description | None, str]:
        """What a host says of the configuration, or why none can."""
        if (missing := why_missing("models", "building the class", _DESCRIBERS)) is not None:
            return None, missing
        entry = found.entry
        request = Describe(
            config_json=json.dumps(found.config),
            architecture="" if entry is None else entry.architecture,
            auto_class="" if entry is None else entry.auto_class,
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
