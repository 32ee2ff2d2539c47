"""What a fleet's verdict needs of one node: some kilobytes, so that the evidence of a thousand need not be held.

The evidence of the node is read and judged whole before; here is kept what nodes are held against each other by.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, Final

from plimsoll.evidence.record import RunHead, RunRecord
from plimsoll.metrics import METRICS, MetricKind
from plimsoll.node.node import Gpu, Node
from plimsoll.present.document import Tile
from plimsoll.report.tiles import node_tiles
from plimsoll.verdict.cells import CellOutcome, CellResult
from plimsoll.verdict.union import lineages
from plimsoll.verdict.verdict import Verdict, Word

NODE_VARIABLE: Final = "PLIMSOLL_NODE"
"""The variable by which a batch script names the node; the host name counts where it is not set. In a container the
host name is the container's."""

_GPU_IN_ID: Final = re.compile(r":gpu\d+(?:\.\d+)?(?:\+gpu\d+(?:\.\d+)?)*|\bgpu\d+(?:\.\d+)?\b-?")
_EMPTY: Final = re.compile(r"\[\]|-(?=\])")
_MOST_REASONS: Final = 20
_LONGEST_REASON: Final = 600
_OF_A_GPU: Final = {
    "ecc.mode": "ECC",
    "power.enforced": "power limit",
    "power.default": "default power limit",
    "clock.sm.most": "highest SM clock",
    "clock.memory.most": "highest memory clock",
    "pcie.generation.most": "PCIe generation",
    "pcie.width.most": "PCIe width",
}
"""Figure of a HEALTH event -> what people call it; those that are settings, or the make of the card."""
_OF_THE_MOMENT: Final = re.compile(
    r"SLURM_.*|PLIMSOLL_.*|TMPDIR|XDG_CACHE_HOME|(LOCAL_)?RANK|WORLD_SIZE|CUDA_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL"
)
"""Variables that are another on each node by nature."""
_COMPUTES: Final = ("torch", "transformers", "accelerate", "bitsandbytes", "triton")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNote:
    """A run that stands behind a node."""

    run_id: str
    folder: str
    started: str | None
    ended: str | None
    sha256: tuple[str, ...]
    """Of its evidence files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSummary:
    """A GPU of a node."""

    id: str
    uuid: str | None
    serial: str | None
    product: str | None
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """One planned check, without the GPU that its id may name, and what became of it."""

    check: str
    gpu: str
    """Empty where it needs none."""
    outcome: CellOutcome


@dataclass(frozen=True, slots=True)
class Figure:
    """One time or rate that was measured."""

    check: str
    metric: str
    unit: str
    gpu: str
    value: float


@dataclass(frozen=True, slots=True)
class Digest:
    """The bits of all logits of one model in one way of asking."""

    check: str
    way: str
    gpu: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why checks have no good result: all that ended alike for the same reason."""

    check: str
    """The id of the first."""
    count: int
    outcome: CellOutcome
    reason: str
    fix: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSummary:
    """One node, by one run and those that it resumes."""

    name: str
    word: Word
    statement: str
    scope: str
    allow_incomplete: bool
    planned: int
    runs: tuple[RunNote, ...]
    asked: tuple[Asked, ...]
    reasons: tuple[Reason, ...]
    """The first, those of failures before those of gaps; `asked` counts all."""
    faults: tuple[str, ...]
    gpus: tuple[GpuSummary, ...]
    """Those of the newest run."""
    tiles: tuple[Tile, ...]
    """Each GPU as the report of the node shows it, or the processor of a node without any."""
    most_gpus: int
    """How many any of its runs found."""
    facts: Mapping[str, str]
    stack: str
    """What decides which bits are computed, beside the product."""
    figures: tuple[Figure, ...]
    digests: tuple[Digest, ...]
    seconds: float | None
    """From the start to the end of its runs; None where one of them did not end."""
    durations: Mapping[str, float]
    """Check -> seconds over all GPUs."""

    @property
    def products(self) -> tuple[str, ...]:
        """The products of its GPUs, each once; the processor's model where it has none."""
        found = sorted({gpu.product or "an unknown GPU" for gpu in self.gpus})
        return tuple(found) or (self.facts.get("CPU", "an unknown processor"),)


