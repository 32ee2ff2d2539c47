"""What a reader of a report must know about the machine: a few labelled lines, for the summary and the page alike."""

from __future__ import annotations

from collections.abc import Sequence

from plimsoll.evidence.record import RunRecord
from plimsoll.node.node import Gpu, Node
from plimsoll.units import format_bytes


def distinct_nodes(record: RunRecord) -> list[Node]:
    """The machines that a record is about, each as it was when it was last probed; a run that was killed early has
    none."""
    return [node for node, _ in node_groups(record)]


def node_groups(record: RunRecord) -> list[tuple[Node, list[RunRecord]]]:
    """The same machines, each with the runs that were made on it."""
    found: dict[tuple[str, tuple[str | None, ...]], list[RunRecord]] = {}
    for run in record.runs:
        if run.node is not None:
            found.setdefault((run.node.hostname, tuple(gpu.uuid for gpu in run.node.gpus)), []).append(run)
    return [(node, runs) for runs in found.values() if (node := runs[-1].node) is not None]


def node_card(node: Node) -> list[tuple[str, str]]:
    """Label and text of each line; what could not be read says why, at the end."""
    cores = f"{node.cpu.logical_cores} logical cores"
    if node.cpu.physical_cores is not None:
        cores += f", {node.cpu.physical_cores} physical"
    limit = "" if node.memory.limit is None else f", limited to {format_bytes(node.memory.limit)} by the control group"
    lines = [
        ("Host", f"{node.hostname}, {node.system}, kernel {node.kernel}"),
        *_gpu_lines(node.gpus),
        *[("Accelerator", f"{each.name} ({each.kind}), on which nothing runs") for each in node.accelerators],
        ("Driver", _driver(node)),
        ("CPU", f"{node.cpu.model or node.cpu.architecture}, {cores}"),
        ("RAM", f"{format_bytes(node.memory.total)}, {format_bytes(node.memory.available)} available{limit}"),
        ("Disk", f"{format_bytes(node.disk.free)} free of {format_bytes(node.disk.total)} at {node.disk.path}"),
        ("Stack", stack_line(node)),
    ]
    return lines + [("Not read", f"{unread.what}: {unread.why}") for unread in node.unread]


def stack_line(node: Node) -> str:
    """Python and the packages that are installed, with their versions."""
    versions = [f"{name} {version}" for name, version in node.packages.items() if version is not None]
    return ", ".join([f"Python {node.python}", *versions])


def _gpu_lines(gpus: Sequence[Gpu]) -> list[tuple[str, str]]:
    if not gpus:
        return [("GPU", "none found")]
    return [(f"GPU {gpu.index}", _gpu_text(gpu)) for gpu in gpus]


def _gpu_text(gpu: Gpu) -> str:
    memory = "memory not read" if gpu.memory_total is None else format_bytes(gpu.memory_total)
    parts = [gpu.name or "name not read", memory]
    named = (
        ("compute capability", gpu.compute_capability),
        ("UUID", gpu.uuid),
        ("serial", gpu.serial),
        ("VBIOS", gpu.vbios),
    )
    parts += [f"{label} {value}" for label, value in named if value is not None]
    return ", ".join([*parts, *(["split (MIG)"] if gpu.mig else [])])


def _driver(node: Node) -> str:
    supports = f", supports CUDA up to {node.cuda}" if node.cuda else ""
    return f"{node.driver or 'not read'}{supports}"
