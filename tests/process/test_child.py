"""Processes with one job: how their messages arrive, and what is told of those that die."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from plimsoll.child.started import Child
from plimsoll.errors import PlimsollError
from plimsoll.tiny.builder import BuildProcess
from plimsoll.tiny.recipe import training_job
from plimsoll.uncertainty.cross_encoder import CrossEncoderSimilarity
from tests.support.tiny_builders import nano

SPEAK = "import json, os, signal, sys\nfrom plimsoll.child.inside import Outlet\njob = json.load(sys.stdin)\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `speaker` to write, that a child finds."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder / "speaker.py"


def said(child: Child) -> list[object]:
    return [message for message in child.messages() if message is not None]


def test_a_message_that_was_cut_off_by_a_kill_is_none(module: Path) -> None:
    module.write_text(
        SPEAK + "out = Outlet()\nout.send(whole=job['n'])\nout._file.write('{\"torn')\nout._file.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with Child("speaker") as child:
        child.send({"n": 7})
        assert said(child) == [{"whole": 7}]
        assert child.post_mortem() == (
            "was killed by SIGKILL, which is what the system does when memory runs out and wrote nothing"
        )


def test_what_libraries_print_is_told_without_secrets_and_not_taken_for_a_message(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrstuvwxyz012345")
    module.write_text(SPEAK + "Outlet()\nprint('{', os.environ['HF_TOKEN'], flush=True)\nsys.exit(4)\n")
    with Child("speaker") as child:
        child.send({})
        assert said(child) == []
        told = child.post_mortem()
    assert told.startswith("ended with status 4:\n  | { ")
    assert "abcdefghij" not in told


def test_a_job_that_is_larger_than_a_pipe_and_never_read_is_no_error_of_its_own(module: Path) -> None:
    module.write_text("import sys\nsys.stdin.close()\nsys.exit(5)\n")
    with Child("speaker") as child:
        child.send({"text": "x" * 2**20})
        assert said(child) == []
        assert child.post_mortem() == "ended with status 5 and wrote nothing"


def test_leaving_ends_a_process_that_has_more_to_say(module: Path) -> None:
    module.write_text(SPEAK + "import time\nOutlet().send(pid=os.getpid())\ntime.sleep(600)\n")
    with Child("speaker") as child:
        child.send({})
        message = next(filter(None, child.messages()))
    assert not psutil.pid_exists(message["pid"])


def test_a_file_of_the_working_folder_stands_in_for_no_module_of_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit(7)")
    job = training_job(nano(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "target"
    folder.mkdir()
    figures = BuildProcess()(job, folder, lambda phase, done, total: None)
    assert figures.steps > 0


def test_a_file_of_the_working_folder_stands_in_for_no_module_of_a_cross_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "json.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PlimsollError, match="gave no similarities: it cannot be loaded"):
        CrossEncoderSimilarity(str(tmp_path / "none")).similarities([("a", "b")])
