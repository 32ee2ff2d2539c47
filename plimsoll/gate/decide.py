"""The gate: decides whether to run a variant on this node or to skip it, before anything is loaded.

A skip is a value that says what the node has, what the variant needs and what to do; skips that are decided elsewhere
are of the same type. An unknown amount never counts as enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from plimsoll.catalogue.entries import KEY_OF_SOURCE, Variant, WeightSource
from plimsoll.gate.cuda import gpu_name, low_capability, no_code, old_driver
from plimsoll.gate.hub import refusal_of
from plimsoll.gate.need import Need
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.hub.access import Access
from plimsoll.node.driver import next_step
from plimsoll.node.node import Gpu, Node
from plimsoll.node.stack import StackFault, check_packages, check_stack
from plimsoll.node.visible import Hidden, free_memory, total_memory, visible_gpus
from plimsoll.symptoms.recognise import told_by
from plimsoll.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The variant may be loaded."""

    def __str__(self) -> str:
        return "run"


Decision = Admitted | Skip


def decide(variant: Variant, node: Node, need: Need, access: Access | None = None) -> Decision:
    """Admit the variant to this node, or return the first reason not to.

    `access` is the Hub's answer; for weights from the Hub None means that it was not asked, which is no permission.
    Raises PlimsollError where the supported versions of packages cannot be read.
    """
    skip = _here(variant, node, need)
    if skip is None and need.source is WeightSource.HUB:
        skip = _hub(variant, need, access)
    return skip or Admitted()


def decide_on(node: Node, need: Need) -> Decision:
    """Like `decide`, for a need without a variant, which brings its own weights. Raises what `decide` raises."""
    return _on_node(node, need) or Admitted()


def awaits_hub(variant: Variant, node: Node, need: Need) -> bool:
    """True where only the Hub's answer is missing: the Hub is not asked about a variant that cannot run here anyway.

    Raises what `decide` raises.
    """
    return need.source is WeightSource.HUB and _here(variant, node, need) is None


def _here(variant: Variant, node: Node, need: Need) -> Skip | None:
    """The first reason in the entry or the node."""
    return _weights(variant) or _on_node(node, need)


def _on_node(node: Node, need: Need) -> Skip | None:
    checks: list[Callable[[], Skip | None]] = [lambda: _packages(node, need), lambda: _architecture(need)]
    if need.device == "cuda":
        checks.append(lambda: _gpus(node, need))
    elif need.attention:
        checks.append(lambda: _for_gpus_alone(need))
    checks.append(lambda: _ram(node, need))
    # The Hub's answer itself gives the bytes to fetch, and the folder for them.
    written = 0 if need.source is WeightSource.HUB else need.disk
    if written != 0 or need.scratch:
        checks.append(lambda: _disk(node, written, need.scratch))
    return next((skip for check in checks if (skip := check()) is not None), None)


def _weights(variant: Variant) -> Skip | None:
    model = variant.model
    if model.source not in KEY_OF_SOURCE or getattr(model, KEY_OF_SOURCE[model.source]) is not None:
        return None
    option = f"; or --model-dir={model.id}=FOLDER" if model.source is WeightSource.LOCAL else ""
    return Skip(
        code=SkipCode.WEIGHTS,
        have=f"no {KEY_OF_SOURCE[model.source]} in its entry ({model.origin})",
        need=f"weights of the source that was asked for, --weights={model.source}",
        fix=f"leave --weights out, or select other models{option}",
    )


def _architecture(need: Need) -> Skip | None:
    if need.obstacle is None:
        return None
    told = need.obstacle
    return Skip(code=SkipCode.ARCHITECTURE, have=told.have, need=told.need, fix=told.fix)


def _for_gpus_alone(need: Need) -> Skip:
    return Skip(
        code=SkipCode.CAPABILITY,
        have="the processor",
        need=f"a CUDA GPU: {need.attention} has kernels for GPUs alone",
        fix='set attention = "sdpa", or run it on a GPU (--device=cuda)',
    )


def _packages(node: Node, need: Need) -> Skip | None:
    # Where nothing was predicted, a fault of the stack is the reason.
    faults = check_stack(node) if need.ram is None else check_packages(node, need.packages)
    if not faults:
        return None
    return Skip(
        code=SkipCode.PACKAGE,
        have=", ".join(f"{f.package} {f.have}" if f.have else f"no {f.package}" for f in faults),
        need=", ".join(f.requirement for f in faults),
        fix=_mend(faults),
    )


