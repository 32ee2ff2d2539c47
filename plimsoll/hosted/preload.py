"""Imported by the fork server once, so that no host has to: torch, transformers, accelerate, bitsandbytes.

Importing must start no thread and touch no GPU: a fork copies neither, and a CUDA context in the parent makes CUDA
unusable in every child. bitsandbytes would make one, and is kept from it here.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
)


@contextmanager
def _compute_capability_from_nvml(torch: Any) -> Iterator[None]:
    """While bitsandbytes is imported, answer its question for the GPUs' compute capability without a CUDA context.

    It only tells old GPUs from those with int8 tensor cores by it, so the order of the GPUs does not matter.
    """
    import pynvml

    def capability(device: Any) -> tuple[int, int]:
        pynvml.nvmlInit()
        try:
            index = device.idx if isinstance(device, torch.cuda.device) else int(device)
            return tuple(pynvml.nvmlDeviceGetCudaComputeCapability(pynvml.nvmlDeviceGetHandleByIndex(index)))
        finally:
            pynvml.nvmlShutdown()

    original = torch.cuda.get_device_capability
    torch.cuda.get_device_capability = capability
    try:
        yield
    finally:
        torch.cuda.get_device_capability = original


def _preload() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    torch = importlib.import_module("torch")
    with _compute_capability_from_nvml(torch):
        importlib.import_module("bitsandbytes")
    for module in MODULES:
        importlib.import_module(module)
    if torch.cuda.is_initialized():
        raise RuntimeError("importing the model stack initialised CUDA, which no forked host could use any more")


_preload()
