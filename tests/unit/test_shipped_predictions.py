"""The predictions that ship: complete, current, used where they count and nowhere else."""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.files import shipped_root
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.footprint.encoding import prediction_to_json
from plimsoll.footprint.prediction import Subject
from plimsoll.host.protocol import Predict
from plimsoll.plan.planning import machine_of
from plimsoll.plan.prediction_keys import FOLLOWED, sources
from plimsoll.plan.predictions import NoStackError, PredictionError, Predictions
from plimsoll.plan.shipped import FILE, Folding, Shipped, unfolded, write_shipped
from plimsoll.shipping import main
from tests.support.commands import plimsoll
from tests.unit.test_plan_predictions import LLAMA, PREDICTION, SPREAD

VERSIONS = {"torch": "2.13.0", "transformers": "5.23.0", "accelerate": "1.15.0", "bitsandbytes": "0.50.2"}
OTHER = replace(PREDICTION, remarks=("another",))


def never(request: Any) -> Any:
    raise AssertionError(f"a host was asked {request}")


def others(request: Any) -> Any:
    return OTHER


def without_stack(request: Any) -> Any:
    raise NoStackError("predicting needs torch, which is not installed; install the extra: pip install it")


@pytest.fixture
def shipped(tmp_path: Path) -> Shipped:
    """What a file ships that has a prediction of one variant, and a placement of another."""
    placed = ([_data(SPREAD), "auto", [10, 10]], {"model": 0})
    write_shipped(tmp_path / FILE, VERSIONS, {Subject.of(LLAMA): prediction_to_json(PREDICTION)}, [placed])
    return Shipped.stored(tmp_path)


def _data(variant: Any) -> Any:
    from dataclasses import asdict

    return asdict(Subject.of(variant))


def test_the_file_is_of_these_sources() -> None:
    assert Shipped.stored(shipped_root()).sources == sources(), "make it anew: python -m plimsoll.shipping --write"


def test_each_variant_of_the_catalogue_ships() -> None:
    stored = Shipped.stored(shipped_root())
    catalogue = read_catalogue()
    missing = [one.id for one in catalogue.variants.values() if stored.prediction(Subject.of(one)) is None]
    assert missing == []


def test_a_prediction_comes_back_as_it_was_written(shipped: Shipped) -> None:
    assert shipped.prediction(Subject.of(LLAMA)) == PREDICTION
    assert shipped.prediction(Subject.of(SPREAD)) is None
    assert shipped.placement(Subject.of(SPREAD), "auto", (10, 10)) == {"model": 0}
    assert shipped.placement(Subject.of(SPREAD), "auto", (10, 11)) is None


def test_columns_are_kept_once() -> None:
    folding = Folding()
    first, second = (folding.folded(prediction_to_json(one)) for one in (PREDICTION, OTHER))
    assert first["parameters"] == second["parameters"]
    assert len(folding.columns) == len({json.dumps(column) for column in folding.columns})
    assert unfolded(second, folding.columns) == prediction_to_json(OTHER)


@pytest.mark.parametrize(
    ("installed", "why"),
    [
        ({}, ""),
        (dict.fromkeys(FOLLOWED), ""),
        (VERSIONS, ""),
        ({**VERSIONS, "torch": "2.13.0+cu130"}, ""),
        ({"torch": None, "transformers": "5.23.0"}, ""),
        ({"torch": "2.12.0"}, "the installed stack is another: torch 2.12.0, and not 2.13.0"),
        (
            {"transformers": "5.1", "bitsandbytes": "0.51"},
            "the installed stack is another: transformers 5.1, and not 5.23.0; bitsandbytes 0.51, and not 0.50.2",
        ),
    ],
)
def test_they_count_where_nothing_contradicts_them(
    shipped: Shipped, installed: dict[str, str | None], why: str
) -> None:
    here = shipped.here(installed, sources())
    assert here.unusable == why
    assert (here.prediction(Subject.of(LLAMA)) is None) is bool(why)


def test_they_count_for_the_sources_that_made_them(shipped: Shipped) -> None:
    here = shipped.here(VERSIONS, "0" * 64)
    assert here.unusable == "the sources that predict were edited since"
    assert here.prediction(Subject.of(LLAMA)) is None


