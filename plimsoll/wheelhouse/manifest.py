"""The list of what a wheelhouse holds: for which Python, beside which packages of the system, each file by its SHA-256.

Only the standard library is imported here: the list is read on a node where nothing is installed yet.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from plimsoll.errors import PlimsollError, reason_of

NAME: Final = "manifest.json"
AGAIN: Final = "make it anew with `make wheelhouse`, or copy the whole folder again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """One file of the wheelhouse."""

    file: str
    distribution: str
    """Its name as packaging writes it: in small letters, with hyphens."""
    version: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelhouseManifest:
    """What a wheelhouse is for, and what is in it."""

    python: str
    """`3.12`: the minor version that wheels with compiled code are for."""
    machine: str
    """The processor, as `uname -m` says it."""
    system: tuple[str, ...]
    """Distributions that the node has, and that are not carried; nor is what comes with them."""
    extras: tuple[str, ...]
    """The optional groups of pyproject.toml that are served."""
    suite: str
    """The file with the suite itself: tests, fixtures, catalogue, library."""
    files: tuple[Carried, ...]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(file.bytes for file in self.files)

    def write(self, folder: Path) -> None:
        """Keep it in the folder that it is about."""
        (folder / NAME).write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of a wheelhouse. Raises PlimsollError where there is none, or none that can be understood."""
        try:
            data: dict[str, Any] = json.loads((folder / NAME).read_text("utf-8"))
            files = tuple(Carried(**file) for file in data.pop("files"))
            system, extras = tuple(data.pop("system")), tuple(data.pop("extras"))
            return cls(files=files, system=system, extras=extras, **data)
        except FileNotFoundError:
            raise PlimsollError(f"{folder} is no wheelhouse: it has no {NAME}; {AGAIN}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlimsollError(f"{folder / NAME} cannot be read ({reason_of(error)}); {AGAIN}") from None

    def refuse_damage(self, folder: Path) -> None:
        """Raise PlimsollError, in one sentence, where files are missing or not those that were collected."""
        missing = [file.file for file in self.files if not (folder / file.file).is_file()]
        if missing:
            raise PlimsollError(f"{folder} lacks {' and '.join(missing)}; {AGAIN}")
        damaged = [file.file for file in self.files if sha256(folder / file.file) != file.sha256]
        if damaged:
            raise PlimsollError(f"{folder}: not what was collected: {' and '.join(damaged)}; {AGAIN}")

    def one(self, distribution: str) -> str:
        """The file of a distribution. Raises PlimsollError where it is not carried."""
        for file in self.files:
            if file.distribution == distribution:
                return file.file
        raise PlimsollError(f"the wheelhouse carries no {distribution}; {AGAIN}")


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal digits."""
    # Not that of `plimsoll.digests`: an installation begins with what this folder imports, and needs no more of it.
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
