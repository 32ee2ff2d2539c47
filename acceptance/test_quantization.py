"""Was the quantization that was asked for applied? Bytes, content and products prove it, since flags lie.

The inventory is taken right after loading, before the first forward pass, which repacks weights on some processors. The
checks of content come before all that generate, for the same reason.
"""

from __future__ import annotations

import pytest

from fixtures.judging import Judge
from fixtures.loaded import LoadedVariant
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
    """Every weight that the scheme covers by architecture is stored packed, each linear layer and each fused expert
    tensor, and nothing else is. A variant in floats stores no parameter packed.

    Limit: Exactly the set that follows from the architecture (docs/prediction.md).
    Fails when: a weight is packed that should not be, or is not that should be. The failure names them.
    Do: Look at llm_int8_skip_modules and fused_experts in load_options of the entry. Stock bitsandbytes packs no
    fused experts.
    Symptoms: not-packed, bitsandbytes-binary
    """
    wrong = check_expected_set(footprint, loaded.report.inventory)
    assert not wrong, summarise(wrong)


@pytest.mark.only("quantized")
def test_state(loaded: LoadedVariant, footprint: Footprint) -> None:
    """Each packed weight carries the state that makes it readable, of the kind that was asked for.

    Limit: Exactly the state that the scheme has: NF4 or int8, double-quantized or not, of the asked dtype.
    Fails when: a state is missing, or of another kind.
    Do: Look at bnb_4bit_quant_type, bnb_4bit_use_double_quant and bnb_4bit_compute_dtype in the entry, and compare
    the release of bitsandbytes with docs/releases.md.
    Symptoms: not-packed, packed-already
    """
    wrong = check_state(footprint, loaded.report.inventory, loaded.variant.quantization, loaded.variant.dtype)
    assert not wrong, summarise(wrong)


@pytest.mark.only("quantized")
@pytest.mark.measures("quantized_fraction")
def test_coverage(loaded: LoadedVariant, footprint: Footprint, judge: Judge) -> None:
    """The share of logical parameters that is packed is at least what the architecture gives.

    Limit: At least the share predicted from the architecture on the meta device, at most all of them.
    Fails when: fewer parameters are packed.
    Do: See test_applied, which names the weights.
    Symptoms: not-packed
    """
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
    """Each parameter and buffer takes the bytes that its scheme gives it, data and statistics apart.

    Limit: Exactly those bytes, for each tensor (docs/prediction.md).
    Fails when: a tensor takes other bytes. The failure names the first of them.
    Do: More bytes than predicted: the tensor was not packed, or its statistics were not packed again
    (bnb_4bit_use_double_quant). See test_state.
    Symptoms: not-packed
    """
    wrong = check_stored_bytes(footprint, loaded.report.inventory)
    assert not wrong, summarise(wrong)


def test_placed_as_asked(loaded: LoadedVariant) -> None:
    """Nothing was put on the CPU or the disk unless the entry asks for it.

    Limit: No part of the device map elsewhere: the suite's own rule.
    Fails when: a layer is placed on the CPU or the disk.
    Do: Free the memory of the GPU, or take a variant that `plimsoll plan` says fits. If you want to offload, say so
    in the entry (device_map, max_memory).
    Symptoms: gpu-memory
    """
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
    """Each weight, unpacked, is the checkpoint's within the bound of its scheme's arithmetic. What is not packed is
    the checkpoint's to the bit, and every tensor was compared.

    Limit: The arithmetic of the scheme, and a small excess over it.
    Fails when: a tensor lies further off, or was not compared; what was read of it in the file is NaN or infinite; its
    file declares it in another format than its layer has; or a buffer that no file holds, such as rotary frequencies,
    was not worked out by the load.
    Do: The failure names the tensors. Compare the checkpoint's digests with its repository's, and the release of
    bitsandbytes with docs/releases.md. If it fails on one GPU alone, drain that GPU.
    Symptoms: corrupt-file, not-packed, bitsandbytes-binary
    """
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
    """A packed layer of each class, shape and scheme gives what its unpacked weight gives in float32.

    Limit: The rounding of outputs and unpacked weights.
    Fails when: a layer is further off, or scales its output.
    Do: Run `python -m bitsandbytes`, and install a release with a binary for the CUDA of this torch. If it fails on
    one GPU alone, drain that GPU.
    Symptoms: bitsandbytes-binary, unsupported-gpu
    """
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
