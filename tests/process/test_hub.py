"""Asking and fetching by the real huggingface_hub client, from a Hub on the loopback interface that misbehaves."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from plimsoll.hub.access import Access, Query, Reply
from plimsoll.hub.checking import check
from plimsoll.hub.child import HubError
from plimsoll.hub.client import ask, fetch
from tests.support.hub_repositories import COMMIT, SHARDS, make_repository
from tests.support.hub_server import (
    BAD_TOKEN,
    LOG_IN,
    NOT_ACCEPTED,
    PENDING,
    REJECTED,
    TOO_NARROW,
    HubServer,
    Refusal,
    Repository,
)
from tests.support.subsession import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that looks like a checkpoint and holds no model."""
    return make_repository(tmp_path_factory.mktemp("repository"))


Serve = Callable[..., HubServer]


@pytest.fixture
def serve(serve_as: Serve) -> Serve:
    """Start a Hub with repositories, and point this process's children at it; nobody is logged in."""
    return partial(serve_as, "hub")


def ask_one(name: str, revision: str | None = None) -> Access:
    question = Query(repository=f"hub/{name}", revision=revision)
    return ask([question])[question]


@pytest.mark.usefixtures("started_children")
def test_an_open_repository(serve: Serve, folder: Path) -> None:
    server = serve(sound=Repository(folder=folder))
    access = ask_one("sound")
    assert (access.answer, access.commit, access.endpoint) == (Reply.GRANTED, COMMIT, server.endpoint)
    assert [file.path for file in access.files] == [
        "config.json",
        *SHARDS,
        "model.safetensors.index.json",
        "tokenizer.json",
    ]
    assert access.size == access.missing == sum((folder / file.path).stat().st_size for file in access.files)
    assert {file.path: file.digest for file in access.files}[SHARDS[1]] == hashlib.sha256(b"\1" * 1000).hexdigest()
    assert access.free > 0
    assert Access.from_json(json.loads(json.dumps(access.to_json()))) == access


ANSWERS: dict[str, tuple[str | None, dict[str, Any], Reply, str]] = {
    "gated": (
        None,
        {"gate": Refusal(401, "GatedRepo", LOG_IN)},
        Reply.NO_TOKEN,
        "HTTP 401: Access to model hub/gated",
    ),
    "closed": (None, {"refuses": Refusal(401)}, Reply.NO_TOKEN, "HTTP 401"),
    "hidden": (None, {"refuses": Refusal(401, "RepoNotFound", "No such")}, Reply.NOT_FOUND, "HTTP 401: No such"),
    "teapot": (None, {"refuses": Refusal(418, None, "I am")}, Reply.FAILED, "HTTP 418: I am"),
    "limited": (
        None,
        {"refuses": Refusal(429, headers={"Retry-After": "300"})},
        Reply.RATE_LIMITED,
        "HTTP 429, asking to wait 300 s",
    ),
    "limited-by-draft": (
        None,
        {"refuses": Refusal(429, headers={"RateLimit": '"api";r=0;t=120'})},
        Reply.RATE_LIMITED,
        "HTTP 429, asking to wait 120 s",
    ),
    "limited-for-a-while": (
        None,
        {"refuses": Refusal(429, headers={"Retry-After": "0"}, times=2)},
        Reply.GRANTED,
        "",
    ),
    "starting": (None, {"refuses": Refusal(503, headers={"Retry-After": "0"}, times=1)}, Reply.GRANTED, ""),
    # A mirror that does not know the question, but has the files.
    "mirror": (None, {"gate": Refusal(404)}, Reply.GRANTED, ""),
    # What answers in the place of a Hub: a gateway that shows its own page.
    "gateway": (None, {"refuses": Refusal(200)}, Reply.FAILED, "not what a Hub answers, KeyError: 'id'"),
    "half-a-hub": (
        None,
        {"commit": "moved"},
        Reply.FAILED,
        "not what a Hub answers, ValueError: no commit is named for hub/half-a-hub",
    ),
    "gated-again": (
        "a-token",
        {"gate": Refusal(401, "GatedRepo", LOG_IN)},
        Reply.TOKEN_REFUSED,
        "HTTP 401: Access",
    ),
    "expired": (
        "a-token",
        {"refuses": Refusal(401, None, BAD_TOKEN)},
        Reply.TOKEN_REFUSED,
        f"HTTP 401: {BAD_TOKEN}",
    ),
    "licence": (
        "a-token",
        {"gate": Refusal(403, "GatedRepo", NOT_ACCEPTED)},
        Reply.NOT_ACCEPTED,
        "HTTP 403: Access",
    ),
    "pending": ("a-token", {"gate": Refusal(403, "GatedRepo", PENDING)}, Reply.PENDING, "HTTP 403: Your request"),
    "rejected": (
        "a-token",
        {"gate": Refusal(403, "GatedRepo", REJECTED)},
        Reply.REJECTED,
        "HTTP 403: Your request",
    ),
    "narrow": (
        "a-token",
        {"gate": Refusal(403, None, TOO_NARROW)},
        Reply.TOKEN_TOO_NARROW,
        "HTTP 403: Please enable",
    ),
    "forbidden": ("a-token", {"refuses": Refusal(403, None, "no")}, Reply.TOKEN_TOO_NARROW, "HTTP 403: no"),
    "wrong": ("a-token", {"refuses": Refusal(404, "RepoNotFound")}, Reply.NOT_FOUND, "HTTP 404"),
}
"""By repository: the token in use, what the repository does, and what must come of it."""


