"""Sabotage of what becomes of answers, as a careless edit of the suite would have it; asked for by `-p`.

`CARELESS` is a JSON object from a model to what happens to its answers: `drops` leaves one out, `shuffles` hands each
to another question, `zeroes` takes probabilities for certain ones, `negates` turns the score round, `breaks` meets a
logit that is no number.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    import fixtures.answers as module

    faults: dict[str, str] = json.loads(os.environ["CARELESS"])
    rest, ask, loss = module._Dialogue.rest, module._Dialogue._ask, module._g_nll

    def fault_of(variant: str) -> str | None:
        return faults.get(variant.partition("/")[0])

    def careless_rest(self: Any, done: Any) -> Iterator[Any]:
        answers = list(rest(self, done))
        yield from answers[1:] if fault_of(self._asking.variant) == "drops" else answers

    def careless_ask(self: Any, places: Any) -> Any:
        answers = ask(self, places)
        match fault_of(self._asking.variant):
            case "shuffles":
                return (*answers[11:], *answers[:11])
            case "zeroes":
                return tuple(replace(one, log_probs=tuple(0.0 for _ in one.log_probs)) for one in answers)
            case "breaks":
                return (replace(answers[0], finite=False), *answers[1:])
        return answers

    def careless_loss(record: Any) -> float | None:
        found = loss(record)
        return -found if found is not None and fault_of(record.variant) == "negates" else found

    module._Dialogue.rest = careless_rest  # type: ignore[method-assign]
    module._Dialogue._ask = careless_ask  # type: ignore[method-assign]
    module._g_nll = careless_loss
