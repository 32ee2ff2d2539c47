"""Predictions kept on disk: what is read is what was written, or nothing; and who is asked, and how often."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.entries import Quantization, Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.activations import Activations, Cache, CacheLayer, Moment
from plimsoll.footprint.demand import demand_of
from plimsoll.footprint.encoding import prediction_from_json, prediction_to_json
from plimsoll.footprint.prediction import ArchitectureFacts, Prediction, Subject, Workload
from plimsoll.footprint.sizes import ExpectedParameter, Footprint
from plimsoll.gate.need import need_of
from plimsoll.host.failures import HostError, Raised
from plimsoll.host.protocol import Predict, PredictPlacement
from plimsoll.plan.prediction_store import PredictionStore
from plimsoll.plan.predictions import PredictionError, Predictions

CATALOGUE = read_catalogue()
LLAMA = CATALOGUE.variants["llama-3.2-1b/nf4"]
SPREAD = CATALOGUE.variants["llama-3.1-70b-instruct/int8"]
FACTS = ArchitectureFacts(hidden_size=2048, key_value_heads=8, context_length=131072, sliding_window=None)


def parameter(name: str, shape: tuple[int, ...], *, quantized: bool) -> ExpectedParameter:
    return ExpectedParameter(
        name=name,
        shape=shape,
        quantized=quantized,
        data_bytes=100,
        statistics_bytes=7 if quantized else 0,
        storage_dtype="uint8" if quantized else "bfloat16",
        reason="" if quantized else "norm",
    )


PREDICTION = Prediction(
    footprint=Footprint(
        parameters=(parameter("a.weight", (2, 50), quantized=True), parameter("b.weight", (50,), quantized=False)),
        buffers=(parameter("c", (), quantized=False),),
    ),
    facts=FACTS,
    cache=Cache(layers=(CacheLayer(module="layers.0", state_bytes=0, token_bytes=4, window=9),)),
    activations=Activations(
        prefill=(Moment(terms=(1, 2, 3, 4, 5, 6), operation="aten.mul"),),
        head=(),
        decode=(Moment(terms=(-1, 0, 0, 0, 9, 0), operation="aten.cat"),),
        last_logits=6,
    ),
)


class Host:
    """Stands in for a host, and counts what it is asked."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.asked: list[Any] = []
        self._answer = answer

    def __call__(self, request: Any) -> Any:
        self.asked.append(request)
        return self._answer(request)


def raises(request: Any) -> Any:
    raised = Raised(kind="ValueError", message="no such model", traceback="")
    raise HostError(host="prediction", request="Predict", seconds=0.1, log=Path("log"), raised=raised)


def test_a_prediction_comes_back_from_json_as_it_was() -> None:
    assert prediction_from_json(prediction_to_json(PREDICTION)) == PREDICTION
    unknown = replace(PREDICTION, cache=None, activations=None, unpredicted="it has no cache")
    assert prediction_from_json(prediction_to_json(unknown)) == unknown


def test_no_prediction_goes_without_a_reason() -> None:
    with pytest.raises(ValueError, match="needs the reason why"):
        replace(PREDICTION, cache=None)


def test_a_host_is_asked_once_and_the_disk_ever_after(tmp_path: Path) -> None:
    host = Host(lambda _: PREDICTION)
    first = Predictions(tmp_path, host)
    assert first.of(LLAMA) == first.of(LLAMA) == PREDICTION
    assert [type(request) for request in host.asked] == [Predict]
    assert Predictions(tmp_path, Host(raises)).of(LLAMA) == PREDICTION
    assert Predictions(tmp_path, Host(raises)).missing([LLAMA, SPREAD]) == [Subject.of(SPREAD)]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "one digit": lambda content: content.replace(b"100", b"101", 1),
    "no digest": lambda content: content.partition(b"\n")[2],
    "not text": lambda _: b"\xff\xfe\n{}",
    "a list": lambda _: _signed(b"[]"),
    "no field": lambda _: _signed(b"{}"),
    "another form": lambda _: _signed(b'{"parameters": [[1]], "buffers": [], "facts": {}}'),
}


