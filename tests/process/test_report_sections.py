"""The sections of report.html: figures against what is documented, predicted and impossible, memory, claims."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from plimsoll.audit.recorded import expectation_fields, recorded_bounds, recorded_findings
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.evidence.events import Event
from plimsoll.present.document import Fold, Key, Paragraph, Section
from plimsoll.present.small_svg import small
from plimsoll.report.failures import failure_sections
from plimsoll.report.metric_charts import chart_section
from plimsoll.report.models import model_figures, model_section
from plimsoll.report.page import SECTIONS
from plimsoll.report.reader import Reader
from plimsoll.report.records import claims_section, load_section
from plimsoll.report.rows import cut_log, longest_log
from plimsoll.report.timeline import MOST_POINTS, timeline_section, timelines
from plimsoll.verdict.verdict import reach_verdict
from tests.support.catalogue_events import demand_for, full_catalogue
from tests.support.line_charts import drawn_charts
from tests.support.pages import html_of, sections_html
from tests.support.run_events import (
    Line,
    cell,
    finish,
    gate,
    good_cell,
    judged,
    line,
    load,
    plan,
    recorded,
    report,
    start,
)
from tests.support.subsession import ROOT

CELL = cell("test_peak", measures=["vram_peak"])
GB = 10**9


def claim(**changes: Any) -> Line:
    """What a document says, as a gate records it."""
    fields: Line = {"metric": "vram_peak", "low": 4 * GB, "high": 6 * GB, "source": "a paper", "bounds": bounds()}
    return {**fields, **changes}


def bounds(**changes: Any) -> Line:
    fields: Line = {"least": 3 * GB, "expected": 3 * GB, "most": 3.5 * GB, "basis": "3 GB of weights"}
    return {**fields, **changes}


def events(value: float | None = 5 * GB, high: float = 6 * GB, **expected: Any) -> list[Line]:
    """A run of one cell that measured GPU memory."""
    return [
        start(),
        plan([CELL]),
        gate("tiny-llama/nf4", **expected),
        report(CELL, "setup"),
        measured_line(value),
        judged(CELL, "vram_peak", value, high, reason="no answer" if value is None else ""),
        *good_cell(CELL)[2:],
        finish(),
    ]


EXPECTED: Mapping[str, Any] = {"bounds": {"vram_peak": bounds()}, "claims": [claim()]}


def test_a_figure_is_measured_documented_predicted_and_bounded(tmp_path: Path) -> None:
    (model,) = model_figures(recorded(tmp_path, events(**EXPECTED)))
    (figure,) = model.figures
    assert (figure.variant, figure.metric, figure.measured, figure.outcome) == (
        "tiny-llama/nf4", "vram_peak", (5e9,), "pass",
    )  # fmt: skip
    assert [(d.low, d.high, d.source) for d in figure.documented] == [(4e9, 6e9, "a paper")]
    assert (figure.bounds.least, figure.bounds.expected, figure.bounds.most) == (3e9, 3e9, 3.5e9)


def test_evidence_of_before_has_the_limits_it_judged_by(tmp_path: Path) -> None:
    (model,) = model_figures(recorded(tmp_path, events()))
    (figure,) = model.figures
    assert [(d.low, d.high, d.source) for d in figure.documented] == [(None, 6e9, "catalogue/tiny.toml: claim[1]")]
    assert figure.bounds.expected is None
    assert claims_section(recorded(tmp_path / "b", events())) is None


def test_what_was_not_measured_says_so_and_why(tmp_path: Path) -> None:
    section = model_section(recorded(tmp_path, events(value=None, **EXPECTED)))
    assert section is not None
    assert "not measured: no answer" in html_of(section)


def test_the_failures_say_why_a_figure_was_not_measured(tmp_path: Path) -> None:
    """It was in a title, for a pointer alone: nothing on a touch screen, on paper or to who has the page read aloud."""
    record = recorded(tmp_path, events(value=None))
    (section,) = failure_sections(reach_verdict(record).results, Reader.PAGE)
    assert section is not None
    shown = re.sub("<[^>]*>", "", html_of(section))
    assert "not measured: no answer" in shown
    assert 'title="no answer"' not in html_of(section)


@pytest.mark.parametrize(("count", "title"), [(1, "The one load"), (2, "All 2 loads")])
def test_one_load_is_told_in_the_singular(count: int, title: str, tmp_path: Path) -> None:
    loads = [load("tiny-llama/nf4") for _ in range(count)]
    section = load_section(recorded(tmp_path, [start(), plan([CELL]), *loads, finish()]))
    assert section is not None
    assert section.title == title


def test_a_variant_that_was_skipped_shows_what_would_be_expected(tmp_path: Path) -> None:
    skip = {"decision": "skip", "code": "vram", "have": "x", "need": "y", "fix": "z"}
    made = [start(), plan([CELL]), gate("tiny-llama/nf4", **skip, **EXPECTED), finish()]
    section = model_section(recorded(tmp_path, made))
    assert section is not None
    assert "not measured: skipped (vram)" in html_of(section)
    assert '<span class="plimsoll-source">1 variant, nothing measured</span>' in html_of(section)


def test_claims_of_other_circumstances_are_no_range_of_a_load(tmp_path: Path) -> None:
    other = claim(conditions={"batch": 8}, source="elsewhere")
    (model,) = model_figures(recorded(tmp_path, events(bounds=EXPECTED["bounds"], claims=[claim(), other])))
    assert [documented.source for documented in model.figures[0].documented] == ["a paper"]


def test_a_row_of_a_chart_has_each_mark_in_its_place(tmp_path: Path) -> None:
    section = chart_section(recorded(tmp_path, events(value=5 * GB, high=5.5 * GB, **EXPECTED)))
    (row,) = re.findall(r"<svg.*?</svg>", html_of(section))

    def across(name: str) -> list[float]:
        return [
            float(x) for path in re.findall(rf'class="{name}" d="([^"]*)"', row) for x in re.findall(r"[MH](\d+)", path)
        ]

    (measured,) = {x for x in across("v pass") if x}
    (limit,), (predicted,) = set(across("l")), set(across("e"))
    low, high = min(across("d")), max(across("d"))
    assert predicted < low < measured < limit < high


def test_the_same_evidence_gives_the_same_bytes_and_ids_are_apart(tmp_path: Path) -> None:
    record = recorded(tmp_path, full_catalogue())
    one, two = sections_html(record), sections_html(record)
    assert one == two
    ids = re.findall(r' id="([^"]*)"', one)
    assert len(ids) > 15
    assert len(ids) == len(set(ids))
    sizes = [len(picture) for picture in re.findall(r"<svg.*?</svg>", one)]
    assert len(sizes) > 900, "a row for each variant in each chart"
    assert max(sizes) < 15_000


def test_every_chart_is_drawn_where_matplotlib_cannot_be_imported(tmp_path: Path) -> None:
    recorded(tmp_path, [*events(**EXPECTED), *sampled(0, 3)])
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['numpy'] = None\n"
        "from pathlib import Path\nfrom plimsoll.evidence.reader import read_run\n"
        "from tests.support.pages import sections_html\n"
        f"print(sections_html(read_run(Path({str(next(tmp_path.iterdir()))!r}))))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [chart.title for chart in drawn_charts(done.stdout)] == ["tiny-llama/nf4"]
    assert "plimsoll-bars" in done.stdout
    assert "pip install" not in done.stdout


def at(second: float, event: Line) -> Line:
    return {**event, "at": f"2026-11-20T13:{int(second) // 60:02d}:{second % 60:06.3f}+00:00"}


def sampled(first: int, count: int, pid: int = 7) -> list[Line]:
    """A host that loads for `count` seconds and generates for two, from a second on."""
    about: Line = {"variant": "tiny-llama/nf4", "pid": pid}
    return [
        at(first, line(Event.HOST, state="started", seconds=0.1, **about)),
        *[at(first + n, line(Event.SAMPLE, seconds=n, rss=1000 * (n + 1), **about)) for n in range(count)],
        at(first + count, line(Event.HOST, state="request", request="Load", seconds=count, **about)),
        at(first + count + 1, line(Event.HOST, state="request", request="Generate", seconds=1, **about)),
        at(first + count + 2, line(Event.HOST, state="request", request="CompareBatch", seconds=1, **about)),
        at(first + count + 3, line(Event.HOST, state="closed", seconds=count + 3, **about)),
    ]


def test_memory_over_time_joins_the_hosts_of_a_variant_without_the_time_between(tmp_path: Path) -> None:
    (timeline,) = timelines(recorded(tmp_path, [*events(), *sampled(0, 5), *sampled(100, 4, pid=8)]))
    assert timeline.seconds == pytest.approx(8 + 7)
    assert [len(host) for host in timeline.hosts] == [5, 4]
    second, rss = timeline.hosts[1][0]
    assert (round(second, 3), rss) == (8, 1000)
    assert timeline.highest == 5000
    told = [(s.doing, round(s.start, 3), round(s.end, 3)) for s in timeline.stretches]
    assert told == [("loading", 0, 5), ("generating", 5, 7), ("loading", 8, 12), ("generating", 12, 14)]


def test_a_second_process_of_the_same_number_is_another_host(tmp_path: Path) -> None:
    (timeline,) = timelines(recorded(tmp_path, [*events(), *sampled(0, 5), *sampled(100, 4)]))
    assert [len(host) for host in timeline.hosts] == [5, 4]


def test_many_samples_are_thinned_without_losing_the_highest(tmp_path: Path) -> None:
    many = sampled(0, 3000)
    many[1234]["rss"] = 10**9
    (timeline,) = timelines(recorded(tmp_path, [*events(), *many]))
    assert len(timeline.points) <= MOST_POINTS + 2
    assert timeline.highest == 10**9
    assert timeline.points[-1][1] == 3_000_000


def test_memory_that_could_not_be_read_is_no_zero(tmp_path: Path) -> None:
    lost = sampled(0, 3)
    lost[2]["rss"] = None
    (timeline,) = timelines(recorded(tmp_path, [*events(), *lost]))
    assert [rss for _, rss in timeline.points] == [1000, 3000]


def test_a_host_that_died_is_told_in_the_table(tmp_path: Path) -> None:
    died = at(9, line(Event.HOST, state="died", request="Generate", seconds=2, variant="tiny-llama/nf4", pid=7))
    section = timeline_section(recorded(tmp_path, [*events(), *sampled(0, 3)[:-1], died]))
    assert section is not None
    assert "<td>died</td>" in html_of(section)
    assert 'aria-label="Memory over time of tiny-llama/nf4: at most 3,000 bytes within 9.000 s"' in html_of(section)


def test_a_chart_has_each_sample_of_the_evidence_at_its_height_and_each_work_at_its_time(tmp_path: Path) -> None:
    told = [*sampled(0, 5), *sampled(100, 4, pid=8)]
    section = timeline_section(recorded(tmp_path, [*events(), *told]))
    [chart] = drawn_charts(html_of(section))
    assert chart.title == "tiny-llama/nf4"
    assert chart.end == pytest.approx(15, rel=1e-3)
    first, second = chart.lines["resident"]
    assert [(round(at, 1), round(rss, -1)) for at, rss in first] == [(n, 1000 * (n + 1)) for n in range(5)]
    assert [(round(at, 1), round(rss, -1)) for at, rss in second] == [(8 + n, 1000 * (n + 1)) for n in range(4)]
    worked = {doing: [(round(start, 1), round(end, 1)) for start, end in found] for doing, found in chart.bands.items()}
    assert worked == {"loading": [(0, 5), (8, 12)], "generating": [(5, 7), (12, 14)]}
    assert 0 < chart.lanes["loading"] < chart.lanes["generating"]
    assert chart.told == "at most 4.88 KiB, 5,000 bytes; 15.0 s in all; loading 9.000 s; generating 4.000 s"
    assert section is not None
    [key] = [block for block in section.blocks if isinstance(block, Key)]
    assert dict(key.marks).keys() == chart.bands.keys(), "every band is explained"


def test_a_kind_of_work_has_the_same_lane_in_all_charts(tmp_path: Path) -> None:
    other = [{**one, "variant": "tiny-phi/nf4", "pid": 9} for one in sampled(50, 5) if one.get("request") != "Load"]
    made = events()
    made[1] = plan([CELL, cell("test_peak", "tiny-phi/nf4")])
    one, two = drawn_charts(html_of(timeline_section(recorded(tmp_path, [*made, *sampled(0, 5), *other]))))
    assert one.lanes["generating"] / one.top == pytest.approx(two.lanes["generating"] / two.top, rel=0.01)
    assert "loading" not in two.lanes


@pytest.mark.parametrize(
    ("value", "changes", "status"),
    [
        (3.3 * GB, {"low": 3 * GB, "high": 4 * GB}, "confirmed"),
        (3.3 * GB, {"low": None, "high": 3.2 * GB}, "refuted"),
        (None, {"low": None, "high": 5 * GB}, "plausible"),
        (3.3 * GB, {"low": None, "high": 2 * GB}, "impossible"),
    ],
)
def test_what_became_of_a_claim_follows_from_what_was_measured(
    tmp_path: Path, value: float | None, changes: Line, status: str
) -> None:
    record = recorded(tmp_path, events(value=value, bounds={}, claims=[claim(**changes)]))
    (finding,) = recorded_findings(record)
    assert finding.status == status
    section = claims_section(record)
    assert section is not None
    assert f"<h4>{status} (1)</h4>" in html_of(section)
    assert "a paper" in html_of(section)


def measured_line(value: float | None) -> Line:
    return line(
        Event.MEASUREMENT,
        cell=CELL.id, metric="vram_peak", value=value, unit="bytes", reason="" if value else "none", context={},
    )  # fmt: skip


def test_what_a_gate_records_is_read_back_whole(tmp_path: Path) -> None:
    variant = read_catalogue().variants["llama-3.1-70b-instruct/nf4"]
    fields = expectation_fields(variant, demand_for(variant))
    record = recorded(tmp_path, [start(), plan([CELL]), gate(variant.id, **fields), finish()])
    (read,) = record.gates.values()
    assert record.faults == ()
    assert recorded_bounds(read)["vram_peak"].expected == fields["bounds"]["vram_peak"]["expected"]
    found = [finding.claim for finding in recorded_findings(record)]
    shipped = [one for one in variant.claims if not one.together]
    assert [(c.metric, c.low, c.high, c.source, c.quote, c.limits, c.disputed) for c in found] == [
        (c.metric, c.low, c.high, c.source, c.quote, c.limits, c.disputed) for c in shipped
    ]
    assert len(found) > 10


def test_a_figure_that_is_none_damages_the_gates_line(tmp_path: Path) -> None:
    record = recorded(tmp_path, events(bounds={"vram_peak": bounds(least="much")}))
    assert any("'much' is not a number" in fault for fault in record.faults)


def test_a_section_is_plugged_in_by_its_function(tmp_path: Path) -> None:
    record = recorded(tmp_path, events())

    def nothing(_: object) -> None:
        return None

    def mine(_: object) -> Section:
        return Section(title="Mine & <yours>", blocks=(Paragraph(words="here"),), fold=Fold.CLOSED)

    text = sections_html(record, (nothing, mine))
    assert text == "<details><summary><h3>Mine &amp; &lt;yours&gt;</h3></summary><p>here</p></details>"
    assert len(SECTIONS) >= 5


def test_a_small_picture_shows_the_same() -> None:
    drawn = (
        '<svg viewBox="0 0 10.123 20"><metadata>x</metadata><defs><style>*{}</style></defs><g id="figure_1">\n'
        '<g id="p"><path id="m1" d="M 1.26 2.0" clip-path="url(#c)" style="fill: red; stroke-linejoin: miter"/></g>\n'
        '<use xlink:href="#m1" x="3.04"/><text style="font-size: 9px; font-family: \'A\', b; fill: red" '
        'transform="rotate(-0 1 2)"> id="kept" 1.2345 </text></g></svg>'
    )
    assert small(drawn) == (
        '<svg style="font:9px sans-serif" viewBox="0 0 10.1 20"><path id="m1" d="M 1.3 2" style="fill:red"/>'
        '<use xlink:href="#m1" x="3"/><text style="fill:red"> id="kept" 1.2345 </text></svg>'
    )


def test_long_logs_share_the_room_and_short_ones_stay_whole() -> None:
    assert longest_log([10, 20], room=100) is None
    assert longest_log([10, 1000, 5000], room=2010) == 1000
    assert longest_log([10_000] * 100, room=1000) == 400, "each keeps enough to say what it is"
    assert cut_log("x" * 100, 400) == "x" * 100
    cut = cut_log("x" * 398 + "&amp;" + "y" * 200, 400)
    assert cut == "x" * 398 + "\n… cut short here; evidence.jsonl has the whole text"


def test_a_load_too_short_to_be_sampled_has_the_memory_that_its_host_saw(tmp_path: Path) -> None:
    memory = {"before": 500, "peak": 9000, "after": 8000}
    loaded = line(
        Event.LOAD, variant="tiny-llama/nf4", cache="cold",
        report={"seconds": 1.0, "checkpoint_bytes": 4, "memory": memory},
    )  # fmt: skip
    failed = at(
        50, line(Event.HOST, state="request", request="Load", seconds=1, error="x", variant="tiny-llama/nf4", pid=7)
    )
    (timeline,) = timelines(recorded(tmp_path, [*events(), *sampled(0, 0), failed, loaded]))
    assert [(round(second), rss) for second, rss in timeline.points] == [(0, 500), (0, 9000)]
