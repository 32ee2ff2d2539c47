"""What a model takes: stored bytes by quantization, the smallest machine that each fits on, and the levers on memory.

All of it is predicted from the configuration. A machine fits where the gate would see no lack of memory for what the
suite asks: the load at its highest, and 32 prompts answered at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Model, Profile, Quantization, Tier, Variant
from plimsoll.errors import PlimsollError
from plimsoll.footprint.demand import Demand, demand_of
from plimsoll.footprint.prediction import Prediction, Workload
from plimsoll.gate.need import need_of
from plimsoll.host.describing import Description
from plimsoll.inspection.model import spread, variant_of
from plimsoll.plan.planning import PlannedMachine, Planner, machines_of
from plimsoll.plan.predictions import PredictionError, Predictions

SHOWN: Final = (Quantization.FP32, Quantization.BF16, Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ)
"""fp16 takes what bf16 does."""
SOME_TOKENS: Final = 2048
"""The prompt that a further sequence is reckoned with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """One quantization; sizes in bytes."""

    quantization: Quantization
    weights: int | None
    """Stored once it is loaded, with statistics and buffers; None where it cannot be predicted, and `why` says why."""
    load: int | None
    """On the GPU, or in RAM, at the highest point of loading."""
    profile: str | None
    """The smallest machine of the data sheets with room for it; None where there is none."""
    spread: bool
    """True where that takes several GPUs, with what goes where left to the planner."""
    takes: bool
    """False where the software stack cannot apply it to this class, or the weights are packed otherwise already."""
    why: str = ""
    prediction: Prediction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """One thing that can be turned, and what it changes; sizes in bytes."""

    lever: str
    change: str
    before: int
    after: int

    @property
    def saves(self) -> int:
        """Negative for what costs more."""
        return self.before - self.after


class Scales:
    """Weighs one model. `profiles` are the machines of the data sheets; `tier` is one of a GPU's."""

    def __init__(
        self,
        predictions: Predictions,
        planner: Planner,
        profiles: Sequence[Profile],
        tier: Tier,
        description: Description,
    ) -> None:
        self._predictions = predictions
        self._planner = planner
        self._machines = machines_of(sorted(profiles, key=lambda p: (p.memory * p.count, p.count)))
        self._tier = tier
        self._description = description

    def weigh(self, model: Model, quantization: Quantization) -> Weighed:
        """What one quantization of the model takes. Raises HostStartError."""
        variant = variant_of(model, quantization, self._tier, self._description)
        refused = self._refused(quantization)
        try:
            prediction = self._predictions.of(variant)
        except PredictionError as error:
            why = str(error.__cause__ or error).splitlines()[-1]
            return Weighed(
                quantization=quantization, weights=None, load=None, profile=None, spread=False, takes=False, why=why
            )
        demand = demand_of(variant, prediction)
        profile, several = self._smallest(variant, demand)
        return Weighed(
            quantization=quantization,
            weights=prediction.footprint.weight_bytes,
            load=sum(demand.load.values()) if not demand.load.get(0) else demand.load[0],
            profile=profile,
            spread=several,
            takes=not refused,
            why=refused,
            prediction=prediction,
        )

    def _refused(self, quantization: Quantization) -> str:
        """Why a quantization is nothing for this model; empty where it is."""
        scheme = self._description.scheme
        if scheme and scheme != quantization.value:
            return f"the weights are packed already, as {scheme}, which wins over what is asked for"
        return self._description.not_packed.get(quantization.value, "")

    def _smallest(self, variant: Variant, demand: Demand) -> tuple[str | None, bool]:
        """The smallest machine with room, and whether that takes several GPUs."""
        need = need_of(variant, demand)
        whole = sum(need.vram.values()) if isinstance(need.vram, Mapping) else need.vram or 0
        for machine in self._machines:
            several = len(machine.gpus) > 1
            # More GPUs of a kind whose one GPU has the room are a larger machine, and of the others in all too little.
            if sum(machine.gpus) < whole + need.vram_context or (
                several and machine.gpus[0] > whole + need.vram_context
            ):
                continue
            if self._has_room(spread(variant) if several else variant, machine):
                return machine.name, several
        return None, False

    def _has_room(self, variant: Variant, machine: PlannedMachine) -> bool:
        try:
            (row,) = self._planner.rows([variant], machine)
        except PlimsollError:
            return False
        return row.left is not None and row.left >= 0


def levers(weighed: Sequence[Weighed], context: int | None) -> Iterator[Lever]:
    """What can be turned, each with its effect. Those on the cache are left out where it is not predicted."""
    sizes = {one.quantization: one for one in weighed if one.weights is not None}
    base = sizes.get(Quantization.BF16)
    for quantization in (Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ):
        if base is not None and base.takes and quantization in sizes and sizes[quantization].takes:
            before, after = base.weights or 0, sizes[quantization].weights or 0
            yield Lever(lever="quantization", change=f"bf16 to {quantization}", before=before, after=after)
    prediction = None if base is None else base.prediction
    if prediction is None or prediction.cache is None:
        return
    if context:
        full = prediction.cache.held(1, context)
        for shorter in dict.fromkeys((context // 2, min(context // 4, SOME_TOKENS))):
            if 0 < shorter < context and prediction.cache.token_bytes:
                change = f"{context:,} to {shorter:,} tokens, one sequence"
                yield Lever(lever="context", change=change, before=full, after=prediction.cache.held(1, shorter))
        if prediction.cache.token_bytes:
            for name, part in (("8 bits", 2), ("4 bits", 4)):
                change = f"16 to {name} a value at {context:,} tokens, without its statistics"
                yield Lever(lever="KV cache dtype", change=change, before=full, after=full // part)
    tokens = min(context or SOME_TOKENS, SOME_TOKENS)
    one, two = (prediction.running_bytes(Workload(batch=batch, prompt=tokens, new=1)) for batch in (1, 2))
    if one is not None and two is not None:
        yield Lever(lever="batch", change=f"2 to 1 prompts of {tokens:,} tokens", before=two, after=one)
