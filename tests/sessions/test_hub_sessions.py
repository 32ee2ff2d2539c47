"""Weights from the Hub, end to end: sub-sessions against a Hub on the loopback that serves a trained checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_repositories import COMMIT, hub_catalogue, hub_entry
from tests.support.hub_server import (
    BAD_TOKEN,
    LOG_IN,
    NOT_ACCEPTED,
    PENDING,
    TOO_NARROW,
    HubServer,
    Refusal,
    Repository,
    serving,
)
from tests.support.subsession import Outcome, run_suite

TOKEN = "planted-token-of-the-environment"
STORED = "planted-token-of-a-file"
PASSWORD = "planted-p%40ssword"
WEIGHTS = "model-00001-of-00003.safetensors"

FEW = "test_cold_load_time or test_loads_completely or test_free_disk or test_finite_logits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A finished sub-session and the Hub it spoke to."""

    outcome: Outcome
    server: HubServer

    @property
    def hub_events(self) -> list[dict[str, Any]]:
        return [event for event in self.outcome.events if event["event"] == "hub"]

    def gate(self, model: str) -> dict[str, Any]:
        """What the gate decided for the bf16 variant of a model."""
        found = [e for e in self.outcome.events if e["event"] == "gate" and e["variant"] == f"{model}/bf16"]
        assert len(found) == 1
        return found[0]


