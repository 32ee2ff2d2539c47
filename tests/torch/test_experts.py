"""Fused experts: packed as bitsandbytes would pack them, one tensor at a time, and read back wherever they are used."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from bitsandbytes import functional
from torch import nn
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.server import experts
from plimsoll.host.server.expert_packing import Int8Parametrization, attach_4bit, attach_int8, pack_4bit, pack_int8
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.loading import load
from tests.support.random_checkpoints import load_spec, save_checkpoint

QUANTIZED = (Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ)
IDS = torch.tensor([[1, 40, 41, 42, 43, 44, 45, 46], [1, 90, 91, 92, 93, 94, 95, 96]])


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint("mixtral", tmp_path_factory.mktemp("mixtral"))


@pytest.fixture(scope="module")
def in_16_bit(mixtral: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(mixtral, dtype=torch.bfloat16)


def weights(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(*shape, generator=generator).to(torch.bfloat16)


@pytest.mark.parametrize("shape", [(4, 8, 64), (3, 5, 6)], ids=["whole-blocks", "straddled-blocks"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
def test_packing_expert_by_expert_gives_the_bits_of_packing_them_all(
    shape: tuple[int, ...], nested: bool, quant_type: str
) -> None:
    tensor = weights(*shape)
    ours, state = pack_4bit(tensor, quant_type=quant_type, nested=nested, storage=torch.uint8)
    theirs, expected = functional.quantize_4bit(tensor, quant_type=quant_type, compress_statistics=nested)
    assert torch.equal(ours, theirs)
    assert state == expected
    assert state.shape == tensor.shape
    assert torch.equal(functional.dequantize_4bit(ours, state), functional.dequantize_4bit(theirs, expected))


def test_int8_experts_are_packed_row_by_row_like_a_linear_weight() -> None:
    tensor = weights(3, 8, 16)
    packed, scales = pack_int8(tensor)
    assert (packed.dtype, packed.shape, scales.dtype, scales.shape) == (torch.int8, (3, 8, 16), torch.float32, (3, 8))
    for index, expert in enumerate(tensor):
        data, row_scales, _ = functional.int8_vectorwise_quant(expert.to(torch.float16))
        assert torch.equal(packed[index], data)
        assert torch.equal(scales[index], row_scales)
    read = Int8Parametrization(scales, torch.bfloat16)(packed)
    assert (read.dtype, read.shape) == (torch.bfloat16, tensor.shape)
    step = scales[..., None] / 127
    assert ((read.float() - tensor.float()).abs() <= step).all()


class Owner(nn.Module):
    """Reads its weight once for each expert, as a loop over experts does."""

    def __init__(self, packed: torch.Tensor) -> None:
        super().__init__()
        self.up = nn.Parameter(packed, requires_grad=False)

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.up[i] for i in index.tolist()])


def test_a_weight_is_unpacked_once_a_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, scales = pack_int8(weights(3, 8, 16))
    owner = Owner(packed)
    attach_int8(owner, "up", scales, torch.bfloat16)
    calls = []
    unpack = Int8Parametrization.forward

    def counted(self: Int8Parametrization, data: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return unpack(self, data)

    monkeypatch.setattr(Int8Parametrization, "forward", counted)
    owner(torch.tensor([0, 1, 2]))
    assert len(calls) == 1
    owner(torch.tensor([0, 1]))
    assert len(calls) == 2, "the unpacked weight must not outlive the forward pass"
    with pytest.raises(IndexError):
        owner(torch.tensor([7]))
    owner(torch.tensor([0]))
    assert len(calls) == 4, "nor a forward pass that failed"


@pytest.mark.parametrize("nested", [False, True])
def test_an_attached_4bit_weight_reads_as_what_was_packed(nested: bool) -> None:
    packed, state = pack_4bit(weights(4, 8, 64), quant_type="nf4", nested=nested, storage=torch.uint8)
    owner = Owner(packed)
    attach_4bit(owner, "up", state)
    assert torch.equal(owner.up, functional.dequantize_4bit(packed, state))
    assert sum(p.nbytes for p in owner.parameters()) == 4 * 8 * 64 / 2


@pytest.mark.parametrize("implementation", ["grouped_mm", "batched_mm", "eager"])
@pytest.mark.parametrize("quantization", QUANTIZED, ids=str)
def test_every_experts_implementation_computes_with_the_unpacked_weights(
    mixtral: Path, in_16_bit: Any, quantization: Quantization, implementation: str
) -> None:
    spec = load_spec(mixtral, "mixtral", quantization, load_options={"experts_implementation": implementation})
    loaded = load(spec, "as-is")
    assert (loaded.report.experts, loaded.report.expert_quantization) == (implementation, "plimsoll")
    quantized = loaded.model.model.layers[0].mlp.experts
    hidden = weights(5, 128)
    index = torch.tensor([[0, 1], [2, 3], [1, 2], [3, 0], [0, 2]])
    share = torch.full((5, 2), 0.5, dtype=torch.bfloat16)
    # The same module in 16 bit, holding what the packed one reads.
    plain = in_16_bit.model.layers[0].mlp.experts
    original = {name: getattr(plain, name).data for name in ("gate_up_proj", "down_proj")}
    try:
        for name in original:
            getattr(plain, name).data = getattr(quantized, name)
        with torch.no_grad():
            expected = plain(hidden, index, share)
            found = quantized(hidden, index, share)
    finally:
        for name, data in original.items():
            getattr(plain, name).data = data
    torch.testing.assert_close(found, expected, rtol=0.02, atol=2e-5)
    assert expected.abs().max() > 1e-4


@pytest.mark.parametrize("quantization", QUANTIZED, ids=str)
def test_packed_experts_are_the_checkpoints_and_routers_stay_exact(
    mixtral: Path, in_16_bit: Any, quantization: Quantization
) -> None:
    model = load(load_spec(mixtral, "mixtral", quantization), "as-is").model
    for layer, original in zip(model.model.layers, in_16_bit.model.layers, strict=True):
        assert torch.equal(layer.mlp.gate.weight, original.mlp.gate.weight)
        for name in ("gate_up_proj", "down_proj"):
            tensor = getattr(original.mlp.experts, name).detach()
            if quantization is Quantization.INT8:
                packed, scales = pack_int8(tensor)
                expected = Int8Parametrization(scales, torch.bfloat16)(packed)
            else:
                nested = quantization is Quantization.NF4_DQ
                expected = functional.dequantize_4bit(
                    *functional.quantize_4bit(tensor, quant_type="nf4", compress_statistics=nested)
                )
            assert torch.equal(getattr(layer.mlp.experts, name), expected)


@pytest.mark.parametrize("quantization", QUANTIZED, ids=str)
def test_generating_with_packed_experts_is_finite_and_repeatable(mixtral: Path, quantization: Quantization) -> None:
    model = load(load_spec(mixtral, "mixtral", quantization), "as-is").model
    with torch.no_grad():
        assert torch.isfinite(model(IDS).logits).all()
    first, second = (model.generate(IDS, attention_mask=torch.ones_like(IDS)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape[1] <= IDS.shape[1] + 8


def test_no_more_than_one_tensor_of_experts_is_ever_whole(mixtral: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has been handed over for packing must be gone when the next one comes."""
    seen: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []
    pack = experts.FusedExperts4bit.pack

    def watched(self: Any, name: str, tensor: torch.Tensor) -> torch.Tensor | None:
        gc.collect()
        alive.append(sum(reference() is not None for reference in seen))
        packed = pack(self, name, tensor)
        if packed is not None:
            seen.append(weakref.ref(tensor))
        return packed

    monkeypatch.setattr(experts.FusedExperts4bit, "pack", watched)
    load(load_spec(mixtral, "mixtral", Quantization.NF4), "as-is")
    assert len(seen) == 4
    assert max(alive) == 0


