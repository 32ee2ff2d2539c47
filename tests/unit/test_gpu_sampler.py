"""The sampler beside a host: what it keeps, and that a slow driver is asked less often."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from plimsoll.host.server.gpu_sampler import BUDGET, GpuSampler, MemorySample, Pace


def test_the_highest_of_each_figure_is_kept_also_where_the_series_is_thinned() -> None:
    numbers = iter(range(10**6))
    highest = 700

    def look() -> MemorySample:
        number = next(numbers)
        return MemorySample(device=10**9 if number == highest else number, process=number)

    sampler = GpuSampler([lambda: 0], [look])
    for _ in range(2_000):
        track = sampler.track(0)
    assert track["device_peak"] == 10**9
    assert track["process_peak"] == 1_999
    assert len(track["series"]) <= 241
    assert max(point[1] for point in track["series"]) == 10**9


def test_no_answer_is_no_figure() -> None:
    sampler = GpuSampler([lambda: None], [lambda: MemorySample(device=None)])
    track = sampler.track(0)
    assert (track["device_peak"], track["process_peak"]) == (None, None)
    assert sampler.cost().share is None, "nothing was sampled by the thread"


def test_a_slow_driver_is_asked_less_often() -> None:
    def slow() -> int:
        began = time.thread_time()
        while time.thread_time() - began < 0.004:
            pass
        return 1

    sampler = GpuSampler([slow], [lambda: MemorySample(device=slow())], interval=0.001, budget=0.05)
    sampler.start()
    while sampler.track(0)["series"][-1][0] < 1.0:
        time.sleep(0.02)
    cost = sampler.cost()
    sampler.stop()
    assert cost.interval is not None
    assert cost.interval >= 0.06, "4 ms of work at 5 % of a core is a sample each 80 ms"


def test_a_sampler_that_never_started_can_be_stopped() -> None:
    GpuSampler([], []).stop()


def _looks(cheap: float, close: float, seconds: float = 60.0) -> tuple[list[tuple[float, bool]], float]:
    """When each look of a minute is made, and whether closely; and the part of a core that all took."""
    pace = Pace()
    at, spent, looks = 0.01, 0.0, []
    while at < seconds:
        closely = at >= pace.close_at
        cost = close if closely else cheap
        looks.append((at, closely))
        if closely:
            pace.took_closely(at, cost)
        else:
            pace.took(cost)
        spent += cost
        at += cost + pace.pause(at)
    return looks, spent / at


@pytest.mark.parametrize(
    ("cheap", "close", "steady", "closest"),
    [
        (60e-6, 200e-6, 0.010, 0.27),
        (60e-6, 2e-3, 0.010, 1.4),  # a driver that lists processes slowly: closer looks are rare, cheap ones are not
        (300e-6, 300e-6, 0.0385, 0.33),
        (1.5e-3, 4e-3, 0.2, 3.2),
    ],
)
def test_looks_keep_within_their_part_and_leave_no_gap(
    cheap: float, close: float, steady: float, closest: float
) -> None:
    looks, share = _looks(cheap, close)
    assert share <= BUDGET * 1.02
    gaps = [after - before for (before, _), (after, _) in pairwise(looks)]
    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(steady, rel=0.05)
    assert max(gaps) <= 4.2 * steady + close
    closer = [at for at, closely in looks if closely]
    assert max(after - before for before, after in pairwise(closer)) <= closest


def test_a_dear_moment_is_made_up_for_and_opens_no_gap() -> None:
    pace, at, pause, spent = Pace(), 0.0, 0.0, 0.0
    for number in range(1, 400):
        at += 0.01 + pause
        spent += (cost := 5e-3 if number == 100 else 50e-6)
        pace.took(cost)
        pause = pace.pause(at)
        assert pause <= 4 * 0.08
    assert spent / at <= BUDGET
    assert pause == pytest.approx(0.01), "and is forgotten"


def test_what_the_thread_saw_is_there_whenever_it_is_asked() -> None:
    """A peak between two closer looks, of the second of two devices."""
    seen = iter([5, 7, 10**9])
    sampler = GpuSampler(
        [lambda: 1, lambda: next(seen, 6)], [lambda: MemorySample(device=2)] * 2, interval=0.001, budget=1.0
    )
    sampler.start()
    while sampler.track(1)["device_peak"] != 10**9:
        time.sleep(0.01)
    sampler.stop()
    assert sampler.track(0)["device_peak"] == 2
