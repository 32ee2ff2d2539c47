"""The health of GPUs, read by the real pynvml from a stand-in libnvidia-ml.so.1 while its counters change."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.forked import ForkedProcess
from tests.support.forked_sessions import SESSIONS
from tests.support.nvml import play, stand_in
from tests.support.subsession import ROOT

Seen = dict[str, Any]


def begin(folder: Path, samples: int, log: str) -> ForkedProcess:
    arguments = ("-m", "tests.support.watched", str(samples), log)
    return SESSIONS.piped(arguments, {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT)})


def watched(folder: Path, log: str = "/dev/null") -> Seen:
    """What a watch of a few samples sees. /dev/null is a kernel's log in which nothing stands."""
    seen: Seen = json.loads(begin(folder, 4, log).communicate("").splitlines()[-1])
    return seen


def changed(folder: Path, scenario: str, *lines: str) -> Seen:
    """What a watch sees during which the scenario becomes another."""
    process = begin(folder, 0, "/dev/null")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    play(folder, scenario, *lines)
    seen: Seen = json.loads(process.communicate("end\n"))
    return seen


@pytest.mark.parametrize("scenario", ["eight-h100", "sixteen-h100", "a100-mig"])
def test_a_sound_node_has_no_finding_and_nothing_unseen(tmp_path: Path, scenario: str) -> None:
    seen = watched(stand_in(tmp_path, scenario))
    assert (seen["findings"], seen["blinds"]) == ([], [])
    assert len(seen["gpus"]) == {"eight-h100": 8, "sixteen-h100": 16, "a100-mig": 1}[scenario]
    assert all(len(gpu["values"]) > 20 for gpu in seen["gpus"])


def test_what_a_consumer_card_does_not_have_is_told_apart_from_what_was_not_read(tmp_path: Path) -> None:
    folder = stand_in(tmp_path, "rtx-3090", "gpu.0.pcie.generation [calls>=2] = 4")
    seen = watched(folder)
    assert (seen["findings"], seen["blinds"]) == ([], [])
    assert {"ecc.mode", "remap.pending", "nvlink.active", "fabric.state"} <= set(seen["gpus"][0]["absent"])
    assert seen["gpus"][0]["unread"] == {}


def test_each_of_eight_gpus_is_named_with_its_own_fault_and_action(tmp_path: Path) -> None:
    seen = changed(
        stand_in(tmp_path, "eight-h100"),
        "eight-h100",
        "gpu.0.ecc.volatile.corrected.dram = 3",
        "gpu.1.remap.pending = 1",
        "gpu.2.remap.failed = 1",
        "gpu.3.violation.1 = 2000000000",
        "gpu.4.field.230 = 2",
        "gpu.5.nvlink.7.state = 0",
        "gpu.6.lost = 15",
        "event.0 = 7 48",
    )
    found = {(index, group, action) for index, group, action, _ in seen["findings"]}
    assert found == {
        (0, "ecc", "drain"),
        (1, "remapped_rows", "reset"),
        (2, "remapped_rows", "rma"),
        (3, "throttle", "drain"),
        (4, "advice", "reboot"),
        (5, "links", "drain"),
        (6, "presence", "drain"),
        (7, "xid", "drain"),
    }
    unseen = {(index, group) for index, group, *_ in seen["blinds"]}
    assert unseen == {(6, group) for group in ("ecc", "remapped_rows", "throttle", "links")}, "of a lost GPU, nothing"
    texts = {index: text for index, _, _, text in seen["findings"]}
    assert texts[0].startswith(
        "GPU 0 (GPU-4d3e0000-0000-4000-8000-000000000000): ecc.volatile.corrected.dram rose by 3 to 3 within "
    )
    assert "it is lost: NVML says: GPU is lost" in texts[6]
    assert "Xid 48 (hardware), told by NVML" in texts[7]


def test_a_total_from_earlier_days_is_no_rise(tmp_path: Path) -> None:
    seen = watched(stand_in(tmp_path, "eight-h100", "gpu.0.ecc.*.corrected.dram = 41", "gpu.0.remap.uncorrected = 2"))
    assert seen["findings"] == []


