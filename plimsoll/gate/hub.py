"""Turns the Hub's refusals into skips, each with the step that mends it.

Called by the gate alone, which decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Dataset, Model, Origin
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.hub.access import Access, Reply
from plimsoll.hub.files import Unusable
from plimsoll.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is asked for, in the words of messages."""

    name: str
    page: str
    """Where a browser finds it, below the endpoint."""
    licence: str
    """What must be accepted; empty where nothing must."""
    origin: Origin | str
    """The entry, or what else names it."""
    download: str
    """The command that fetches it elsewhere."""
    option: str
    """The option that then says where it is."""


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
    """Why a repository that a command names cannot be looked at. Raises ValueError where it can."""
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
    code, have, fix = _WORDS[access.answer](access, wanted)
    return Skip(code=code, have=have, need=f"access to {wanted.name}{wanted.licence}", fix=fix)


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
    code, have, fix = _WORDS[access.answer](access, wanted)
    return Skip(code=code, have=have, need=f"access to {wanted.name}{wanted.licence}", fix=fix)


def _unusable(access: Access, wanted: _Wanted) -> Skip:
    """What the repository holds instead, said before anything of it is fetched."""
    have, fix = _INSTEAD[Unusable(access.unusable or Unusable.NO_WEIGHTS)]
    return Skip(
        code=SkipCode.WEIGHTS,
        have=f"{have.replace('FILE', access.detail)} in {wanted.name}",
        need="config.json, a tokenizer and weights in safetensors under the names that transformers gives them",
        fix=fix.replace("ENTRY", str(wanted.origin)).replace("OPTION", wanted.option),
    )


_INSTEAD: Final[Mapping[Unusable, tuple[str, str]]] = {
    Unusable.ADAPTER: (
        "an adapter alone (FILE), which changes the weights of another model",
        "merge it into its base model (peft: merge_and_unload, then save_pretrained), and name that folder: OPTION",
    ),
    Unusable.PIPELINE: ("a pipeline of diffusers (FILE)", "correct hub_id in ENTRY: this is no language model"),
    Unusable.PICKLE: (
        "weights as pickles alone (FILE), which are refused because reading one can run code",
        "name a revision with safetensors in ENTRY, or say there why the pickle may be read (allow_pickle)",
    ),
    Unusable.MAKERS_FORMAT: (
        "weights in their maker's own format alone (FILE), which transformers cannot load",
        "name a repository or revision in ENTRY that was converted for transformers",
    ),
    Unusable.GGUF: (
        "weights in GGUF alone (FILE), the format of llama.cpp",
        "name the repository in ENTRY that they were made from",
    ),
    Unusable.OTHER_FORMAT: (
        "weights in other formats alone (FILE)",
        "name a repository or revision in ENTRY with safetensors that transformers has saved",
    ),
    Unusable.NO_WEIGHTS: ("no weights at all", "correct hub_id or revision in ENTRY"),
    Unusable.NO_CONFIG: (
        "weights without a config.json (FILE)",
        "correct hub_id or revision in ENTRY, or add the config.json of the model that they are of: OPTION",
    ),
    Unusable.NO_TOKENIZER: (
        "no tokenizer (FILE or another vocabulary)",
        "name a revision in ENTRY that has one, or add the tokenizer of its base model: OPTION",
    ),
}


def _unwritable(access: Access) -> Skip | None:
    if not access.unwritable:
        return None
    return Skip(
        code=SkipCode.DISK,
        have=f"{access.cache}, where nothing can be written ({access.unwritable})",
        need=f"{format_bytes(access.missing)} there for the files of {access.repository}",
        fix="set HF_HOME to a folder that this user may write to, on a disk with room",
    )


def _disk(access: Access) -> Skip | None:
    if access.missing + access.promised <= access.free:
        return None
    promised = f", of which other models of this run take {format_bytes(access.promised)}" if access.promised else ""
    return Skip(
        code=SkipCode.DISK,
        have=f"{format_bytes(access.free)} free at {access.cache}{promised}",
        need=f"{format_bytes(access.missing)} for the files of {access.repository}",
        fix="free space there, or set HF_HOME to a folder on a larger disk",
    )


_Words = tuple[SkipCode, str, str]


def _no_token(access: Access, wanted: _Wanted) -> _Words:
    accept = f"; then accept its licence at {access.endpoint}/{wanted.page}" if wanted.licence else ""
    if access.token_ignored:
        have = "no token for the Hub: HUGGINGFACE_HUB_TOKEN is set, but huggingface_hub does not read it"
        return SkipCode.NOT_LOGGED_IN, have, f'export HF_TOKEN="$HUGGINGFACE_HUB_TOKEN"{accept}'
    return SkipCode.NOT_LOGGED_IN, "no token for the Hub", f"hf auth login{accept}"


def _token_refused(access: Access, _wanted: _Wanted) -> _Words:
    fix = f"hf auth login with a token of {access.endpoint}/settings/tokens (HF_TOKEN, where set, goes first)"
    return SkipCode.NOT_LOGGED_IN, f"a token that the Hub refuses ({access.detail})", fix


def _token_too_narrow(access: Access, _wanted: _Wanted) -> _Words:
    fix = f"let the token read public gated repositories, at {access.endpoint}/settings/tokens"
    return SkipCode.LICENCE_NOT_ACCEPTED, f"a token without the right to it ({access.detail})", fix


def _not_accepted(access: Access, wanted: _Wanted) -> _Words:
    fix = f"accept the licence at {access.endpoint}/{wanted.page} with the account of the token"
    return SkipCode.LICENCE_NOT_ACCEPTED, "a token of an account that has not accepted its licence", fix


