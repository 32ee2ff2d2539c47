"""What each device of a node is asked, and which others it is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.device_values import DeviceValues, KeptFailureError
from fixtures.options import seconds_of
from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.golden import read_agreement
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.host.rates import Bits, Rates
from plimsoll.judge import speed
from plimsoll.judge.golden import bits_request, minority, refuse_other_bits, ways_apart
from plimsoll.node.devices import CPU_DEVICE, NO_GPU, Device, Devices
from plimsoll.plan.asking import SOAKING
from plimsoll.plan.cases import Case, alike_cases, matmul_cases, peer_cases, rank_cases, same_bits_cases
from plimsoll.plan.cells import Selection, make_plan

ROOT = Path(__file__).parents[2]
H100S = tuple(
    Device(id=f"gpu{n}", kind="cuda", index=n, uuid=f"GPU-{n}", name="NVIDIA H100 80GB HBM3", compute_capability="9.0")
    for n in range(8)
)
A10 = Device(id="gpu8", kind="cuda", index=8, uuid="GPU-8", name="NVIDIA A10", compute_capability="8.6")


def _ids(make: Callable[[Device, Sequence[Device]], Iterator[Case]], devices: Sequence[Device]) -> list[str]:
    return [case.id for device in devices for case in make(device, devices)]


def test_each_gpu_multiplies_in_all_that_it_has_units_for() -> None:
    assert _ids(matmul_cases, (H100S[3],)) == [f"gpu3-{d}" for d in ("bf16", "fp16", "tf32", "fp8", "int8")]
    assert _ids(matmul_cases, (A10,)) == [f"gpu8-{d}" for d in ("bf16", "fp16", "tf32", "int8")]
    assert _ids(matmul_cases, (CPU_DEVICE,)) == [f"cpu-{d}" for d in ("fp32", "bf16", "fp16", "int8")]


def test_a_gpu_alone_is_compared_with_nobody() -> None:
    for make in (
        peer_cases,
        rank_cases,
        alike_cases,
        same_bits_cases,
    ):
        assert _ids(make, (H100S[0],)) == []
        assert _ids(make, (NO_GPU,)) == []


def test_gpus_are_compared_with_their_own_product_alone() -> None:
    devices = (*H100S, A10)
    for make in (alike_cases, same_bits_cases):
        cases = [case for device in devices for case in make(device, devices)]
        assert {case.device for case in cases} == set(H100S)
        assert all(set(case.others) == set(H100S) - {case.device} for case in cases)


def test_a_gpu_without_a_name_is_like_no_other() -> None:
    nameless = tuple(replace(device, name=None) for device in H100S)
    assert _ids(alike_cases, nameless) == []


def test_copies_go_from_each_gpu_to_every_other_and_sums_over_all_once() -> None:
    assert _ids(peer_cases, H100S)[3] == "gpu3-7-others"
    assert _ids(rank_cases, H100S) == ["gpu0-8-gpus"]
    assert _ids(rank_cases, (CPU_DEVICE,)) == ["cpu-2-processes"]


def test_the_plan_of_a_node_of_eight_asks_every_gpu() -> None:
    selection = Selection(mark="gpu8b and (devices or agreement)", base=ROOT)
    made = make_plan(ROOT, read_catalogue([]), selection, Devices(gpus=H100S))
    found = {cell.id.partition("::")[2] for cell in made.cells}
    for gpu in range(8):
        assert {
            f"test_matmul[gpu{gpu}-bf16]",
            f"test_bandwidth[gpu{gpu}]",
            f"test_link[gpu{gpu}-to-device-pinned]",
            f"test_peer_copies[gpu{gpu}-7-others]",
            f"test_as_fast_as_its_product[gpu{gpu}-memory]",
            f"test_repeats_to_the_bit[gpu{gpu}-wide/int8]",
            f"test_agrees_with_its_product[gpu{gpu}-small/nf4-dq]",
        } <= found
    assert not any("[cpu" in name for name in found)
    assert not any("soak" in name for name in found)


def test_a_soak_is_planned_where_its_time_is_said() -> None:
    selection = Selection(mark="gpu8b and soak", base=ROOT, soak=True)
    made = make_plan(ROOT, read_catalogue([]), selection, Devices(gpus=H100S[:2]))
    assert [cell.id for cell in made.cells] == [
        f"acceptance/{SOAKING}::test_soak[gpu{gpu}-wide/bf16]" for gpu in range(2)
    ]


def _bits(**ways: str) -> Bits:
    return Bits(digests=ways, rounds=5, unsteady={}, finite=True, weights_sha256="w", seconds=1.0)


def test_a_device_is_apart_where_more_than_half_have_other_bits() -> None:
    found = {f"gpu{n}": _bits(whole="a", decoded="b") for n in range(8)}
    assert minority(found) == ()
    found["gpu5"] = _bits(whole="a", decoded="x")
    assert minority(found) == ("gpu5",)
    assert ways_apart("gpu5", found) == ("decoded",)


@pytest.mark.parametrize(
    ("digests", "apart"), [("ab", "01"), ("aab", "2"), ("aabb", "0123"), ("abc", "012"), ("aaab", "3")]
)
def test_without_a_majority_every_device_is_apart(digests: str, apart: str) -> None:
    found = {str(number): _bits(whole=digest) for number, digest in enumerate(digests)}
    assert minority(found) == tuple(apart)


def test_bits_that_were_not_computed_agree_with_nothing() -> None:
    model = read_agreement().models["small"]
    request = bits_request(model, Quantization.BF16, "cpu", 3)
    ways = {f"{batch} at once, {way}": "a" for batch in (1, 4) for way in ("whole", "token by token")}
    refuse_other_bits(request, replace(_bits(**ways), rounds=3))
    with pytest.raises(PlimsollError, match="computed nothing, and was asked for 1 at once"):
        refuse_other_bits(request, replace(_bits(), rounds=3))
    with pytest.raises(PlimsollError, match="computed 1 at once, token by token, 4 at once"):
        refuse_other_bits(request, replace(_bits(**dict([*ways.items()][1:])), rounds=3))
    with pytest.raises(PlimsollError, match="computed 2 rounds, and was asked for 3"):
        refuse_other_bits(request, replace(_bits(**ways), rounds=2))
    once = bits_request(model, Quantization.BF16, "cpu", 1)
    with pytest.raises(PlimsollError, match="computed 1 rounds, and was asked for 2"):
        refuse_other_bits(once, replace(_bits(**ways), rounds=1))


def test_the_models_of_agreement_are_the_golden_one_and_one_in_a_real_shape() -> None:
    agreement = read_agreement()
    small, wide = agreement.models["small"], agreement.models["wide"]
    assert small.tensors == small.base.tensors
    assert wide.config["hidden_size"] == 2048
    assert len(wide.tensors) == 1 + 2 * 9 + 2
    assert (wide.devices, wide.batches) == (("cuda",), (1, 4, 16))


def test_a_figure_is_computed_once_a_run(tmp_path: Path) -> None:
    calls = []

    def make() -> Rates:
        calls.append(1)
        return Rates(best="1", rounds=(1.0, 2.0), medians={"1": 1.5}, error=0.0)

    first = DeviceValues(tmp_path).get("bf16 on gpu3", Rates, make)
    again = DeviceValues(tmp_path).get("bf16 on gpu3", Rates, make)
    assert first == again == Rates(best="1", rounds=(1.0, 2.0), medians={"1": 1.5}, error=0.0)
    assert len(calls) == 1
    DeviceValues(tmp_path).get("bf16 on gpu4", Rates, make)
    assert len(calls) == 2


@pytest.mark.parametrize("error", [math.nan, math.inf])
def test_an_error_that_is_no_number_is_kept_as_one_that_was_measured(tmp_path: Path, error: float) -> None:
    found = Rates(best="1", rounds=(1.0,), medians={"1": 1.0}, error=error)
    for _ in range(2):
        told = DeviceValues(tmp_path).get("sums", Rates, lambda: found)
        assert isinstance(told, Rates)
        assert str(told.error) == str(error)


def test_a_skip_and_a_failure_are_kept_too(tmp_path: Path) -> None:
    skip = Skip(code=SkipCode.VRAM, have="1", need="2", fix="f")
    assert DeviceValues(tmp_path).get("a", Rates, lambda: skip) == skip
    assert DeviceValues(tmp_path).get("a", Rates, lambda: pytest.fail("asked again")) == skip

    def fail() -> Rates:
        raise ValueError("the GPU fell off the bus")

    with pytest.raises(ValueError, match="fell off"):
        DeviceValues(tmp_path).get("b", Rates, fail)
    with pytest.raises(KeptFailureError, match="b: the GPU fell off the bus"):
        DeviceValues(tmp_path).get("b", Rates, lambda: pytest.fail("asked again"))


@pytest.mark.parametrize(("text", "seconds"), [("30min", 1800), ("90 s", 90), ("1.5h", 5400), ("30", 0), ("-1s", 0)])
def test_a_time_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_instances_of_split_gpus_are_asked_alone() -> None:
    """One process sees no two of them, and NCCL refuses two ranks on one GPU."""
    parts = tuple(replace(H100S[0], id=f"gpu0.{n}", uuid=f"MIG-{n}") for n in range(2))
    assert not [case for part in parts for case in (*peer_cases(part, parts), *rank_cases(part, parts))]
    mixed = (*parts, *H100S[1:3])
    assert [case.id for one in mixed for case in rank_cases(one, mixed)] == ["gpu1-2-gpus"]
    assert [case.id for one in mixed for case in peer_cases(one, mixed)] == ["gpu1-1-others", "gpu2-1-others"]


def test_sums_are_as_large_as_those_that_floors_were_measured_at() -> None:
    assert max(speed.all_reduce_sizes(replace(H100S[0], memory=85 * 10**9))) == 2**33
    small = replace(H100S[0], memory=24 * 10**9)
    assert max(speed.all_reduce_sizes(small)) == 2**30
