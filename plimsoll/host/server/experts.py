"""Quantizes fused experts while they are read.

transformers 5 keeps the experts of a mixture as 3-D parameters, and with bitsandbytes leaves them in 16 bit without a
word: 97 % of a Mixtral. These quantizers are registered through transformers' own extension point and differ from the
stock ones in one answer: a fused expert tensor needs quantization too. Each is packed as soon as it has been read, so
the 16-bit model never exists whole.

Where a later transformers or bitsandbytes quantizes experts itself, its own way is taken (`native`).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import register_quantizer
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer
from transformers.quantizers.quantizer_bnb_8bit import Bnb8BitHfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from plimsoll.host.server.expert_packing import attach_4bit, attach_int8, pack_4bit, pack_int8
from plimsoll.host.server.predict.coverage import packable_experts

_FOUR_BIT: Final = "plimsoll_bitsandbytes_4bit"
_EIGHT_BIT: Final = "plimsoll_bitsandbytes_8bit"


class FusedExpertsConfig(BitsAndBytesConfig):
    """bitsandbytes' configuration, under a name that chooses the quantizers of this module. Takes the same fields."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)  # type: ignore[no-untyped-call]
        # Typed as an enumeration, though registering a quantizer takes any name.
        self.quant_method = _EIGHT_BIT if self.load_in_8bit else _FOUR_BIT  # type: ignore[assignment]


class _FusedExperts:
    """What both quantizers do about experts; stands before the stock quantizer among the bases."""

    expert_quantization: str | None = None
    """`plimsoll` where this module packed experts, `native` where the stack does it by itself, None without experts."""
    modules_to_not_convert: list[str]
    _element_bytes: float

    def _process_model_before_weight_loading(self, model: Any, device_map: Any = None, **kwargs: Any) -> Any:
        experts = packable_experts(model)
        super()._process_model_before_weight_loading(model, device_map=device_map, **kwargs)  # type: ignore[misc]
        left = {name: shape for name, shape in packable_experts(model).items() if not self._is_native(model, name)}
        self._shapes = {
            name: shape for name, shape in left.items() if should_convert_module(name, self.modules_to_not_convert)
        }
        self._statistics: dict[str, Any] = {}
        if experts:
            self.expert_quantization = "plimsoll" if left else "native"
        return model

    def _is_native(self, model: nn.Module, name: str) -> bool:
        """True where the stock quantizer means to quantize this tensor itself."""
        return bool(super().param_needs_quantization(model, name))  # type: ignore[misc]

    def param_needs_quantization(self, model: nn.Module, param_name: str, **kwargs: Any) -> bool:
        """transformers asks this for every tensor it is about to read."""
        return param_name in self._shapes or bool(super().param_needs_quantization(model, param_name, **kwargs))  # type: ignore[misc]

    def param_element_size(self, model: nn.Module, param_name: str, param: torch.Tensor) -> float:
        """Bytes an element takes once it is packed: transformers asks when it spreads a model over several GPUs, and
        would otherwise think that experts stay in 16 bit."""
        if param_name in self._shapes:
            return self._element_bytes
        return float(super().param_element_size(model, param_name, param))  # type: ignore[misc]

    def get_quantize_ops(self) -> ConversionOps:
        """What transformers does to a tensor that needs quantization."""
        return _Pack(self, super().get_quantize_ops())  # type: ignore[misc]

    def pack(self, name: str, experts: torch.Tensor) -> torch.Tensor | None:
        """Pack one tensor of experts and keep its statistics; None for a name that is no expert's.

        Raises ValueError for another shape than the model's: transformers does not check the shape of what a
        quantizer takes.
        """
        shape = self._shapes.get(name)
        if shape is None:
            return None
        if tuple(experts.shape) != shape:
            raise ValueError(f"size mismatch for {name}: the checkpoint has {tuple(experts.shape)}, the model {shape}")
        packed, self._statistics[name] = self._pack(experts)
        return packed

    def _process_model_after_weight_loading(self, model: nn.Module, **kwargs: Any) -> nn.Module:
        for name, statistics in self._statistics.items():
            owner, _, own_name = name.rpartition(".")
            self._attach(model.get_submodule(owner), own_name, statistics)
        self._statistics.clear()
        return super()._process_model_after_weight_loading(model, **kwargs)  # type: ignore[misc, no-any-return]

    def is_serializable(self) -> bool:
        """False: a checkpoint saved from here could be read by this module alone."""
        return False

    def _pack(self, experts: torch.Tensor) -> tuple[torch.Tensor, Any]:
        raise NotImplementedError

    def _attach(self, module: nn.Module, name: str, statistics: Any) -> None:
        raise NotImplementedError


@register_quantizer(_FOUR_BIT)
class FusedExperts4bit(_FusedExperts, Bnb4BitHfQuantizer):
    """NF4 (or FP4) for linear layers by bitsandbytes, and for fused experts."""

    _element_bytes = 0.5

    def _pack(self, experts: torch.Tensor) -> tuple[torch.Tensor, Any]:
        config = self.quantization_config
        return pack_4bit(
            experts,
            quant_type=config.bnb_4bit_quant_type,
            nested=config.bnb_4bit_use_double_quant,
            storage=config.bnb_4bit_quant_storage,
        )

    def _attach(self, module: nn.Module, name: str, statistics: Any) -> None:
        attach_4bit(module, name, statistics)


@register_quantizer(_EIGHT_BIT)
class FusedExperts8bit(_FusedExperts, Bnb8BitHfQuantizer):
    """LLM.int8 for linear layers by bitsandbytes, and its row-wise int8 for fused experts."""

    _element_bytes = 1.0

    def _pack(self, experts: torch.Tensor) -> tuple[torch.Tensor, Any]:
        packed, scales = pack_int8(experts)
        return packed, (scales, experts.dtype)

    def _attach(self, module: nn.Module, name: str, statistics: Any) -> None:
        attach_int8(module, name, *statistics)


class _Pack(ConversionOps):
    """Packs experts itself and leaves every other tensor to the stock operation."""

    def __init__(self, quantizer: _FusedExperts, stock: ConversionOps) -> None:
        self._quantizer = quantizer
        self._stock = stock

    def convert(  # type: ignore[override]  # the base class requires arguments that its own subclasses do not take
        self, input_dict: dict[str, Any], **kwargs: Any
    ) -> dict[str, Any]:
        """transformers' hook: full parameter names to tensors, or to lists that hold one tensor."""
        packed: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name, value in input_dict.items():
            experts = self._quantizer.pack(name, value[0] if isinstance(value, list) else value)
            if experts is None:
                others[name] = value
            else:
                packed[name] = experts
        return packed | (self._stock.convert(others, **kwargs) if others else {})
