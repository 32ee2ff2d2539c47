"""What the comparison with a checkpoint comes to: no proof is no content."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from plimsoll.footprint.sizes import ExpectedParameter, Footprint
from plimsoll.host.protocol import Content, ProductError, TensorContent
from plimsoll.judge.content import check_content, check_products, worst_excess, worst_product

PART = ExpectedParameter(
    name="q.weight",
    shape=(64, 64),
    quantized=True,
    data_bytes=2048,
    statistics_bytes=320,
    storage_dtype="uint8",
    reason="",
)
FOOTPRINT = Footprint(parameters=(PART,), buffers=())
TENSOR = TensorContent(name="q.weight", scheme="nf4", blocks=64, checked=64, excess=1e-6, where="block 3, a code")
PRODUCT = ProductError(name="q.weight", kind="Linear4bit 64 x 64 nf4", layers=1, error=0.002, scale=1.0005)
SOUND = Content(tensors=(TENSOR,), products=(PRODUCT,), seconds=0.1)


def test_what_was_compared_and_is_right_passes() -> None:
    assert check_content(FOOTPRINT, SOUND) == ()
    assert check_products(SOUND) == ()
    assert (worst_excess(SOUND), worst_product(SOUND)) == (1e-6, 0.002)


def test_what_nobody_compared_is_wrong() -> None:
    nothing = replace(SOUND, tensors=())
    assert [str(one) for one in check_content(FOOTPRINT, nothing)] == [
        "the model: nothing of it was compared with the checkpoint",
        "q.weight: it was never compared with the checkpoint (packed)",
    ]
    assert worst_excess(nothing) is None
    unchecked = replace(SOUND, tensors=(replace(TENSOR, checked=0),))
    assert "none of its 64 blocks was compared" in str(check_content(FOOTPRINT, unchecked)[1])


@pytest.mark.parametrize("excess", [3e-4, math.inf, math.nan])
def test_an_excess_says_where_it_is(excess: float) -> None:
    (wrong,) = check_content(FOOTPRINT, replace(SOUND, tensors=(replace(TENSOR, excess=excess),)))
    assert str(wrong).startswith("q.weight: block 3, a code is not what nf4 gives for the checkpoint's weights: ")


def test_a_fault_is_said_as_it_is() -> None:
    missing = replace(TENSOR, excess=None, fault="the checkpoint has no tensor for it")
    content = replace(SOUND, tensors=(TENSOR, missing))
    assert [str(one) for one in check_content(FOOTPRINT, content)] == ["q.weight: the checkpoint has no tensor for it"]
    assert worst_excess(content) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"error": 0.02}, "computes something else than its unpacked weight: 2 % off (at most 1 %), 1 times as large"),
        ({"scale": 127 / 128}, "0.9922 times as large"),
        ({"error": math.nan}, "computes something else"),
        ({"error": None, "scale": None}, "was not tried"),
        (
            {"error": None, "scale": None, "fault": "RuntimeError: no kernel"},
            "does not compute: RuntimeError: no kernel",
        ),
    ],
)
def test_a_layer_that_computes_something_else_is_named(changes: dict[str, object], said: str) -> None:
    (wrong,) = check_products(replace(SOUND, products=(replace(PRODUCT, **changes),)))  # type: ignore[arg-type]
    assert said in str(wrong)


def test_a_packed_model_without_a_packed_layer_is_wrong() -> None:
    none = replace(SOUND, products=())
    assert [str(one) for one in check_products(none)] == ["the model: it has no packed layer that could be tried"]
    assert worst_product(none) is None
