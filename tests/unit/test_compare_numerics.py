"""Comparison says where a driver or a library computes other bits of the same model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.compare.comparison import compare
from plimsoll.compare.document import document, statement
from plimsoll.compare.fail_on import FailCondition, exit_status, findings
from plimsoll.compare.pairing import numerics_changes
from plimsoll.compare.rule import Rule
from plimsoll.compare.side import CellState, OnGpus, Side
from plimsoll.present.markdown import document_text
from plimsoll.verdict.cells import CellOutcome
from tests.support.compare_runs import side

CHECK = "acceptance/test_agreement.py::test_repeats_to_the_bit[gpu{}-wide/bf16]"


def agreeing(name: str, bits: dict[int, dict[str, str]], uuid: str = "GPU-{}") -> Side:
    """A side with one check of agreement on each GPU: index -> way -> digest."""
    cells = {CHECK.format(gpu): ways for gpu, ways in bits.items()}
    return replace(
        side(name, []),
        cells={cell: CellState(outcome=CellOutcome.PASS) for cell in cells},
        on={CHECK.format(gpu): OnGpus(uuids=(uuid.format(gpu),), products=("H100",)) for gpu in bits},
        bits=cells,
    )


BASE_BITS = {0: {"whole": "a", "decoded": "b"}, 1: {"whole": "a", "decoded": "b"}}
BASE = agreeing("before", BASE_BITS)


def test_the_same_bits_are_no_change() -> None:
    assert numerics_changes(BASE, BASE) == []


def test_a_way_that_only_one_side_has_is_no_change() -> None:
    assert numerics_changes(BASE, agreeing("after", {0: {"whole": "a", "other": "c"}})) == []


def test_a_product_that_computes_other_bits_is_reported() -> None:
    after = agreeing("after", {gpu: {"whole": "x", "decoded": "b"} for gpu in (0, 1)})
    comparison = compare([BASE, after], Rule())
    changes = comparison.versus[0].numerics
    assert [(change.cell, change.ways, change.of) for change in changes] == [
        (CHECK.format(gpu), ("whole",), 2) for gpu in (0, 1)
    ]
    assert "numerics: 2 checks with other bits" in statement(comparison.versus[0])
    text = document_text(document(comparison))
    assert "changed numerics" in text
    assert "1 of 2" in text
    assert exit_status(comparison, [FailCondition.NUMERICS], allow_undecided=False) == 1
    assert exit_status(comparison, [FailCondition.OUTCOME], allow_undecided=False) == 0
    (found,) = findings(comparison, [FailCondition.NUMERICS])
    assert found.text == "after: 2 checks computed other bits"


@pytest.mark.parametrize("changed", ["GPU-0", "GPU-1"])
def test_bits_follow_the_gpu_that_sits_elsewhere_now(changed: str) -> None:
    """Two GPUs that changed places: the one whose bits changed is named by its place in the base."""
    ways = {"whole": "a", "decoded": "b"}
    bits = {0: dict(ways), 1: dict(ways)}
    after = agreeing("after", bits)
    swapped = replace(
        after,
        on={
            CHECK.format(0): OnGpus(uuids=("GPU-1",), products=("H100",)),
            CHECK.format(1): OnGpus(uuids=("GPU-0",), products=("H100",)),
        },
        bits={
            CHECK.format(0): ways | ({"whole": "x"} if changed == "GPU-1" else {}),
            CHECK.format(1): ways | ({"whole": "x"} if changed == "GPU-0" else {}),
        },
    )
    (change,) = compare([BASE, swapped], Rule()).versus[0].numerics
    assert change.cell == CHECK.format(changed[-1])


def test_runs_without_a_digest_in_common_leave_it_open() -> None:
    """Nothing that was compared is not nothing that changed."""
    for other in (agreeing("after", {}), agreeing("after", {0: {"another way": "a"}})):
        comparison = compare([BASE, replace(other, cells=BASE.cells)], Rule())
        assert comparison.versus[0].numerics == ()
        assert exit_status(comparison, [FailCondition.NUMERICS], allow_undecided=True) == 6
    same = compare([BASE, agreeing("after", dict(BASE_BITS))], Rule())
    assert exit_status(same, [FailCondition.NUMERICS], allow_undecided=False) == 0
