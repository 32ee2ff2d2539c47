"""Tells which GPUs a CUDA process started here would see, in which order, and how much memory each has free.

NVML lists every GPU of the machine in the order of the bus. CUDA hides what `CUDA_VISIBLE_DEVICES` does not name and
numbers the rest in its own way, so the two must be matched before "GPU 0 has room" means anything. To CUDA a part of a
split GPU (MIG) is a GPU, with memory of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from plimsoll.node.driver import next_step, step_to_a_gpu
from plimsoll.node.node import Gpu, Node

INSTANCE = "MIG-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """Why the GPUs of a CUDA process are unknown, or why it sees none; `fix` is the next step."""

    why: str
    fix: str


def visible_gpus(node: Node) -> tuple[Gpu, ...] | Hidden:
    """The node's GPUs in CUDA's order, never empty: the first is `cuda:0`. An instance of a split GPU counts as a GPU,
    with its own UUID and memory, and the index of the whole GPU.
    """
    if not node.gpus:
        why = node.why_unread("gpus") if any(entry.what == "gpus" for entry in node.unread) else "NVML lists no GPU"
        return Hidden(why=why, fix=step_to_a_gpu(node))
    wanted = node.environment.get("CUDA_VISIBLE_DEVICES")
    tokens = None if wanted is None else [token.strip() for token in wanted.split(",")]
    if tokens is not None and tokens[0].startswith(INSTANCE):
        return _named_instance(node, tokens[0])
    if (tokens is None or any(token.isdecimal() for token in tokens)) and (doubt := doubtful_numbers(node)):
        return doubt
    chosen = node.gpus if tokens is None else chosen_gpus(node.gpus, tokens)
    if not chosen:
        told = names_none(node, wanted or "")
        is_slurms = wanted == "" and "SLURM_JOB_ID" in node.environment
        return replace(told, fix=step_to_a_gpu(node)) if is_slurms else told
    return _with_instances(node, chosen)


def names_none(node: Node, wanted: str) -> Hidden:
    """Why CUDA shows no GPU for what the environment names: the first name is ambiguous or unknown, or one is given
    twice."""
    known = ", ".join(f"{gpu.index}" + (f" or {gpu.uuid}" if gpu.uuid else "") for gpu in node.gpus)
    of_instances = INSTANCE in wanted and any(gpu.mig for gpu in node.gpus)
    return Hidden(
        why=f"CUDA_VISIBLE_DEVICES={wanted!r} names none of the node's {len(node.gpus)} GPUs{_misnamed(node, wanted)}",
        fix=name_an_instance(node) if of_instances else f"unset CUDA_VISIBLE_DEVICES, or name one of: {known}",
    )


def _misnamed(node: Node, wanted: str) -> str:
    """What is wrong with names that mean something; empty where the first means nothing here."""
    taken: dict[str, str] = {}
    for token in (token.strip() for token in wanted.split(",")):
        fits = [str(gpu.uuid or gpu.index) for gpu in node.gpus if _names(token, gpu)]
        if token.startswith(INSTANCE):
            fits = [part.uuid for gpu in node.gpus for part in gpu.instances if part.uuid.startswith(token)]
        if len(fits) > 1:
            return f": {token} is the beginning of {len(fits)} UUIDs, and CUDA takes it for none of them"
        if not fits:
            break
        if (other := taken.get(fits[0])) is not None:
            what = f"{token} is given twice" if other == token else f"{other} and {token} are the same"
            return f": {what}, and CUDA shows none at all where one is named twice"
        taken[fits[0]] = token
    return ""


def free_memory(node: Node, gpu: Gpu) -> int | None:
    """Bytes that a process could take on a GPU now; None where NVML did not say. A GPU without memory of its own uses
    the machine's RAM, within the control group's limit."""
    return node.memory.available if gpu.unified else gpu.memory_free


def total_memory(node: Node, gpu: Gpu) -> int | None:
    """Bytes of memory that a GPU has, free or not; None where NVML did not say."""
    return node.memory.total if gpu.unified else gpu.memory_total


def _with_instances(node: Node, chosen: tuple[Gpu, ...]) -> tuple[Gpu, ...] | Hidden:
    """The GPUs, where none is split. CUDA shows a process at most one instance, and it must be named, unless there is
    only one."""
    split = next((gpu for gpu in chosen if gpu.mig), None)
    if split is None:
        return chosen
    if len(node.gpus) == 1 and len(split.instances) == 1:
        return (as_gpu(split, 0),)
    return Hidden(
        why=f"GPU {split.index} is split (MIG), and CUDA_VISIBLE_DEVICES names no instance", fix=name_an_instance(node)
    )


def _named_instance(node: Node, name: str) -> tuple[Gpu, ...] | Hidden:
    """The instance that a name means. CUDA accepts the beginning of an instance's UUID, and sees nothing but the first
    named instance."""
    fits = [(gpu, n) for gpu in node.gpus for n, part in enumerate(gpu.instances) if part.uuid.startswith(name)]
    if len(fits) == 1:
        return (as_gpu(*fits[0]),)
    which = "more than one instance" if fits else "an instance (MIG) that NVML does not show to this process"
    return Hidden(why=f"CUDA_VISIBLE_DEVICES={name!r} names {which}", fix=name_an_instance(node))


def as_gpu(gpu: Gpu, number: int) -> Gpu:
    """An instance of a split GPU, by its position, as a GPU."""
    part = gpu.instances[number]
    return replace(
        gpu,
        name=part.name or gpu.name,
        uuid=part.uuid,
        memory_total=part.memory_total,
        memory_free=part.memory_free,
        mig=False,
        instances=(),
    )


def name_an_instance(node: Node) -> str:
    """The step that names an instance. Undoing the split is no step: others may work in the other instances."""
    known = [part.uuid for gpu in node.gpus for part in gpu.instances]
    if known:
        return f"export CUDA_VISIBLE_DEVICES={known[0]}" + (
            f", or another of: {', '.join(known[1:])}" if known[1:] else ""
        )
    return (
        "name an instance that nvidia-smi -L lists in CUDA_VISIBLE_DEVICES, and give a container that instance "
        "(NVIDIA_VISIBLE_DEVICES); where it lists none, ask whoever split the GPU for one"
    )


def doubtful_numbers(node: Node) -> Hidden | None:
    """Why CUDA's numbers are uncertain: it sorts by speed, and only among GPUs of one kind is that NVML's bus order."""
    if node.environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return None
    for gpu in node.gpus:
        if gpu.name is None and len(node.gpus) > 1:
            at = f"gpus[{gpu.index}]"
            entries = [entry for entry in node.unread if entry.what in (at, f"{at}.name")]
            code = next((entry.code for entry in entries), None)
            return Hidden(
                why=f"GPU {gpu.index} does not answer ({', '.join(entry.why for entry in entries)}), so CUDA's numbers "
                "are not known",
                fix=next_step(code, "see nvidia-smi and dmesg")
                + "; until then, name the GPUs to use by UUID in CUDA_VISIBLE_DEVICES",
            )
    names = sorted({gpu.name for gpu in node.gpus if gpu.name is not None})
    if len(names) < 2:
        return None
    return Hidden(
        why=f"CUDA numbers unlike GPUs by speed ({', '.join(names)}), so it is not known which one is cuda:0",
        fix="export CUDA_DEVICE_ORDER=PCI_BUS_ID",
    )


def chosen_gpus(gpus: tuple[Gpu, ...], tokens: list[str]) -> tuple[Gpu, ...]:
    """The named GPUs, as CUDA reads the names: it stops at the first unknown one, and a repeated one hides all."""
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
    """True where a name means this GPU: its index, or the beginning of its UUID with `GPU-`; `MIG-...` names no whole
    GPU."""
    if token.isdecimal():
        return int(token) == gpu.index
    return token.startswith("GPU-") and (gpu.uuid or "").startswith(token)


def free_gpus(node: Node) -> tuple[int, ...]:
    """Free bytes of each GPU that CUDA sees; empty where there is none, or where those of one are not known."""
    visible = visible_gpus(node)
    free = () if isinstance(visible, Hidden) else tuple(free_memory(node, gpu) for gpu in visible)
    known = tuple(size for size in free if size is not None)
    return known if len(known) == len(free) else ()
