"""`plimsoll inspect` and `plimsoll add` as a user meets them: real processes, hosts, and a Hub that counts bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.reader import read_catalogue
from plimsoll.hub.headers import LENGTH_BYTES
from tests.support.broken_checkpoints import copy_damaged, shards
from tests.support.commands import plimsoll
from tests.support.hub_asking import Serve
from tests.support.hub_repositories import COMMIT
from tests.support.hub_server import LOG_IN, NOT_ACCEPTED, Refusal, Repository
from tests.support.random_checkpoints import save_checkpoint
from tests.support.subsession import ROOT, Outcome, environment, run_suite


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with random weights, in three files."""
    return save_checkpoint("llama", tmp_path_factory.mktemp("acme") / "model")


@pytest.fixture(scope="module")
def hub_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the cache of one test after the other lies: hosts of one path come from one fork server."""
    return tmp_path_factory.mktemp("hub") / "hf"


@pytest.fixture
def hub_home(hub_path: Path, nobody: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache of the Hub, which is empty, and moved away afterwards."""
    monkeypatch.setenv("HF_HOME", str(hub_path))
    yield hub_path
    if hub_path.exists():
        hub_path.rename(nobody / "hf")


@pytest.fixture
def serve(serve_as: Serve, hub_home: Path) -> Serve:
    """Start a Hub, and point commands at it; nobody is logged in."""
    return partial(serve_as, "acme")


def command(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "plimsoll", *map(str, arguments)],
        cwd=cwd,
        env=environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def header_bytes(files: Sequence[Path]) -> dict[str, int]:
    """How many bytes of each file are its header, with the length before it."""
    return {file.name: LENGTH_BYTES + int.from_bytes(file.read_bytes()[:LENGTH_BYTES], "little") for file in files}


def test_a_process_inspects_a_repository_and_no_byte_of_its_weights_leaves_the_hub(
    serve: Serve, checkpoint: Path
) -> None:
    card = {"license": "apache-2.0", "base_model": "acme/base"}
    server = serve(model=Repository(folder=checkpoint, card=card))
    done = command("inspect", "acme/model", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["source"]["revision"] == COMMIT
    assert told["source"]["licence"] == "apache-2.0"
    assert told["source"]["base_model"] == "acme/base"
    shards = sorted(checkpoint.glob("*.safetensors"))
    weights = {name: size for name, size in server.served.items() if name.endswith(".safetensors")}
    assert weights == header_bytes(shards)
    assert sum(weights.values()) < sum(shard.stat().st_size for shard in shards) / 100
    settings = server.served.keys() - weights.keys()
    assert settings == {"config.json", "generation_config.json", "tokenizer_config.json"}
    stored = told["parameters"]["in_files"]["BF16"]
    assert told["parameters"]["total"] == stored["elements"]
    assert told["quantizations"]["bf16"]["weight_bytes"] >= stored["bytes"]
    assert told["quantizations"]["nf4"]["smallest_profile"] == "a10-24g"
    assert told["unknown"]["use.hardware"] == "the card's text is not read; look there"


def test_a_server_that_sends_whole_files_alone_is_not_asked_for_their_rest(
    serve: Serve, checkpoint: Path, tmp_path: Path
) -> None:
    serve(model=Repository(folder=checkpoint, whole_alone=True))
    done = plimsoll("inspect", "acme/model")
    assert done.returncode == 0
    assert "lies on a server that gives whole files alone, so that its header cannot be read" in done.stdout
    done = plimsoll("add", "acme/model", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "plimsoll: error: acme/model cannot be entered: model-00001-of-00003.safetensors: lies on"
    )


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        (Refusal(401, "GatedRepo", LOG_IN), "no token for the Hub; hf auth login; then accept its licence at "),
        (Refusal(403, "GatedRepo", NOT_ACCEPTED), "a token of an account that has not accepted its licence; accept"),
    ],
)
def test_a_gated_repository_is_one_error(serve: Serve, checkpoint: Path, gate: Refusal, says: str) -> None:
    serve(model=Repository(folder=checkpoint, gate=gate))
    done = plimsoll("inspect", "acme/model")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"plimsoll: error: acme/model: {says}")
    assert done.stderr.count("\n") == 1


def test_a_wrong_id_suggests_what_the_hubs_search_finds(serve: Serve, checkpoint: Path) -> None:
    serve(model=Repository(folder=checkpoint))
    done = plimsoll("inspect", "acme/model-7b")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("did you mean 'acme/model'?\n")


