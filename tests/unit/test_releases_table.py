"""The table of releases says nothing that the declared range contradicts, and no row is without its reason."""

from __future__ import annotations

import pytest
from packaging.version import Version

from benchmarks.releases import FAILS, HOLDS, NOT_MEASURED, TABLE, TRIED, Result, declared_range, table

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.read_text("utf-8").partition("<!-- made by")[2].splitlines()
    if line.startswith("| 5.")
]


def test_the_table_speaks_of_the_declared_range() -> None:
    declared = declared_range()
    assert ROWS
    for release, inside, *_ in ROWS:
        assert (inside == "yes") == (Version(release) in declared), release


def test_nothing_is_declared_that_does_not_hold() -> None:
    declared = declared_range()
    assert [release for release, _, result, *_ in ROWS if result == FAILS and Version(release) in declared] == []
    lowest = next(Version(one.version) for one in declared if one.operator == ">=")
    held = [Version(release) for release, _, result, *_ in ROWS if result == HOLDS]
    assert min(held).release[:2] == lowest.release[:2]


def test_every_row_has_a_result_and_what_it_rests_on() -> None:
    for release, _, result, checks, reason, _ in ROWS:
        assert Version(release) in TRIED
        assert result in (HOLDS, FAILS, NOT_MEASURED)
        if result == HOLDS:
            passed, asked = checks.split(" of ")
            assert passed == asked
            assert int(passed) > 0
        else:
            assert reason, release


@pytest.mark.parametrize("reason", ["a | b", "<b>"])
def test_a_reason_breaks_no_table(reason: str) -> None:
    row = Result(release="5.1.0", result=FAILS, checks="1 of 2", reason=reason, beside="")
    line = table([row], declared_range()).splitlines()[2]
    assert line.replace("\\|", "").count("|") == 7
    assert "<" not in line
