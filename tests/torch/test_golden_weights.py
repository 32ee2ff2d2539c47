"""The host makes the weights of the golden models in torch, to the bit as numpy makes them."""

from __future__ import annotations

import pytest
import torch

from benchmarks.golden import weights as in_numpy
from plimsoll.catalogue.golden import GoldenTensor, read_golden
from plimsoll.host.server.golden import make_tensor

GOLDEN = read_golden()


@pytest.mark.parametrize("family", GOLDEN.models)
def test_torch_and_numpy_make_the_same_weights(family: str) -> None:
    for tensor in GOLDEN.models[family].tensors:
        expected = torch.from_numpy(in_numpy.make_tensor(family, tensor))
        assert torch.equal(make_tensor(family, tensor).double(), expected), tensor.name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_hold_every_value(dtype: torch.dtype) -> None:
    for tensor in GOLDEN.models["qwen"].tensors:
        values = make_tensor("qwen", tensor)
        assert torch.equal(values.to(dtype).float(), values), tensor.name


def test_values_depend_on_family_and_name() -> None:
    tensor = GoldenTensor(name="a", shape=(4, 8), exponent=7)
    other = GoldenTensor(name="b", shape=(4, 8), exponent=7)
    assert not torch.equal(make_tensor("llama", tensor), make_tensor("llama", other))
    assert not torch.equal(make_tensor("llama", tensor), make_tensor("phi", tensor))


def test_rows_are_of_unlike_size() -> None:
    values = make_tensor("llama", GoldenTensor(name="a", shape=(64, 64), exponent=7))
    largest = values.abs().amax(dim=1)
    assert largest.max() > 3 * largest.min(), "a statistic that is off by one row would change little"