@pytest.mark.parametrize(
    ("line", "group", "action"),
    [
        ("gpu.0.ecc.volatile.uncorrected.sram = 1", "ecc", "drain"),
        ("gpu.0.ecc.volatile.uncorrected.dram = 1", "ecc", "reset"),
        ("gpu.0.ecc.volatile.corrected.sram = 10001", "ecc", "drain"),
        ("gpu.0.retired.double = 64", "remapped_rows", "rma"),
        ("gpu.0.retired.pending = 1", "remapped_rows", "reset"),
        ("gpu.0.temperature = 88", "throttle", "drain"),
        ("gpu.0.field.82 = 96", "throttle", "drain"),
        ("gpu.0.reasons = 0x80", "throttle", "drain"),
        ("gpu.0.pcie.generation = 3", "links", "drain"),
        ("gpu.0.pcie.width = 8", "links", "drain"),
        ("gpu.0.nvlink.2.errors.0 = 0+1/call", "links", "drain"),
        ("gpu.0.fabric.state = 2", "links", "drain"),
        ("gpu.0.fabric.status = 999", "links", "drain"),
    ],
)
def test_one_fault_is_one_finding_of_its_kind(tmp_path: Path, line: str, group: str, action: str) -> None:
    seen = watched(stand_in(tmp_path, "eight-h100", line))
    assert {tuple(found[:3]) for found in seen["findings"]} == {(0, group, action)}
    assert seen["blinds"] == []


def test_a_power_limit_is_a_finding_where_it_was_lowered_and_holds_clocks_down(tmp_path: Path) -> None:
    rising = "gpu.*.violation.0 = 0+900000000/call"
    assert watched(stand_in(tmp_path / "a", "eight-h100", rising))["findings"] == []
    lowered = watched(stand_in(tmp_path / "b", "eight-h100", rising, "gpu.4.power.enforced = 350000"))
    [(index, group, action, text)] = lowered["findings"]
    assert (index, group, action) == (4, "throttle", "configure")
    assert "350 W, below the default of 700 W" in text


@pytest.mark.parametrize(
    ("lines", "group"),
    [
        (["gpu.2.remap.* = !3", "gpu.2.retired.* = !3"], "remapped_rows"),
        (["gpu.2.nvlink.*.errors.* = !3"], "links"),
        (["gpu.2.reasons = !3", "gpu.2.violation.* = !3"], "throttle"),
    ],
)
def test_a_product_that_must_have_figures_is_not_sound_for_having_none(
    tmp_path: Path, lines: list[str], group: str
) -> None:
    """Each figure alone may be one that the product does not have; all of a group together were not looked at."""
    seen = watched(stand_in(tmp_path, "eight-h100", *lines))
    assert {tuple(blind[:2]) for blind in seen["blinds"]} == {(2, group)}
    assert seen["findings"] == []
    for part in lines if len(lines) > 1 else []:
        assert watched(stand_in(tmp_path / part[:12], "eight-h100", part))["blinds"] == []


@pytest.mark.parametrize(
    ("line", "group"),
    [
        ("gpu.2.ecc.volatile.uncorrected.dram = !999", "ecc"),
        ("gpu.2.ecc.mode = !4", "ecc"),
        ("gpu.2.ecc.mode = 0", "ecc"),
        ("gpu.2.ecc.v* = !3", "ecc"),
        ("gpu.2.remap.failed = !999", "remapped_rows"),
        ("gpu.2.violation.1 = !13", "throttle"),
        ("gpu.2.nvlink.0.state = !999", "links"),
        ("gpu.2.fabric.state = !999", "links"),
        ("gpu.2.field.230 = !999", "advice"),
        ("gpu.2.field.230 = 44", "advice"),
        ("gpu.2.handle = !4", "presence"),
        ("event.0 [calls>=2] = 2 9999", "xid"),
    ],
)
def test_what_cannot_be_read_is_never_sound(tmp_path: Path, line: str, group: str) -> None:
    seen = watched(stand_in(tmp_path, "eight-h100", line))
    assert (2, group) in {tuple(blind[:2]) for blind in seen["blinds"]}
    if group != "presence":
        assert {tuple(blind[:2]) for blind in seen["blinds"]} == {(2, group)}
    assert all(fix for *_, fix in seen["blinds"])
    assert seen["findings"] == []


