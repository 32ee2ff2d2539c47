"""Imports torch, transformers, accelerate and bitsandbytes in the fork server, once for all hosts.

Importing must start no thread and touch no GPU: a fork copies neither, and a CUDA context in the parent makes CUDA
unusable in every child. What importing wants to know of GPUs, a child process says that ends with its answer.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from plimsoll.host.server.putting_off import compiled_when_called, import_losses

_ENVIRONMENT: Final = {
    # Ask NVML, not the CUDA runtime, whether there is a GPU: the runtime would be initialised by the question.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    # A host's output is a log file.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}

FAMILIES: Final = ("llama", "qwen2", "mistral", "mixtral", "phi3")

# transformers imports lazily: what a first load would import is named here, so that it is not part of a load's time.
# So are the handlers of all that every variant is asked, which each host would import for itself.
MODULES: Final = (
    "accelerate",
    "transformers.generation",
    "transformers.integrations.bitsandbytes",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.quantizers.auto",
    *(f"transformers.models.{family}.modeling_{family}" for family in FAMILIES),
    "plimsoll.host.server.predict.variant",
    "plimsoll.host.server.attention",
    "plimsoll.host.server.content.proof",
    "plimsoll.host.server.caching",
    "plimsoll.host.server.generation",
    "plimsoll.host.server.generation_speed",
    "plimsoll.host.server.loading",
    "plimsoll.host.server.meaning",
    "plimsoll.host.server.unloading",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gpus:
    """What importing wants to know of the GPUs."""

    available: bool = False
    count: int = 0
    capability: tuple[int, int] = (0, 0)
    """The highest of all: bitsandbytes asks for each, and takes the highest."""


@contextmanager
def _told_by_a_child(torch: Any) -> Iterator[None]:
    """While the stack is imported, answer its questions about GPUs with what a child process saw.

    torch asks NVML, which is not made to be forked, and falls back to the CUDA runtime where NVML fails or does not
    know the names of instances (MIG); that a runtime was initialised in this way, `torch.cuda.is_initialized` does not
    tell, and every host would fail.
    """
    gpus = _Gpus(**_in_a_child(lambda: asdict(_look(torch)), asdict(_Gpus())))
    answers = {
        "is_available": lambda: gpus.available,
        "device_count": lambda: gpus.count,
        "get_device_capability": lambda _device=None: tuple(gpus.capability),
    }
    originals = {name: getattr(torch.cuda, name) for name in answers}
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(torch.cuda, name, original)


def _look(torch: Any) -> _Gpus:
    """What there is, as torch sees it. Only to be asked in a process that ends with the answer."""
    return _Gpus(
        available=bool(torch.cuda.is_available()),
        count=int(torch.cuda.device_count()),
        capability=max(_compute_capabilities(torch), default=(0, 0)),
    )


def _in_a_child(question: Callable[[], dict[str, Any]], otherwise: dict[str, Any]) -> dict[str, Any]:
    """The answer of a child that ends at once, and takes with it whatever asking has initialised; `otherwise` where it
    dies."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(json.dumps(question()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0 or not text:
        return otherwise
    answer: dict[str, Any] = json.loads(text)
    return answer


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


def _find_tokenizers() -> None:
    """transformers imports what it looks through for the class of a tokenizer: 0.05 s of each load of a Qwen. Where a
    release offers no such function, or lacks what a module wants, it is left to the load."""
    tokenization = importlib.import_module("transformers.models.auto.tokenization_auto")
    with suppress(AttributeError, ImportError):
        tokenization.tokenizer_class_from_name("Qwen2Tokenizer")


def _preload() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    torch = importlib.import_module("torch")
    with _told_by_a_child(torch):
        with compiled_when_called(torch):
            importlib.import_module("bitsandbytes")
        import_losses()
        for module in MODULES:
            importlib.import_module(module)
        _compile_checkpoint_patterns()
        _find_tokenizers()
    if torch.cuda.is_initialized():
        raise RuntimeError("importing the model stack initialised CUDA, which no forked host could use any more")


_preload()
