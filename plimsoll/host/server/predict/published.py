"""The names that a checkpoint has for a model's parameters, which say in what order they are read.

transformers renames on loading: Qwen2.5-Omni's audio tower is `thinker.audio_tower` in files and
`thinker.model.audio_tower` in the model. Files are read in the natural order of their own names, so the first comes
before `thinker.lm_head` and is there when that is packed, which decides the load's peak.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import PrefixChange, WeightConverter, WeightRenaming


def published_names(model: nn.Module) -> Mapping[str, str]:
    """For each parameter that files call otherwise, their name for it: by the reverse of what loading does to names, as
    `save_pretrained` does it. Of tensors that are joined, the first."""
    if not isinstance(model, PreTrainedModel):
        return {}
    # A prefix is told from the files themselves, and here are none.
    conversions = [c for c in get_model_conversion_mapping(model, add_legacy=False) if not isinstance(c, PrefixChange)]
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
    method, which releases 5.10 to 5.23 share; the functions around it have come and gone."""
    for converter in converters:
        joined, pattern = converter.rename_source_key(name)
        if pattern is not None:
            name = joined
            break
    for renaming in renamings:
        name, _ = renaming.rename_source_key(name)
    return name