@pytest.mark.parametrize(
    ("lines", "group"),
    [
        (["gpu.3.field.82 = 4294967295"], "throttle"),
        (["gpu.3.field.82 = 0xFFFFFFFF", "gpu.3.field.82.type = 1"], "throttle"),
        (["gpu.3.field.82 = 0xFFFFFFFFFFFFFFFF", "gpu.3.field.82.type = 5"], "throttle"),
        (["gpu.3.temperature = 4294967295"], "throttle"),
        (["gpu.3.reasons = 0xFFFFFFFFFFFFFFFF"], "throttle"),
        (["gpu.3.pcie.width.most = 0xFFFFFFFF"], "links"),
        (["gpu.3.pcie.width = 0xFFFFFFFF"], "links"),
        (["gpu.3.nvlink.2.errors.0 = 0xFFFFFFFFFFFFFFFF"], "links"),
        (["gpu.3.ecc.volatile.corrected.dram = 0xFFFFFFFFFFFFFFFF"], "ecc"),
        (["gpu.3.remap.failed = 0xFFFFFFFF"], "remapped_rows"),
    ],
)
def test_a_value_that_a_figure_cannot_have_is_not_read_and_no_finding(
    tmp_path: Path, lines: list[str], group: str
) -> None:
    """NVML says so that it has none (NVML_VALUE_NOT_AVAILABLE, -1)."""
    seen = watched(stand_in(tmp_path, "eight-h100", *lines))
    assert seen["findings"] == []
    assert {tuple(blind[:2]) for blind in seen["blinds"]} == {(3, group)}
    assert len(seen["gpus"][3]["unread"]) == 1
    assert "cannot be" in seen["blinds"][0][2]


def test_a_value_of_a_narrow_type_is_read_alone(tmp_path: Path) -> None:
    """What lies beside it in the union is not part of it."""
    narrow = ["gpu.*.field.82 = 0x7700000030", "gpu.*.field.82.type = 5", "gpu.2.field.82 = 0x770030"]
    seen = watched(stand_in(tmp_path, "eight-h100", *narrow, "gpu.2.field.82.type = 6"))
    assert (seen["findings"], seen["blinds"]) == ([], [])
    assert {gpu["values"]["temperature.memory"] for gpu in seen["gpus"]} == {48}


def test_an_old_driver_without_a_function_leaves_the_counter_unseen(tmp_path: Path) -> None:
    without = ("nvmlDeviceGetViolationStatus", "nvmlDeviceGetCurrentClocksEventReasons")
    seen = watched(stand_in(tmp_path, "eight-h100", without=without))
    assert seen["findings"] == []
    assert {(group, fix) for _, group, _, fix in seen["blinds"]} == {
        ("throttle", "update the NVIDIA driver, which is older than what nvidia-ml-py asks it")
    }
    assert all("reasons" in gpu["values"] for gpu in seen["gpus"]), "asked by its older name"


def test_a_gpu_may_be_lost_without_an_xid_and_the_others_stay_judged(tmp_path: Path) -> None:
    seen = changed(stand_in(tmp_path, "eight-h100"), "eight-h100", "count = 7", "gpu.3.remap.pending = 1")
    assert {tuple(found[:3]) for found in seen["findings"]} == {(7, "presence", "drain"), (3, "remapped_rows", "reset")}
    assert seen["xids"] == []


