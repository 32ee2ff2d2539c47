"""The memory of a synthetic load, measured in a host: the packed model and the weight in hand, never the model in
16 bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.entries import Generation, Quantization
from plimsoll.host.client.process import Hosts
from plimsoll.host.protocol import Load, LoadReport, LoadSpec

SIZES: dict[str, Any] = {"hidden_size": 1024, "vocab_size": 8192, "num_attention_heads": 16, "num_key_value_heads": 8}
DENSE = {"model_type": "llama", "intermediate_size": 4096, "num_hidden_layers": 8, **SIZES}
SMALLER = {**DENSE, "intermediate_size": 2048, "vocab_size": 1024}
"""Large enough in 4 bit, which takes a CPU longest to pack: what is allowed is less than the model in 16 bit takes."""
MIXTURE = {
    "model_type": "mixtral",
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    **SIZES,
    "vocab_size": 1024,
}
MEGABYTE = 1_000_000
CODE = 48 * MEGABYTE
"""What a first load pulls in beside weights: kernels, mostly."""
PACKING = 16
"""Bytes a weight that bitsandbytes takes on a CPU while it packs one, beside the weight in 16 bit."""


def load(hosts: Hosts, folder: Path, config: dict[str, Any], quantization: Quantization) -> LoadReport:
    architecture = {"llama": "LlamaForCausalLM", "mixtral": "MixtralForCausalLM"}[config["model_type"]]
    spec = LoadSpec(
        checkpoint="mid-size",
        revision=None,
        auto_class="AutoModelForCausalLM",
        architecture=architecture,
        quantization=quantization,
        device="cpu",
        device_map=None,
        attention="sdpa",
        generation=Generation(max_new_tokens=8),
        synthetic_config=config,
    )
    host = hosts.start("mid-size", folder / "host.log")
    try:
        return host.ask(Load(spec=spec), deadline=300.0)
    finally:
        host.close()


def sizes(report: LoadReport) -> tuple[int, int, int]:
    """Bytes of the whole model in 16 bit; of its largest weight that was packed, in elements; bytes of the largest that
    was not."""
    counts = {}
    for record in report.inventory.parameters:
        count = 1
        for size in record.shape:
            count *= size
        counts[record.name] = count
    packed = [counts[r.name] for r in report.inventory.parameters if r.scheme != "float"]
    plain = [r.data_bytes for r in report.inventory.parameters if r.scheme == "float"]
    return 2 * sum(counts.values()), max(packed, default=0), max(plain)


def test_a_model_in_16_bit_takes_its_own_bytes(hosts: Hosts, tmp_path: Path) -> None:
    report = load(hosts, tmp_path, DENSE, Quantization.BF16)
    stored = report.inventory.stored_bytes
    assert stored > 250 * MEGABYTE
    assert stored <= report.memory.after - report.memory.before <= stored + CODE
    assert report.memory.peak - report.memory.before <= stored + CODE


@pytest.mark.parametrize(
    ("quantization", "config"), [(Quantization.INT8, DENSE), (Quantization.NF4_DQ, SMALLER)], ids=["int8", "nf4-dq"]
)
def test_a_packed_model_takes_its_bytes_and_those_of_one_weight(
    hosts: Hosts, tmp_path: Path, quantization: Quantization, config: dict[str, Any]
) -> None:
    report = load(hosts, tmp_path, config, quantization)
    whole, largest, plain = sizes(report)
    stored = report.inventory.stored_bytes
    peak = report.memory.peak - report.memory.before
    assert stored <= report.memory.after - report.memory.before <= stored + CODE
    assert peak <= stored + max(plain, (2 + PACKING) * largest) + CODE
    assert peak < 0.9 * whole, "the model was there in 16 bit"


def test_experts_take_what_one_joined_tensor_takes(hosts: Hosts, tmp_path: Path) -> None:
    report = load(hosts, tmp_path, MIXTURE, Quantization.NF4)
    whole, largest, _ = sizes(report)
    stored = report.inventory.stored_bytes
    peak = report.memory.peak - report.memory.before
    joining, one = 3 * 2 * largest, PACKING * largest // MIXTURE["num_local_experts"]
    allowed = stored + max(joining, 2 * largest + one) + CODE
    assert allowed < 0.75 * whole, "it is large enough to tell"
    assert peak <= allowed
    assert peak < 0.75 * whole, "the model was there in 16 bit"