@pytest.mark.parametrize("token", [None, "a-token"])
def test_answers_are_told_apart(serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    expected = {name: entry for name, entry in ANSWERS.items() if entry[0] == token}
    server = serve(**{name: Repository(folder=folder, **entry[1]) for name, entry in expected.items()})
    found = ask([Query(repository=f"hub/{name}") for name in expected])
    for question, access in found.items():
        _, _, answer, detail = expected[question.repository.removeprefix("hub/")]
        assert (access.answer, access.detail[: len(detail)]) == (answer, detail), question
        assert bool(detail) is bool(access.detail)
        assert access.logged_in is bool(token)
        assert (access.commit is not None) is answer.is_yes
    sent = {request.authorization for request in server.requests if "/models/" in request.path}
    assert sent == {f"Bearer {token}" if token else None}


def test_the_controller_imports_no_http_library() -> None:
    code = "import sys, fixtures.weights; print(sorted({'huggingface_hub', 'httpx', 'httpx2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    # What the Hub's own process imports is as far from torch as the controller is.
    code = "import sys, plimsoll.hub.queries, plimsoll.hub.fetching; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_wrong_id_and_a_wrong_revision(serve: Serve, folder: Path) -> None:
    serve(sound=Repository(folder=folder))
    asked = [("other", None), ("sound", "v9"), ("sound", "d" * 40), ("sound", COMMIT)]
    found = ask([Query(repository=f"hub/{name}", revision=revision) for name, revision in asked])
    assert [found[Query(repository=f"hub/{name}", revision=revision)].answer for name, revision in asked] == [
        Reply.NOT_FOUND,
        Reply.NO_REVISION,
        Reply.NO_REVISION,
        Reply.GRANTED,
    ]


def test_the_variable_that_old_guides_prescribe_is_no_login(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(gated=Repository(folder=folder, gate=Refusal(401, "GatedRepo", LOG_IN)))
    monkeypatch.setenv("HUGGINGFACE_HUB_TOKEN", "hf_never_read")
    access = ask_one("gated")
    assert (access.answer, access.token_ignored) == (Reply.NO_TOKEN, True)
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    access = ask_one("gated")
    assert (access.answer, access.token_ignored) == (Reply.TOKEN_REFUSED, False)


def test_a_repository_is_asked_for_once(serve: Serve, folder: Path) -> None:
    server = serve(sound=Repository(folder=folder))
    question = Query(repository="hub/sound")
    assert list(ask([question, question, Query(repository="hub/sound")])) == [question]
    assert server.asked() == ["/api/models/hub/sound", "/api/models/hub/sound/auth-check"]
    assert ask([]) == {}


def test_nobody_answers(serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(sound=Repository(folder=folder))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    access = ask_one("sound")
    assert access.answer is Reply.UNREACHABLE
    assert access.detail == "ConnectError: [Errno 111] Connection refused"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert ask_one("sound").answer is Reply.OFFLINE_MODE


def test_an_answer_that_does_not_come(serve: Serve, folder: Path) -> None:
    server = serve(sound=Repository(folder=folder), mute=Repository(folder=folder, mute=True))
    sound, mute = Query(repository="hub/sound"), Query(repository="hub/mute")
    answers = ask([mute, sound], idle_timeout=2.0)
    assert answers[sound].answer is Reply.GRANTED
    assert (answers[mute].answer, answers[mute].endpoint) == (Reply.UNREACHABLE, server.endpoint)
    assert answers[mute].detail == "nothing moved for 2.000 s, so it was ended"


@pytest.mark.usefixtures("started_children")
def test_fetching(serve: Serve, folder: Path, tmp_path: Path) -> None:
    server = serve(sound=Repository(folder=folder))
    access = ask_one("sound")
    heard: list[tuple[str, int, int, float]] = []
    snapshot = fetch(access, tmp_path / "notes", progress=lambda *sign: heard.append(sign))
    assert (snapshot.commit, snapshot.bytes, snapshot.downloaded) == (COMMIT, access.size, access.size)
    assert not snapshot.from_cache
    assert snapshot.seconds > 0
    assert (snapshot.checked, snapshot.unchecked) == (5, ())
    fetched = {path.name: path.read_bytes() for path in Path(snapshot.folder).iterdir()}
    assert fetched == {file.path: (folder / file.path).read_bytes() for file in access.files}
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
    serve: Serve, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(sound=Repository(folder=folder))
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


def test_a_reset_connection_costs_one_file(serve: Serve, folder: Path, tmp_path: Path) -> None:
    server = serve(reset=Repository(folder=folder, cuts={SHARDS[0]: "reset"}))
    snapshot = fetch(ask_one("reset"), tmp_path / "notes")
    assert (Path(snapshot.folder) / SHARDS[0]).read_bytes() == (folder / SHARDS[0]).read_bytes()
    gets = [request.path.rpartition("/")[2] for request in server.requests if request.method == "GET"]
    assert (gets.count(SHARDS[0]), gets.count(SHARDS[1])) == (2, 1)


def test_a_wrong_content_is_found_and_removed(serve: Serve, folder: Path, tmp_path: Path) -> None:
    server = serve(bad=Repository(folder=folder, corrupt=frozenset({SHARDS[1]})))
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


def test_a_file_that_was_touched_is_checked_again(serve: Serve, folder: Path, tmp_path: Path) -> None:
    serve(sound=Repository(folder=folder))
    snapshot = fetch(ask_one("sound"), tmp_path / "notes")
    blob = (Path(snapshot.folder) / SHARDS[1]).resolve()
    blob.write_bytes(b"\2" * 1000)
    with pytest.raises(HubError, match="its content hashes to"):
        fetch(ask_one("sound"), tmp_path / "notes")
    assert not blob.exists()


def test_files_that_nobody_knows_a_hash_of_are_named(serve: Serve, folder: Path, tmp_path: Path) -> None:
    access = replace(ask_one_sound(serve, folder), files=())
    assert check(folder, access.files, tmp_path / "notes", lambda _: None).hashed == ()
    files = ask_one("sound").files
    checked = check(folder, [replace(file, digest=None) for file in files], tmp_path / "notes", lambda _: None)
    assert (checked.hashed, checked.unknown) == ((), tuple(file.path for file in files))


def ask_one_sound(serve: Serve, folder: Path) -> Access:
    serve(sound=Repository(folder=folder))
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


FOREIGN = {
    "adapter": ("adapter_config.json adapter_model.safetensors tokenizer.json", "adapter_config.json"),
    "pipeline": ("model_index.json unet/diffusion_pytorch_model.safetensors", "model_index.json"),
    "makers_format": ("consolidated.safetensors params.json tekken.json", "consolidated.safetensors"),
    "gguf": ("README.md model-q4.gguf config.json", "model-q4.gguf"),
    "other_format": ("config.json tokenizer.json model.onnx", "model.onnx"),
    "unfinished": ("config.json model.safetensors.incomplete", "model.safetensors.incomplete"),
    "no_index": ("config.json model-00001-of-00002.safetensors", "model-00001-of-00002.safetensors"),
    "variant": ("config.json model.fp16.safetensors", "model.fp16.safetensors"),
    "subfolder": ("config.json step-500/model.safetensors", "step-500/model.safetensors"),
    "other_name": ("config.json weights.safetensors", "weights.safetensors"),
    "no_weights": ("config.json tokenizer.json", ""),
    "no_config": ("model.safetensors tokenizer.json", "model.safetensors"),
    "no_tokenizer": ("model.safetensors config.json", "tokenizer.json"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_a_repository_holds_instead_of_weights_is_said_before_it_is_fetched(
    serve: Serve, tmp_path: Path, kind: str
) -> None:
    files, shown = FOREIGN[kind]
    for name in files.split():
        (tmp_path / "repository" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repository" / name).write_text("{}")
    server = serve(foreign=Repository(folder=tmp_path / "repository"))
    access = ask_one("foreign")
    assert (access.answer, access.unusable, access.detail) == (Reply.UNUSABLE, kind, shown)
    assert not any("/resolve/" in path for path in server.asked())
    assert Access.from_json(json.loads(json.dumps(access.to_json()))) == access


def with_more_shards(folder: Path, target: Path, *names: str) -> Path:
    """The repository with weights of other names, which its index lists."""
    shutil.copytree(folder, target)
    index = json.loads((target / "model.safetensors.index.json").read_text())
    for name in names:
        index["weight_map"][f"tensor of {name}"] = name
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    return target


def test_shards_of_any_name_are_fetched_where_the_index_lists_them(
    serve: Serve, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = with_more_shards(folder, tmp_path / "repository", "mtp.safetensors", "text/part.safetensors")
    (repository / "text").mkdir()
    for name in ("mtp.safetensors", "text/part.safetensors", "unlisted.safetensors"):
        (repository / name).write_bytes(b"w" * 100)
    serve(named=Repository(folder=repository))
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
    serve: Serve, folder: Path, tmp_path: Path, name: str
) -> None:
    repository = with_more_shards(folder, tmp_path / "repository", name)
    (tmp_path / "outside.safetensors").write_bytes(b"secret")
    serve(sly=Repository(folder=repository))
    access = ask_one("sly")
    assert [file.path for file in access.files if "model-" not in file.path and file.path.endswith("safetensors")] == []
    with pytest.raises(HubError, match=r"it has no model\.safetensors\.index\.json, which a load needs"):
        fetch(access, tmp_path / "notes")


def test_a_tokenizer_of_another_kind_is_one(serve: Serve, folder: Path, tmp_path: Path) -> None:
    repository = Path(shutil.copytree(folder, tmp_path / "repository"))
    (repository / "tokenizer.json").rename(repository / "tiktoken.model")
    serve(kimi=Repository(folder=repository))
    assert fetch(ask_one("kimi"), tmp_path / "notes").downloaded > 0


@pytest.mark.parametrize(
    ("variable", "value"), [("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_OFFLINE", "yes"), ("TRANSFORMERS_OFFLINE", "ON")]
)
def test_the_variable_that_forbids_to_ask_is_named(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    serve()
    monkeypatch.setenv(variable, value)
    access = ask_one("any")
    assert (access.answer, access.offline_by) == (Reply.OFFLINE_MODE, variable)


def test_a_cache_that_nothing_reads_any_more_is_named(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve()
    monkeypatch.setenv("TRANSFORMERS_CACHE", str(tmp_path / "old"))
    assert ask_one("any").cache_ignored == "TRANSFORMERS_CACHE"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "old"))
    assert ask_one("any").cache_ignored == ""


@pytest.mark.parametrize(
    ("proxy", "said"),
    [("socks5://127.0.0.1:9", "[socks]"), ("gopher://127.0.0.1:9", "scheme for proxy URL"), ("http://127.0.0.1:1", "")],
)
def test_a_proxy_that_cannot_be_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy: str, said: str
) -> None:
    serve()
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("ALL_PROXY", proxy)
    # A proxy that nobody listens at is told from one that cannot be spoken to; both are no fault of the Hub.
    access = ask_one("any")
    assert access.answer in ((Reply.PROXY,) if said else (Reply.PROXY, Reply.UNREACHABLE))
    assert said in access.detail


def test_a_certificate_that_nobody_vouches_for(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    made = [*command.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    server = serve(sound=Repository(folder=folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint.replace("http:", "https:"))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert ask_one("sound").answer is Reply.CERTIFICATE
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert ask_one("sound").answer is Reply.GRANTED


def test_what_was_said_whole_is_used_however_long_the_process_takes_to_end(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text("import atexit, time\natexit.register(time.sleep, 60)\n")
    serve(sound=Repository(folder=folder))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    assert ask_one("sound").answer is Reply.GRANTED


def test_what_was_not_said_whole_is_not(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process that ends as if all were well, in the middle."""
    (tmp_path / "site").mkdir()
    code = (
        "import json, os\n"
        "dumps = json.dumps\n"
        "json.dumps = lambda *a, **k: os._exit(0) if k.get('default') is str else dumps(*a, **k)\n"
    )
    (tmp_path / "site/sitecustomize.py").write_text(code)
    serve(sound=Repository(folder=folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), str(ROOT)]))
    access = ask_one("sound")
    assert access.answer is Reply.FAILED
    assert access.detail == "the process that speaks to the Hub ended with status 0 and wrote nothing"


def test_a_lock_that_another_run_holds_is_named(serve: Serve, folder: Path, tmp_path: Path) -> None:
    serve(sound=Repository(folder=folder))
    access = ask_one("sound")
    lock = tmp_path / "hf/hub/.locks/plimsoll-hub--sound.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock), pytest.raises(HubError, match=f"it waited for {lock}, which another one holds"):
        fetch(access, tmp_path / "notes", idle_timeout=3.0)
    assert fetch(access, tmp_path / "notes").downloaded > 0


def test_a_repository_that_lacks_a_shard(serve: Serve, folder: Path, tmp_path: Path) -> None:
    partial = tmp_path / "partial"
    partial.mkdir()
    for path in folder.iterdir():
        if path.name != SHARDS[0]:
            (partial / path.name).write_bytes(path.read_bytes())
    serve(partial=Repository(folder=partial))
    with pytest.raises(HubError, match=f"at {COMMIT}: it has no {SHARDS[0]}, which a load needs"):
        fetch(ask_one("partial"), tmp_path / "notes")


def test_access_that_is_lost_on_the_way(serve: Serve, folder: Path, tmp_path: Path) -> None:
    server = serve(sound=Repository(folder=folder))
    access = ask_one("sound")
    server.repositories["hub/sound"].gate = Refusal(403, "GatedRepo", NOT_ACCEPTED)
    with pytest.raises(HubError, match="could not be fetched: HTTP 403: Access to model hub/sound is restricted"):
        fetch(access, tmp_path / "notes")


def test_a_cache_that_cannot_be_written(serve: Serve, folder: Path, tmp_path: Path) -> None:
    serve(sound=Repository(folder=folder))
    access = ask_one("sound")
    shutil.rmtree(tmp_path / "hf/hub")
    (tmp_path / "hf/hub").write_text("a file in the place of the folder")
    again = ask_one("sound")
    assert (again.answer, again.unwritable) == (Reply.GRANTED, "File exists")
    with pytest.raises(HubError) as caught:
        fetch(access, tmp_path / "notes")
    assert str(caught.value).startswith(f"hub/sound at {COMMIT}: [Errno 20] Not a directory: ")
    assert "Traceback" not in str(caught.value)


@pytest.mark.usefixtures("started_children")
def test_a_download_that_stands_still_is_ended(serve: Serve, folder: Path, tmp_path: Path) -> None:
    serve(stalled=Repository(folder=folder, stalls=frozenset({SHARDS[0]})))
    with pytest.raises(HubError, match=r"nothing moved for 3\.000 s"):
        fetch(ask_one("stalled"), tmp_path / "notes", idle_timeout=3.0)
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
def test_a_download_ends_with_its_controller(serve: Serve, folder: Path, tmp_path: Path, end: signal.Signals) -> None:
    serve(stalled=Repository(folder=folder, stalls=frozenset({SHARDS[0]})))
    command = [sys.executable, "-c", FETCH, str(tmp_path / "notes")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: any((tmp_path / "hf").rglob("*.incomplete")))
        children = psutil.Process(process.pid).children()
        assert len(children) == 1
        process.send_signal(end)
        errors = process.communicate(timeout=10)[1]
    assert end is signal.SIGKILL or "KeyboardInterrupt" in errors
    until(lambda: not any(child.is_running() for child in children))
    assert_nothing_left(tmp_path)


LEAVE = """
import signal, sys
from pathlib import Path
from plimsoll.hub import process
folder, unlink = Path(sys.argv[1]), Path.unlink
kept = [(folder / "first.incomplete").open("w")]
def unlink_while_a_thread_opens_another(path):
    unlink(path)
    if len(kept) < 3:
        kept.append((folder / f"{len(kept)}.incomplete").open("w"))
Path.unlink = unlink_while_a_thread_opens_another
process._leave(signal.SIGTERM, None)
"""


def test_a_partial_file_that_is_opened_while_others_are_removed_is_removed_too(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LEAVE, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert [*tmp_path.iterdir()] == []


def until(condition: Callable[[], bool], limit: float = 20.0) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def assert_nothing_left(tmp_path: Path) -> None:
    """Partial files have a name that no later process uses."""
    assert not list((tmp_path / "hf").rglob("*.incomplete"))
    assert not [child for child in psutil.Process().children() if "plimsoll.hub.process" in command_of(child)]


def command_of(process: psutil.Process) -> list[str]:
    """Empty where it has ended meanwhile, or only waits to be buried."""
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def test_two_at_once_download_once(serve: Serve, folder: Path, tmp_path: Path) -> None:
    # The cut keeps the first busy for the second that huggingface_hub waits before it tries again.
    server = serve(sound=Repository(folder=folder, cuts={SHARDS[0]: "closed"}))
    access = ask_one("sound")
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: fetch(access, tmp_path / "notes"), range(2)))
    assert sorted(snapshot.downloaded for snapshot in both) == [0, access.size]
    gets = [request.path for request in server.requests if request.method == "GET" and "/resolve/" in request.path]
    assert len(gets) == 6
    assert len(set(gets)) == 5
