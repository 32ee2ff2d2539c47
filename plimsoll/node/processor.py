"""Reads the processor: its name, the cores and time that this process may use, and instruction sets that change
results.

Numerics on a CPU differ with AVX-512-BF16 or AMX (bitsandbytes repacks NF4 there), so a comparison of two nodes needs
them.
"""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

import psutil

from plimsoll.errors import reason_of
from plimsoll.node.cgroup import cpu_quota
from plimsoll.node.node import Cpu, Unread

_FEATURES = (
    *("f16c", "fma", "avx", "avx2", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "svebf16", "svei8mm"),
)


def read_cpu(root: Path = Path("/")) -> tuple[Cpu, tuple[Unread, ...]]:
    """The processor as Linux describes it under `root`; on other systems name and features are unread."""
    unread: list[Unread] = []
    facts: dict[str, str] = {}
    source = root / "proc/cpuinfo"
    try:
        facts = _first_processor(source.read_text())
    except OSError as error:
        unread.append(Unread(what="cpu.features", why=f"{source}: {reason_of(error)}"))
    model = facts.get("model name")
    if model is None:
        unread.append(Unread(what="cpu.model", why=f"{source} names no model"))
    allowed = _allowed()
    physical = _physical_cores(allowed, root)
    if physical is None:
        unread.append(Unread(what="cpu.physical_cores", why="the system does not say which CPUs share a core"))
    quota: float | None = None
    try:
        quota = cpu_quota(root)
    except (OSError, ValueError) as error:
        unread.append(Unread(what="cpu.quota", why=f"the CPU quota of the control group cannot be read: {error}"))
    usable = len(allowed) if quota is None else min(len(allowed), max(1, math.ceil(quota)))
    present = set(facts.get("flags", facts.get("Features", "")).split())
    cpu = Cpu(
        model=model,
        architecture=platform.machine(),
        physical_cores=physical if physical is None else min(physical, usable),
        logical_cores=usable,
        quota=quota if quota is not None and quota < len(allowed) else None,
        features=tuple(name for name in _FEATURES if name in present),
    )
    return cpu, tuple(unread)


def _first_processor(cpuinfo: str) -> dict[str, str]:
    """The keys of the first block of `/proc/cpuinfo`: x86 calls the instruction sets `flags`, Arm `Features`."""
    pairs = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def usable_cores() -> int:
    """How many logical CPUs this process may run on."""
    return len(_allowed())


def _allowed() -> frozenset[int]:
    """The CPUs that this process may run on: in a container, or under Slurm, fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(psutil.cpu_count() or 1))


def _physical_cores(allowed: frozenset[int], root: Path) -> int | None:
    """How many cores the allowed CPUs lie on; siblings of one core share a file content."""
    topology = root / "sys/devices/system/cpu"
    try:
        return len({(topology / f"cpu{n}/topology/thread_siblings_list").read_text() for n in allowed})
    except OSError:
        # Without the topology psutil gives the whole machine's count, which is right only where all of it may be used.
        return psutil.cpu_count(logical=False) if len(allowed) == psutil.cpu_count() else None
