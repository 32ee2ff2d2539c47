"""The predictions that ship: complete, current, used where they count and nowhere else."""

from __future__ import annotations

import ast
import gzip
import hashlib
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
from plimsoll.footprint.training import DEFAULT_BRIDGE, Mode, Training
from plimsoll.host.failures import HostDied, HostError, Raised
from plimsoll.host.protocol import Predict
from plimsoll.plan.planning import machine_of
from plimsoll.plan.prediction_keys import FOLLOWED, placement_data, source_files, sources
from plimsoll.plan.predictions import NoStackError, PredictionError, Predictions
from plimsoll.plan.shipped import FILE, Folding, Shipped, unfolded, write_shipped
from plimsoll.shipping import ask_all, main
from tests.support.commands import plimsoll
from tests.unit.test_plan_predictions import LLAMA, PREDICTION, SPREAD

VERSIONS = {"torch": "2.13.0", "transformers": "5.23.0", "accelerate": "1.15.0", "bitsandbytes": "0.50.2"}
OTHER = replace(PREDICTION, remarks=("another",))


RENEW = "make predictions"
ROOT = Path(__file__).parents[2]


def never(request: Any) -> Any:
    raise AssertionError(f"a host was asked {request}")


def others(request: Any) -> Any:
    return OTHER


def without_stack(request: Any) -> Any:
    raise NoStackError("predicting needs torch, which is not installed; install the extra: pip install it")


@pytest.fixture
def shipped(tmp_path: Path) -> Shipped:
    """What a file ships that has a prediction of one variant, and a placement of another."""
    placed = (placement_data(Subject.of(SPREAD), "auto", [10, 10]), {"model": 0})
    write_shipped(tmp_path / FILE, VERSIONS, {Subject.of(LLAMA): prediction_to_json(PREDICTION)}, [placed])
    return Shipped.stored(tmp_path)


def test_the_file_is_of_these_sources() -> None:
    """Any edit of what predicts makes it stale."""
    assert Shipped.stored(shipped_root()).sources == sources(), RENEW


def test_it_was_made_with_the_versions_that_are_pinned() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    made_with = Shipped.stored(shipped_root()).made_with
    assert made_with == {name: pinned[name] for name in FOLLOWED}, RENEW


def test_all_that_the_commands_ask_of_the_catalogue_ships(tmp_path: Path) -> None:
    """Variants, places on each machine under each deal, training steps: none is answered by a host."""
    predictions = Predictions(tmp_path, without_stack, Shipped.stored(shipped_root()))
    ask_all(read_catalogue(), predictions)
    assert dict(predictions.unmade) == {}, RENEW
    assert predictions.origin_data()["predicted_here"] is False


def test_a_prediction_comes_back_as_it_was_written(shipped: Shipped) -> None:
    assert shipped.prediction(Subject.of(LLAMA)) == PREDICTION
    assert shipped.prediction(Subject.of(SPREAD)) is None
    assert shipped.placement(Subject.of(SPREAD), "auto", (10, 10)) == {"model": 0}
    assert shipped.placement(Subject.of(SPREAD), "auto", (10, 11)) is None


def test_the_order_of_answers_changes_no_byte(tmp_path: Path) -> None:
    backwards = replace(PREDICTION.footprint, parameters=PREDICTION.footprint.parameters[::-1])
    told = {
        Subject.of(LLAMA): prediction_to_json(PREDICTION),
        Subject.of(SPREAD): prediction_to_json(replace(PREDICTION, footprint=backwards)),
    }
    placed = [(placement_data(Subject.of(SPREAD), "auto", [size]), {"model": 0}) for size in (1, 2)]
    for name, turn in (("one", 1), ("other", -1)):
        write_shipped(tmp_path / name, VERSIONS, dict(list(told.items())[::turn]), placed[::turn])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


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
    assert none.unusable == f"{tmp_path / FILE} is missing: restore it, or install plimsoll-gpu again"
    assert none.prediction(Subject.of(LLAMA)) is None


