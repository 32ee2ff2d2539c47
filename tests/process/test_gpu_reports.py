"""What a report says of GPUs: their memory told four ways, and their health."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plimsoll.evidence.events import Event
from plimsoll.evidence.record import RunRecord
from plimsoll.judge.gpu_memory import BY_DEVICE, BY_NOTHING, BY_PROCESS, account
from plimsoll.present.document import Key, Section, Table, plain
from plimsoll.report.gpu_memory import gpu_memory_section
from plimsoll.report.health import health_section
from tests.support.line_charts import drawn_charts
from tests.support.pages import html_of
from tests.support.run_events import cell, finish, gate, line, plan, recorded, start

GB = 10**9
SERIES = [[0.0, 2 * GB, None, None, None], [0.5, 9 * GB, 8 * GB, 7 * GB, 7 * GB], [1.0, 8 * GB, 7 * GB, 5 * GB, 6 * GB]]


def memory(**changes: Any) -> dict[str, Any]:
    """A GPU on which the process holds 7 GB: 5 in use, 1 kept by the pool, half of one its context."""
    fields = {
        "device": "cuda:0",
        "uuid": "4d3e",
        "allocated_after": 5 * GB,
        "allocated_peak": 7 * GB,
        "reserved_after": 6 * GB,
        "reserved_peak": 7 * GB,
        "context": GB // 2,
        "context_by": "process",
        "process": 7 * GB,
        "device_before": 2 * GB,
        "device_after": 8 * GB,
        "device_delta": 6 * GB,
        "others_before": GB,
        "others_after": GB,
        "process_peak": 8 * GB,
        "device_peak": 9 * GB,
        "series": SERIES,
        "interval": 0.0125,
        "cost": 0.0042,
    }
    return {**fields, **changes}


def health(**changes: Any) -> dict[str, Any]:
    gpu = {"index": 0, "uuid": "GPU-4d3e", "name": "NVIDIA <H100>", "bus": "0000:18:00", "lost": None}
    figures = {
        "ecc.volatile.corrected.dram": 3,
        "temperature.slowdown": 87,
        "pcie.generation.most": 5,
        "pcie.width.most": 16,
    }
    looked = {**gpu, "values": figures, "unread": {}, "absent": ["retired.single"]}
    fields: dict[str, Any] = {
        "variant": "tiny-llama/nf4",
        "gpus": [0],
        "seconds": 4.0,
        "samples": 8,
        "first": [{**looked, "values": {**figures, "ecc.volatile.corrected.dram": 1}}],
        "last": [looked],
        "extremes": {"0": {"temperature": [41, 79], "pcie.generation": [1, 5], "pcie.width": [16, 16]}},
        "xids": [],
        "earlier_xids": [{"code": 31, "bus": "0000:18:00", "text": "NVRM: Xid 31 <before>"}],
        "findings": [],
        "unread": [],
        "memory": [memory()],
    }
    return {**fields, **changes}


def record(tmp_path: Path, *seen: dict[str, Any], expected: int = 6 * GB) -> RunRecord:
    figures = {"least": 4 * GB, "expected": expected, "most": max(7 * GB, expected)}
    bounds = {"vram_peak": {**figures, "exact": False, "basis": "", "instead": ""}}
    events = [line(Event.HEALTH, **each) for each in seen]
    return recorded(
        tmp_path, [start(), plan([cell("test_it")]), gate("tiny-llama/nf4", bounds=bounds), *events, finish()]
    )


def table(section: Section | None) -> list[list[str]]:
    assert section is not None
    [found] = [block for block in section.blocks if isinstance(block, Table)]
    return [[plain(each) for each in row] for row in found.rows]


def test_what_the_process_holds_is_explained_and_the_rest_named() -> None:
    told = account(memory())
    assert (told.pool, told.context, told.others, told.by) == (GB, GB // 2, GB, BY_PROCESS)
    assert told.unexplained == 7 * GB - 6 * GB - GB // 2


def test_without_a_figure_of_the_process_the_device_stands_for_it_and_is_named() -> None:
    told = account(memory(process=None, others_after=None, device_delta=6 * GB))
    assert (told.by, told.held, told.unexplained) == (BY_DEVICE, 6 * GB + GB // 2, 0)
    bare = account(memory(process=None, others_after=None, device_delta=None))
    assert (bare.by, bare.held, bare.unexplained) == (BY_NOTHING, None, None)


def test_each_gpu_has_a_row_with_the_prediction_and_a_picture(tmp_path: Path) -> None:
    section = gpu_memory_section(record(tmp_path, health(memory=[memory(), memory(device="cuda:1")])))
    rows = table(section)
    assert [row[1] for row in rows] == ["cuda:0 4d3e", "cuda:1 4d3e"]
    figures = ["6 GB", "7 GB", "7 GB", "8 GB", "9 GB", "500 MB", "1 GB", "1 GB", "500 MB"]
    assert rows[0][2:11] == figures
    assert 'title="5.59 GiB, 6,000,000,000 bytes"' in html_of(section)
    assert rows[0][-1] == "each 12 ms, for 0.42% of a core"
    assert [chart.title for chart in drawn_charts(html_of(section))] == [
        "tiny-llama/nf4 on cuda:0",
        "tiny-llama/nf4 on cuda:1",
    ]


def test_a_chart_has_every_account_at_its_height_with_the_prediction_as_a_level(tmp_path: Path) -> None:
    section = gpu_memory_section(record(tmp_path, health()))
    [chart] = drawn_charts(html_of(section))
    read = {
        name: [(round(at, 1), round(count / GB, 1)) for run in runs for at, count in run]
        for name, runs in chart.lines.items()
    }
    assert read == {
        "device": [(0, 2), (0.5, 9), (1, 8)],
        "process": [(0.5, 8), (1, 7)],
        "reserved": [(0.5, 7), (1, 6)],
        "allocated": [(0.5, 7), (1, 5)],
    }
    assert {name: round(level / GB, 1) for name, level in chart.levels.items()} == {"predicted": 6}
    assert "8 GB of the process, 9 GB of the device, each at its highest; predicted 6 GB" in chart.told
    assert section is not None
    [key] = [block for block in section.blocks if isinstance(block, Key)]
    assert [mark for mark, _ in key.marks] == [f"line-{name}" for name in [*chart.lines, *chart.levels]]


def test_a_prediction_above_all_that_was_measured_is_within_the_chart(tmp_path: Path) -> None:
    [chart] = drawn_charts(html_of(gpu_memory_section(record(tmp_path, health(), expected=20 * GB))))
    assert chart.top > chart.levels["predicted"] == pytest.approx(20 * GB, rel=2e-3)


def test_no_gpu_is_no_section(tmp_path: Path) -> None:
    assert gpu_memory_section(record(tmp_path)) is None
    assert health_section(record(tmp_path)) is None


def test_a_sick_gpu_stands_with_its_gravest_action(tmp_path: Path) -> None:
    finding = {"gpu": "GPU 0 (GPU-4d3e)", "index": 0, "group": "ecc", "does": "…", "source": "a paper"}
    found = [{**finding, "what": "a", "action": "reset"}, {**finding, "what": "b", "action": "rma"}]
    section = health_section(record(tmp_path, health(findings=found)))
    [row] = table(section)
    assert row[1] == "sick"
    assert row[2].startswith("rma: take the node out of service and have the GPU replaced")
    assert (row[3], row[7], row[8]) == ("41 to 79 of 87 °C", "generation 5 x16 of 5 x16", "retired")
    page = html_of(section)
    assert "NVRM: Xid 31 &lt;before&gt;" in page
    assert "NVIDIA &lt;H100&gt;" in page


def test_what_could_not_be_read_is_no_sound_gpu(tmp_path: Path) -> None:
    blind = {"gpu": "GPU 0", "index": 0, "group": "ecc", "what": "errors", "why": "no", "fix": "update"}
    [row] = table(health_section(record(tmp_path, health(unread=[blind]))))
    assert row[1] == "not all read"
    [sound] = table(health_section(record(tmp_path / "b", health())))
    assert sound[1] == "sound"


def test_a_figure_that_is_not_there_is_told_apart_from_a_group(tmp_path: Path) -> None:
    """As on Blackwell, whose links have none of the older counters."""
    seen = health()
    last = {**seen["last"][0], "absent": ["nvlink.replays", "retired.single", "retired.double"]}
    last["values"] = {**last["values"], "nvlink.active": 3}
    [row] = table(health_section(record(tmp_path, {**seen, "first": [last], "last": [last]})))
    assert row[8] == "nvlink.replays, retired"


def test_sxids_are_told_and_a_fatal_one_is_no_gpus_own(tmp_path: Path) -> None:
    texts = [f"nvidia-nvswitch0: SXid (PCI:0000:05:00.0): {code}, Link 1" for code in ("12028, Non-fatal", "9, Fatal")]
    xids = [{"code": 1, "gpu": None, "told_by": "the kernel's log", "text": text} for text in texts]
    found = {"gpu": "the node's fabric (NVSwitch)", "index": -1, "group": "links", "does": "…", "source": "a paper"}
    finding = {**found, "what": f"SXid 9 (fatal): {texts[1]}", "action": "drain"}
    section = health_section(record(tmp_path, health(xids=xids, findings=[finding])))
    assert [row[1] for row in table(section)] == ["sound"]
    page = html_of(section)
    assert f"told while models ran, and not judged: {texts[0]}" in page
    assert page.count(texts[1]) == 1
    assert "1 GPUs were watched before, while and after models ran: 0 with findings" in page
    assert "and a finding on what they share" in page
