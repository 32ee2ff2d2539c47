"""Finds the GPUs of a verdict's scope, and GPUs of a run that carried no model, which leave the run incomplete."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from plimsoll.evidence.record import RunGpu, RunRecord
from plimsoll.node.node import Gpu, Node
from plimsoll.verdict.union import lineages


def on_gpus(run: RunRecord, runs: Sequence[RunRecord]) -> str:
    """` on 8 of 8 GPUs`, ` on 2 of 8 GPUs: gpu3, gpu5`, for a scope; empty where no GPU was checked, and on a node with
    one."""
    total = max(_count(run.node), len(run.gpus))
    asked = {gpu for each in _line_of(run, runs) for cell in each.plan for gpu in cell.gpus}
    if not asked or total < 2:
        return ""
    known = [gpu.id for gpu in run.gpus if gpu.id in asked]
    named = [*known, *sorted(asked - {*known})]
    listed = "" if len(named) == total else f": {', '.join(named)}"
    return f" on {len(named)} of {total} GPUs{listed}"


def idle_gpus(record: RunRecord) -> list[str]:
    """A fault for each run of models with GPUs that carried no model, neither in that run nor in another of the
    record."""
    carried = {name for run in record.runs for gpu in run.gpus if gpu.id in _carrying(run) for name in _names(run, gpu)}
    faults = []
    for line in lineages(record.runs):
        run = line[-1]
        if not any(_carrying(each) for each in line):
            continue
        used = {gpu.id: gpu for each in line for gpu in each.gpus if gpu.used}
        idle = [gpu for gpu in used.values() if carried.isdisjoint(_names(run, gpu))]
        if idle:
            prefix = f"{run.run_id}: " if len(record.runs) > 1 else ""
            faults.append(f"{prefix}{_names_of(idle)} carried no model; {_closing(line[0], idle)}")
    return faults


def left_out(record: RunRecord) -> list[str]:
    """A note for each run that left out GPUs that it could have used."""
    notes = []
    for run in record.runs:
        if (out := [gpu for gpu in run.gpus if not gpu.used]) and any(cell.gpus for cell in run.plan):
            prefix = f"{run.run_id}: " if len(record.runs) > 1 else ""
            notes.append(f"{prefix}left out by --gpus, and so not in this scope: {', '.join(map(str, out))}")
    return notes


def _carrying(run: RunRecord) -> set[str]:
    """The ids of GPUs on which a model was planned; a model that did not run there is a gap of its own."""
    return {gpu for cell in run.plan if cell.variant is not None for gpu in cell.gpus}


def _names(run: RunRecord, gpu: RunGpu) -> set[str]:
    """What identifies a GPU among those of all nodes."""
    host = "" if run.node is None else run.node.hostname
    return {gpu.uuid or f"{host} {gpu.id}"}


def _names_of(gpus: Sequence[RunGpu]) -> str:
    return ", ".join(map(str, gpus[:4])) + (f" and {len(gpus) - 4} more GPUs" if len(gpus) > 4 else "")


def _closing(run: RunRecord, idle: Iterable[RunGpu]) -> str:
    """The command that runs a model on them: those selected by mark, or, where none of these fits, the tiny
    checkpoints, which fit every GPU."""
    selection = {} if run.run is None else run.run.selection
    which = f"--gpus={','.join(gpu.uuid or gpu.id for gpu in idle)}"
    if selection.get("keyword") or selection.get("paths"):
        mark = ["-m", str(selection["mark"])] if selection.get("mark") else []
        return f"run {shlex.join(['pytest', *mark, which])}, and judge both with --replay"
    tiny = shlex.join(["pytest", "-m", "tiny", "--device=cuda", which])
    return f"nothing that is selected fits there: select what does, or run {tiny}, and judge both with --replay"


def _line_of(run: RunRecord, runs: Sequence[RunRecord]) -> Sequence[RunRecord]:
    return next((line for line in lineages(runs) if any(each.run_id == run.run_id for each in line)), (run,))


def _count(node: Node | None) -> int:
    """The number of GPUs of a node, where each instance of a split GPU counts."""
    return 0 if node is None else sum(map(_parts, node.gpus))


def _parts(gpu: Gpu) -> int:
    return len(gpu.instances) if gpu.mig and gpu.instances else 1
