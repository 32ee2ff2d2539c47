"""Results of operations that are remembered by the shapes of their operands: the same as torch's, with memory of their
own, and never in place of a view."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from plimsoll.host.server.predict import shapes as predict_shapes
from plimsoll.host.server.predict.shapes import is_composite, result_of

aten: Any = torch.ops.aten


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    known: dict[Any, Any] = {}
    monkeypatch.setattr(predict_shapes, "_KNOWN", known)
    return known


def meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def form(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


CALLS = [
    (aten.mul.Tensor, (meta(4, 1), meta(1, 8, dtype=torch.float32))),
    (aten.add.Tensor, (meta(4, 8).t(), 1)),
    (aten.add.Tensor, (meta(4, 8, dtype=torch.int64), 1.5)),
    (aten.bmm.default, (meta(2, 3, 4), meta(2, 4, 5))),
    (aten.cat.default, ([meta(2, 3), meta(4, 3)],)),
    (aten.sum.dim_IntList, (meta(2, 3), [1], True)),
]


@pytest.mark.parametrize(("func", "args"), CALLS, ids=[str(func) for func, _ in CALLS])
def test_what_is_remembered_is_what_torch_gives(
    func: Any, args: tuple[Any, ...], nothing_known: dict[Any, Any]
) -> None:
    with torch.device("meta"):
        expected = func(*args)
        first, second = result_of(func, args, {}), result_of(func, args, {})
    assert form(first) == form(second) == form(expected)
    assert len(nothing_known) == 1
    assert first.untyped_storage()._cdata != second.untyped_storage()._cdata
    assert second.untyped_storage().nbytes() == expected.untyped_storage().nbytes()


def test_operands_of_another_kind_are_another_operation() -> None:
    integers = meta(3, dtype=torch.int64)
    results = [
        result_of(aten.add.Tensor, (integers, 1), {}),
        result_of(aten.add.Tensor, (integers, 1.0), {}),
        result_of(aten.add.Tensor, (integers, True), {}),
        result_of(aten.add.Tensor, (meta(3, dtype=torch.float64), 1), {}),
        result_of(aten.add.Tensor, (meta(4, dtype=torch.int64), 1), {}),
    ]
    assert [result.dtype for result in results] == [
        torch.int64,
        torch.float32,
        torch.int64,
        torch.float64,
        torch.int64,
    ]
    assert results[-1].shape == (4,)
    asked = [result_of(aten._to_copy.default, (integers,), {"dtype": t}).dtype for t in (torch.int8, torch.float16)]
    assert asked == [torch.int8, torch.float16]


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten._unsafe_view.default, ([6],)),
        (aten.view.default, ([6],)),
        (aten.transpose.int, (0, 1)),
        (aten.slice.Tensor, (0, 0, 1)),
    ],
    ids=str,
)
def test_a_view_stays_one(func: Any, args: tuple[Any, ...], nothing_known: dict[Any, Any]) -> None:
    for _ in range(2):
        operand = meta(2, 3)
        assert result_of(func, (operand, *args), {}).untyped_storage()._cdata == operand.untyped_storage()._cdata
    assert not nothing_known


def test_what_is_written_to_stays_the_operand() -> None:
    for _ in range(2):
        operand = meta(2, 3)
        assert result_of(aten.add_.Tensor, (operand, 1), {}) is operand


def test_what_torch_takes_apart() -> None:
    assert is_composite(aten.matmul.default)
    assert not is_composite(aten.bmm.default)