def summarise(record: RunRecord, verdict: Verdict) -> NodeSummary:
    """What is kept of a node; `record` is one run, or one with those that it resumes."""
    newest = lineages(record.runs)[-1][-1]
    planned = {cell.id for run in record.runs for cell in run.plan}
    node = newest.node or record.node
    return NodeSummary(
        name=node_name(record),
        word=verdict.word,
        statement=verdict.statement,
        scope=verdict.scope,
        allow_incomplete=verdict.allow_incomplete,
        planned=verdict.planned,
        runs=tuple(map(_run_note, record.runs)),
        asked=tuple(_asked(result) for result in verdict.results if result.cell.id in planned),
        reasons=_reasons(verdict.results),
        faults=verdict.faults,
        gpus=_gpus(newest, node),
        tiles=node_tiles(record, verdict.results),
        most_gpus=max((len(run.node.gpus) for run in record.runs if run.node is not None), default=0),
        facts={} if node is None else _facts(node, newest),
        stack="" if node is None else _stack(node, newest),
        figures=tuple(_figures(verdict.results)),
        digests=tuple(_digests(verdict.results)),
        seconds=_seconds(record.runs),
        durations=_durations(verdict.results),
    )


def node_name(record: RunRecord) -> str:
    """What the node calls itself: PLIMSOLL_NODE, else its host name, else the name of the run's folder."""
    for run in reversed(record.runs):
        if run.node is not None:
            return run.node.environment.get(NODE_VARIABLE) or run.node.hostname
    return record.folder.parent.name if record.folder.name.startswith("2") else record.folder.name


@lru_cache(maxsize=2**16)
def check_name(cell: str) -> str:
    """The id of a check without the GPU that it was asked of: `acceptance/test_health.py::test_ecc`."""
    return _EMPTY.sub("", _GPU_IN_ID.sub("", cell))


def _run_note(run: RunRecord) -> RunNote:
    return RunNote(
        run_id=run.run_id,
        folder=str(run.folder),
        started=None if run.run is None else run.run.started,
        ended=None if run.finish is None else run.finish.at,
        sha256=tuple(file.sha256 for file in run.files),
    )


def _asked(result: CellResult) -> Asked:
    return Asked(check_name(result.cell.id), result.cell.gpu or "", result.outcome)


_FAILED_FIRST: Final = (CellOutcome.FAIL, CellOutcome.NOT_RUN, CellOutcome.SKIP)


def _reasons(results: Sequence[CellResult]) -> tuple[Reason, ...]:
    groups: dict[tuple[CellOutcome, str, str | None], list[CellResult]] = {}
    for result in results:
        if not result.outcome.is_good:
            groups.setdefault((result.outcome, result.reason[:_LONGEST_REASON], result.fix), []).append(result)
    found = [
        Reason(check=group[0].cell.id, count=len(group), outcome=outcome, reason=reason, fix=fix)
        for (outcome, reason, fix), group in groups.items()
    ]
    return tuple(sorted(found, key=lambda each: _FAILED_FIRST.index(each.outcome))[:_MOST_REASONS])


def _gpus(run: RunRecord, node: Node | None) -> tuple[GpuSummary, ...]:
    seen: dict[int, Mapping[str, Any]] = {}
    for health in run.health:
        for gpu in (*health["first"], *health["last"]):
            seen[int(gpu["index"])] = {**seen.get(int(gpu["index"]), {}), **gpu["values"]}
    return tuple(_gpu(gpu, seen.get(gpu.index, {})) for gpu in (() if node is None else node.gpus))


def _gpu(gpu: Gpu, values: Mapping[str, Any]) -> GpuSummary:
    facts = {
        "product": gpu.name,
        "VBIOS": gpu.vbios,
        "memory": None if gpu.memory_total is None else f"{gpu.memory_total / 2**30:.2f} GiB",
        "MIG": {True: "on", False: "off", None: None}[gpu.mig],
    }
    # A run that was killed before its GPUs were looked at says nothing of their settings.
    told = {
        label: _setting(name, values[name]) if name in values else "not read"
        for name, label in (_OF_A_GPU.items() if values else ())
    }
    return GpuSummary(
        id=f"gpu{gpu.index}",
        uuid=gpu.uuid,
        serial=gpu.serial,
        product=gpu.name,
        facts={**{name: value or "not read" for name, value in facts.items()}, **told},
    )


def _setting(name: str, value: Any) -> str:
    if name == "ecc.mode":
        return "on" if value else "off"
    if name.startswith("power."):
        return f"{float(value) / 1000:g} W"
    if name.startswith("clock."):
        return f"{value} MHz"
    return str(value)


