"""Was the quantization that was asked for applied? Bytes, content and products prove it, since flags lie.

The inventory was taken right after loading, before the first forward, which repacks weights on some processors. What
asks for content comes before all that generates, for the same reason.
"""

from __future__ import annotations

import pytest

from fixtures.hosts import LoadedVariant
from fixtures.judging import Judge
from plimsoll.catalogue.settings import may_offload
from plimsoll.footprint.sizes import Footprint
from plimsoll.host.protocol import Content, ProveContent
from plimsoll.judge.content import (
    MOST_EXCESS,
    MOST_PRODUCT_ERROR,
    check_content,
    check_products,
    worst_excess,
    worst_product,
)
from plimsoll.judge.quantization import (
    check_coverage,
    check_expected_set,
    check_placement,
    check_state,
    check_stored_bytes,
    quantized_count,
    summarise,
)

pytestmark = pytest.mark.quantization


def test_applied(loaded: LoadedVariant, footprint: Footprint) -> None:
    """Every weight that the scheme covers by architecture is stored packed, each linear and each fused expert tensor;
    and nothing else is, so that a variant in floats stores no parameter packed."""
    wrong = check_expected_set(footprint, loaded.report.inventory)
    assert not wrong, summarise(wrong)


@pytest.mark.only("quantized")
def test_state(loaded: LoadedVariant, footprint: Footprint) -> None:
    """Each packed weight carries the state that makes it readable, of the kind that was asked for."""
    wrong = check_state(footprint, loaded.report.inventory, loaded.variant.quantization, loaded.variant.dtype)
    assert not wrong, summarise(wrong)


@pytest.mark.only("quantized")
@pytest.mark.measures("quantized_fraction")
def test_coverage(loaded: LoadedVariant, footprint: Footprint, judge: Judge) -> None:
    """The share of logical parameters that is packed is at least what the architecture gives."""
    inventory = loaded.report.inventory
    judge.limit(
        "quantized_fraction",
        quantized_count(footprint, inventory) / footprint.parameter_count,
        low=footprint.quantized_fraction,
        high=1.0,
        source="the architecture, on the meta device",
        diagnosis=summarise(check_coverage(footprint, inventory)),
    )


def test_bytes_of_each_parameter(loaded: LoadedVariant, footprint: Footprint) -> None:
    """Each parameter and buffer takes the bytes that its scheme gives it, data and statistics apart."""
    wrong = check_stored_bytes(footprint, loaded.report.inventory)
    assert not wrong, summarise(wrong)


def test_placed_as_asked(loaded: LoadedVariant) -> None:
    """Nothing was put on the CPU or the disk unless the entry asks for it."""
    spec = loaded.spec()
    wrong = check_placement(
        loaded.report.device_map, spec.device_map, spec.device, may_offload=may_offload(spec.load_options)
    )
    assert not wrong, summarise(wrong)


def _content(loaded: LoadedVariant, request: pytest.FixtureRequest) -> Content:
    """What the host found; asked once a variant."""
    return loaded.ask_once(ProveContent(whole=request.config.getoption("content") == "full"))


@pytest.mark.measures("weight_excess")
def test_weights_are_the_checkpoints(
    loaded: LoadedVariant, footprint: Footprint, judge: Judge, request: pytest.FixtureRequest
) -> None:
    """Each weight, unpacked, is the checkpoint's within the bound of its scheme's arithmetic, and what is not packed is
    so to the bit; every tensor was compared."""
    content = _content(loaded, request)
    wrong = check_content(footprint, content)
    judge.limit(
        "weight_excess",
        worst_excess(content),
        high=MOST_EXCESS,
        source="the arithmetic of the scheme",
        reason=summarise(wrong),
        explain=lambda _: [fault.explanation for fault in wrong[:5]],
        tensors=len(content.tensors),
        blocks=sum(tensor.blocks for tensor in content.tensors),
        compared=content.checked,
        seconds=content.seconds,
    )
    assert not wrong, summarise(wrong)


@pytest.mark.only("quantized")
@pytest.mark.measures("product_error")
def test_packed_layers_compute(loaded: LoadedVariant, judge: Judge, request: pytest.FixtureRequest) -> None:
    """A packed layer of each class, shape and scheme gives what its unpacked weight gives in float32."""
    content = _content(loaded, request)
    wrong = check_products(content)
    judge.limit(
        "product_error",
        worst_product(content),
        high=MOST_PRODUCT_ERROR,
        source="the rounding of outputs and unpacked weights",
        reason=summarise(wrong),
        explain=lambda _: [fault.explanation for fault in wrong[:5]],
        kinds=len(content.products),
        layers=sum(product.layers for product in content.products),
    )
    assert not wrong, summarise(wrong)
