"""The search for slow GPUs in fleets whose truth is known: how often it is wrong, and how often it finds one.

The figures of docs/fleet.md come from the same functions, with more fleets each (`benchmarks/fleet_honesty.py`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from benchmarks.fleet_honesty import KINDS, Kind, false_alarms, power, slow_ones_found

FLEETS = 24
_BY_NAME = {kind.name: kind for kind in KINDS}
BASE = _BY_NAME["64 nodes of 8 GPUs"]
SMALL = [kind for kind in KINDS if kind.nodes * kind.figures < 400]
LARGE = [kind for kind in KINDS if kind.nodes * kind.figures >= 400]
FOUND = [BASE, _BY_NAME["nodes differ, 1 %"], _BY_NAME["heavy tails of figures, t of 3"]]


def _name(kind: Kind) -> str:
    return kind.name


@cache
def alarms(kind: Kind) -> float:
    """The share of FLEETS healthy fleets with an alarm; those of one kind are searched once for both tests of them."""
    return false_alarms(kind, FLEETS)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.nodes * kind.figures < 400], ids=lambda kind: kind.name
)
def test_small_fleets_and_few_of_a_kind_raise_no_alarm(kind: Kind) -> None:
    # Of 60 fleets 5 % are 3; by chance that shows as up to 7.
    assert false_alarms(kind, 60) <= 7 / 60


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.nodes * kind.figures >= 400], ids=lambda kind: kind.name
)
def test_healthy_fleets_of_64_nodes_raise_no_alarm(kind: Kind) -> None:
    # Of 24 fleets 5 % are 1.2; by chance that shows as up to 4.
    assert alarms(kind) <= 4 / FLEETS


def test_over_all_kinds_of_noise_the_promise_is_kept() -> None:
    """The same fleets, 288 together: if 10 % had an alarm, one try of a thousand would show 5 % or fewer."""
    large = [kind for kind in KINDS if kind.nodes == 64 and kind.gpus == 8]
    assert len(large) == 12
    assert sum(map(alarms, large)) / len(large) <= 0.05


@pytest.mark.parametrize("kind", FOUND, ids=_name)
def test_a_gpu_that_is_eight_percent_slow_is_found(kind: Kind) -> None:
    # 95 % are promised; 24 fleets of 95 % show 21 of 24 by chance.
    assert power(kind, FLEETS) >= 21 / FLEETS


def test_what_is_within_the_floor_is_not_named_however_sure() -> None:
    quiet = replace(BASE, node=0.0, gpu=0.0005, figure=0.0005)
    assert power(quiet, 6, slower=1 / 0.96) == 0.0
    assert power(quiet, 6, slower=1 / 0.93) == 1.0


def test_without_the_correction_healthy_fleets_would_raise_alarms(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = replace(BASE, node=0.0, gpu=0.02, figure=0.02)
    assert false_alarms(noisy, 8) <= 1 / 8
    monkeypatch.setattr("plimsoll.fleet.outliers.holm", list)
    assert false_alarms(noisy, 8) >= 6 / 8


def test_many_slow_gpus_do_not_hide_each_other() -> None:
    """Faults are no tail of the noise: 40 slow ones of 2,000 are all found."""
    assert slow_ones_found(replace(BASE, nodes=250), every=50, slower=1.1) >= 0.95
