"""A fact of a model: a value with its words, or the reason why it is not known. Nothing in here guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plimsoll.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of an inspection."""

    key: str
    """Its name in JSON."""
    label: str
    value: Any
    """JSON data in base units; None where it is not known."""
    text: str
    """The value for people; where it is not known, why."""
    known: bool = True

    @property
    def words(self) -> str:
        """What stands beside the label."""
        if self.known:
            return self.text
        return f"unknown: {self.text}" if self.text else "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """Facts that belong together."""

    key: str
    title: str
    facts: Sequence[Fact]


def fact(key: str, label: str, value: Any, text: str | None = None) -> Fact:
    """A fact that is known. Its text is the value itself where none is given."""
    return Fact(key=key, label=label, value=value, text=str(value) if text is None else text)


def unknown(key: str, label: str, why: str = "") -> Fact:
    """A fact that is not known, with the reason."""
    return Fact(key=key, label=label, value=None, text=why, known=False)


def count(key: str, label: str, value: int | None, why: str, beside: str = "") -> Fact:
    """A whole number with what stands beside it, or the reason why it is not known."""
    return unknown(key, label, why) if value is None else fact(key, label, value, f"{value:,}{beside}")


def size(key: str, label: str, value: int | None, why: str, beside: str = "") -> Fact:
    """Bytes, or the reason why they are not known."""
    return unknown(key, label, why) if value is None else fact(key, label, value, f"{format_bytes(value)}{beside}")
