"""Comparison pairs like with like: the same GPU by UUID first, then a GPU of the same product."""

from __future__ import annotations

from dataclasses import replace

from plimsoll.compare.gpus import aligned
from plimsoll.compare.side import CellState, OnGpus, Side, SideFigure, Timed
from plimsoll.verdict.cells import CellOutcome
from tests.support.compare_runs import side

H100, T4 = "NVIDIA H100", "Tesla T4"


def check(gpu: str, variant: str = "llama/nf4") -> str:
    return f"acceptance/test_memory.py::test_peak[{variant}:{gpu}]"


def side_on(name: str, **on: tuple[str, str]) -> Side:
    """A side with one check, of one variant, on each GPU: id -> UUID and product."""
    return with_checks(name, {check(gpu): OnGpus(uuids=(uuid,), products=(kind,)) for gpu, (uuid, kind) in on.items()})


def with_checks(name: str, on: dict[str, OnGpus]) -> Side:
    def time(cell: str) -> Timed:
        return Timed(cell=cell, metric="cold_load_time", unit="s", rounds=(1.0,), median=1.0)

    def figure(cell: str) -> SideFigure:
        return SideFigure(cell=cell, metric="vram_peak", unit="bytes", value=1.0)

    return replace(
        side(name, []),
        cells={cell: CellState(outcome=CellOutcome.PASS) for cell in on},
        timed={(cell, "cold_load_time"): time(cell) for cell in on},
        figures={(cell, "vram_peak"): figure(cell) for cell in on},
        on=on,
    )


def pairs(base: Side, other: Side) -> dict[str, str]:
    """GPU of the base -> UUID of the GPU that it is held against."""
    found = aligned(base, other)
    assert found.cells is not None
    assert set(found.cells) == set(found.on)
    assert {cell for cell, _ in found.timed} == {cell for cell, _ in found.figures} == set(found.cells)
    assert all(timed.cell == cell for (cell, _), timed in found.timed.items())
    assert all(figure.cell == cell for (cell, _), figure in found.figures.items())
    return {
        cell.rpartition(":")[2].rstrip("]"): "+".join(found.on[cell].uuids or ())
        for cell in base.on
        if cell in found.on
    }


def test_the_same_gpu_is_found_by_its_uuid_wherever_it_sits_now() -> None:
    base = side_on("base", gpu0=("A", H100), gpu1=("B", H100), gpu2=("C", H100))
    other = side_on("other", gpu0=("C", H100), gpu1=("A", H100), gpu2=("B", H100))
    assert pairs(base, other) == {"gpu0": "A", "gpu1": "B", "gpu2": "C"}


def test_a_replaced_gpu_is_held_against_one_of_its_product() -> None:
    base = side_on("base", gpu0=("A", H100), gpu1=("B", H100))
    other = side_on("other", gpu0=("new", H100), gpu1=("A", H100))
    assert pairs(base, other) == {"gpu0": "A", "gpu1": "new"}


def test_a_gpu_of_another_product_is_not_taken_where_a_like_one_is_there() -> None:
    base = side_on("base", gpu0=("A", H100), gpu1=("B", T4))
    other = side_on("other", gpu0=("Y", T4), gpu1=("X", H100))
    assert pairs(base, other) == {"gpu0": "X", "gpu1": "Y"}


def test_a_variant_that_was_dealt_to_another_gpu_is_found_there() -> None:
    base, other = side_on("base", gpu3=("D", H100)), side_on("other", gpu5=("F", H100))
    assert pairs(base, other) == {"gpu3": "F"}


def test_a_node_with_one_gpu_is_held_against_one_of_several() -> None:
    alone = "acceptance/test_memory.py::test_peak[llama/nf4]"
    base = with_checks("base", {alone: OnGpus(uuids=("A",), products=(H100,))})
    found = aligned(base, side_on("other", gpu0=("X", H100), gpu1=("A", H100)))
    assert found.on[alone].uuids == ("A",)
    assert found.on[check("gpu0")].uuids == ("X",)


def test_what_stands_in_the_way_of_a_pair_gives_up_its_name_and_is_lost_to_nobody() -> None:
    base = side_on("base", gpu0=("A", H100))
    found = aligned(base, side_on("other", gpu0=("X", T4), gpu1=("A", H100)))
    assert found.on[check("gpu0")].uuids == ("A",)
    assert found.on[f"{check('gpu0')} on X"].uuids == ("X",)


def test_checks_of_devices_and_of_two_gpus_are_paired_too() -> None:
    golden = "acceptance/test_golden.py::test_golden_logits[{}-llama/nf4]"
    one = with_checks(
        "base",
        {
            golden.format("gpu0"): OnGpus(uuids=("A",), products=(H100,)),
            check("gpu0+gpu1"): OnGpus(uuids=("A", "B"), products=(H100, H100)),
        },
    )
    two = with_checks(
        "other",
        {
            golden.format("gpu1"): OnGpus(uuids=("A",), products=(H100,)),
            check("gpu2+gpu3"): OnGpus(uuids=("C", "D"), products=(H100, H100)),
        },
    )
    found = aligned(one, two)
    assert set(found.on) == set(one.on)


def test_sides_of_the_same_ids_are_left_as_they_are() -> None:
    base = side_on("base", gpu0=("A", H100))
    other = side_on("other", gpu0=("A", H100))
    assert aligned(base, other) is other
    plain = side("plain", [[1.0]])
    assert aligned(base, plain) is plain
    # A GPU that is unlike is held against it all the same where nothing better is there: --force-unlike asks for that.
    assert pairs(base, side_on("other", gpu0=("X", T4))) == {"gpu0": "X"}