def test_a_skip_list_can_spare_experts(mixtral: Path) -> None:
    options = {"quantization_config": {"llm_int8_skip_modules": ["lm_head", r"model.layers.0.mlp.experts.*"]}}
    report = load(load_spec(mixtral, "mixtral", Quantization.NF4, load_options=options), "as-is").report
    schemes = {r.name: r.scheme for r in report.inventory.parameters if "experts" in r.name}
    assert {name for name, scheme in schemes.items() if scheme == "float"} == {
        "model.layers.0.mlp.experts.gate_up_proj",
        "model.layers.0.mlp.experts.down_proj",
    }


def test_dense_models_are_left_to_the_stock_quantizer(tmp_path: Path) -> None:
    loaded = load(load_spec(save_checkpoint("llama", tmp_path), "llama", Quantization.NF4), "as-is")
    assert type(loaded.model.hf_quantizer) is Bnb4BitHfQuantizer
    assert (loaded.report.experts, loaded.report.expert_quantization) == (None, None)


def test_stock_and_16_bit_experts_are_reported_as_nobodys(mixtral: Path) -> None:
    stock = load_spec(mixtral, "mixtral", Quantization.NF4, load_options={"fused_experts": "stock"})
    for spec in (stock, load_spec(mixtral, "mixtral", Quantization.BF16)):
        report = load(spec, "as-is").report
        assert (report.experts, report.expert_quantization) == ("grouped_mm", None)
        assert all(r.scheme == "float" for r in report.inventory.parameters if "experts" in r.name)


