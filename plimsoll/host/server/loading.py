"""Loads a model as a user would, by the real `from_pretrained`, and records what came of it.

Only `from_pretrained` is timed. Everything that could take part in the figure happens before (configuration,
tokenizer, CUDA context, page cache) or after (accounting). A load that cannot be trusted is an error: no model leaves
this module with weights that the checkpoint does not have without its report saying so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
import transformers
from torch import nn
from transformers.utils.import_utils import is_peft_available

from plimsoll import clock
from plimsoll.host.protocol import CacheState, LoadReport, LoadSpec
from plimsoll.host.server.checkpoint import CheckpointFiles, locate, refuse_absent, refuse_doubled
from plimsoll.host.server.effective import attentions_of, brought_in, effective
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.gpu_memory import GpuMeter
from plimsoll.host.server.inventory import take_inventory
from plimsoll.host.server.linux import map_large_blocks
from plimsoll.host.server.listening import Listener
from plimsoll.host.server.load_failures import explain, no_model, refuse_wrong_shapes
from plimsoll.host.server.load_options import Architecture, pretrained_arguments, read_architecture
from plimsoll.host.server.memory import HostMeter
from plimsoll.host.server.page_cache import prepare
from plimsoll.host.server.predict.layers import text_part
from plimsoll.host.server.predict.passes import NotFollowedError
from plimsoll.host.server.synthetic import make_up
from plimsoll.host.server.tokens import generation_config, load_tokenizer, refuse_unknown_tokens
from plimsoll.hub.files import ADAPTER, LEFT_OUT
from plimsoll.hub.settings_files import READ_ALWAYS, first_fault
from plimsoll.symptoms.recognise import Seen, recognise

_PLAIN: Any = transformers.PreTrainedModel.from_pretrained


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that is ready to be used, its tokenizer, and the report of its loading."""

    whole: Any
    """All that was loaded."""
    model: Any
    """What is asked: the part of it that takes text and gives logits, which in most models is all."""
    tokenizer: Any
    """None for synthetic weights, which have no tokenizer."""
    report: LoadReport
    spec: LoadSpec
    """What was asked for."""
    checkpoint: CheckpointFiles | None
    """The files that it was loaded from; None where the weights are synthetic."""
    gpus: GpuMeter
    """Watches the memory of the GPUs that the load may touch, until it is stopped."""


def load(spec: LoadSpec, cache: str) -> LoadedModel:
    """Load a variant; `cache` is `cold`, `warm` or `as-is`, the state its files shall have in the page cache.

    Raises LoadFailed for whatever keeps the model from being loaded as asked, and ValueError for another `cache`.
    """
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    checkpoint = _locate(spec)
    refuse_files(checkpoint)
    with Listener() as listener, ExitStack() as failing:
        with _explained(spec, checkpoint, listener):
            architecture = _architecture(spec, checkpoint)
            arguments = pretrained_arguments(spec, architecture)
            tokenizer = None if spec.is_synthetic else load_tokenizer(spec)
            call = _from_pretrained(spec, arguments, architecture.model_class)
            # The first time that CUDA is asked: an old driver, or a fabric that is not up (802), shows here.
            devices = _gpus(spec, arguments["device_map"])
            gpus = GpuMeter(devices)
        failing.callback(gpus.stop)
        state = _page_cache(spec, checkpoint, cache)
        with _explained(spec, checkpoint, listener):
            with HostMeter() as host:
                model, info, seconds = _timed(call, devices)
            gpu_memory = gpus.result()
        if checkpoint is None and (checkpoint := _locate(spec)) is not None:
            refuse_files(checkpoint)
        asked = accepted(spec, checkpoint, model, info["missing_keys"], tokenizer)
        inventory = take_inventory(model)
        refuse_wrong_shapes(spec, checkpoint, inventory)
        failing.pop_all()
    tensors = dict(chain(model.named_parameters(), model.named_buffers()))
    on_meta = [name for name, tensor in tensors.items() if tensor.is_meta]
    offloaded = brought_in(model, on_meta)
    report = LoadReport(
        seconds=seconds,
        cache=state,
        checkpoint_bytes=checkpoint.bytes if checkpoint else 0,
        checkpoint_files=checkpoint.names if checkpoint else (),
        resolved_revision=checkpoint.revision if checkpoint else None,
        memory=host.result(checkpoint.files if checkpoint else ()),
        gpus=gpu_memory,
        model_class=type(model).__name__,
        missing_keys=tuple(sorted(info["missing_keys"])),
        unexpected_keys=tuple(sorted(info["unexpected_keys"])),
        mismatched_keys=tuple(sorted(name for name, *_ in info["mismatched_keys"])),
        meta_parameters=tuple(name for name in on_meta if name not in offloaded),
        device_map=_placement(model, tensors),
        attention="+".join(attentions_of(model)),
        experts=getattr(model.config, "_experts_implementation", None) if architecture.has_fused_experts else None,
        expert_quantization=getattr(getattr(model, "hf_quantizer", None), "expert_quantization", None),
        warnings=(*listener.heard(), *_unread(checkpoint), *_left_out(checkpoint)),
        inventory=inventory,
        effective=effective(model, asked, tokenizer, spec),
        synthetic=spec.is_synthetic,
    )
    return LoadedModel(
        whole=model, model=asked, tokenizer=tokenizer, report=report, spec=spec, checkpoint=checkpoint, gpus=gpus
    )


