"""Judges whether a loaded model's weights are the checkpoint's, and whether its packed layers compute with them.

The host has compared them; this module judges the result. A tensor of the architecture that was not compared, or in no
block, counts as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Final

from plimsoll.footprint.sizes import Footprint
from plimsoll.host.protocol import Content, ProductError, TensorContent
from plimsoll.judge.quantization import Discrepancy

MOST_EXCESS: Final = 2e-4
"""How far a code or scale may be off beyond its scheme's arithmetic, as a fraction of its block's largest weight.
Rounding in float32 gives at most 3e-5 (nested scales; otherwise 1e-6), a damaged code 1e-2 and more."""
MOST_PRODUCT_ERROR: Final = 0.01
"""Largest relative error of a layer's output, root mean square: rounding to bfloat16 gives .0028, a scale in bfloat16
.004."""
MOST_SCALE_ERROR: Final = 0.004
"""Largest deviation of the output's scale: rounding gives .0011, a step of 1/128 instead of 1/127 gives .008."""


def check_content(footprint: Footprint, content: Content) -> tuple[Discrepancy, ...]:
    """The tensors that differ from the checkpoint's, and those that were not compared."""
    compared = {tensor.name: tensor for tensor in content.tensors}
    wrong = [
        _wrong(part.name, f"it was never compared with the checkpoint ({part.reason or 'packed'})")
        for part in footprint.parameters
        if part.name not in compared
    ]
    wrong += [_wrong(tensor.name, fault) for tensor in content.tensors if (fault := _fault(tensor))]
    if not content.checked:
        wrong.insert(0, _wrong("the model", "nothing of it was compared with the checkpoint"))
    return tuple(wrong)


def _fault(tensor: TensorContent) -> str:
    if tensor.fault:
        return tensor.fault
    if (tensor.blocks and not tensor.checked) or tensor.excess is None:
        return f"none of its {tensor.blocks:,} blocks was compared"
    # Written so that a NaN is a fault.
    if not tensor.excess <= MOST_EXCESS:
        return (
            f"{tensor.where} is not what {tensor.scheme} gives for the checkpoint's weights: {tensor.excess:.2g} of "
            f"the largest weight away (at most {MOST_EXCESS:g})"
        )
    return ""


def check_products(content: Content) -> tuple[Discrepancy, ...]:
    """The kinds of packed layers whose results differ from those of their unpacked weights. A packed model without any
    such layer is wrong too."""
    if not content.products:
        return (_wrong("the model", "it has no packed layer that could be tried"),)
    return tuple(_wrong(product.name, text) for product in content.products if (text := _miscomputed(product)))


def _miscomputed(product: ProductError) -> str:
    if product.fault:
        return f"{product.kind} does not compute: {product.fault}"
    error, scale = product.error, product.scale
    if error is None or scale is None:
        return f"{product.kind} was not tried"
    if error <= MOST_PRODUCT_ERROR and abs(scale - 1) <= MOST_SCALE_ERROR:
        return ""
    return (
        f"{product.kind} computes something else than its unpacked weight: {100 * error:.2g} % off (at most "
        f"{100 * MOST_PRODUCT_ERROR:g} %), {scale:.4g} times as large"
    )


def worst_excess(content: Content) -> float | None:
    """The largest excess of all tensors; None where a tensor has none, or where nothing was compared."""
    return _largest([tensor.excess for tensor in content.tensors])


def worst_product(content: Content) -> float | None:
    """The largest error of all kinds of layers; None where one was not tried, or where there are none."""
    return _largest([product.error for product in content.products])


def _largest(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and isfinite(value)]
    return max(known) if known and len(known) == len(values) else None


def _wrong(name: str, text: str) -> Discrepancy:
    return Discrepancy(parameter=name, expected="the checkpoint's", found=text, explanation=f"{name}: {text}")