def test_xids_are_heard_from_the_kernels_log_too(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text("NVRM: Xid (PCI:0000:2a:00): 31, pid=1, name=python3, before the watch\n")
    process = begin(stand_in(tmp_path / "nvml", "eight-h100"), 0, str(log))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    with log.open("a") as file:
        file.write("[171167.620236] NVRM: Xid (PCI:0000:3a:00): 119, pid=2, name=x, Timeout waiting for RPC\n")
    seen = json.loads(process.communicate("end\n"))
    assert seen["xids"] == [[2, 119, "the kernel's log"]]
    [(index, group, action, text)] = seen["findings"]
    assert (index, group, action) == (2, "xid", "reset")
    assert "Timeout waiting for RPC" in text


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    ("change", "action"),
    [("0x0 (None) to 0x1 (GPU Reset Required)", "reset"), ("0x1 (GPU Reset Required) to 0x0 (None)", None)],
)
def test_an_xid_that_nvml_and_the_kernels_log_tell_is_one_with_the_text_of_the_log(
    tmp_path: Path, change: str, action: str | None, *, is_first: bool
) -> None:
    """NVML gives a number alone, and what Xid 154 asks for stands in its text."""
    folder, log = stand_in(tmp_path / "nvml", "eight-h100"), tmp_path / "kmsg"
    log.write_text("")
    process = begin(folder, 0, str(log))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    event = partial(play, folder, "eight-h100", "event.0 = 2 154")
    line = f"NVRM: Xid (PCI:0000:3a:00): 154, pid=1, name=x, GPU recovery action changed from {change}\n"
    for tell in (event, partial(log.write_text, line)) if is_first else (partial(log.write_text, line), event):
        tell()
        time.sleep(0.5)
    seen = json.loads(process.communicate("end\n"))
    assert seen["xids"] == [[2, 154, "NVML and the kernel's log"]]
    assert [found[:3] for found in seen["findings"]] == ([[2, "xid", action]] if action else [])
    assert all(change in found[3] for found in seen["findings"])


def test_where_nobody_tells_of_xids_none_is_taken_for_granted(tmp_path: Path) -> None:
    folder = stand_in(tmp_path, "eight-h100", "gpu.*.events = !4")
    assert watched(folder)["blinds"] == [], "the kernel's log tells of them"
    seen = watched(folder, str(tmp_path / "none"))
    assert {tuple(blind[:2]) for blind in seen["blinds"]} == {(index, "xid") for index in range(8)}
    assert "No such file or directory" in seen["blinds"][0][2]


@pytest.mark.parametrize(("says", "count"), [("Fatal", 1), ("Non-fatal", 0)])
def test_an_sxid_of_an_nvswitch_is_heard_and_rejects_where_it_is_fatal(tmp_path: Path, says: str, count: int) -> None:
    log = tmp_path / "kmsg"
    log.write_text("nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 1 before the watch\n")
    process = begin(stand_in(tmp_path / "nvml", "eight-h100", "gpu.3.bus = !999"), 0, str(log))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    with log.open("a") as file:
        for link in (48, 49):
            file.write(f"nvidia-nvswitch1: SXid (PCI:0000:06:00.0): 20034, {says}, Link {link} LTSSM Fault Up\n")
    seen = json.loads(process.communicate("end\n"))
    assert seen["xids"] == [[None, 20034, "the kernel's log"]] * 2
    assert [found[:3] for found in seen["findings"]] == [[-1, "links", "drain"]] * count
    assert all("nvidia-nvswitch1: SXid (PCI:0000:06:00.0): 20034, Fatal" in found[3] for found in seen["findings"])
    assert seen["blinds"] == []


@pytest.mark.parametrize(
    ("lines", "unread"),
    [
        ([], {(-1, "links")}),
        (["gpu.2.events = !4"], {(-1, "links"), (2, "xid")}),
        (["gpu.*.fabric.state = 0"], set()),
        (["gpu.*.name = NVIDIA A100-SXM4-80GB", "gpu.*.fabric.* = !3"], {(-1, "links")}),
    ],
)
def test_a_watch_goes_on_where_lines_of_the_kernels_log_were_lost_and_tells_what_it_did_not_read(
    tmp_path: Path, lines: list[str], unread: set[tuple[int, str]]
) -> None:
    log, overtaken = tmp_path / "kmsg", tmp_path / "kmsg.overtaken"
    log.write_text("")
    process = begin(stand_in(tmp_path / "nvml", "eight-h100", *lines), 0, str(log))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    overtaken.write_text("")
    while overtaken.exists():
        time.sleep(0.01)
    log.write_text("NVRM: Xid (PCI:0000:5d:00): 119, pid=2, name=x, after what was lost\n")
    seen = json.loads(process.communicate("end\n"))
    assert {tuple(blind[:2]) for blind in seen["blinds"]} == unread
    assert all("overwritten before they could be read" in blind[2] and "floods" in blind[3] for blind in seen["blinds"])
    assert [found[:3] for found in seen["findings"]] == [[3, "xid", "reset"]], "the log is heard further on"


