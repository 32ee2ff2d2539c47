"""Which files of a repository a load needs.

Repositories hold the same weights several times over: as safetensors, as pickles, in the makers' own format
(`original/`, `consolidated.safetensors`), for other runtimes. Fetching all of it takes two to four times the disk and
the time, and a pickle that is not there cannot run code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

INDEX: Final = "model.safetensors.index.json"
WEIGHTS: Final = "model.safetensors"
PICKLE_INDEX: Final = "pytorch_model.bin.index.json"
PICKLE_WEIGHTS: Final = "pytorch_model.bin"

_SETTINGS: Final = re.compile(
    r"""
    (?!.*\.index\.json$) [^/]+\.json            # config, generation_config, tokenizer, tokenizer_config, vocab, tekken
    | [^/]+\.(model|jinja|tiktoken|spm)         # sentencepiece and others, the chat template
    | (vocab|merges|spm_vocab|added_tokens)\.txt
    | additional_chat_templates/[^/]+\.jinja
    """,
    re.VERBOSE,
)
_SHARD: Final = re.compile(r"(?!consolidated)[^/]+-\d+-of-\d+\.safetensors")
_PICKLE_SHARD: Final = re.compile(r"pytorch_model-\d+-of-\d+\.bin")


def needed_files(paths: Iterable[str], *, remote_code: bool = False, allow_pickle: bool = False) -> tuple[str, ...]:
    """Of the paths in a repository those that a load needs, sorted.

    Without weights in safetensors the pickled ones, where `allow_pickle`; else none, which is for the caller to notice.
    """
    names = set(paths)
    chosen = {name for name in names if _SETTINGS.fullmatch(name)}
    chosen |= {name for name in names if remote_code and name.endswith(".py")}
    weights = _weights(names, INDEX, WEIGHTS, _SHARD)
    if not weights and allow_pickle:
        weights = _weights(names, PICKLE_INDEX, PICKLE_WEIGHTS, _PICKLE_SHARD)
    return tuple(sorted(chosen | weights))


def has_weights(paths: Iterable[str]) -> bool:
    """True where any of the files holds weights."""
    return any(path.endswith((".safetensors", ".bin")) for path in paths)


def _weights(names: set[str], index: str, whole: str, shard: re.Pattern[str]) -> set[str]:
    # transformers prefers the whole file where both are there.
    if whole in names:
        return {whole}
    return {index, *filter(shard.fullmatch, names)} if index in names else set()
