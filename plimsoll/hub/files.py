"""Chooses the files of a repository that a load needs.

Repositories hold the same weights several times over: as safetensors, as pickles, in the makers' own format
(`original/`, `consolidated.safetensors`), for other runtimes. Fetching everything takes two to four times the disk and
the time, and a pickle that was not fetched cannot run code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

INDEX: Final = "model.safetensors.index.json"
WEIGHTS: Final = "model.safetensors"
PICKLE_INDEX: Final = "pytorch_model.bin.index.json"
PICKLE_WEIGHTS: Final = "pytorch_model.bin"

ADAPTER: Final = "adapter_config.json"
LEFT_OUT: Final = "an adapter lies beside the weights, and was not loaded"
"""What a load says of an ADAPTER that it did not heed; the verdict notes it."""

_SETTINGS: Final = re.compile(
    r"""
    (?!.*\.index\.json$) [^/]+\.json            # config, generation_config, tokenizer, tokenizer_config, vocab, tekken
    | [^/]+\.(model|jinja|tiktoken|spm)         # sentencepiece and others, the chat template
    | (vocab|merges|spm_vocab|added_tokens)\.txt
    | additional_chat_templates/[^/]+\.jinja
    """,
    re.VERBOSE,
)
_TOKENIZER: Final = re.compile(
    r"(tokenizer|vocab|tekken)\.json|[^/]+\.(model|tiktoken|spm)|([^/]+_)?vocab\.txt|vocab\.bpe|bpe\.codes"
)
_READ: Final = re.compile(r"(?i).*(config|token|vocab|template|index|encoder|merges|normali[sz]er|tekken).*\.json")
"""The files in JSON that some class of transformers reads, as opposed to what training and tests leave beside them."""
_OTHER_WEIGHTS: Final = re.compile(
    r".+\.(safetensors|bin|pt|pth|ckpt|h5|msgpack|onnx|npz|tflite|mlmodel|nemo|engine|distcp|pkl)(\.(gz|zip|zst|xz|tar))?$"
)
_UNFINISHED: Final = re.compile(
    r".+\.(safetensors|bin|gguf)\.(part|partial|incomplete|tmp|temp|crdownload|download|aria2)$"
)
"""The names that browsers and download managers give what has not arrived yet."""
_VARIANT: Final = re.compile(r"model(\.[\w-]+\.|\.[\w-]+-\d+-of-\d+\.|-\d+-of-\d+\.[\w-]+\.)safetensors$")
_SUBFOLDER: Final = re.compile(r".+/model(-\d+-of-\d+)?\.safetensors$")
_OTHER_NAME: Final = re.compile(r"[^/]+\.safetensors$")
_MAKERS: Final = re.compile(r"consolidated[^/]*\.(safetensors|pth)$|original/")


class Unusable(StrEnum):
    """Why a readable repository holds nothing that transformers can load; part of evidence."""

    ADAPTER = "adapter"
    PIPELINE = "pipeline"
    PICKLE = "pickle"
    MAKERS_FORMAT = "makers_format"
    GGUF = "gguf"
    UNFINISHED = "unfinished"
    NO_INDEX = "no_index"
    VARIANT = "variant"
    SUBFOLDER = "subfolder"
    OTHER_NAME = "other_name"
    OTHER_FORMAT = "other_format"
    NO_WEIGHTS = "no_weights"
    NO_CONFIG = "no_config"
    NO_TOKENIZER = "no_tokenizer"


_SHARD: Final = re.compile(r"(?!consolidated)[^/]+-\d+-of-\d+\.safetensors")
_PICKLE_SHARD: Final = re.compile(r"pytorch_model-\d+-of-\d+\.bin")


def needed_files(
    paths: Iterable[str],
    *,
    remote_code: bool = False,
    allow_pickle: bool = False,
    indexed: Collection[str] = (),
) -> tuple[str, ...]:
    """The paths in a repository that a load needs, sorted. `indexed` are the files that its index lists, where it was
    read: shards may have any name. Without weights in safetensors the pickled ones are chosen with `allow_pickle`;
    otherwise no weights, which the caller must notice.
    """
    names = set(paths)
    chosen = {name for name in names if _SETTINGS.fullmatch(name)}
    chosen |= {name for name in names if remote_code and name.endswith(".py")}
    weights = _weights(names, INDEX, WEIGHTS, _SHARD, indexed)
    if not weights and allow_pickle:
        weights = _weights(names, PICKLE_INDEX, PICKLE_WEIGHTS, _PICKLE_SHARD)
    return tuple(sorted(chosen | weights))


def is_of_the_model(name: str) -> bool:
    """False for a file in JSON that no load reads, such as trainer_state.json and all_results.json."""
    return not name.endswith(".json") or _READ.fullmatch(name) is not None


def has_weights(paths: Iterable[str]) -> bool:
    """True where any of the files holds weights."""
    return any(path.endswith((".safetensors", ".bin")) for path in paths)


def has_tokenizer(names: Iterable[str]) -> bool:
    """True where any of the files holds a vocabulary."""
    return any(_TOKENIZER.fullmatch(name) for name in names)


def index_is_needed(paths: Iterable[str]) -> bool:
    """True where the index must be read to know the shards: there are weights with unusual names beside it."""
    names = set(paths)
    if WEIGHTS in names or INDEX not in names:
        return False
    weights = (name for name in names if name.endswith(".safetensors"))
    return any(not _SHARD.fullmatch(name) and not _MAKERS.match(name) for name in weights)


def is_inside(name: object) -> bool:
    """True for the name of a file below a folder: an index comes from strangers, and its paths may lead anywhere."""
    if not isinstance(name, str) or not name or "\\" in name or "\0" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.name != ""


def unusable(paths: Iterable[str], needed: Iterable[str]) -> tuple[Unusable, str] | None:
    """Why a repository cannot be loaded, with a file that shows it; None where it can. `needed` is the choice of
    `needed_files` from the same paths.
    """
    names, chosen = sorted(set(paths)), set(needed)
    if not has_weights(chosen):
        return _without_weights(names)
    if "config.json" not in chosen:
        return Unusable.NO_CONFIG, next(name for name in sorted(chosen) if has_weights([name]))
    # The class in tokenizer_config.json may need no vocabulary, such as one that reads bytes.
    if not has_tokenizer(chosen) and "tokenizer_config.json" not in chosen:
        return Unusable.NO_TOKENIZER, "tokenizer.json"
    return None


def _without_weights(names: list[str]) -> tuple[Unusable, str]:
    signs = [
        (Unusable.ADAPTER, re.compile(r"adapter_(config\.json|model\.(safetensors|bin))$")),
        (Unusable.PIPELINE, re.compile(r"model_index\.json$|(.*/)?diffusion_pytorch_model\b")),
        (Unusable.PICKLE, re.compile(r"pytorch_model[^/]*\.bin$")),
        (Unusable.MAKERS_FORMAT, _MAKERS),
        (Unusable.GGUF, re.compile(r".+\.gguf$")),
        (Unusable.UNFINISHED, _UNFINISHED),
        (Unusable.VARIANT, _VARIANT),
        (Unusable.NO_INDEX, _SHARD),
        (Unusable.SUBFOLDER, _SUBFOLDER),
        (Unusable.OTHER_NAME, _OTHER_NAME),
        (Unusable.OTHER_FORMAT, _OTHER_WEIGHTS),
    ]
    for kind, sign in signs:
        if (found := next(filter(sign.match, names), None)) is not None:
            return kind, found
    return Unusable.NO_WEIGHTS, ""


def _weights(
    names: set[str], index: str, whole: str, shard: re.Pattern[str], indexed: Collection[str] = ()
) -> set[str]:
    # transformers prefers the whole file where both are there.
    if whole in names:
        return {whole}
    if index not in names:
        return set()
    return {index, *(names.intersection(indexed) if indexed else filter(shard.fullmatch, names))}