def test_lines_that_were_lost_before_a_watch_began_leave_nothing_unread(tmp_path: Path) -> None:
    (tmp_path / "kmsg").write_text("")
    (tmp_path / "kmsg.overtaken").write_text("")
    seen = watched(stand_in(tmp_path / "nvml", "eight-h100", "gpu.*.events = !4"), str(tmp_path / "kmsg"))
    assert (seen["findings"], seen["blinds"]) == ([], [])
    assert not (tmp_path / "kmsg.overtaken").exists()


def logged(tmp_path: Path, line: str, at: str = "5d:00", code: int = 48, *, then: str = "") -> Seen:
    """What a watch sees during which the kernel's log tells an Xid and the scenario may get another line."""
    log = tmp_path / "kmsg"
    log.write_text("")
    folder = stand_in(tmp_path / "nvml", "eight-h100", line)
    process = begin(folder, 0, str(log))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    with log.open("a") as file:
        file.write(f"NVRM: Xid (PCI:0000:{at}): {code}, pid=2, name=x, what became of it\n")
    if then:
        time.sleep(0.5)
        play(folder, "eight-h100", then)
    seen: Seen = json.loads(process.communicate("end\n"))
    return seen


@pytest.mark.parametrize("code", [48, 9999])
def test_an_xid_that_may_be_of_a_gpu_without_a_known_address_is_not_dropped(tmp_path: Path, code: int) -> None:
    seen = logged(tmp_path, "gpu.3.bus = !999", code=code)
    [(index, group, text, fix)] = seen["blinds"]
    assert (index, group, bool(fix)) == (3, "xid", True)
    assert f"whether it had Xid {code} could not be read: its PCI address is not known" in text
    assert "what became of it" in text
    assert seen["findings"] == []


def test_an_xid_of_an_application_is_nothing_whosever_it_is(tmp_path: Path) -> None:
    assert logged(tmp_path, "gpu.3.bus = !999", code=31)["blinds"] == []


def test_an_xid_at_an_address_that_none_of_the_gpus_has_is_anothers(tmp_path: Path) -> None:
    """In a container the kernel's log tells of the whole machine, and NVML lists some of its GPUs."""
    seen = logged(tmp_path, "count = 8", at="77:00")
    assert (seen["findings"], seen["blinds"]) == ([], [])


def test_an_xid_is_given_to_the_gpu_whose_address_becomes_known_later(tmp_path: Path) -> None:
    seen = logged(tmp_path, "gpu.3.bus = !999", then="gpu.3.temperature = 40")
    assert {tuple(found[:3]) for found in seen["findings"]} == {(3, "xid", "drain")}
    assert seen["blinds"] == []


def test_the_kernels_log_tells_nothing_of_a_gpu_without_a_known_address(tmp_path: Path) -> None:
    seen = watched(stand_in(tmp_path, "eight-h100", "gpu.3.bus = !999", "gpu.3.events = !4"))
    [(index, group, text, _)] = seen["blinds"]
    assert (index, group) == (3, "xid")
    assert "its PCI address, by which the kernel's log names it, is not known" in text
    assert watched(stand_in(tmp_path, "eight-h100", "gpu.3.bus = !999"))["blinds"] == [], "NVML tells of them"


