"""What is asked of a dataset's repository on the Hub, and the rows that came: plain values that cross a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.hub.access import Access, Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsQuery:
    """The rows of a split, please."""

    repository: str
    config: str | None
    """None is the only configuration, or the one that the repository takes for its default."""
    split: str
    revision: str | None = None
    """None is the Hub's default branch."""
    limit: int | None = None
    """Rows from the front of the split; None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRows:
    """The answer: rows where `access.answer.is_yes`, whose `commit` says of which version of the repository."""

    access: Access
    rows: tuple[Mapping[str, Any], ...] = ()
    total: int = 0
    """Rows of the split, of which `rows` may be the front."""

    @property
    def from_cache(self) -> bool:
        """True where the Hub was not asked, or could not be, and an earlier download was used."""
        return self.access.answer is Reply.CACHED
