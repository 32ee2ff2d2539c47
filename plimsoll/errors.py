"""Errors for users' mistakes, as distinct from defects of the suite.

A `PlimsollError` is shown as its text alone, without a traceback: it says what is wrong, where, and what to do.
Any other exception is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PlimsollError(Exception):
    """Base of the errors that a user can fix; `str()` is the whole message."""


def reason_of(error: Exception) -> str:
    """Why something failed, for a message that names the file itself: what the system says of an OSError, without its
    number and the path; of all else its text."""
    return str((error.strerror if isinstance(error, OSError) else None) or error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault in a user's file.

    `where` is the file and the key path (`catalogue/tiny.toml: variant[2].tier`), `what` the fault with the offending
    value, `fix` the next step; `fix` may be empty where `what` says it all.
    """

    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"; {self.fix}" if self.fix else "")


class CatalogueError(PlimsollError):
    """Every fault of every catalogue file, collected and raised once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        plural = "fault" if len(self.faults) == 1 else "faults"
        super().__init__(
            "\n".join([f"{len(self.faults)} {plural} in the catalogue:", *(f"  {f}" for f in self.faults)])
        )
