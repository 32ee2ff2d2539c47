"""Which files a load needs, and what the cache on this disk holds of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plimsoll.hub.cache import digest_of, known_commit, lacking, remember_commit, repository_folder, snapshot_folder
from plimsoll.hub.files import has_weights, needed_files, unusable

COMMIT = "a" * 40


@pytest.mark.parametrize(
    ("listing", "needed"),
    [
        pytest.param(
            # meta-llama/Llama-3.1-8B: the same weights twice
            """.gitattributes LICENSE README.md USE_POLICY.md config.json generation_config.json
            model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json
            original/consolidated.00.pth original/params.json original/tokenizer.model
            special_tokens_map.json tokenizer.json tokenizer_config.json""",
            """config.json generation_config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors
            model.safetensors.index.json special_tokens_map.json tokenizer.json tokenizer_config.json""",
            id="original",
        ),
        pytest.param(
            # mistralai/Mixtral-8x22B-Instruct-v0.1 and Mistral-7B-v0.3: the makers' own format at the top level
            """config.json consolidated.safetensors consolidated-00001-of-00002.safetensors params.json
            model-00001-of-00059.safetensors model.safetensors.index.json tokenizer.model tokenizer.model.v3""",
            """config.json model-00001-of-00059.safetensors model.safetensors.index.json params.json
            tokenizer.model""",
            id="consolidated",
        ),
        pytest.param(
            # microsoft/Phi-3-mini-4k-instruct: code of its own, which the entry does not turn on
            """config.json configuration_phi3.py modeling_phi3.py sample_finetune.py added_tokens.json
            model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json""",
            """added_tokens.json config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors
            model.safetensors.index.json""",
            id="code",
        ),
        pytest.param(
            """config.json model.safetensors pytorch_model.bin tf_model.h5 flax_model.msgpack onnx/model.onnx
            onnx/config.json vocab.txt requirements.txt model.fp16.safetensors chat_template.jinja model.gguf""",
            "chat_template.jinja config.json model.safetensors vocab.txt",
            id="other-runtimes",
        ),
        pytest.param("config.json pytorch_model.bin tokenizer.json", "config.json tokenizer.json", id="pickle"),
    ],
)
def test_only_what_a_load_needs(listing: str, needed: str) -> None:
    assert " ".join(needed_files(listing.split())) == " ".join(needed.split())


def test_code_and_pickles_are_fetched_where_the_entry_says_so() -> None:
    names = ["config.json", "modeling.py", "sub/helper.py", "pytorch_model.bin", "training_args.bin"]
    assert needed_files(names) == ("config.json",)
    assert needed_files(names, remote_code=True) == ("config.json", "modeling.py", "sub/helper.py")
    assert needed_files(names, allow_pickle=True) == ("config.json", "pytorch_model.bin")
    assert needed_files([*names, "model.safetensors"], allow_pickle=True) == ("config.json", "model.safetensors")
    shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"]
    assert needed_files(shards, allow_pickle=True) == tuple(shards)
    assert not has_weights(needed_files(names))
    assert has_weights(needed_files(names, allow_pickle=True))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HUGGINGFACE_HUB_CACHE", raising=False)
    return tmp_path / "hub"


def test_a_revision_is_remembered_as_huggingface_hub_does(cache: Path) -> None:
    assert repository_folder("owner/name") == cache / "models--owner--name"
    assert known_commit("owner/name", None) is None
    remember_commit("owner/name", None, COMMIT)
    remember_commit("owner/name", "refs/pr/1", "b" * 40)
    assert (cache / "models--owner--name" / "refs" / "main").read_text() == COMMIT
    assert known_commit("owner/name", None) == known_commit("owner/name", "main") == COMMIT
    assert known_commit("owner/name", "refs/pr/1") == "b" * 40
    assert known_commit("owner/name", "c" * 40) == "c" * 40
    remember_commit("owner/name", "d" * 40, "d" * 40)
    assert sorted(path.name for path in (cache / "models--owner--name" / "refs").iterdir()) == ["main", "refs"]
    (cache / "models--owner--name" / "refs" / "main").write_text("not a commit")
    assert known_commit("owner/name", None) is None


def test_an_interrupted_download_is_no_snapshot(cache: Path) -> None:
    folder = snapshot_folder("owner/name", COMMIT)
    assert lacking(folder) == "config.json"
    folder.mkdir(parents=True)
    shard = "model-00002-of-00002.safetensors"
    weight_map = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": shard}}
    steps = [
        ("config.json", "{}", "model.safetensors"),
        ("model.safetensors.index.json", json.dumps(weight_map), "model-00001-of-00002.safetensors"),
        ("model-00001-of-00002.safetensors", "", shard),
        (shard, "", "tokenizer.json"),
        ("tokenizer.json", "{}", None),
    ]
    for name, content, still in steps:
        (folder / name).write_text(content)
        assert lacking(folder) == still
    (folder / shard).unlink()
    (folder / shard).symlink_to("../../blobs/gone")
    assert lacking(folder) == shard
    (folder / "model.safetensors.index.json").write_text("damaged")
    assert lacking(folder) == "model.safetensors.index.json"


def test_pickled_weights_are_a_snapshot_only_where_they_are_allowed(cache: Path) -> None:
    folder = snapshot_folder("owner/name", COMMIT)
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "pytorch_model.bin"):
        (folder / name).write_text("")
    assert lacking(folder) == "model.safetensors"
    assert lacking(folder, allow_pickle=True) is None


def test_the_blob_names_what_a_file_must_hash_to(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    (tmp_path / "link").symlink_to(f"../../blobs/{'e' * 64}")
    (tmp_path / "elsewhere").symlink_to("../file")
    assert digest_of(tmp_path / "link") == "e" * 64
    assert digest_of(tmp_path / "plain") is None
    assert digest_of(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("listing", "kind", "file"),
    [
        ("model.fp16.safetensors", "variant", "model.fp16.safetensors"),
        ("model.fp16-00001-of-00002.safetensors model.safetensors.index.fp16.json", "variant", None),
        ("model-00001-of-00002.fp16.safetensors", "variant", "model-00001-of-00002.fp16.safetensors"),
        ("model-00001-of-00002.safetensors model-00002-of-00002.safetensors", "no_index", None),
        (
            "checkpoint-500/model.safetensors checkpoint-500/config.json",
            "subfolder",
            "checkpoint-500/model.safetensors",
        ),
        ("model.safetensors.part", "unfinished", "model.safetensors.part"),
        ("weights.safetensors", "other_name", "weights.safetensors"),
        ("Model.safetensors", "other_name", "Model.safetensors"),
        ("adapter_model.safetensors", "adapter", "adapter_model.safetensors"),
        ("unet/diffusion_pytorch_model.safetensors", "pipeline", "unet/diffusion_pytorch_model.safetensors"),
        ("pytorch_model.fp16.bin", "pickle", "pytorch_model.fp16.bin"),
        ("consolidated.safetensors", "makers_format", "consolidated.safetensors"),
        ("original/consolidated.00.pth", "makers_format", "original/consolidated.00.pth"),
        ("model.safetensors.gz", "other_format", "model.safetensors.gz"),
        ("__0_0.distcp", "other_format", "__0_0.distcp"),
    ],
)
def test_weights_under_other_names_are_told_apart(listing: str, kind: str, file: str | None) -> None:
    names = ["config.json", "tokenizer.json", *listing.split()]
    assert unusable(names, needed_files(names)) == (kind, listing.split()[0] if file is None else file)
