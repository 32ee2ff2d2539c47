"""What the rest of the project asks of the Hub: may these be read, and bring this one here.

Both work in a process of their own, so that this one imports no HTTP library and waits no longer than it wants to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Final

from plimsoll import clock
from plimsoll.hub.access import Access, Answer, Question, Snapshot
from plimsoll.hub.child import HubError, HubSilentError, converse
from plimsoll.node.storage import hub_cache, read_disk
from plimsoll.redaction import Redactor

_ENDPOINT: Final = "https://huggingface.co"

ASK_PATIENCE: Final = 90.0
"""Seconds from one answer to the next: a repository that is asked to wait may take 45 of them."""
FETCH_PATIENCE: Final = 300.0
"""Seconds without a new byte. huggingface_hub tries again several times in that."""

OnProgress = Callable[[str, int, int, float], None]
"""Called four times a second with the phase (`fetching` or `checking`), bytes done, all bytes, and seconds."""


def ask(questions: Sequence[Question], *, patience: float = ASK_PATIENCE) -> dict[Question, Access]:
    """The answers, a question once however often it is in the list. Raises OSError where the disk cannot be read.

    What went wrong on the way is an answer too: `Answer.UNREACHABLE` where nothing was heard, `Answer.FAILED` else.
    """
    distinct = list(dict.fromkeys(questions))
    answers: dict[Question, Access] = {}
    if not distinct:
        return answers
    answer, why = Answer.FAILED, "the process that speaks to the Hub ended without an answer"
    try:
        job = {"kind": "ask", "questions": [asdict(question) for question in distinct]}
        with closing(converse(job, patience)) as messages:
            for message in messages:
                if message is not None:
                    answers[distinct[message["number"]]] = Access.from_json(message["access"])
    except HubSilentError as error:
        answer, why = Answer.UNREACHABLE, str(error)
    except HubError as error:
        why = str(error)
    return {question: answers.get(question) or _unanswered(question, answer, why) for question in distinct}


def fetch(
    access: Access, notes: Path, *, progress: OnProgress | None = None, patience: float = FETCH_PATIENCE
) -> Snapshot:
    """The files that an answer names, on this disk, whole and checked. Raises HubError.

    `notes` is a folder of our own, where the files that were found sound are remembered.
    """
    began = clock.monotonic()
    name = f"{access.repository.replace('/', '--')}-{access.commit}.json"
    job = {"kind": "fetch", "access": access.to_json(), "notes": str(notes / name)}
    phase, done, total = "fetching", access.present, access.size
    try:
        with closing(converse(job, patience)) as messages:
            for message in messages:
                if message is not None and "snapshot" in message:
                    fields = message["snapshot"]
                    return Snapshot(**{**fields, "unchecked": tuple(fields["unchecked"])})
                if message is not None:
                    phase, done, total = message["phase"], message["done"], message["total"]
                if progress is not None:
                    progress(phase, done, total, clock.monotonic() - began)
    except HubError as error:
        raise HubError(f"{access.repository} at {access.commit}: {error}") from error
    raise HubError(f"{access.repository} at {access.commit}: the process that speaks to the Hub ended without a result")


def _unanswered(question: Question, answer: Answer, why: str) -> Access:
    cache = hub_cache()
    disk, _ = read_disk(cache)
    endpoint = Redactor.from_environment()(os.environ.get("HF_ENDPOINT") or _ENDPOINT)
    return Access(question=question, answer=answer, endpoint=endpoint, cache=str(cache), free=disk.free, detail=why)
