"""The sampler beside a host: what it keeps, and that a slow driver is asked less often."""

from __future__ import annotations

import time

from plimsoll.host.server.gpu_sampler import GpuSampler, Look


def test_the_highest_of_each_figure_is_kept_also_where_the_series_is_thinned() -> None:
    numbers = iter(range(10**6))
    highest = 700

    def look() -> Look:
        number = next(numbers)
        return Look(device=10**9 if number == highest else number, process=number)

    sampler = GpuSampler([look], [look])
    for _ in range(2_000):
        track = sampler.track(0)
    assert track["device_peak"] == 10**9
    assert track["process_peak"] == 1_999
    assert len(track["series"]) <= 241
    assert max(point[1] for point in track["series"]) == 10**9


def test_no_answer_is_no_figure() -> None:
    sampler = GpuSampler([lambda: Look(device=None)], [lambda: Look(device=None)])
    track = sampler.track(0)
    assert (track["device_peak"], track["process_peak"]) == (None, None)
    assert sampler.cost().share is None, "nothing was sampled by the thread"


def test_a_slow_driver_is_asked_less_often() -> None:
    def slow() -> Look:
        began = time.thread_time()
        while time.thread_time() - began < 0.004:
            pass
        return Look(device=1)

    sampler = GpuSampler([slow], [slow], interval=0.001, budget=0.05)
    sampler.start()
    while sampler.track(0)["series"][-1][0] < 1.0:
        time.sleep(0.02)
    cost = sampler.cost()
    sampler.stop()
    assert cost.interval is not None
    assert cost.interval >= 0.06, "4 ms of work at 5 % of a core is a sample each 80 ms"


def test_a_sampler_that_never_started_can_be_stopped() -> None:
    GpuSampler([], []).stop()
