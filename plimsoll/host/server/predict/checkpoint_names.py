"""Finds the names that a checkpoint has for a model's parameters, which decide the order of reading.

transformers renames on loading: Qwen2.5-Omni's audio tower is `thinker.audio_tower` in files and
`thinker.model.audio_tower` in the model. Files are read in the natural order of their own names, so the first comes
before `thinker.lm_head` and is there when that is packed, which decides the load's peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import nn
from transformers import PreTrainedModel, core_model_loading
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming

_PREFIX_CHANGE: Final[Any] = getattr(core_model_loading, "PrefixChange", ())
"""The conversion that adds or removes a prefix, as the files have one or not; releases before 5.6 have none."""


def published_names(model: nn.Module) -> Mapping[str, str]:
    """For each parameter that files call otherwise, their name for it: by the reverse of what loading does to names, as
    `save_pretrained` does it. Of tensors that are joined, the first."""
    if not isinstance(model, PreTrainedModel):
        return {}
    # A prefix is told from the files themselves, and here are none.
    found = get_model_conversion_mapping(model, add_legacy=False)
    conversions = [conversion for conversion in found if not isinstance(conversion, _PREFIX_CHANGE)]
    back = [conversion.reverse_transform() for conversion in reversed(conversions)]
    converters = [conversion for conversion in back if isinstance(conversion, WeightConverter)]
    renamings = [conversion for conversion in back if isinstance(conversion, WeightRenaming)]
    names = {}
    for name, _ in model.named_parameters():
        published = _renamed(name, converters, renamings).replace("*", "0")
        if published != name:
            names[name] = published
    return names


def _renamed(name: str, converters: list[WeightConverter], renamings: list[WeightRenaming]) -> str:
    """The name after the first conversion that knows it, and after all renamings in turn. By the conversions' own
    method, which all releases from 5.0 on have; the functions around it have come and gone."""
    for converter in converters:
        joined, pattern = converter.rename_source_key(name)
        if pattern is not None:
            name = joined
            break
    for renaming in renamings:
        name, _ = renaming.rename_source_key(name)
    return name
