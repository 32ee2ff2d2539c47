"""Keeps secrets out of everything that a run writes and shows.

Evidence is attached to sign-offs and read by many, and a token can get into it in ways that nobody planned: a traceback
that shows a local variable, the error text of an HTTP library, the address of a proxy, a line that model code prints.
So every text is searched for the values of secrets that this process could know, for values beside the name of a
secret, and for the forms of tokens that the library detect-secrets knows. Commit hashes, file digests and model ids
look like secrets and are harmless: no rule relies on randomness alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, unquote

from plimsoll.errors import PlimsollError
from plimsoll.userpath import path_for_others

REDACTED: Final = "[secret removed]"
"""The text that replaces a secret."""

SHORTEST_SECRET: Final = 8
"""Values of fewer characters are left alone: with `HF_TOKEN=1`, every 1 would vanish and the evidence with it."""

_SHORT: Final = 200
"""Characters up to which the answer for a text is kept."""
_MOST_SEEN: Final = 20_000
"""Short texts whose answers are kept at most: some megabytes."""

_NAME: Final = (
    r"(?:[A-Z0-9_]*(?:PASSWORD|PASSWD|PASSPHRASE|SSHPASS|SECRET|TOKEN|APIKEY|NETRC|KUBECONFIG_B64)"
    r"|(?:[A-Z0-9_]*_)?(?:PASS|PAT|CREDENTIALS?|AUTH(?:_CONFIG)?|BEARER|COOKIE|JWT)|(?!OLD)[A-Z0-9_]+_PWD"
    r"|(?:[A-Z0-9_]*_)?(?:API|ACCESS|SECRET|PRIVATE|SIGNING|ENCRYPTION|ACCOUNT|MASTER|DEPLOY|STORAGE|SERVICE|LICENSE|SSH|HMAC)"
    r"_KEY(?:_ID|_B64|_BASE64)?)"
)
"""Whole names of variables that hold secrets."""
_SECRET_NAME: Final = re.compile(_NAME, re.IGNORECASE)
_PASSWORD_IN_ADDRESS: Final = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")

_PARAMETER: Final = (
    r"(?:[a-z_\-]*token|api[_\-]?key|key|[a-z_\-]*secret|sig|signature|password|passwd|pwd|auth|policy|key-pair-id"
    r"|x-(?:amz|goog)-[a-z\-]+)"
)
"""Names of parameters in an address that grant access."""
_OPTION: Final = r"(?:hf-|access-|auth-|api-)?token|password|passwd|api-key|(?:client-)?secret(?:-key)?"
"""Names of options of a command line that are given a secret."""
_NO_VALUE: Final = r"(?!(?:None|null|true|false|True|False)\b|[$<*%{])"
"""Values beside a name that are no secrets: empty, a switch, a reference to a variable, a mask."""
_WORDS: Final = ("pass", "pwd", "secret", "token", "key", "pat", "cred", "auth", "bearer", "cookie", "jwt")

_KEY_BLOCK: Final = re.compile(
    # A key spans lines, and its end may be missing where a text was cut.
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:[\s\S]{0,16384}?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
    r"|(?:\\n|[A-Za-z0-9+/=\s:,\-])*)"
)

_IN_ADDRESS: Final = re.compile(r"(?<=://)[^/\s@]+(?=@)")
"""Credentials in an address: user:password, or a token alone."""

_OWN: Final[Sequence[tuple[tuple[str, ...], str]]] = (
    (("hf_",), r"hf_oauth_[A-Za-z0-9_.\-]{20,}|hf_[A-Za-z0-9]{20,}"),
    (("github_pat_", "dckr_pat_"), r"(?:github|dckr)_pat_[A-Za-z0-9_\-]{20,}"),
    (("sk-",), r"\bsk-(?=[A-Za-z0-9_\-]*\d)[A-Za-z0-9_\-]{24,}"),
    (("aiza",), r"\bAIza[A-Za-z0-9_\-]{35}"),
    (
        ("nvapi-", "npm_", "r8_", "gsk_", "_v1_", "lin_api_", "age-secret-key-"),
        r"(?:\bnvapi-|\bnpm_|\br8_|\bgsk_|\bdo[opr]_v1_|\blin_api_|\bAGE-SECRET-KEY-1|\bage-secret-key-1)[A-Za-z0-9_\-]{20,}",
    ),
    (("accountkey=", "accesskey="), r"\b(?:Account|SharedAccess)Key=[A-Za-z0-9+/]{16,}={0,2}"),
    (("--",), rf"--(?:{_OPTION})(?:=\s*{_NO_VALUE}[^\s\"'<>]{{6,}}|\s+(?=[^\s<>]*\d){_NO_VALUE}[^\s\"'<>]{{8,}})"),
    (("curl ", "wget "), r"(?<=\s)(?:-u|--user)[ =][^\s:\"'<>]+:[^\s\"'<>]{4,}"),
    (("eyj",), r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}(?:\.[A-Za-z0-9_\-]*)*"),
    (("?", "&", ";"), rf"(?:(?<=[?&;])|(?<=&amp;))(?i:{_PARAMETER})=[^&\s\"'<>]{{4,}}"),
    (
        ("auth", "api-key", "token", "cookie"),
        r"(?i:\b(?:proxy-)?authorization|\bx-(?:api-key|auth-token)|\bprivate-token|\b(?:set-)?cookie)"
        r"[\"']?\s*[:=]\s*[\"']?(?i:(?:bearer|basic|token|digest)\s+)?[^\s\"',<>]{6,}",
    ),
    (("bearer",), r"\b(?i:bearer)\s+(?=[A-Za-z0-9_\-.~+/]*\d)[A-Za-z0-9_\-.~+/]{16,}=*"),
    # By the name of a variable, which is written in capitals: pad_token and eos_token are settings of a model.
    (
        _WORDS,
        rf"\b{_NAME}[\"']?\s*[:=]\s*(?:\"{_NO_VALUE}[^\"\n]{{4,}}\"|'{_NO_VALUE}[^'\n]{{4,}}'"
        rf"|{_NO_VALUE}[^\s\"',;<>&\[]{{4,}})",
    ),
    (
        ("pass", "secret", "key", "_token"),
        # In YAML, without quotes, a value must look like none of a word.
        r"\b(?:password|passwd|passphrase|client_secret|secret_key|api_key|apikey|private_key"
        r"|(?:access|refresh|auth|session|bearer|api|hf)_token)[\"']?\s*"
        rf"(?:=|:\s*(?=[\"'])|:\s+(?=[^\s\"']*\d)(?=[^\s\"']{{8}}))\s*(?:\"{_NO_VALUE}[^\"\n]{{4,}}\"|'{_NO_VALUE}[^'\n]{{4,}}'"
        rf"|{_NO_VALUE}[^\s\"',;<>&()\[]{{6,}})",
    ),
)
"""Text that a line must contain, in lower case, before a pattern is tried on it; and the pattern."""
_RULES: Final = tuple((needles, re.compile(pattern)) for needles, pattern in _OWN)

_LEFT_OUT: Final = (
    *("keyword", "high_entropy_strings", "ip_public", "artifactory", "cloudant", "ibm_cloud_iam", "ibm_cos_hmac"),
    *("softlayer", "basic_auth", "private_key"),
)
"""Modules of detect-secrets that also find harmless text (words beside `key`, hashes, addresses, capitals), and those
that find only the beginning of what our own rules find whole."""
_REST_OF_A_TOKEN: Final = r"(?:[A-Za-z0-9_\-]|[.+/=](?=[A-Za-z0-9_]))*"  # noqa: S105  a pattern


@cache
def _forms() -> tuple[re.Pattern[str], ...]:
    """The forms of tokens that detect-secrets knows, as separate patterns: one alternation of all takes twenty times as
    long. Raises PlimsollError where the library is not installed.

    Made at first use: the library takes a fifth of a second to import.
    """
    try:
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    except ModuleNotFoundError as error:
        raise PlimsollError(
            "detect-secrets is not installed, and without it secrets could stand in what a run writes; "
            "install it with: pip install detect-secrets"
        ) from error
    known: dict[str, Any] = get_mapping_from_secret_type_to_class()
    kinds = [kind for kind in known.values() if kind.__module__.rpartition(".")[2] not in _LEFT_OUT]
    denied = [pattern for kind in kinds for pattern in getattr(kind, "denylist", ())]
    return tuple(re.compile(f"(?:{pattern.pattern}){_REST_OF_A_TOKEN}", pattern.flags) for pattern in denied)


class Redactor:
    """Replaces every occurrence of the given secrets, and of anything that looks like one, by REDACTED.

    `forms` give other spellings of a secret in the searched text, such as `html.escape` for HTML.
    """

    def __init__(self, secrets: Iterable[str] = (), forms: Sequence[Callable[[str], str]] = ()) -> None:
        parts = {part for secret in secrets for part in (secret, *map(str.strip, secret.splitlines()))}
        long_enough = {part for part in parts if len(part) >= SHORTEST_SECRET}
        shapes = {form(secret) for form in (*_WRITTEN, *forms) for secret in long_enough}
        # The longest first, so that a secret that contains another is removed whole.
        self._known = sorted(shapes, key=len, reverse=True)
        self._seen: dict[str, str] = {}

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, forms: Sequence[Callable[[str], str]] = ()
    ) -> Self:
        """Know the secrets of this process: variables named like one, passwords in the addresses of proxies and
        package indexes, and the token that `hf auth login` stored."""
        environment = os.environ if environment is None else environment
        named = (value.strip() for name, value in environment.items() if is_secret_name(name) and not _is_path(value))
        written = [word for value in environment.values() for word in _PASSWORD_IN_ADDRESS.findall(value)]
        return cls([*named, *written, *map(unquote, written), *_stored_tokens(environment)], forms)

    def __call__(self, text: str) -> str:
        """The text without secrets. Raises PlimsollError where detect-secrets is not installed."""
        if len(text) > _SHORT:
            return self._searched(text)
        # Evidence says the same names, ids and units over and over.
        found = self._seen.get(text)
        if found is None:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            found = self._seen[text] = self._searched(text)
        return found

    def _searched(self, text: str) -> str:
        if "://" in text:  # first, so that a known password leaves no user's name behind
            text = _IN_ADDRESS.sub(REDACTED, text)
        for secret in self._known:
            text = text.replace(secret, REDACTED)
        if "PRIVATE KEY" in text:
            text = _KEY_BLOCK.sub(REDACTED, text)
        text = "".join(map(_without_names, text.splitlines(keepends=True)))
        for form in _forms():
            text = form.sub(REDACTED, text)
        return text


def _without_names(line: str) -> str:
    """One line, without the secrets that our own rules find."""
    small = line.lower()
    for needles, pattern in _RULES:
        if any(needle in small for needle in needles):
            line = pattern.sub(REDACTED, line)
    return line


def _as_it_is(secret: str) -> str:
    return secret


def _in_an_address(secret: str) -> str:
    return quote(secret, safe="")


def _escaped(secret: str) -> str:
    return secret.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


_WRITTEN: Final = (_as_it_is, _in_an_address, _escaped)
"""The spellings of a secret in a text: as it is, in an address, in JSON, in the repr of a string."""


def shortened(text: str, most: int) -> str:
    """The text; where it is longer than `most` characters, its beginning and its end with a note between: foreign text
    must not fill a disk, a page or a terminal."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}"


def is_secret_name(name: str) -> bool:
    """Whether a variable of that name holds a secret: PGPASSWORD, DB_PASS, GITHUB_PAT, AWS_ACCESS_KEY_ID."""
    return _SECRET_NAME.fullmatch(name) is not None


def _is_path(value: str) -> bool:
    """True for variables such as GOOGLE_APPLICATION_CREDENTIALS, which name a file and hold no secret."""
    return value.startswith(("/", "~", "./")) and "\n" not in value


def _stored_tokens(environment: Mapping[str, str]) -> list[str]:
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    files = [environment.get("HF_TOKEN_PATH"), Path(home, "token")]
    tokens = []
    for file in files:
        if file is None:
            continue
        try:
            tokens.append(path_for_others(file).read_text("utf-8", "replace").strip())
        except OSError:  # no such file, or not ours to read: then nothing can leak
            continue
    return tokens