def _facts(node: Node, run: RunRecord) -> dict[str, str]:
    """What should be the same on every node of a fleet."""
    head = run.run
    packages = {**node.packages, **({} if head is None else head.packages)}
    facts: dict[str, str | None] = {
        "driver": node.driver,
        "CUDA of the driver": node.cuda,
        "kernel": node.kernel,
        "system": node.system,
        "CPU": node.cpu.model or node.cpu.architecture,
        "threads": str(node.cpu.logical_cores),
        "RAM": f"{node.memory.total / 2**30:.0f} GiB",
        "Python": node.python,
        "CUDA of torch": node.torch_cuda,
        "plimsoll": None if head is None else head.plimsoll,
        "limits": None if head is None else ("shipped" if head.limits_are_shipped else "changed"),
        "catalogues": None if head is None else _catalogues(head),
        "edited files of the suite": None
        if head is None or head.edited is None
        else (", ".join(head.edited) or "none"),
        **{f"package {name}": version or "not installed" for name, version in packages.items()},
        **{
            f"environment {name}": value
            for name, value in node.environment.items()
            if not _OF_THE_MOMENT.fullmatch(name)
        },
    }
    return {name: value or "not read" for name, value in facts.items()}


def _catalogues(head: RunHead) -> str:
    """Which entries and limits a node was judged by: the files by name and the beginning of their digests."""
    files = {f"{PurePosixPath(str(file['path'])).name} {str(file['sha256'])[:8]}" for file in head.catalogues}
    return ", ".join(sorted(files)) or "none"


def _stack(node: Node, run: RunRecord) -> str:
    """Driver, libraries, and this suite, which makes the models; of a processor also its model, whose instructions
    decide how sums are made."""
    installed = {**node.packages, **({} if run.run is None else run.run.packages)}
    computing = [name for name in sorted(installed) if name in _COMPUTES or name.startswith("nvidia-")]
    versions = [f"{name} {installed[name] or 'none'}" for name in computing]
    device = f"driver {node.driver}" if node.gpus else f"{node.cpu.model} {' '.join(node.cpu.features)}"
    suite = "no head" if run.run is None else f"plimsoll {run.run.plimsoll}"
    return ", ".join([device, f"CUDA {node.torch_cuda}", *versions, suite])


def _figures(results: Sequence[CellResult]) -> Iterator[Figure]:
    """Every time and rate that a check measured, each once."""
    for result in results:
        found: dict[str, float] = {}
        measured = (*(each.measurement for each in result.measurements), *(j.measurement for j in result.judgements))
        for each in measured:
            if each.value is not None and _is_compared(each.metric) and math.isfinite(each.value) and each.value > 0:
                found[each.metric] = each.value
        for metric, value in found.items():
            unit = METRICS[metric].unit
            yield Figure(check_name(result.cell.id), metric, unit, result.cell.gpu or "", value)


def _is_compared(metric: str) -> bool:
    known = METRICS[metric]
    return known.kind in (MetricKind.COST, MetricKind.NODE) and (known.unit == "s" or known.unit.endswith("/s"))


def _digests(results: Sequence[CellResult]) -> Iterator[Digest]:
    """Those of models whose bits are the same on every sound device of a product."""
    for result in results:
        for measured in result.measurements:
            digests = measured.context.get("digests")
            if isinstance(digests, dict) and result.cell.subject == "agreement":
                for way, digest in digests.items():
                    if not isinstance(digest, str) or not digest:
                        continue  # no answer: two of them do not agree
                    yield Digest(check_name(result.cell.id), str(way), result.cell.gpu or "", digest)


def _seconds(runs: Sequence[RunRecord]) -> float | None:
    total = 0.0
    for run in runs:
        if run.run is None or run.finish is None:
            return None
        try:
            span = datetime.fromisoformat(run.finish.at) - datetime.fromisoformat(run.run.started)
        except (ValueError, TypeError):
            return None
        if span.total_seconds() < 0.0:
            return None  # its clock was set back
        total += span.total_seconds()
    return total


def _durations(results: Sequence[CellResult]) -> dict[str, float]:
    found: dict[str, float] = {}
    for result in results:
        if result.duration is not None:
            check = check_name(result.cell.id)
            found[check] = found.get(check, 0.0) + result.duration
    return found
