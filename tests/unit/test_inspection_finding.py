"""What the name of a model stands for, and the one error where it stands for nothing that can be inspected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from plimsoll.catalogue.entries import Catalogue
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.hub.access import Access, Query, Reply
from plimsoll.hub.contents import CheckpointContents, Repository
from plimsoll.inspection.finding import NameKind, find

CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue()


def silent(query: Query) -> Repository:
    raise AssertionError(f"nobody may ask the Hub for {query.repository}")


def folder_with(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(CONFIG) if name == "config.json" else "x")
    return folder


def answering(answer: Reply, **fields: object) -> Repository:
    access = Access(
        query=Query(repository="acme/acme-7b"), answer=answer, endpoint="https://hub", cache="/cache", free=0
    )
    similar = fields.pop("similar", ())
    contents = fields.pop("contents", None)
    assert isinstance(similar, tuple)
    assert contents is None or isinstance(contents, CheckpointContents)
    return Repository(access=replace(access, **fields), contents=contents, similar=similar)  # type: ignore[arg-type]


def test_what_lies_on_this_disk_comes_first_then_the_catalogue_then_the_hub(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("tiny-llama", None, catalogue, silent).kind is NameKind.ENTRY
    folder_with(tmp_path / "tiny-llama", "config.json")
    found = find("tiny-llama", None, catalogue, silent)
    assert (found.kind, found.folder) == (NameKind.FOLDER, tmp_path / "tiny-llama")
    assert find("tiny-llama/config.json", None, catalogue, silent).kind is NameKind.CONFIG
    contents = CheckpointContents(files={"config.json": 1}, texts={"config.json": json.dumps(CONFIG)})
    asked: list[Query] = []

    def hub(query: Query) -> Repository:
        asked.append(query)
        return answering(Reply.GRANTED, contents=contents, commit="c" * 40)

    assert find("acme/acme-7b", "v2", catalogue, hub).kind is NameKind.HUB
    assert asked == [Query(repository="acme/acme-7b", revision="v2")]


def test_a_name_without_an_owner_is_asked_of_the_hub_unless_it_is_a_slip(catalogue: Catalogue) -> None:
    contents = CheckpointContents(files={"config.json": 1}, texts={"config.json": json.dumps(CONFIG)})
    assert find("gpt2", None, catalogue, lambda _: answering(Reply.GRANTED, contents=contents)).kind is NameKind.HUB
    with pytest.raises(PlimsollError, match=r"did you mean 'tiny-llama'\?$"):
        find("tiny-lama", None, catalogue, silent)


def test_an_entry_says_its_own_configuration_by_its_id_or_a_variants(catalogue: Catalogue) -> None:
    found = find("tiny-mixtral/nf4", None, catalogue, silent)
    assert found.entry is catalogue.models["tiny-mixtral"]
    assert found.config["model_type"] == "mixtral"
    assert found.config["architectures"] == ["MixtralForCausalLM"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "an adapter (adapter_config.json), which changes the"),
        (
            ["model.gguf", "README.md"],
            "weights in GGUF alone (model.gguf), the format of llama.cpp; name the repository",
        ),
        (
            ["config.json", "pytorch_model.bin"],
            "weights as pickles alone (pytorch_model.bin), which are refused because",
        ),
        (["config.json", "consolidated.00.pth"], "weights in their maker's own format alone (consolidated.00.pth)"),
        (["config.json", "tf_model.h5"], "weights in other formats alone (tf_model.h5)"),
        (["model_index.json", "unet/model.bin"], "a pipeline of diffusers (model_index.json), and no language model"),
        (["model.safetensors"], "weights without a config.json (model.safetensors)"),
        (["README.md"], "no config.json; name the folder that save_pretrained wrote, or a repository"),
    ],
)
def test_a_folder_that_holds_something_else_is_one_error(
    names: list[str], says: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    folder = folder_with(tmp_path / "m", *names)
    with pytest.raises(PlimsollError) as caught:
        find(str(folder), None, catalogue, silent)
    assert str(caught.value).startswith(f"{folder}: {says}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [["config.json"], ["config.json", "model.safetensors"]], ids=["weights", "tokenizer"])
def test_without_weights_or_without_a_tokenizer_there_is_something_to_inspect(
    names: list[str], tmp_path: Path, catalogue: Catalogue
) -> None:
    assert find(str(folder_with(tmp_path / "m", *names)), None, catalogue, silent).config == CONFIG


@pytest.mark.parametrize(
    ("repository", "says"),
    [
        (
            answering(Reply.NO_TOKEN),
            "no token for the Hub; hf auth login; then accept its licence at https://hub/acme/acme-7b",
        ),
        (
            answering(Reply.NOT_ACCEPTED, logged_in=True),
            "a token of an account that has not accepted its licence; accept the licence at https://hub/acme/acme-7b "
            "with the account of the token",
        ),
        (
            answering(Reply.OFFLINE_MODE, offline_by="HF_HUB_OFFLINE"),
            "HF_HUB_OFFLINE set, and no whole copy in /cache; unset HF_HUB_OFFLINE, or 'hf download acme/acme-7b "
            "--local-dir FOLDER' where there is one, and name FOLDER here",
        ),
        (
            answering(Reply.NOT_FOUND, similar=("other/acme", "acme/acme-7b-it")),
            "no repository acme/acme-7b at https://hub that may be seen without a token; correct hub_id in the "
            "command, or hf auth login if it is private; did you mean 'acme/acme-7b-it'?",
        ),
        (
            answering(Reply.GRANTED, contents=CheckpointContents(files={"model-q4.gguf": 9})),
            "weights in GGUF alone (model-q4.gguf), the format of llama.cpp; name the repository they were made from",
        ),
        (
            answering(Reply.GRANTED, contents=CheckpointContents(files={"config.json": 2, "pytorch_model.bin": 9})),
            "weights as pickles alone (pytorch_model.bin), which are refused because reading one can run code; name a "
            "revision or a repository with safetensors",
        ),
    ],
    ids=["gated", "licence", "offline", "wrong id", "GGUF", "pickles"],
)
def test_what_the_hub_does_not_give_is_one_error(
    repository: Repository, says: str, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(PlimsollError) as caught:
        find("acme/acme-7b", None, catalogue, lambda _: repository)
    assert str(caught.value) == f"acme/acme-7b: {says}"


def test_the_nearest_of_the_catalogue_is_suggested_for_a_wrong_id(catalogue: Catalogue) -> None:
    def hub(query: Query) -> Repository:
        return replace(answering(Reply.NOT_FOUND), similar=())

    with pytest.raises(PlimsollError, match=r"did you mean 'Qwen/Qwen2.5-7B'\?$"):
        find("Qwen/Qwen-2.5-7B", None, catalogue, hub)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "tiny-lama",
            "'tiny-lama' is no folder, no entry and no Hub id (ids of the Hub are owner/name); did you mean ",
        ),
        ("./modle", "./modle: no such file or folder; did you mean 'model'?"),
        ("link", "link: is a link to gone, and leads to nothing"),
        ("weights.txt", "weights.txt: is neither a folder nor a config.json; name a folder with config.json and"),
        ("m.gguf", "m.gguf: is in GGUF, the format of llama.cpp; name a folder with config.json and safetensors"),
        ("broken.json", "broken.json: ends before its JSON does, at line 1, column 2 (Expecting"),
        ("list.json", "list.json: is JSON, but no table of settings; download or build it again"),
        ("page.json", "page.json: is a web page, which a proxy or a login page gave in its place; "),
        (
            "half",
            "half/config.json: ends before its JSON does, at line 1, column 9 (Expecting ':' delimiter); download or",
        ),
        ("folder", "folder/config.json: is a folder, where a file belongs; download or build it again"),
    ],
)
def test_a_name_of_nothing_is_one_error(
    name: str, says: str, tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_with(tmp_path / "model", "config.json")
    (tmp_path / "link").symlink_to("gone")
    for file, text in {"weights.txt": "x", "m.gguf": "GGUF", "broken.json": "{", "list.json": "[1]"}.items():
        (tmp_path / file).write_text(text)
    (tmp_path / "page.json").write_text("<html>log in</html>")
    folder_with(tmp_path / "half", "config.json", "model.safetensors")
    (tmp_path / "half" / "config.json").write_text('{"model"')
    (tmp_path / "folder" / "config.json").mkdir(parents=True)
    with pytest.raises(PlimsollError) as caught:
        find(name, None, catalogue, silent)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("~nobody-has-this-home/model", "nobody here has the home ~nobody-has-this-home"),
        ("a" * 5000, "cannot be looked at: File name too long"),
        (f"./{'a' * 300}", "cannot be looked at: File name too long"),
        ("a\0b", "is no folder, no entry and no Hub id"),
    ],
)
def test_a_name_that_no_path_can_have_is_one_error(catalogue: Catalogue, name: str, says: str) -> None:
    with pytest.raises(PlimsollError, match=says) as caught:
        find(name, None, catalogue, silent)
    assert len(str(caught.value)) < 2000