def test_unlike_gpus_with_names_beyond_ascii_are_each_measured_by_their_own_kind(tmp_path: Path) -> None:
    lines = ["gpu.3.name = Grafikkarte Größe ☃", "gpu.3.nvlink.*.state = 0", "gpu.3.pcie.generation = 4"]
    lines += ["gpu.3.pcie.generation.most = 4", "gpu.3.fabric.state = 0"]
    seen = watched(stand_in(tmp_path, "eight-h100", *lines))
    assert seen["findings"] == []
    assert seen["gpus"][3]["name"] == "Grafikkarte Größe ☃"


def test_a_gpu_without_a_bridge_is_sound_and_one_without_links_behind_an_nvswitch_is_not(tmp_path: Path) -> None:
    unbridged = ["gpu.3.nvlink.*.state = 0", "gpu.*.fabric.state = 0"]
    assert watched(stand_in(tmp_path / "a", "eight-h100", *unbridged))["findings"] == []
    seen = watched(stand_in(tmp_path / "b", "eight-h100", "gpu.3.nvlink.*.state = 0"))
    assert {tuple(found[:3]) for found in seen["findings"]} == {(3, "links", "drain")}


def test_each_ill_that_the_fabric_tells_of_is_a_finding(tmp_path: Path) -> None:
    sound = watched(stand_in(tmp_path / "a", "eight-h100", "gpu.3.fabric.health = 0x1aa"))
    assert (sound["findings"], sound["blinds"]) == ([], [])
    seen = watched(stand_in(tmp_path / "b", "eight-h100", "gpu.3.fabric.health = 0x305"))
    assert [found[:3] for found in seen["findings"]] == [[3, "links", "drain"]] * 3
    said = " ".join(found[3] for found in seen["findings"])
    assert all(part in said for part in ("bandwidth is degraded", "routes are being recovered", "configured wrongly"))


ALL_OFF = "gpu.*.nvlink.?.state = 0", "gpu.*.nvlink.1[0-7].state = 0"
A100 = ("gpu.*.name = NVIDIA A100-SXM4-80GB", "gpu.*.capability = 8.0", "gpu.*.fabric.* = !3")
"""GPUs before Hopper tell of no fabric."""


def test_links_that_are_all_down_are_missed_where_the_fabric_says_that_it_is_complete(tmp_path: Path) -> None:
    """No other GPU is a measure where all are alike."""
    seen = watched(stand_in(tmp_path / "a", "eight-h100", *ALL_OFF))
    assert {tuple(found[:3]) for found in seen["findings"]} == {(index, "links", "drain") for index in range(8)}
    assert "nvlink.down is 18, at most 0 may be" in seen["findings"][0][3]
    alone = watched(stand_in(tmp_path / "b", "eight-h100", "count = 1", *ALL_OFF))
    assert [found[:3] for found in alone["findings"]] == [[0, "links", "drain"]]


def test_a_gpu_of_a_board_without_a_link_is_missed_though_it_tells_of_no_fabric(tmp_path: Path) -> None:
    off = "gpu.3.nvlink.*.state = 0"
    seen = watched(stand_in(tmp_path / "a", "eight-h100", *A100, off))
    assert [found[:3] for found in seen["findings"]] == [[3, "links", "drain"]]
    assert "nvlink.down is 18" in seen["findings"][0][3]
    split = watched(stand_in(tmp_path / "b", "eight-h100", *A100, off, "gpu.3.mig = 1"))
    assert split["findings"] == [], "a split GPU may have its links off"


@pytest.mark.parametrize(
    "lines",
    [
        (*A100, *ALL_OFF),
        (*A100, *ALL_OFF, "gpu.[01].nvlink.?.state = 1"),
        (*A100, "gpu.*.name = NVIDIA RTX A6000", "gpu.3.nvlink.*.state = 0"),
        ("gpu.*.name = NVIDIA H100 PCIe", "gpu.*.fabric.state = 0", *ALL_OFF),
        (*A100, "gpu.3.nvlink.*.state = !3"),
    ],
)
def test_links_that_are_off_by_design_are_sound(tmp_path: Path, lines: tuple[str, ...]) -> None:
    assert watched(stand_in(tmp_path, "eight-h100", *lines))["findings"] == []


