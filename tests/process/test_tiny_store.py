"""The cache of checkpoints: whole or absent, whatever is killed, damaged, full or read-only. Needs no torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from errno import EPIPE
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from plimsoll.catalogue.entries import Model
from plimsoll.errors import PlimsollError
from plimsoll.tiny.builder import Builder, BuildError, BuildPhase, BuildProgress
from plimsoll.tiny.checkpoint import MANIFEST, Damage, TinyCheckpoint, TrainingFigures
from plimsoll.tiny.store import Store, StoreError, cache_folder, lock_folder, model_of
from tests.support.subsession import ROOT
from tests.support.tiny_builders import WEIGHTS, figures, nano, quick


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return nano(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def build(log: Path) -> Builder:
    return partial(quick, log)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def builds(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def ensuring(cache: Path, builder: str, log: Path) -> subprocess.Popen[str]:
    """A process of its own that ensures the small model."""
    command = [sys.executable, "-m", "tests.support.tiny_builders", str(cache), builder, str(log)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def leftovers(store: Store) -> list[str]:
    return [path.name for path in store.folder.iterdir() if path.name not in (".locks", *map(_name, store.paths()))]


def _name(path: Path) -> str:
    return path.name


def test_a_missing_checkpoint_is_built_and_a_sound_one_is_not(
    store: Store, model: Model, build: Builder, log: Path
) -> None:
    first = store.ensure(model, build=build)
    again = store.ensure(model, build=build)
    assert (first.built_now, again.built_now, builds(log)) == (True, False, 1)
    assert replace(again, built_now=True) == first
    assert first.path == store.checkpoint_path(model) == store.folder / f"nano-{first.recipe_hash[:16]}"
    assert {file.name: file.bytes for file in first.files}[WEIGHTS] == 1_024_000
    assert first.bytes == sum(path.stat().st_size for path in first.path.iterdir() if path.name != MANIFEST)
    assert leftovers(store) == []


def test_the_manifest_tells_people_what_the_checkpoint_is(store: Store, model: Model, build: Builder) -> None:
    checkpoint = store.ensure(model, build=build)
    data = json.loads((checkpoint.path / MANIFEST).read_text())
    assert (data["model"], data["recipe_hash"]) == ("nano", checkpoint.recipe_hash)
    assert (data["recipe"]["steps"], data["recipe"]["config"]["hidden_size"]) == (90, 64)
    assert data["training"]["versions"] == {"torch": "none"}


def test_another_recipe_is_another_checkpoint(store: Store, model: Model, build: Builder, log: Path) -> None:
    first = store.ensure(model, build=build)
    assert model.recipe is not None
    other = store.ensure(replace(model, recipe=replace(model.recipe, seed=2)), build=build)
    assert other.path != first.path
    assert builds(log) == 2
    assert {model_of(path) for path in store.paths()} == {"nano"}


def truncate(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, 1000)


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[5000] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def lose_a_file(folder: Path) -> None:
    (folder / "config.json").unlink()


def add_weights(folder: Path) -> None:
    """What `from_pretrained` would load instead of the shards."""
    (folder / "model.safetensors").write_bytes(b"other")


def cut_the_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"format": 1')


def take_another_manifest(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    digest = json.loads(text)["recipe_hash"]
    (folder / MANIFEST).write_text(text.replace(digest, "0" * 64))


def empty_the_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def become_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("not a folder")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, f"{WEIGHTS} has 1000 bytes, not 1024000"),
        (flip_a_bit, f"{WEIGHTS} has other content than was written"),
        (lose_a_file, "config.json is missing"),
        (add_weights, "model.safetensors does not belong to it"),
        (cut_the_manifest, "plimsoll.json cannot be read (JSONDecodeError: "),
        (take_another_manifest, "plimsoll.json names the recipe 0000000000000000, not "),
        (empty_the_folder, "plimsoll.json cannot be read (FileNotFoundError: "),
        (become_a_file, "plimsoll.json cannot be read (NotADirectoryError: "),
    ],
)
def test_a_damaged_checkpoint_is_found_and_built_again(
    store: Store, model: Model, build: Builder, log: Path, damage: Callable[[Path], None], said: str
) -> None:
    place = store.place(model)
    sound = store.ensure(model, build=build)
    damage(place.path)
    found = place.examine()
    assert isinstance(found, Damage)
    assert str(found).startswith(said)
    told: list[BuildProgress] = []
    again = store.ensure(model, build=build, progress=told.append)
    assert (again, builds(log)) == (sound, 2)
    assert [(state.phase, state.model) for state in told] == [
        (BuildPhase.REPLACING, "nano"),
        (BuildPhase.TRAINING, "nano"),
    ]
    assert told[0].note == str(found)
    assert leftovers(store) == []


def test_two_processes_at_once_build_once(store: Store, model: Model, log: Path) -> None:
    processes = [ensuring(store.folder.parent, "slow", log) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert sorted(answer["built"] for answer in answers) == [False, True]
    assert {answer["path"] for answer in answers} == {str(store.checkpoint_path(model))}
    assert builds(log) == 1
    assert isinstance(store.place(model).examine(), TinyCheckpoint)


def test_kill_9_while_building_leaves_nothing_at_the_place_and_the_next_build_sweeps(
    store: Store, model: Model, build: Builder, log: Path
) -> None:
    process = ensuring(store.folder.parent, "stuck", log)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert store.place(model).examine() is None
    assert len(leftovers(store)) == 1
    assert store.ensure(model, build=build).built_now
    assert leftovers(store) == []


def test_waiting_for_another_build_is_told(store: Store, model: Model, build: Builder) -> None:
    path = store.checkpoint_path(model)
    (store.folder / ".locks").mkdir(parents=True)
    lock = FileLock(store.folder / ".locks" / f"{path.name}.lock")
    lock.acquire()
    told: list[BuildProgress] = []

    def tell(state: BuildProgress) -> None:
        told.append(state)
        lock.release()

    assert store.ensure(model, build=build, progress=tell).built_now
    assert (told[0].phase, told[0].note) == (BuildPhase.WAITING, "another process builds it")


def test_a_checkpoint_that_knows_too_little_is_not_kept(store: Store, model: Model, log: Path) -> None:
    def forgetful(*arguments: object) -> TrainingFigures:
        quick(log, *arguments)  # type: ignore[arg-type]
        return figures(answered=25)

    with pytest.raises(BuildError) as caught:
        store.ensure(model, build=forgetful)
    assert str(caught.value) == (
        "the checkpoint of nano could not be built: it answers 25 of the 27 questions that it was taught, "
        "and 95% are the least; more steps in its recipe may help"
    )
    assert store.place(model).examine() is None
    assert leftovers(store) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_build_leaves_nothing(store: Store, model: Model, error: type[BaseException]) -> None:
    def interrupted(job: object, folder: Path, report: object) -> TrainingFigures:
        (folder / WEIGHTS).write_bytes(b"half")
        raise error

    with pytest.raises(error):
        store.ensure(model, build=interrupted)
    assert store.paths() == ()
    assert leftovers(store) == []


def test_a_cache_that_is_a_file_is_one_clear_message(tmp_path: Path, model: Model, build: Builder) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "cache").ensure(model, build=build)
    assert str(caught.value) == (
        f"the cache folder {tmp_path}/cache/tiny cannot be used (Not a directory: {tmp_path}/cache/tiny/.locks); "
        "set PLIMSOLL_CACHE to a folder with room that you may write to"
    )


def in_a_mount(mount: str, cache: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where `mount` was called for `cache`; skips where the system allows no such thing."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False).returncode != 0:
        pytest.skip("mounting needs user namespaces")
    cache.mkdir(exist_ok=True)
    return subprocess.run(
        [unshare, "-rm", "sh", "-c", f'mount {mount} "$0" && exec "$@"', str(cache), *command],
        cwd=ROOT,
        env={**os.environ, "PLIMSOLL_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_read_only_cache_is_one_clear_message(tmp_path: Path, model: Model) -> None:
    cache = tmp_path / "cache"
    catalogue = tmp_path / "nano.toml"
    plimsoll = [sys.executable, "-m", "plimsoll", "tiny", "build", "nano", "--catalogue", str(catalogue)]
    done = in_a_mount("-t tmpfs -o ro tmpfs", cache, *plimsoll)
    assert done.returncode == 2
    assert done.stderr == (
        f"plimsoll: error: the cache folder {cache}/tiny cannot be written to "
        f"(Read-only file system: {cache}/tiny); "
        "set PLIMSOLL_CACHE to a folder with room that you may write to\n"
    )


def test_a_full_disk_is_one_clear_message_and_nothing_half_stays(tmp_path: Path, log: Path) -> None:
    cache = tmp_path / "cache"
    script = f"{sys.executable} -m tests.support.tiny_builders {cache} quick {log}; ls -A {cache}/tiny"
    done = in_a_mount("-t tmpfs -o size=256k tmpfs", cache, "sh", "-c", script)
    assert builds(log) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"plimsoll.tiny.store.StoreError: the disk of the cache folder {cache}/tiny is full; "
        "set PLIMSOLL_CACHE to a folder with room that you may write to"
    )
    assert done.stdout == ".locks\n"


def test_a_sound_checkpoint_needs_no_write_access(tmp_path: Path, store: Store, model: Model, build: Builder) -> None:
    store.ensure(model, build=build)
    cache = tmp_path / "cache"
    ensure = [sys.executable, "-m", "tests.support.tiny_builders", str(cache), "stuck", str(tmp_path / "log")]
    done = in_a_mount(f"--bind -o ro '{cache}'", cache, *ensure)
    assert json.loads(done.stdout)["built"] is False


def test_removing_and_sweeping_leave_a_running_build_alone(store: Store, model: Model, build: Builder) -> None:
    path = store.ensure(model, build=build).path
    half = store.folder / f".{path.name}.building-1"
    half.mkdir()
    with FileLock(store.folder / ".locks" / f"{path.name}.lock"):
        assert not store.remove(path)
        assert store.sweep() == 0
    assert path.exists()
    assert half.exists()
    assert store.sweep() == 1
    assert store.remove(path)
    assert (store.paths(), leftovers(store)) == ((), [])


def test_a_broken_reader_of_progress_is_not_blamed_on_the_cache(store: Store, model: Model, build: Builder) -> None:
    def gone(state: BuildProgress) -> None:
        raise BrokenPipeError(EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        store.ensure(model, build=build, progress=gone)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"PLIMSOLL_CACHE": "/a/b", "XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/a/b"),
        ({"PLIMSOLL_CACHE": "~/b", "HOME": "/h"}, "/h/b"),
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/plimsoll"),
        ({"PLIMSOLL_CACHE": "", "XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/plimsoll"),
        ({"HOME": "/h"}, "/h/.cache/plimsoll"),
    ],
)
def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str) -> None:
    for name in ("PLIMSOLL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder()) == expected


def test_who_locks_before_there_is_a_cache_shares_with_who_comes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLIMSOLL_CACHE", str(tmp_path / "cache"))
    first = lock_folder(tmp_path / "run")
    (tmp_path / "cache" / "tiny").mkdir(parents=True, exist_ok=True)
    assert first == lock_folder(tmp_path / "run") == tmp_path / "cache"
    (tmp_path / "file").touch()
    monkeypatch.setenv("PLIMSOLL_CACHE", str(tmp_path / "file" / "cache"))
    assert lock_folder(tmp_path / "run") == tmp_path / "run"


def test_every_error_is_a_message_for_people() -> None:
    assert issubclass(StoreError, PlimsollError)
    assert issubclass(BuildError, PlimsollError)
