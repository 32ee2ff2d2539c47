"""Writes the settings of a rung that worked as an entry of the catalogue."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from plimsoll.catalogue.entries import Catalogue, Tier, Variant
from plimsoll.ladder.attempt import Attempt
from plimsoll.ladder.rungs import variant_on
from plimsoll.usertoml.writing import text, value

_WIDTH: Final = 118
_RECORDED: Final = ("cpu", "tiny")
"""Tiers of the processor, the first that there is."""


def entry_id(base: Variant, attempt: Attempt) -> str:
    """The id of the variant that is written: `tiny-phi/ladder-bf16`."""
    return f"{base.model.id}/{name_of(attempt)}"


def name_of(attempt: Attempt) -> str:
    """The name of the variant within its model."""
    return f"ladder-{attempt.rung.id}"


def variant_table(base: Variant, attempt: Attempt, catalogue: Catalogue, command: str) -> str:
    """The `[[variant]]` of a rung that worked, and nothing of its model. Raises ValueError for what TOML cannot say."""
    variant = variant_on(base, attempt.rung)
    tier = tier_for(base, attempt, catalogue)
    rows = [
        *_comment(
            f"Written by `{command}`: the settings of its rung {attempt.rung.id}, {attempt.rung.title}, which loaded "
            f"and gave {_tokens(attempt)} tokens. It is a file of yours: edit it. docs/ladder.md has the rungs."
        ),
        "[[variant]]",
        f"models = [{text(base.model.id)}]",
        f"quantizations = [{text(variant.quantization.value)}]",
        f"tier = {text(tier.id)}",
        f"name = {text(name_of(attempt))}",
        f"attention = {text(variant.attention)}",
    ]
    if variant.device_map is not None and not _is_plain(variant, tier):
        device_map = variant.device_map
        shown = dict(device_map) if isinstance(device_map, Mapping) else device_map
        rows.append(f"device_map = {value(shown)}")
    for key, table in (
        ("load_options", _kept(variant.load_options)),
        ("config", variant.config),
        ("tokenizer", variant.tokenizer),
    ):
        if table:
            rows.append(f"{key} = {value(dict(table))}")
    return "\n".join(rows) + "\n"


def _kept(options: Mapping[str, Any]) -> dict[str, Any]:
    """Load options as a file has them: a folder for what goes to a disk is below where the run is started."""
    return {key: "offload" if key == "offload_folder" else option for key, option in options.items()}


def _is_plain(variant: Variant, tier: Tier) -> bool:
    """True where the device map says what the tier does."""
    return variant.device_map == tier.device


def tier_for(base: Variant, attempt: Attempt, catalogue: Catalogue) -> Tier:
    """The entry's own tier where that has the rung's device, else one of the processor."""
    if base.tier.device == attempt.rung.device and base.tier.instead_of is None:
        return base.tier
    found = next((catalogue.tiers[name] for name in _RECORDED if name in catalogue.tiers), None)
    on_device = (tier for tier in catalogue.tiers.values() if tier.device == attempt.rung.device)
    if found is not None and found.device == attempt.rung.device:
        return found
    return next(on_device, replace(base.tier, device=attempt.rung.device))


def _tokens(attempt: Attempt) -> int:
    return 0 if attempt.generated is None else len(attempt.generated.completions[0].token_ids)


def _comment(words: str) -> list[str]:
    plain = words.replace(os.linesep, " ")
    return textwrap.wrap(plain, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