def refuse_files(checkpoint: CheckpointFiles | None) -> None:
    """Raise LoadFailed for files that no load should begin with. Asked, too, before a folder is entered."""
    _refuse_unreadable(checkpoint)
    _refuse_adapter(checkpoint)


def accepted(
    spec: LoadSpec, checkpoint: CheckpointFiles | None, model: Any, missing: Collection[str], tokenizer: Any
) -> Any:
    """The part of a model that is asked, with the settings of generation.

    Raises LoadFailed for whatever is wrong with it that its weights need not be there for. It is asked, too, of a model
    without weights, before a folder is entered: a refusal that stood elsewhere would let folders be entered that no run
    accepts.
    """
    refuse_absent(checkpoint, missing)
    refuse_doubled(checkpoint)
    asked = _asked(model)
    if asked.can_generate():
        asked.generation_config = generation_config(spec, asked, tokenizer)
    if tokenizer is not None:
        refuse_unknown_tokens(spec, asked, tokenizer)
    return asked


def _asked(model: Any) -> Any:
    """The part of the model that reads text; the whole where it cannot be found, so that requests fail with the model's
    own error."""
    try:
        return text_part(model)[1]
    except NotFollowedError:
        return model


def _locate(spec: LoadSpec) -> CheckpointFiles | None:
    if spec.is_synthetic:
        return None
    return locate(spec.checkpoint, spec.revision, allow_pickle=spec.allow_pickle)


def _architecture(spec: LoadSpec, checkpoint: CheckpointFiles | None) -> Architecture:
    """The architecture of a load. Raises LoadFailed for settings of a folder's config.json of which no model can be
    made, in place of whatever a class of transformers raises for them."""
    try:
        return read_architecture(spec)
    except (LoadFailed, ImportError, MemoryError):
        raise
    except Exception as error:
        unknown = not recognise(Seen(text=f"{type(error).__name__}: {error}"))
        if checkpoint is None or spec.trust_remote_code or not unknown:
            raise
        raise no_model(error, spec, checkpoint.folder) from error


def _refuse_unreadable(checkpoint: CheckpointFiles | None) -> None:
    """Raise LoadFailed for a file of settings that holds something else."""
    names = () if checkpoint is None else READ_ALWAYS
    if checkpoint is not None and (fault := first_fault(checkpoint.folder / name for name in names)) is not None:
        raise LoadFailed(LoadFailure.DAMAGED, fault)


def _unread(checkpoint: CheckpointFiles | None) -> tuple[str, ...]:
    """Weights that lie in the folder and are not part of what was loaded."""
    if checkpoint is None or not checkpoint.unlisted:
        return ()
    names = ", ".join(checkpoint.unlisted[:5])
    return (f"{checkpoint.folder}: {len(checkpoint.unlisted)} files of weights are not in the index: {names}",)


