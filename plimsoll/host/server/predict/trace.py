"""Traces the memory of forward passes on the meta device, through the model's own code.

Nothing is computed there, but every tensor has a shape and a life: a dispatch mode sees each one made and freed, as
torch's allocator would. So the peak of an architecture that nobody has written a formula for is known as well, with its
own way to make masks, rotate positions and route experts.

What kernels of a GPU do within one operation cannot be seen so, and is added: fused attention keeps a log-sum-exp a row
and turns a boolean mask into a float one, and bitsandbytes unpacks weights (4 bit) or packs activations (int8).
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.packing import BLOCK
from plimsoll.host.server.predict.coverage import (
    Coverage,
    is_fused_expert,
    logical_shape,
    output_head,
    owned_parameters,
)
from plimsoll.host.server.predict.shapes import is_composite, name_of, result_of

_FLOAT32: Final = 4
_INT32: Final = 4
_WHOLE: Final = ("aten.linear", "aten.scaled_dot_product_attention")
"""Composite operations that are one kernel on a GPU; all others are seen as the parts that they consist of."""
_PRODUCTS: Final = ("aten.linear", "aten.addmm", "aten.mm", "aten.matmul")
_FUSED_ATTENTION: Final = "aten.scaled_dot_product_attention"
_SUM: Final = "aten.add"
_ENGINE: Final = "_engine_run_backward"
"""torch's function from which the engine calls."""
_BETWEEN: Final = ("predict/trace.py", "torch/_compile.py", "torch/_dynamo/eval_frame.py")
"""Files whose functions stand between a mode and who calls it."""


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product with a weight that a scheme may pack: numbers of elements, and rows of the input."""

    rows: int
    entered: int
    weight: int
    left: int


@dataclass(frozen=True, slots=True)
class Experts:
    """Expert weights of one module, in elements: all of them, the largest tensor, and one expert's part of that."""

    all: int
    largest: int
    one: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: bytes in use before and after it, what its kernel takes beside that, and the expert weights that
    are unpacked meanwhile."""

    operation: str
    before: int
    after: int
    within: int = 0
    product: Product | None = None
    experts: Experts | None = None
    by_engine: bool = False
    """True for a sum that the backward pass makes of two gradients of one tensor, and no code of a model asks for."""

    def bytes(self, quantization: Quantization, itemsize: int, experts_covered: bool) -> int:
        """Bytes in use at the step's highest point, with the weights packed by a scheme; `itemsize` is that of the
        dtype computed in."""
        if not quantization.is_quantized:
            return self.after + self.within
        unpacked = 0
        if self.experts is not None and experts_covered:
            unpacked = self.experts.all * itemsize
            unpacked += unpacking_experts(self.experts, quantization) if self.operation == UNPACKING else 0
        if self.product is None:
            return unpacked + self.after + self.within
        if quantization is Quantization.INT8:
            return unpacked + self.before + int8_product(self.product, itemsize)
        return unpacked + self.after + unpacking(self.product.weight, itemsize, quantization)


UNPACKING: Final = "unpacking experts"
"""The operation of the step at which a layer's experts are unpacked."""


def unpacking_experts(experts: Experts, quantization: Quantization) -> int:
    """Bytes that unpacking takes beside the unpacked weights: int8 goes expert by expert through float32, times the
    scales of its rows, and times 1/127 in a second copy."""
    if quantization is Quantization.INT8:
        return 2 * experts.one * _FLOAT32
    return unpacking(experts.largest, 0, quantization)


def unpacking(weight: int, itemsize: int, quantization: Quantization) -> int:
    """Bytes that a 4-bit weight of so many elements takes while it is unpacked for a product: itself in the dtype
    computed in, and its absmax in float32, before and after the offset is added, where that is packed too."""
    nested = 2 * weight // BLOCK * _FLOAT32 if quantization is Quantization.NF4_DQ else 0
    return weight * itemsize + nested


def int8_product(product: Product, itemsize: int) -> int:
    """The most that LLM.int8's product takes at once on a GPU, its result included (bitsandbytes 0.50).

    First the input is packed: a float16 copy, its absolute values and a mask of outliers; then the product is summed
    in int32, scaled to float16, and brought to the dtype computed in.
    """
    scales, packed = product.rows * _FLOAT32, product.entered
    packing = scales + packed + (2 + 2 + 1) * product.entered
    multiplying = scales + packed + (_INT32 + 2 + itemsize) * product.left
    return max(packing, multiplying)


class TooManyStepsError(Exception):
    """A longer prompt takes more steps than a shorter one: the model goes through it token by token."""


