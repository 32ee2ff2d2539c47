"""Decides which differences between an entry's configuration and a checkpoint's config.json make it another model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plimsoll.host.protocol import ConfigDifference

_HARMLESS: Final = frozenset(
    {
        "_attn_implementation",
        "_experts_implementation",
        "_name_or_path",
        "architectures",
        "auto_map",
        "chunk_size_feed_forward",
        "dtype",
        "id2label",
        "initializer_factor",
        "initializer_range",
        "is_decoder",
        "is_encoder_decoder",
        "label2id",
        "max_window_layers",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "pretraining_tp",
        "problem_type",
        "quantization_config",
        "return_dict",
        "router_aux_loss_coef",
        "router_jitter_noise",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""Keys that do not change what a loaded model computes: training, bookkeeping, and what the suite sets itself. Packing
is judged by what is stored."""
_TOKENS: Final = ("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id")


def is_other_model(difference: ConfigDifference) -> bool:
    """True for a key that makes the checkpoint another model than its entry says. A key that the entry leaves to the
    checkpoint cannot differ."""
    return difference.stated and changes_the_model(difference)


def changes_the_model(difference: ConfigDifference) -> bool:
    """True for a key that changes what a loaded model computes, or where it stops."""
    *parts, key = difference.key.split(".")
    if key in _TOKENS:
        return key == "eos_token_id"
    if _HARMLESS & {*parts, key}:
        return False
    return not key.endswith(("_dropout", "_pdrop")) and not key.startswith("dropout")


def in_words(differences: Sequence[ConfigDifference]) -> str:
    """`rope_parameters.rope_theta is 10000.0 in config.json, 100000.0 in the entry; ...`."""
    return "; ".join(
        f"{each.key} is {each.checkpoint} in config.json, {each.entry} "
        + ("in the entry" if each.stated else "by default, since the entry does not name it")
        for each in differences
    )
