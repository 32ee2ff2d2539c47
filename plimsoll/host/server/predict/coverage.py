"""Finds the weights that a quantization scheme covers, from the architecture alone.

The model is built on the meta device, where a weight has a shape and no bytes, and each parameter is asked what kind
of module holds it. No family is known by name: what tells is that a weight belongs to a linear layer, to the output
head, or to a mixture's fused experts. This is the expectation that a loaded model is held against, so nothing in here
asks the quantizer what it would do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers.pytorch_utils import Conv1D

from plimsoll.errors import PlimsollError
from plimsoll.host.server.predict.config import configuration_of


def build_skeleton(config: Mapping[str, Any], auto_class: str, architecture: str, dtype: str) -> nn.Module:
    """The model of a catalogue entry on the meta device: every shape, no bytes, no network.

    `config` holds the configuration's keyword arguments with `model_type`; `dtype` is a torch dtype name. Raises
    PlimsollError where transformers knows no such model type or class, refuses the configuration or would not read one
    of its keys, or builds another class than `architecture`.
    """
    model_type = config.get("model_type")
    try:
        model = skeleton_of(configuration_of(config, architecture), auto_class, dtype)
    except PlimsollError:
        raise
    except Exception as error:  # constructors raise anything for values that they do not expect
        raise PlimsollError(
            f"transformers {transformers.__version__} cannot build {architecture} "
            f"(model_type {model_type!r}) with {auto_class}: {_said(error)}"
        ) from error
    if type(model).__name__ != architecture:
        raise PlimsollError(
            f"{auto_class} builds {type(model).__name__} from model_type {model_type!r}, and the entry says "
            f"{architecture}: correct one of the two"
        )
    return model


def _said(error: Exception) -> str:
    """An error in one line, with its kind where its text alone may say too little, as that of a KeyError."""
    text = " ".join(str(error).split())
    if text and isinstance(error, (ValueError, TypeError, AttributeError, StrictDataclassError)):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def skeleton_of(configuration: Any, auto_class: str, dtype: str, *, trust_remote_code: bool = False) -> nn.Module:
    """A transformers configuration as a model on the meta device, its tied weights tied.

    Raises AttributeError for a class that transformers does not have, and what the model's own constructor raises.
    """
    builder = getattr(transformers, auto_class)
    target = getattr(torch, dtype)
    with torch.device("meta"):
        if hasattr(builder, "from_config"):
            model: nn.Module = builder.from_config(configuration, dtype=target, trust_remote_code=trust_remote_code)
        else:
            # A model class has no public constructor that takes a dtype.
            model = builder._from_config(configuration, dtype=target)  # noqa: SLF001
    return model


def is_linear(module: nn.Module) -> bool:
    """True for every layer that multiplies with a matrix of its own: Linear with all its subclasses, and Conv1D.

    bitsandbytes replaces `nn.Linear` itself and no subclass (Falcon's, for one). That is what a loaded model is judged
    for, so it is no part of this expectation.
    """
    return isinstance(module, nn.Linear | Conv1D)


def is_fused_expert(module: nn.Module, parameter: nn.Parameter) -> bool:
    """True for a tensor that holds the matrices of several experts at once, experts first.

    Convolutions, learnt queries and per-head matrices are 3-D too. What tells experts from them is that the owning
    module says how many experts it has, or calls itself experts. In two dimensions the experts' rows stand one under
    the other, so there are several to an expert; a router has one, and so has a bias.
    """
    if not parameter.is_floating_point() or type(module).__module__.startswith("torch."):
        return False
    experts = experts_of(module)
    if parameter.dim() > 2:
        return experts is not None or "experts" in type(module).__name__.lower()
    if parameter.dim() != 2 or experts is None or is_linear(module) or _is_router(module):
        return False
    rows = parameter.shape[0]
    return rows > experts > 1 and rows % experts == 0


def experts_of(module: nn.Module) -> int | None:
    """How many experts a module says it has."""
    names = ("num_experts", "moe_num_experts", "num_local_experts", "n_experts", "n_routed_experts")
    counts = (getattr(module, name, None) for name in names)
    return next((count for count in counts if isinstance(count, int)), None)


def _is_router(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return "router" in name or name.endswith(("gate", "gating"))


def is_packable(module: nn.Module, parameter: nn.Parameter) -> bool:
    """True for a covered weight that the software stack, with the suite's quantizers, has a packed form for. A plan
    says what is not; a load that leaves it in floats is rejected all the same."""
    if is_fused_expert(module, parameter):
        return parameter.dim() == 3
    return type(module) is nn.Linear or isinstance(module, Conv1D)


def fused_experts(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Name and shape of every fused expert tensor of a model."""
    return {
        name: tuple(parameter.shape)
        for name, module, parameter in owned_parameters(model)
        if is_fused_expert(module, parameter)
    }


def packable_experts(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Of these the ones that the suite's quantizers pack: three dimensions, experts first."""
    return {name: shape for name, shape in fused_experts(model).items() if len(shape) == 3}


def owned_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """Every parameter once, by its first name, with the module that holds it."""
    owners = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        yield name, owners[name.rpartition(".")[0]], parameter


def logical_shape(module: nn.Module, parameter: nn.Parameter) -> tuple[int, ...]:
    """The shape after packing is undone: a Conv1D keeps its matrix transposed, and is packed as a linear layer's."""
    shape = tuple(parameter.shape)
    return shape[::-1] if isinstance(module, Conv1D) and len(shape) == 2 else shape


class Coverage:
    """Why each parameter of a model stays in floats under a scheme; an empty reason means that it is packed.

    `skip` are the modules that an entry's own `llm_int8_skip_modules` names, None where it has no such list. Such a
    list replaces the default, so that the output head is packed unless the list names it.
    """

    def __init__(self, model: nn.Module, *, experts_covered: bool = True, skip: Sequence[str] | None = None) -> None:
        self._experts_covered = experts_covered
        self._tied = _tied_modules(model)
        kept = getattr(model, "_keep_in_fp32_modules", None) or ()
        self._patterns = dict.fromkeys(skip or (), "named by the entry's llm_int8_skip_modules")
        self._patterns |= dict.fromkeys(kept, "kept in float32 by the architecture")
        self._left = _left_by_default(model, self._tied) if skip is None else {}
        self._mixtures = {name.rpartition(".")[0].rpartition(".")[0] for name in fused_experts(model)}

    def reason(self, name: str, module: nn.Module, parameter: nn.Parameter) -> str:
        """Why one parameter is not packed, in the words of a report; empty where it is."""
        owner, _, own_name = name.rpartition(".")
        if is_fused_expert(module, parameter):
            if not self._experts_covered:
                return "fused experts, which bitsandbytes leaves alone"
            return self._named(name)
        if isinstance(module, nn.Embedding):
            return "embedding, and output head by a tie" if owner in self._tied else "embedding"
        if "bias" in own_name:
            return "bias"
        if is_linear(module):
            if _is_router(module):
                return "router"
            if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
                return "read by torch's own attention, which has no packed form"
            return self._left_out(owner) or self._named(owner)
        return self._other_reason(name, module, parameter)

    def _left_out(self, owner: str) -> str:
        """Why the architecture alone leaves a layer in floats: it is one of those, or has their name in a part."""
        return next((reason for key, reason in self._left.items() if f".{owner}.".endswith(f".{key}.")), "")

    def _named(self, owner: str) -> str:
        return next((reason for key, reason in self._patterns.items() if _matches(key, owner)), "")

    def packs_weight_of(self, name: str, module: nn.Module) -> bool:
        """True for a linear layer whose weight is packed."""
        weights = dict(module.named_parameters(recurse=False))
        return is_linear(module) and not self.reason(f"{name}.weight", module, weights["weight"])

    def _other_reason(self, name: str, module: nn.Module, parameter: nn.Parameter) -> str:
        parent = name.rpartition(".")[0].rpartition(".")[0]
        if parameter.dim() == 2 and parent in self._mixtures:
            return "router"
        kind = type(module).__name__.lower()
        if "norm" in kind:
            return "norm"
        return "convolution" if "conv" in kind else "not a linear weight"


def packed_layers(model: nn.Module, skip: Sequence[str] | None) -> list[nn.Module]:
    """The linear layers whose weights a scheme packs; `skip` as for `Coverage`."""
    coverage = Coverage(model, skip=skip)
    return [
        module for name, module in model.named_modules() if is_linear(module) and coverage.packs_weight_of(name, module)
    ]


def _left_by_default(model: nn.Module, tied: frozenset[str]) -> dict[str, str]:
    """The layers that stay in floats where no list says otherwise, by full name, each with the reason: they make
    logits, where rounding shows most."""
    head = output_head(model)
    heads = {name: "output head" for name, module in model.named_modules() if module is head}
    # A tied head is the last parameter too, but only where duplicates are listed.
    last = list(model.named_parameters(remove_duplicate=False))[-1][0].removesuffix(".weight")
    return (
        heads
        | dict.fromkeys(tied - heads.keys(), "tied to another weight")
        | ({last: "last layer"} if last not in heads and last not in tied else {})
    )


def _matches(key: str, module_name: str) -> bool:
    """transformers' rule for its skip lists: a key is a path from the root, a pattern, or the end of a name."""
    return module_name.endswith(key) or re.match(rf"(?:{key})(?:(?<=\.)|(?=\.|$))", module_name) is not None


def output_head(model: nn.Module) -> nn.Module | None:
    """The layer that gives a model's logits; None where it has none, or does not say which."""
    try:
        head = model.get_output_embeddings()  # type: ignore[operator]  # nn.Module does not declare it
    except (AttributeError, NotImplementedError):
        return None
    return head if isinstance(head, nn.Module) else None


def _tied_modules(model: nn.Module) -> frozenset[str]:
    """The modules at both ends of every tie: once tied, only the first is among the parameters."""
    ties: Mapping[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    return frozenset(name.removesuffix(".weight") for name in (*ties.keys(), *ties.values()))
