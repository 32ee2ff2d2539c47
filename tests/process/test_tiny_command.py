"""`plimsoll tiny build|list|clean`: what it says, what it leaves, what it exits with."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from plimsoll.catalogue.entries import Model
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.tiny.builder import BuildPhase, BuildProgress
from plimsoll.tiny.checkpoint import TinyCheckpoint
from plimsoll.tiny.display import Display
from plimsoll.tiny.store import Store
from tests.support.commands import plimsoll
from tests.support.tiny_builders import WEIGHTS, nano, quick

TINY = ["tiny-llama", "tiny-qwen", "tiny-mistral", "tiny-mixtral", "tiny-phi"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return nano(tmp_path)


@pytest.fixture
def built(store: Store, model: Model, tmp_path: Path) -> TinyCheckpoint:
    """The small model's checkpoint, as if it had been trained."""
    return store.ensure(model, build=partial(quick, tmp_path / "log"))


def tiny(store: Store, *arguments: str) -> subprocess.CompletedProcess[str]:
    catalogue = store.folder.parents[1] / "nano.toml"
    return plimsoll("tiny", *arguments, "--catalogue", catalogue, env={"PLIMSOLL_CACHE": str(store.folder.parent)})


def test_build_builds_once_and_says_what_it_has(store: Store, model: Model) -> None:
    first = tiny(store, "build", "nano", "nano")
    assert (first.returncode, first.stderr) == (0, "")
    lines = first.stdout.splitlines()
    assert lines[0] == "nano: training, 90 steps"
    assert lines[1].startswith("nano: built in ")
    assert "; answers 27 of 27 taught questions; " in lines[1]
    assert lines[2].startswith("1 built, 0 already there, in ")
    assert lines[2].endswith(str(store.folder))
    second = tiny(store, "build", "nano").stdout.splitlines()
    assert second[0].startswith("nano: already there; answers 27 of 27 taught questions; ")
    assert second[1].startswith("0 built, 1 already there, in ")
    assert isinstance(store.place(model).examine(), TinyCheckpoint)


@pytest.mark.parametrize("action", ["build", "clean"])
def test_an_unknown_model_brings_the_nearest_name(store: Store, model: Model, action: str) -> None:
    done = tiny(store, action, "tiny-lama")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "plimsoll: error: no trained model 'tiny-lama'; did you mean 'tiny-llama'?\n"


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_jobs_must_be_a_count(store: Store, model: Model, jobs: str) -> None:
    done = tiny(store, "build", "nano", "--jobs", jobs)
    assert done.returncode == 2
    assert f"argument --jobs: must be a whole number from 1 to 1,000,000,000, not '{jobs}'" in done.stderr


def test_list_tells_built_missing_damaged_and_stale_apart(store: Store, built: TinyCheckpoint) -> None:
    stale = store.folder / ("old-" + "0" * 16)
    shutil.copytree(built.path, stale)
    rows = {row["model"]: row for row in json.loads(tiny(store, "list", "--json").stdout)}
    assert list(rows) == [*TINY, "nano", "old"]
    assert {rows[name]["state"] for name in TINY} == {"missing"}
    assert (rows["nano"]["state"], rows["old"]["state"]) == ("built", "stale")
    assert rows["nano"]["recipe_hash"] == built.recipe_hash
    assert (rows["nano"]["path"], rows["nano"]["bytes"], rows["nano"]["accuracy"]) == (
        str(built.path),
        built.bytes,
        1.0,
    )
    (built.path / WEIGHTS).write_bytes(b"")
    rows = {row["model"]: row for row in json.loads(tiny(store, "list", "--json").stdout)}
    assert (rows["nano"]["state"], rows["nano"]["faults"]) == ("damaged", [f"{WEIGHTS} has 0 bytes, not 1024000"])


def test_list_for_people_names_the_faults(store: Store, built: TinyCheckpoint) -> None:
    (built.path / WEIGHTS).unlink()
    lines = tiny(store, "list").stdout.splitlines()
    assert lines[0].split() == ["model", "state", "recipe", "size", "answers", "path"]
    assert [line.split()[:2] for line in lines[1:7]] == [*([name, "missing"] for name in TINY), ["nano", "damaged"]]
    assert lines[7] == f"nano: {WEIGHTS} is missing"


def test_verify_fails_unless_all_are_built_and_sound(store: Store, model: Model, tmp_path: Path) -> None:
    # Stand-ins for the shipped models too: what counts is the state of each place.
    models = read_catalogue([tmp_path / "nano.toml"]).models
    for name in [*TINY, "nano"]:
        assert tiny(store, "list", "--verify").returncode == 1
        store.ensure(models[name], build=partial(quick, tmp_path / "log"))
    assert tiny(store, "list", "--verify").returncode == 0
    content = bytearray((store.checkpoint_path(model) / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (store.checkpoint_path(model) / WEIGHTS).write_bytes(content)
    assert tiny(store, "list", "--verify").returncode == 1
    assert tiny(store, "list").returncode == 0


def test_clean_removes_what_is_of_no_use_and_keeps_the_rest(store: Store, built: TinyCheckpoint) -> None:
    assert tiny(store, "clean").stdout == f"nothing to remove in {store.folder}\n"
    stale = store.folder / ("nano-" + "0" * 16)
    shutil.copytree(built.path, stale)
    (store.folder / f".{stale.name}.building-1").mkdir()
    done = tiny(store, "clean")
    assert done.stdout == f"removed {stale}\nremoved what 1 interrupted build had left\n"
    assert store.paths() == (built.path,)
    (built.path / WEIGHTS).write_bytes(b"")
    assert tiny(store, "clean").stdout == f"removed {built.path}\n"


def test_clean_of_a_model_and_of_all(store: Store, built: TinyCheckpoint) -> None:
    other = store.folder / ("other-" + "0" * 16)
    shutil.copytree(built.path, other)
    assert tiny(store, "clean", "nano").stdout == f"removed {built.path}\n"
    assert store.paths() == (other,)
    assert tiny(store, "clean", "--all").stdout == f"removed {other}\n"
    assert store.paths() == ()


def test_list_and_clean_make_no_folder(store: Store, model: Model) -> None:
    assert tiny(store, "list").returncode == 0
    assert tiny(store, "clean", "--all").returncode == 0
    assert not store.folder.parent.exists()


def everything_from(terminal: int) -> str:
    """What was written to the other end, which is closed by now; Linux tells the end of it by an error."""
    parts = []
    with os.fdopen(terminal, "rb", buffering=0) as reader, suppress(OSError):
        while part := reader.read(1000):
            parts.append(part)
    return b"".join(parts).decode()


def test_a_terminal_gets_one_live_line_that_is_gone_at_the_end() -> None:
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as terminal:
        display = Display(terminal, ["a", "b"])
        display.update(BuildProgress(model="a", phase=BuildPhase.TRAINING, seconds=2.0, done=30, total=120))
        display.update(BuildProgress(model="b", phase=BuildPhase.REPLACING, seconds=3.0, note="x is missing"))
        display.close()
    text = everything_from(reader)
    clear = "\r\x1b[K"
    drawn = ["2.000 s  a 25%  1 to come", "b: replacing: x is missing\r\n", "3.000 s  a 25%  b replacing", ""]
    assert text == "".join(f"{clear}{part}" for part in drawn)
