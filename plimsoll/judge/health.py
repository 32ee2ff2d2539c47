"""Judges the health of GPUs by the catalogue's rules: what is wrong, what to do, and what could not be read.

A counter that rises while a model runs is a finding, whatever its total. One that could not be read does not count as
sound: it is a `Blind`, which leaves a run incomplete. A counter that the product does not have is neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.health import CounterRule, HealthRules, XidClass
from plimsoll.node.driver import next_step
from plimsoll.node.health import FABRIC_COMPLETED, NOT_SUPPORTED, GpuHealth, HeardXid, Reading
from plimsoll.node.watch import OVERRUN, HealthWindow

NODE: Final = -1
"""The index for what concerns every GPU."""
_ALL: Final = "the node's GPUs"
_FABRIC: Final = "the node's fabric (NVSwitch)"

_VOLATILE: Final = tuple(
    f"ecc.volatile.{kind}.{place}" for kind in ("corrected", "uncorrected") for place in ("sram", "dram")
)
_REPLACED: Final = ("remap.pending", "remap.failed", "retired.pending", "retired.double")
_LINK_ERRORS: Final = ("nvlink.replays", "nvlink.recoveries", "nvlink.crc_flits")
_HELD_DOWN: Final = ("reasons", "throttle.thermal")
_LOST: Final = 15
"""NVML_ERROR_GPU_IS_LOST."""
_OF_GROUP: Final = {
    "ecc": "the errors of its memory",
    "remapped_rows": "the rows of its memory that were replaced",
    "throttle": "what holds its clocks down",
    "links": "its links",
    "xid": "its Xid errors",
}
_BOARD: Final = "SXM"
"""In the name of every product before Hopper that is joined by its board, as in NVIDIA A100-SXM4-80GB."""
_FABRIC_AILS: Final = (
    (0, 0x3, (1,), "its bandwidth is degraded"),
    (2, 0x3, (1,), "its routes are being recovered"),
    (4, 0x3, (1,), "its routes are unhealthy"),
    (6, 0x3, (1,), "it recovers from timeouts of access"),
    (8, 0xF, range(2, 16), "it is configured wrongly"),
)
"""First bit, width as a mask, and bad values of each part (NVML_GPU_FABRIC_HEALTH_MASK_*); 0 says not supported."""
_RECOVERY_CHANGED: Final = 154
_RECOVERY: Final = re.compile(r"recovery action changed from .*\bto 0x(?P<to>[0-9a-fA-F]+)")
"""In the text of that Xid; the numbers are those of NVML's advice."""
_GRAVITY: Final = re.compile(r"SXid \([^)]*\): \d+, (?P<says>[A-Za-z-]+),")
"""In the text of an SXid: Fatal or Non-fatal."""
_FLOODED: Final = "see what floods the kernel's log (dmesg), and run again"
_NO_STEP: Final = "see what nvidia-smi -q says of it, and run again"
_HEAT: Final = range(50, 151)
"""The temperatures at which a GPU slows down; newer GPUs give a distance from a limit instead, which is no
temperature."""
_WATTS: Final = 1000
_SECOND: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFinding:
    """Something that is wrong with a GPU."""

    gpu: str
    """`GPU 3 (GPU-4d3e...)`."""
    index: int
    group: str
    what: str
    action: str
    does: str
    """The action in words."""
    source: str

    def __str__(self) -> str:
        return f"{self.gpu}: {self.what} [{self.source}]; action: {self.action}: {self.does}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind:
    """Something that could not be read, so that it cannot be judged."""

    gpu: str
    index: int
    group: str
    what: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.gpu}: {self.what} could not be read: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthJudgement:
    """The findings and gaps for some GPUs over a window."""

    findings: tuple[HealthFinding, ...]
    blinds: tuple[Blind, ...]
    judged: tuple[int, ...]
    """The GPUs that were looked at: of any other, no finding says nothing."""

    def of(self, *groups: str) -> HealthJudgement:
        """The part for some groups."""
        return HealthJudgement(
            findings=tuple(each for each in self.findings if each.group in groups),
            blinds=tuple(each for each in self.blinds if each.group in groups),
            judged=self.judged,
        )

    def on(self, index: int) -> HealthJudgement:
        """The part about one GPU, with what concerns all GPUs; gaps in every group where that GPU was not judged."""
        blinds = tuple(each for each in self.blinds if each.index in (index, NODE))
        if index not in self.judged:
            why = "it was not among the GPUs that were watched"
            blinds += tuple(
                Blind(gpu=f"GPU {index}", index=index, group=group, what=what, why=why, fix=_NO_STEP)
                for group, what in {"presence": "whether it is there", **_OF_GROUP}.items()
            )
        return HealthJudgement(
            findings=tuple(each for each in self.findings if each.index in (index, NODE)),
            blinds=blinds,
            judged=tuple(each for each in self.judged if each == index),
        )


