"""Who else uses a GPU, by what NVML names and by what is in use."""

from __future__ import annotations

import pytest

from plimsoll.node.tenants import Tenants

TOTAL = 150_754_820_096


@pytest.mark.parametrize(
    ("processes", "used", "held", "said"),
    [
        ((), 600_000_000, 0, "used by nobody else"),
        (((42, 9 * 10**9),), 10**10, 9 * 10**9, "used by process 42 (9.00 GB (8.38 GiB))"),
        (((42, None), (43, 5)), 10**10, None, "used by processes 42 (unknown), 43 (5 bytes)"),
        (
            (),
            9 * 10**9,
            9 * 10**9,
            "9.00 GB (8.38 GiB) in use by nobody that NVML names: outside of this container, perhaps",
        ),
    ],
)
def test_what_others_hold(
    processes: tuple[tuple[int, int | None], ...], used: int, held: int | None, said: str
) -> None:
    found = Tenants(processes=processes, used=used, total=TOTAL)
    assert (found.held, str(found)) == (held, said)
    assert found.are_there is (held != 0)


def test_a_gpu_without_a_figure_of_its_memory_is_judged_by_its_processes() -> None:
    assert not Tenants(processes=(), used=None, total=None).are_there
