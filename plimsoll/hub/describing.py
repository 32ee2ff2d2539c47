"""Describes a repository of the Hub without reading its weights. Runs in the Hub's own process
(`plimsoll.hub.process`).

The settings are fetched as files; of each weights' file two ranges are requested, which hold just the header. Nothing
is read from a server that gives only whole files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from huggingface_hub import HfApi, get_token, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

from plimsoll.hub.access import Access, HubFile, Query, Reply
from plimsoll.hub.cache import is_commit, known_commit, snapshot_folder
from plimsoll.hub.contents import (
    MOST_TEXT,
    SETTINGS,
    CheckpointContents,
    Repository,
    read_folder,
    read_text,
    weight_files,
)
from plimsoll.hub.error_text import in_words, is_of_the_network, is_of_the_proxy
from plimsoll.hub.files import index_is_needed, needed_files
from plimsoll.hub.headers import DtypeTotals, HeaderError, read_header, total
from plimsoll.hub.queries import ASK_THE_CACHE, TIMEOUT, answer_of, indexed, unanswered
from plimsoll.hub.retry import with_retries
from plimsoll.hub.settings_files import CONFIG

_AT_ONCE: Final = 8
_PARTIAL: Final = 206
_MOST_SIMILAR: Final = 5

Progress = Callable[[str, int, int], None]


def describe(query: Query, progress: Progress) -> Repository:
    """Describe the repository, or say why that is not possible; from the cache where the Hub cannot be asked and the
    settings are there. Raises OSError where not even the disk of the cache can be read."""
    blank = unanswered(query)
    try:
        return _read(blank, progress)
    except Exception as error:  # noqa: BLE001  whatever an HTTP library raises is an answer of a kind
        refused = replace(blank, answer=answer_of(error, logged_in=blank.logged_in), detail=in_words(error))
    others = similar(query.repository) if refused.answer is Reply.NOT_FOUND else ()
    return (refused.answer in ASK_THE_CACHE and _cached(refused)) or Repository(access=refused, similar=others)


def _read(blank: Access, progress: Progress) -> Repository:
    """Raises what huggingface_hub raises where the answer is no, or none."""
    query, api = blank.query, HfApi()

    def look() -> ModelInfo:
        return api.model_info(query.repository, revision=query.revision, files_metadata=True, timeout=TIMEOUT)

    info = with_retries(look)
    if info.sha is None or not is_commit(info.sha):
        raise ValueError(f"no commit is named for {query.repository}")
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
    texts, unread = _settings(query.repository, info.sha, sizes)
    weights = weight_files(sizes, indexed(info.sha, query) if index_is_needed(sizes) else ())
    stored, faults = _headers(query.repository, info.sha, {name: sizes[name] for name in weights}, progress)
    contents = CheckpointContents(
        files=sizes,
        weights=weights,
        texts=texts,
        stored=total(part for parts in stored for part in parts),
        headers=len(stored),
        unread=(*unread, *faults),
    )
    files = tuple(HubFile(path=name, size=sizes[name], digest=None) for name in needed_files(sizes))
    return Repository(
        access=replace(blank, answer=Reply.GRANTED, commit=info.sha, files=files),
        contents=contents,
        card=_card(info),
        gated=bool(info.gated),
    )


def _settings(repository: str, commit: str, sizes: Mapping[str, int]) -> tuple[dict[str, str], list[str]]:
    texts, unread = {}, []
    with tempfile.TemporaryDirectory(prefix="plimsoll-settings-") as folder:
        for name in SETTINGS:
            if name not in sizes:
                continue
            if sizes[name] > MOST_TEXT:
                unread.append(f"{name}: has {sizes[name]:,} bytes, which no file of settings has")
                continue
            path = with_retries(partial(hf_hub_download, repository, name, revision=commit, local_dir=folder))
            try:
                texts[name] = read_text(Path(path))
            except ValueError as error:
                unread.append(f"{name}: {error}")
    return texts, unread


def _headers(
    repository: str, commit: str, sizes: Mapping[str, int], progress: Progress
) -> tuple[list[tuple[DtypeTotals, ...]], list[str]]:
    names = tuple(sizes)
    found: list[tuple[DtypeTotals, ...]] = []
    faults: list[str] = []

    def one(name: str) -> tuple[DtypeTotals, ...] | str:
        try:
            return read_header(lambda start, end: _range(repository, commit, name, start, end), sizes[name])
        except HeaderError as error:
            return f"{name}: {error}"

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for number, outcome in enumerate(pool.map(one, names), start=1):
            if isinstance(outcome, str):
                faults.append(outcome)
            else:
                found.append(outcome)
            progress("reading headers", number, len(names))
    return found, faults


def _range(repository: str, commit: str, name: str, start: int, end: int) -> bytes:
    """A range of bytes of a file. Raises what huggingface_hub raises, and HeaderError where the server does not support
    ranges: it would send the weights."""
    url = hf_hub_url(repository, name, revision=commit)
    headers = {**build_hf_headers(token=get_token()), "Range": f"bytes={start}-{end - 1}"}

    def ask() -> bytes:
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as response:
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
            if response.status_code != _PARTIAL:
                raise HeaderError("lies on a server that gives whole files alone, so that its header cannot be read")
            content: bytes = response.read()
            return content

    content = with_retries(ask)
    if len(content) != end - start:
        raise HeaderError(f"gives {len(content):,} bytes where {end - start:,} were asked for")
    return content


def _card(info: ModelInfo) -> dict[str, Any]:
    """The card's front matter, as plain data."""
    card: dict[str, Any] = {} if info.card_data is None else info.card_data.to_dict()  # type: ignore[no-untyped-call]
    return {str(key): value for key, value in card.items() if isinstance(value, (str, int, float, bool, list))}


def _cached(refused: Access) -> Repository | None:
    """The description from a snapshot on this disk, even one without weights; None where there is none."""
    query = refused.query
    commit = known_commit(query.repository, query.revision)
    if commit is None:
        return None
    folder = snapshot_folder(query.repository, commit)
    if not (folder / CONFIG).exists():
        return None
    return Repository(access=replace(refused, answer=Reply.CACHED, commit=commit), contents=read_folder(folder))


def similar(name: str) -> tuple[str, ...]:
    """Repositories with the same words in their names, by the Hub's search; empty where it does not answer."""
    words = " ".join(name.rpartition("/")[2].replace("-", " ").replace("_", " ").split())
    asked: dict[str, str | int] = {"search": words, "limit": _MOST_SIMILAR}
    try:
        # HfApi.list_models tries for half a minute where nobody answers: far too long to wait for a hint.
        response = get_session().get(
            f"{HfApi().endpoint}/api/models", params=asked, headers=build_hf_headers(), timeout=TIMEOUT
        )
        hf_raise_for_status(response)
        found = response.json()
        return tuple(str(one["id"]) for one in found[:_MOST_SIMILAR] if isinstance(one, dict) and "id" in one)
    except Exception as error:
        # A bad name is refused without a query, so this may be the first query that a node without a network makes.
        of_the_way = is_of_the_network(error) or is_of_the_proxy(error)
        if of_the_way or isinstance(error, (HfHubHTTPError, OSError, ValueError, LookupError, TypeError)):
            return ()
        raise
