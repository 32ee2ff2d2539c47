"""Rows from the Hub by the real libraries datasets and huggingface_hub, from a Hub on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from plimsoll.catalogue.entries import Dataset, DatasetSchema
from plimsoll.dataset.example import DatasetError
from plimsoll.dataset.loading import Loaded, load
from plimsoll.dataset.sources import DataSource, Source
from plimsoll.gate.skip import Skip
from plimsoll.hub.access import Reply
from plimsoll.hub.client import fetch_rows
from plimsoll.hub.rows import RowsQuery
from tests.support.examples import HUB_ROWS, dataset_of
from tests.support.forked import Forks
from tests.support.hub_server import BAD_TOKEN, LOG_IN, NOT_ACCEPTED, HubServer, Refusal, Repository, serving
from tests.support.subsession import ROOT
from tests.unit.test_dataset_rows import EXPECTED

SQUAD = DatasetSchema.SQUAD_V2
COMMIT = "c0ffee" + "0" * 34
CARD = """---
configs:
- config_name: squad_v2
  data_files:
  - split: train
    path: squad_v2/train-*
  - split: validation
    path: squad_v2/validation-*
- config_name: other
  data_files: other/*
---
"""

HUB = Source(kind=DataSource.HUB)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as the Hub has it: a card that names the configurations, and their splits as parquet."""
    folder = tmp_path_factory.mktemp("repository")
    rows = list(HUB_ROWS[SQUAD])
    many = [{**rows[n % 2], "id": f"t{n}"} for n in range(1200)]
    for name, content in (
        ("squad_v2/validation-00000-of-00001", rows),
        ("squad_v2/train-00000-of-00002", many[:700]),
        ("squad_v2/train-00001-of-00002", many[700:]),
        ("other/other", [{"unlike": 1}]),
    ):
        path = folder / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(content), path)
    (folder / "README.md").write_text(CARD, "utf-8")
    return folder


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """What the Hub's process is forked from."""
    found = Forks("tests.support.forked_sessions:prepare_for_rows")
    yield found
    found.end()


@pytest.fixture
def hub(folder: Path, nobody: Path, forked: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub with that repository under several ids, of which some are refused."""
    refused: dict[str, dict[str, Any]] = {
        "gated": {"gate": Refusal(401, "GatedRepo", LOG_IN)},
        "licence": {"gate": Refusal(403, "GatedRepo", NOT_ACCEPTED)},
        "expired": {"refuses": Refusal(401, None, BAD_TOKEN)},
        "limited": {"refuses": Refusal(429, headers={"Retry-After": "300"})},
    }
    script = folder.parent / "script"
    script.mkdir(exist_ok=True)
    (script / "script.py").write_text("import datasets\n", "utf-8")
    (script / "README.md").write_text("# Rows by a program\n", "utf-8")
    repositories = {"squad": Repository(folder=folder), "script": Repository(folder=script)}
    repositories |= {name: Repository(folder=folder, **faults) for name, faults in refused.items()}
    with serving({f"datasets/hub/{name}": repository for name, repository in repositories.items()}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def dataset(**changes: Any) -> Dataset:
    fields = {"id": "squad", "title": "SQuAD v2", "hub_id": "hub/squad", "config": "squad_v2", **changes}
    return dataset_of(SQUAD, **fields)


def load_hub(split: str = "validation", limit: int | None = None, **changes: Any) -> Loaded:
    outcome = load(dataset(**changes), HUB, split, limit=limit)
    assert isinstance(outcome, Loaded), str(outcome)
    return outcome


def skip_of(**changes: Any) -> Skip:
    outcome = load(dataset(**changes), HUB, changes.get("split", "validation"))
    assert isinstance(outcome, Skip)
    return outcome


def test_a_split_comes_with_its_commit_and_again_when_nobody_can_be_asked(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_hub(split_sizes={"validation": 2}, unanswerable={"validation": 1})
    assert first.examples == EXPECTED[SQUAD]
    assert (first.source, first.revision, first.place) == (DataSource.HUB, COMMIT, f"hub/squad at {COMMIT}")
    # All splits of the configuration come at once, and nothing of the other one; the second split is on this disk.
    fetched = [request.path.rsplit("/", 1)[-1] for request in hub.requests if request.method == "GET"]
    assert fetched.count("train-00001-of-00002.parquet") == 1
    assert "other.parquet" not in fetched
    hub.requests.clear()
    train = load_hub("train", limit=700, split_sizes={"train": 130_319})
    assert [example.id for example in train.examples] == [f"t{n}" for n in range(700)]
    assert not [request.path for request in hub.requests if request.path.endswith(".parquet")]
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load_hub() == first
    assert hub.asked() == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert load_hub(revision=COMMIT) == first
    # Another commit than the pinned one is not what was asked for.
    assert skip_of(revision="f" * 40).code == "offline"


@pytest.mark.usefixtures("started_children")
def test_the_rows_say_how_many_there_are(hub: HubServer) -> None:
    seen: list[str] = []
    question = RowsQuery(repository="hub/squad", config="squad_v2", split="train", limit=501)
    rows = fetch_rows(question, progress=lambda phase, _done, _total, _seconds: seen.append(phase))
    assert (rows.access.answer, len(rows.rows), rows.total, rows.from_cache) == (Reply.GRANTED, 501, 1200, False)
    assert rows.rows[0] == {**HUB_ROWS[SQUAD][0], "id": "t0"}
    assert set(seen) <= {"fetching"}


@pytest.mark.parametrize(
    ("token", "changes", "code", "have", "fix"),
    [
        (None, {"hub_id": "hub/gated"}, "not_logged_in", "no token for the Hub", "hf auth login"),
        (
            "a-token",
            {"hub_id": "hub/licence"},
            "licence_not_accepted",
            "a token of an account that has not accepted its licence",
            "accept the licence at {hub}/datasets/hub/licence with the account of the token",
        ),
        (
            "a-token",
            {"hub_id": "hub/expired"},
            "not_logged_in",
            f"a token that the Hub refuses (HTTP 401: {BAD_TOKEN})",
            "hf auth login with a token of {hub}/settings/tokens (HF_TOKEN, where set, goes first)",
        ),
        (
            None,
            {"hub_id": "hub/missing"},
            "wrong_id",
            "no repository hub/missing at {hub} that may be seen without a token",
            "correct hub_id in catalogue/datasets.toml: dataset[0], or hf auth login if it is private",
        ),
        (
            None,
            {"revision": "v9"},
            "wrong_id",
            "no revision 'v9' in hub/squad",
            "correct revision in catalogue/datasets.toml: dataset[0]",
        ),
        (
            None,
            {"config": "squad_v3"},
            "wrong_id",
            "no such configuration in hub/squad: squad_v3; there are: squad_v2, other",
            "correct config in catalogue/datasets.toml: dataset[0]",
        ),
        (
            None,
            {"config": None},
            "wrong_id",
            "no such configuration in hub/squad: none named; there are: squad_v2, other",
            "correct config in catalogue/datasets.toml: dataset[0]",
        ),
        (
            None,
            {"split": "test"},
            "wrong_id",
            "no such split in hub/squad: test; there are: train, validation",
            "correct split or shots_split in catalogue/datasets.toml: dataset[0]",
        ),
        (
            None,
            {"hub_id": "hub/script"},
            "data",
            "a program instead of rows in hub/script, which datasets does not run (RuntimeError: Dataset scripts are "
            "no longer supported, but found script.py)",
            "set revision = 'refs/convert/parquet' in catalogue/datasets.toml: dataset[0], or download rows from "
            "elsewhere and --dataset-dir=squad=FOLDER",
        ),
        (
            None,
            {"hub_id": "hub/limited"},
            "rate_limited",
            "too many requests, says {hub} (HTTP 429, asking to wait 300 s)",
            "run again later; hf auth login raises the limit",
        ),
    ],
)
def test_refusals_are_told_apart(
    hub: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    changes: dict[str, Any],
    code: str,
    have: str,
    fix: str,
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    skip = skip_of(**changes)
    assert (skip.code, skip.have, skip.fix) == (code, have.format(hub=hub.endpoint), fix.format(hub=hub.endpoint))
    assert skip.need == f"access to the dataset {changes.get('hub_id', 'hub/squad')}"


def test_no_network_says_how_to_bring_the_data(nobody: Path, forked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand = (
        "'hf download hub/squad --repo-type dataset --local-dir FOLDER' where there is one, and "
        "--dataset-dir=squad=FOLDER here"
    )
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    skip = skip_of()
    assert (skip.code, skip.fix) == ("offline", f"connect the node, or {by_hand}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    skip = skip_of()
    assert (skip.code, skip.fix) == ("offline", f"unset HF_HUB_OFFLINE, or {by_hand}")


def test_the_variable_of_datasets_forbids_to_ask(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_hub(limit=2).examples
    asked = len(hub.requests)
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    assert load_hub(limit=2).examples
    assert len(hub.requests) == asked
    skip = skip_of(revision="f" * 40)
    assert (skip.code, skip.fix.partition(",")[0]) == ("offline", "unset HF_DATASETS_OFFLINE")


def test_rows_of_another_dataset_are_one_error(hub: HubServer) -> None:
    with pytest.raises(DatasetError) as caught:
        load(dataset(config="other"), HUB, "train")
    assert str(caught.value).splitlines()[:2] == [
        f"3 faults in dataset squad, split train (hub/squad at {COMMIT}); rows count from 0:",
        "  row 0: question: is missing; known: unlike",
    ]


def test_a_folder_of_that_name_does_not_stand_in_for_the_hub(
    hub: HubServer, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nobody / "hub" / "squad").mkdir(parents=True)
    (nobody / "hub" / "squad" / "validation.jsonl").write_text('{"question": "forged"}\n', "utf-8")
    monkeypatch.chdir(nobody)
    assert load_hub().examples == EXPECTED[SQUAD]


def test_without_the_library_the_answer_names_the_extra(
    hub: HubServer, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nobody / "datasets.py").write_text("raise ModuleNotFoundError(name='datasets')\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(nobody))
    access = fetch_rows(RowsQuery(repository="hub/squad", config=None, split="train")).access
    assert (access.answer, access.detail) == (
        Reply.FAILED,
        f"datasets is not installed; install it with: pip install -e '{ROOT}[datasets]'",
    )


def test_nobody_but_the_named_hub_is_spoken_to(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, address)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert load_hub().examples == EXPECTED[SQUAD]
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
