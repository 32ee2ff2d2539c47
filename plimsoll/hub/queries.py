"""Asks the Hub about a repository and classifies its answers. Runs in the Hub's own process (`plimsoll.hub.process`).

Two queries: what the repository is (its commit, its files with their sizes and hashes), and whether this user may
read them. The Hub answers the first for gated repositories too, and hides private ones behind the answer for wrong
ids; its errors share classes and status codes, so they are told apart by both, and by the Hub's own words.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi, constants, get_token, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo

from plimsoll.hub.access import Access, HubFile, Query, Reply
from plimsoll.hub.cache import indexed_files, is_commit, known_commit, lacking, snapshot_folder
from plimsoll.hub.error_text import in_words, is_of_a_certificate, is_of_the_network, is_of_the_proxy
from plimsoll.hub.files import INDEX, index_is_needed, needed_files, unusable
from plimsoll.hub.retry import with_retries
from plimsoll.hub.unasked import forbidden_by, ignored_cache
from plimsoll.node.storage import free_space, hub_cache
from plimsoll.redaction import Redactor

TIMEOUT: Final = 10.0
"""Seconds without a byte from the Hub."""
_UNREAD_TOKEN: Final = "HUGGINGFACE_HUB_TOKEN"  # noqa: S105  the name of a variable


ASK_THE_CACHE: Final = (
    Reply.OFFLINE_MODE,
    Reply.UNREACHABLE,
    Reply.PROXY,
    Reply.CERTIFICATE,
    Reply.RATE_LIMITED,
    Reply.FAILED,
)
"""Answers for which a whole snapshot in the cache is enough: the Hub did not refuse."""


def ask(query: Query) -> Access:
    """The answer to a query. Raises OSError where not even the disk of the cache can be read."""
    blank = unanswered(query)
    # A commit always means the same files, so there is nothing to ask.
    if is_commit(query.revision) and (cached := _from_cache(blank)) is not None:
        return cached
    try:
        access = _granted(blank)
    except Exception as error:  # noqa: BLE001  whatever an HTTP library raises is an answer of a kind
        access = _refused(blank, error)
    return (access.answer in ASK_THE_CACHE and _from_cache(access)) or access


def unanswered(query: Query, *, rows: bool = False) -> Access:
    """An answer with what is known before the Hub is asked, for `rows` of a dataset or for weights.

    Raises OSError where the disk cannot be read."""
    cache = hub_cache()
    logged_in = get_token() is not None
    return Access(
        query=query,
        answer=Reply.FAILED,
        endpoint=Redactor.from_environment()(constants.ENDPOINT),
        cache=str(cache),
        free=free_space(cache),
        logged_in=logged_in,
        token_ignored=not logged_in and bool(os.environ.get(_UNREAD_TOKEN)),
        offline_by=forbidden_by(rows=rows),
        cache_ignored=ignored_cache(cache),
    )


def _granted(blank: Access) -> Access:
    """Raises what huggingface_hub raises where the answer is no, or none."""
    query, api = blank.query, HfApi()

    def describe() -> ModelInfo:
        return api.model_info(query.repository, revision=query.revision, files_metadata=True, timeout=TIMEOUT)

    info = with_retries(describe)
    try:
        with_retries(lambda: api.auth_check(query.repository))
    except HfHubHTTPError as error:
        # A mirror without this query has granted access by having the files.
        if isinstance(error, GatedRepoError) or error.response.status_code != 404:
            raise
    if info.sha is None or not is_commit(info.sha):
        raise ValueError(f"no commit is named for {query.repository}")
    there = [sibling.rfilename for sibling in info.siblings or ()]
    files = _files(info, query, indexed(info.sha, query) if index_is_needed(there) else ())
    if (fault := unusable(there, [file.path for file in files])) is not None:
        return replace(blank, answer=Reply.UNUSABLE, unusable=fault[0].value, detail=fault[1][:200], commit=info.sha)
    access = _with_files(replace(blank, answer=Reply.GRANTED), info.sha, files)
    return replace(access, unwritable=_why_unwritable(Path(access.cache))) if access.missing else access


def _why_unwritable(cache: Path) -> str:
    """Why no file can be made in the cache; empty where one can. This tries it, because permissions, read-only mounts
    and quotas all look different."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


