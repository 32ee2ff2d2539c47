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
    if (tokens is None or any(_is_index(token) for token in tokens)) and not _numbers_agree(node):
        names = ", ".join(sorted({gpu.name or "a GPU without a name" for gpu in node.gpus}))
        return Hidden(
            why=f"CUDA numbers unlike GPUs by speed ({names}), so it is not known which one is cuda:0",
            fix="export CUDA_DEVICE_ORDER=PCI_BUS_ID",
        )
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


def _is_index(token: str) -> bool:
    return token.isdecimal()


def _numbers_agree(node: Node) -> bool:
    """CUDA sorts by speed first: among GPUs of one kind that is the bus order that NVML uses."""
    alike = len({gpu.name for gpu in node.gpus}) == 1 and (node.gpus[0].name is not None or len(node.gpus) == 1)
    return alike or node.environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"


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
    if _is_index(token):
        return int(token) == gpu.index
    return token.startswith("GPU-") and (gpu.uuid or "").startswith(token)
