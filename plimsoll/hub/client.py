"""The project's interface to the Hub: asks for access, describes repositories, fetches snapshots, reads rows. All this
happens in a process of its own, so that this one imports no HTTP library and can stop waiting at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Final

from plimsoll import clock
from plimsoll.child.started import Message
from plimsoll.hub.access import Access, Query, Reply, Snapshot
from plimsoll.hub.child import HubError, HubSilentError, converse
from plimsoll.hub.contents import Repository
from plimsoll.hub.rows import HubRows, RowsQuery
from plimsoll.node.storage import free_space, hub_cache
from plimsoll.redaction import Redactor

_ENDPOINT: Final = "https://huggingface.co"

ASK_IDLE_TIMEOUT: Final = 90.0
"""Seconds from one answer to the next: rate limits may take 45 of them for one repository."""
FETCH_IDLE_TIMEOUT: Final = 300.0
"""Seconds without a new byte. huggingface_hub retries several times within them."""

OnProgress = Callable[[str, int, int, float], None]
"""Called four times a second with the phase (`fetching` or `checking`), the bytes done, the total, and the seconds."""


def ask(queries: Sequence[Query], *, idle_timeout: float = ASK_IDLE_TIMEOUT) -> dict[Query, Access]:
    """Ask each query once, however often it is listed. Raises OSError where the disk cannot be read. A failure on the
    way is an answer too: `Reply.UNREACHABLE` where nothing was heard, else `Reply.FAILED`.
    """
    distinct = list(dict.fromkeys(queries))
    answers: dict[Query, Access] = {}
    if not distinct:
        return answers
    answer, why = Reply.FAILED, "the process that speaks to the Hub ended without an answer"
    try:
        job = {"kind": "ask", "queries": [asdict(query) for query in distinct]}
        with closing(converse(job, idle_timeout)) as messages:
            for message in messages:
                if message is not None:
                    answers[distinct[message["number"]]] = Access.from_json(message["access"])
    except HubSilentError as error:
        answer, why = Reply.UNREACHABLE, str(error)
    except HubError as error:
        why = str(error)
    return {query: answers.get(query) or _unanswered(query, answer, why) for query in distinct}


def describe(query: Query, *, idle_timeout: float = ASK_IDLE_TIMEOUT) -> Repository:
    """Describe a repository, reading only the headers of its weights. A failure on the way is an answer too, as with
    `ask`. Raises OSError where the disk cannot be read.
    """
    answer, why = Reply.FAILED, "the process that speaks to the Hub ended without an answer"
    try:
        with closing(converse({"kind": "describe", "query": asdict(query)}, idle_timeout)) as messages:
            for message in messages:
                if message is not None and "repository" in message:
                    return Repository.from_json(message["repository"])
    except HubSilentError as error:
        answer, why = Reply.UNREACHABLE, str(error)
    except HubError as error:
        why = str(error)
    return Repository(access=_unanswered(query, answer, why))


def fetch(
    access: Access, notes: Path, *, progress: OnProgress | None = None, idle_timeout: float = FETCH_IDLE_TIMEOUT
) -> Snapshot:
    """Fetch and check the files that an answer names. Raises HubError. `notes` is a folder of ours that remembers which
    files were found sound.
    """
    began = clock.monotonic()
    name = f"{access.repository.replace('/', '--')}-{access.commit}.json"
    job = {"kind": "fetch", "access": access.to_json(), "notes": str(notes / name)}
    phase, done, total = "fetching", access.present, access.size
    lock: Message | None = None
    try:
        with closing(converse(job, idle_timeout)) as messages:
            for message in messages:
                if message is not None and "snapshot" in message:
                    fields = message["snapshot"]
                    return Snapshot(**{**fields, "unchecked": tuple(fields["unchecked"])})
                if message is not None and "waiting" in message:
                    lock = message
                elif message is not None:
                    phase, done, total = message["phase"], message["done"], message["total"]
                if progress is not None:
                    progress(phase, done, total, clock.monotonic() - began)
    except HubError as error:
        waits = _waits_for(lock) if lock is not None and isinstance(error, HubSilentError) else ""
        raise HubError(f"{access.repository} at {access.commit}: {error}{waits}") from error
    raise HubError(f"{access.repository} at {access.commit}: the process that speaks to the Hub ended without a result")


def _waits_for(lock: Message) -> str:
    by = f" (process {lock['holder']})" if lock["holder"] else ""
    return f"; it waited for {lock['waiting']}, which another one holds{by}: if that no longer runs, remove the file"


def fetch_rows(
    query: RowsQuery, *, progress: OnProgress | None = None, idle_timeout: float = FETCH_IDLE_TIMEOUT
) -> HubRows:
    """The rows of a split, or why they cannot be had; downloaded where they are not on this disk. A failure on the way
    is an answer too, as with `ask`. Raises OSError where the disk cannot be read.
    """
    began = clock.monotonic()
    access: Access | None = None
    total, rows = 0, []
    answer, why = Reply.FAILED, "the process that speaks to the Hub ended without an answer"
    try:
        with closing(converse({"kind": "rows", "query": asdict(query)}, idle_timeout)) as messages:
            for message in messages:
                if message is not None and "rows" in message:
                    access, total = Access.from_json(message["access"]), message["total"]
                    rows += message["rows"]
                elif message is not None and progress is not None:
                    progress(message["phase"], message["done"], message["total"], clock.monotonic() - began)
    except HubSilentError as error:
        answer, why, access = Reply.UNREACHABLE, str(error), None
    except HubError as error:
        why, access = str(error), None
    if access is None:  # some of the rows are no answer
        blank = Query(repository=query.repository, revision=query.revision)
        return HubRows(access=_unanswered(blank, answer, why))
    return HubRows(access=access, rows=tuple(rows), total=total)


def _unanswered(query: Query, answer: Reply, why: str) -> Access:
    cache = hub_cache()
    endpoint = Redactor.from_environment()(os.environ.get("HF_ENDPOINT") or _ENDPOINT)
    return Access(query=query, answer=answer, endpoint=endpoint, cache=str(cache), free=free_space(cache), detail=why)
