"""The query for the rows of a dataset on the Hub, and its answer, as plain values that cross a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.hub.access import Access, Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsQuery:
    """A query for the rows of a split."""

    repository: str
    config: str | None
    """None for the only configuration, or the repository's default."""
    split: str
    revision: str | None = None
    """None for the Hub's default branch."""
    limit: int | None = None
    """Rows from the front of the split; None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRows:
    """The answer: rows where `access.answer.is_yes`; `access.commit` is the version of the repository."""

    access: Access
    rows: tuple[Mapping[str, Any], ...] = ()
    total: int = 0
    """Number of rows in the split; `rows` may be only the first of them."""

    @property
    def from_cache(self) -> bool:
        """True where an earlier download was used, because the Hub was not asked or could not be."""
        return self.access.answer is Reply.CACHED
