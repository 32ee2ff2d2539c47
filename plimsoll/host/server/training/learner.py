"""Prepares one or two models for training: all weights, matrices beside layers (LoRA), or a bridge into the embeddings.

The same code runs on real weights, where a step is measured, and on the meta device, where it is predicted; only what
puts LoRA's matrices there differs: peft on real weights, and our own on the meta device, so that one is no copy of the
other.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import nn

from plimsoll.catalogue.entries import Quantization
from plimsoll.errors import PlimsollError
from plimsoll.footprint.training import Mode, Training, bridge_width
from plimsoll.host.server.predict.coverage import is_linear, output_head

Adapt = Callable[[Any, int], Any]
"""Puts LoRA's matrices of a rank beside the layers of a frozen model, and returns what is to be called."""

_ALPHA: Final = 2
"""LoRA's alpha, in ranks: what its matrices add is scaled by this."""
_NONE_PACKED: Final[Mapping[nn.Module, Quantization]] = MappingProxyType({})
_FOUR_BIT: Final = (Quantization.NF4, Quantization.NF4_DQ)


class Bridge(nn.Module):
    """From one hidden size to another through an inner layer, in float32: what is trained loses small updates in 16
    bit."""

    def __init__(self, entering: int, leaving: int, size: int) -> None:
        super().__init__()
        width = bridge_width(size, entering, leaving)
        self.enter = nn.Linear(entering, width, bias=False, dtype=torch.float32)
        self.leave = nn.Linear(width, leaving, bias=False, dtype=torch.float32)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The bridged states, in the dtype of those that enter."""
        bridged: torch.Tensor = self.leave(nn.functional.gelu(self.enter(hidden.float())))
        return bridged.to(hidden.dtype)


class Learner:
    """What a step is made of. `partner` is the model whose states cross the bridge; None for the model's own
    embeddings. Raises PlimsollError for what cannot be trained so."""

    def __init__(self, training: Training, model: Any, partner: Any = None, *, adapt: Adapt) -> None:
        if partner is not None and training.mode is not Mode.BRIDGE:
            raise PlimsollError(f"two models are joined by a bridge; {training.mode} training takes one")
        self.model, self.partner, self.bridge = model, partner, None
        for one in self._models():
            _still(one)
        if training.mode is Mode.FULL:
            _thaw(model)
        elif training.mode is Mode.LORA:
            self.model = adapt(model, training.size)
        else:
            self.bridge = self._bridge(training.size)
        self._layered = model
        model.train()
        if partner is not None:
            partner.eval()
        self.compute_again(training.checkpointing)

    def _models(self) -> Iterator[Any]:
        yield self.model
        if self.partner is not None:
            yield self.partner

    def _bridge(self, size: int) -> Bridge:
        weight = self.model.get_input_embeddings().weight
        leaving = weight.shape[1]
        entering = leaving if self.partner is None else self.partner.get_input_embeddings().weight.shape[1]
        return Bridge(entering, leaving, size).to(weight.device)

    def compute_again(self, asked: bool) -> None:
        """Keep only what enters each layer, and compute the rest again on the way back; or keep all."""
        # The way with hooks: the older one gives no gradient where no input asks for one. Nothing is random, so
        # no state of a generator has to be kept with each layer.
        way = {"use_reentrant": False, "preserve_rng_state": False}
        switch, options = ("enable", [way]) if asked else ("disable", [])
        getattr(self._layered, f"{_again(self._layered)}_checkpointing_{switch}")(*options)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """All that holds parameters."""
        return tuple(part for part in (self.model, self.partner, self.bridge) if part is not None)

    @property
    def parameters(self) -> Iterator[nn.Parameter]:
        """Every parameter, frozen or not."""
        return (parameter for module in self.modules for parameter in module.parameters())

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that a step changes."""
        return [parameter for parameter in self.parameters if parameter.requires_grad]

    @property
    def device(self) -> torch.device:
        """Where the model takes its tokens."""
        device: torch.device = self.model.get_input_embeddings().weight.device
        return device

    def loss(self, tokens: torch.Tensor) -> torch.Tensor:
        """The mean loss of each next token, in nats; positions of a partner's tokens are those of the model's."""
        inputs: dict[str, torch.Tensor] = {"input_ids": tokens}
        if self.bridge is not None:
            inputs = {"inputs_embeds": self._bridged(self.bridge, tokens)}
        loss: torch.Tensor = self.model(**inputs, labels=tokens, use_cache=False).loss
        return loss

    def _bridged(self, bridge: Bridge, tokens: torch.Tensor) -> torch.Tensor:
        if self.partner is None:
            embedded: torch.Tensor = self.model.get_input_embeddings()(tokens)
            crossed: torch.Tensor = bridge(embedded)
            return embedded + crossed
        with torch.no_grad():
            # No weight of it is trained, so nothing is kept for a way back through it.
            rows = self.partner.get_input_embeddings().num_embeddings
            known = tokens.remainder(rows).to(self.partner.get_input_embeddings().weight.device)
            hidden = self.partner.base_model(input_ids=known, use_cache=False).last_hidden_state
        dtype = self.model.get_input_embeddings().weight.dtype
        entered: torch.Tensor = bridge(hidden.to(self.device))
        return entered.to(dtype)


