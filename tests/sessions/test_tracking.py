"""Trackers: what they are told, that they tell no secret, and that none of them can change a verdict."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import PlimsollError
from plimsoll.evidence.encoding import judgement_fields, measurement_fields
from plimsoll.evidence.events import Event
from plimsoll.judge.judgement import Limit, Measurement, judge
from plimsoll.redaction import REDACTED, Redactor
from plimsoll.tracking.tracker import Figures, Guarded, JsonLinesTracker, Numbers
from plimsoll.tracking.weights_and_biases import WeightsAndBiasesTracker
from tests.support.made_answers import answer
from tests.support.subsession import ROOT, run_inside, run_suite

CELL = "acceptance/test_load.py::test_cold_load_time[tiny-llama/nf4]"
TOKEN = "hf_" + "q" * 34

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="needs the extra tracking")


def measured(value: float | None, cell: str = CELL) -> dict[str, Any]:
    figure = Measurement(metric="load_time", value=value, reason="" if value is not None else "why")
    return {"cell": cell, **measurement_fields(figure, {})}


def test_measurements_are_named_by_variant_and_metric() -> None:
    figures = Figures()
    assert figures.of(Event.MEASUREMENT, measured(2.5)) == {"tiny-llama/nf4/load_time": 2.5}
    assert figures.of(Event.MEASUREMENT, measured(1.0, "a.py::test_disk")) == {"test_disk/load_time": 1.0}


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_was_not_measured_is_no_figure(value: float | None) -> None:
    assert Figures().of(Event.MEASUREMENT, measured(value)) == {}


def test_judgements_are_counted_by_outcome() -> None:
    figures = Figures()
    for value in (1.0, 3.0, 1.5):
        limit = Limit(metric="load_time", high=2.0, source="x")
        fields = judgement_fields(judge(Measurement(metric="load_time", value=value), limit))
        found = figures.of(Event.JUDGEMENT, {"cell": CELL, **fields})
    assert (found["judgements/pass"], found["judgements/fail"], found["judgements/unset"]) == (2.0, 1.0, 0.0)


def test_answers_give_running_figures_of_each_dataset_and_variant() -> None:
    figures = Figures()
    figures.of(Event.ANSWER, answer((-1.0, -2.0)).to_json())
    figures.of(Event.ANSWER, answer(dataset="squad", correct=False).to_json())
    found = figures.of(Event.ANSWER, answer((-3.0,), correct=False).to_json())
    name = "triviaqa/tiny-llama/bf16"
    assert found == {f"{name}/answers": 2.0, f"{name}/accuracy": 0.5, f"{name}/mean_nll": 2.0}
    assert f"{name}/mean_nll" not in Figures().of(Event.ANSWER, answer(()).to_json())


def test_other_events_say_nothing() -> None:
    assert Figures().of(Event.HOST, {"variant": "x"}) == {}


class Broken:
    """Fails in one of its functions."""

    name = "broken"

    def __init__(self, fails: str) -> None:
        self.fails = fails
        self.calls: list[str] = []

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails:
            raise ConnectionError("no route to host\nand much more")

    def start(self, run_id: str, config: Mapping[str, Any]) -> None:
        self._called("start")

    def log(self, numbers: Numbers) -> None:
        self._called("log")

    def finish(self) -> None:
        self._called("finish")


@pytest.mark.parametrize("fails", ["start", "log", "finish"])
def test_a_tracker_that_fails_is_left_alone_and_named_once(fails: str) -> None:
    tracker, said = Broken(fails), list[str]()
    guarded = Guarded(tracker, said.append)
    guarded.start("run", {})
    guarded.log(lambda: {"x": 1.0})
    guarded.log(lambda: {"x": 2.0})
    guarded.finish()
    assert said == ["tracking by broken stopped (no route to host); nothing else is changed by that"]
    assert tracker.calls[-1] == fails
    assert tracker.calls.count(fails) == 1


def test_figures_that_cannot_be_made_fail_as_softly() -> None:
    tracker, said = Broken(""), list[str]()
    guarded = Guarded(tracker, said.append)
    guarded.log(lambda: Figures().of(Event.ANSWER, {}))
    assert said == ["tracking by broken stopped ('dataset'); nothing else is changed by that"]
    assert tracker.calls == []


def test_nothing_is_logged_for_an_event_without_figures() -> None:
    tracker = Broken("")
    Guarded(tracker, print).log(dict)
    assert tracker.calls == []


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_lines_hold_the_run_and_every_change_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "tracking.jsonl"
    path.write_text("of an earlier run\n")
    tracker = JsonLinesTracker(path, Redactor([TOKEN]))
    tracker.start("run-1", {"mark": f"tiny and {TOKEN}"})
    tracker.log({f"x/{TOKEN}": 1.5})
    tracker.finish()
    first, second, third = lines_of(path)
    assert (first["run"], first["config"]) == ("run-1", {"mark": f"tiny and {REDACTED}"})
    assert second[f"x/{REDACTED}"] == 1.5
    assert third["finished"] is True
    assert TOKEN not in path.read_text()


@needs_wandb
def test_weights_and_biases_keeps_the_figures_offline_and_no_secret(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from plimsoll.redaction import Redactor\n"
        "from plimsoll.tracking.weights_and_biases import WeightsAndBiasesTracker\n"
        f"tracker = WeightsAndBiasesTracker(Path({str(tmp_path)!r}), Redactor.from_environment())\n"
        f"tracker.start('run-1', {{'mark': 'tiny {TOKEN}'}})\n"
        f"tracker.log({{'squad/a/accuracy': 0.125, 'x {TOKEN}': 1.0}})\n"
        "tracker.finish()\n"
        "print('torch' in sys.modules)\n"
    )
    environment = {**os.environ, "WANDB_MODE": "offline", "HF_TOKEN": TOKEN, "WANDB_API_KEY": "k" * 40}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
    [kept] = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    data = kept.read_bytes()
    assert b"squad/a/accuracy" in data
    assert b"0.125" in data
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert TOKEN.encode() not in everything
    assert b"k" * 40 not in everything


def test_without_wandb_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.extras.find_spec", lambda name: None)
    with pytest.raises(PlimsollError) as caught:
        WeightsAndBiasesTracker(tmp_path, str)
    assert str(caught.value) == (
        "--track=wandb needs wandb, which is not installed; install the extra: "
        f"pip install -e '{ROOT}[tracking]', or use --track=jsonl"
    )


NODE_TESTS = ("acceptance/test_node.py", "-m", "tiny and llama and bf16")


def test_a_session_is_followed_in_a_file_beside_its_evidence(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *NODE_TESTS, "--track=jsonl", env={"HF_TOKEN": TOKEN})
    lines = lines_of(outcome.folder / "tracking.jsonl")
    assert lines[0]["run"] == outcome.folder.name
    assert lines[-1]["finished"] is True
    told = {name for line in lines[1:-1] for name in line} - {"at"}
    measured_metrics = {e["metric"] for e in outcome.events if e["event"] == "measurement" and e["value"] is not None}
    assert measured_metrics
    assert {name.rpartition("/")[2] for name in told if not name.startswith("judgements/")} == measured_metrics
    assert "tracking by" not in outcome.output


def test_each_worker_tracks_what_it_records(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *NODE_TESTS, "-n", "2", "--track=jsonl")
    told = [line for path in outcome.folder.glob("tracking-gw*.jsonl") for line in lines_of(path)]
    measured_metrics = {e["metric"] for e in outcome.events if e["event"] == "measurement"}
    assert measured_metrics
    assert {name.rpartition("/")[2] for line in told for name in line} >= measured_metrics
    assert [line["run"] for line in told if "run" in line] != []


def test_a_tracker_that_fails_changes_no_verdict(tmp_path: Path) -> None:
    plugin = tmp_path / "full.py"
    plugin.write_text(
        "from plimsoll.tracking import tracker\n"
        "def _write(self, data):\n    raise OSError(28, 'No space left on device')\n"
        "tracker.JsonLinesTracker._write = _write\n"
    )
    path = {"PYTHONPATH": str(tmp_path)}
    followed = run_suite(tmp_path / "a", "-p", "full", *NODE_TESTS, "--track=jsonl", env=path)
    alone = run_suite(tmp_path / "b", *NODE_TESTS)
    said = "tracking by jsonl stopped ([Errno 28] No space left on device); nothing else is changed by that"
    assert followed.output.count(said) == 1
    assert (followed.status, followed.verdict) == (alone.status, alone.verdict)


def test_an_unknown_tracker_is_a_usage_error(tmp_path: Path) -> None:
    outcome = run_inside(tmp_path, *NODE_TESTS, "--track=paper")
    assert outcome.status == 4
    assert "argument --track: invalid choice: 'paper'" in outcome.output
