"""One chart a metric over all variants: sorted, on a scale that fits, with limits, and exact for a pointer on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from plimsoll.evidence.encoding import judgement_fields
from plimsoll.evidence.events import Event
from plimsoll.evidence.record import Cell
from plimsoll.judge.judgement import Limit, Measurement, judge
from plimsoll.present.document import BarChart, Fold, Paragraph, Section, plain
from plimsoll.present.scale import Scale, ratio_scale, ratio_ticks
from plimsoll.report.metric_charts import chart_section, ticks_of
from tests.support.pages import fragment
from tests.support.run_events import Line, cell, finish, gate, line, plan, recorded, report, start

GB = 10**9


def run_of(metric: str, figures: Mapping[str, float | None], high: float) -> list[Line]:
    """A run of a check to each variant; None is a variant of which no report arrived."""
    cells, events = asked(metric, figures, high)
    return [start(), plan(cells), *events, finish()]


def asked(metric: str, figures: Mapping[str, float | None], high: float) -> tuple[list[Cell], list[Line]]:
    cells = [cell("test_it", variant, measures=[metric]) for variant in figures]
    events = []
    for one, (variant, value) in zip(cells, figures.items(), strict=True):
        events.append(gate(variant))
        if value is not None:
            limit = Limit(metric=metric, high=high, source="a paper", margin=0.01)
            judged = judgement_fields(judge(Measurement(metric=metric, value=value), limit))
            ends = [report(one, "call"), report(one, "teardown")]
            events += [report(one, "setup"), line(Event.JUDGEMENT, cell=one.id, **judged), *ends]
    return cells, events


def charts(section: Section | None) -> dict[str, tuple[Section, BarChart]]:
    assert section is not None
    found = {}
    for block in section.blocks:
        if isinstance(block, Section):
            (chart,) = (each for each in block.blocks if isinstance(each, BarChart))
            found[plain(block.title)] = (block, chart)
    return found


def words(section: Section) -> str:
    return " ".join(plain(block.words) for block in section.blocks if isinstance(block, Paragraph))


def test_a_chart_has_every_variant_the_largest_first_with_its_limit_in_place(tmp_path: Path) -> None:
    figures = {"a/nf4": 2.0 * GB, "b/nf4": 6.0 * GB, "c/nf4": 4.0 * GB, "d/nf4": None}
    section, chart = charts(chart_section(recorded(tmp_path, run_of("vram_peak", figures, 5 * GB))))["Peak GPU memory"]
    assert section.fold is Fold.OPEN
    assert [(bar.label, bar.text, bar.sign and bar.sign.outcome) for bar in chart.bars] == [
        ("b/nf4", "6 GB", "fail"),
        ("c/nf4", "4 GB", "pass"),
        ("a/nf4", "2 GB", "pass"),
    ]
    (first, second, third) = chart.bars
    assert third.end * 2 == pytest.approx(second.end, abs=2)
    assert second.end < first.limits[0] < first.end
    assert first.room == pytest.approx(-0.2)
    assert first.exact.startswith("5.59 GiB, 6,000,000,000 bytes; limit at most 4.66 GiB, 5,000,000,000 bytes")
    assert "Not measured: 1 variant: no report arrived." in words(section)
    assert section.note == "3 variants, 1 outside of the limit"
    assert "logarithmic" not in words(section)


def test_figures_that_lie_far_apart_are_on_a_logarithmic_scale_which_is_said(tmp_path: Path) -> None:
    figures = {"a/nf4": 1e6, "b/nf4": 1e8, "c/nf4": 1e10}
    section, chart = charts(chart_section(recorded(tmp_path, run_of("vram_peak", figures, 2e10))))["Peak GPU memory"]
    assert "The scale is logarithmic" in words(section)
    largest, middle, smallest = (bar.end for bar in chart.bars)
    assert largest - middle == pytest.approx(middle - smallest, abs=2)
    assert smallest > 0, "a bar without length is not seen"
    assert [text for _, text in chart.ticks] == ["100 kB", "1 MB", "10 MB", "100 MB", "1 GB", "10 GB"]


def test_a_limit_far_from_what_was_measured_is_told_and_not_drawn_at_the_edge(tmp_path: Path) -> None:
    figures = {"a/nf4": 0.05, "b/nf4": 0.09}
    section, chart = charts(chart_section(recorded(tmp_path, run_of("cold_load_time", figures, 8.0))))["Cold load time"]
    assert all(bar.limits == () for bar in chart.bars)
    assert "Limits too far off to be drawn: at most 8 s." in words(section)
    assert "[a paper]" in chart.bars[0].exact


def test_without_a_script_the_page_has_the_drawing_and_the_exact_figure(tmp_path: Path) -> None:
    section = chart_section(recorded(tmp_path, run_of("vram_peak", {"a/nf4": 2.0 * GB}, 5 * GB)))
    assert section is not None
    html = fragment([section])
    (svg,) = re.findall(r"<svg.*?</svg>", html)
    assert "<title>1.86 GiB, 2,000,000,000 bytes;" in svg
    assert re.search(r'<path class="v pass" d="M0 6H\d+V14H0z"/>', svg)
    assert re.search(r'<path class="l" d="M\d+ 0V20"/>', svg)
    assert "<text" not in svg, "text within would be squeezed with the window"


def test_what_is_the_same_of_all_is_a_sentence_behind_the_charts(tmp_path: Path) -> None:
    cells, events = asked("free_disk", dict.fromkeys(("a/nf4", "b/nf4", "c/nf4"), 77.52 * GB), 80 * GB)
    others, unlike = asked("vram_peak", {"d/nf4": 2.0 * GB, "e/nf4": 3.0 * GB, "f/nf4": 3.0 * GB}, 5 * GB)
    run = [start(), plan([*cells, *others]), *events, *unlike, finish()]
    section = chart_section(recorded(tmp_path, run))
    assert section is not None
    first, last = (block for block in section.blocks if isinstance(block, Section))
    assert plain(first.title) == "Peak GPU memory"
    assert (plain(last.title), last.fold) == ("Free disk", Fold.OPEN)
    assert not [block for block in last.blocks if isinstance(block, BarChart)]
    assert words(last) == "Free disk: free disk space where weights land. ✓ 77.5 GB each; judged by: at most 80 GB."


@pytest.mark.parametrize(
    "figures",
    [
        {"a/nf4": 2 * GB, "b/nf4": 2 * GB},
        {"a/nf4": 2 * GB, "b/nf4": 2 * GB, "c/nf4": 2.01 * GB},
        {"a/nf4": 6 * GB, "b/nf4": 6 * GB, "c/nf4": 6 * GB},
    ],
    ids=["few", "unlike", "failed"],
)
def test_few_and_unlike_and_failed_figures_have_their_bars(figures: Mapping[str, float], tmp_path: Path) -> None:
    assert charts(chart_section(recorded(tmp_path, run_of("vram_peak", figures, 5 * GB))))


def test_what_nobody_measured_has_no_chart(tmp_path: Path) -> None:
    one = cell("test_it", measures=["vram_peak"])
    events = [start(), plan([one]), gate("tiny-llama/nf4"), report(one, "setup"), finish()]
    assert chart_section(recorded(tmp_path, events)) is None


@pytest.mark.parametrize(
    ("scale", "metric", "texts"),
    [
        (Scale(low=0.0, high=8.4e9, is_log=False), "vram_peak", ["0 bytes", "2 GB", "4 GB", "6 GB", "8 GB"]),
        (Scale(low=1.0, high=2e4, is_log=True), "cold_load_time", ["1 s", "10 s", "100 s", "1,000 s", "10,000 s"]),
        (Scale(low=1e-6, high=2e-3, is_log=True), "quantized_divergence", ["1e-06", "1e-05", "0.0001", "0.001"]),
        (Scale(low=-0.5, high=1.0, is_log=False), "golden_error", ["-0.5", "0", "0.5", "1"]),
    ],
)
def test_a_scale_has_round_values(scale: Scale, metric: str, texts: list[str]) -> None:
    assert [text for _, text in ticks_of(scale, metric)] == texts


def test_a_scale_of_ratios_has_1_in_its_middle_and_texts_that_do_not_touch() -> None:
    near, far = ratio_scale([0.97, 1.08]), ratio_scale([0.5, 3.0, 400.0])
    for scale in (near, far):
        assert scale.place(1.0) == 500
        assert scale.place(0.8) == 1000 - scale.place(1.25)
        places = [scale.place(ratio) for ratio, _ in ratio_ticks(scale)]
        assert min(later - one for one, later in pairwise(places)) >= 90
        assert 500 in places
    assert [text for _, text in ratio_ticks(near)] == ["0.9", "0.95", "1", "1.05", "1.1"]
    assert far.place(400.0) == 1000, "a ratio beyond all reason stands at the edge"
