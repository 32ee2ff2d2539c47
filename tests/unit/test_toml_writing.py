"""Values written as TOML are the values that a TOML reader finds."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.usertoml.writing import lines, value

SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
# Narrow and deep: how a value is written depends on what stands around it, and on its width only as in the next test.
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_is_written_is_read_again(data: dict[str, Any]) -> None:
    assert tomllib.loads("\n".join(lines(data, "model.config")))["model"]["config"] == data


def test_a_wide_table_gets_a_heading_and_a_long_list_lines_of_its_own() -> None:
    data = {"sizes": {f"size_{number}": number for number in range(20)}, "kinds": ["sliding_attention"] * 20, "last": 1}
    written = list(lines(data, "t"))
    assert tomllib.loads("\n".join(written))["t"] == data
    assert "[t.sizes]" in written
    assert written[1] == "kinds = ["
    assert max(map(len, written)) <= 120
    assert written.index("last = 1") < written.index("[t.sizes]")


@pytest.mark.parametrize("data", ["a\udcff", {"\ud83d": 1}, ["\udfff"]])
def test_half_of_a_character_is_refused_in_a_text_and_in_a_key(data: object) -> None:
    with pytest.raises(ValueError, match="TOML has no text that is not UTF-8: "):
        value(data)


@pytest.mark.parametrize("data", [None, [None], {"a": None}, object()])
def test_what_toml_cannot_say_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="TOML has no"):
        value(data)