def _packed(text: bytes) -> bytes:
    return gzip.compress(hashlib.sha256(text).hexdigest().encode() + b"\n" + text, mtime=0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "its digest does not match"),
        (b"plain text", "Not a gzipped file (b'pl')"),
        (gzip.compress(b"{}", mtime=0), "its digest does not match"),
        (_packed(b"{}")[:-9], "Compressed file ended before the end-of-stream marker was reached"),
        (_packed(b"{"), "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (_packed(b"[]"), "list indices must be integers or slices, not str"),
        (_packed(b"{}"), "'format'"),
        (_packed(b'{"format": 1}'), "'packages'"),
        (_packed(b'{"format": 2}'), "its format is 2, and not 1"),
    ],
)
def test_a_damaged_file_counts_nowhere_and_says_so(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / FILE
    path.write_bytes(content)
    found = Shipped.stored(tmp_path).here({}, sources())
    assert found.unusable == f"{path} is damaged ({why}): restore it, or install plimsoll-gpu again"
    assert not found.entries


def test_no_flipped_bit_gives_another_figure(shipped: Shipped, tmp_path: Path) -> None:
    """One in every byte of the file; those that gzip does not look at hold no figure."""
    whole = (tmp_path / FILE).read_bytes()
    refused = 0
    for place, byte in enumerate(whole):
        (tmp_path / FILE).write_bytes(whole[:place] + bytes([byte ^ 1 << place % 8]) + whole[place + 1 :])
        found = Shipped.stored(tmp_path)
        assert found.unusable or found == shipped, f"byte {place}"
        refused += bool(found.unusable)
    assert refused > len(whole) - 10


def test_a_figure_that_was_edited_is_noticed(shipped: Shipped, tmp_path: Path) -> None:
    text = gzip.decompress((tmp_path / FILE).read_bytes())
    assert text.count(b'"token_bytes":4') == 1
    (tmp_path / FILE).write_bytes(gzip.compress(text.replace(b'"token_bytes":4', b'"token_bytes":5'), mtime=0))
    assert "its digest does not match" in Shipped.stored(tmp_path).unusable


def test_a_file_that_does_not_count_is_predicted_anew_or_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"damaged")
    damaged = Shipped.stored(tmp_path).here({}, sources())
    assert Predictions(tmp_path / "torch", others, damaged).of(LLAMA) == OTHER
    with pytest.raises(NoStackError, match=r"do not count here \(.*is damaged .*\), and predicting needs torch"):
        Predictions(tmp_path / "none", without_stack, damaged).of(LLAMA)


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
    was_there = "torch" in sys.modules  # of a worker that had other files before
    assert main([]) == 0, RENEW
    assert main(["--wirte"]) == 2
    assert capsys.readouterr().err == "usage: python -m plimsoll.shipping [--write]\n"
    said = plimsoll("plan", "-m", "gpu8b", "--profile", "h100-80g", "--json")
    assert json.loads(said.stdout)["predictions"]["predicted_here"] is False
    assert was_there or "torch" not in sys.modules


TRAINING = Training(mode=Mode.BRIDGE, size=DEFAULT_BRIDGE)


def refuses(request: Any) -> Any:
    """A host whose stack cannot follow such a step."""
    raised = Raised(kind="PlimsollError", message="", traceback="", mistake=PlimsollError("it is not followed"))
    raise HostError(host="prediction", request="PredictStep", seconds=1.0, log=Path("log"), raised=raised) from (
        raised.mistake
    )


def is_killed(request: Any) -> Any:
    end: dict[str, Any] = {"reason": "", "exitcode": None, "signal": "SIGKILL", "stack": None, "last_lines": ()}
    raise HostDied(host="prediction", request="PredictStep", seconds=9.0, log=Path("log"), **end)


def test_that_a_step_is_impossible_ships_too(tmp_path: Path) -> None:
    made = Predictions(tmp_path / "cache", refuses)
    with pytest.raises(PredictionError) as told:
        made.step(TRAINING, LLAMA)
    made.write_shipped(tmp_path / FILE, VERSIONS)
    alone = Predictions(tmp_path / "none", without_stack, Shipped.stored(tmp_path))
    with pytest.raises(PredictionError) as again:
        alone.step(TRAINING, LLAMA)
    assert str(again.value) == str(told.value) == f"no prediction of a training step of {LLAMA.id}: it is not followed"
    assert dict(alone.unmade) == {}


def test_what_might_not_fail_again_is_not_left_out_in_silence(tmp_path: Path) -> None:
    """A host that a small machine kills must not leave a file that lacks a step."""
    made = Predictions(tmp_path / "cache", is_killed)
    with pytest.raises(PredictionError):
        made.step(TRAINING, LLAMA)
    with pytest.raises(PredictionError, match=f"a training step of {LLAMA.id}"):
        made.write_shipped(tmp_path / FILE, VERSIONS)
    assert not (tmp_path / FILE).exists()


DECIDES_NO_FIGURE = {
    "plimsoll/errors.py": "errors alone",
    "plimsoll/extras.py": "says what is not installed",
    "plimsoll/clock.py": "real steps are timed",
    "plimsoll/host/protocol.py": "requests",
    "plimsoll/host/training.py": "requests",
    "plimsoll/host/server/loading.py": "real steps load a model",
    "plimsoll/host/server/repeatable.py": "real steps are repeated",
    "plimsoll/catalogue/settings.py": "what it merges is the subject",
    "plimsoll/catalogue/entries.py": "what it says of quantizations is in the digest, and all else in the subject",
}


def test_an_edit_of_all_that_decides_a_figure_makes_the_file_stale() -> None:
    """Whatever a module that predicts imports of ours is in the digest, or decides no figure."""
    followed = set(source_files())
    others: dict[str, set[str]] = {}
    for path in followed:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("plimsoll"):
                for alias in node.names:
                    place = ROOT / str(node.module).replace(".", "/")
                    module = next(p for p in (place / f"{alias.name}.py", place.with_suffix(".py")) if p.is_file())
                    if module not in followed:
                        others.setdefault(module.relative_to(ROOT).as_posix(), set()).add(path.name)
    assert set(others) == set(DECIDES_NO_FIGURE), others
