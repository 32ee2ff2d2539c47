"""Which GPUs a CUDA process started here would see, and in which order.

NVML lists every GPU of the machine by its place on the bus. CUDA hides what `CUDA_VISIBLE_DEVICES` does not name and
numbers the rest its own way, so "GPU 0 has room" means nothing until the two are matched.
"""

from __future__ import annotations

from dataclasses import dataclass

from plimsoll.node.node import Gpu, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """Why it cannot be said which GPUs a CUDA process sees, or why it sees none; `fix` is the next step."""

    why: str
    fix: str


def visible_gpus(node: Node) -> tuple[Gpu, ...] | Hidden:
    """The node's GPUs in CUDA's order, never empty: the first is `cuda:0`."""
    if not node.gpus:
        why = node.why_unread("gpus") if any(entry.what == "gpus" for entry in node.unread) else "NVML lists no GPU"
        return Hidden(why=why, fix="install the NVIDIA driver, or give the container its GPUs (--gpus all)")
    wanted = node.environment.get("CUDA_VISIBLE_DEVICES")
    tokens = None if wanted is None else [token.strip() for token in wanted.split(",")]
    if (tokens is None or any(token.isdecimal() for token in tokens)) and (doubt := _doubtful_numbers(node)):
        return doubt
    if tokens is None:
        return node.gpus
    chosen = _chosen(node.gpus, tokens)
    if not chosen:
        known = ", ".join(f"{gpu.index}" + (f" or {gpu.uuid}" if gpu.uuid else "") for gpu in node.gpus)
        return Hidden(
            why=f"CUDA_VISIBLE_DEVICES={wanted!r} names none of the node's {len(node.gpus)} GPUs",
            fix=f"unset CUDA_VISIBLE_DEVICES, or name one of: {known}",
        )
    return chosen


def _doubtful_numbers(node: Node) -> Hidden | None:
    """CUDA sorts by speed first: only among GPUs of one kind is that the bus order that NVML uses."""
    if node.environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return None
    for gpu in node.gpus:
        if gpu.name is None and len(node.gpus) > 1:
            reasons = [
                entry.why for entry in node.unread if entry.what in (f"gpus[{gpu.index}]", f"gpus[{gpu.index}].name")
            ]
            return Hidden(
                why=f"GPU {gpu.index} does not answer ({', '.join(reasons)}), so CUDA's numbers are not known",
                fix="see nvidia-smi and dmesg, or name the GPUs to use by UUID in CUDA_VISIBLE_DEVICES",
            )
    names = sorted({gpu.name for gpu in node.gpus if gpu.name is not None})
    if len(names) < 2:
        return None
    return Hidden(
        why=f"CUDA numbers unlike GPUs by speed ({', '.join(names)}), so it is not known which one is cuda:0",
        fix="export CUDA_DEVICE_ORDER=PCI_BUS_ID",
    )


def _chosen(gpus: tuple[Gpu, ...], tokens: list[str]) -> tuple[Gpu, ...]:
    """CUDA's own reading: it stops at the first name that fits no GPU, and a repeated one hides all."""
    chosen: list[Gpu] = []
    for token in tokens:
        fits = [gpu for gpu in gpus if _names(token, gpu)]
        if len(fits) != 1:
            break
        if fits[0] in chosen:
            return ()
        chosen.append(fits[0])
    return tuple(chosen)


def _names(token: str, gpu: Gpu) -> bool:
    """An index, or the beginning of a UUID that starts with `GPU-`; an instance (`MIG-...`) names no whole GPU."""
    if token.isdecimal():
        return int(token) == gpu.index
    return token.startswith("GPU-") and (gpu.uuid or "").startswith(token)
