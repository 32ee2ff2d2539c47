"""Makes the request to load a variant: every argument of `from_pretrained`, from the entry and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from plimsoll.catalogue.entries import Variant
from plimsoll.catalogue.settings import merged_config
from plimsoll.host.protocol import LoadSpec

_DEVICE: Final = {"cpu": "cpu", "cuda": "cuda:0"}


def load_spec(
    variant: Variant, folder: str, commit: str | None = None, synthetic_config: Mapping[str, Any] | None = None
) -> LoadSpec:
    """The arguments of `from_pretrained` to load a variant from a folder, a Hub snapshot or the user's own; for
    synthetic weights, which have only a configuration, `folder` is the model's id."""
    model = variant.model
    return LoadSpec(
        checkpoint=folder,
        revision=commit,
        auto_class=model.auto_class,
        architecture=model.architecture,
        quantization=variant.quantization,
        device=_DEVICE[variant.tier.device],
        device_map=variant.device_map,
        attention=variant.attention,
        generation=model.generation,
        load_options=variant.load_options,
        config=variant.config,
        tokenizer=variant.tokenizer,
        trust_remote_code=model.trust_remote_code,
        allow_pickle=model.allow_pickle is not None,
        synthetic_config=None if synthetic_config is None else merged_config(synthetic_config, variant.config),
    )
