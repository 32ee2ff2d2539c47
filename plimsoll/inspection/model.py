"""Makes the entry that a found model would have, as values from which predictions, plans and files are made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import Generation, Model, Origin, Quantization, Tier, Variant, WeightSource
from plimsoll.host.describing import Description
from plimsoll.hub.settings_files import CONFIG
from plimsoll.inspection.finding import FoundModel, NameKind

ORIGIN: Final = Origin(file=Path("the command"), key="model")
_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_ID: Final = 60
_NO_ADVICE: Final = frozenset(
    {
        "_from_model_config",
        "bos_token_id",
        "cache_implementation",
        "decoder_start_token_id",
        "eos_token_id",
        "output_attentions",
        "output_hidden_states",
        "pad_token_id",
        "return_dict_in_generate",
        "transformers_version",
        "use_cache",
    }
)
"""Keys of generation_config.json that are no advice on how to ask."""
_MOST_ITEMS: Final = 8
SKIP_TABLE: Final = "quantization_config"
SKIP_KEY: Final = "llm_int8_skip_modules"
UNKNOWN: Final = "unknown"


def model_of(found: FoundModel, description: Description, id_: str) -> Model:
    """The model's entry. The weights' source follows from what was found: a config.json alone has none."""
    if found.entry is not None:
        return found.entry
    repository = found.repository
    sources = {NameKind.HUB: WeightSource.HUB, NameKind.FOLDER: WeightSource.LOCAL}
    return Model(
        id=id_,
        family="other",
        auto_class=description.auto_class,
        architecture=description.architecture,
        config={**description.config, **dict.fromkeys(description.config_null)},
        source=sources.get(found.kind, WeightSource.SYNTHETIC),
        hub_id=None if repository is None else repository.access.repository,
        revision=None if repository is None else repository.access.commit,
        path=found.folder,
        generation=Generation(max_new_tokens=32),
        recommended_generation=advice(found),
        licence=licence(found),
        gated=repository is not None and repository.gated,
        origin=ORIGIN,
    )


def variant_of(model: Model, quantization: Quantization, tier: Tier, description: Description) -> Variant:
    """One way to load it: with the attention that its class supports, and with those layers in floats that it cannot
    have packed."""
    skipped = skipped_of(description, quantization)
    return Variant(
        id=f"{model.id}/{quantization}",
        model=model,
        quantization=quantization,
        tier=tier,
        attention=attention_of(description.attention),
        load_options={SKIP_TABLE: {SKIP_KEY: skipped}} if skipped else {},
        origin=ORIGIN,
    )


def skipped_of(description: Description, quantization: Quantization) -> list[str]:
    """The layers that an entry must name to be kept in floats; empty where the quantization does well without."""
    return list(description.skipped.get(str(quantization), ()))


def attention_of(supported: Sequence[str]) -> str:
    """The implementation to ask for: torch's own where the class supports it, else the class's own."""
    return "sdpa" if "sdpa" in supported else "eager"


def spread(variant: Variant) -> Variant:
    """The same over all GPUs of a node, which part goes where left to the planner."""
    return replace(variant, device_map="auto")


def advice(found: FoundModel) -> dict[str, Any]:
    """The settings that the makers recommend for generation; empty where they say nothing."""
    if found.entry is not None:
        return dict(found.entry.recommended_generation)
    settings = found.settings("generation_config.json")
    return {key: value for key, value in settings.items() if key not in _NO_ADVICE and _is_short(value)}


def _is_short(value: object) -> bool:
    """True for a scalar, and for a list of few: texts to stop at, and no table of suppressed tokens."""
    if isinstance(value, list):
        return 0 < len(value) <= _MOST_ITEMS and all(isinstance(item, (int, float, str)) for item in value)
    return isinstance(value, (bool, int, float, str))


def licence(found: FoundModel) -> str:
    """The licence by its short name, as the card or the entry says."""
    if found.entry is not None:
        return found.entry.licence
    card = {} if found.repository is None else found.repository.card
    told = card.get("license_name") if card.get("license") in (None, "other") else card["license"]
    told = told or card.get("license") or _front_matter(found).get("license")
    return told if isinstance(told, str) and told.strip() else UNKNOWN


def _front_matter(found: FoundModel) -> Mapping[str, str]:
    """The plain lines of a card's metadata, in a folder."""
    if found.folder is None or found.repository is not None:
        return {}
    try:
        text = (found.folder / "README.md").read_text(encoding="utf-8")[:20_000]
    except (OSError, UnicodeDecodeError):
        return {}
    head = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    lines = (re.fullmatch(r"(\w+):\s*(\S.*)", line) for line in (head[1].splitlines() if head else ()))
    return {match[1]: match[2].strip("'\" ") for match in lines if match is not None}


def id_of(found: FoundModel, description: Description, taken: Iterable[str]) -> str:
    """An id by which `-k` selects the model and nothing else: the name of the repository or folder, or the type and
    size where that name stands in one of the `taken`, the names of checks, marks and other variants."""
    path = found.folder or Path(found.name).absolute()
    named = path.parent.name if path.name == CONFIG else path.name
    told = named if found.repository is None else found.repository.access.repository
    name = _NOT_IN_IDS.sub("-", told.rpartition("/")[2].removesuffix(".json")).strip("-._").lower()[:_LONGEST_ID]
    sized = f"{_NOT_IN_IDS.sub('-', description.model_type)}-{_size(description.counts.total)}"
    others = [other.lower() for other in taken]
    if len(name) > 2 and not any(name in other for other in others):
        return name
    joined = f"{name}-{sized}".strip("-")
    return next((one for one in (sized, joined) if not any(one in other for other in others)), f"{joined}-own")


def _size(count: int) -> str:
    """`135m`, `7.2b`."""
    for letter, scale in (("b", 10**9), ("m", 10**6), ("k", 10**3)):
        if count >= scale:
            return f"{count / scale:.3g}{letter}"
    return str(count)
