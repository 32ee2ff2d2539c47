"""The memory of GPUs as a section of report.html: one row and one chart for each GPU that held a variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from plimsoll.evidence.record import RunRecord
from plimsoll.judge.gpu_memory import JUDGED, Account, account
from plimsoll.present.document import (
    Cell,
    Fold,
    Gallery,
    Inline,
    Key,
    LineChart,
    Paragraph,
    Section,
    Table,
    columns,
    lines,
    plain,
)
from plimsoll.report.figures import brief_bytes
from plimsoll.report.line_charts import memory_chart
from plimsoll.units import format_seconds

_HEAD: Final = columns(
    *("Variant", "GPU", "Predicted", "Allocated", "Reserved", "Process", "Device"),
    *("Context", "Pool", "Other tenants", "Unexplained", "Known by", "Sampled"),
)
_MANY: Final = 12
_LINES: Final = ("device", "process", "reserved", "allocated")
"""The accounts, the widest first; each has a style of its name, whose form tells it apart without colours."""
_PLACES: Final = {"device": 0, "process": 1, "allocated": 2, "reserved": 3}
"""Account -> its place in a point of `GpuUse.series`, after the seconds."""
_KEY: Final = Key(
    label="Key to the lines",
    marks=(
        *((f"line-{name}", name) for name in _LINES),
        ("line-predicted", "predicted at most while loading"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """A variant on one GPU."""

    variant: str
    account: Account
    predicted: int | None
    """Bytes at the highest point of loading, over all GPUs of the variant; None where it was not recorded."""
    series: tuple[tuple[float, int | None, int | None, int | None, int | None], ...]
    """Seconds; device, process, allocated, reserved."""


def gpu_uses(record: RunRecord) -> list[GpuUse]:
    """Every GPU that was measured while it held a variant: the last measurement of each."""
    found: dict[tuple[str, str], GpuUse] = {}
    for seen in record.health:
        for memory in seen.get("memory") or ():
            variant = str(seen["variant"])
            use = GpuUse(
                variant=variant,
                account=account(memory),
                predicted=_predicted(record, variant),
                series=tuple(tuple(point) for point in memory["series"]),
            )
            found[variant, use.account.device] = use
    return list(found.values())


def _predicted(record: RunRecord, variant: str) -> int | None:
    gate = record.gates.get(variant)
    bounds: Mapping[str, Any] = {} if gate is None else gate.bounds.get("vram_peak", {})
    expected = bounds.get("expected")
    return None if not isinstance(expected, (int, float)) else int(expected)


def gpu_memory_section(record: RunRecord) -> Section | None:
    """A table and a chart a GPU; None where none held a variant."""
    uses = gpu_uses(record)
    if not uses:
        return None
    words = (
        f"Judged is {JUDGED}. The process and the device are NVML's; the pool is what the allocator keeps; what "
        "nothing explains is what the process holds beside pool and context."
    )
    charts = tuple(gpu_memory_chart(use) for use in uses if len(use.series) > 1)
    drawn = (_KEY, Gallery(charts=charts)) if charts else ()
    table = Table(label="Memory of GPUs", columns=_HEAD, rows=tuple(map(_row, uses)))
    return Section(
        title="Memory of the GPUs, told four ways",
        fold=Fold.OPEN if len(uses) <= _MANY else Fold.CLOSED,
        blocks=(Paragraph(words=words), *drawn, table),
    )


def _row(use: GpuUse) -> tuple[Cell, ...]:
    told = use.account
    figures = (use.predicted, told.allocated_peak, told.reserved_peak, told.process_peak, told.device_peak)
    parts = (told.context, told.pool, told.others, told.unexplained)
    sampled = (
        "not sampled"
        if told.interval is None or told.cost is None
        else f"each {told.interval * 1000:.0f} ms, for {told.cost:.2%} of a core"
    )
    return (
        use.variant,
        lines([told.device, told.uuid or "no UUID read"]),
        *(_bytes(figure) for figure in (*figures, *parts)),
        told.by,
        sampled,
    )


def _bytes(figure: int | None) -> Inline:
    return "not known" if figure is None else brief_bytes(figure)


def gpu_memory_chart(use: GpuUse) -> LineChart:
    """One GPU's memory over time: device, process, allocator, and the prediction as a level."""
    title, told = f"{use.variant} on {use.account.device}", _peaks(use)
    if use.predicted is not None:
        told += f"; predicted {plain(_bytes(use.predicted))}"
    return memory_chart(
        title,
        alt=f"{title}: {told}",
        exact=told,
        seconds=use.series[-1][0],
        lines=[(name, [[(second, accounts[_PLACES[name]]) for second, *accounts in use.series]]) for name in _LINES],
        levels=[] if use.predicted is None else [("predicted", use.predicted)],
    )


def _peaks(use: GpuUse) -> str:
    told = use.account
    allocated, reserved, process, device = (
        plain(_bytes(figure))
        for figure in (told.allocated_peak, told.reserved_peak, told.process_peak, told.device_peak)
    )
    return (
        f"memory over {format_seconds(use.series[-1][0])}: {allocated} allocated, {reserved} reserved, {process} of "
        f"the process, {device} of the device, each at its highest"
    )
