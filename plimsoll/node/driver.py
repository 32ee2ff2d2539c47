"""The next step for each way in which the NVIDIA driver does not answer.

The numbers are NVML's (`NVML_ERROR_*`), written here because a recorded node is judged where nvidia-ml-py may be
missing. One step a cause: "install the driver" on a node that has two of them does harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from plimsoll.node.node import Gpu, Node

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

_INSTALL: Final = "install the NVIDIA driver, or give the container its GPUs (--gpus all)"
_KERNEL_LOG: Final = "dmesg names the Xid"
_LOST: Final = f"take the node out of service and reboot it ({_KERNEL_LOG}); a GPU that is lost again needs repair"

_STEPS: Final[Mapping[int | None, str]] = {
    NO_PERMISSION: "let this user read and write /dev/nvidia*, or give the container its GPUs (--gpus all)",
    DRIVER_NOT_LOADED: "modprobe nvidia, and where that fails see dmesg; in a container: give it its GPUs (--gpus all)",
    TIMEOUT: _LOST,
    IRQ_ISSUE: f"see dmesg for the interrupt that the GPU does not get, and reboot the node ({_KERNEL_LOG})",
    LIBRARY_NOT_FOUND: _INSTALL,
    FUNCTION_NOT_FOUND: "update the NVIDIA driver, which is older than what nvidia-ml-py asks it",
    GPU_IS_LOST: _LOST,
    RESET_REQUIRED: f"end what uses the GPU and reset it (nvidia-smi --gpu-reset), or reboot the node ({_KERNEL_LOG})",
    OPERATING_SYSTEM: "see dmesg: the operating system keeps the process from the driver",
    VERSION_MISMATCH: "reboot the node, or unload the nvidia kernel modules and load them again: the driver was "
    "updated under a running one; in a container: start it anew once the node is right",
    UNKNOWN: "in a container: start it anew, for a reload of systemd takes its devices away; else see dmesg for NVRM "
    "and Xid lines, and reboot the node",
}


def next_step(code: int | None, otherwise: str) -> str:
    """What mends the fault that NVML gave this number; `otherwise` for a number that says nothing of its cause."""
    return _STEPS.get(code, otherwise)


def step_to_a_gpu(node: Node) -> str:
    """What makes a GPU visible to a process that sees none."""
    code = next((entry.code for entry in node.unread if entry.what == "gpus"), None)
    if code in _HIDES_DEVICES:
        if _is_slurm_job_without_gpus(node):
            return "ask Slurm for a GPU: --gpus-per-node=1 with sbatch, salloc or srun"
        if node.environment.get("NVIDIA_VISIBLE_DEVICES", "").strip() in _NO_DEVICES:
            return "give the container its GPUs: NVIDIA_VISIBLE_DEVICES is set so that it has none (--gpus all sets it)"
    return next_step(code, _INSTALL)


def step_for(node: Node, gpu: Gpu) -> str:
    """What mends a GPU that is lost."""
    at = f"gpus[{gpu.index}]"
    entries = [entry for entry in node.unread if entry.what == at or entry.what.startswith(f"{at}.")]
    code = next((entry.code for entry in entries if entry.why == gpu.lost), None)
    return next_step(code, _LOST)


def missing_gpus(node: Node, expected: int) -> str:
    """What to say of a node with another number of GPUs than it should have."""
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
"""What is answered where devices or the library are kept from a process. Any other fault is the driver's own."""
_NO_DEVICES: Final = frozenset({"void", "none"})
_SLURM_LISTS: Final = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
"""Indices, so that `0` is a GPU."""


def _is_slurm_job_without_gpus(node: Node) -> bool:
    """Slurm hides GPUs that a job did not ask for, and then names none; in a job that has some, the driver is at
    fault."""
    environment = node.environment
    listed = any(environment.get(name) for name in _SLURM_LISTS)
    counted = environment.get("SLURM_GPUS_ON_NODE", "") not in ("", "0")
    return "SLURM_JOB_ID" in environment and not listed and not counted