def judge_health(
    window: HealthWindow,
    rules: HealthRules,
    indexes: Sequence[int] | None = None,
    *,
    known: Mapping[int, str | None] | None = None,
    worked: bool = False,
) -> HealthJudgement:
    """Judge these GPUs over a window; where `indexes` is None, all that are known or were there at its beginning or
    end. `known` has the UUIDs of those that the probe saw, so that one that was gone before the window is missed.
    `worked` says that a model ran on them: only then is the PCIe link judged, as an idle link trains down.
    """
    known = known or {}
    looks = (window.before, window.after)
    listed = {gpu.index for look in looks for gpu in look.gpus}
    asked = tuple(sorted({*known, *listed}) if indexes is None else indexes)
    findings: list[HealthFinding] = []
    blinds = [_no_list(why) for why in dict.fromkeys(look.why for look in looks) if why]
    for index in asked:
        one = _One(window, rules, index, worked, known)
        for each in one.judged():
            (findings if isinstance(each, HealthFinding) else blinds).append(each)  # type: ignore[arg-type]
    blinds += _nobodys_xids(window, rules)
    if window.lost and any(map(_has_fabric, (*window.before.gpus, *window.after.gpus))):
        unheard = "every SXid of its NVSwitches"
        blinds.append(Blind(gpu=_FABRIC, index=NODE, group="links", what=unheard, why=OVERRUN, fix=_FLOODED))
    for told in _sxids(window, rules):
        (findings if isinstance(told, HealthFinding) else blinds).append(told)  # type: ignore[arg-type]
    return HealthJudgement(findings=tuple(findings), blinds=tuple(blinds), judged=asked)


def _no_list(why: str) -> Blind:
    return Blind(gpu=_ALL, index=NODE, group="presence", what="their list", why=why, fix=_NO_STEP)


def _nobodys_xids(window: HealthWindow, rules: HealthRules) -> Iterator[Blind]:
    """Gaps for Xids of which NVML itself does not say the GPU: any of them may have had it."""
    for code in dict.fromkeys(xid.code for xid in window.xids if xid.gpu is None and xid.bus is None):
        if _may_fail(rules, code):
            why = f"NVML told Xid {code}, and not of which GPU"
            yield Blind(gpu=_ALL, index=NODE, group="xid", what="whose an Xid is", why=why, fix=_NO_STEP)


def _sxids(window: HealthWindow, rules: HealthRules) -> Iterator[HealthFinding | Blind]:
    """What NVSwitches told, once for each switch and number. The switches join all GPUs of a node, so that it concerns
    each of them; which link is whose the log does not say."""
    told: set[tuple[str, int, str]] = set()
    for sxid in window.xids:
        if not sxid.switch:
            continue
        gravity = _GRAVITY.search(sxid.text)
        says = gravity["says"].lower() if gravity else ""
        if (sxid.switch, sxid.code, says) in told:
            continue
        told.add((sxid.switch, sxid.code, says))
        found = rules.sxids.get(says)
        if found is None:
            why = f"it says neither of them: {sxid.text}"
            fix = f"look up SXid {sxid.code} in NVIDIA's Fabric Manager User Guide, and run again"
            what = f"whether SXid {sxid.code} of {sxid.switch} is fatal"
            yield Blind(gpu=_FABRIC, index=NODE, group="links", what=what, why=why, fix=fix)
        elif found.action:
            yield HealthFinding(
                gpu=_FABRIC,
                index=NODE,
                group="links",
                what=f"SXid {sxid.code} ({found.says}), told by {sxid.told_by}: {sxid.text}",
                action=found.action,
                does=rules.actions[found.action],
                source=found.source,
            )