@dataclass(slots=True)
class Pass:
    """The steps of one forward pass; those from `head` on belong to the output head."""

    steps: list[Operation] = field(default_factory=list)
    head: int | None = None

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations of the steps."""
        return tuple(step.operation for step in self.steps)


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch types its modes in part
    """Sees every tensor that is made and freed while it is active; the model's own are not counted.

    `part` is what is run of `model`; which weights are packed is a question to the whole.
    """

    def __init__(self, model: nn.Module, part: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._products = _packed_weights(model)
        weight = getattr(output_head(part), "weight", None)
        self._head = key_of(weight) if isinstance(weight, torch.Tensor) else None
        self._model = {key_of(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self._live: dict[int, int] = {}
        self._born: dict[int, int] = {}
        self._in_use = 0
        self._experts: Experts | None = None
        self._current = Pass()
        self.limit: int | None = None
        """The most steps that a pass may take; a loop over tokens would take forever."""
        self._hooks = [hook for module, held in _expert_modules(part) for hook in self._while_unpacked(module, held)]

    def also(self, model: nn.Module) -> None:
        """Take another model, whose weights may be packed, for one that was there before, as the first."""
        self._products |= _packed_weights(model)
        self.is_there(model)

    def is_there(self, module: nn.Module) -> None:
        """Take what a module holds for what was there before."""
        self._model |= {key_of(tensor) for tensor in (*module.parameters(), *module.buffers())}

    @property
    def in_use(self) -> int:
        """Bytes in use now."""
        return self._in_use

    def begin(self) -> Pass:
        """Write down what follows as a new pass."""
        self._current = Pass()
        self._born.clear()
        return self._current

    def born(self, tensor: torch.Tensor) -> int | None:
        """The step of the current pass that made this tensor's memory; None where it is older, or the model's."""
        return self._born.get(key_of(tensor))

    def close(self) -> None:
        """Let the model be as it was."""
        for hook in self._hooks:
            hook.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """torch's hook: run the operation, and write down what it made."""
        kwargs = kwargs or {}
        name = name_of(func)
        if name not in _WHOLE and is_composite(func):
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        if self.limit is not None and len(self._current.steps) > self.limit:
            raise TooManyStepsError
        before = self._in_use
        out = attended(args[0], args[2]) if name == _FUSED_ATTENTION else result_of(func, args, kwargs)
        for made in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(made, torch.Tensor):
                self._count(made)
        tensors = [argument for argument in args if isinstance(argument, torch.Tensor)]
        product = self._product(tensors, out) if name in _PRODUCTS else None
        if name in _PRODUCTS and self._current.head is None and self._head in {key_of(t) for t in tensors}:
            self._current.head = len(self._current.steps)
        within = _within_attention(args, kwargs, out) if name == _FUSED_ATTENTION else 0
        by_engine = name == _SUM and _is_asked_by_engine()
        self._current.steps.append(Operation(name, before, self._in_use, within, product, self._experts, by_engine))
        return out

    def _product(self, tensors: Sequence[torch.Tensor], out: torch.Tensor) -> Product | None:
        weight = next((tensor for tensor in tensors if key_of(tensor) in self._products), None)
        if weight is None:
            return None
        width, depth = self._products[key_of(weight)]
        rows = out.numel() // width
        return Product(rows=rows, entered=rows * depth, weight=width * depth, left=out.numel())

    def _count(self, tensor: torch.Tensor) -> None:
        key = key_of(tensor)
        if key in self._live or key in self._model:
            return
        storage = tensor.untyped_storage()
        self._live[key] = storage.nbytes()
        self._born[key] = len(self._current.steps)
        self._in_use += storage.nbytes()
        weakref.finalize(storage, self._free, key).atexit = False

    def _free(self, key: int) -> None:
        self._in_use -= self._live.pop(key)

    def _while_unpacked(self, module: nn.Module, experts: Experts) -> Iterator[RemovableHandle]:
        """All expert tensors of a layer are unpacked when its experts begin, and let go when they are done."""

        def start(*_: object) -> None:
            self._experts = experts
            self._current.steps.append(Operation(UNPACKING, self._in_use, self._in_use, experts=experts))

        def end(*_: object) -> None:
            self._experts = None

        yield module.register_forward_pre_hook(start)
        yield module.register_forward_hook(end)


def _is_asked_by_engine() -> bool:
    """True where autograd's engine called, and not a layer that is computed again in the backward pass."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.endswith(_BETWEEN):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == _ENGINE


def key_of(tensor: torch.Tensor) -> int:
    """The identity of a tensor's memory, which views share; the data pointer is 0 for all on the meta device."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001  torch offers no other


def _packed_weights(model: nn.Module) -> dict[int, tuple[int, int]]:
    """Rows and columns of each linear weight that a scheme would pack, by the identity of its memory."""
    coverage = Coverage(model)
    packed = {}
    for name, module, parameter in owned_parameters(model):
        if parameter.dim() == 2 and not coverage.reason(name, module, parameter):
            rows, columns = logical_shape(module, parameter)
            packed[key_of(parameter)] = (rows, columns)
    return packed


def _expert_modules(model: nn.Module) -> Iterator[tuple[nn.Module, Experts]]:
    """Each module that holds fused experts."""
    for module in model.modules():
        tensors = [p for p in module.parameters(recurse=False) if is_fused_expert(module, p)]
        if tensors:
            largest = max(tensors, key=torch.Tensor.numel)
            held = Experts(sum(t.numel() for t in tensors), largest.numel(), largest.numel() // largest.shape[0])
            yield module, held


def attended(query: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The result of attention in one kernel, laid out as the query is; on the meta device torch would go step by step.

    So do the flash kernels of a GPU and of a CPU (torch 2.13). Where heads come first, as after Phi-3's rotation, the
    next layer makes a copy with heads last.
    """
    if query.shape[-1] == value.shape[-1]:
        return torch.empty_like(query)
    batch, heads, length, _ = query.shape
    return query.new_empty(batch, length, heads, value.shape[-1]).transpose(1, 2)


def _within_attention(args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor) -> int:
    """Bytes that fused attention keeps for itself: a float32 a query and head, and a boolean mask made a float one."""
    query = args[0]
    mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
    converted = mask.numel() * out.dtype.itemsize if mask is not None and mask.dtype == torch.bool else 0
    return int(query.numel() // query.shape[-1] * _FLOAT32 + converted)