def test_no_file_ships_nothing(tmp_path: Path) -> None:
    none = Shipped.stored(tmp_path).here({}, sources())
    assert none.unusable == f"no {FILE} is in {tmp_path}"
    assert none.prediction(Subject.of(LLAMA)) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"plain text", gzip.compress(b"{"), gzip.compress(b"[]"), gzip.compress(b"{}"), gzip.compress(b"{}")[:-9]],
)
def test_a_damaged_file_is_said_to_be_that(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(PlimsollError, match=r"predictions\.json\.gz cannot be read .*: install plimsoll again"):
        Shipped.stored(tmp_path)


def test_what_ships_comes_before_the_cache_and_the_host(shipped: Shipped, tmp_path: Path) -> None:
    older = Predictions(tmp_path, others)
    assert older.of(LLAMA) == OTHER
    assert older.origin == ""
    predictions = Predictions(tmp_path, never, shipped)
    assert predictions.of(LLAMA) == PREDICTION
    assert predictions.origin == (
        "predictions as shipped with Plimsoll, made with torch 2.13.0, transformers 5.23.0, accelerate 1.15.0, "
        "bitsandbytes 0.50.2"
    )
    assert predictions.origin_data() == {"shipped": VERSIONS, "predicted_here": False}


def test_what_does_not_ship_is_predicted_and_said_to_be(shipped: Shipped, tmp_path: Path) -> None:
    asked: list[Any] = []

    def host(request: Any) -> Any:
        asked.append(request)
        return OTHER

    predictions = Predictions(tmp_path, host, shipped)
    assert predictions.missing([LLAMA, SPREAD]) == [Subject.of(SPREAD)]
    assert predictions.of(SPREAD) == OTHER
    assert [type(request) for request in asked] == [Predict]
    assert predictions.origin.endswith("; the others were predicted here")
    assert predictions.origin_data()["predicted_here"] is True
    void = Predictions(tmp_path / "void", host, shipped.here({"torch": "1.0"}, sources()))
    assert void.of(LLAMA) == OTHER, "where they do not count, a host is asked"
    assert (void.origin, void.origin_data()["shipped"]) == ("", None)


def test_without_a_stack_the_reason_is_told_and_nothing_guessed(shipped: Shipped, tmp_path: Path) -> None:
    predictions = Predictions(tmp_path, without_stack, shipped)
    assert predictions.of(LLAMA) == PREDICTION
    why = "no prediction of it ships, and predicting needs torch, which is not installed"
    with pytest.raises(NoStackError, match=rf"^{SPREAD.id}: {why}; install the extra"):
        predictions.of(SPREAD)
    assert list(predictions.unmade) == [SPREAD.id]
    assert predictions.why_unmade().startswith(f"not predicted: {SPREAD.id}: {why}")
    void = Predictions(tmp_path, without_stack, shipped.here({"torch": "1.0"}, sources()))
    with pytest.raises(PredictionError, match=r"do not count here \(the installed stack is another: torch 1\.0"):
        void.of(LLAMA)


def test_a_reference_machine_without_torch_has_the_stack_of_the_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = read_catalogue().profiles["h100-80g"]
    here = {"torch": None, "transformers": None, "packaging": "26.0"}
    monkeypatch.setattr("plimsoll.plan.planning.installed_packages", lambda: here)
    packages = machine_of(profile, {**VERSIONS, "packaging": "25.0"}).node.packages
    assert packages == {"torch": "2.13.0", "transformers": "5.23.0", "packaging": "26.0"}
    here["torch"] = "2.14.0+cpu"
    assert machine_of(profile, VERSIONS).node.packages["transformers"] is None, "this environment's faults are shown"


def test_the_commands_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, "make it anew: python -m plimsoll.shipping --write"
    assert main(["--wirte"]) == 2
    assert capsys.readouterr().err == "usage: python -m plimsoll.shipping [--write]\n"
    said = plimsoll("plan", "-m", "gpu8b", "--profile", "h100-80g", "--json")
    assert json.loads(said.stdout)["predictions"]["predicted_here"] is False
    assert "torch" not in sys.modules
