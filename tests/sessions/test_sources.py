"""`--weights` and `--model-dir`: where weights come from, and what is said of folders and models that are none."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.progress import Progress, StatusLine
from fixtures.run import Run
from fixtures.weights import RunWeights
from plimsoll.catalogue.entries import Catalogue, WeightSource
from plimsoll.catalogue.overrides import with_sources
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.tiny.checkpoint import MANIFEST
from tests.support.broken_checkpoints import copy_damaged, rewrite
from tests.support.hub_repositories import hub_catalogue, hub_entry, make_repository
from tests.support.hub_server import Repository, serving
from tests.support.subsession import run_inside, run_suite


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    return tmp_path / "mine"


def test_by_default_the_entries_decide(catalogue: Catalogue, tmp_path: Path) -> None:
    assert with_sources(catalogue, "auto", [], tmp_path) is catalogue


@pytest.mark.parametrize("weights", ["auto", "local"])
def test_a_folder_of_ones_own(catalogue: Catalogue, folder: Path, weights: str) -> None:
    chosen = with_sources(catalogue, weights, ["tiny-llama=mine"], folder.parent)
    model = chosen.models["tiny-llama"]
    assert (model.source, model.path) == (WeightSource.LOCAL, folder)
    assert chosen.variants["tiny-llama/nf4"].model is model
    other = WeightSource.TRAINED if weights == "auto" else WeightSource.LOCAL
    assert chosen.models["tiny-phi"].source is chosen.variants["tiny-phi/bf16"].model.source is other
    assert list(chosen.variants) == list(catalogue.variants)


@pytest.mark.parametrize("weights", ["hub", "local", "trained"])
def test_one_source_for_all(catalogue: Catalogue, tmp_path: Path, weights: str) -> None:
    chosen = with_sources(catalogue, weights, [], tmp_path)
    assert {model.source.value for model in chosen.models.values()} == {weights}
    assert {variant.model.source.value for variant in chosen.variants.values()} == {weights}


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ("auto", ["tiny-lama=mine"], "no model 'tiny-lama' in the catalogue; did you mean 'tiny-llama'?"),
        ("auto", ["tiny-llama"], "write it as --model-dir=MODEL=FOLDER"),
        ("auto", ["tiny-llama="], "write it as --model-dir=MODEL=FOLDER"),
        ("auto", ["=mine"], "write it as --model-dir=MODEL=FOLDER"),
        ("auto", ["tiny-llama=gone"], "there is no folder {base}/gone"),
        (
            "auto",
            ["tiny-llama=."],
            "{base}/. has no config.json, so it is no checkpoint; did you mean {base}/./mine?",
        ),
        (
            "auto",
            ["tiny-llama=mine/config.json"],
            "{base}/mine/config.json is a file; name the folder that it lies in, {base}/mine",
        ),
        ("auto", ["tiny-llama=empty"], "{base}/empty has no config.json, so it is no checkpoint"),
        ("auto", ["tiny-llama=mine", "tiny-llama=mine"], "a second folder for tiny-llama; the first is {base}/mine"),
    ],
)
def test_mistakes(catalogue: Catalogue, folder: Path, weights: str, options: Sequence[str], message: str) -> None:
    (folder.parent / "empty").mkdir()
    with pytest.raises(PlimsollError) as caught:
        with_sources(catalogue, weights, options, folder.parent)
    expected = message.replace("{base}", str(folder.parent)).replace("/./", "/").replace("/.", "")
    assert str(caught.value) == f"--model-dir={options[-1]}: {expected}"


def test_a_folder_and_another_source_contradict_each_other(catalogue: Catalogue, folder: Path) -> None:
    with pytest.raises(PlimsollError, match="--weights=hub asks for others: leave one of them out"):
        with_sources(catalogue, "hub", [f"tiny-llama={folder}"], folder)


def test_disk_is_promised_once_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large").mkdir()
    repository = Repository(folder=make_repository(tmp_path / "large"))
    entries = [hub_entry("one", "hub/one"), hub_entry("two", "hub/two")]
    models = read_catalogue([hub_catalogue(tmp_path, *entries)]).models
    with serving({"hub/one": repository, "hub/two": repository}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        run = Run(catalogue=read_catalogue(), worker="main", folder=None, evidence=None)
        weights = RunWeights(run, Progress(StatusLine(None, live=False)))
        weights.ask([models["one"], models["two"], models["one"]])
    one, two = weights.access_of(models["one"]), weights.access_of(models["two"])
    assert one is not None
    assert two is not None
    assert one.missing == two.missing > 0
    assert one.promised == two.promised == 0
    weights.promise(models["one"])
    weights.promise(models["one"])
    one, two = weights.access_of(models["one"]), weights.access_of(models["two"])
    assert one is not None
    assert two is not None
    assert (one.promised, two.promised) == (0, one.missing)
    assert weights.access_of(models["tiny-llama"]) is None


def test_weights_from_a_folder_in_a_run(trained: dict[str, Path], tmp_path: Path) -> None:
    arguments = ("-m", "tiny", "-k", "(tiny-llama/bf16 or tiny-qwen/bf16) and test_loads_completely")
    outcome = run_suite(tmp_path, *arguments, "--weights=local", f"--model-dir=tiny-llama={trained['tiny-llama']}")
    llama, qwen = (outcome.cell("test_loads_completely", f"tiny-{name}/bf16") for name in ("llama", "qwen"))
    assert (llama["outcome"], llama["weights"]) == ("pass", "local"), outcome.output
    assert (qwen["outcome"], qwen["code"], qwen["weights"]) == ("skip", "weights", "local")
    assert "or --model-dir=tiny-qwen=FOLDER" in outcome.output
    note = f"weights are not the entry's own: tiny-llama={trained['tiny-llama']} (--model-dir)"
    assert note in outcome.results["verdict"]["notes"]
    assert f"note: {note}" in outcome.output
    assert outcome.verdict == "INCOMPLETE"


def test_files_of_a_folder_are_held_against_what_is_known_of_them(trained: dict[str, Path], tmp_path: Path) -> None:
    """Weights of which a few are zero talk like sound ones, so that only their digest tells."""

    def zeroed(name: str, entry: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        return entry, bytes(len(content)) if name.endswith("layers.0.self_attn.k_proj.weight") else content

    known, unknown = tmp_path / "known", tmp_path / "unknown"
    copy_damaged(trained["tiny-qwen"], unknown, lambda folder: None)
    copy_damaged(trained["tiny-llama"], known, lambda folder: rewrite(folder, zeroed))
    shutil.copy(trained["tiny-llama"] / MANIFEST, known)
    outcome = run_suite(
        tmp_path / "reports",
        *("-m", "tiny", "-k", "(tiny-llama/bf16 or tiny-qwen/bf16) and test_loads_completely"),
        *(f"--model-dir=tiny-llama={known}", f"--model-dir=tiny-qwen={unknown}"),
    )
    llama, qwen = (outcome.cell("test_loads_completely", f"tiny-{name}/bf16") for name in ("llama", "qwen"))
    assert (llama["outcome"], qwen["outcome"]) == ("fail", "pass"), outcome.output
    assert f"{known} holds other files than it should" in llama["reason"]
    assert re.search(
        r"^  model-\d+-of-\d+\.safetensors: is not what plimsoll\.json says$", llama["reason"], re.MULTILINE
    )
    note = f"nothing vouches for the files of {unknown}: no digest of any of them is known"
    assert [line for line in outcome.results["verdict"]["notes"] if "vouches" in line] == [note]


def test_files_without_their_content_are_named_where_the_user_has_them(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    """A folder cloned without git-lfs, and a snapshot copied without its blobs: both look whole in a listing."""

    def to_links(folder: Path) -> None:
        for file in folder.glob("model*"):
            file.unlink()
            file.symlink_to(f"../../blobs/{file.name}")

    def to_pointers(folder: Path) -> None:
        for file in folder.glob("*.safetensors"):
            file.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{7:064x}\nsize 7\n")

    links, pointers = tmp_path / "links", tmp_path / "pointers"
    copy_damaged(trained["tiny-llama"], links, to_links)
    copy_damaged(trained["tiny-qwen"], pointers, to_pointers)
    outcome = run_suite(
        tmp_path / "reports",
        *("-m", "tiny", "-k", "(tiny-llama/bf16 or tiny-qwen/bf16) and test_load"),
        *(f"--model-dir=tiny-llama={links}", f"--model-dir=tiny-qwen={pointers}"),
    )
    steps = {
        "tiny-llama": (links, "copy the folder again with its files"),
        "tiny-qwen": (pointers, "git lfs pull there"),
    }
    for model, (folder, step) in steps.items():
        for question in ("test_cold_load_time", "test_warm_load_time", "test_loads_completely"):
            reason = outcome.cell(question, f"{model}/bf16")["reason"]
            assert f"{folder}/model" in reason, reason
            assert step in reason
    assert "/cold/" not in outcome.output, "the private copy of a cold load is gone when somebody reads this"


def test_a_wrong_folder_is_a_usage_error(tmp_path: Path) -> None:
    outcome = run_inside(tmp_path, "--model-dir=tiny-lama=somewhere", "-m", "tiny")
    assert outcome.status == 4
    assert "no model 'tiny-lama' in the catalogue; did you mean 'tiny-llama'?" in outcome.output
    assert "Traceback" not in outcome.output
