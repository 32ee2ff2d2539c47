"""Charts over time: each sample, level and band where a reader finds it by the figures beside the axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from plimsoll.present.document import Gallery
from plimsoll.report.line_charts import Samples, memory_chart
from tests.support.line_charts import DrawnChart, drawn_charts
from tests.support.pages import fragment

MB, GB = 10**6, 10**9


def drawn(lines: Sequence[tuple[str, Sequence[Samples]]], **changes: Any) -> DrawnChart:
    chart = memory_chart("a/nf4", **{"alt": "x", "exact": "all", "seconds": 10.0, "lines": lines, **changes})
    [found] = drawn_charts(fragment([Gallery(charts=(chart,))]))
    return found


@pytest.mark.parametrize("scale", [1, 7.3e3, 1e6, 4.56e8, 1e9, 8.1e10])
def test_every_sample_is_drawn_at_its_time_and_height(scale: float) -> None:
    hosts = [
        [(0.0, round(scale * 3)), (0.25, round(scale * 7)), (4.0, round(scale * 5))],
        [(5.5, round(scale * 2)), (9.97, round(scale * 9))],
    ]
    chart = drawn([("resident", hosts)])
    assert [len(run) for run in chart.lines["resident"]] == [3, 2], "hosts are not joined"
    read = [point for run in chart.lines["resident"] for point in run]
    for (second, value), (at, count) in zip(read, [sample for host in hosts for sample in host], strict=True):
        assert second == pytest.approx(at, abs=0.01)
        assert value == pytest.approx(count, abs=0.002 * 9 * scale)
    assert chart.end == pytest.approx(10.0, rel=1e-3)
    assert 1.0 < chart.top / (9 * scale) < 1.1, "the highest sample has room above it, and not much"


def test_a_level_and_bands_lie_where_they_are_told() -> None:
    chart = drawn(
        [("allocated", [[(0.0, 2 * GB), (10.0, 3 * GB)]])],
        levels=[("predicted", 5 * GB)],
        bands={"loading": [(0.0, 2.0), (6.0, 7.0)], "generating": [], "scoring": [(9.99, 10.0)]},
    )
    assert chart.levels == {"predicted": pytest.approx(5 * GB, rel=1e-3)}
    assert chart.top > 5 * GB, "the level is within the chart"
    assert chart.bands["loading"] == [pytest.approx((0.0, 2.0), abs=0.01), pytest.approx((6.0, 7.0), abs=0.01)]
    [(start, end)] = chart.bands["scoring"]
    assert start == pytest.approx(9.99, abs=0.01)
    assert end - start > 0.05, "work of a moment is seen"
    assert "generating" not in chart.bands
    assert chart.lanes["scoring"] > 2.5 * chart.lanes["loading"] > 0, "the lane of what this one did not do stays free"


def test_a_sample_without_an_answer_is_no_zero_and_one_that_stands_alone_is_seen() -> None:
    chart = drawn(
        [("device", [[(0.0, None), (1.0, 4 * GB), (2.0, None), (3.0, 2 * GB)]]), ("process", [[(1.0, 3 * GB)]])]
    )
    assert [round(second) for second, _ in chart.lines["device"][0]] == [1, 3]
    assert min(value for _, value in chart.lines["device"][0]) == pytest.approx(2 * GB, rel=0.01)
    [[first, second]] = chart.lines["process"]
    assert first == second, "a line without length, of which round ends make a dot"


def test_of_a_line_without_any_answer_nothing_is_drawn() -> None:
    chart = drawn([("device", [[(0.0, None), (1.0, None)]])], seconds=0.0)
    assert chart.lines == {}


@pytest.mark.parametrize(
    ("seconds", "highest", "times", "sizes"),
    [
        (12.2, 435 * MB, ["0 s", "2.5 s", "5 s", "7.5 s", "10 s"], ["0 bytes", "100 MB", "200 MB", "300 MB", "400 MB"]),
        (0.9, 1200 * MB, ["0 s", "200 ms", "400 ms", "600 ms", "800 ms"], ["0 bytes", "500 MB", "1 GB"]),
        (3000.0, 79 * GB, ["0 s", "1,000 s", "2,000 s", "3,000 s"], ["0 bytes", "20 GB", "40 GB", "60 GB", "80 GB"]),
    ],
)
def test_both_axes_have_round_values_with_their_unit(
    seconds: float, highest: int, times: list[str], sizes: list[str]
) -> None:
    chart = memory_chart(
        "x", alt="x", exact="x", seconds=seconds, lines=[("resident", [[(0.0, highest), (seconds, 0)]])]
    )
    assert [text for _, text in chart.times] == times
    assert [text for _, text in chart.ticks] == sizes
    assert all(one < other for one, other in pairwise(at for at, _ in chart.times))


def test_without_a_script_a_pointer_has_the_figures_and_no_text_is_within_the_drawing() -> None:
    chart = memory_chart(
        "x", alt="in words", exact="at most 5 <bytes>", seconds=2.0, lines=[("resident", [[(0.0, 5)]])]
    )
    page = fragment([Gallery(charts=(chart,))])
    assert '<figure class="plimsoll-lines" role="img" aria-label="in words"' in page
    assert "<title>at most 5 &lt;bytes&gt;</title>" in page
    assert "<text" not in page, "text within would be squeezed with the window"
    assert "style" not in page.split("<svg")[1].split("</svg>")[0], "colours are the page's"