B200 = (
    "gpu.*.name = NVIDIA B200",
    "gpu.*.capability = 10.0",
    "gpu.*.nvlink.*.errors.* = !3",
    "gpu.*.nvlink.*.version = 7",
    "gpu.*.nvlink.*.field.2?? = 0",
)
"""NVLink 5, which NVML numbers 7, has none of the older counters."""


def test_links_of_nvlink_5_count_in_fields_of_their_own(tmp_path: Path) -> None:
    seen = watched(stand_in(tmp_path / "a", "eight-h100", *B200))
    assert (seen["findings"], seen["blinds"]) == ([], [])
    assert {gpu["values"]["nvlink5.effective_errors"] for gpu in seen["gpus"]} == {0}
    old = watched(stand_in(tmp_path / "b", "eight-h100", "gpu.*.nvlink.*.version = 6"))
    assert (old["findings"], old["blinds"]) == ([], [])
    assert not any(name.startswith("nvlink5") for gpu in old["gpus"] for name in (*gpu["values"], *gpu["absent"]))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (206, "nvlink5.malformed_packets rose by "),
        (208, "nvlink5.receive_errors rose by "),
        (211, "nvlink5.integrity_errors rose by "),
        (215, "nvlink5.recoveries rose by "),
        (219, "nvlink5.effective_errors rose by "),
        (221, None),
    ],
)
def test_an_error_of_nvlink_5_that_rises_is_a_finding_but_for_one_that_is_mended(
    tmp_path: Path, field: int, said: str | None
) -> None:
    seen = watched(stand_in(tmp_path, "eight-h100", *B200, f"gpu.3.nvlink.17.field.{field} = 5+1/call"))
    assert [found[:3] for found in seen["findings"]] == ([[3, "links", "drain"]] if said else [])
    assert all(str(said) in found[3] for found in seen["findings"])
    assert seen["blinds"] == []


def test_an_error_of_nvlink_5_from_earlier_days_is_no_rise(tmp_path: Path) -> None:
    seen = watched(stand_in(tmp_path, "eight-h100", *B200, "gpu.3.nvlink.17.field.215 = 505"))
    assert (seen["findings"], seen["blinds"]) == ([], [])


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        (["gpu.2.nvlink.*.field.2?? = !3"], 1),
        (["gpu.2.nvlink.*.field.2?? = !2"], 1),
        (["gpu.2.nvlink.*.field.2?? = !3", "gpu.2.nvlink.*.field.221 = 0"], 1),
        (["gpu.2.nvlink.*.field.207 = !3"], 0),
        (["gpu.2.nvlink.*.field.2?? = !3", "gpu.2.nvlink.*.errors.0 = 0"], 0),
        (["gpu.2.nvlink.*.field.207 = !999"], 1),
        (["gpu.2.nvlink.4.field.207 = 0xFFFFFFFFFFFFFFFF"], 1),
        (["gpu.2.nvlink.*.version = !999"], 0),
        (["gpu.2.nvlink.*.version = 0"], 1),
        (["gpu.2.nvlink.*.version = !3"], 1),
    ],
)
def test_links_of_nvlink_5_are_not_sound_where_no_error_of_them_can_be_read(
    tmp_path: Path, lines: list[str], count: int
) -> None:
    seen = watched(stand_in(tmp_path, "eight-h100", *B200, *lines))
    assert [blind[:2] for blind in seen["blinds"]] == [[2, "links"]] * count
    assert seen["findings"] == []


def test_a_link_that_is_seen_at_rest_alone_is_not_judged_by_that(tmp_path: Path) -> None:
    seen = watched(stand_in(tmp_path, "eight-h100", "gpu.2.reasons = 0x1", "gpu.2.pcie.generation = 1"))
    assert seen["findings"] == []
    assert {tuple(blind[:2]) for blind in seen["blinds"]} == {(2, "links")}


def test_a_driver_that_does_not_start_is_said(tmp_path: Path) -> None:
    assert watched(stand_in(tmp_path, "eight-h100", "init = !18")) == {
        "unread": "NVML did not start: RM has detected an NVML/RM version mismatch."
    }
