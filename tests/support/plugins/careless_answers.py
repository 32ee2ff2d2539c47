"""Sabotage of what becomes of answers, as a careless edit of the suite would have it; asked for by `-p`.

`CARELESS=drops` leaves one answer out, `shuffles` hands each answer to another question, `zeroes` takes probabilities
for certain ones, `negates` turns the score round, `breaks` meets a logit that is no number.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    import fixtures.answers as module

    rest, ask, loss = module._Dialogue.rest, module._Dialogue._ask, module._g_nll

    def drops(self: Any, done: Any) -> Iterator[Any]:
        yield from list(rest(self, done))[1:]

    def shuffles(self: Any, places: Any) -> Any:
        answers = ask(self, places)
        return (*answers[11:], *answers[:11])

    def zeroes(self: Any, places: Any) -> Any:
        return tuple(replace(one, log_probs=tuple(0.0 for _ in one.log_probs)) for one in ask(self, places))

    def breaks(self: Any, places: Any) -> Any:
        first, *others = ask(self, places)
        return (replace(first, finite=False), *others)

    def negates(record: Any) -> float | None:
        found = loss(record)
        return None if found is None else -found

    match os.environ["CARELESS"]:
        case "drops":
            module._Dialogue.rest = drops  # type: ignore[method-assign]
        case "shuffles":
            module._Dialogue._ask = shuffles  # type: ignore[method-assign]
        case "zeroes":
            module._Dialogue._ask = zeroes  # type: ignore[method-assign]
        case "breaks":
            module._Dialogue._ask = breaks  # type: ignore[method-assign]
        case "negates":
            module._g_nll = negates
