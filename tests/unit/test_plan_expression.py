"""The expressions of `-m` and `-k`, held against pytest's own, and what they ask for by name."""

from __future__ import annotations

from typing import Any

import pytest
from _pytest.mark.expression import Expression
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.catalogue.expression import ExpressionError, compile_expression, parse

KNOWN = ("tiny", "gpu70b", "nf4", "nf4-dq", "llama", "primary")

names = st.sampled_from(KNOWN)
expressions = st.recursive(
    names,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        inner.map(lambda text: f"not {text}"),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=12,
)


@given(expression=expressions, marks=st.sets(names))
def test_an_expression_selects_what_pytest_would(expression: str, marks: set[str]) -> None:
    evaluate: Any = Expression.compile(expression).evaluate
    theirs = evaluate(lambda name, **_: name in marks)
    assert compile_expression(expression, KNOWN)(marks) is theirs


@pytest.mark.parametrize(
    "expression", ["tiny(size=1)", "tiny(size='a b', big=True)", "tiny(size=-1) or nf4", "not tiny(size=None)", "tiny"]
)
@pytest.mark.parametrize("own", [{"size": 1}, {"size": "a b", "big": True}, {"size": -1}, {}])
def test_calls_match_as_pytests_do(expression: str, own: dict[str, Any]) -> None:
    def matches(name: str, /, **kwargs: Any) -> bool:
        return name == "tiny" and all(key in own and own[key] == value for key, value in kwargs.items())

    theirs: Any = Expression.compile(expression).evaluate
    assert parse(expression).evaluate(lambda name, kwargs: matches(name, **kwargs)) is theirs(matches)


def test_a_long_expression_is_read() -> None:
    assert parse(" or ".join(["tiny"] * 5000)).selects(["tiny"])


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("tiny and dataset", {"tiny", "dataset"}),
        ("tiny and not nq", {"tiny"}),
        ("not (tiny and nq)", set()),
        ("not not nq", {"nq"}),
        ("tiny and not (load or not squad)", {"tiny", "squad"}),
        ("nq or not nq", {"nq"}),
        ("", set()),
    ],
)
def test_what_is_negated_is_not_asked_for(expression: str, asked: set[str]) -> None:
    assert parse(expression).asked == asked


def test_an_empty_expression_selects_everything() -> None:
    assert compile_expression("  ", KNOWN)(())


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("gpu70", "unknown mark 'gpu70' in -m 'gpu70'; did you mean 'gpu70b'?"),
        ("tiny and nf44", "unknown mark 'nf44' in -m 'tiny and nf44'; did you mean 'nf4'?"),
        ("tiny and", "-m 'tiny and': expected a mark, found the end"),
        ("tiny nf4", "-m 'tiny nf4': expected 'and', 'or' or the end, found 'nf4'"),
        ("(tiny", "-m '(tiny': expected ')', found the end"),
        ("tiny)", "-m 'tiny)': expected 'and', 'or' or the end, found ')'"),
        ("or tiny", "-m 'or tiny': expected a mark, found 'or'"),
        ("()", "-m '()': expected a mark, found ')'"),
        ("tiny & nf4", "-m 'tiny & nf4': '&' has no meaning there; use names, and, or, not, ( and )"),
        ("__import__('os')", "-m '__import__('os')': expected the name of an argument, found ''os''"),
        (
            "tiny(size=",
            "-m 'tiny(size=': expected a text in quotes, a whole number, True, False or None, found the end",
        ),
        ("tiny(size=big)", "-m 'tiny(size=big)': 'big' is no value; put a text in quotes"),
        ("tiny('a", "-m 'tiny('a': \"'\" has no meaning there; use names, and, or, not, ( and )"),
        ("(" * 60 + "tiny" + ")" * 60, "-m is nested more than 50 deep"),
    ],
)
def test_what_is_no_expression_is_one_clear_message(expression: str, message: str) -> None:
    with pytest.raises(ExpressionError) as error:
        compile_expression(expression, KNOWN)
    assert str(error.value) == message
