"""Imports torch, transformers, accelerate and bitsandbytes in the fork server, once for all hosts.

Importing must start no thread and touch no GPU: a fork copies neither, and a CUDA context in the parent makes CUDA
unusable in every child. bitsandbytes would make one, and is kept from it here.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

_ENVIRONMENT: Final = {
    # Ask NVML, not the CUDA runtime, whether there is a GPU: the runtime would be initialised by the question.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    # A host's output is a log file.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}

FAMILIES: Final = ("llama", "qwen2", "mistral", "mixtral", "phi3")

# transformers imports lazily: what a first load would import is named here, so that it is not part of a load's time.
MODULES: Final = (
    "accelerate",
    "transformers.generation",
    "transformers.integrations.bitsandbytes",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.quantizers.auto",
    *(f"transformers.models.{family}.modeling_{family}" for family in FAMILIES),
    "plimsoll.host.server.predict.variant",
    "plimsoll.host.server.generation",
    "plimsoll.host.server.loading",
    "plimsoll.host.server.unloading",
)


@contextmanager
def _compute_capability_from_nvml(torch: Any) -> Iterator[None]:
    """While bitsandbytes is imported, answer its question for the compute capability without a CUDA context.

    It wants to know the highest of all GPUs, so that is the answer for each.
    """
    highest = max(_compute_capabilities(torch), default=(0, 0))
    original = torch.cuda.get_device_capability
    torch.cuda.get_device_capability = lambda _device: highest
    try:
        yield
    finally:
        torch.cuda.get_device_capability = original


def _compute_capabilities(torch: Any) -> list[tuple[int, int]]:
    """Of each NVIDIA GPU that answers; empty where none does.

    One that is lost must not keep the hosts of all others, and of the CPU, from starting: what may run on which GPU is
    the gate's to say, and bitsandbytes asks for the highest alone.
    """
    if torch.version.hip or not torch.cuda.is_available():
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [found for index in range(_count(pynvml)) if (found := _compute_capability(pynvml, index)) is not None]
    finally:
        pynvml.nvmlShutdown()


def _count(pynvml: Any) -> int:
    try:
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0


def _compute_capability(pynvml: Any, index: int) -> tuple[int, int] | None:
    try:
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(pynvml.nvmlDeviceGetHandleByIndex(index))
    except pynvml.NVMLError:
        return None
    return major, minor


def _compile_checkpoint_patterns() -> None:
    """transformers compiles a thousand patterns when a process reads its first checkpoint: 0.13 s that each load
    would be charged for. Releases that offer no way to do so now leave it at that."""
    conversion = importlib.import_module("transformers.conversion_mapping")
    with suppress(AttributeError):
        conversion.get_checkpoint_conversion_mapping(FAMILIES[0])


def _preload() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    torch = importlib.import_module("torch")
    with _compute_capability_from_nvml(torch):
        importlib.import_module("bitsandbytes")
    for module in MODULES:
        importlib.import_module(module)
    _compile_checkpoint_patterns()
    if torch.cuda.is_initialized():
        raise RuntimeError("importing the model stack initialised CUDA, which no forked host could use any more")


_preload()
