"""Decides whether driver, torch's build and compute capability let CUDA run a variant on the GPUs of a node."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from plimsoll.gate.need import Need
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.node.node import Gpu, Node
from plimsoll.symptoms.recognise import told_by
from plimsoll.symptoms.surroundings import surroundings_of

_BF16_CAPABILITY = "8.0"
_FOR_BF16 = "for bfloat16"
_FOR_ATTENTION = "for its attention"
_DRIVER_BRANCH: Final = {11: "450", 12: "525", 13: "580"}
"""The first driver branch for a major version of CUDA (NVIDIA's CUDA compatibility guide); within a major version any
of its drivers is enough."""
_LEAST_BUILT: Final = {11: "3.5", 12: "5.0", 13: "7.5"}
"""The oldest compute capability that a major version of CUDA makes code for (its release notes)."""
_FIRST_CUDA: Final = (("10.0", "12.8"), ("9.0", "11.8"), ("8.0", "11.0"))
"""The first version of CUDA with code for a compute capability and those above it."""
_CUDA_TAG: Final = re.compile(r"\+cu(\d\d)(\d)\b")


def _cuda_of_torch(node: Node) -> str | None:
    """The CUDA version that the node's torch was built for; torch's version tells it where torch is not from PyPI."""
    tag = _CUDA_TAG.search(node.packages.get("torch") or "")
    return f"{tag[1]}.{tag[2]}" if tag else node.torch_cuda


def old_driver(node: Node) -> Skip | None:
    """Skip where the driver is too old for the CUDA that torch was built for: torch would then see no GPU."""
    built = _cuda_of_torch(node)
    if built is None or node.cuda is None or _version(node.cuda)[0] >= _version(built)[0]:
        return None
    major = _version(built)[0]
    branch = f" (branch {_DRIVER_BRANCH[major]} or newer)" if major in _DRIVER_BRANCH else ""
    return Skip(
        code=SkipCode.PACKAGE,
        have=f"driver {node.driver or 'of a version that was not read'}, which supports CUDA up to {node.cuda}",
        need=f"a driver for CUDA {major}, which torch {node.packages.get('torch')} was built for",
        fix=told_by(
            {"driver": "too_old", "branch": branch, "major": _version(node.cuda)[0]}, surroundings_of(node.environment)
        ).next,
    )


def no_code(node: Node, used: Iterable[Gpu]) -> Skip | None:
    """Skip for GPUs for which torch's version of CUDA has no code: every kernel would fail on them."""
    built = _cuda_of_torch(node)
    if built is None:
        return None
    for gpu in used:
        have = gpu.compute_capability
        if have is not None and (fault := _no_code_for(have, built)) is not None:
            need, fix = fault
            return Skip(
                code=SkipCode.CAPABILITY, have=f"{gpu_name(gpu)} of compute capability {have}", need=need, fix=fix
            )
    return None


def _no_code_for(capability: str, built: str) -> tuple[str, str] | None:
    """What torch lacks for a GPU, and the next step; None where that CUDA version has code for it."""
    major = _version(built)[0]
    least = _LEAST_BUILT.get(major)
    if least is not None and _version(capability) < _version(least):
        older = max((m for m, floor in _LEAST_BUILT.items() if _version(floor) <= _version(capability)), default=None)
        build = "" if older is None else f"install a build of torch for CUDA {older} (pytorch.org/get-started), or "
        need = f"compute capability {least}, the least that torch for CUDA {built} has code for"
        return need, told_by({"built": "without_it", "build": build}).next
    for floor, first in _FIRST_CUDA:
        if _version(capability) >= _version(floor):
            if _version(built) >= _version(first):
                return None
            need = f"torch built for CUDA {first} or newer, the first with code for it, not for CUDA {built}"
            return need, told_by({"built": "before_it"}).next
    return None


def low_capability(node: Node, used: Iterable[Gpu], need: Need) -> Skip | None:
    """Skip for GPUs without the compute capability that quantization, attention or bfloat16 need."""
    wanted = [(need.min_capability, "for its quantization")] if need.min_capability else []
    wanted += [(need.attention_capability, _FOR_ATTENTION)] if need.attention_capability else []
    wanted += [(_BF16_CAPABILITY, _FOR_BF16)] if need.bf16 else []
    if not wanted:
        return None
    least, reason = max(wanted, key=lambda pair: _version(pair[0]))
    for gpu in used:
        have = gpu.compute_capability
        if have is None:
            why = node.why_unread(f"gpus[{gpu.index}].compute_capability")
            text = f"{gpu_name(gpu)}, whose compute capability could not be read: {why}"
        elif _version(have) < _version(least):
            text = f"{gpu_name(gpu)} of compute capability {have}"
        else:
            continue
        return Skip(
            code=SkipCode.CAPABILITY,
            have=text,
            need=f"compute capability {least} {f'for {need.attention}' if reason == _FOR_ATTENTION else reason}",
            fix=told_by({"capability": reason}).next,
        )
    return None


def gpu_name(gpu: Gpu) -> str:
    """What messages call a GPU: `GPU 0 (NVIDIA A10)`."""
    return f"GPU {gpu.index}" + (f" ({gpu.name})" if gpu.name else "")


def _version(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split("."))
