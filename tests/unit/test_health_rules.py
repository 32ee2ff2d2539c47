"""The catalogue's rules for the health of GPUs, and the kernel's log."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from plimsoll.catalogue.files import shipped_root
from plimsoll.catalogue.health import read_health
from plimsoll.judge.health import judge_health
from plimsoll.node.health import GpuHealth, Health, HeardXid, Reading
from plimsoll.node.kernel_log import KernelLog, bus_place, xids_of
from plimsoll.node.watch import HealthWindow

# Lines as leptonai/gpud has them (Apache-2.0; components/accelerator/nvidia/xid/kmsg_test.go at 2acd894,
# message_to_inject.go at 97864ab).
LINES = [
    ("[111111111.111] NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
     79, "0000:05:00"),
    ("NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.", 79, "0000:01:00"),
    ("[...] NVRM: Xid (0000:03:00): 14, Channel 00000001", 14, "0000:03:00"),
    ("[171167.620236] NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 0x00000000)",
     149, "0009:01:00"),
    ("[171167.621162] NVRM: Xid (PCI:0009:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x4 (Drain and "
     "Reset)", 154, "0009:01:00"),
    ("NVRM: Xid (PCI:0000:04:00): 63, Row remapping event: Rows 0x1a and 0x2b have been remapped on GPU "
     "00000000:04:00.0", 63, "0000:04:00"),
    ("NVRM: GPU 0000:29:00.0: GPU has fallen off the bus.", 79, "0000:29:00"),
    ("NVRM: GPU 18:00.0: GPU has fallen off the bus.", 79, "0000:18:00"),
]  # fmt: skip

SXIDS = [
    ("[111111111.111] nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV "
     "error (First)", 12028, "nvidia-nvswitch3", "0000:05:00"),
    ("[131453.740743] nvidia-nvswitch0: SXid (PCI:0000:00:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
     20034, "nvidia-nvswitch0", "0000:00:00"),
    ("3,9,131453740743,-;nvidia-nvswitch11: SXid (PCI:0000:a9:00.0): 10004, NVSWITCH Temperature 99C | TSENSE WARN "
     "Threshold 98C", 10004, "nvidia-nvswitch11", "0000:a9:00"),
]  # fmt: skip

NONE = [
    "[131453.740758] nvidia-nvswitch0: SXid (PCI:0000:a9:00.0): 20034, Data {0x50610002, 0x10100030}",
    "nvidia-nvswitch2: SXid (PCI:0000:07:00.0): 20034, Severity 1 Engine instance 60 Sub-engine instance 00",
    "nvidia-nvswitch0: SXid (PCI:0000:00:00.0): xyz, Fatal error",
    "nvidia-nvswitch0: SXid (invalid): some error",
    "Regular log content without Xid errors",
    "NVRM: Xid error: xyz, invalid data",
    "NVRM: Xid (invalid): some error",
    "NVRM: The NVIDIA GPU invalid-bdf.0",
    "usb 1-1: device has fallen off the bus",
]


@pytest.mark.parametrize(("line", "code", "bus"), LINES)
def test_a_line_of_the_driver_is_read(line: str, code: int, bus: str) -> None:
    [found] = xids_of([line])
    assert (found.code, found.bus) == (code, bus)


@pytest.mark.parametrize(("line", "code", "switch", "bus"), SXIDS)
def test_a_line_of_an_nvswitch_is_read(line: str, code: int, switch: str, bus: str) -> None:
    [found] = xids_of([line])
    assert (found.code, found.switch, found.bus) == (code, switch, bus)
    assert all(xid.switch == "" for xid in xids_of(each for each, *_ in LINES))


@pytest.mark.parametrize("line", NONE)
def test_other_lines_are_none(line: str) -> None:
    assert xids_of([line]) == []


def test_a_gpu_that_fell_off_the_bus_over_three_lines_is_one_xid() -> None:
    lines = [
        "NVRM: The NVIDIA GPU 0000:18:00.0",
        "NVRM: (PCI ID: 10de:2901) installed in this system has",
        "NVRM: fallen off the bus and is not responding to commands.",
    ]
    assert [(found.code, found.bus) for found in xids_of(lines)] == [(79, "0000:18:00")]


def test_a_record_of_the_kernels_buffer_says_when() -> None:
    [found] = xids_of(["3,1234,171167620236,-;NVRM: Xid (PCI:0000:9b:00): 119, pid=9, name=nvidia-smi, Timeout"])
    assert found.at == pytest.approx(171167.620236)
    assert found.text.startswith("NVRM: Xid")


def test_the_two_ways_to_write_a_place_are_one() -> None:
    assert bus_place("00000000:9B:00.0") == bus_place("PCI:0000:9b:00") == bus_place("9b:00.0") == "0000:9b:00"
    assert bus_place("00010000:01:00.0") == "10000:01:00"


def test_a_log_that_may_not_be_read_says_so_and_is_not_empty(tmp_path: Path) -> None:
    log = KernelLog(path=tmp_path / "kmsg")
    log.open()
    assert log.why == f"{tmp_path / 'kmsg'}: No such file or directory"
    assert (log.before, log.fresh()) == ([], [])


def test_what_stood_in_the_log_before_is_told_apart_from_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    path.write_text(LINES[0][0] + "\n")
    log = KernelLog(path=path)
    log.open()
    with path.open("a") as file:
        file.write(LINES[3][0] + "\n")
    assert [found.code for found in log.before] == [79]
    assert [found.code for found in log.fresh()] == [149]
    assert log.fresh() == []
    log.close()


def test_every_bound_has_a_source_and_an_action_that_is_explained() -> None:
    rules = read_health()
    judged = [rule for rule in rules.counters.values() if rule.is_judged]
    assert {rule.group for rule in judged} == {"ecc", "remapped_rows", "throttle", "links"}
    assert all(rule.source and rules.actions[rule.action] for rule in judged)


def test_classes_of_xid_follow_the_document() -> None:
    rules = read_health()
    named = {code: None if (found := rules.xid(code)) is None else found.name for code in (79, 48, 119, 31, 63, 154, 7)}
    assert named == {
        79: "hardware",
        48: "hardware",
        119: "reset",
        31: "application",
        63: "informational",
        154: "recovery action",
        7: None,
    }
    assert {found.name: found.fails for found in rules.xids}["application"] is False


def test_the_gravest_of_several_actions_is_the_last_in_the_file() -> None:
    rules = read_health()
    assert rules.gravest(["reset", "rma", "", "drain"]) == "rma"
    assert rules.gravest([]) == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "remap.failed"', 'id = "remap.pending"', "a counter is there twice"),
        ("codes = [154]", "codes = [154, 79]", "an Xid is in two classes"),
        ('action = "rma"\nsource = "NVIDIA GPU Memory', 'source = "NVIDIA GPU Memory', "no action or no source"),
        ('action = "rma"\nsource = "NVIDIA GPU', 'action = "bin"\nsource = "NVIDIA GPU', "'bin' is no action"),
    ],
)
def test_rules_that_say_two_things_are_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (shipped_root() / "health/health.toml").read_text()
    assert old in text
    (tmp_path / "health").mkdir()
    (tmp_path / "health/health.toml").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(said)):
        read_health(tmp_path)


def _gpu(sram: int | None) -> GpuHealth:
    """A GPU with this many SRAM errors, or one that does not say."""
    why = "" if sram is not None else "NVML says: Unknown Error"
    readings = {SRAM: Reading(value=sram, why=why, code=None if sram is not None else 999)}
    return GpuHealth(index=0, uuid="GPU-0", name="H100", bus=None, lost=None, readings=readings)


def _unknown_rises(before: GpuHealth | None) -> list[str]:
    """What cannot be said of a GPU that shows no error in the end."""
    began = Health(at=0.0, gpus=() if before is None else (before,))
    window = HealthWindow(before=began, after=Health(at=9.0, gpus=(_gpu(0),)))
    found = judge_health(window, read_health(), [0]).of("ecc").blinds
    return [blind.why for blind in found if blind.what.startswith("how far it had risen before (SRAM errors")]


SRAM = "ecc.volatile.uncorrected.sram"


def test_a_counter_whose_beginning_was_not_seen_is_no_sound_one() -> None:
    """It may have risen by all that it shows: before it could be read, or before the GPU was there."""
    assert _unknown_rises(_gpu(0)) == []
    assert _unknown_rises(_gpu(None)) == ["NVML says: Unknown Error"]
    assert _unknown_rises(None) == ["the GPU was not there when the suite began"]


RESET, NONE_AGAIN = "0x0 (None) to 0x1 (GPU Reset Required)", "0x1 (GPU Reset Required) to 0x0 (None)"


@pytest.mark.parametrize(
    ("changes", "action"),
    [
        ([NONE_AGAIN], None),
        ([RESET], "reset"),
        (["0x0 (None) to 0x2 (Node Reboot Required)"], "reboot"),
        (["0x0 (None) to 0x4 (Drain and Reset)"], "drain"),
        (["0x0 (None) to 0x2f (Something New)"], "drain"),
        ([NONE_AGAIN, RESET], "reset"),
        ([RESET, NONE_AGAIN], "reset"),
        ([""], "drain"),
    ],
)
def test_a_changed_recovery_action_asks_for_what_its_message_says(changes: list[str], action: str | None) -> None:
    lines = [
        f"NVRM: Xid (PCI:0000:18:00): 154, pid='<unknown>', name=<unknown>, GPU recovery action changed from {change}"
        for change in changes
    ]
    heard = [
        HeardXid(code=154, gpu=0, at=1.0, told_by="the kernel's log", text=line if change else "")
        for line, change in zip(lines, changes, strict=True)
    ]
    look = Health(at=0.0, gpus=(_gpu(0),))
    window = HealthWindow(before=look, after=look, xids=tuple(heard))
    findings = judge_health(window, read_health(), [0]).of("xid").findings
    assert [each.action for each in findings] == ([action] if action else [])
    assert all(RESET in each.what for each in findings if len(changes) > 1)


def test_an_sxid_is_of_every_gpu_and_as_grave_as_it_says() -> None:
    seen = Health(at=0.0, gpus=(_gpu(0), replace(_gpu(0), index=1)))
    heard = tuple(
        HeardXid(code=line.code, gpu=None, at=1.0, told_by="log", text=line.text, bus=line.bus, switch=line.switch)
        for line in xids_of([each for each, *_ in SXIDS] * 2)
    )
    judged = judge_health(HealthWindow(before=seen, after=seen, xids=heard), read_health())
    for index in (0, 1):
        links = judged.on(index).of("links")
        [finding] = [each for each in links.findings if "SXid" in each.what]
        assert str(finding).startswith("the node's fabric (NVSwitch): SXid 20034 (fatal), told by log: ")
        [blind] = [each for each in links.blinds if "SXid" in each.what]
        assert "whether SXid 10004 of nvidia-nvswitch11 is fatal could not be read" in str(blind)
    assert judged.of("xid").findings == ()
    assert not any("0000:05:00" in each.why for each in judged.of("xid").blinds), (
        "a switch is no GPU without an address"
    )


def test_of_a_gpu_that_nobody_judged_nothing_is_sound() -> None:
    window = HealthWindow(before=Health(at=0.0, gpus=(_gpu(0),)), after=Health(at=9.0, gpus=(_gpu(0),)))
    judged = judge_health(window, read_health())
    assert judged.judged == (0,)
    for group in ("presence", "ecc", "remapped_rows", "throttle", "xid", "links"):
        [blind] = judged.on(4).of(group).blinds
        assert (blind.index, blind.why) == (4, "it was not among the GPUs that were watched")
    assert {blind.index for blind in judged.on(0).blinds} == {0}


def _presence(before: Health, after: Health) -> list[str]:
    judged = judge_health(HealthWindow(before=before, after=after), read_health(), known={0: "GPU-0"})
    unread = {blind.group for blind in judged.blinds if blind.index == 0}
    assert {"ecc", "remapped_rows", "throttle", "links"} <= unread
    return [found.what.partition(":")[0] for found in judged.findings]


def test_a_known_gpu_is_missed_by_every_list_that_can_be_read_and_by_no_other() -> None:
    there, none = Health(at=0.0, gpus=(_gpu(0),)), Health(at=0.0, gpus=())
    dark = Health(at=0.0, gpus=(), why="NVML says: Unknown Error")
    began = "it was gone when its watch began, though the driver had listed it before"
    assert _presence(none, none) == [began]
    assert _presence(none, there) == [f"{began}; it is listed again"]
    assert _presence(there, none) == ["it is gone"]
    assert _presence(dark, none) == ["it is gone"]
    assert _presence(dark, dark) == _presence(dark, there) == _presence(there, dark) == []


def test_an_xid_of_which_nvml_does_not_say_the_gpu_leaves_all_of_them_unread() -> None:
    seen = Health(at=0.0, gpus=(_gpu(0),))
    for code, count in ((48, 1), (31, 0)):
        xids = (HeardXid(code=code, gpu=None, at=1.0, told_by="NVML"),)
        judged = judge_health(HealthWindow(before=seen, after=seen, xids=xids), read_health()).on(0).of("xid")
        assert [blind.why for blind in judged.blinds] == [f"NVML told Xid {code}, and not of which GPU"] * count


def test_a_gpu_whose_number_another_took_is_judged_by_the_xids_of_before_and_by_no_figure() -> None:
    xids = (HeardXid(code=79, gpu=0, at=1.0, told_by="NVML"),)
    first, other = _gpu(0), replace(_gpu(5), uuid="GPU-1")
    for known, before, groups in (
        ("GPU-0", first, {"presence", "xid"}),
        (None, first, {"presence", "xid"}),
        ("GPU-0", other, {"presence"}),
    ):
        looks = Health(at=0.0, gpus=(before,)), Health(at=9.0, gpus=(other,))
        judged = judge_health(HealthWindow(before=looks[0], after=looks[1], xids=xids), read_health(), known={0: known})
        assert {found.group for found in judged.findings} == groups
        assert {found.gpu for found in judged.findings} == {"GPU 0 (GPU-0)"}
        assert {"ecc", "remapped_rows", "throttle", "links", "xid"} - groups == {blind.group for blind in judged.blinds}
