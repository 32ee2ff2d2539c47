"""Shows a plan: a table for each machine, what is skipped and how to change that, totals, and the assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plimsoll.catalogue.entries import without_gpus
from plimsoll.gate.skip import Skip
from plimsoll.node.devices import Device
from plimsoll.plan.estimates import AssumedSpeeds, Capacity
from plimsoll.plan.planning import Deal, PlannedMachine, PlanRow
from plimsoll.present.document import Table, columns
from plimsoll.present.foreign_text import one_line
from plimsoll.present.terminal import LONGEST, aligned
from plimsoll.units import format_bytes, format_seconds

_LONGEST = 300
"""The most characters of a reason; some have a traceback."""
_COLUMNS = columns(
    *("variant", "", "needed GB", "available GB", "left GB", "load", "context", "batch", ""), figures=range(2, 8)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The totals of all variants that would run."""

    variants: int
    running: int
    seconds: float
    """Seconds to load them one after another."""
    disk: int
    """Bytes of weights' files, each model's once."""


def totals_of(rows: Sequence[PlanRow]) -> Totals:
    """The totals of the rows of one machine."""
    running = [row for row in rows if row.runs]
    files = {row.variant.model.id: row.checkpoint or 0 for row in running}
    return Totals(
        variants=len(rows),
        running=len(running),
        seconds=sum(row.seconds or 0.0 for row in running),
        disk=sum(files.values()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrying:
    """One GPU of a deal, and the variants that it would carry."""

    gpu: Device
    used: bool
    """False for one that `--gpus` leaves out."""
    dealt: tuple[str, ...]
    """Ids of the copies that would go there."""
    runs: tuple[str, ...]
    """The ids that the gate admits."""

    @property
    def text(self) -> str:
        """What it would carry, as a text."""
        if not self.used:
            return "left out by --gpus"
        if self.runs:
            return ", ".join(map(without_gpus, self.runs))
        why = "nothing of what goes to it would run" if self.dealt else "nothing that is selected fits it"
        return f"no model, so that a run would end INCOMPLETE: {why}"


def carrying(rows: Sequence[PlanRow], deal: Deal) -> list[Carrying]:
    """What each GPU of a machine would carry."""
    return [
        Carrying(
            gpu=gpu,
            used=gpu in deal.devices.gpus,
            dealt=tuple(row.variant.id for row in rows if gpu.id in row.variant.gpus),
            runs=tuple(row.variant.id for row in rows if gpu.id in row.variant.gpus and row.runs),
        )
        for gpu in deal.devices.usable
    ]


def render(machine: PlannedMachine, rows: Sequence[PlanRow], speeds: AssumedSpeeds, deal: Deal | None = None) -> str:
    """The table of a machine, and what each GPU would carry. Sizes are in GB, 10^9 bytes."""
    totals = totals_of(rows)
    table = aligned(Table(columns=_COLUMNS, rows=tuple(map(_cells, rows))), indent=0, widest=LONGEST)
    length = next((row.capacity.length for row in rows if row.capacity is not None), None)
    summary = (
        f"{totals.running} of {totals.variants} would run: {format_seconds(totals.seconds)} to load them one after "
        f"another, {format_bytes(totals.disk)} of weights on disk"
    )
    closing = []
    if totals.running:
        closing.append(f"load times assume {speeds}, and no cache; packing is not in them")
    if length is not None:
        closing.append(
            "context is the longest prompt of one sequence (* all that the model was made for); batch is how many "
            f"prompts of {length:,} tokens fit with 256 new ones each"
        )
    gpus = [] if deal is None else _gpus(rows, deal)
    return "\n".join([_title(machine), summary, "", *table, *([""] if gpus or closing else []), *gpus, *closing])


def _gpus(rows: Sequence[PlanRow], deal: Deal) -> list[str]:
    cells = tuple((one.gpu.id, one.gpu.name or "", one.gpu.uuid or "", one.text) for one in carrying(rows, deal))
    return [*aligned(Table(columns=columns("GPU", "", "", "carries"), rows=cells), indent=0, widest=LONGEST), ""]


def _title(machine: PlannedMachine) -> str:
    gpus = machine.gpus
    if machine.profile is not None:
        count = "" if machine.profile.count == 1 else f"{machine.profile.count} x "
        return f"{machine.name}: {count}{machine.profile.gpu}, {format_bytes(machine.profile.memory)} each, all free"
    if not gpus:
        return f"{machine.name}: no GPU to use, {format_bytes(machine.node.memory.available)} of RAM available"
    return f"{machine.name}: {len(gpus)} GPU{'' if len(gpus) == 1 else 's'} with {format_bytes(sum(gpus))} free"


def _cells(row: PlanRow) -> tuple[str, ...]:
    if isinstance(row.decision, str):
        return (row.variant.id, "error", "", "", "", "", "", "", one_line(row.decision, _LONGEST))
    skip = row.decision if isinstance(row.decision, Skip) else None
    return (
        row.variant.id,
        f"skip[{skip.code}]" if skip else "run",
        _gigabytes(row.needed),
        _gigabytes(row.available),
        _gigabytes(row.left),
        format_seconds(row.seconds) if row.seconds is not None and skip is None else "",
        _context(row.capacity),
        "" if row.capacity is None or row.capacity.batch is None else f"{row.capacity.batch:,}",
        skip.fix if skip else row.note,
    )


def _gigabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e9:.2f}"


def _context(fitting: Capacity | None) -> str:
    if fitting is None or fitting.context is None:
        return ""
    return f"{fitting.context:,}" + ("*" if fitting.whole_context else "")


def to_json(machine: PlannedMachine, rows: Sequence[PlanRow], deal: Deal | None = None) -> dict[str, Any]:
    """The plan of a machine as JSON data, sizes in bytes and times in seconds; null where unknown."""
    totals = totals_of(rows)
    return {
        "machine": machine.name,
        "profile": None if machine.profile is None else machine.profile.id,
        "gpus": list(machine.gpus),
        "placement": [] if deal is None else [_carrying_to_json(one) for one in carrying(rows, deal)],
        "rows": [_row_to_json(row) for row in rows],
        "totals": {
            "variants": totals.variants,
            "running": totals.running,
            "load_seconds": totals.seconds,
            "disk_bytes": totals.disk,
        },
    }


def _carrying_to_json(one: Carrying) -> dict[str, Any]:
    return {**one.gpu.to_json(), "used": one.used, "dealt": list(one.dealt), "runs": list(one.runs)}


def _row_to_json(row: PlanRow) -> dict[str, Any]:
    skip = row.decision if isinstance(row.decision, Skip) else None
    word = "error" if isinstance(row.decision, str) else "skip" if skip else "run"
    fitting = row.capacity
    return {
        "variant": row.variant.id,
        "on_gpus": list(row.variant.gpus),
        "device": row.device,
        "decision": word,
        "code": skip.code.value if skip else None,
        "have": skip.have if skip else None,
        "need": skip.need if skip else None,
        "fix": skip.fix if skip else None,
        "error": row.decision if isinstance(row.decision, str) else None,
        "needed_bytes": row.needed,
        "available_bytes": row.available,
        "left_bytes": row.left,
        "ram_bytes": row.ram,
        "checkpoint_bytes": row.checkpoint,
        "load_seconds": row.seconds,
        "largest_context": None if fitting is None else fitting.context,
        "largest_batch": None if fitting is None else fitting.batch,
        "batch_prompt": None if fitting is None else fitting.length,
        "note": row.note,
    }
