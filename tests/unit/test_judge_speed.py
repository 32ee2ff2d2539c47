"""Floors of products, devices beside each other, and what a token must read."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import CatalogueError
from plimsoll.host.protocol import Inventory, ParameterRecord
from plimsoll.host.rates import Rates, of_all_ranks
from plimsoll.judge import speed
from plimsoll.judge.judgement import Limit, Measurement, Outcome, judge
from plimsoll.judge.own_limits import first_token_time, token_time
from plimsoll.judge.speed import OTHERS_LIMIT, OTHERS_MARGIN, behind_others, floor_limit, sheet_share, token_bytes
from plimsoll.node.devices import CPU_DEVICE, Device
from plimsoll.plan.cases import DTYPES, dtypes_of

CATALOGUE = read_catalogue([])
NONE = Limit(metric="sum_error", high=0.0, source="sums of small integers are exact")
H100 = Device(
    id="gpu3", kind="cuda", index=3, name="NVIDIA H100 80GB HBM3", memory=85 * 10**9, compute_capability="9.0"
)


def _outcome(metric: str, value: float, of: str | None = None, device: Device = H100) -> Outcome:
    limit = floor_limit(CATALOGUE, device, metric, of)
    assert limit is not None
    return judge(Measurement(metric=metric, value=value), limit).outcome


@pytest.mark.parametrize(
    ("metric", "of", "sound", "slow"),
    [
        ("matmul_rate", "bf16", 730e12, 600e12),
        ("memory_bandwidth", None, 2.9e12, 2.5e12),
        ("link_rate", "to-device-pinned", 54.8e9, 27e9),
        ("all_reduce_rate", "8-gpus", 485e9, 368e9),
    ],
)
def test_an_h100_is_held_against_published_figures(metric: str, of: str | None, sound: float, slow: float) -> None:
    assert _outcome(metric, sound, of) is Outcome.PASS
    assert _outcome(metric, slow, of) is Outcome.FAIL


def test_of_several_ranks_the_worst_error_counts_whoever_made_it() -> None:
    slow = Rates(best="1", rounds=(1.0,), medians={"1": 1.0}, error=0.0)
    fast = replace(slow, rounds=(2.0,))
    for error in (0.5, math.inf, math.nan):
        for answers in ((slow, replace(fast, error=error), fast), (replace(fast, error=error), slow)):
            told = of_all_ranks(answers)
            assert told.rate == slow.rate
            assert str(told.error) == str(error)
            assert judge(Measurement(metric="sum_error", value=told.error), NONE).outcome is Outcome.FAIL
    assert of_all_ranks((slow, replace(fast, error=None))).error is None, "a rank that tells no error is not right"


def test_a_product_of_which_nobody_published_anything_has_no_floor() -> None:
    other = replace(H100, name="NVIDIA H900 Ultra")
    assert floor_limit(CATALOGUE, other, "matmul_rate", "bf16") is None
    assert floor_limit(CATALOGUE, replace(H100, name=None), "memory_bandwidth") is None


def test_every_floor_is_below_its_sheet_and_has_a_source() -> None:
    for floor in CATALOGUE.floors:
        assert floor.source
        assert floor.sheet is None or floor.low < floor.sheet


def test_a_part_of_the_sheet_is_told() -> None:
    assert sheet_share(CATALOGUE, H100, "matmul_rate", "bf16", 494.75e12) == pytest.approx(0.5)
    assert sheet_share(CATALOGUE, CPU_DEVICE, "memory_bandwidth", None, 1e9) is None


def test_an_own_floor_comes_before_the_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[[floor]]\ndevices = ["nvidia h100*"]\nmetric = "memory_bandwidth"\n'
        'low = 3.0\nunit = "TB/s"\nsource = "ours"\n'
    )
    limit = floor_limit(read_catalogue([own]), H100, "memory_bandwidth")
    assert limit is not None
    assert (limit.low, limit.source) == (3.0e12, "ours")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('metric = "ram_peak"\nunit = "GB"\nlow = 1', "ram_peak is no speed of a device"),
        ('metric = "matmul_rate"\nunit = "GB/s"\nlow = 1', "'GB/s' does not measure matmul_rate"),
        ('metric = "matmul_rat"\nunit = "TFLOP/s"\nlow = 1', "did you mean 'matmul_rate'?"),
        ('metric = "matmul_rate"\nunit = "TFLOP/s"\nlow = 2\nsheet = 1', "which is above the data sheet, 1"),
        ('metric = "matmul_rate"\nunit = "TFLOP/s"\nlow = 0', "must be more than 0, not 0"),
    ],
)
def test_a_floor_that_cannot_be_meant_is_refused(tmp_path: Path, line: str, told: str) -> None:
    own = tmp_path / "own.toml"
    own.write_text(f'[[floor]]\ndevices = ["x"]\nsource = "s"\n{line}\n')
    with pytest.raises(CatalogueError, match="floor") as error:
        read_catalogue([own])
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("capability", "missing"), [("9.0", set()), ("8.0", {"fp8"}), ("7.5", {"bf16", "tf32", "fp8"}), (None, set())]
)
def test_products_are_timed_in_what_the_gpu_has_units_for(capability: str | None, missing: set[str]) -> None:
    assert set(dtypes_of(replace(H100, compute_capability=capability))) == set(DTYPES["cuda"]) - missing


def test_blocks_and_matrices_fit_a_small_gpu() -> None:
    memory = 2 * 2**30
    small = replace(H100, memory=memory)
    assert max(speed.matmul_request(small, "bf16").sides) ** 2 * 4 <= memory / 16 + 1
    assert max(speed.memory_request(small).sizes) <= 2**28
    assert max(speed.memory_request(H100).sizes) == 2**30


@pytest.mark.parametrize(
    ("slow", "outcome"), [(1.0, Outcome.PASS), (0.96, Outcome.PASS), (0.94, Outcome.MARGINAL), (0.88, Outcome.FAIL)]
)
def test_a_gpu_behind_the_others_is_told(slow: float, outcome: Outcome) -> None:
    rates = {f"gpu{number}": 700e12 * (1 + 0.01 * (number % 3 - 1)) for number in range(8)}
    rates["gpu5"] = 700e12 * slow
    limit = Limit(metric="behind_others", high=OTHERS_LIMIT, margin=OTHERS_MARGIN, source="s")
    found = {gpu: judge(Measurement(metric="behind_others", value=behind_others(gpu, rates)), limit) for gpu in rates}
    assert found["gpu5"].outcome is outcome
    assert all(judged.outcome is Outcome.PASS for gpu, judged in found.items() if gpu != "gpu5")


def test_one_slow_gpu_of_two_is_told_and_the_other_is_not() -> None:
    rates = {"gpu0": 700e12, "gpu1": 600e12}
    assert behind_others("gpu1", rates) == pytest.approx(1 / 7)
    assert behind_others("gpu0", rates) < 0


def _record(name: str, size: int, rows: int = 100) -> ParameterRecord:
    return ParameterRecord(
        name=name, shape=(rows, 8), data_bytes=size, statistics_bytes=0, storage_dtype="x", scheme="float", device="cpu"
    )


PARTS = (
    _record("model.embed_tokens.weight", 1000),
    _record("model.layers.0.mlp.experts.gate_up_proj", 8000),
    _record("model.layers.0.self_attn.q_proj.weight", 500),
    _record("visual.blocks.0.attn.weight", 4000),
    _record("lm_head.weight", 1000),
)
USED = ("model.layers.0.mlp.experts", "model.layers.0.self_attn.q_proj", "lm_head")


def test_a_token_reads_what_a_step_runs_and_the_experts_that_are_taken() -> None:
    inventory = Inventory(parameters=PARTS, buffers=())
    one = token_bytes(inventory, USED, 1, cache=50, experts_share=0.25)
    assert (one.least, one.most) == (1500 + 2000 + 50, 1500 + 2000 + 50)
    eight = token_bytes(inventory, USED, 8, cache=0, experts_share=0.25)
    assert (eight.least, eight.most) == (1500 + 2000, 1500 + 8000), "all at one expert, or each at its own"


def test_experts_of_which_nobody_says_how_many_are_taken_count_for_the_most_alone() -> None:
    read = token_bytes(Inventory(parameters=PARTS, buffers=()), USED, 1, cache=0, experts_share=None)
    assert (read.least, read.most) == (1500, 9500)


def test_a_tied_embedding_is_read_as_the_head() -> None:
    used = ("model.embed_tokens", *USED[:2])
    read = token_bytes(Inventory(parameters=PARTS[:3], buffers=()), used, 1, cache=0, experts_share=1.0)
    assert read.least == 1000 + 8000 + 500


@pytest.mark.parametrize("pattern", ["NVIDIA H100 80GB HBM3*", "NVIDIA *", "*"])
def test_an_instance_of_a_split_gpu_is_not_held_to_the_floor_of_the_whole(pattern: str, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    entry = f'[[floor]]\ndevices = ["{pattern}"]\nmetric = "memory_bandwidth"\nlow = 2\nunit = "TB/s"\nsource = "s"\n'
    own.write_text(entry)
    instance = replace(H100, name="NVIDIA H100 80GB HBM3 MIG 1g.10gb", uuid="MIG-1")
    catalogue = read_catalogue([own])
    assert floor_limit(catalogue, H100, "memory_bandwidth") is not None
    assert floor_limit(catalogue, instance, "memory_bandwidth") is None
    own.write_text(entry.replace(pattern, "NVIDIA H100 * MIG 1g.10gb").replace("low = 2", "low = 0.2"))
    limit = floor_limit(read_catalogue([own]), instance, "memory_bandwidth")
    assert limit is not None
    assert limit.low == 0.2e12


def test_a_card_of_another_form_is_not_held_to_the_floors_of_the_module() -> None:
    """An H200 NVL has less power than the H200 of an HGX board, and no NVLink to most of its neighbours."""
    module, card = replace(H100, name="NVIDIA H200"), replace(H100, name="NVIDIA H200 NVL")
    for metric, of in (("matmul_rate", "bf16"), ("memory_bandwidth", None), ("peer_rate", None)):
        assert floor_limit(CATALOGUE, module, metric, of) is not None
        assert floor_limit(CATALOGUE, card, metric, of) is None


def test_limits_of_generation_follow_from_the_bandwidth() -> None:
    step = token_time(40e9, 2.9e12, 80, "cuda")
    assert step.high == pytest.approx(20 * 40 / 2900 + 80 * 0.02)
    whole = first_token_time(step.high or 0.0, 512)
    assert whole.high == pytest.approx(512 * (step.high or 0))
    assert "80 layers" in step.source
