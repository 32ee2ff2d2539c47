"""Relevance by a real cross-encoder of sentence-transformers, in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from plimsoll.cli import main
from plimsoll.errors import PlimsollError
from plimsoll.uncertainty.cross_encoder import DEFAULT_MODEL, CrossEncoderSimilarity
from plimsoll.uncertainty.relevance import relevances
from plimsoll.uncertainty.scores import mean_nll, rw_g_nll, token_losses
from tests.support.made_answers import answers, asking, run_with
from tests.support.run_events import RUN_ID, numbered, write_events

ROOT = Path(__file__).parents[2]

needs_library = pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="needs the extra similarity")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("encoder"), 1)


def made(folder: Path, labels: int) -> Path:
    command = [sys.executable, "-m", "tests.support.cross_encoders", str(folder), str(labels)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@needs_library
def test_scores_are_those_of_the_model_from_0_to_1_and_not_rescaled(model: Path) -> None:
    pairs = [("Who wrote it? Ada", "Who wrote it?"), ("Who wrote it? Ada", "a b c"), ("x", "x")]
    found = CrossEncoderSimilarity(str(model)).similarities(pairs)
    script = (
        "import json, sys, torch\n"
        "from transformers import AutoTokenizer, AutoModelForSequenceClassification as M\n"
        f"t, m = (c.from_pretrained({str(model)!r}) for c in (AutoTokenizer, M))\n"
        "logits = [m.eval()(**t(a, b, return_tensors='pt', return_token_type_ids=False)).logits.item()\n"
        f"          for a, b in {pairs!r}]\n"
        "print(json.dumps([torch.tensor(x).sigmoid().item() for x in logits]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found == pytest.approx(json.loads(done.stdout.splitlines()[-1]), abs=1e-5)
    assert all(0.0 < value < 1.0 for value in found)
    assert max(found) - min(found) > 0.005, "a model that calls everything alike would prove nothing here"


@needs_library
def test_weights_by_a_cross_encoder_are_not_the_mean(model: Path) -> None:
    made_answers = answers(asking(chosen=20))
    found = relevances(made_answers, CrossEncoderSimilarity(str(model)))
    apart = [
        abs(rw_g_nll(token_losses(one), weights) - mean_nll(token_losses(one)))
        for one, weights in zip(made_answers, found, strict=True)
    ]
    assert max(apart) > 0.01


@needs_library
def test_a_model_with_several_scores_a_pair_is_refused(tmp_path: Path) -> None:
    several = made(tmp_path, 3)
    with pytest.raises(PlimsollError, match="gives 3 scores a pair, and a similarity is one"):
        CrossEncoderSimilarity(str(several)).similarities([("a", "b")])


@needs_library
def test_a_model_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(PlimsollError) as caught:
        CrossEncoderSimilarity(str(tmp_path / "none")).similarities([("a", "b")])
    assert str(caught.value).startswith(f"the cross-encoder {tmp_path / 'none'} gave no similarities: ")
    assert "Traceback" not in str(caught.value)


@needs_library
def test_the_command_takes_a_cross_encoder(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = asking(chosen=20)
    write_events(tmp_path / RUN_ID, numbered(run_with([one], answers(one))))
    options = ["--score", "rw_g_nll", "--similarity", f"cross-encoder={model}", "--json"]
    assert main(["uncertainty", str(tmp_path / RUN_ID), *options]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["setting"]["similarity"] == f"cross-encoder {model}"
    assert data["results"][0]["auroc"]["rw_g_nll"]["value"] is not None


def test_nothing_is_started_for_no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.extras.find_spec", lambda name: True)
    monkeypatch.setattr(os, "environ", {})
    assert CrossEncoderSimilarity().similarities([]) == []
    assert CrossEncoderSimilarity().name == f"cross-encoder {DEFAULT_MODEL}"


def test_without_the_library_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.extras.find_spec", lambda name: None)
    with pytest.raises(PlimsollError) as caught:
        CrossEncoderSimilarity()
    assert str(caught.value) == (
        "a cross-encoder needs sentence-transformers, which is not installed; install the extra: "
        f"pip install -e '{ROOT}[similarity]', or use --similarity lexical"
    )
