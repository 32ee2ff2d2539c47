"""Fetching by the real huggingface_hub client, from a Hub on the loopback interface that misbehaves."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from plimsoll.hub.access import Access, Query, Reply
from plimsoll.hub.checking import check
from plimsoll.hub.child import HubError
from plimsoll.hub.client import ask, fetch
from tests.support.hub_asking import Serve, ask_one
from tests.support.hub_repositories import COMMIT, SHARDS, make_repository
from tests.support.hub_server import (
    BAD_TOKEN,
    NOT_ACCEPTED,
    Refusal,
    Repository,
)
from tests.support.running import still_running
from tests.support.subsession import ROOT


@pytest.mark.usefixtures("started_children")
def test_fetching(serve: Serve, repository: Path, tmp_path: Path) -> None:
    server = serve(sound=Repository(folder=repository))
    access = ask_one("sound")
    heard: list[tuple[str, int, int, float]] = []
    snapshot = fetch(access, tmp_path / "notes", progress=lambda *sign: heard.append(sign))
    assert (snapshot.commit, snapshot.bytes, snapshot.downloaded) == (COMMIT, access.size, access.size)
    assert not snapshot.from_cache
    assert snapshot.seconds > 0
    assert (snapshot.checked, snapshot.unchecked) == (5, ())
    fetched = {path.name: path.read_bytes() for path in Path(snapshot.folder).iterdir()}
    assert fetched == {file.path: (repository / file.path).read_bytes() for file in access.files}
    assert heard[0][:3] == ("fetching", 0, access.size)
    assert heard == sorted(heard, key=lambda sign: sign[3])
    # Files are asked for by commit: what a branch is meanwhile moved to does not matter.
    assert all(f"/resolve/{COMMIT}/" in path for path in server.asked() if "/resolve/" in path)

    asked = len(server.asked())
    again = fetch(ask_one("sound"), tmp_path / "notes")
    assert again.from_cache
    assert (again.folder, again.checked) == (snapshot.folder, 0)
    assert len(server.asked()) == asked + 2


def test_a_whole_snapshot_needs_no_hub(
    serve: Serve, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(sound=Repository(folder=repository))
    fetch(ask_one("sound"), tmp_path / "notes")
    asked = len(server.asked())
    assert ask_one("sound", COMMIT).answer is Reply.CACHED
    assert len(server.asked()) == asked  # a commit means the same files for ever
    server.repositories["hub/sound"].refuses = Refusal(401, None, BAD_TOKEN)
    assert ask_one("sound").answer is Reply.NO_TOKEN  # a no is a no
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    access = ask_one("sound")
    assert (access.answer, access.commit, access.missing) == (Reply.CACHED, COMMIT, 0)
    snapshot = fetch(access, tmp_path / "notes")
    assert (snapshot.from_cache, snapshot.commit, snapshot.checked, snapshot.unchecked) == (True, COMMIT, 0, ())
    # Without notes each file is held against the blob that its link names.
    assert fetch(access, tmp_path / "other-notes").checked == 5
    (Path(snapshot.folder) / SHARDS[1]).unlink()
    assert ask_one("sound").answer is Reply.OFFLINE_MODE


def test_a_cut_is_resumed_where_it_happened(serve: Serve, tmp_path: Path) -> None:
    # huggingface_hub writes what arrives in pieces of 10 MiB, and goes on behind the last whole one.
    (tmp_path / "large").mkdir()
    folder = make_repository(tmp_path / "large", first_shard=24_000_000)
    server = serve(cut=Repository(folder=folder, cuts={SHARDS[0]: "closed"}))
    snapshot = fetch(ask_one("cut"), tmp_path / "notes")
    assert [request.range for request in server.requests if request.range] == ["bytes=10485760-"]
    assert (Path(snapshot.folder) / SHARDS[0]).read_bytes() == (folder / SHARDS[0]).read_bytes()
    assert snapshot.checked == 5


def test_a_reset_connection_costs_one_file(serve: Serve, repository: Path, tmp_path: Path) -> None:
    server = serve(reset=Repository(folder=repository, cuts={SHARDS[0]: "reset"}))
    snapshot = fetch(ask_one("reset"), tmp_path / "notes")
    assert (Path(snapshot.folder) / SHARDS[0]).read_bytes() == (repository / SHARDS[0]).read_bytes()
    gets = [request.path.rpartition("/")[2] for request in server.requests if request.method == "GET"]
    assert (gets.count(SHARDS[0]), gets.count(SHARDS[1])) == (2, 1)


def test_a_wrong_content_is_found_and_removed(serve: Serve, repository: Path, tmp_path: Path) -> None:
    server = serve(bad=Repository(folder=repository, corrupt=frozenset({SHARDS[1]})))
    access = ask_one("bad")
    with pytest.raises(HubError) as caught:
        fetch(access, tmp_path / "notes")
    expected = hashlib.sha256(b"\1" * 1000).hexdigest()
    wrong = hashlib.sha256(b"\1" * 999 + b"\0").hexdigest()
    assert str(caught.value) == (
        f"hub/bad at {COMMIT}: damaged on the way or on the disk; removed from {access.cache}, so the next run fetches "
        f"it anew:\n  {SHARDS[1]}: its content hashes to {wrong}, and the Hub says {expected}"
    )
    assert not list((tmp_path / "hf").rglob(f"snapshots/*/{SHARDS[1]}"))
    server.repositories["hub/bad"].corrupt = frozenset()
    snapshot = fetch(ask_one("bad"), tmp_path / "notes")
    assert (snapshot.downloaded, snapshot.checked) == (1000, 1)


def test_a_file_that_was_touched_is_checked_again(serve: Serve, repository: Path, tmp_path: Path) -> None:
    serve(sound=Repository(folder=repository))
    snapshot = fetch(ask_one("sound"), tmp_path / "notes")
    blob = (Path(snapshot.folder) / SHARDS[1]).resolve()
    blob.write_bytes(b"\2" * 1000)
    with pytest.raises(HubError, match="its content hashes to"):
        fetch(ask_one("sound"), tmp_path / "notes")
    assert not blob.exists()


def test_files_that_nobody_knows_a_hash_of_are_named(serve: Serve, repository: Path, tmp_path: Path) -> None:
    access = replace(ask_one_sound(serve, repository), files=())
    assert check(repository, access.files, tmp_path / "notes", lambda _: None).hashed == ()
    files = ask_one("sound").files
    checked = check(repository, [replace(file, digest=None) for file in files], tmp_path / "notes", lambda _: None)
    assert (checked.hashed, checked.unknown) == ((), tuple(file.path for file in files))


def ask_one_sound(serve: Serve, repository: Path) -> Access:
    serve(sound=Repository(folder=repository))
    return ask_one("sound")


def test_weights_that_are_only_pickled(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "pickled").mkdir()
    for name in ("config.json", "tokenizer.json", "pytorch_model.bin"):
        (tmp_path / "pickled" / name).write_text("{}")
    server = serve(pickled=Repository(folder=tmp_path / "pickled"))
    access = ask_one("pickled")
    assert (access.answer, access.unusable, access.detail) == (Reply.UNUSABLE, "pickle", "pytorch_model.bin")
    assert not any("/resolve/" in path for path in server.asked())
    question = Query(repository="hub/pickled", allow_pickle=True)
    snapshot = fetch(ask([question])[question], tmp_path / "notes")
    assert (Path(snapshot.folder) / "pytorch_model.bin").exists()


def with_more_shards(repository: Path, target: Path, *names: str) -> Path:
    """The repository with weights of other names, which its index lists."""
    shutil.copytree(repository, target)
    index = json.loads((target / "model.safetensors.index.json").read_text())
    for name in names:
        index["weight_map"][f"tensor of {name}"] = name
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    return target


def test_shards_of_any_name_are_fetched_where_the_index_lists_them(
    serve: Serve, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = with_more_shards(repository, tmp_path / "repository", "mtp.safetensors", "text/part.safetensors")
    (changed / "text").mkdir()
    for name in ("mtp.safetensors", "text/part.safetensors", "unlisted.safetensors"):
        (changed / name).write_bytes(b"w" * 100)
    serve(named=Repository(folder=changed))
    access = ask_one("named")
    assert {"mtp.safetensors", "text/part.safetensors"} < {file.path for file in access.files}
    assert "unlisted.safetensors" not in {file.path for file in access.files}
    snapshot = fetch(access, tmp_path / "notes")
    assert (Path(snapshot.folder) / "text/part.safetensors").stat().st_size == 100
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cached = ask_one("named")
    assert cached.answer is Reply.CACHED
    assert {file.path for file in cached.files} == {file.path for file in access.files}


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/hostname", "a/../../b.safetensors"])
def test_an_index_that_leads_out_of_its_folder_is_not_followed(
    serve: Serve, repository: Path, tmp_path: Path, name: str
) -> None:
    changed = with_more_shards(repository, tmp_path / "repository", name)
    (tmp_path / "outside.safetensors").write_bytes(b"secret")
    serve(sly=Repository(folder=changed))
    access = ask_one("sly")
    assert [file.path for file in access.files if "model-" not in file.path and file.path.endswith("safetensors")] == []
    with pytest.raises(HubError, match=r"it has no model\.safetensors\.index\.json, which a load needs"):
        fetch(access, tmp_path / "notes")


def test_a_tokenizer_of_another_kind_is_one(serve: Serve, repository: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(repository, tmp_path / "repository"))
    (changed / "tokenizer.json").rename(changed / "tiktoken.model")
    serve(kimi=Repository(folder=changed))
    assert fetch(ask_one("kimi"), tmp_path / "notes").downloaded > 0


def test_a_lock_that_another_run_holds_is_named(serve: Serve, repository: Path, tmp_path: Path) -> None:
    serve(sound=Repository(folder=repository))
    access = ask_one("sound")
    lock = tmp_path / "hf/hub/.locks/plimsoll-hub--sound.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock), pytest.raises(HubError, match=f"it waited for {lock}, which another one holds"):
        fetch(access, tmp_path / "notes", idle_timeout=8.0)
    assert fetch(access, tmp_path / "notes").downloaded > 0


def test_a_repository_that_lacks_a_shard(serve: Serve, repository: Path, tmp_path: Path) -> None:
    partial = tmp_path / "partial"
    partial.mkdir()
    for path in repository.iterdir():
        if path.name != SHARDS[0]:
            (partial / path.name).write_bytes(path.read_bytes())
    serve(partial=Repository(folder=partial))
    with pytest.raises(HubError, match=f"at {COMMIT}: it has no {SHARDS[0]}, which a load needs"):
        fetch(ask_one("partial"), tmp_path / "notes")


def test_access_that_is_lost_on_the_way(serve: Serve, repository: Path, tmp_path: Path) -> None:
    server = serve(sound=Repository(folder=repository))
    access = ask_one("sound")
    server.repositories["hub/sound"].gate = Refusal(403, "GatedRepo", NOT_ACCEPTED)
    with pytest.raises(HubError, match="could not be fetched: HTTP 403: Access to model hub/sound is restricted"):
        fetch(access, tmp_path / "notes")


def test_a_cache_that_cannot_be_written(serve: Serve, repository: Path, tmp_path: Path) -> None:
    serve(sound=Repository(folder=repository))
    access = ask_one("sound")
    shutil.rmtree(tmp_path / "hf/hub")
    (tmp_path / "hf/hub").write_text("a file in the place of the folder")
    again = ask_one("sound")
    assert (again.answer, again.unwritable) == (Reply.GRANTED, "File exists")
    with pytest.raises(HubError) as caught:
        fetch(access, tmp_path / "notes")
    place = re.escape(str(tmp_path / "hf/hub"))
    assert re.fullmatch(rf"hub/sound at {COMMIT}: {place}/\S+: Not a directory", str(caught.value))


@pytest.mark.usefixtures("started_children")
def test_a_download_that_stands_still_is_ended(serve: Serve, repository: Path, tmp_path: Path) -> None:
    serve(stalled=Repository(folder=repository, stalls=frozenset({SHARDS[0]})))
    with pytest.raises(HubError, match=r"nothing moved for 8\.000 s"):
        fetch(ask_one("stalled"), tmp_path / "notes", idle_timeout=8.0)
    assert_nothing_left(tmp_path)


FETCH = """
import sys
from pathlib import Path
from plimsoll.hub.access import Query
from plimsoll.hub.client import ask, fetch
question = Query(repository="hub/stalled")
access = ask([question])[question]
fetch(access, Path(sys.argv[1]), progress=lambda *sign: print(sign, flush=True))
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_download_ends_with_its_controller(
    serve: Serve, repository: Path, tmp_path: Path, end: signal.Signals
) -> None:
    serve(stalled=Repository(folder=repository, stalls=frozenset({SHARDS[0]})))
    command = [sys.executable, "-c", FETCH, str(tmp_path / "notes")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: any((tmp_path / "hf").rglob("*.incomplete")))
        children = psutil.Process(process.pid).children()
        assert len(children) == 1
        process.send_signal(end)
        errors = process.communicate(timeout=60)[1]
    assert end is signal.SIGKILL or "KeyboardInterrupt" in errors
    assert still_running(children, 60) == []
    assert_nothing_left(tmp_path)


