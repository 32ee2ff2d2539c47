"""The expressions of `plimsoll plan -m`, held against pytest's own."""

from __future__ import annotations

from typing import Any

import pytest
from _pytest.mark.expression import Expression
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.catalogue.expression import ExpressionError, compile_expression

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
        ("__import__('os')", "-m '__import__('os')': \"'\" has no meaning there; use names, and, or, not, ( and )"),
        ("(" * 60 + "tiny" + ")" * 60, "-m is nested more than 50 deep"),
    ],
)
def test_what_is_no_expression_is_one_clear_message(expression: str, message: str) -> None:
    with pytest.raises(ExpressionError) as error:
        compile_expression(expression, KNOWN)
    assert str(error.value) == message
