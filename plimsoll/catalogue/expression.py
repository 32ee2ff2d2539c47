"""Parses the expressions of `-m` and `-k`: to select, to find unknown names, and to tell which checks are named.

The grammar is pytest's, reimplemented because the library must not import pytest; a property test compares the two. An
expression is never passed to Python's `eval`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from plimsoll.errors import PlimsollError
from plimsoll.usertoml.suggest import did_you_mean

_TOKEN: Final = re.compile(r"""[()=,]|"[^"\\]*"|'[^'\\]*'|[:\w.\-+\[\]\\/]+""")
"""A bracket, a sign or quoted text of a call, or a word of the characters that pytest allows in names."""
_OPERATORS: Final = ("and", "or", "not")
_SIGNS: Final = ("(", ")", "=", ",")
_CONSTANTS: Final = {"True": True, "False": False, "None": None}
_DEEPEST: Final = 50
"""The deepest nesting of brackets."""

Value: TypeAlias = str | int | bool | None
Matches: TypeAlias = Callable[[str, Mapping[str, Value]], bool]
"""Says whether a name, with the arguments of a call where it has them, matches."""
Selects: TypeAlias = Callable[[Collection[str]], bool]
"""Tells whether something with these marks is selected."""

_NO_ARGUMENTS: Final[Mapping[str, Value]] = MappingProxyType({})


class ExpressionError(PlimsollError):
    """An invalid expression over marks or words, or one with an unknown mark."""


@dataclass(frozen=True, slots=True)
class _Name:
    name: str
    arguments: Mapping[str, Value] = field(default_factory=lambda: _NO_ARGUMENTS)

    def holds(self, matches: Matches) -> bool:
        return matches(self.name, self.arguments)

    def names(self, *, positive: bool) -> Iterator[tuple[str, bool]]:
        yield self.name, positive


@dataclass(frozen=True, slots=True)
class _Not:
    inner: _Node

    def holds(self, matches: Matches) -> bool:
        return not self.inner.holds(matches)

    def names(self, *, positive: bool) -> Iterator[tuple[str, bool]]:
        yield from self.inner.names(positive=not positive)


@dataclass(frozen=True, slots=True)
class _Compound:
    """`and` or `or` of two or more parts."""

    parts: tuple[_Node, ...]
    every: bool

    def holds(self, matches: Matches) -> bool:
        return (all if self.every else any)(part.holds(matches) for part in self.parts)

    def names(self, *, positive: bool) -> Iterator[tuple[str, bool]]:
        for part in self.parts:
            yield from part.names(positive=positive)


_Node: TypeAlias = _Name | _Not | _Compound


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression. `text` is what was given."""

    text: str
    _root: _Node | None

    @property
    def is_empty(self) -> bool:
        """True for one without a name, which selects everything."""
        return self._root is None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name in it, each once, in the order of writing."""
        return tuple(dict.fromkeys(name for name, _ in self._all()))

    @property
    def asked(self) -> frozenset[str]:
        """The names that it asks for: those under no `not`, or under an even number of them.

        `tiny and not nq` asks for `tiny` alone: leaving something out does not ask for its neighbours.
        """
        return frozenset(name for name, positive in self._all() if positive)

    def selects(self, marks: Collection[str]) -> bool:
        """True for something with these marks; an expression without a name selects everything. A call with arguments
        selects nothing here, where marks have none."""
        return self.evaluate(lambda name, arguments: not arguments and name in marks)

    def evaluate(self, matches: Matches) -> bool:
        """The value of the expression, with `matches` for the value of each name."""
        return True if self._root is None else self._root.holds(matches)

    def _all(self) -> Iterator[tuple[str, bool]]:
        return iter(()) if self._root is None else self._root.names(positive=True)


def parse(text: str, option: str = "-m") -> Expression:
    """Parse an expression; `option` is how messages name it. Raises ExpressionError for an invalid one."""
    tokens = _tokens(text, option)
    if not tokens:
        return Expression(text, None)
    parser = _Parser(text, option, tokens)
    root = parser.either()
    parser.finish()
    return Expression(text, root)


def compile_expression(expression: str, known: Collection[str]) -> Selects:
    """A function that tells what an expression of marks selects; an empty expression selects everything.

    Raises ExpressionError for an invalid expression, and for names that are not in `known`, each with the nearest.
    """
    parsed = parse(expression)
    refuse_unknown(parsed, known)
    return parsed.selects


def refuse_unknown(expression: Expression, known: Collection[str]) -> None:
    """Raise ExpressionError with a line for each name that is not among `known`, and the nearest known one."""
    unknown = [name for name in expression.names if name not in known and name not in _CONSTANTS]
    if unknown:
        lines = [f"unknown mark '{name}' in -m '{expression.text}'; {did_you_mean(name, known)}" for name in unknown]
        raise ExpressionError("\n".join(lines))


def _tokens(text: str, option: str) -> list[str]:
    rest = _TOKEN.sub(" ", text).strip(" \t")
    if rest:
        raise ExpressionError(f"{option} '{text}': {rest[0]!r} has no meaning there; use names, and, or, not, ( and )")
    return _TOKEN.findall(text)


class _Parser:
    """Recursive descent: `not` binds closer than `and`, and `and` closer than `or`."""

    def __init__(self, text: str, option: str, tokens: list[str]) -> None:
        self._text = text
        self._option = option
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    def either(self) -> _Node:
        return self._several("or", self._both)

    def finish(self) -> None:
        if self._place < len(self._tokens):
            raise self._expected("'and', 'or' or the end")

    def _both(self) -> _Node:
        return self._several("and", self._one)

    def _several(self, operator: str, part: Callable[[], _Node]) -> _Node:
        parts = [part()]
        while self._took(operator):
            parts.append(part())
        return parts[0] if len(parts) == 1 else _Compound(tuple(parts), operator == "and")

    def _one(self) -> _Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ExpressionError(f"{self._option} is nested more than {_DEEPEST} deep")
        node: _Node
        if self._took("not"):
            node = _Not(self._one())
        elif self._took("("):
            node = self.either()
            if not self._took(")"):
                raise self._expected("')'")
        else:
            node = self._name()
        self._depth -= 1
        return node

    def _name(self) -> _Node:
        name = self._word("a mark" if self._option == "-m" else "a word")
        if not self._took("("):
            return _Name(name)
        arguments = dict([self._argument()])
        while self._took(","):
            arguments.update([self._argument()])
        if not self._took(")"):
            raise self._expected("')'")
        return _Name(name, arguments)

    def _argument(self) -> tuple[str, Value]:
        key = self._word("the name of an argument")
        if not self._took("="):
            raise self._expected("'='")
        token = self._peek()
        if token is not None and token[0] in "'\"":
            self._place += 1
            return key, token[1:-1]
        word = self._word("a text in quotes, a whole number, True, False or None")
        if word in _CONSTANTS:
            return key, _CONSTANTS[word]
        if word.removeprefix("-").isdecimal():
            return key, int(word)
        raise ExpressionError(f"{self._option} '{self._text}': '{word}' is no value; put a text in quotes")

    def _word(self, what: str) -> str:
        token = self._peek()
        if token is None or token in (*_OPERATORS, *_SIGNS) or token[0] in "'\"":
            raise self._expected(what)
        self._place += 1
        return token

    def _peek(self) -> str | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _took(self, token: str) -> bool:
        if self._peek() == token:
            self._place += 1
            return True
        return False

    def _expected(self, what: str) -> ExpressionError:
        found = "the end" if (token := self._peek()) is None else f"'{token}'"
        return ExpressionError(f"{self._option} '{self._text}': expected {what}, found {found}")
