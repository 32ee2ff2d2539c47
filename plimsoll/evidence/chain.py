"""Computes the checksums of evidence: each line has its own, and that of the writer's line before it.

They guard against accidents, such as a flipped bit or lines that were lost, doubled or put in another order by a copy.
They do not stop somebody who can write the file, who can compute them anew; only a signed bundle does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

_SUM: Final = re.compile(rb',"sum":"(?P<sum>[0-9a-f]{16})"\}\s*')
_LENGTH: Final = 16
"""Hexadecimal digits: enough against accidents."""
START: Final = ""
"""The checksum that stands for the line before the first."""


def sealed(event: Mapping[str, Any], after: str) -> tuple[bytes, str]:
    """The line of an event that follows the line with the checksum `after`, and its own checksum.

    Raises ValueError for numbers that JSON lacks.
    """
    body = json.dumps({**event, "after": after}, allow_nan=False, separators=(",", ":")).encode("ascii")
    own = _checksum(body)
    return body[:-1] + b',"sum":"' + own.encode("ascii") + b'"}\n', own


def is_whole(line: bytes) -> bool | None:
    """True for a line with the right checksum, False for an altered line, None for a line without a checksum."""
    found = _SUM.search(line, max(0, len(line) - 64))
    if found is None or found.end() != len(line):
        return None
    return found["sum"].decode("ascii") == _checksum(line[: found.start()] + b"}")


def _checksum(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:_LENGTH]
