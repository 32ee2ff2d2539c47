"""Keeps secrets out of everything that a run writes.

Evidence is attached to sign-offs and read by many, and a token gets into it by ways that nobody planned: a traceback
that shows a local variable, the error text of an HTTP library, the address of a proxy. So every text is searched for
the values of the secrets that this process could know, for what looks like a Hugging Face token, and for what in an
address lets its holder in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote

REDACTED: Final = "[secret removed]"
"""What stands in place of a secret."""

SHORTEST_SECRET: Final = 8
"""Values of fewer characters are left alone: with `HF_TOKEN=1`, every 1 would vanish and the evidence with it."""

_SECRET_NAME: Final = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|API_KEY|ACCESS_KEY)$", re.IGNORECASE)
_PASSWORD_IN_ADDRESS: Final = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_LOOKS_LIKE_ONE: Final = "|".join(
    (
        r"hf_oauth_[A-Za-z0-9_.\-]{20,}",
        r"hf_[A-Za-z0-9]{20,}",
        r"(?<=://)[^/\s@]+(?=@)",  # who one is, in an address: user:password, or a token alone
        # A signed address of a content network gives its file to whoever has it.
        r"(?<=[?&])(?:X-Amz-[A-Za-z-]+|Signature|Policy|Key-Pair-Id)=[^&\s\"'<>]+",
    )
)


class Redactor:
    """Replaces every occurrence of the given secrets, and of anything that looks like one, by REDACTED.

    `forms` say what else becomes of a secret in the text that is searched: in HTML `html.escape`, for one.
    """

    def __init__(self, secrets: Iterable[str] = (), forms: Sequence[Callable[[str], str]] = ()) -> None:
        long_enough = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        shapes = long_enough | {form(secret) for form in forms for secret in long_enough}
        # The longest first, so that a secret which contains another leaves no rest behind.
        known = sorted(shapes, key=len, reverse=True)
        self._pattern = re.compile("|".join([*map(re.escape, known), _LOOKS_LIKE_ONE]))

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, forms: Sequence[Callable[[str], str]] = ()
    ) -> Self:
        """Know the secrets of this process: variables named like one, passwords in the addresses of proxies and
        package indexes, and the token that `hf auth login` stored."""
        environment = os.environ if environment is None else environment
        named = (value.strip() for name, value in environment.items() if _SECRET_NAME.search(name))
        written = [word for value in environment.values() for word in _PASSWORD_IN_ADDRESS.findall(value)]
        return cls([*named, *written, *map(unquote, written), *_stored_tokens(environment)], forms)

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        return self._pattern.sub(REDACTED, text)


def _stored_tokens(environment: Mapping[str, str]) -> list[str]:
    home = environment.get("HF_HOME") or Path(
        environment.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "huggingface"
    )
    files = [environment.get("HF_TOKEN_PATH"), Path(home, "token")]
    tokens = []
    for file in files:
        if file is None:
            continue
        try:
            tokens.append(Path(file).expanduser().read_text("utf-8", "replace").strip())
        except (OSError, RuntimeError):  # no such file, not ours to read, or no home folder: then nothing can leak
            continue
    return tokens