@contextmanager
def silent_server() -> Iterator[tuple[str, list[object]]]:
    """An address at which each connection is closed without an answer, and a list of who connected."""
    asked: list[object] = []

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, address = server.accept()
                connection.close()
                asked.append(address)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_an_id_that_the_hub_could_not_have_is_one_line_without_a_network_too(
    serve: Serve, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused without a question, so the search for names like it is the first to find nobody there."""
    serve(model=Repository(folder=checkpoint))
    with silent_server() as (endpoint, asked):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        done = plimsoll("inspect", "acme/model--7b")
    # The HTTP library itself tries a connection twice that was closed without an answer.
    assert len(asked) <= 2, "nobody waits half a minute for a hint"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("plimsoll: error: acme/model--7b: no repository acme/model--7b at ")
    assert done.stderr.count("\n") == 1


def test_offline_the_cache_is_inspected_and_without_one_it_is_one_error(
    serve: Serve, checkpoint: Path, hub_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(model=Repository(folder=checkpoint))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = plimsoll("inspect", "acme/model")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("plimsoll: error: acme/model: HF_HUB_OFFLINE set, and no whole copy in ")
    kept = hub_home / "hub" / "models--acme--model"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(COMMIT)
    (kept / "snapshots" / COMMIT).mkdir(parents=True)
    (kept / "snapshots" / COMMIT / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    done = plimsoll("inspect", "acme/model")
    assert done.returncode == 0
    assert "the cache of the Hub" in done.stdout
    assert "unknown: there are none in safetensors" in done.stdout


def test_an_entry_of_a_repository_pins_the_commit_and_says_what_its_card_does(
    serve: Serve, checkpoint: Path, tmp_path: Path
) -> None:
    gate = Refusal(401, "GatedRepo", LOG_IN, times=0)
    serve(model=Repository(folder=checkpoint, card={"license": "mit"}, gate=gate))
    done = plimsoll("add", "acme/model", "--quantizations=bf16", "--tier=gpu1b", "--out=mine.toml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (variant,) = [
        one for one in read_catalogue([tmp_path / "mine.toml"]).variants.values() if one.origin.file.name == "mine.toml"
    ]
    model = variant.model
    assert (model.hub_id, model.revision, model.licence, model.gated) == ("acme/model", COMMIT, "mit", True)
    assert (variant.tier.id, variant.id) == ("gpu1b", f"{model.id}/bf16")
    peak = next(claim for claim in variant.claims if claim.metric == "vram_peak")
    assert peak.source.startswith("predicted by plimsoll add from the configuration")


def test_a_file_is_never_overwritten_without_being_told(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    out.write_text("mine")
    words = ("add", checkpoint, "--quantizations=bf16", "--out", out)
    done = plimsoll(*words, cwd=tmp_path)
    assert (done.returncode, out.read_text()) == (2, "mine")
    assert done.stderr == (
        f"plimsoll: error: {out}: is there already; name another file with --out, or overwrite it with --force\n"
    )
    assert plimsoll(*words, "--force", cwd=tmp_path).returncode == 0
    assert tomllib.loads(out.read_text())["model"][0]["architecture"] == "LlamaForCausalLM"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["tiny-llama"],
            "tiny-llama is an entry already (catalogue/models/tiny.toml: model[0]): plimsoll run -k tiny-llama",
        ),
        (["MODEL", "--tier=gpu8"], "no tier 'gpu8'; did you mean 'gpu8b'?"),
        (["MODEL", "--id=tiny-llama", "--out=x.toml"], "the entry would not be sound, so x.toml was not written: "),
        (["MODEL", "--out=none/x.toml"], "none/x.toml: there is no folder "),
    ],
)
def test_what_cannot_be_entered_is_one_error(words: list[str], says: str, checkpoint: Path, tmp_path: Path) -> None:
    asked = [str(checkpoint) if word == "MODEL" else word for word in words]
    done = plimsoll("add", *asked, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"plimsoll: error: {says}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("digests", [[], ["--no-digests"]], ids=["digests", "no digests"])
def test_a_folder_whose_name_is_not_utf_8_is_entered_only_where_the_name_is_not_written(
    checkpoint: Path, tmp_path: Path, digests: list[str]
) -> None:
    """TOML is UTF-8; a path from where the file lies may do without that name."""
    folder = tmp_path / os.fsdecode(b"n\xff")
    shutil.copytree(checkpoint, folder / "model")
    words = ("add", folder / "model", "--quantizations=bf16", *digests)
    refused = plimsoll(*words, "--out", tmp_path / "x.toml", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "cannot be entered: TOML has no text that is not UTF-8: 'n\\udcff/model'; rename the " in refused.stderr
    assert "hashing" not in refused.stderr
    done = plimsoll(*words, "--out", folder / "x.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert tomllib.loads((folder / "x.toml").read_text())["model"][0]["path"] == "model"


def test_a_damaged_copy_of_what_the_suite_trained_is_not_entered(trained: dict[str, Path], tmp_path: Path) -> None:
    """Its entry would be made from what it is to judge: a copy with half of a layer gone passed every check."""

    def flip_a_bit(folder: Path) -> None:
        path = shards(folder)[-1]
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    folder = copy_damaged(trained["tiny-llama"], tmp_path / "damaged", flip_a_bit, with_manifest=True)
    done = plimsoll("add", str(folder), "--quantizations=bf16", "--out=my.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "it is not what the suite has trained: " in done.stderr
    assert " has other content than was written" in done.stderr
    assert not (tmp_path / "my.toml").exists()


def test_whatever_changes_after_the_entry_was_written_is_seen(checkpoint: Path, tmp_path: Path) -> None:
    """A turned byte, two rows of the head exchanged: neither shows in what a model says."""
    folder = tmp_path / "own-model"
    shutil.copytree(checkpoint, folder)
    done = plimsoll("add", folder, "--quantizations=bf16", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    entry = tmp_path / "own-model.toml"
    assert {file.name for file in folder.iterdir()} == set(tomllib.loads(entry.read_text())["model"][0]["sha256"])

    def run(name: str) -> Outcome:
        return run_suite(tmp_path / name, "-k", "own-model and test_loads_completely", f"--catalogue={entry}")

    def reason(name: str) -> str:
        outcome = run(name)
        assert outcome.verdict == "REJECTED", outcome.output
        return str(outcome.cell("test_loads_completely", "own-model/bf16")["reason"])

    sound = run("sound")
    assert sound.verdict == "ACCEPTED", sound.output
    assert "vouches" not in sound.output
    last = shards(folder)[-1]
    untouched = last.read_bytes()
    last.write_bytes(untouched[:-1] + bytes([untouched[-1] ^ 1]))
    told = reason("turned")
    assert f"  {last.name}: is not what the entry (sha256) says" in told
    assert f"as they are now, which sha256sum prints, in {entry} (sha256)" in told
    last.write_bytes(_with_two_rows_of_the_head_swapped(untouched))
    assert f"  {last.name}: is not what the entry (sha256) says" in reason("swapped")


def _with_two_rows_of_the_head_swapped(shard: bytes) -> bytes:
    start = LENGTH_BYTES + int.from_bytes(shard[:LENGTH_BYTES], "little")
    head = json.loads(shard[LENGTH_BYTES:start])["lm_head.weight"]
    row, first = 2 * head["shape"][1], start + head["data_offsets"][0]
    one, two = (slice(first + number * row, first + (number + 1) * row) for number in (7, 8))
    return shard[: one.start] + shard[two] + shard[one] + shard[two.stop :]


def test_no_digests_are_written_where_they_are_not_wanted_or_others_vouch(
    serve: Serve, checkpoint: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    serve(model=Repository(folder=checkpoint))
    asked: list[list[object]] = [
        [checkpoint, "--no-digests"],
        ["acme/model", "--tier=gpu1b"],
        [trained["tiny-qwen"], "--id=own-qwen"],
    ]
    for number, words in enumerate(asked):
        done = plimsoll("add", *words, "--quantizations=bf16", f"--out={number}.toml", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "sha256" not in (tmp_path / f"{number}.toml").read_text()


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer.json", "model.safetensors.index.json"])
def test_a_folder_with_a_file_that_cannot_be_read_is_not_entered(checkpoint: Path, tmp_path: Path, name: str) -> None:
    """Its digest would have the damage taken for sound."""
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (folder / name).write_text("<html>blocked</html>")
    done = plimsoll("add", folder, "--quantizations=bf16", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"plimsoll: error: {folder} cannot be entered: {folder / name}: is a web page, which "
    )


def test_a_folder_whose_index_does_not_fit_it_is_not_entered(checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    index = folder / "model.safetensors.index.json"
    sound = index.read_text()
    for metadata in ({}, {"metadata": None}):
        index.write_text(json.dumps({"weight_map": json.loads(sound)["weight_map"], **metadata}))
        done = plimsoll("add", folder, "--quantizations=bf16", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"plimsoll: error: {folder} cannot be entered: {index}: lacks a table metadata, ")
    index.write_text(sound)
    gone = shards(folder)[1]
    gone.write_bytes(gone.read_bytes()[:1000])
    done = plimsoll("add", folder, "--quantizations=bf16", cwd=tmp_path)
    assert done.stderr.startswith(f"plimsoll: error: {folder} cannot be entered: {gone.name}: ")
    assert done.stderr.endswith("; download or build it again\n")
    gone.unlink()
    done = plimsoll("add", folder, "--quantizations=bf16", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"plimsoll: error: {folder} cannot be entered: {gone}: 1 of ")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    done = plimsoll("add", folder, "--quantizations=bf16", cwd=tmp_path)
    assert "model.safetensors.index.json: is not an index of weights in its folder; download or build it" in done.stderr


def test_a_folder_of_two_checkpoints_is_not_entered(checkpoint: Path, tmp_path: Path) -> None:
    """Weights beside the configuration of another model, a chat template that nothing goes through: each load of the
    entry would be an error."""
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    config = folder / "config.json"
    sound = config.read_text()
    config.write_text(json.dumps({**json.loads(sound), "vocab_size": 400}))
    done = plimsoll("add", folder, "--quantizations=bf16", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"plimsoll: error: {folder} cannot be entered: {shards(folder)[-1]}: lm_head.weight has shape (512, 128), and "
        "the configuration asks for (400, 128) (2 such tensors); take config.json and the weights from one "
        "checkpoint\n"
    )
    config.write_text(sound)
    (folder / "chat_template.jinja").write_text("{{ messages | shout }}")
    done = plimsoll("add", folder, "--quantizations=bf16", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"plimsoll: error: {folder} cannot be entered: {folder / 'chat_template.jinja'}: its")
    assert "TemplateAssertionError: No filter named 'shout'." in done.stderr
    assert not list(tmp_path.glob("*.toml"))


@pytest.mark.parametrize("word", ["inspect", "add"])
def test_a_scheme_that_is_no_table_is_told_with_its_file(checkpoint: Path, tmp_path: Path, word: str) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "quantization_config": ["nf4"]}))
    done = plimsoll(word, folder, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f'plimsoll: error: {config}: says quantization_config = ["nf4"], where a table of settings belongs; take it '
        "out where the weights are in floats, or download or build it again\n"
    )


def test_a_folder_that_is_not_what_was_downloaded_is_not_entered(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    for file in checkpoint.iterdir():
        blob = tmp_path / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, blob)
        (folder / file.name).symlink_to(blob)
    last = shards(folder)[-1]
    last.write_bytes(last.read_bytes()[:-1] + b"?")
    done = plimsoll("add", folder, "--quantizations=bf16", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"plimsoll: error: {folder} cannot be entered: it is damaged, or changed since it ")
    assert f"{last.name} is not what the Hub's cache says; fetch it again" in done.stderr


def test_from_a_folder_to_a_verdict_in_two_commands(trained: dict[str, Path], tmp_path: Path) -> None:
    """The second is the one that the first prints."""
    done = plimsoll("add", trained["tiny-qwen"], "--quantizations=nf4", "--id=own-qwen", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    wrote, following = done.stdout.splitlines()
    assert wrote == "wrote own-qwen.toml: own-qwen in nf4, tier tiny (the suite has trained it)"
    *run, option, chosen, catalogue, folder = following.removeprefix("next: ").split()
    assert run == ["plimsoll", "run"], "pytest knows the suite in its own folder alone"
    arguments = option, chosen, catalogue, folder
    asked = [argument.replace("own-qwen.toml", str(tmp_path / "own-qwen.toml")) for argument in arguments]
    outcome = run_suite(tmp_path / "reports", *asked)
    assert outcome.verdict == "ACCEPTED", outcome.output
    cells: list[dict[str, Any]] = outcome.results["cells"]
    assert {cell["variant"] for cell in cells} == {"own-qwen/nf4"}
    sources = {
        judgement["source"] for cell in cells for judgement in cell["judgements"] if judgement["metric"] == "ram_peak"
    }
    assert all(source.startswith("predicted by plimsoll add") for source in sources)
    assert sources