class Objective(nn.Module):
    """A learner's loss as a module, which is what torch gives to several ranks."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self._learner = learner
        self.parts = nn.ModuleList(learner.modules)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The loss of tokens."""
        return self._learner.loss(tokens)


def _again(model: Any) -> str:
    """transformers' name for recomputing activations, which differs in releases before 5.20."""
    return "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"


def _still(model: Any) -> None:
    """Freeze a model, and leave nothing in it to chance: two steps from one state are to be the same."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


def _thaw(model: Any) -> None:
    packed = [name for name, parameter in model.named_parameters() if not parameter.is_floating_point()]
    if packed:
        raise PlimsollError(
            f"packed weights cannot be trained, and {len(packed)} of this model's are ({packed[0]}, ...): train with "
            "LoRA or a bridge, or load it unquantized"
        )
    for parameter in model.parameters():
        parameter.requires_grad_(True)


class _LowRank(nn.Module):
    """A linear layer with two thin matrices beside it, as LoRA is defined (arXiv 2106.09685).

    What is learnt is added in float32, beside a packed layer in the layer's own dtype, to a copy beside one in 4 bit:
    so does peft 0.21.
    """

    def __init__(self, layer: nn.Module, rank: int, packing: Quantization | None) -> None:
        super().__init__()
        leaving, entering = _widths(layer)
        self.layer, self._packing = layer, packing
        form: dict[str, Any] = {"bias": False, "dtype": torch.float32, "device": next(layer.parameters()).device}
        self.down = nn.Linear(entering, rank, **form)
        self.up = nn.Linear(rank, leaving, **form)

    def forward(self, entered: torch.Tensor) -> torch.Tensor:
        """What the layer gives, and what is learnt on top, in the layer's own dtype."""
        result: torch.Tensor = self.layer(entered)
        dtype = result.dtype
        if self._packing is None:
            result = result + self._learnt(entered)
            return result.to(dtype)
        if self._packing in _FOUR_BIT:
            result = result.clone()
        return result + self._learnt(entered).to(dtype)

    def _learnt(self, entered: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = self.up(self.down(entered.to(torch.float32))) * _ALPHA
        return scaled


def low_rank_beside(model: Any, rank: int, packed: Mapping[nn.Module, Quantization] = _NONE_PACKED) -> Any:
    """Put matrices of this rank beside every linear layer but the output head, ours and not a library's. `packed` says
    how layers are packed, those that are."""
    for path in _linear_layers(model):
        owner, _, name = path.rpartition(".")
        layer = model.get_submodule(path)
        setattr(model.get_submodule(owner), name, _LowRank(layer, rank, packed.get(layer)))
    return model


def _linear_layers(model: Any) -> list[str]:
    """The names of all linear layers but the output head; experts that share one tensor are none."""
    head = output_head(model)
    return [name for name, layer in model.named_modules() if is_linear(layer) and layer is not head]


def _widths(layer: nn.Module) -> tuple[int, int]:
    """Rows that leave and enter a linear layer."""
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]  # Conv1D keeps it transposed
    return weight.shape[1], weight.shape[0]


def peft_beside(model: Any, rank: int) -> Any:
    """The same by peft, on real weights. Raises PlimsollError where peft is not installed."""
    from plimsoll.extras import require

    require("lora", "training with LoRA", ("peft",))
    peft: Any = importlib.import_module("peft")

    # By their names: by `all-linear` peft also takes the experts of some families, and not of others.
    layers = _linear_layers(model)
    config = peft.LoraConfig(
        r=rank, lora_alpha=_ALPHA * rank, lora_dropout=0.0, target_modules=layers, task_type="CAUSAL_LM"
    )
    with warnings.catch_warnings():
        # peft 0.21 reads a property of transformers by a name that is to go.
        warnings.simplefilter("ignore", FutureWarning)
        return peft.get_peft_model(model, config)
