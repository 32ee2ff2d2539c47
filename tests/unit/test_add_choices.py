"""What `plimsoll add` chooses: a tier by the size of the model and by the machine, an id that selects nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from plimsoll.catalogue.reader import read_catalogue
from plimsoll.commands.add import _taken, fitting_tier
from plimsoll.host.describing import Counts, Description, Shape
from plimsoll.inspection.finding import FoundModel, NameKind
from plimsoll.inspection.model import id_of
from plimsoll.node.node import Memory, Node
from plimsoll.plan.cells import Selection, make_plan
from plimsoll.plan.planning import machine_of

GB = 10**9


def node(*, gpu: bool, available: int = 64 * GB) -> Node:
    machine = machine_of(read_catalogue().profiles["h100-80g"]).node
    memory = Memory(total=available, available=available, limit=None)
    return replace(machine, memory=memory) if gpu else replace(machine, gpus=(), memory=memory)


def counts(total: int, experts: int = 0) -> Counts:
    return Counts(total=total, active=total - experts, embedding=0, experts=experts)


@pytest.mark.parametrize(
    ("total", "experts", "expected"),
    [
        (135_000_000, 0, "gpu1b"),
        (3_821_079_552, 0, "gpu3b"),
        (8_030_261_248, 0, "gpu8b"),
        (20_914_757_184, 19_000_000_000, "gpu8b"),
        (70_553_706_496, 0, "gpu70b"),
        (46_702_792_704, 45_097_156_608, "gpumoe"),
    ],
)
def test_with_a_gpu_the_size_decides(total: int, experts: int, expected: str) -> None:
    assert fitting_tier(counts(total, experts), 2 * total, node(gpu=True)) == (expected, "by its size")


def test_without_a_gpu_the_processor_takes_what_its_ram_holds() -> None:
    small, large = counts(8 * GB), counts(40 * GB)
    assert fitting_tier(small, 16 * GB, node(gpu=False)) == (
        "cpu",
        "this machine has no GPU; on one that has: --tier gpu8b",
    )
    tier, why = fitting_tier(large, 80 * GB, node(gpu=False))
    assert tier == "gpu70b"
    assert why == "by its size: this machine has no GPU, and no 81.07 GB (75.51 GiB) of RAM for it"


def described(total: int) -> Description:
    nothing = dict.fromkeys(Shape.__dataclass_fields__)
    return Description(
        transformers="5",
        model_type="llama",
        architecture="LlamaForCausalLM",
        auto_class="AutoModelForCausalLM",
        named=True,
        counts=counts(total),
        tied=False,
        shape=Shape(**nothing),
        rope={},
        attention=("eager",),
        generates=True,
        encoder_decoder=False,
        dtype=None,
        scheme="",
        not_packed={},
        skipped={},
        config={"model_type": "llama"},
        config_null=(),
    )


TAKEN = ("acceptance/test_meaning.py::test_is_the_entrys_model", "tiny-llama/bf16", "llama-3.2-1b/nf4")


@pytest.mark.parametrize(
    ("folder", "total", "expected"),
    [
        ("/models/SmolLM2 135M", 134_515_008, "smollm2-135m"),
        ("/models/model", 134_515_008, "llama-135m"),
        ("/models/tiny-llama", 557_696, "llama-558k"),
        ("/models/llama-3.2", 1_235_814_400, "llama-1.24b"),
        ("/models/7b", 7_248_023_552, "llama-7.25b"),
    ],
)
def test_an_id_selects_the_model_and_nothing_else(folder: str, total: int, expected: str) -> None:
    found = FoundModel(name=folder, kind=NameKind.FOLDER, config={"model_type": "llama"}, folder=Path(folder))
    id_ = id_of(found, described(total), TAKEN)
    assert id_ == expected
    assert not any(id_ in other for other in TAKEN)


@pytest.mark.parametrize(
    "folder",
    [
        *("small", "large", "study", "cpu", "attentions", "primary", "soak", "speed"),  # marks
        *("squad", "h100", "lora", "gpu7", "pinned", "2-processes"),  # in parameters, some on other nodes alone
    ],
)
def test_no_id_is_a_mark_or_stands_in_a_parameter(folder: str) -> None:
    """The command that is printed would ask other models too, and might fetch them."""
    catalogue = read_catalogue()
    found = FoundModel(name=folder, kind=NameKind.FOLDER, config={"model_type": "llama"}, folder=Path("/m", folder))
    id_ = id_of(found, described(134_515_008), _taken(catalogue))
    assert id_ == "llama-135m"
    root = Path(__file__).resolve().parents[2]
    for mark in ("", "dataset or plan or ladder or usage or headroom or ddp"):
        assert make_plan(root, catalogue, Selection(mark=mark, keyword=id_, base=root)).cells == ()


def test_a_name_that_stands_nowhere_is_kept() -> None:
    found = FoundModel(name="x", kind=NameKind.FOLDER, config={"model_type": "llama"}, folder=Path("/m/smallish-own"))
    assert id_of(found, described(134_515_008), _taken(read_catalogue())) == "smallish-own"


def test_a_configuration_alone_is_called_by_its_file_or_by_its_folder() -> None:
    for name, expected in (("/models/acme/config.json", "acme"), ("/models/acme-9b.json", "acme-9b")):
        found = FoundModel(name=name, kind=NameKind.CONFIG, config={"model_type": "llama"})
        assert id_of(found, described(9 * GB), TAKEN) == expected