def run(folder: Path, path: Path, server: HubServer, env: Mapping[str, str], *arguments: str) -> Session:
    """The suite over a catalogue, with the cache of the Hub in `folder` and nothing of the caller's login."""
    ours = {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(folder / "hf"), "HF_TOKEN_PATH": str(folder / "no-token")}
    none = dict.fromkeys(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_HUB_OFFLINE"), "")
    outcome = run_suite(
        folder / "reports", f"--catalogue={path}", "-m", "tiny", *arguments, env={**none, **ours, **env}
    )
    return Session(outcome=outcome, server=server)


@pytest.fixture(scope="module")
def hub(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """The trained checkpoint in several repositories, each with a fault of its own."""
    folder = tmp_path_factory.mktemp("repository") / "tiny-llama"
    shutil.copytree(trained["tiny-llama"], folder)
    assert (folder / WEIGHTS).exists(), f"there is no {WEIGHTS} to damage in {sorted(folder.iterdir())}"
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that nobody should fetch")
    (folder / "consolidated.safetensors").write_bytes(b"the same weights once more")
    gated = "GatedRepo"
    faults: dict[str, dict[str, Any]] = {
        "tiny-llama": {},
        "limited": {"refuses": Refusal(429, headers={"Retry-After": "0"}, times=2)},
        "cut": {"cuts": {WEIGHTS: "closed"}},
        "reset": {"cuts": {WEIGHTS: "reset"}},
        "corrupt": {"corrupt": frozenset({WEIGHTS})},
        "login": {"gate": Refusal(401, gated, LOG_IN)},
        # A server that repeats what it was sent, as proxies do in their error pages.
        "expired": {"refuses": Refusal(401, None, f"{BAD_TOKEN}: {STORED}")},
        "licence": {"gate": Refusal(403, gated, NOT_ACCEPTED)},
        "pending": {"gate": Refusal(403, gated, PENDING)},
        "narrow": {"gate": Refusal(403, None, TOO_NARROW)},
        "patience": {"refuses": Refusal(429, headers={"Retry-After": "300"})},
        "broken": {"refuses": Refusal(501)},
    }
    with serving({f"plimsoll-tests/{name}": Repository(folder=folder, **f) for name, f in faults.items()}) as server:
        yield server


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def granted(hub: HubServer, cache: Path) -> Session:
    """Everything arrives in the end: at once, after a rate limit, after two kinds of cut."""
    path = hub_catalogue(
        cache,
        hub_entry("tiny-hub-sound", "plimsoll-tests/tiny-llama", ("bf16", "nf4")),
        hub_entry("tiny-hub-pinned", "plimsoll-tests/tiny-llama", revision=COMMIT),
        hub_entry("tiny-hub-limited", "plimsoll-tests/limited"),
        hub_entry("tiny-hub-cut", "plimsoll-tests/cut"),
        hub_entry("tiny-hub-reset", "plimsoll-tests/reset"),
    )
    return run(cache, path, hub, {"HF_TOKEN": TOKEN}, "-k", f"tiny-hub- and ({FEW})")


def test_weights_from_the_hub_are_accepted(granted: Session) -> None:
    assert granted.outcome.verdict == "ACCEPTED", granted.outcome.output
    assert granted.outcome.status == 0
    assert len(granted.outcome.results["cells"]) == 24
    assert {cell["weights"] for cell in granted.outcome.results["cells"]} == {"hub"}


def test_the_commit_is_in_the_evidence(granted: Session) -> None:
    loads = [event for event in granted.outcome.events if event["event"] == "load"]
    assert {event["variant"] for event in loads} >= {"tiny-hub-sound/bf16", "tiny-hub-sound/nf4", "tiny-hub-cut/bf16"}
    assert {event["report"]["resolved_revision"] for event in loads} == {COMMIT}
    fetched = {(e["repository"], e["revision"]): e for e in granted.hub_events if e["state"] == "fetched"}
    assert set(fetched) == {
        ("plimsoll-tests/tiny-llama", None),
        ("plimsoll-tests/tiny-llama", COMMIT),
        ("plimsoll-tests/limited", None),
        ("plimsoll-tests/cut", None),
        ("plimsoll-tests/reset", None),
    }
    for (_, revision), event in fetched.items():
        assert event["commit"] == COMMIT
        assert event["bytes"] > 10**6
        # The pinned model is the same repository at the same commit, so it has nothing to fetch.
        assert (event["downloaded"], event["from_cache"]) == ((0, True) if revision else (event["bytes"], False))
        assert event["unchecked"] == []


def test_each_repository_is_asked_for_once_and_only_what_is_needed_fetched(granted: Session) -> None:
    asked = granted.server.asked()
    assert asked.count("/api/models/plimsoll-tests/tiny-llama/auth-check") == 2  # once more for the pinned revision
    assert not [path for path in asked if path.endswith((".bin", "consolidated.safetensors"))]
    sent = {r.authorization for r in granted.server.requests if r.path.startswith("/api/models/plimsoll-tests/limited")}
    assert f"Bearer {TOKEN}" in sent


def test_no_host_speaks_to_the_hub(granted: Session) -> None:
    assert granted.server.asked("hf_hub")
    assert not granted.server.asked("transformers")


def test_a_file_of_each_repository_is_whole(granted: Session, cache: Path, trained: dict[str, Path]) -> None:
    whole = (trained["tiny-llama"] / WEIGHTS).read_bytes()
    arrived = list((cache / "hf").rglob(f"snapshots/*/{WEIGHTS}"))
    assert len(arrived) == 4
    assert all(path.read_bytes() == whole for path in arrived)


def test_out_of_reach_what_is_in_the_cache_still_runs(granted: Session, hub: HubServer, cache: Path) -> None:
    path = hub_catalogue(
        cache,
        hub_entry("tiny-hub-sound", "plimsoll-tests/tiny-llama"),
        hub_entry("tiny-hub-fresh", "plimsoll-tests/never-fetched"),
    )
    proxy = f"http://planted-user:{PASSWORD}@127.0.0.1:9"
    env = {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "", "no_proxy": ""}
    session = run(cache, path, hub, env, "-k", "tiny-hub- and test_loads_completely")
    assert session.outcome.cell("test_loads_completely", "tiny-hub-sound/bf16")["outcome"] == "pass"
    loads = [event for event in session.outcome.events if event["event"] == "load"]
    assert [event["report"]["resolved_revision"] for event in loads] == [COMMIT]
    gate = session.gate("tiny-hub-fresh")
    assert gate["code"] == "offline"
    assert gate["have"].startswith(f"no connection to {hub.endpoint} (ConnectError")
    assert "--model-dir=tiny-hub-fresh=FOLDER" in gate["fix"]
    assert session.outcome.verdict == "INCOMPLETE"
    assert_no_secret(session)


@pytest.fixture(scope="module")
def refused(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Nothing may be read, each for a reason of its own."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "token").write_text(f"{STORED}\n")
    names = ("expired", "licence", "pending", "narrow", "patience", "broken", "unknown")
    entries = [hub_entry(f"tiny-hub-{name}", f"plimsoll-tests/{name}") for name in names]
    entries.append(hub_entry("tiny-hub-revision", "plimsoll-tests/tiny-llama", revision="v9"))
    env = {"HF_TOKEN_PATH": str(folder / "token"), "HTTPS_PROXY": f"http://planted-user:{PASSWORD}@127.0.0.1:9"}
    return run(folder, hub_catalogue(folder, *entries), hub, env, "-k", "tiny-hub- and test_loads_completely")


REFUSALS = {
    "expired": ("not_logged_in", "hf auth login with a token of {hub}/settings/tokens"),
    "licence": ("licence_not_accepted", "accept the licence at {hub}/plimsoll-tests/licence"),
    "pending": ("licence_not_accepted", "wait for its owners"),
    "narrow": ("licence_not_accepted", "let the token read public gated repositories"),
    "patience": ("rate_limited", "run again later"),
    "broken": ("offline", "try again later"),
    "unknown": ("wrong_id", "correct hub_id in"),
    "revision": ("wrong_id", "correct revision in"),
}


SYMPTOMS = {
    "not_logged_in": "not-logged-in",
    "licence_not_accepted": "licence",
    "rate_limited": "rate-limit",
    "offline": "offline",
    "wrong_id": "wrong-id",
}
"""Code of a skip -> the symptom whose anchor it names."""


@pytest.mark.parametrize("name", REFUSALS)
def test_each_refusal_is_a_skip_with_its_fix(refused: Session, name: str) -> None:
    code, fix = REFUSALS[name]
    gate = refused.gate(f"tiny-hub-{name}")
    assert (gate["decision"], gate["code"]) == ("skip", code)
    assert gate["fix"].startswith(fix.format(hub=refused.server.endpoint))
    cell = refused.outcome.cell("test_loads_completely", f"tiny-hub-{name}/bf16")
    assert cell["outcome"] == "skip"
    assert [each["symptom"] for each in cell["diagnoses"]] == [SYMPTOMS[code]]
    # A terminal shows the first gaps alone.
    lines = (refused.outcome.folder / "summary.md").read_text("utf-8").splitlines()
    assert any(f"skipped ({code})" in line for line in lines)
    assert gate["fix"] in lines


def test_refusals_are_incomplete(refused: Session) -> None:
    assert refused.outcome.verdict == "INCOMPLETE"
    assert refused.outcome.status == 6
    assert not [event for event in refused.outcome.events if event["event"] == "load"]


def test_no_secret_is_written(granted: Session, refused: Session) -> None:
    assert any(request.authorization == f"Bearer {STORED}" for request in refused.server.requests)
    assert_no_secret(granted)
    assert_no_secret(refused)


def assert_no_secret(session: Session) -> None:
    """Neither on the terminal nor in any file of the run is a secret, whole or as it may be rewritten."""
    texts = {"the terminal": session.outcome.output}
    files = [path for path in session.outcome.reports.rglob("*") if path.is_file()]
    texts |= {str(path): path.read_text("utf-8", "replace") for path in files}
    assert len(texts) > 5
    for where, text in texts.items():
        for secret in (TOKEN, STORED, PASSWORD, "planted-p@ssword"):
            assert secret not in text, f"{where} holds {secret}"


def test_without_a_login_and_with_damage(hub: HubServer, tmp_path: Path) -> None:
    path = hub_catalogue(
        tmp_path,
        hub_entry("tiny-hub-login", "plimsoll-tests/login", gated=True),
        hub_entry("tiny-hub-corrupt", "plimsoll-tests/corrupt", ("bf16", "nf4")),
    )
    env = {"HUGGINGFACE_HUB_TOKEN": TOKEN}
    session = run(tmp_path, path, hub, env, "-k", "tiny-hub- and test_loads_completely")
    gate = session.gate("tiny-hub-login")
    assert gate["code"] == "not_logged_in"
    assert gate["have"] == "no token for the Hub: HUGGINGFACE_HUB_TOKEN is set, but huggingface_hub does not read it"
    assert gate["fix"].startswith('export HF_TOKEN="$HUGGINGFACE_HUB_TOKEN"')
    for variant in ("tiny-hub-corrupt/bf16", "tiny-hub-corrupt/nf4"):
        cell = session.outcome.cell("test_loads_completely", variant)
        assert cell["outcome"] == "fail"
        assert f"{WEIGHTS}: its content hashes to" in cell["reason"]
    failed = [event for event in session.hub_events if event["state"] == "failed"]
    assert len(failed) == 1  # what failed is not fetched again for the second variant
    assert failed[0]["commit"] == COMMIT
    assert session.outcome.verdict == "REJECTED"
    assert_no_secret(session)
