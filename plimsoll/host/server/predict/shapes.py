"""Caches the results of operations on the meta device, for operands of the same shapes.

torch works out most shapes in Python, some hundred microseconds an operation. Layers of a model repeat them, and so do
models that are alike, so of twenty operations of a plan nineteen are known: following passes takes half the time.

Only what makes new memory is remembered. A result that shares memory with an operand has to be made each time, or it
would be counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import torch
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves

_Made = tuple[torch.Size, tuple[int, ...], torch.dtype]

_KNOWN: Final[dict[tuple[Any, ...], _Made]] = {}
"""Results by operation and operands. Few thousand for all models of the catalogue."""
_GROUPED: Final = torch.ops.aten._grouped_mm.default  # noqa: SLF001  transformers calls it too
"""The product of a mixture's experts. On the meta device torch refuses all but bfloat16, which its kernels do not."""


def result_of(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What `func(*args, **kwargs)` gives, for operands on the meta device."""
    if func == _GROUPED and args[0].dtype != torch.bfloat16:
        return _as_if_bfloat16(func, args, kwargs).to(args[0].dtype)
    if not _makes_one_tensor(func):
        return func(*args, **kwargs)
    key = (func, _form(args), tuple((name, _form(value)) for name, value in kwargs.items()))
    if key in _KNOWN:
        shape, strides, dtype = _KNOWN[key]
        return torch.empty_strided(shape, strides, dtype=dtype, device="meta")
    made = func(*args, **kwargs)
    if made.is_meta and not _shares_memory(made, (args, kwargs)):
        form = (made.shape, made.stride(), made.dtype)
        again = torch.empty_strided(form[0], form[1], dtype=form[2], device="meta")
        if again.untyped_storage().nbytes() == made.untyped_storage().nbytes():
            _KNOWN[key] = form
    return made


def _as_if_bfloat16(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    floats = (each if isinstance(each, torch.Tensor) and each.is_floating_point() else None for each in args)
    alike = [
        each if plain is None else torch.empty_strided(plain.shape, plain.stride(), dtype=torch.bfloat16, device="meta")
        for each, plain in zip(args, floats, strict=True)
    ]
    made: torch.Tensor = result_of(func, alike, kwargs)
    return made


@cache
def name_of(func: OpOverload) -> str:
    """The operation without its overload: `aten.add` of `aten.add.Tensor`."""
    return str(func).rpartition(".")[0]


@cache
def is_composite(func: OpOverload) -> bool:
    """True for an operation that torch takes apart into others on a real device. Some it takes apart only where there
    is no kernel for them, as on the meta device (`silu_backward`); where a processor has one, a GPU has one too."""
    name = func.name()  # type: ignore[no-untyped-call]
    has = torch._C._dispatch_has_kernel_for_dispatch_key  # noqa: SLF001  torch offers no other
    return has(name, "CompositeImplicitAutograd") and not has(name, "CPU")


@cache
def _makes_one_tensor(func: OpOverload) -> bool:
    """True where the declaration says so: one tensor, no view of an operand, and no operand written to."""
    schema = func._schema  # noqa: SLF001  torch offers no other
    return (
        len(schema.returns) == 1
        and str(schema.returns[0].type) == "Tensor"
        and not any(part.alias_info for part in (*schema.returns, *schema.arguments))
    )


def _shares_memory(made: torch.Tensor, operands: Any) -> bool:
    """Some operations declare no view and give one (`_unsafe_view`, or a conversion to what an operand is already)."""
    mine = made.untyped_storage()._cdata  # noqa: SLF001
    tensors = (leaf for leaf in tree_leaves(operands) if isinstance(leaf, torch.Tensor))
    return any(tensor.untyped_storage()._cdata == mine for tensor in tensors)  # noqa: SLF001


def _form(value: Any) -> Any:
    """All of an operand that a result's shape can depend on. Numbers keep their type: 1 and 1.0 are equal in Python,
    and give results of other dtypes."""
    if isinstance(value, torch.Tensor):
        return (value.shape, value.stride(), value.dtype, value.device)
    if isinstance(value, (list, tuple)):
        return tuple(map(_form, value))
    return (type(value), value)
