"""What a host says of a load: a small model on the processor, as far as a test does not say otherwise."""

from __future__ import annotations

from typing import Any

from plimsoll.host.protocol import CacheState, HostMemory, Inventory, LoadReport


def load_report(attention: str = "eager", **effective: Any) -> LoadReport:
    """The report, with what is in force of the settings."""
    return LoadReport(
        seconds=1.0,
        cache=CacheState(asked="as-is", resident=None),
        checkpoint_bytes=0,
        checkpoint_files=(),
        resolved_revision=None,
        memory=HostMemory(before=0, peak=0, after=0, method="x"),
        gpus=(),
        model_class="Phi3ForCausalLM",
        missing_keys=(),
        unexpected_keys=(),
        mismatched_keys=(),
        meta_parameters=(),
        device_map={"": "cpu"},
        attention=attention,
        experts=None,
        expert_quantization=None,
        warnings=(),
        inventory=Inventory(parameters=(), buffers=()),
        effective=effective,
    )
