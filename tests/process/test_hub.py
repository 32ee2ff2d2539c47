"""Asking by the real huggingface_hub client, of a Hub on the loopback interface that misbehaves."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plimsoll.hub.access import Access, Query, Reply
from plimsoll.hub.client import ask
from tests.support.hub_asking import Serve, ask_one
from tests.support.hub_repositories import COMMIT, SHARDS
from tests.support.hub_server import (
    BAD_TOKEN,
    LOG_IN,
    NOT_ACCEPTED,
    PENDING,
    REJECTED,
    TOO_NARROW,
    Refusal,
    Repository,
)
from tests.support.subsession import ROOT


@pytest.mark.usefixtures("started_children")
def test_an_open_repository(serve: Serve, repository: Path) -> None:
    server = serve(sound=Repository(folder=repository))
    access = ask_one("sound")
    assert (access.answer, access.commit, access.endpoint) == (Reply.GRANTED, COMMIT, server.endpoint)
    assert [file.path for file in access.files] == [
        "config.json",
        *SHARDS,
        "model.safetensors.index.json",
        "tokenizer.json",
    ]
    assert access.size == access.missing == sum((repository / file.path).stat().st_size for file in access.files)
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
def test_answers_are_told_apart(
    serve: Serve, repository: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    expected = {name: entry for name, entry in ANSWERS.items() if entry[0] == token}
    server = serve(**{name: Repository(folder=repository, **entry[1]) for name, entry in expected.items()})
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


def test_a_wrong_id_and_a_wrong_revision(serve: Serve, repository: Path) -> None:
    serve(sound=Repository(folder=repository))
    asked = [("other", None), ("sound", "v9"), ("sound", "d" * 40), ("sound", COMMIT)]
    found = ask([Query(repository=f"hub/{name}", revision=revision) for name, revision in asked])
    assert [found[Query(repository=f"hub/{name}", revision=revision)].answer for name, revision in asked] == [
        Reply.NOT_FOUND,
        Reply.NO_REVISION,
        Reply.NO_REVISION,
        Reply.GRANTED,
    ]


def test_the_variable_that_old_guides_prescribe_is_no_login(
    serve: Serve, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(gated=Repository(folder=repository, gate=Refusal(401, "GatedRepo", LOG_IN)))
    monkeypatch.setenv("HUGGINGFACE_HUB_TOKEN", "hf_never_read")
    access = ask_one("gated")
    assert (access.answer, access.token_ignored) == (Reply.NO_TOKEN, True)
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    access = ask_one("gated")
    assert (access.answer, access.token_ignored) == (Reply.TOKEN_REFUSED, False)


def test_a_repository_is_asked_for_once(serve: Serve, repository: Path) -> None:
    server = serve(sound=Repository(folder=repository))
    question = Query(repository="hub/sound")
    assert list(ask([question, question, Query(repository="hub/sound")])) == [question]
    assert server.asked() == ["/api/models/hub/sound", "/api/models/hub/sound/auth-check"]
    assert ask([]) == {}


def test_nobody_answers(serve: Serve, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(sound=Repository(folder=repository))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    access = ask_one("sound")
    assert access.answer is Reply.UNREACHABLE
    assert access.detail == "ConnectError: [Errno 111] Connection refused"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert ask_one("sound").answer is Reply.OFFLINE_MODE


def test_an_answer_that_does_not_come(serve: Serve, repository: Path) -> None:
    server = serve(sound=Repository(folder=repository), mute=Repository(folder=repository, mute=True))
    sound, mute = Query(repository="hub/sound"), Query(repository="hub/mute")
    answers = ask([mute, sound], idle_timeout=8.0)
    assert answers[sound].answer is Reply.GRANTED
    assert (answers[mute].answer, answers[mute].endpoint) == (Reply.UNREACHABLE, server.endpoint)
    assert answers[mute].detail == "nothing moved for 8.000 s, so it was ended"


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
    serve: Serve, repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    made = [*command.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    server = serve(sound=Repository(folder=repository))
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
    serve: Serve, repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text("import atexit, time\natexit.register(time.sleep, 60)\n")
    serve(sound=Repository(folder=repository))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    assert ask_one("sound").answer is Reply.GRANTED


def test_what_was_not_said_whole_is_not(
    serve: Serve, repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process that ends as if all were well, in the middle."""
    (tmp_path / "site").mkdir()
    code = (
        "import json, os\n"
        "dumps = json.dumps\n"
        "json.dumps = lambda *a, **k: os._exit(0) if k.get('default') is str else dumps(*a, **k)\n"
    )
    (tmp_path / "site/sitecustomize.py").write_text(code)
    serve(sound=Repository(folder=repository))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), str(ROOT)]))
    access = ask_one("sound")
    assert access.answer is Reply.FAILED
    assert access.detail == "the process that speaks to the Hub ended with status 0 and wrote nothing"
