"""`-m` outside of pytest: the same marks with `and`, `or`, `not` and parentheses, for commands that must not import it.

Read by hand and evaluated as values: an expression is never handed to Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

from plimsoll.errors import PlimsollError
from plimsoll.usertoml.suggest import did_you_mean

_TOKEN: Final = re.compile(r"[()]|[:\w.\-+\[\]\\/]+")
"""A bracket, or a word of the characters that pytest allows in names."""
_OPERATORS: Final = ("and", "or", "not")
_DEEPEST: Final = 50
"""Brackets within brackets; nobody means more."""

Selects = Callable[[Collection[str]], bool]
"""Says whether something with these marks is selected."""


class ExpressionError(PlimsollError):
    """An expression over marks that cannot be read, or that names an unknown mark."""


def compile_expression(expression: str, known: Collection[str]) -> Selects:
    """What an expression selects; an empty one selects everything.

    Raises ExpressionError for what is no expression, and for each name that is not among `known`, with the nearest.
    """
    tokens = _tokens(expression)
    if not tokens:
        return lambda _: True
    unknown = [t for t in dict.fromkeys(tokens) if t not in (*_OPERATORS, "(", ")") and t not in known]
    if unknown:
        lines = [f"unknown mark '{name}' in -m '{expression}'; {did_you_mean(name, known)}" for name in unknown]
        raise ExpressionError("\n".join(lines))
    parser = _Parser(expression, tokens)
    selects = parser.either()
    parser.finish()
    return selects


def _tokens(expression: str) -> list[str]:
    rest = _TOKEN.sub(" ", expression).strip()
    if rest:
        raise ExpressionError(f"-m '{expression}': {rest[0]!r} has no meaning there; use names, and, or, not, ( and )")
    return _TOKEN.findall(expression)


class _Parser:
    """Recursive descent: `not` binds closer than `and`, and `and` closer than `or`."""

    def __init__(self, expression: str, tokens: list[str]) -> None:
        self._expression = expression
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    def either(self) -> Selects:
        first = self._both()
        if not self._took("or"):
            return first
        second = self.either()
        return lambda marks: first(marks) or second(marks)

    def finish(self) -> None:
        if self._place < len(self._tokens):
            raise self._expected("'and', 'or' or the end")

    def _both(self) -> Selects:
        first = self._one()
        if not self._took("and"):
            return first
        second = self._both()
        return lambda marks: first(marks) and second(marks)

    def _one(self) -> Selects:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ExpressionError(f"-m is nested more than {_DEEPEST} deep")
        if self._took("not"):
            inner = self._one()
            selects: Selects = lambda marks: not inner(marks)  # noqa: E731  named so that both branches have one type
        elif self._took("("):
            selects = self.either()
            if not self._took(")"):
                raise self._expected("')'")
        else:
            selects = self._name()
        self._depth -= 1
        return selects

    def _name(self) -> Selects:
        token = self._tokens[self._place] if self._place < len(self._tokens) else None
        if token is None or token in (*_OPERATORS, ")"):
            raise self._expected("a mark")
        self._place += 1
        return lambda marks: token in marks

    def _took(self, token: str) -> bool:
        if self._place < len(self._tokens) and self._tokens[self._place] == token:
            self._place += 1
            return True
        return False

    def _expected(self, what: str) -> ExpressionError:
        found = f"'{self._tokens[self._place]}'" if self._place < len(self._tokens) else "the end"
        return ExpressionError(f"-m '{self._expression}': expected {what}, found {found}")
