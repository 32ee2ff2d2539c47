"""Hosts for predictions, started when the first is needed: a plan that the cache answers starts none.

Importing torch takes seconds and predicting a model a few tenths, so what is missing is shared out over the processor's
cores, all variants of a model to one host, which builds it once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from plimsoll.catalogue.entries import Variant
from plimsoll.footprint.prediction import Subject
from plimsoll.host.client.process import Host, Hosts
from plimsoll.host.failures import HostFailure
from plimsoll.host.protocol import Predict, Request
from plimsoll.plan.predictions import DEADLINE, Predictions

R = TypeVar("R")

_MOST_HOSTS: Final = 4


class HostPool:
    """Hosts that predict; a context manager, which ends them."""

    def __init__(self) -> None:
        self._hosts = Hosts()
        self._logs = tempfile.TemporaryDirectory(prefix="plimsoll-")
        self._host: Host | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._hosts.close()
        self._logs.cleanup()

    def ask(self, request: Request[R]) -> R:
        """Ask one host. Raises HostFailure and HostStartError."""
        if self._host is None or not self._host.is_alive:
            self._host = self._start("prediction")
        return self._host.ask(request, deadline=DEADLINE)

    def fill(self, predictions: Predictions, variants: Sequence[Variant]) -> int:
        """Predict what is missing, on several hosts at once; returns how many were. Failures are left for whoever asks
        for the variant. Raises HostStartError."""
        missing = predictions.missing(variants)
        if not missing:
            return 0
        shares = _shares(missing, min(_MOST_HOSTS, os.cpu_count() or 1))
        hosts = [self._start(f"prediction-{number}") for number in range(len(shares))]
        self._host = self._host or hosts[0]
        with ThreadPoolExecutor(max_workers=len(hosts)) as threads:
            list(threads.map(lambda host, share: _predict(host, share, predictions.keep), hosts, shares))
        return len(missing)

    def _start(self, name: str) -> Host:
        return self._hosts.start(name, Path(self._logs.name) / f"{name}.log", threads=1)


def _predict(host: Host, subjects: Sequence[Subject], keep: Callable[..., None]) -> None:
    for subject in subjects:
        try:
            prediction = host.ask(Predict(subject=subject), deadline=DEADLINE)
        except HostFailure:
            continue
        keep(subject, prediction)


def _shares(subjects: Sequence[Subject], count: int) -> list[list[Subject]]:
    """Subjects of one configuration stay together; the rest is dealt out in turn."""
    groups: dict[str, list[Subject]] = {}
    for subject in subjects:
        groups.setdefault(subject.config_json, []).append(subject)
    shares: list[list[Subject]] = [[] for _ in range(min(count, len(groups)))]
    for number, group in enumerate(groups.values()):
        shares[number % len(shares)] += group
    return shares
