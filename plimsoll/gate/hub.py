"""Turns the Hub's refusals into skips, each with the step that resolves it. Only the gate calls this."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Dataset, Model, Origin
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.hub.access import Access, Reply
from plimsoll.hub.files import Unusable
from plimsoll.symptoms.recognise import told_by
from plimsoll.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What was asked of the Hub, as messages name it."""

    name: str
    page: str
    """Its path on the Hub's web site."""
    licence: str
    """The terms that must be accepted; empty for none."""
    origin: Origin | str
    """The entry, or other place, that names it."""
    download: str
    """The command that fetches it elsewhere."""
    option: str
    """The option that then names the folder."""


def refusal_of(access: Access, model: Model) -> Skip | None:
    """Why the weights of the model cannot come from the Hub; None where they can."""
    wanted = _Wanted(
        name=access.repository,
        page=access.repository,
        licence=", whose licence must be accepted" if model.gated else "",
        origin=model.origin,
        download=f"hf download {access.repository} --local-dir FOLDER",
        option=f"--model-dir={model.id}=FOLDER",
    )
    return _refusal(access, wanted)


def refusal_of_id(access: Access) -> Skip:
    """Why a repository that a command names cannot be read. Raises ValueError where it can."""
    wanted = _Wanted(
        name=access.repository,
        page=access.repository,
        licence=", whose licence must be accepted",
        origin="the command",
        download=f"hf download {access.repository} --local-dir FOLDER",
        option="name FOLDER",
    )
    if access.answer.is_yes or access.answer is Reply.UNUSABLE:
        raise ValueError(f"{access.repository}: {access.answer} is no refusal")
    told = told_by(_known(access, wanted))
    need = f"access to {wanted.name}{wanted.licence}"
    return Skip(code=_CODES[access.answer], have=told.cause, need=need, fix=told.next)


def refusal_of_dataset(access: Access, dataset: Dataset) -> Skip | None:
    """Why the rows of the dataset cannot come from the Hub; None where they can."""
    wanted = _Wanted(
        name=f"the dataset {access.repository}",
        page=f"datasets/{access.repository}",
        licence="",
        origin=dataset.origin,
        download=f"hf download {access.repository} --repo-type dataset --local-dir FOLDER",
        option=f"--dataset-dir={dataset.id}=FOLDER",
    )
    return _refusal(access, wanted)


def _refusal(access: Access, wanted: _Wanted) -> Skip | None:
    if access.answer.is_yes:
        return _unwritable(access) or _disk(access)
    if access.answer is Reply.UNUSABLE:
        return _unusable(access, wanted)
    told = told_by(_known(access, wanted))
    return Skip(
        code=_CODES[access.answer],
        have=told.cause,
        need=f"access to {wanted.name}{wanted.licence}",
        fix=told.next,
    )


def _known(access: Access, wanted: _Wanted) -> dict[str, object]:
    """The facts of an answer for the table of symptoms, for its conditions and its texts."""
    library = _SOCKS.search(access.detail)
    return {
        "reply": access.answer.value,
        "unusable": access.unusable,
        "licence": bool(wanted.licence),
        "logged_in": access.logged_in,
        "token_ignored": access.token_ignored,
        "cache_ignored": bool(access.cache_ignored),
        "needs_library": library is not None,
        "library": library[0] if library else "",
        "detail": access.detail,
        "file": access.detail,
        "endpoint": access.endpoint,
        "cache": access.cache,
        "repository": access.repository,
        "revision": repr(access.query.revision),
        "variable": access.offline_by or "HF_HUB_OFFLINE",
        "unread": access.cache_ignored,
        "page": wanted.page,
        "origin": wanted.origin,
        "download": wanted.download,
        "option": wanted.option,
    }


_SOCKS: Final = re.compile(r"httpx\d?\[socks\]")


def _unusable(access: Access, wanted: _Wanted) -> Skip:
    """Skip for a repository without usable weights, before anything of it is fetched."""
    told = told_by(_known(access, wanted) | {"unusable": access.unusable or Unusable.NO_WEIGHTS.value})
    return Skip(
        code=SkipCode.WEIGHTS,
        have=f"{told.cause} in {wanted.name}",
        need="config.json, a tokenizer and weights in safetensors under the names that transformers gives them",
        fix=told.next,
    )


def _unwritable(access: Access) -> Skip | None:
    if not access.unwritable:
        return None
    told = told_by({"cannot": "write", "at": access.cache, "detail": access.unwritable})
    need = f"{format_bytes(access.missing)} there for the files of {access.repository}"
    return Skip(code=SkipCode.DISK, have=told.cause, need=need, fix=told.next)


def _disk(access: Access) -> Skip | None:
    if access.missing + access.promised <= access.free:
        return None
    known: dict[str, object] = {"cannot": "hold", "at": access.cache, "have": format_bytes(access.free)}
    if access.promised:
        known |= {"promised": True, "others": format_bytes(access.promised)}
    told = told_by(known)
    need = f"{format_bytes(access.missing)} for the files of {access.repository}"
    return Skip(code=SkipCode.DISK, have=told.cause, need=need, fix=told.next)


_CODES: Final[Mapping[Reply, SkipCode]] = {
    Reply.NO_TOKEN: SkipCode.NOT_LOGGED_IN,
    Reply.TOKEN_REFUSED: SkipCode.NOT_LOGGED_IN,
    Reply.TOKEN_TOO_NARROW: SkipCode.LICENCE_NOT_ACCEPTED,
    Reply.NOT_ACCEPTED: SkipCode.LICENCE_NOT_ACCEPTED,
    Reply.PENDING: SkipCode.LICENCE_NOT_ACCEPTED,
    Reply.REJECTED: SkipCode.LICENCE_NOT_ACCEPTED,
    Reply.NOT_FOUND: SkipCode.WRONG_ID,
    Reply.NO_REVISION: SkipCode.WRONG_ID,
    Reply.NO_CONFIG: SkipCode.WRONG_ID,
    Reply.NO_SPLIT: SkipCode.WRONG_ID,
    Reply.NO_ROWS: SkipCode.WRONG_ID,
    Reply.SCRIPT: SkipCode.DATA,
    Reply.OFFLINE_MODE: SkipCode.OFFLINE,
    Reply.UNREACHABLE: SkipCode.OFFLINE,
    Reply.PROXY: SkipCode.OFFLINE,
    Reply.CERTIFICATE: SkipCode.OFFLINE,
    Reply.FAILED: SkipCode.OFFLINE,
    Reply.RATE_LIMITED: SkipCode.RATE_LIMITED,
}
"""The skip code for each refusal; the table of symptoms has its meaning and next step."""