def indexed(commit: str, query: Query) -> Collection[str]:
    """The files that the repository's index lists. Raises what huggingface_hub raises where it cannot be had."""
    with tempfile.TemporaryDirectory(prefix="plimsoll-index-") as folder:
        file = with_retries(lambda: hf_hub_download(query.repository, INDEX, revision=commit, local_dir=folder))
        return indexed_files(Path(file)) or ()


def _files(info: ModelInfo, query: Query, listed: Collection[str]) -> tuple[HubFile, ...]:
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    names = needed_files(siblings, remote_code=query.remote_code, allow_pickle=query.allow_pickle, indexed=listed)
    chosen = [siblings[name] for name in names]
    return tuple(
        HubFile(
            path=sibling.rfilename,
            size=sibling.size or 0,
            digest=sibling.lfs.sha256 if sibling.lfs is not None else sibling.blob_id,
        )
        for sibling in chosen
    )


def _with_files(access: Access, commit: str, files: tuple[HubFile, ...]) -> Access:
    folder = snapshot_folder(access.repository, commit)
    present = sum(file.size for file in files if (folder / file.path).exists())
    return replace(access, commit=commit, files=files, present=present)


def _from_cache(access: Access) -> Access | None:
    """The answer from a whole snapshot on this disk; None where there is none."""
    query = access.query
    commit = known_commit(query.repository, query.revision)
    if commit is None:
        return None
    folder = snapshot_folder(query.repository, commit)
    if lacking(folder, allow_pickle=query.allow_pickle) is not None:
        return None
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    names = needed_files(
        paths,
        remote_code=query.remote_code,
        allow_pickle=query.allow_pickle,
        indexed=indexed_files(folder / INDEX) or (),
    )
    files = tuple(HubFile(path=name, size=(folder / name).stat().st_size, digest=None) for name in names)
    return _with_files(replace(access, answer=Reply.CACHED), commit, files)


def _refused(blank: Access, error: Exception) -> Access:
    return replace(blank, answer=answer_of(error, logged_in=blank.logged_in), detail=in_words(error))


def answer_of(error: Exception, *, logged_in: bool) -> Reply:
    """The kind of refusal that huggingface_hub raised.

    GatedRepoError is a kind of RepositoryNotFoundError, so it comes first.
    """
    if isinstance(error, OfflineModeIsEnabled):
        return Reply.OFFLINE_MODE
    if isinstance(error, HFValidationError):
        return Reply.NOT_FOUND
    if is_of_the_proxy(error):
        return Reply.PROXY
    if is_of_a_certificate(error):
        return Reply.CERTIFICATE
    if not isinstance(error, HfHubHTTPError):
        return Reply.UNREACHABLE if is_of_the_network(error) else Reply.FAILED
    status = error.response.status_code
    hides = isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError)
    if status == 401 and (isinstance(error, GatedRepoError) or not hides):
        return Reply.TOKEN_REFUSED if logged_in else Reply.NO_TOKEN
    if isinstance(error, RevisionNotFoundError):
        return Reply.NO_REVISION
    if hides or status == 404:
        return Reply.NOT_FOUND
    if status == 403:
        return _forbidden(error)
    return Reply.RATE_LIMITED if status == 429 else Reply.FAILED


def _forbidden(error: HfHubHTTPError) -> Reply:
    """The reason for a 403, which only the Hub's message tells."""
    words = f"{error.server_message or ''} {error.response.headers.get('X-Error-Message') or ''}".lower()
    if "fine-grained" in words:
        return Reply.TOKEN_TOO_NARROW
    if "awaiting" in words:
        return Reply.PENDING
    if "rejected" in words:
        return Reply.REJECTED
    return Reply.NOT_ACCEPTED if isinstance(error, GatedRepoError) else Reply.TOKEN_TOO_NARROW
