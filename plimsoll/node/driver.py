"""Chooses the next step for each way in which the NVIDIA driver fails to answer.

The numbers are NVML's (`NVML_ERROR_*`), repeated here because a recorded node is judged where nvidia-ml-py may be
missing. Each cause has one step: "install the driver" on a node that has two of them does harm.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from plimsoll.node.node import Gpu, Node
from plimsoll.symptoms.recognise import Seen, recognise, told_by
from plimsoll.symptoms.surroundings import Surroundings, here

NO_PERMISSION: Final = 4
DRIVER_NOT_LOADED: Final = 9
TIMEOUT: Final = 10
IRQ_ISSUE: Final = 11
LIBRARY_NOT_FOUND: Final = 12
FUNCTION_NOT_FOUND: Final = 13
GPU_IS_LOST: Final = 15
RESET_REQUIRED: Final = 16
OPERATING_SYSTEM: Final = 17
VERSION_MISMATCH: Final = 18
UNKNOWN: Final = 999


def next_step(code: int | None, otherwise: str | int) -> str:
    """What fixes NVML's error of this number, by the table of symptoms; `otherwise`, a step or another number, is used
    for a number that does not tell the cause."""
    return _next_step(code, otherwise, here())


@lru_cache(maxsize=64)
def _next_step(code: int | None, otherwise: str | int, place: Surroundings) -> str:
    # A plan asks it for every variant of a node without a GPU.
    found = recognise(Seen(evidence={"nvml": code}), place=place)
    if found:
        return found[0].next
    return told_by({"nvml": otherwise}, place).next if isinstance(otherwise, int) else otherwise


def does_not_answer(node: Node) -> bool:
    """True where there is a driver that could not list the GPUs; False where it did, and where there is none."""
    return any(entry.what == "gpus" and entry.code not in (None, LIBRARY_NOT_FOUND) for entry in node.unread)


def step_to_a_gpu(node: Node) -> str:
    """The step that makes a GPU visible to a process that sees none."""
    code = next((entry.code for entry in node.unread if entry.what == "gpus"), None)
    if code in _HIDES_DEVICES:
        if _is_slurm_job_without_gpus(node):
            return told_by({"asks_for": "gpu"}).next
        if node.environment.get("NVIDIA_VISIBLE_DEVICES", "").strip() in _NO_DEVICES:
            return told_by({"given": "none"}).next
    return next_step(code, LIBRARY_NOT_FOUND)


def step_for(node: Node, gpu: Gpu) -> str:
    """The step that fixes a lost GPU."""
    at = f"gpus[{gpu.index}]"
    entries = [entry for entry in node.unread if entry.what == at or entry.what.startswith(f"{at}.")]
    code = next((entry.code for entry in entries if entry.why == gpu.lost), None)
    return next_step(code, GPU_IS_LOST)


def missing_gpus(node: Node, expected: int) -> str:
    """The message for a node whose number of GPUs is not the expected one."""
    seen = len(node.gpus)
    if seen > expected:
        return f"NVML lists {seen} GPUs, and --expect-gpus says {expected}; fix: correct the number"
    if not node.gpus:
        why, step = node.why_unread("gpus"), step_to_a_gpu(node)
        return f"NVML lists no GPU ({why}), and --expect-gpus says {expected}; fix: {step}"
    return (
        f"NVML lists {seen} GPUs, and --expect-gpus says {expected}: one may have fallen off the bus; fix: compare "
        "with lspci -d 10de: and see dmesg for Xid 79, take the node out of service and reboot it; a container or a "
        "job sees those GPUs alone that it was given"
    )


_HIDES_DEVICES: Final = (None, NO_PERMISSION, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, UNKNOWN)
"""NVML's errors where a process was not given devices or the library. Any other error is the driver's own."""
_NO_DEVICES: Final = frozenset({"void", "none"})
_SLURM_LISTS: Final = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
"""Indices, so that `0` is a GPU."""


def _is_slurm_job_without_gpus(node: Node) -> bool:
    """True in a Slurm job that did not ask for GPUs: Slurm then hides them and names none. In a job that has GPUs the
    driver is at fault."""
    environment = node.environment
    listed = any(environment.get(name) for name in _SLURM_LISTS)
    counted = environment.get("SLURM_GPUS_ON_NODE", "") not in ("", "0")
    return "SLURM_JOB_ID" in environment and not listed and not counted
