"""The deal of variants over GPUs: every GPU carries something that fits it, the same way each time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.node.devices import Device, Devices
from plimsoll.node.node import Unread
from plimsoll.plan.placing import GpuChoice, GpuDemand, Policy, Set, deal, on_the_only, placed
from plimsoll.plan.planning import node_of_profile
from tests.support.gate_subjects import GB


def gpus_of(*gigabytes: int) -> Set:
    return tuple(
        Device(id=f"gpu{n}", kind="cuda", index=n, uuid=f"GPU-{n}", memory=size * GB)
        for n, size in enumerate(gigabytes)
    )


def needing(variant: str, gigabytes: int, *, most: int = 1) -> GpuDemand:
    """A variant of so many gigabytes, which may be shared out over `most` GPUs."""
    return GpuDemand(variant=variant, holds=lambda on: sum(gpu.memory or 0 for gpu in on) >= gigabytes * GB, most=most)


def spread(
    *loads: GpuDemand, on: Set, policy: Policy = Policy.SPREAD, links: dict[frozenset[str], int] | None = None
) -> str:
    dealt = deal(loads, on, policy, links or {})
    return " ".join(
        f"{name}:{'/'.join('+'.join(g.id[3:] for g in one) for one in sets)}" for name, sets in dealt.items()
    )


EIGHT = gpus_of(*[80] * 8)


def test_variants_go_round_in_the_catalogues_order() -> None:
    loads = [needing(f"v{n}", 16) for n in range(10)]
    assert spread(*loads, on=EIGHT) == "v0:0 v1:1 v2:2 v3:3 v4:4 v5:5 v6:6 v7:7 v8:0 v9:1"


def test_fewer_variants_than_gpus_are_repeated_so_that_none_is_idle() -> None:
    loads = [needing(f"v{n}", 16) for n in range(3)]
    assert spread(*loads, on=EIGHT) == "v0:0/3/6 v1:1/4/7 v2:2/5"
    assert spread(loads[0], on=EIGHT) == "v0:0/1/2/3/4/5/6/7"


def test_each_loads_every_variant_of_one_gpu_on_every_gpu_that_holds_it() -> None:
    on = gpus_of(80, 16, 80)
    assert spread(needing("big", 40), needing("small", 8), on=on, policy=Policy.EACH) == "big:0/2 small:0/1/2"


def test_a_small_gpu_among_large_ones_gets_only_what_fits_it() -> None:
    on = gpus_of(80, 80, 16)
    assert spread(needing("a", 40), needing("b", 40), needing("c", 40), needing("d", 8), on=on) == "a:0 b:1 c:0 d:2"
    assert spread(needing("d", 8), needing("a", 40), on=on) == "d:0/2 a:1"
    # Nothing fits it: it stays idle, which the verdict tells.
    assert spread(needing("a", 40), needing("b", 40), on=on) == "a:0 b:1"


def test_what_fits_no_gpu_is_dealt_to_the_largest_for_the_gate_to_refuse() -> None:
    assert spread(needing("huge", 200), needing("d", 8), on=gpus_of(16, 80)) == "huge:1 d:0"


def test_what_one_gpu_does_not_hold_gets_as_few_as_hold_it_and_those_that_are_linked_best() -> None:
    pair = needing("pair", 140, most=8)
    assert spread(pair, on=EIGHT[:2]) == "pair:0+1"
    links = {frozenset((f"gpu{a}", f"gpu{b}")): 100 for a, b in ((0, 2), (1, 3))}
    assert spread(pair, on=EIGHT[:4], links=links) == "pair:0+2/1+3"
    # Where links are not known, neighbours.
    assert spread(pair, on=EIGHT) == "pair:0+1/2+3/4+5/6+7"
    assert spread(pair, needing("a", 16), on=EIGHT[:4]) == "pair:0+1 a:2/3"
    assert spread(needing("three", 200, most=8), on=EIGHT[:4]) == "three:0+1+2/1+2+3"


def test_a_device_map_that_names_two_gpus_gets_two() -> None:
    both = GpuDemand(variant="split", holds=lambda on: len(on) == 2, least=2, most=2)
    assert spread(both, needing("a", 16), on=EIGHT[:3]) == "split:0+1 a:2"


@pytest.mark.parametrize("policy", list(Policy))
def test_one_gpu_carries_everything_whatever_the_policy(policy: Policy) -> None:
    assert spread(needing("a", 16), needing("b", 16), on=EIGHT[:1], policy=policy) == "a:0 b:0"


@pytest.mark.parametrize(
    ("text", "wanted", "others"),
    [
        ("spread", "01234567", ""),
        ("each", "01234567", ""),
        ("first", "0", "1234567"),
        ("5,2", "25", "013467"),
        ("GPU-3", "3", "0124567"),
        ("gpu7,GPU-1", "17", "023456"),
    ],
)
def test_the_option_says_which_gpus_are_used(text: str, wanted: str, others: str) -> None:
    left = GpuChoice.of(text).among(Devices(gpus=EIGHT))
    assert "".join(gpu.id[3:] for gpu in left.gpus) == wanted
    assert "".join(gpu.id[3:] for gpu in left.others) == others
    assert left.several


def test_an_index_names_every_instance_of_a_split_gpu() -> None:
    parts = tuple(Device(id=f"gpu0.{n}", kind="cuda", index=0, uuid=f"MIG-{n}") for n in range(2))
    devices = Devices(gpus=(*parts, *EIGHT[1:]))
    assert [gpu.id for gpu in GpuChoice.of("0").among(devices).gpus] == ["gpu0.0", "gpu0.1"]
    assert [gpu.id for gpu in GpuChoice.of("gpu0.1").among(devices).gpus] == ["gpu0.1"]
    assert [gpu.id for gpu in GpuChoice.of("MIG-1").among(devices).gpus] == ["gpu0.1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9", "--gpus: 9 names no GPU that this session may use; known: gpu0 or GPU-0, gpu1 or GPU-1"),
        ("GPU-", "GPU- is no GPU"),
        (
            "0,,1",
            "an empty name is no GPU; write spread, each, first, or GPUs by index, id or UUID",
        ),
        ("", "an empty name is no GPU"),
        ("gpu12", "--gpus: gpu12 names no GPU"),
        (
            "0-3",
            "0-3 is no GPU; write spread, each, first, or GPUs by index, id or UUID, with commas between: "
            "--gpus=0,1,2,3",
        ),
        ("0x1", "0x1 is no GPU"),
        ("1,0,1", "1 is named twice; name each GPU once"),
        ("1,gpu1", "--gpus: 1 and gpu1 both name gpu1; name it once"),
        ("GPU-0,0", "--gpus: GPU-0 and 0 both name gpu0; name it once"),
    ],
)
def test_names_of_no_gpu_are_refused(text: str, message: str) -> None:
    with pytest.raises(PlimsollError) as caught:
        GpuChoice.of(text).among(Devices(gpus=EIGHT[:2]))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("code", "goes_on"), [(9, True), (18, True), (999, True), (12, False), (None, False)])
def test_a_driver_that_does_not_answer_makes_no_name_a_mistake(code: int | None, goes_on: bool) -> None:
    """Its node is to leave evidence; one that has no driver at all is another machine than was meant."""
    node = node_of_profile(read_catalogue([]).profiles["h100-80g"], {})
    broken = replace(node, gpus=(), unread=(Unread(what="gpus", why="Driver Not Loaded", code=code),))
    if goes_on:
        assert GpuChoice.of("0,1").of_node(broken).gpus == ()
    else:
        with pytest.raises(PlimsollError, match="0 names no GPU that this session may use"):
            GpuChoice.of("0,1").of_node(broken)


@pytest.mark.parametrize("text", ["0", "gpu3", "GPU-12"])
def test_a_name_is_refused_where_there_is_no_gpu_at_all(text: str) -> None:
    """As it is where there are others; it was taken, and changed nothing."""
    node = node_of_profile(read_catalogue([]).profiles["h100-80g"], {})
    hidden = replace(node, environment={"CUDA_VISIBLE_DEVICES": ""})
    for without in (replace(node, gpus=()), hidden):
        with pytest.raises(PlimsollError) as caught:
            GpuChoice.of(text).of_node(without)
        assert str(caught.value).startswith(f"--gpus: {text} names no GPU that this session may use; known: none (")
        assert GpuChoice.of("each").of_node(without).gpus == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sprad",
            "sprad is no GPU; did you mean 'spread'? Or give GPUs by index, id or UUID",
        ),
        ("0,all", "all is no GPU; write spread, each, first, or GPUs by index"),
        ("", "an empty name is no GPU"),
    ],
)
def test_what_no_gpu_is_called_is_refused_where_there_is_none_too(text: str, message: str) -> None:
    with pytest.raises(PlimsollError) as caught:
        GpuChoice.of(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("text", ["7", "gpu3.1", "GPU-1f", "MIG-1", "07ff74b5-0000-1000-80f9-3f0bd4b4c0de"])
def test_what_another_node_may_call_a_gpu_is_taken(text: str) -> None:
    assert GpuChoice.of(text).named == (text,)


def test_the_beginning_of_several_uuids_names_none() -> None:
    twins = tuple(Device(id=f"gpu{n}", kind="cuda", index=n, uuid=f"GPU-a{n}") for n in range(2))
    with pytest.raises(PlimsollError, match="GPU-a names several GPUs"):
        GpuChoice.of("GPU-a").among(Devices(gpus=twins))


def test_copies_stand_where_their_variant_stood_and_are_asked_of_datasets_once() -> None:
    catalogue = read_catalogue([])
    experiment = next(iter(catalogue.experiments.values()))
    name = experiment.variants[0]
    before = list(catalogue.variants)
    after = placed(catalogue, {name: ((EIGHT[3],), (EIGHT[1], EIGHT[2]))})
    at = before.index(name)
    assert list(after.variants) == [*before[:at], f"{name}:gpu3", f"{name}:gpu1+gpu2", *before[at + 1 :]]
    copy = after.variants[f"{name}:gpu1+gpu2"]
    assert (copy.gpus, copy.entry_id, copy.all_marks) == (("gpu1", "gpu2"), name, catalogue.variants[name].all_marks)
    asked = next(iter(after.experiments.values())).variants
    assert asked == (f"{name}:gpu3", *experiment.variants[1:])


def test_on_the_only_gpu_ids_stay_those_of_the_entries() -> None:
    catalogue = read_catalogue([])
    after = on_the_only(catalogue, EIGHT[0])
    assert list(after.variants) == list(catalogue.variants)
    assert {one.gpus for one in after.variants.values() if one.tier.device == "cuda"} == {("gpu0",)}
    assert {one.gpus for one in after.variants.values() if one.tier.device == "cpu"} == {()}


def test_instances_of_split_gpus_carry_no_model_together() -> None:
    """A process sees one instance alone; whole GPUs beside them are used together as ever."""
    parts = tuple(Device(id=f"gpu0.{n}", kind="cuda", index=0, uuid=f"MIG-{n}", memory=20 * GB) for n in range(3))
    whole = gpus_of(0, 40, 40)[1:]
    large = needing("large", 60, most=5)
    assert spread(large, on=(*parts, *whole)) == "large:1+2"
    assert spread(large, needing("small", 10), on=parts) == "large:0.0 small:0.1/0.2", "the gate says what is wanting"