def _mend(faults: tuple[StackFault, ...]) -> str:
    requirements = [f"'{f.requirement}'" for f in faults if f.package != "python"]
    commands = [f.fix for f in faults if f.package == "python"]
    return "; ".join([*commands, *([f"pip install {' '.join(requirements)}"] if requirements else [])])


def _gpus(node: Node, need: Need) -> Skip | None:
    visible = visible_gpus(node)
    if isinstance(visible, Hidden):
        movable = need.source is WeightSource.SYNTHETIC and need.moves
        return without_gpu(node, visible, "; or let RAM stand in for it: --device=cpu" if movable else "")
    if need.vram is None:
        return _unpredicted(SkipCode.VRAM, f"{len(visible)} GPUs")
    torch = node.packages.get("torch") or ""
    if torch.endswith("+cpu"):
        # Only where there is a GPU: without one, another build of torch would not help.
        return Skip(
            code=SkipCode.PACKAGE,
            have=f"torch {torch}, built without CUDA",
            need="torch built with CUDA",
            fix=told_by({"built": "for_cpu"}).next,
        )
    if (skip := old_driver(node)) is not None:
        return skip
    numbers = range(len(visible)) if isinstance(need.vram, int) else sorted(need.vram)
    if numbers and numbers[-1] >= len(visible):
        return Skip(
            code=SkipCode.NO_GPU,
            have=f"{len(visible)} GPUs that CUDA sees",
            need=f"cuda:{numbers[-1]}, which the entry's device map names",
            fix="make more GPUs visible (CUDA_VISIBLE_DEVICES), or change the entry's device_map",
        )
    used = {number: visible[number] for number in numbers}
    return no_code(node, used.values()) or low_capability(node, used.values(), need) or _vram(node, visible, used, need)


def without_gpu(node: Node, hidden: Hidden, instead: str = "") -> Skip:
    """Why nothing that needs a CUDA GPU can run. For a node with an accelerator of another maker the skip says so,
    because no NVIDIA driver would help. `instead` is another way out, appended to the fix."""
    if node.accelerators:
        return Skip(
            code=SkipCode.CAPABILITY,
            have=", ".join(f"{each.name} ({each.kind})" for each in node.accelerators),
            need="a CUDA GPU: what is judged here was established on NVIDIA's stack alone",
            fix=f"run the tiers for a CPU, such as -m tiny, or another node{instead}",
        )
    return Skip(
        code=SkipCode.NO_GPU,
        have=f"no GPU to use: {hidden.why}",
        need="a CUDA GPU",
        fix=hidden.fix + instead,
    )


def _vram(node: Node, visible: tuple[Gpu, ...], used: Mapping[int, Gpu], need: Need) -> Skip | None:
    """Skip where a GPU that is used lacks memory for its part, or where all GPUs together lack it for spread
    weights."""
    if need.offloaded:
        return _too_small_together(node, visible, need)
    if isinstance(need.vram, int):
        shares = [(tuple(used.values()), need.vram + need.vram_context * len(used))]
    else:
        shares = [((used[n],), size + need.vram_context) for n, size in (need.vram or {}).items()]
    for gpus, size in shares:
        wanted = f"{format_bytes(size)} of GPU memory"
        for gpu in gpus:
            if doubt := _doubt(node, gpu):
                return Skip(code=SkipCode.VRAM, have=f"{gpu_name(gpu)}, {doubt[0]}", need=wanted, fix=doubt[1])
        free = sum(free_memory(node, gpu) or 0 for gpu in gpus)
        if free < size + _beside(gpus, need):
            where = gpu_name(gpus[0]) if len(gpus) == 1 else f"{len(gpus)} GPUs together"
            have = f"{format_bytes(free)} free on {where}"
            # Another GPU helps only where all weights go to cuda:0.
            others = visible[1:] if len(shares) == 1 and gpus == visible[:1] else ()
            if any(gpu.unified for gpu in gpus):
                have, wanted = f"{have}, which is the machine's RAM", f"{wanted} beside the RAM of the host process"
            return Skip(code=SkipCode.VRAM, have=have, need=wanted, fix=_more_vram(node, gpus, others, size))
    return None


def _beside(gpus: Iterable[Gpu], need: Need) -> int:
    """Bytes that the host process takes where the GPU uses the machine's RAM."""
    return (need.ram or 0) if any(gpu.unified for gpu in gpus) else 0