class PackAsTheStackMight(ConversionOps):
    """Stands for a later release that packs fused experts itself."""

    def __init__(self, stock: ConversionOps) -> None:
        self.stock = stock

    def convert(self, input_dict: dict[str, Any], **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        if not any("experts" in name for name in input_dict):
            return dict(self.stock.convert(input_dict, **kwargs))
        values = {name: value[0] if isinstance(value, list) else value for name, value in input_dict.items()}
        return {name: functional.quantize_4bit(value, quant_type="nf4")[0] for name, value in values.items()}


@pytest.fixture
def native_support(monkeypatch: pytest.MonkeyPatch) -> None:
    stock: Any = Bnb4BitHfQuantizer
    needs, ops = stock.param_needs_quantization, stock.get_quantize_ops

    def needs_experts_too(self: Any, model: Any, param_name: str, **kwargs: Any) -> bool:
        return "experts" in param_name or needs(self, model, param_name, **kwargs)

    monkeypatch.setattr(stock, "param_needs_quantization", needs_experts_too)
    monkeypatch.setattr(stock, "get_quantize_ops", lambda self: PackAsTheStackMight(ops(self)))


@pytest.mark.usefixtures("native_support")
def test_a_stack_that_packs_experts_itself_is_let_to(mixtral: Path) -> None:
    loaded = load(load_spec(mixtral, "mixtral", Quantization.NF4), "as-is")
    assert loaded.report.expert_quantization == "native"
    records = [r for r in loaded.report.inventory.parameters if "experts" in r.name]
    assert {r.storage_dtype for r in records} == {"uint8"}
    # A layout that the inventory does not know is never taken for a quantization that is right.
    assert {r.scheme for r in records} == {"unknown"}
    assert all(r.faults for r in records)


@pytest.mark.parametrize("quantization", [*QUANTIZED, Quantization.BF16], ids=str)
def test_an_expert_of_another_shape_is_refused(tmp_path: Path, quantization: Quantization) -> None:
    folder = save_checkpoint("mixtral", tmp_path / "narrow", intermediate_size=192)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"intermediate_size": 192', '"intermediate_size": 256'))
    with pytest.raises(LoadFailed, match="experts") as caught:
        load(load_spec(folder, "mixtral", quantization), "as-is")
    assert caught.value.kind is LoadFailure.SHAPE
    assert str(folder) in str(caught.value)
