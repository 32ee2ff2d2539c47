"""Hosts that predict for commands: as many as threads ask at once, and none that has died."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from plimsoll.catalogue.entries import Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.prediction import Subject
from plimsoll.host.protocol import Predict
from plimsoll.plan.predictions import HostPool, Predictions
from plimsoll.plan.shipped import Shipped
from tests.support.fork_servers import SERVERS

CATALOGUE = read_catalogue()
TINY = [one for one in CATALOGUE.variants.values() if one.tier.id == "tiny" and one.id.endswith("/bf16")]
SHIPPED = Shipped.read()


@pytest.fixture
def pool() -> Iterator[HostPool]:
    with SERVERS.lent(), HostPool() as hosts:
        yield hosts


def test_threads_that_ask_at_once_have_hosts_of_their_own(pool: HostPool) -> None:
    assert len(TINY) > 2
    together = Barrier(len(TINY))

    def ask(variant: Variant) -> object:
        together.wait()
        return pool.ask(Predict(subject=Subject.of(variant)))

    with ThreadPoolExecutor(max_workers=len(TINY)) as threads:
        answers = list(threads.map(ask, TINY))
    assert answers == [SHIPPED.prediction(Subject.of(one)) for one in TINY]


def test_a_host_that_has_died_is_not_asked_again(pool: HostPool, tmp_path: Path) -> None:
    first, second = TINY[:2]
    assert pool.fill(Predictions(tmp_path, pool.ask), [first]) == 1
    (host,) = pool._idle
    os.kill(host.pid, signal.SIGKILL)
    host.close()
    assert pool.ask(Predict(subject=Subject.of(second))) == SHIPPED.prediction(Subject.of(second))
