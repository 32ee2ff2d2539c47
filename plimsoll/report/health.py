"""The health of the GPUs, as a section of report.html: what was found on each, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from plimsoll.catalogue.health import read_health
from plimsoll.evidence.record import RunRecord
from plimsoll.judge.health import NODE
from plimsoll.present.document import (
    Block,
    Bullets,
    Cell,
    Fold,
    Paragraph,
    Section,
    Span,
    Table,
    Tone,
    Words,
    columns,
    lines,
)

_HEAD: Final = columns("GPU", "State", "What to do", "Heat", "Memory's heat", "Clocks", "Power", "PCIe", "Not there")
_COUNTERS: Final = columns("Counter", "GPU", "First", "Last", figures=(2, 3))
_MILLI: Final = 1000
_SECOND: Final = 10**9


def health_section(record: RunRecord) -> Section | None:
    """Every GPU that was watched; None where none was."""
    if not record.health:
        return None
    findings = _unique(finding for seen in record.health for finding in seen["findings"])
    unread = _unique(blind for seen in record.health for blind in seen["unread"])
    gpus = _gpus(record.health)
    blocks: list[Block] = [
        Paragraph(words=_summary(len(gpus), findings, unread)),
        Table(
            label="Health of each GPU", columns=_HEAD, rows=tuple(_row(gpu, record, findings, unread) for gpu in gpus)
        ),
    ]
    if findings:
        blocks.append(Bullets(entries=tuple(_said(finding) for finding in findings)))
    if unread:
        entries = tuple(
            f"{each['gpu']}: {each['what']} could not be read: {each['why']}; {each['fix']}" for each in unread
        )
        blocks.append(Bullets(entries=entries))
    if earlier := _earlier(record.health):
        blocks.append(Bullets(entries=tuple(f"in the kernel's log before the run: {text}" for text in earlier)))
    if noted := _noted(record.health):
        blocks.append(Bullets(entries=tuple(f"told while models ran, and not judged: {text}" for text in noted)))
    counters = Table(label="Counters that are not zero", columns=_COUNTERS, rows=tuple(_counters(record.health)))
    if counters.rows:
        blocks.append(Section(title="Counters that are not zero", level=0, fold=Fold.CLOSED, blocks=(counters,)))
    return Section(
        title="Health of the GPUs", fold=Fold.OPEN if findings or unread else Fold.CLOSED, blocks=tuple(blocks)
    )


def _unique(found: Any) -> list[Mapping[str, Any]]:
    return list({(each["gpu"], each["what"]): each for each in found}.values())


def _gpus(seen: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each GPU as it was last read while it still answered."""
    found: dict[object, Mapping[str, Any]] = {}
    for each in seen:
        for gpu in (*each["first"], *each["last"]):
            if gpu.get("values") or gpu["index"] not in found:
                found[gpu["index"]] = gpu
    return [found[index] for index in sorted(found, key=str)]


def _summary(count: int, findings: Sequence[Mapping[str, Any]], unread: Sequence[Mapping[str, Any]]) -> str:
    sick = len({finding["index"] for finding in findings} - {NODE})
    dark = len({blind["index"] for blind in unread} - {NODE})
    state = f"{sick} with findings, {dark} with what could not be read" if findings or unread else "nothing was found"
    if any(finding["index"] == NODE for finding in findings):
        state += ", and a finding on what they share"
    return f"{count} GPUs were watched before, while and after models ran: {state}. docs/gpu-health.md has every bound."


def _row(
    gpu: Mapping[str, Any],
    record: RunRecord,
    findings: Sequence[Mapping[str, Any]],
    unread: Sequence[Mapping[str, Any]],
) -> tuple[Cell, ...]:
    index, values = gpu["index"], gpu["values"]
    rules = read_health()
    mine = [finding for finding in findings if finding["index"] == index]
    dark = any(blind["index"] == index for blind in unread)
    state = (
        Span(text="sick", tone=Tone.BAD)
        if mine
        else Span(text="not all read", tone=Tone.GAP)
        if dark
        else Span(text="sound", tone=Tone.GOOD)
    )
    known = [finding["action"] for finding in mine if finding["action"] in rules.actions]
    action = rules.gravest(known)
    return (
        lines([f"{index} {gpu.get('name') or ''}".strip(), str(gpu.get("uuid") or "no UUID read")]),
        state,
        f"{action}: {rules.actions[action]}" if action else "–",
        _range(record, index, "temperature", "°C", values.get("temperature.slowdown")),
        _range(record, index, "temperature.memory", "°C", values.get("temperature.memory.most")),
        _range(record, index, "clock.sm", "MHz", values.get("clock.sm.most")),
        _range(record, index, "power", "W", values.get("power.enforced"), _MILLI),
        _link(record, index, values),
        ", ".join(_not_there(gpu["absent"], values)) or "–",
    )


def _not_there(absent: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """What the product does not have: a group by its name, and single figures of one of which it has others."""
    there = {name.partition(".")[0] for name in values}
    groups = {name: name.partition(".")[0] for name in absent}
    return sorted({name if group in there else group for name, group in groups.items()})


def _extremes(record: RunRecord, index: object, name: str) -> tuple[int, int] | None:
    found = [
        each["extremes"][str(index)][name] for each in record.health if name in each["extremes"].get(str(index), {})
    ]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def _range(record: RunRecord, index: object, name: str, unit: str, most: int | None, scale: int = 1) -> Words:
    found = _extremes(record, index, name)
    if found is None:
        return "not read"
    text = f"{found[0] / scale:.0f} to {found[1] / scale:.0f}"
    return f"{text} of {most / scale:.0f} {unit}" if most else f"{text} {unit}"


def _link(record: RunRecord, index: object, values: Mapping[str, Any]) -> Words:
    generation, width = (_extremes(record, index, name) for name in ("pcie.generation", "pcie.width"))
    if generation is None or width is None:
        return "not read"
    most = f" of {values.get('pcie.generation.most')} x{values.get('pcie.width.most')}"
    return f"generation {generation[1]} x{width[1]}{most}"


def _said(finding: Mapping[str, Any]) -> str:
    return f"{finding['gpu']}: {finding['what']}; {finding['action']}: {finding['does']} [{finding['source']}]"


def _earlier(seen: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(xid["text"]) for each in seen for xid in each["earlier_xids"]))


def _noted(seen: Sequence[Mapping[str, Any]]) -> list[str]:
    """SXids of NVSwitches of which nothing was found."""
    texts = dict.fromkeys(str(xid["text"]) for each in seen for xid in each["xids"] if "SXid (" in str(xid["text"]))
    judged = [str(one["what"]) + str(one.get("why")) for each in seen for one in (*each["findings"], *each["unread"])]
    return [text for text in texts if not any(text in one for one in judged)]


def _counters(seen: Sequence[Mapping[str, Any]]) -> list[tuple[Cell, ...]]:
    """Every counter of the catalogue that showed something, as it was at the very beginning and at the very end."""
    rows: list[tuple[Cell, ...]] = []
    for name, rule in read_health().counters.items():
        for index in sorted({gpu["index"] for each in seen for gpu in each["last"]}):
            found = [
                gpu["values"][name]
                for each in seen
                for gpu in (*each["first"], *each["last"])
                if gpu["index"] == index and name in gpu["values"]
            ]
            if found and max(found):
                first, last = (
                    f"{n / _SECOND:.3f} s" if rule.unit == "ns" else f"{n:,}" for n in (min(found), max(found))
                )
                rows.append((lines([name, rule.meaning]), str(index), first, last))
    return rows
