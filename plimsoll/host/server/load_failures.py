"""Explains what transformers raises in one message that names the file and the reason.

transformers says which file is damaged in none of its own errors, and which tensor has the wrong shape only in its
log; both are looked up here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from transformers import GenerationConfig

from plimsoll.host.protocol import Inventory, LoadSpec
from plimsoll.host.server.checkpoint import CheckpointFiles, file_of, find_damage
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.load_options import fault_of_an_option, read_configuration
from plimsoll.host.server.predict.coverage import skeleton_of
from plimsoll.symptoms.recognise import Seen, recognise

_MISMATCH: Final = re.compile(r"^(\S.*?)\s*\|\s*MISMATCH\s*\|.*?Size\(\[(.*?)\]\).*?Size\(\[(.*?)\]\)", re.MULTILINE)
"""A row of transformers' load report: name, shape in the checkpoint, shape in the model."""
_CONVERSION: Final = re.compile(
    r"^(?P<reason>\S.*)\nError: \w+ on tensors destined for (?P<name>.+?)\. Ckpt", re.MULTILINE
)
"""The end of what its load report says of an operation that raised while tensors were merged or quantized."""


def explain(error: Exception, spec: LoadSpec, checkpoint: CheckpointFiles | None, heard: Iterable[str]) -> LoadFailed:
    """The error of a `from_pretrained` that failed, with what its log said, as a LoadFailed."""
    where = checkpoint.folder if checkpoint else spec.checkpoint
    log = "\n".join(heard)
    if spec.device != "cpu" and (step := _step_to_cuda(str(error))) is not None:
        return LoadFailed(LoadFailure.REFUSED, f"{spec.device} cannot be used: {_first_line(error)}; fix: {step}")
    if checkpoint and (damage := find_damage(checkpoint)):
        return LoadFailed(LoadFailure.DAMAGED, damage)
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return LoadFailed(LoadFailure.MEMORY, f"{where}: out of memory while loading: {_first_line(error)}")
    if found := _MISMATCH.search(log):
        name, stored, expected = found.groups()
        return wrong_shape(
            checkpoint, where, name, f"has shape ({stored}), and the configuration asks for ({expected})"
        )
    if found := _CONVERSION.search(log):
        name, reason = found["name"], f"cannot be put together: {found['reason']}"
        return wrong_shape(checkpoint, where, name, _misshapen(spec, checkpoint, name) or reason)
    if not recognise(Seen(text=f"{type(error).__name__}: {error}")):
        if checkpoint and (told := _fault_of_generation(checkpoint.folder)):
            return LoadFailed(LoadFailure.DAMAGED, told)
        if (fault := fault_of_an_option(error, spec)) is not None:
            return fault
    if isinstance(error, FileNotFoundError):
        return LoadFailed(LoadFailure.NOT_FOUND, f"{where}: {_first_line(error)}")
    return LoadFailed(LoadFailure.REFUSED, f"{where}: {type(error).__name__}: {_first_line(error)}")


def no_model(error: Exception, spec: LoadSpec, folder: Path) -> LoadFailed:
    """The failure of a configuration that was read, and of which its class makes no model."""
    settings = "".join(f", with the entry's {name} = {value!r}" for name, value in spec.config.items())
    return LoadFailed(
        LoadFailure.REFUSED,
        f"{folder / 'config.json'}: no model can be made of its settings{settings}: {_whole(error)}",
    )


def _fault_of_generation(folder: Path) -> str | None:
    """What is wrong with settings of generation that were read; None where they can be taken."""
    file = folder / "generation_config.json"
    if not file.is_file():
        return None
    settings: Any = GenerationConfig
    try:
        settings.from_pretrained(folder)
    except Exception as error:  # noqa: BLE001  the checks of its class raise what they like
        return f"{file}: its settings cannot be taken: {_whole(error)}"
    return None


def _whole(error: Exception) -> str:
    """An exception in one line: that of a configuration's class has its reason in the second."""
    return f"{type(error).__name__}: {_in_one_line(error)}"


def _in_one_line(error: Exception) -> str:
    return f"{' '.join(str(error).split()) or 'no message':.400}"


def _misshapen(spec: LoadSpec, checkpoint: CheckpointFiles | None, name: str) -> str | None:
    """What shape a tensor has in its file, and should have; None where its file or its parameter is not found under
    that name, or the shapes agree. What packs a tensor of another shape raises whatever its arithmetic comes upon."""
    file = file_of(checkpoint, name) if checkpoint else None
    if file is None:
        return None
    with safe_open(file, framework="pt") as shard:
        stored = tuple(shard.get_slice(name).get_shape())
    remote = spec.trust_remote_code
    model = skeleton_of(
        read_configuration(spec), spec.auto_class, spec.quantization.compute_dtype, trust_remote_code=remote
    )
    expected = next((tuple(tensor.shape) for known, tensor in model.named_parameters() if known == name), stored)
    if stored == expected:
        return None
    told, asked = (", ".join(map(str, shape)) for shape in (stored, expected))
    return f"has shape ({told}), and the configuration asks for ({asked})"


_OF_THE_GPU: Final = frozenset(
    ("driver-too-old", "driver-mismatch", "fabric", "gpu-broken", "torch-without-cuda", "unsupported-gpu", "no-gpu")
)
"""Symptoms of a GPU that cannot be used: the checkpoint has no part in them."""


def _step_to_cuda(said: str) -> str | None:
    """What to do where CUDA says that it cannot use the GPU; None where it says anything else."""
    found = recognise(Seen(text=said))
    return next((each.next for each in found if each.symptom in _OF_THE_GPU), None)


def wrong_shape(checkpoint: CheckpointFiles | None, where: Path | str, name: str, fault: str) -> LoadFailed:
    """A tensor that does not fit, with the file that holds it where its name is that of the model's parameter."""
    file = file_of(checkpoint, name) if checkpoint else None
    return LoadFailed(LoadFailure.SHAPE, f"{file or where}: {name} {fault}")


def refuse_wrong_shapes(spec: LoadSpec, checkpoint: CheckpointFiles | None, inventory: Inventory) -> None:
    """Raise LoadFailed for a quantized weight whose shape is not its layer's.

    transformers compares shapes, but not those of a tensor that is quantized while it is read: such a load succeeds,
    says nothing, and the model fails or lies later.
    """
    for record in inventory.parameters:
        for fault in record.faults:
            if "holds a weight of shape" in fault:
                raise wrong_shape(checkpoint, checkpoint.folder if checkpoint else spec.checkpoint, record.name, fault)


def _first_line(error: Exception) -> str:
    """The first line of what was raised; all of it, in one, where that line only announces the next."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return _in_one_line(error) if first.endswith(":") else first