def _may_fail(rules: HealthRules, code: int) -> bool:
    """True for an Xid that is a finding, and for one that nobody knows."""
    found = rules.xid(code)
    return found is None or found.fails


class _One:
    """One GPU over one window."""

    def __init__(
        self, window: HealthWindow, rules: HealthRules, index: int, worked: bool, known: Mapping[int, str | None]
    ) -> None:
        self._window, self._rules, self._index, self._worked = window, rules, index, worked
        self._before = window.before.gpu(index)
        self._after = window.after.gpu(index)
        self._is_known = index in known
        looks = [gpu for gpu in (self._before, self._after) if gpu is not None]
        uuids = list(dict.fromkeys(uuid for uuid in (known.get(index), *(gpu.uuid for gpu in looks)) if uuid))
        self._uuid = uuids[0] if uuids else None
        self._name = f"GPU {index}" + (f" ({self._uuid})" if self._uuid else "")
        """With the UUID, because its number differs between containers."""
        self._others = uuids[1:]
        """The UUIDs of other GPUs that the driver listed at its number."""

    def judged(self) -> Iterator[HealthFinding | Blind]:
        if self._others:
            # Figures go by number, so that all of them may be another's; Xids by the number when the watch began.
            yield self._moved()
            another = Reading(value=None, why=f"the driver lists {self._others[-1]} at its number")
            if self._before is not None and self._before.uuid == self._uuid:
                yield from self._xids()
            else:
                yield self._blind("xid", _OF_GROUP["xid"], another)
            yield from self._nothing_of(another)
            return
        yield from self._xids()
        yield from self._absences()
        after = self._after
        if after is None:
            unlisted = self._window.after.why
            gone = Reading(value=None, why="the GPU is gone", code=_LOST)
            yield from self._nothing_of(Reading(value=None, why=unlisted) if unlisted else gone)
        elif after.lost is not None:
            yield self._gone(f"it is lost: {after.lost}")
            yield from self._nothing_of(Reading(value=None, why=after.lost, code=_LOST))
        elif "handle" in after.readings:
            yield self._blind("presence", "it", after.readings["handle"])
            yield from self._nothing_of(after.readings["handle"])
        else:
            for rule in self._rules.counters.values():
                if rule.is_judged and not (rule.needs_ecc and _has_no_ecc(after)) and not _is_newer(rule, after):
                    yield from self._counter(rule, after)
            for ask in (self._ecc, self._unseen, self._heat, self._power, self._slot, self._fabric, self._advice):
                yield from ask(after)

    def _absences(self) -> Iterator[HealthFinding | Blind]:
        """What is wrong with a GPU that the driver does not list. A list that could not be read misses nobody."""
        before, after = self._window.before, self._window.after
        if self._before is None and self._is_known and not before.why:
            again = "" if self._after is None else "; it is listed again"
            yield self._gone(f"it was gone when its watch began, though the driver had listed it before{again}")
        elif self._after is None and not after.why:
            yield self._gone("it is gone: the driver listed it when the suite began, and does not any more")
        if self._before is None and self._after is None:
            why = before.why or "the driver did not list it, so that neither NVML nor its PCI address could tell of it"
            yield self._blind("xid", _OF_GROUP["xid"], Reading(value=None, why=why))

    def _moved(self) -> HealthFinding:
        what = f"another GPU has its number now: the driver lists {' and then '.join(self._others)} there"
        source = "NVML, nvmlDeviceGetHandleByIndex: numbers may change, UUIDs do not"
        return self._finding("presence", what, "drain", source)

    def _nothing_of(self, reading: Reading) -> Iterator[Blind]:
        """Gaps for every group of a GPU that does not answer, so that no check of it passes for lack of a figure."""
        for group in ("ecc", "remapped_rows", "throttle", "links"):
            yield self._blind(group, _OF_GROUP[group], reading)

    def _gone(self, what: str) -> HealthFinding:
        return self._finding(
            "presence", what, "drain", "NVML_ERROR_GPU_IS_LOST; NVSentinel #155: a lost GPU may log no Xid"
        )

    def _counter(self, rule: CounterRule, after: GpuHealth) -> Iterator[HealthFinding | Blind]:
        reading = self._reading(rule.id, after)
        if reading.value is None:
            if not reading.is_absent:
                yield self._blind(rule.group, rule.meaning, reading)
            return
        if rule.most is not None and reading.value > rule.most:
            most = _amount(rule.most, rule)
            what = f"{rule.id} is {_amount(reading.value, rule)}, at most {most} may be: {rule.meaning}"
            yield self._finding(rule.group, what, rule.action, rule.source)
        yield from self._rise(rule, reading.value)

    def _rise(self, rule: CounterRule, value: int) -> Iterator[HealthFinding | Blind]:
        if rule.rise is None and rule.rise_per_second is None:
            return
        unlisted = self._window.before.why
        began = Reading(value=None, why=unlisted or "the GPU was not there when the suite began")
        if self._before is not None:
            began = self._reading(rule.id, self._before)
        earlier = began.value
        if earlier is None:
            yield self._blind(rule.group, f"how far it had risen before ({rule.meaning})", began)
            return
        # A counter that fell was reset, so its whole value is new.
        grown = value - earlier if value >= earlier else value
        seconds = max(self._window.seconds, 1e-3)
        too_much = rule.rise is not None and grown > rule.rise
        too_fast = rule.rise_per_second is not None and grown / seconds >= rule.rise_per_second
        if too_much or too_fast:
            by, to = _amount(grown, rule), _amount(value, rule)
            what = f"{rule.id} rose by {by} to {to} within {seconds:.0f} s: {rule.meaning}"
            yield self._finding(rule.group, what, rule.action, rule.source)

    def _reading(self, name: str, gpu: GpuHealth) -> Reading:
        if name == "nvlink.down":
            return self._links_down(gpu)
        return gpu.readings.get(name, Reading(value=None, why="it was not asked"))

    def _links_down(self, gpu: GpuHealth) -> Reading:
        """How many links are down that were up before, that are up now on other GPUs of the product, or that a fabric
        needs which says that it is complete."""
        active = gpu.readings.get("nvlink.active", Reading(value=None, why="it was not asked"))
        if active.value is None:
            return active
        earlier = 0 if self._before is None else self._before.value("nvlink.active") or 0
        look = self._window.after if gpu is self._after else self._window.before
        alike = [other.value("nvlink.active") or 0 for other in look.gpus if other.name == gpu.name]
        fabric = gpu.value("fabric.state")
        most = 0
        if active.value or fabric is not None or _must_have_links(gpu, alike):
            most = max((links.bit_count() for links in alike), default=0)
        # A split GPU (MIG) may have its links off.
        if not active.value and fabric == FABRIC_COMPLETED and gpu.value("mig") != 1:
            most = max(most, gpu.value("nvlink.links") or 1)
        return Reading(value=max((earlier & ~active.value).bit_count(), most - active.value.bit_count(), 0))

    def _ecc(self, gpu: GpuHealth) -> Iterator[Blind]:
        mode = gpu.readings.get("ecc.mode", Reading(value=None, why="it was not asked"))
        if mode.value is None and not mode.is_absent:
            yield self._blind("ecc", "whether errors of its memory are corrected (ECC)", mode)
        elif mode.value == 0:
            yield Blind(
                gpu=self._name,
                index=self._index,
                group="ecc",
                what="errors of its memory",
                why="ECC is switched off, so nothing counts them",
                fix=f"switch ECC on (nvidia-smi -i {gpu.uuid or gpu.index} -e 1), and reboot",
            )

    def _unseen(self, gpu: GpuHealth) -> Iterator[Blind]:
        """Groups of which the driver says that the product has no figure at all, though it must have some: a check of
        such a group would pass for having looked at nothing."""
        has_ecc, has_links = gpu.value("ecc.mode") == 1, bool(gpu.value("nvlink.active"))
        # Links count by the older counters or by those of NVLink 5, and no product has both.
        judged = [rule for rule in self._rules.counters.values() if rule.needs_nvlink and rule.is_judged]
        link_errors = (*_LINK_ERRORS, *(rule.id for rule in judged if not _is_newer(rule, gpu)))
        # Of a split GPU NVML tells no replaced rows (nvmlDeviceGetRemappedRows).
        has_rows = has_ecc and gpu.value("mig") != 1
        for group, must, names, what in (
            ("ecc", has_ecc, _VOLATILE, "every count of errors of its memory, though ECC is on,"),
            ("remapped_rows", has_rows, _REPLACED, "every count of its memory's replaced rows, though ECC is on,"),
            ("links", has_links, link_errors, "every count of errors of its NVLinks, though some are up,"),
            ("throttle", True, _HELD_DOWN, "every sign that its clocks are held down"),
        ):
            if must and all(self._reading(name, gpu).is_absent for name in names):
                yield self._blind(group, what, self._reading(names[0], gpu))

    def _heat(self, gpu: GpuHealth) -> Iterator[HealthFinding | Blind]:
        seen = self._window.extremes.get(self._index, {})
        for name, limit, what in (
            ("temperature", "temperature.slowdown", "the GPU slows down"),
            ("temperature.memory", "temperature.memory.most", "its memory may not be hotter"),
        ):
            reading, most = gpu.readings.get(name), gpu.value(limit)
            if reading is None or (reading.value is None and reading.is_absent):
                continue
            if reading.value is None:
                yield self._blind("throttle", name, reading)
                continue
            highest = max(reading.value, seen[name].high if name in seen else 0)
            if most is not None and most in _HEAT and highest >= most:
                said = f"{name} reached {highest} °C, and from {most} °C on {what}"
                yield self._finding("throttle", said, "drain", "NVML, nvmlDeviceGetTemperatureThreshold")
        reasons = gpu.readings.get("reasons")
        if reasons is not None and reasons.value is None and not reasons.is_absent:
            yield self._blind("throttle", "why its clocks are held down", reasons)
        shown = (reasons.value or 0) if reasons is not None else 0
        shown |= seen["reasons"].bits if "reasons" in seen else 0
        for advice in self._rules.reasons:
            if shown & advice.value:
                yield self._finding(
                    "throttle", f"its clocks were held down: {advice.says}", advice.action, advice.source
                )

    def _power(self, gpu: GpuHealth) -> Iterator[HealthFinding]:
        """A power limit that holds clocks down is normal in a busy GPU; it is a finding where the limit was lowered."""
        enforced, default = gpu.value("power.enforced"), gpu.value("power.default")
        held = gpu.value("throttle.power")
        earlier = None if self._before is None else self._before.value("throttle.power")
        if enforced is None or default is None or held is None or earlier is None or held <= earlier:
            return
        if enforced < default:
            what = (
                f"its clocks were held down for {(held - earlier) / _SECOND:.1f} s by a power limit of "
                f"{enforced / _WATTS:.0f} W, below the default of {default / _WATTS:.0f} W; "
                f"set it back: nvidia-smi -i {gpu.uuid or gpu.index} -pl {default / _WATTS:.0f}"
            )
            yield self._finding("throttle", what, "configure", "NVML, nvmlDeviceGetEnforcedPowerLimit")

    def _slot(self, gpu: GpuHealth) -> Iterator[HealthFinding | Blind]:
        """Compares the best PCIe link while a model ran with what card and slot can do together."""
        if not self._worked:
            return
        seen = self._window.extremes.get(self._index, {})
        for name, unit in (("pcie.generation", "generation"), ("pcie.width", "lanes")):
            most = gpu.readings.get(f"{name}.most", Reading(value=None, why="it was not asked"))
            if most.is_absent:
                continue
            if most.value is None:
                yield self._blind("links", f"its PCIe {unit}", most)
            elif name not in seen:
                reading = gpu.readings.get(name, Reading(value=None, why="no sample was taken while a model ran"))
                yield self._blind("links", f"its PCIe {unit} under load", reading)
            elif seen[name].high < most.value:
                what = f"PCIe {unit} was {seen[name].high} at its best under load, and card and slot can {most.value}"
                yield self._finding("links", what, "drain", "NVML, nvmlDeviceGetMaxPcieLinkGeneration and ...Width")

    def _fabric(self, gpu: GpuHealth) -> Iterator[HealthFinding | Blind]:
        state = gpu.readings.get("fabric.state", Reading(value=None, why="it was not asked"))
        if state.value is None:
            if not state.is_absent:
                yield self._blind("links", "the state of its fabric (NVSwitch)", state)
            return
        status = gpu.value("fabric.status")
        if state.value != FABRIC_COMPLETED or status:
            said = f"state {state.value} with status {status}"
            what = f"its fabric (NVSwitch) is in {said}, and should be completed (3) with success (0)"
            yield self._finding(
                "links", what, "drain", "NVML, nvmlGpuFabricInfo: Completed and Success; see nvidia-fabricmanager"
            )
        health = gpu.value("fabric.health") or 0
        for shift, width, bad, says in _FABRIC_AILS:
            if health >> shift & width in bad:
                what = f"its fabric (NVSwitch) says that {says} (health mask {health:#x})"
                yield self._finding("links", what, "drain", "NVML, NVML_GPU_FABRIC_HEALTH_MASK_*")

    def _advice(self, gpu: GpuHealth) -> Iterator[HealthFinding | Blind]:
        reading = gpu.readings.get("recovery", Reading(value=None, why="it was not asked"))
        if reading.value is None:
            if not reading.is_absent:
                yield self._blind("advice", "what NVML advises", reading)
            return
        advice = self._rules.recovery.get(reading.value)
        if advice is None:
            unknown = Reading(value=None, why=f"NVML advises {reading.value}, which catalogue/health does not know")
            yield self._blind("advice", "what NVML advises", unknown)
        elif advice.action:
            yield self._finding("advice", f"NVML itself advises: {advice.says}", advice.action, advice.source)

    def _xids(self) -> Iterator[HealthFinding | Blind]:
        told: set[int] = set()
        for xid in self._window.xids:
            if xid.gpu != self._index or xid.code in told:
                continue
            told.add(xid.code)
            yield from self._xid(xid)
        if self._index not in self._window.placed:
            yield from self._perhaps_its_xids()
        if (why := self._window.deaf.get(self._index)) is not None:
            readable = (
                "let this user read /dev/kmsg (a member of adm, or sysctl kernel.dmesg_restrict=0), or run as root"
            )
            fix = readable if self._index in self._window.placed else _NO_STEP
            yield Blind(
                gpu=self._name,
                index=self._index,
                group="xid",
                what="its Xid errors",
                why=why,
                fix=_FLOODED if why.endswith(OVERRUN) else fix,
            )

    def _perhaps_its_xids(self) -> Iterator[Blind]:
        """Gaps of a GPU without a known address for Xids at addresses that are none of the others'. To GPUs whose
        address is known they say nothing: in a container the kernel's log tells of the whole machine's."""
        strangers = {(xid.code, xid.bus): xid for xid in self._window.xids if xid.gpu is None and xid.bus is not None}
        for xid in strangers.values():
            if not xid.switch and _may_fail(self._rules, xid.code):
                why = f"its PCI address is not known, so that this may be of it: {xid.text}"
                yield self._blind("xid", f"whether it had Xid {xid.code}", Reading(value=None, why=why))

    def _xid(self, xid: HeardXid) -> Iterator[HealthFinding | Blind]:
        found = self._rules.xid(xid.code)
        said = f": {xid.text}" if xid.text else ""
        if found is None:
            why = f"Xid {xid.code}, told by {xid.told_by}, is in no class of catalogue/health{said}"
            yield Blind(
                gpu=self._name,
                index=self._index,
                group="xid",
                what="what an Xid means",
                why=why,
                fix=f"look up Xid {xid.code} in NVIDIA's XID Errors, and add it to catalogue/health/health.toml",
            )
        elif found.fails:
            alike = [each for each in self._window.xids if (each.gpu, each.code) == (xid.gpu, xid.code)]
            actions = {each: self._asked(each, found) for each in alike}
            # Of several, the gravest: the caller gives the first of a code alone.
            action = self._rules.gravest(actions.values())
            if action:
                told = next(each for each in alike if actions[each] == action)
                what = f"Xid {told.code} ({found.name}), told by {told.told_by}{f': {told.text}' if told.text else ''}"
                yield self._finding("xid", what, action, found.source)

    def _asked(self, xid: HeardXid, found: XidClass) -> str:
        """What an Xid asks for: its class, or the action of recovery that its text names, which may be none."""
        named = _RECOVERY.search(xid.text) if xid.code == _RECOVERY_CHANGED else None
        advice = self._rules.recovery.get(int(named["to"], 16)) if named else None
        return found.action if advice is None else advice.action

    def _finding(self, group: str, what: str, action: str, source: str) -> HealthFinding:
        does = self._rules.actions[action]
        return HealthFinding(
            gpu=self._name, index=self._index, group=group, what=what, action=action, does=does, source=source
        )

    def _blind(self, group: str, what: str, reading: Reading) -> Blind:
        fix = next_step(reading.code, _NO_STEP)
        return Blind(gpu=self._name, index=self._index, group=group, what=what, why=reading.why, fix=fix)


