"""How many workers `-n auto` starts, and how many threads a host's torch gets: the cores, divided among the workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fixtures import workers


def threads(
    monkeypatch: pytest.MonkeyPatch, *, cores: int, workers_: int | None, asked: str | None = None
) -> int | None:
    monkeypatch.setattr(workers, "usable_cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    config: Any = SimpleNamespace() if workers_ is None else SimpleNamespace(workerinput={"workercount": workers_})
    return workers.host_threads(config)


@pytest.mark.parametrize(
    ("cores", "workers_", "expected"),
    [(2, None, None), (2, 1, None), (2, 2, 1), (16, 2, 8), (16, 3, 5), (1, 2, 1), (2, 8, 1)],
)
def test_workers_divide_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers_: int | None, expected: int | None
) -> None:
    assert threads(monkeypatch, cores=cores, workers_=workers_) == expected


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 2), (8, 8), (64, 8)])
def test_workers_are_as_many_as_the_cores_but_never_many(
    monkeypatch: pytest.MonkeyPatch, cores: int, expected: int
) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: cores)
    assert workers.workers_on_cores() == expected


@pytest.mark.parametrize(("asked", "expected"), [("1", 1), ("3", 3), ("64", 8), ("0", 8), ("", 8), ("4,2", 8)])
def test_a_smaller_number_of_the_users_stays(monkeypatch: pytest.MonkeyPatch, asked: str, expected: int) -> None:
    assert threads(monkeypatch, cores=16, workers_=2, asked=asked) == expected