def _too_small_together(node: Node, visible: tuple[Gpu, ...], need: Need) -> Skip:
    for gpu in visible:
        if doubt := _doubt(node, gpu):
            return Skip(code=SkipCode.VRAM, have=f"{gpu_name(gpu)}, {doubt[0]}", need="its free memory", fix=doubt[1])
    free = sum(free_memory(node, gpu) or 0 for gpu in visible)
    where = gpu_name(visible[0]) if len(visible) == 1 else f"{len(visible)} GPUs together"
    placed = sum(need.vram.values()) if isinstance(need.vram, Mapping) else need.vram or 0
    return Skip(
        code=SkipCode.VRAM,
        have=f"{format_bytes(free)} free on {where}, so {format_bytes(need.offloaded)} of weights would go to the CPU",
        need=f"{format_bytes(placed + need.offloaded + need.vram_context * len(visible))} of GPU memory",
        fix="choose a smaller quantization, or a node with more GPU memory",
    )


def _doubt(node: Node, gpu: Gpu) -> tuple[str, str] | None:
    """Why a GPU's free memory is not available to a process, and the next step."""
    at = f"gpus[{gpu.index}]"
    if gpu.lost is not None:
        return f"which is lost: {gpu.lost}", _step(node, at)
    if free_memory(node, gpu) is None:
        return f"whose free memory could not be read: {node.why_unread(f'{at}.memory')}", _step(node, f"{at}.memory")
    if gpu.mig is None:
        why = node.why_unread(f"{at}.mig")
        return f"of which it could not be read whether it is split (MIG): {why}", _step(node, f"{at}.mig")
    return None


def _step(node: Node, what: str) -> str:
    """The next step where NVML did not answer, by its error number."""
    entries = [entry for entry in node.unread if entry.what == what or entry.what.startswith(f"{what}.")]
    code = next((entry.code for entry in entries if entry.code is not None), None)
    return next_step(code, "find out with nvidia-smi -q")


def _more_vram(node: Node, used: tuple[Gpu, ...], others: tuple[Gpu, ...], size: int) -> str:
    for gpu in others:
        if _doubt(node, gpu) is None and (free_memory(node, gpu) or 0) >= size:
            return f"export CUDA_VISIBLE_DEVICES={gpu.uuid or gpu.index}, which has the room"
    totals = [total_memory(node, gpu) for gpu in used]
    if all(total is not None for total in totals) and sum(total or 0 for total in totals) >= size:
        if any(gpu.unified for gpu in used):
            return "end other processes, whose RAM is the GPU's memory too"
        return "end what else uses the GPU (nvidia-smi lists it)"
    return "choose a smaller quantization, or a node with more GPU memory"


def _ram(node: Node, need: Need) -> Skip | None:
    available = node.memory.available
    if need.ram is None:
        return _unpredicted(SkipCode.RAM, f"{format_bytes(available)} of RAM available")
    if available >= need.ram:
        return None
    group = f", within the control group's limit of {format_bytes(node.memory.limit)}" if node.memory.limit else ""
    return Skip(
        code=SkipCode.RAM,
        have=f"{format_bytes(available)} of RAM available{group}",
        need=f"{format_bytes(need.ram)} of RAM",
        fix="raise the container's memory limit" if group else "end other processes, or use a node with more memory",
    )


def _disk(node: Node, written: int | None, scratch: int) -> Skip | None:
    have = f"{format_bytes(node.disk.free)} free at {node.disk.path}"
    if written is None:
        return _unpredicted(SkipCode.DISK, have)
    if node.disk.free >= written + scratch:
        return None
    purposes = [f"{format_bytes(written)} for the checkpoint"] if written else []
    purposes += [f"{format_bytes(scratch)} for what is compared with bf16"] if scratch else []
    return Skip(
        code=SkipCode.DISK,
        have=have,
        need=" and ".join(purposes),
        fix="free space there, or set PLIMSOLL_CACHE to a folder on a larger disk",
    )


def _hub(variant: Variant, need: Need, access: Access | None) -> Skip | None:
    if access is not None:
        return refusal_of(access, variant.model)
    repository = variant.model.hub_id or variant.model.id
    return Skip(
        code=SkipCode.OFFLINE,
        have="no answer from the Hub, which was not asked",
        need=f"access to {repository}" + (", whose licence must be accepted" if need.gated else ""),
        fix=f"hf download {repository} --local-dir FOLDER, and --model-dir={variant.model.id}=FOLDER",
    )


def _unpredicted(code: SkipCode, have: str) -> Skip:
    return Skip(
        code=code,
        have=have,
        need="an amount that was not predicted",
        fix="see why the prediction failed in the run's log",
    )