OPEN = """
import sys
from itertools import count
from pathlib import Path
from threading import Thread
from plimsoll.hub.partial_files import remove_at_the_end
folder = Path(sys.argv[1])
(folder / "read.incomplete").write_text("another's")
remove_at_the_end()
(folder / "read.incomplete").read_text()
(folder / "resumed.incomplete").open("a").write("half")
(folder / "closed.incomplete").write_text("not moved yet")
(folder / "moved.incomplete").write_text("whole")
(folder / "moved.incomplete").rename(folder / "whole")
def go_on():
    for number in count():
        (folder / f"{number}.incomplete").open("wb").close()
for _ in range(4):
    Thread(target=go_on).start()
print("begun", flush=True)
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_partial_files_that_threads_open_to_the_last_moment_are_removed(tmp_path: Path, end: signal.Signals) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        until(lambda: (tmp_path / "9.incomplete").exists())
        process.send_signal(end)
        assert process.stdout.read() == ""
    assert process.returncode == -end
    assert {path.name for path in tmp_path.iterdir()} == {"read.incomplete", "resumed.incomplete", "whole"}


def until(condition: Callable[[], bool], limit: float = 60.0) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def assert_nothing_left(tmp_path: Path) -> None:
    """Partial files have a name that no later process uses; another process than the one that is waited for removes
    them."""
    until(lambda: not list((tmp_path / "hf").rglob("*.incomplete")))
    assert not [child for child in psutil.Process().children() if "plimsoll.hub.process" in command_of(child)]


def command_of(process: psutil.Process) -> list[str]:
    """Empty where it has ended meanwhile, or only waits to be buried."""
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def test_two_at_once_download_once(serve: Serve, repository: Path, tmp_path: Path) -> None:
    # The cut keeps the first busy for the second that huggingface_hub waits before it tries again.
    server = serve(sound=Repository(folder=repository, cuts={SHARDS[0]: "closed"}))
    access = ask_one("sound")
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: fetch(access, tmp_path / "notes"), range(2)))
    assert sorted(snapshot.downloaded for snapshot in both) == [0, access.size]
    gets = [request.path for request in server.requests if request.method == "GET" and "/resolve/" in request.path]
    assert len(gets) == 6
    assert len(set(gets)) == 5