def _refuse_adapter(checkpoint: CheckpointFiles | None) -> None:
    """Raise LoadFailed for an adapter beside whole weights where transformers would put it over them: of one folder,
    nodes with peft and nodes without would load two models."""
    if checkpoint is not None and (checkpoint.folder / ADAPTER).exists() and is_peft_available():
        raise LoadFailed(
            LoadFailure.REFUSED,
            f"{checkpoint.folder / ADAPTER}: an adapter lies beside the weights, and transformers would put it over "
            "them, for peft is installed; move the adapter out of the folder, or merge it (peft: merge_and_unload, "
            "then save_pretrained)",
        )


def _left_out(checkpoint: CheckpointFiles | None) -> tuple[str, ...]:
    if checkpoint is None or not (checkpoint.folder / ADAPTER).exists():
        return ()
    return (f"{checkpoint.folder / ADAPTER}: {LEFT_OUT}: peft is not installed",)


def _page_cache(spec: LoadSpec, checkpoint: CheckpointFiles | None, cache: str) -> CacheState:
    if spec.is_synthetic:
        return CacheState(asked=cache, resident=None, note="synthetic weights are read from no file")
    return prepare(checkpoint.files if checkpoint else (), cache)


@contextmanager
def _explained(spec: LoadSpec, checkpoint: CheckpointFiles | None, listener: Listener) -> Iterator[None]:
    """Turn whatever the software stack raises into a LoadFailed that names file and reason."""
    try:
        yield
    except LoadFailed:
        raise
    except Exception as error:
        raise explain(error, spec, checkpoint, listener.heard()) from error


def _from_pretrained(spec: LoadSpec, arguments: Mapping[str, Any], model_class: Any) -> Callable[[], Any]:
    """The call that loads, made ready so that nothing else is measured with it.

    An Auto class does nothing but look up the class of a configuration, which `model_class` is already. A class with
    a `from_pretrained` of its own is loaded by the one that it extends: Qwen2.5-Omni's fetches voices, and fails where
    it is asked what was missing in a checkpoint.
    """
    if spec.synthetic_config is not None:
        made_up = make_up(spec.synthetic_config, spec.auto_class, spec.architecture)
        # They are loaded to learn what a model takes, and not how long it takes.
        map_large_blocks()
        tensors = {"config": made_up.configuration, "state_dict": made_up.state_dict}
        return partial(_PLAIN.__func__, made_up.model_class, None, **arguments, **tensors)
    if getattr(model_class.from_pretrained, "__func__", None) is not _PLAIN.__func__:
        return partial(_PLAIN.__func__, model_class, spec.checkpoint, **arguments)
    return partial(getattr(transformers, spec.auto_class).from_pretrained, spec.checkpoint, **arguments)


def _timed(call: Callable[[], Any], devices: Sequence[torch.device]) -> tuple[Any, Mapping[str, Any], float]:
    """The model, transformers' loading info, and the seconds it took."""
    start = clock.monotonic()
    model, info = call()
    for device in devices:
        # Copies may still be under way, on each of them, and a model that is not there yet is not loaded.
        torch.cuda.synchronize(device)
    return model, info, clock.monotonic() - start


def _gpus(spec: LoadSpec, device_map: Any) -> list[torch.device]:
    """The GPUs that this load may touch: all of them where transformers is left to choose."""
    if isinstance(device_map, Mapping):
        places = [_device(place) for place in device_map.values()]
    elif device_map.startswith("cuda"):
        places = [device_map]
    else:
        places = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if spec.device != "cpu" else []
    devices = [torch.device(place) for place in places if place.startswith("cuda")]
    indexes = sorted({0 if device.index is None else device.index for device in devices})
    return [torch.device("cuda", index) for index in indexes]


def _device(place: Any) -> str:
    """A value of a device map as text; accelerate writes GPUs as bare indexes."""
    return f"cuda:{place}" if isinstance(place, int) else str(place)


def _placement(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Where the model lies: accelerate's map where it placed the model, else the devices of the tensors themselves."""
    dispatched = getattr(model, "hf_device_map", None)
    if dispatched:
        return {name: _device(place) for name, place in dispatched.items()}
    devices = {str(tensor.device) for tensor in tensors.values()}
    if len(devices) == 1:
        return {"": devices.pop()}
    return {name: str(tensor.device) for name, tensor in tensors.items()}
