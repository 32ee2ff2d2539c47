"""For whom a report is written: they differ in how much of a finding they are shown."""

from __future__ import annotations

from enum import StrEnum


class Reader(StrEnum):
    """For whom the verdict is written."""

    SUMMARY = "summary"
    STEP = "step"
    PAGE = "page"
