"""A row that is in order and still no example, with the reason: counted, and told in evidence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Why a row is not asked."""

    why: str