def _has_fabric(gpu: GpuHealth) -> bool:
    """True for a GPU behind NVSwitches; of GPUs before Hopper, which tell of no fabric, for all that may be."""
    is_linked_on_board = _BOARD in (gpu.name or "").upper() and bool(gpu.value("nvlink.active"))
    return gpu.value("fabric.state") is not None or is_linked_on_board


def _must_have_links(gpu: GpuHealth, alike: Sequence[int]) -> bool:
    """True for a GPU that must have NVLinks, though it tells of no fabric: one on a board of SXM of which most others
    have theirs up. GPUs before Hopper tell of no fabric at all. Cards are bridged in pairs, and one without a bridge
    has no links by design, also beside two that are bridged. A split GPU (MIG) may have its links off."""
    is_on_board = _BOARD in (gpu.name or "").upper()
    return is_on_board and gpu.value("mig") != 1 and sum(links != 0 for links in alike) * 2 > len(alike)


def _has_no_ecc(gpu: GpuHealth) -> bool:
    """True for products without ECC, such as consumer cards; not where ECC is only switched off."""
    return gpu.readings.get("ecc.mode", Reading(value=None, why="")).is_absent


def _is_newer(rule: CounterRule, gpu: GpuHealth) -> bool:
    """True for a counter of NVLinks that are newer than the GPU's, which nobody asked of it."""
    version = gpu.readings.get("nvlink.version", Reading(value=None, why="", code=NOT_SUPPORTED))
    is_older = version.is_absent or (version.value is not None and version.value < rule.needs_nvlink)
    return rule.needs_nvlink > 0 and is_older


def _amount(value: float, rule: CounterRule) -> str:
    return f"{value / _SECOND:.3f} s" if rule.unit == "ns" else f"{value:,.0f}"
