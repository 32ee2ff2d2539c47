"""Sums over several real ranks: exact, timed, and told when a rank adds something else or never comes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plimsoll.errors import PlimsollError
from plimsoll.host.client.process import Host, Hosts
from plimsoll.host.failures import HostError
from plimsoll.host.protocol import Call
from plimsoll.host.rates import MeasureAllReduce, Rates
from tests.support.fork_servers import SERVERS

RANKS = 3


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with SERVERS.lent(), Hosts() as found:
        yield found


def _started(hosts: Hosts, folder: Path, count: int) -> list[Host]:
    return [hosts.start(f"rank{rank}", folder / f"{rank}.log") for rank in range(count)]


def _asked(started: list[Host], folder: Path, ranks: int = RANKS, backend: str = "gloo") -> list[Rates]:
    requests = [
        MeasureAllReduce(
            device="cpu",
            backend=backend,
            rank=rank,
            ranks=ranks,
            meeting=str(folder / "meeting"),
            sizes=(2**16, 2**20),
            rounds=3,
        )
        for rank in range(len(started))
    ]
    with ThreadPoolExecutor(len(started)) as pool:
        return list(pool.map(lambda pair: pair[0].ask(pair[1], 300.0), zip(started, requests, strict=True)))


def test_sums_over_all_ranks_are_exact(hosts: Hosts, tmp_path: Path) -> None:
    answers = _asked(_started(hosts, tmp_path, RANKS), tmp_path)
    assert [rates.error for rates in answers] == [0.0] * RANKS
    assert all(len(rates.rounds) == 3 and rates.rate > 0 for rates in answers)
    assert all(len(rates.medians) == 2 for rates in answers)


def test_a_rank_that_adds_something_else_shows_on_every_rank(hosts: Hosts, tmp_path: Path) -> None:
    started = _started(hosts, tmp_path, RANKS)
    started[1].ask(Call(target="tests.support.host_targets:add_too_much", arguments={"what": 1.0}), 120.0)
    assert all((rates.error or 0.0) > 0 for rates in _asked(started, tmp_path))


def test_a_rank_that_adds_no_number_shows_on_every_rank(hosts: Hosts, tmp_path: Path) -> None:
    started = _started(hosts, tmp_path, 2)
    started[1].ask(Call(target="tests.support.host_targets:add_too_much", arguments={"what": math.nan}), 120.0)
    answers = _asked(started, tmp_path, ranks=2)
    assert all(rates.error is not None and math.isnan(rates.error) for rates in answers)


def test_a_way_to_join_that_is_not_built_in_is_one_sentence(hosts: Hosts, tmp_path: Path) -> None:
    with pytest.raises(HostError) as error:
        _asked(_started(hosts, tmp_path, 1), tmp_path, ranks=1, backend="mpi")
    assert isinstance(error.value.__cause__, PlimsollError)
    assert str(error.value.__cause__).startswith("rank 0 of 1 did not join by mpi: ")
