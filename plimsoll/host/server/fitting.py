"""Holds the files of a folder against its configuration before an entry is written: as a load would, without a weight.

transformers loads stand-ins on the meta device, which have the shapes of the tensors and no bytes. So names that it
changes, tensors that it puts together, tied weights and names that a class lets be missing are its own affair.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from safetensors import safe_open

from plimsoll.gate.need import tokenizer_packages
from plimsoll.host.describing import Fit, TryFolder
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.server.checkpoint import CheckpointFiles, file_of, locate, refuse_doubled
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.listening import Listener
from plimsoll.host.server.load_failures import explain
from plimsoll.host.server.load_options import configured
from plimsoll.host.server.loading import accepted, refuse_files
from plimsoll.host.server.predict.coverage import skeleton_of
from plimsoll.host.server.tokens import load_tokenizer
from plimsoll.hub.settings_files import SCHEME

_META: Final = torch.device("meta")
_FOUR_BITS: Final = ".quant_state.bitsandbytes__"
"""Stands between the name of a weight and the kind of its four bits, in the name of the tensor with its shape."""
_EIGHT_BITS: Final = (".SCB", ".weight_format")
"""What bitsandbytes stores beside a weight of eight bits, which keeps its shape."""
_UNLIKE: Final = ("stack expects each tensor to be equal size", "Sizes of tensors must match except in dimension")
"""What torch says of experts that cannot be put together, with bytes and without."""
_FROM_PRETRAINED: Final[Any] = transformers.PreTrainedModel.from_pretrained


def fit(request: TryFolder) -> Fit:
    """How the files of a folder go with its configuration. Whatever a try ends in that no load of the weights would is
    no fault: nothing is said then.

    Raises LoadFailed for a folder whose files of weights cannot be found.
    """
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    spec = request.spec
    checkpoint = locate(spec.checkpoint, spec.revision, allow_pickle=spec.allow_pickle)
    if checkpoint is None:
        return Fit()
    with Listener() as listener:
        try:
            model, info, packed = _tried(spec, checkpoint)
        except Exception as error:  # noqa: BLE001  an operation that works with bytes alone raises what it likes
            fault = str(explain(error, spec, checkpoint, listener.heard()))
            is_certain = any(words in fault for words in _UNLIKE)
            return Fit(
                fault=fault if is_certain else "",
                misshapen=int(is_certain),
                refusal=_refusal(spec, checkpoint),
            )
    wrong = sorted(_misshapen(info["mismatched_keys"], packed=packed))
    return Fit(
        fault=_told(checkpoint, *wrong[0]) if wrong else "",
        misshapen=len(wrong),
        # What bitsandbytes stores beside weights has names that no class knows.
        missing=() if packed else tuple(sorted(info["missing_keys"])),
        unexpected=() if packed else tuple(sorted(info["unexpected_keys"])),
        refusal=_refusal(spec, checkpoint, model, info["missing_keys"]),
    )


def _tried(spec: LoadSpec, checkpoint: CheckpointFiles) -> tuple[Any, Mapping[str, Any], bool]:
    """The model of the stand-ins, what transformers tells of its load, and whether the weights are packed."""
    config = configured(spec)
    packed = getattr(config, SCHEME, None) is not None
    for part in (config, config.get_text_config()):
        if hasattr(part, SCHEME):
            delattr(part, SCHEME)
    model_class = type(skeleton_of(config, spec.auto_class, spec.dtype))
    model, info = _FROM_PRETRAINED.__func__(
        model_class,
        None,
        config=config,
        state_dict=dict(_stand_ins(checkpoint)),
        dtype=spec.dtype,
        device_map={"": "meta"},
        attn_implementation=spec.attention,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    return model, info, packed


def _stand_ins(checkpoint: CheckpointFiles) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors without bytes, in the shapes that those of the files have, or had before they were packed."""
    shapes: dict[str, tuple[int, ...]] = {}
    unpacked: dict[str, tuple[int, ...]] = {}
    for file in checkpoint.files:
        with safe_open(file, framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118  a shard is no mapping
                shapes[name] = tuple(shard.get_slice(name).get_shape())
                if _FOUR_BITS in name:
                    state = json.loads(bytes(shard.get_tensor(name).tolist()))
                    unpacked[name.partition(_FOUR_BITS)[0]] = tuple(state["shape"])
    for name, shape in (shapes | unpacked).items():
        of_four_bits = any(name.startswith(f"{weight}.") for weight in _ancestors(name) if weight in unpacked)
        if not of_four_bits and not name.endswith(_EIGHT_BITS):
            yield name, torch.empty(shape, dtype=torch.bfloat16, device=_META)


def _ancestors(name: str) -> Iterator[str]:
    """The names of what a name may lie below: `a.b` and `a` of `a.b.c`."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _misshapen(
    found: set[tuple[str, torch.Size, torch.Size]], *, packed: bool
) -> Iterator[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """The tensors of another shape: name, shape in the files, shape by the configuration."""
    for name, stored, wanted in found:
        # A layer that keeps its matrix turned (Conv1D) is packed as others are.
        if not (packed and sorted(stored) == sorted(wanted)):
            yield name, tuple(stored), tuple(wanted)


def _told(checkpoint: CheckpointFiles, name: str, stored: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    file = file_of(checkpoint, name)
    called = name if file is not None else f"{name}, which transformers makes of its tensors,"
    has, asked = (", ".join(map(str, shape)) for shape in (stored, wanted))
    return f"{file or checkpoint.folder}: {called} has shape ({has}), and the configuration asks for ({asked})"


def _refusal(spec: LoadSpec, checkpoint: CheckpointFiles, model: Any = None, missing: Collection[str] = ()) -> str:
    """Why a load would refuse the folder whatever its weights are, by the refusals of a load itself; empty where it
    would not, and where that is no fault of the folder. `model` has stand-ins for weights; None where none was made."""
    try:
        refuse_files(checkpoint)
        tokenizer = _tokenizer(spec)
        if model is None:
            refuse_doubled(checkpoint)
        else:
            _read_generation(spec, model)
            accepted(spec, checkpoint, model, missing, tokenizer)
    except LoadFailed as failure:
        of_tokenizer = failure.kind is LoadFailure.TOKENIZER
        return "" if of_tokenizer and _is_excused(spec, failure) else str(failure)
    except Exception:  # noqa: BLE001  what is no LoadFailed may be this environment's
        return ""
    return ""


def _tokenizer(spec: LoadSpec) -> Any:
    """The tokenizer; None where it cannot be loaded here, and that is no fault of the folder."""
    try:
        return load_tokenizer(spec)
    except LoadFailed as failure:
        if _is_excused(spec, failure):
            return None
        raise


def _is_excused(spec: LoadSpec, failure: LoadFailed) -> bool:
    """True where a tokenizer that failed may do in a run: packages are missing here, its path is not UTF-8, or an entry
    could allow code of its own."""
    missing = any(find_spec(name) is None for name in tokenizer_packages(Path(spec.checkpoint)))
    return missing or isinstance(failure.__cause__, ImportError | UnicodeEncodeError) or _brings_code(spec)


def _read_generation(spec: LoadSpec, model: Any) -> None:
    """Give a model the folder's settings of generation, as a load does: one that is made of tensors alone has those of
    its configuration."""
    if model.can_generate():
        nothing = dict.fromkeys(("cache_dir", "proxies", "token", "revision"))
        model.adjust_generation_fn(
            generation_config=None,
            from_auto_class=True,
            from_pipeline=None,
            pretrained_model_name_or_path=spec.checkpoint,
            force_download=False,
            local_files_only=True,
            subfolder="",
            trust_remote_code=False,
            **nothing,
        )


def _brings_code(spec: LoadSpec) -> bool:
    file = Path(spec.checkpoint, "tokenizer_config.json")
    return file.is_file() and "auto_map" in json.loads(file.read_text("utf-8"))