def _pending(access: Access, _wanted: _Wanted) -> _Words:
    fix = f"wait for its owners; {access.endpoint}/settings/gated-repos shows the state"
    return SkipCode.LICENCE_NOT_ACCEPTED, "a request for access that its owners have yet to answer", fix


def _rejected(access: Access, wanted: _Wanted) -> _Words:
    fix = f"ask its owners at {access.endpoint}/{wanted.page}, or use the account that was let in"
    return SkipCode.LICENCE_NOT_ACCEPTED, "a request for access that its owners have rejected", fix


def _not_found(access: Access, wanted: _Wanted) -> _Words:
    seen = "that this token may see" if access.logged_in else "that may be seen without a token"
    fix = f"correct hub_id in {wanted.origin}" + ("" if access.logged_in else ", or hf auth login if it is private")
    return SkipCode.WRONG_ID, f"no repository {access.repository} at {access.endpoint} {seen}", fix


def _no_revision(access: Access, wanted: _Wanted) -> _Words:
    have = f"no revision {access.question.revision!r} in {access.repository}"
    return SkipCode.WRONG_ID, have, f"correct revision in {wanted.origin}"


def _no_config(access: Access, wanted: _Wanted) -> _Words:
    have = f"no such configuration in {access.repository}: {access.detail}"
    return SkipCode.WRONG_ID, have, f"correct config in {wanted.origin}"


def _no_split(access: Access, wanted: _Wanted) -> _Words:
    have = f"no such split in {access.repository}: {access.detail}"
    return SkipCode.WRONG_ID, have, f"correct split or shots_split in {wanted.origin}"


def _offline_mode(access: Access, wanted: _Wanted) -> _Words:
    variable = access.offline_by or "HF_HUB_OFFLINE"
    have = f"{variable} set, and no whole copy in {access.cache}"
    return SkipCode.OFFLINE, have, f"{_unread_cache(access)}unset {variable}, or {_bring(wanted)}"


def _unreachable(access: Access, wanted: _Wanted) -> _Words:
    have = f"no connection to {access.endpoint} ({access.detail}), and no whole copy in {access.cache}"
    return SkipCode.OFFLINE, have, f"{_unread_cache(access)}connect the node, or {_bring(wanted)}"


def _unread_cache(access: Access) -> str:
    """Weights may lie where a variable says that transformers read until its release 5."""
    if not access.cache_ignored:
        return ""
    return f'export HF_HUB_CACHE="${access.cache_ignored}", for {access.cache_ignored} is read by nothing; or '


def _proxy(access: Access, wanted: _Wanted) -> _Words:
    have = f"a proxy that cannot be used ({access.detail}), and no whole copy in {access.cache}"
    if (library := _SOCKS.search(access.detail)) is not None:
        return SkipCode.OFFLINE, have, f"pip install '{library[0]}', or unset ALL_PROXY where HTTPS_PROXY will do"
    fix = "correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY (http://HOST:PORT), or name the Hub in NO_PROXY"
    return SkipCode.OFFLINE, have, f"{fix}; or {_bring(wanted)}"


_SOCKS: Final = re.compile(r"httpx\d?\[socks\]")


def _certificate(access: Access, wanted: _Wanted) -> _Words:
    have = f"a connection to {access.endpoint} whose certificate is not trusted ({access.detail})"
    fix = "export SSL_CERT_FILE=FILE with the certificates of the proxy or mirror (REQUESTS_CA_BUNDLE is not read)"
    return SkipCode.OFFLINE, f"{have}, and no whole copy in {access.cache}", f"{fix}, or {_bring(wanted)}"


def _script(access: Access, wanted: _Wanted) -> _Words:
    have = f"a program instead of rows in {access.repository}, which datasets does not run ({access.detail})"
    fix = (
        f"set revision = 'refs/convert/parquet' in {wanted.origin}, or download rows from elsewhere and {wanted.option}"
    )
    return SkipCode.DATA, have, fix


def _no_rows(access: Access, wanted: _Wanted) -> _Words:
    have = f"no files of rows in {access.repository} ({access.detail})"
    return SkipCode.WRONG_ID, have, f"correct hub_id or revision in {wanted.origin}, or {wanted.option}"


def _failed(access: Access, wanted: _Wanted) -> _Words:
    have = f"no usable answer from {access.endpoint} ({access.detail}), and no whole copy in {access.cache}"
    return SkipCode.OFFLINE, have, f"try again later, or {_bring(wanted)}"


def _rate_limited(access: Access, _wanted: _Wanted) -> _Words:
    later = "run again later" + ("" if access.logged_in else "; hf auth login raises the limit")
    return SkipCode.RATE_LIMITED, f"too many requests, says {access.endpoint} ({access.detail})", later


def _bring(wanted: _Wanted) -> str:
    return f"'{wanted.download}' where there is one, and {wanted.option} here"


_WORDS: Final[Mapping[Reply, Callable[[Access, _Wanted], _Words]]] = {
    Reply.NO_TOKEN: _no_token,
    Reply.TOKEN_REFUSED: _token_refused,
    Reply.TOKEN_TOO_NARROW: _token_too_narrow,
    Reply.NOT_ACCEPTED: _not_accepted,
    Reply.PENDING: _pending,
    Reply.REJECTED: _rejected,
    Reply.NOT_FOUND: _not_found,
    Reply.NO_REVISION: _no_revision,
    Reply.NO_CONFIG: _no_config,
    Reply.NO_SPLIT: _no_split,
    Reply.OFFLINE_MODE: _offline_mode,
    Reply.UNREACHABLE: _unreachable,
    Reply.PROXY: _proxy,
    Reply.CERTIFICATE: _certificate,
    Reply.SCRIPT: _script,
    Reply.NO_ROWS: _no_rows,
    Reply.FAILED: _failed,
    Reply.RATE_LIMITED: _rate_limited,
}
