"""The page of a campaign: every step with what it came to, every speed with its floor, and every load with what was
predicted and what it took.

All figures are read from the evidence that is kept. What was not run has a row that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.campaign.progress import Progress, StepState, progress_of
from benchmarks.campaign.stages import Stage, Step
from benchmarks.synthetic_row import NOT_MEASURED, measured
from plimsoll.errors import PlimsollError
from plimsoll.evidence.reader import EVIDENCE_FILE, read_run
from plimsoll.evidence.record import RunRecord
from plimsoll.metrics import FLOORED, METRICS
from plimsoll.units import format_brief, format_bytes, format_seconds
from plimsoll.verdict.verdict import reach_verdict

PAGE: Final = "README.md"
LOAD_COLUMNS: Final = (
    "variant",
    "predicted peak",
    "peak that torch allocated",
    "error",
    "allocated once loaded",
    "reserved",
    "process, by NVML",
    "process at its highest, sampled",
    "device at its highest, sampled",
    "context",
    "made and loaded in",
    "verdict",
)
_STEP_COLUMNS: Final = ("stage", "step", "predicted", "took", "attempts", "came to")
_HEAD: Final = """\
# What was measured of {name}

By `python benchmarks/gpu_campaign.py` ([docs/gpu-campaign.md](../../../docs/gpu-campaign.md)), from the evidence in the
folders beside this page. A step that was not run says so; so does each figure that its run did not have.
"""
SPEED_COLUMNS: Final = ("speed", "of", "device", "measured", "slowest to fastest round", "at", "data sheet", "floor")
_SPEEDS: Final = """\
## Speeds
Medians of the rounds at the best size. A floor is what the catalogue asks for; without one the check was skipped.
"""
_LOADS: Final = """\
## Loads
Weights are synthetic ([docs/synthetic-weights.md](../../../docs/synthetic-weights.md)), so seconds are those of making
and packing them. Peaks are over all GPUs of a load, from its start to its end. What NVML said was sampled beside the
load and all questions after it; the device's figure has everybody's memory in it.
"""


def page(name: str, stages: Sequence[Stage], out: Path) -> str:
    """The page, in Markdown, of the evidence under `out`; `name` is what it was measured on."""
    steps = [step for stage in stages for step in stage.steps]
    loads = [step for step in steps if step.variant]
    lines = [
        _HEAD.format(name=name),
        *table(_STEP_COLUMNS, ((str(s.stage), s.id, *_came_to(s, out)) for s in steps)),
        "",
        _SPEEDS,
        *table(SPEED_COLUMNS, [row for step in steps for row in speed_rows(step, out)] or [(NOT_MEASURED,)]),
        "",
        _LOADS,
        *table(LOAD_COLUMNS, (load_cells(step, out) for step in loads)),
        "",
    ]
    return "\n".join(lines)


def speed_rows(step: Step, out: Path) -> Iterator[tuple[str, ...]]:
    """A row for each speed of a device that a step measured, with its floor."""
    record = _evidence(out / step.id)
    for cell in () if record is None else record.cells.values():
        floors = {judged.measurement.metric: judged.limit.low for judged in cell.judgements}
        for found in cell.measurements:
            name, value, context = found.measurement.metric, found.measurement.value, found.context
            if name in FLOORED and value is not None:
                unit, floor, share = METRICS[name].unit, floors.get(name), context.get("sheet_share")
                yield (
                    name,
                    str(context.get("of", "")),
                    str(context.get("device", "")),
                    format_brief(value, unit),
                    f"{context['spread']:.1%} apart" if "spread" in context else NOT_MEASURED,
                    str(context.get("size", "")),
                    "" if share is None else f"{share:.0%}",
                    "none" if floor is None else format_brief(floor, unit),
                )


def _evidence(folder: Path) -> RunRecord | None:
    """What a folder holds of a run; None where that is nothing, or cannot be read."""
    if not (folder / EVIDENCE_FILE).is_file():
        return None
    try:
        return read_run(folder, alone=True)
    except PlimsollError:
        return None


def load_cells(step: Step, out: Path) -> tuple[str, ...]:
    """The row of a load: its variant, and what is known of it."""
    folder = out / step.id
    if not (folder / EVIDENCE_FILE).is_file():
        return (step.variant, NOT_MEASURED)
    record = _evidence(folder)
    if record is None:
        return (step.variant, "its evidence cannot be read")
    loaded = sorted({cell.variant for cell in record.plan if cell.variant} - {step.variant})
    # A rehearsal loads something small, and what that took is no figure of the variant that it stands for.
    name = f"{', '.join(loaded)} in place of {step.variant}" if loaded else step.variant
    return (name, *_load(record))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table; rows that are short end in empty cells."""
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join([*row, *[''] * (len(columns) - len(row))])} |"


def _came_to(step: Step, out: Path) -> tuple[str, ...]:
    predicted = format_seconds(60 * step.minutes)
    state, progress = StepState.read(out / step.id), progress_of(step, out)
    if progress is Progress.NOT_RUN:
        return (predicted, NOT_MEASURED)
    said = state.said or ("" if progress is Progress.DONE else "was ended before it was done")
    text = f"{progress}: {said}" if said else str(progress)
    return (predicted, format_seconds(state.seconds), str(state.attempts), text.replace("|", "\\|"))


def _load(record: RunRecord) -> Iterator[str]:
    """The cells behind the variant; each figure that the evidence does not have is said to be missing."""
    report: Mapping[str, Any] = record.loads[-1].report if record.loads else {}
    gpus: Sequence[Mapping[str, Any]] = report.get("gpus") or ()
    peak = _total(gpus, "allocated_peak")
    predicted = _predicted(record)
    yield _bytes(predicted)
    yield _bytes(peak)
    yield NOT_MEASURED if peak is None or predicted is None else f"{predicted / peak - 1:+.2%}"
    for field in ("allocated_after", "reserved_peak", "process"):
        yield _bytes(_total(gpus, field))
    for field in ("process_peak", "device_peak"):
        yield _bytes(_total([*_until_the_end(record, gpus)], field))
    yield _bytes(_total(gpus, "context"))
    yield format_seconds(record.loads[-1].seconds) if record.loads else NOT_MEASURED
    verdict = reach_verdict(record)
    yield f"{verdict.word}, {verdict.planned} checks"


def _predicted(record: RunRecord) -> float | None:
    """The peak of a GPU's memory that the load was predicted to have."""
    found = measured(record, "vram_peak")
    value = None if found is None else found.context.get("predicted")
    return float(value) if isinstance(value, (int, float)) else None


def _until_the_end(record: RunRecord, gpus: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Each GPU of a load, with the highest that was sampled of it while it was loaded and asked."""
    later = [memory for seen in record.health for memory in seen.get("memory") or ()]
    for gpu in gpus:
        looks = [gpu, *(look for look in later if look.get("uuid") == gpu.get("uuid"))]
        yield {
            field: max((int(look[field]) for look in looks if look.get(field) is not None), default=None)
            for field in ("process_peak", "device_peak")
        }


def _total(gpus: Sequence[Mapping[str, Any]], field: str) -> int | None:
    """Over all GPUs; None where one of them does not say."""
    sizes = [gpu.get(field) for gpu in gpus]
    return sum(int(size) for size in sizes if size is not None) if sizes and None not in sizes else None


def _bytes(size: float | None) -> str:
    return NOT_MEASURED if size is None else format_bytes(size)
