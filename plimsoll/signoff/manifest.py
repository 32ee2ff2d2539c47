"""manifest.json: who signs what off, and the SHA-256 of every file in the bundle.

The signature is over this file. One content has exactly one form, down to the last space, so that even a meaningless
change is found.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final, Self

from plimsoll.signoff.archive import BundleError, is_plain

SCHEMA: Final = "plimsoll/bundle/1"
MANIFEST_FILE: Final = "manifest.json"
SIGNATURE_FILE: Final = "manifest.json.sig"
UNSIGNED: Final = "unsigned"
SIGNED: Final = "ssh signature, namespace plimsoll, in manifest.json.sig"

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of the bundle."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes) -> Self:
        """The entry of a file with this content."""
        return cls(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything that is signed."""

    run: str
    verdict: str
    statement: str
    operator: str
    reference: str
    signed_at: datetime
    """Aware, in UTC, whole seconds. Waivers must be valid on this day."""
    plimsoll: str
    """The version that made the bundle."""
    signature: str
    """UNSIGNED or SIGNED, so that a removed signature is noticed."""
    files: tuple[FileEntry, ...]

    def to_bytes(self) -> bytes:
        """The only form of this content."""
        data = {
            "schema": SCHEMA,
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "signed_at": self.signed_at.astimezone(UTC).isoformat(timespec="seconds"),
            "files": [asdict(entry) for entry in self.files],
        }
        return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode("utf-8")

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read back what `to_bytes` wrote. Raises BundleError for anything else, however small the difference."""
        try:
            manifest = cls._read(json.loads(content))
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            raise BundleError(f"{MANIFEST_FILE} cannot be read: {what}") from None
        if manifest.to_bytes() != content:
            raise BundleError(f"{MANIFEST_FILE} was changed: it does not have the form that `plimsoll sign` writes")
        return manifest

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> Self:
        if not isinstance(data, dict) or data["schema"] != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}; verify it with the Plimsoll that signed it")
        texts = {
            name: _text(name, data[name])
            for name in ("run", "verdict", "statement", "operator", "reference", "plimsoll", "signature")
        }
        if texts["signature"] not in (SIGNED, UNSIGNED):
            raise ValueError(f"nobody knows a signature of the kind {texts['signature']!r}")
        signed_at = datetime.fromisoformat(_text("signed_at", data["signed_at"]))
        if signed_at.tzinfo is None:
            raise ValueError("signed_at has no time zone")
        return cls(**texts, signed_at=signed_at, files=tuple(_entry(entry) for entry in data["files"]))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} is a text, not {value!r}")
    return value


def _entry(data: Mapping[str, Any]) -> FileEntry:
    entry = FileEntry(**data)
    if not isinstance(entry.name, str) or not is_plain(entry.name):
        raise ValueError(f"{entry.name!r} is no name for a file in a bundle")
    if type(entry.size) is not int or not _DIGEST.fullmatch(str(entry.sha256)):
        raise ValueError(f"size or SHA-256 of {entry.name} is none")
    return entry
