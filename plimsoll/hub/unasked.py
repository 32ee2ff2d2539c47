"""Answers about a repository without asking the Hub: what the cache holds, how much room there is, whether asking is
forbidden.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from plimsoll.catalogue.entries import Model
from plimsoll.hub.access import Access, HubFile, Query, Reply
from plimsoll.hub.cache import known_commit, lacking, snapshot_folder
from plimsoll.hub.files import has_weights
from plimsoll.node.storage import free_space, hub_cache
from plimsoll.redaction import Redactor
from plimsoll.userpath import path_for_others

_OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Variables that forbid asking the Hub; huggingface_hub reads the second where the first is unset or empty."""
_DATASETS_OFFLINE: Final = "HF_DATASETS_OFFLINE"
_TRUE: Final = ("1", "ON", "YES", "TRUE")
"""Values that huggingface_hub and datasets read as yes."""
_UNREAD_CACHES: Final = ("TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE", "PYTORCH_PRETRAINED_BERT_CACHE")
"""Variables that named the cache of transformers before release 5."""


def query_of(model: Model) -> Query:
    """The query for a model whose weights are on the Hub. Raises ValueError for an entry without a Hub id."""
    if model.hub_id is None:
        raise ValueError(f"{model.id} has no hub_id")
    return Query(
        repository=model.hub_id,
        revision=model.revision,
        remote_code=model.trust_remote_code,
        allow_pickle=model.allow_pickle is not None,
    )


def forbidden_by(*, rows: bool = False) -> str:
    """The variable that forbids asking the Hub; empty for none. For `rows` of a dataset, a variable of the library
    datasets counts too."""
    found = next((name for name in _OFFLINE if os.environ.get(name)), "")
    if found and _is_true(found):
        return found
    return _DATASETS_OFFLINE if rows and _is_true(_DATASETS_OFFLINE) else ""


def ignored_cache(cache: Path) -> str:
    """A variable that names another cache than the one in use but is no longer read; empty for none."""
    return next((name for name in _UNREAD_CACHES if _is_elsewhere(os.environ.get(name), cache)), "")


def unasked(query: Query, size: int) -> Access:
    """The expected answer for weights of `size` bytes: a yes, unless asking is forbidden and there is no whole copy.

    Raises OSError where the file system of the Hub's cache cannot be read.
    """
    cache = hub_cache()
    commit = known_commit(query.repository, query.revision)
    folder = None if commit is None else snapshot_folder(query.repository, commit)
    whole = folder is not None and lacking(folder, allow_pickle=query.allow_pickle) is None
    forbidden = forbidden_by()
    return Access(
        query=query,
        answer=Reply.CACHED if whole else Reply.OFFLINE_MODE if forbidden else Reply.GRANTED,
        endpoint=_endpoint(),
        cache=str(cache),
        free=free_space(cache),
        offline_by=forbidden,
        cache_ignored=ignored_cache(cache),
        commit=commit,
        files=(HubFile(path="its weights", size=size, digest=None),),
        present=size if whole else min(size, 0 if folder is None else _weights_in(folder)),
    )


def _endpoint() -> str:
    """Where the Hub is; an address of the user's may hold a password."""
    named = os.environ.get("HF_ENDPOINT")
    return Redactor.from_environment()(named) if named else "https://huggingface.co"


def _weights_in(folder: Path) -> int:
    """Bytes of the weights that an interrupted download has completed: only complete files have their final names."""
    size = 0
    with suppress(OSError):
        for path in folder.iterdir():
            if has_weights([path.name]):
                with suppress(OSError):  # a link to a removed blob
                    size += path.stat().st_size
    return size


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in _TRUE


def _is_elsewhere(folder: str | None, cache: Path) -> bool:
    return bool(folder) and path_for_others(str(folder)).absolute() != cache
