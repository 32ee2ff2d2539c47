"""Arithmetic of training: what an optimizer keeps, the parts of a step, the batch that is safe, and where ranks go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plimsoll.catalogue.expression import parse
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.footprint.activations import Moment
from plimsoll.footprint.encoding import step_from_json, step_to_json
from plimsoll.footprint.training import (
    Mode,
    Optimizer,
    Phase,
    StepPrediction,
    Training,
    bridge_width,
    optimizer_bytes,
    updating_on_cpu,
)
from plimsoll.gate.need import CONTEXT_ALLOWANCE
from plimsoll.host.ranks import device_map_of
from plimsoll.plan.asking import Named
from plimsoll.plan.cases import training_cases
from plimsoll.plan.headroom import RESERVE, Headroom, Wanted, parse_count, table_sizes
from plimsoll.plan.headroom_table import render, to_json

CATALOGUE = read_catalogue()
GB = 10**9
BRIDGE = Training(mode=Mode.BRIDGE, size=1000)


def moment(one: int = 0, token: int = 0, pair: int = 0) -> Moment:
    """Bytes for each sequence: so many, and for each token and pair of tokens of it."""
    return Moment(terms=(0, 0, 0, one, token, pair), operation="aten.mm")


def step(**changes: Any) -> StepPrediction:
    fields: dict[str, Any] = {
        "weights": 16 * GB,
        "trained_parameters": 25,
        "gradients": 100,
        "optimizer": 200,
        "updating_on_cpu": 700,
        "kept": moment(token=1000),
        "forward": (moment(token=1200),),
        "backward": (moment(token=1500), moment(one=10**6)),
        "backward_again": (moment(token=1600),),
    }
    return StepPrediction(**{**fields, **changes})


def test_states_of_adamw_are_two_of_the_gradients_size_and_a_counter_a_tensor() -> None:
    assert optimizer_bytes([(1000, 4), (10, 4)], Optimizer.ADAMW) == 2 * 4 * 1010 + 2 * 4
    assert optimizer_bytes([(1000, 2)], Optimizer.ADAMW) == 2 * 2 * 1000 + 4


def test_states_in_8_bit_take_a_byte_a_number_and_small_tensors_stay_in_float32() -> None:
    blocks = 2 * 4 * 20
    tables = 2 * 256 * 4
    assert optimizer_bytes([(5000, 2)], Optimizer.ADAMW_8BIT) == 2 * 5000 + blocks + tables
    assert optimizer_bytes([(5000, 2), (4095, 2)], Optimizer.ADAMW_8BIT) == 2 * 5000 + blocks + tables + 2 * 4 * 4095
    assert optimizer_bytes([(4095, 2)], Optimizer.ADAMW_8BIT) == 2 * 4 * 4095, "no table where nothing is packed"


def test_sgd_keeps_nothing_and_kernels_work_in_place() -> None:
    assert optimizer_bytes([(5000, 4)], Optimizer.SGD) == 0
    assert updating_on_cpu([5000], Optimizer.ADAMW) == 0
    assert updating_on_cpu([5000, 9000, 100], Optimizer.ADAMW_8BIT) == 6 * 4 * 9000


def test_the_peak_is_that_of_the_highest_phase() -> None:
    parts = step().at(2, 1000)
    assert (parts.phase, parts.peak) == (Phase.BACKWARD, 16 * GB + 200 + 2 * 1500 * 1000)
    assert parts.activations == 2 * 1000 * 1000
    assert parts.workspace == 2 * 500 * 1000, "what is beyond weights, states and what is kept"


def test_a_short_sequence_is_outweighed_by_another_moment_or_the_update() -> None:
    assert step().at(1, 10).peak == 16 * GB + 200 + 10**6
    small = step(backward=(moment(token=1),), forward=(moment(token=1),), kept=moment())
    assert small.at(1, 10, device="cuda").phase is Phase.UPDATE
    assert small.at(1, 10, device="cuda").peak == 16 * GB + 200 + 100
    assert small.at(1, 10, device="cpu").peak == 16 * GB + 200 + 100 + 700
    assert small.at(1, 10, device="cpu").workspace == 700


def test_accumulation_finds_gradients_in_the_forward_pass() -> None:
    forward = step(backward_again=(moment(),)).at(1, 1000, accumulation=4)
    assert (forward.phase, forward.peak) == (Phase.FORWARD, 16 * GB + 200 + 1200 * 1000 + 100)
    assert forward.workspace == 200 * 1000
    backward = step().at(1, 1000, accumulation=4)
    assert backward.peak == 16 * GB + 200 + 1600 * 1000


def test_a_prediction_survives_json() -> None:
    assert step_from_json(step_to_json(step())) == step()


@pytest.mark.parametrize(
    ("mode", "size", "message"),
    [
        (Mode.FULL, 3, "full training takes no size, not 3"),
        (Mode.LORA, 0, "lora training takes a rank from 1, not 0"),
        (Mode.BRIDGE, 0, "bridge training takes a number of parameters from 1, not 0"),
    ],
)
def test_sizes_that_mean_nothing(mode: Mode, size: int, message: str) -> None:
    with pytest.raises(PlimsollError) as error:
        Training(mode=mode, size=size)
    assert str(error.value) == message


def test_a_bridge_has_at_most_the_parameters_that_were_asked_for() -> None:
    assert bridge_width(64 * 10**6, 4096, 4096) == 7812
    with pytest.raises(PlimsollError) as error:
        bridge_width(100, 64, 64)
    assert str(error.value) == (
        "a bridge from a width of 64 to one of 64 has at least 128 parameters, and 100 were asked for"
    )


@pytest.mark.parametrize(("text", "count"), [("64M", 64 * 10**6), ("250k", 250_000), ("7", 7), ("2G", 2 * 10**9)])
def test_counts_are_read_as_people_write_them(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "M", "0", "-3", "1.5M", "64 M", "64m"])
def test_other_counts_are_refused(text: str) -> None:
    with pytest.raises(PlimsollError, match="must be a number of parameters such as 64M or 250k"):
        parse_count(text)


def room(memory: int = 24 * GB, **changes: Any) -> Headroom:
    wanted = Wanted(variant=CATALOGUE.variants["llama-3.1-8b/bf16"], partner=None, training=BRIDGE, length=1000)
    return Headroom(wanted=wanted, step=step(**changes), memory=memory)


def test_the_largest_safe_batch_leaves_the_reserve_and_one_more_does_not() -> None:
    of = room()
    batch = of.safe_batch()
    free = 24 * GB - CONTEXT_ALLOWANCE - 16 * GB - 200
    assert batch == int(free / ((1 + RESERVE) * 1500 * 1000)) > 1000
    assert of.left(batch) >= of.reserve(batch)
    assert of.left(batch + 1) < of.reserve(batch + 1)
    assert room(memory=60 * GB).limit == "activations"


def test_what_limits_is_the_largest_part() -> None:
    assert room(memory=17 * GB).safe_batch() == 0
    assert room(memory=17 * GB).limit == "weights"
    assert room(kept=moment(token=100)).limit == "weights", "16 GB of them are more than 6 of workspace"
    assert room(memory=60 * GB, kept=moment(token=100)).limit == "workspace"


def test_nothing_safe_says_what_is_lacking() -> None:
    text = render("a-gpu", room(memory=16 * GB), [])
    assert "not one sequence is safe: " in text
    assert "are lacking; what takes most: weights" in text
    data = to_json("a-gpu", room(memory=16 * GB), [])
    assert (data["safe_batch"], data["left_bytes"] < 0) == (0, True)


def test_the_table_has_the_safe_batch_and_the_length_asked_for() -> None:
    batches, lengths = table_sizes(room(memory=18 * GB))
    assert room(memory=18 * GB).safe_batch() in batches
    assert lengths == [250, 500, 1000, 2000]
    rows = to_json("a-gpu", room(memory=18 * GB), [])["table"]
    assert {(row["batch"], row["length"]) for row in rows} == {(b, n) for b in batches for n in lengths}
    assert all(row["safe"] == (row["batch"] <= room(memory=18 * GB).safe_batch(row["length"])) for row in rows)


def test_a_rank_goes_to_the_gpu_of_its_number_and_a_process_alone_where_the_planner_says() -> None:
    assert device_map_of("cuda", 3) == {"": 3}
    assert device_map_of("cuda", None) == "auto"
    assert device_map_of("cpu", 1) == {"": "cpu"}
    assert device_map_of("mps", None) == {"": "mps"}


@pytest.mark.parametrize(("file", "mark"), [("test_headroom.py", "headroom"), ("test_ddp.py", "ddp")])
def test_training_is_asked_by_name_alone(file: str, mark: str) -> None:
    assert not Named(marks=parse("")).asks(file, CATALOGUE)
    assert not Named(marks=parse("tiny")).asks(file, CATALOGUE)
    assert Named(marks=parse(f"tiny and {mark}")).asks(file, CATALOGUE)
    assert Named(marks=parse(""), paths=(f"acceptance/{file}",)).asks(file, CATALOGUE)


def test_all_weights_are_trained_of_tiny_models_alone() -> None:
    cases = list(training_cases(CATALOGUE.variants.values()))
    tiny = [case for case in cases if case.variant.model.recipe is not None]
    assert len(tiny) == 5 * len(Mode)
    assert {case.training.mode for case in cases if case not in tiny} == {Mode.LORA, Mode.BRIDGE}
    assert len({case.id for case in cases}) == len(cases)


def test_a_variant_that_is_spread_is_not_asked_to_train() -> None:
    variant = next(v for v in CATALOGUE.variants.values() if v.id == "llama-3.1-8b/bf16")
    assert list(training_cases([variant]))
    assert not list(training_cases([replace(variant, device_map="auto")]))
