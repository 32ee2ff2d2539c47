"""Faults planted in the weights that a real host holds, each of which bytes and flags would let pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.prediction import Subject
from plimsoll.footprint.sizes import Footprint
from plimsoll.host.client.process import Host, Hosts
from plimsoll.host.protocol import Call, Content, Load, Predict, ProveContent
from plimsoll.judge.content import MOST_EXCESS, check_content, check_products, worst_excess
from tests.support.random_checkpoints import ARCHITECTURES, AUTO_CLASS, CONFIGS, load_spec, save_checkpoint

DEADLINE: Final = 120.0
BF16, INT8, NF4, NF4_DQ = Quantization.BF16, Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ
Checkpoint = Callable[[str], Path]
Expected = Callable[[str, Quantization], Footprint]
PACKED: Final = (INT8, NF4, NF4_DQ)
PLANTED: Final = {
    "byte": (INT8, NF4, NF4_DQ),
    "row-twice": (INT8, NF4, NF4_DQ),
    "other-layer": (INT8, NF4, NF4_DQ),
    "swapped": (INT8, NF4, NF4_DQ),
    "norm": (BF16, INT8, NF4),
    "embedding": (BF16, INT8, NF4),
    "fp4": (NF4,),
    "scale-of-the-neighbour": (NF4, NF4_DQ),
    "scales-one-block-off": (NF4, NF4_DQ),
    "scale-zero": (NF4, NF4_DQ),
    "scale-code": (NF4_DQ,),
    "spread": (NF4_DQ,),
    "offset": (NF4_DQ,),
    "row-scales": (INT8,),
    "over-128": (INT8,),
    "four-bit-codes": (INT8,),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return lambda family: root / family if (root / family).exists() else save_checkpoint(family, root / family)


def loaded(hosts: Hosts, folder: Path, family: str, quantization: Quantization, log: Path) -> Host:
    host = hosts.start(f"{family}/{quantization}", log)
    host.ask(Load(spec=load_spec(folder, family, quantization)), DEADLINE)
    return host


def content(host: Host, fault: str = "") -> Content:
    if fault:
        host.ask(Call(target="tests.support.planted:plant", arguments={"fault": fault}), DEADLINE)
    return host.ask(ProveContent(), DEADLINE)


@pytest.fixture(scope="module")
def footprint(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Quantization], Footprint]:
    """What a family should store, predicted once a quantization."""
    host = hosts.start("prediction", tmp_path_factory.mktemp("prediction") / "log")

    @cache
    def predicted(family: str, quantization: Quantization) -> Footprint:
        subject = Subject(
            config_json=json.dumps(dict(CONFIGS[family])),
            auto_class=AUTO_CLASS,
            architecture=ARCHITECTURES[family],
            quantization=quantization,
            attention="fused",
        )
        return host.ask(Predict(subject=subject), DEADLINE).footprint

    return predicted


@pytest.mark.parametrize("quantization", [BF16, *PACKED], ids=str)
@pytest.mark.parametrize("family", CONFIGS)
def test_a_sound_model_holds_its_checkpoint(
    hosts: Hosts, checkpoint: Checkpoint, footprint: Expected, tmp_path: Path, family: str, quantization: Quantization
) -> None:
    host = loaded(hosts, checkpoint(family), family, quantization, tmp_path / "log")
    found, expected = content(host), footprint(family, quantization)
    host.close()
    assert check_content(expected, found) == ()
    assert {tensor.name for tensor in found.tensors} >= {part.name for part in expected.parameters}
    assert all(tensor.checked == tensor.blocks > 0 for tensor in found.tensors)
    excess = worst_excess(found)
    assert excess is not None
    assert excess < MOST_EXCESS / 4
    if quantization.is_quantized:
        assert check_products(found) == ()
        assert sum(product.layers for product in found.products) == sum(p.quantized for p in expected.parameters)
        assert max(product.error or 1 for product in found.products) < 0.004


@pytest.mark.parametrize(
    ("fault", "quantization"), [(fault, q) for fault, quantizations in PLANTED.items() for q in quantizations], ids=str
)
def test_a_planted_fault_is_found(
    hosts: Hosts, checkpoint: Checkpoint, footprint: Expected, tmp_path: Path, fault: str, quantization: Quantization
) -> None:
    host = loaded(hosts, checkpoint("llama"), "llama", quantization, tmp_path / "log")
    found, expected = content(host, fault), footprint("llama", quantization)
    host.close()
    wrong = check_content(expected, found)
    damaged = {"norm": "model.norm.weight", "embedding": "model.embed_tokens.weight"}
    assert damaged.get(fault, "model.layers.0.self_attn.o_proj.weight") in {fault.parameter for fault in wrong}
    assert len(wrong) <= 2, [str(one) for one in wrong]


@pytest.mark.parametrize("quantization", PACKED, ids=str)
@pytest.mark.parametrize("fault", ["expert-byte", "experts-swapped"])
def test_a_fault_in_fused_experts_is_found(
    hosts: Hosts, checkpoint: Checkpoint, footprint: Expected, tmp_path: Path, fault: str, quantization: Quantization
) -> None:
    host = loaded(hosts, checkpoint("mixtral"), "mixtral", quantization, tmp_path / "log")
    found, expected = content(host, fault), footprint("mixtral", quantization)
    host.close()
    (wrong,) = check_content(expected, found)
    assert ".0.mlp.experts." in wrong.parameter


@pytest.mark.parametrize("quantization", PACKED, ids=str)
@pytest.mark.parametrize("fault", ["kernel-half", "kernel-column"])
def test_a_layer_that_computes_something_else_is_found_though_its_bytes_are_right(
    hosts: Hosts, checkpoint: Checkpoint, footprint: Expected, tmp_path: Path, fault: str, quantization: Quantization
) -> None:
    host = loaded(hosts, checkpoint("llama"), "llama", quantization, tmp_path / "log")
    found, expected = content(host, fault), footprint("llama", quantization)
    host.close()
    assert check_content(expected, found) == ()
    (wrong,) = check_products(found)
    assert "computes something else than its unpacked weight" in str(wrong)