def _signed(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_made_anew(tmp_path: Path, damage: str) -> None:
    store = PredictionStore(tmp_path)
    path = store.path(Subject.of(LLAMA))
    store.write(Subject.of(LLAMA), PREDICTION)
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    assert store.read(Subject.of(LLAMA)) is None
    host = Host(lambda _: PREDICTION)
    assert Predictions(tmp_path, host).of(LLAMA) == PREDICTION
    assert len(host.asked) == 1
    assert path.read_bytes() == whole
    assert [found.name for found in path.parent.iterdir()] == [path.name], "nothing unfinished is left"


def test_a_cache_that_cannot_be_written_changes_nothing_else(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    host = Host(lambda _: PREDICTION)
    assert Predictions(blocked, host).of(LLAMA) == PREDICTION
    assert len(host.asked) == 1


def test_an_entry_belongs_to_the_versions_it_was_made_with(tmp_path: Path) -> None:
    versions = {"torch": "2.13.0", "transformers": "5.23.0", "accelerate": "1.15.0", "bitsandbytes": "0.50.2"}
    PredictionStore(tmp_path, versions).write(Subject.of(LLAMA), PREDICTION)
    assert PredictionStore(tmp_path, versions).read(Subject.of(LLAMA)) == PREDICTION
    for package in versions:
        assert PredictionStore(tmp_path, {**versions, package: "9.9"}).read(Subject.of(LLAMA)) is None


def test_what_costs_the_same_is_one_subject() -> None:
    variants = CATALOGUE.variants
    assert Subject.of(variants["llama-3.1-8b/int8"]) == Subject.of(variants["llama-3.1-8b-instruct/int8"])
    assert Subject.of(variants["llama-3.1-8b/int8"]) != Subject.of(variants["llama-3.1-8b/nf4-dq"])
    eager, fused = (variants[f"phi-3-mini-4k-instruct/{name}"] for name in ("bf16", "bf16-sdpa"))
    assert (Subject.of(eager).attention, Subject.of(fused).attention) == ("eager", "fused")
    stock = replace(LLAMA, load_options={"fused_experts": "stock"})
    assert Subject.of(stock) == replace(Subject.of(LLAMA), experts_covered=False)
    assert Subject.of(stock, experts_covered=True) == Subject.of(LLAMA)


def test_what_failed_is_told_each_time_and_tried_once(tmp_path: Path) -> None:
    host = Host(raises)
    predictions = Predictions(tmp_path, host)
    for _ in range(2):
        with pytest.raises(PredictionError, match=r"the prediction for llama-3\.2-1b/nf4 failed") as error:
            predictions.of(LLAMA)
        assert "no such model" in str(error.value)
    assert len(host.asked) == 1


def test_a_placement_is_asked_for_what_is_spread_and_kept_by_memory(tmp_path: Path) -> None:
    placement = {"model.layers.0": 0, "model.layers.1": 1, "lm_head": "cpu"}
    host = Host(lambda request: placement if isinstance(request, PredictPlacement) else PREDICTION)
    predictions = Predictions(tmp_path, host)
    free = (80 * 10**9, 80 * 10**9)
    assert predictions.placement(LLAMA, free) is None
    assert predictions.placement(SPREAD, ()) is None
    assert predictions.placement(SPREAD, free) == placement
    assert [request.memory for request in host.asked] == [tuple(size - 2**30 for size in free)]
    again = Host(lambda _: {"": 0})
    assert Predictions(tmp_path, again).placement(SPREAD, free) == placement
    assert Predictions(tmp_path, again).placement(SPREAD, (10**9, 10**9)) == {"": 0}
    assert len(again.asked) == 1


def test_limits_of_an_entry_bound_what_the_planner_has(tmp_path: Path) -> None:
    """Of a GPU that its limits do not name accelerate takes nothing."""
    host = Host(lambda request: {"": 0} if isinstance(request, PredictPlacement) else PREDICTION)
    limited = replace(SPREAD, load_options={"max_memory": {"0": "2GB", "cpu": "30GB"}})
    Predictions(tmp_path, host).placement(limited, (80 * 10**9, 80 * 10**9))
    asked = next(request for request in host.asked if isinstance(request, PredictPlacement))
    assert asked.memory == (2 * 10**9, 0)


def test_what_limits_send_to_ram_is_no_reason_to_refuse() -> None:
    placement = {"": "cpu"}
    demand = demand_of(SPREAD, PREDICTION, placement)
    assert demand.offloaded > 0, "without weights in RAM this shows nothing"
    assert need_of(SPREAD, demand).offloaded == demand.offloaded
    limited = replace(SPREAD, load_options={"max_memory": {"0": "1GB", "cpu": "30GB"}})
    assert need_of(limited, demand).offloaded == 0


def test_a_workload_is_the_higher_of_its_prompt_and_its_last_token() -> None:
    cached = 4 * 9  # the window
    assert PREDICTION.running_bytes(Workload(batch=1, prompt=2, new=0)) == 4 * 2 + 1 + 4 + 12 + 4 + 10 + 24
    assert PREDICTION.running_bytes(Workload(batch=1, prompt=1, new=10_000)) == cached + 9 * 10_001 - 1
    assert PREDICTION.prompt_bytes(1, 100) == 4 * 100 + 1 + 200 + 30_000 + 4 + 500 + 60_000
    assert (
        replace(PREDICTION, activations=None, unpredicted="why").running_bytes(Workload(batch=1, prompt=1, new=1))
        is None
    )
    assert Subject.of(LLAMA).quantization is Quantization.NF4


@pytest.mark.parametrize("entry", [LLAMA, SPREAD], ids=lambda entry: entry.id)
def test_the_order_of_a_configuration_is_no_difference(entry: Variant) -> None:
    model = replace(entry.model, config=dict(reversed(list(entry.model.config.items()))))
    assert Subject.of(replace(entry, model=model)) == Subject.of(entry)
