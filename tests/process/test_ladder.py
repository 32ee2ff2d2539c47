"""The ladder on checkpoints that really load, and on some that really fail at given rungs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.reader import read_catalogue
from tests.support import ladders
from tests.support.broken_checkpoints import truncate_shard
from tests.support.commands import plimsoll
from tests.support.random_checkpoints import save_checkpoint


def _climb(folder: Path, *options: object) -> tuple[int, dict[str, Any]]:
    done = plimsoll("ladder", folder, "--device=cpu", "--json", *options)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def _outcomes(data: dict[str, Any]) -> dict[str, str]:
    return {rung["id"]: rung["outcome"] for rung in data["rungs"]}


def _symptoms(data: dict[str, Any], rung: str) -> list[str]:
    return [told["symptom"] for each in data["rungs"] if each["id"] == rung for told in each["diagnoses"]]


def _why(data: dict[str, Any], rung: str) -> str:
    return str(next(each["why"] for each in data["rungs"] if each["id"] == rung))


def test_a_sound_checkpoint_ends_the_climb_after_the_dry_run_and_is_entered(tmp_path: Path) -> None:
    folder = save_checkpoint("phi3", tmp_path / "sound-phi")
    out = tmp_path / "mine.toml"
    status, data = _climb(folder, "--out", out)
    assert status == 0
    assert _outcomes(data) == {"cpu-fp32": "works", "bf16": "works"}
    assert [rung["generated"]["tokens"] for rung in data["rungs"]] == [10, 10]
    assert data["works"] == "bf16"
    assert data["settings"] == {"attn_implementation": "eager", "dtype": "bfloat16"}
    catalogue = read_catalogue([out])
    name = next(name for name in catalogue.variants if name.endswith("/ladder-bf16"))
    variant = catalogue.variants[name]
    assert variant.attention == "eager"
    assert variant.model.path == folder
    assert "10 tokens" in out.read_text()


def test_all_rungs_work_and_limits_really_send_weights_to_a_disk(tmp_path: Path) -> None:
    status, data = _climb(save_checkpoint("llama", tmp_path / "sound-llama"), "--all")
    assert status == 0
    assert list(_outcomes(data).values()) == ["works"] * 5
    held = {rung["id"]: rung["load"]["effective"]["bytes"] for rung in data["rungs"]}
    assert set(held["bf16"]) == {"cpu"}
    assert held["offload"]["disk"] > 0
    dtypes = {rung["id"]: rung["load"]["effective"]["dtype"] for rung in data["rungs"]}
    assert dtypes == {
        "cpu-fp32": ["float32"],
        "bf16": ["bfloat16"],
        "fp16": ["float16"],
        "max-memory": ["bfloat16"],
        "offload": ["bfloat16"],
    }


def test_a_damaged_shard_fails_once_and_implies_the_rest(tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path / "damaged")
    truncate_shard(folder)
    status, data = _climb(folder, "--all")
    assert status == 1
    assert list(_outcomes(data).values()) == ["failed", *["implied"] * 4]
    assert _symptoms(data, "cpu-fp32")[0] == "corrupt-file"
    assert _why(data, "offload") == "cpu-fp32 failed for what no setting of a load changes"


def test_float16_that_overflows_fails_its_own_rung_alone(tmp_path: Path) -> None:
    status, data = _climb(ladders.overflowing(tmp_path / "large-values"), "--all")
    assert status == 0
    assert _outcomes(data) == {
        "cpu-fp32": "works",
        "bf16": "works",
        "fp16": "failed",
        "max-memory": "works",
        "offload": "works",
    }
    assert _symptoms(data, "fp16") == ["not-finite"]
    told = next(rung for rung in data["rungs"] if rung["id"] == "fp16")["diagnoses"][0]
    assert told["next"] == "load it in bfloat16, which has the range of float32"


def test_nan_among_the_weights_implies_every_dtype(tmp_path: Path) -> None:
    status, data = _climb(ladders.poisoned(tmp_path / "poisoned"), "--all")
    assert status == 1
    assert list(_outcomes(data).values()) == ["failed", *["implied"] * 4]
    assert _symptoms(data, "cpu-fp32") == ["not-finite"]
    assert "fewer bits make none of them" in _why(data, "fp16")


def test_float32_beyond_the_limit_of_ram_fails_and_sixteen_bits_work(tmp_path: Path) -> None:
    status, data = _climb(ladders.large(tmp_path / "heavy"), "--ram", "190MB")
    assert status == 0
    assert _outcomes(data) == {"cpu-fp32": "failed", "bf16": "works"}
    assert _symptoms(data, "cpu-fp32")[0] == "ram"


def test_a_class_without_sdpa_is_refused_once_and_climbs_with_its_own_attention(tmp_path: Path) -> None:
    folder = ladders.without_sdpa(tmp_path / "own-attention")
    status, data = _climb(folder, "--all", "--load-config", '{"attn_implementation": "sdpa"}')
    assert status == 6
    assert list(_outcomes(data).values()) == ["refused", *["implied"] * 4]
    assert "has no sdpa attention" in _why(data, "cpu-fp32")
    status, data = _climb(folder)
    assert status == 0
    assert data["works"] == "bf16"


def test_weights_that_would_be_made_up_are_no_load_that_works(tmp_path: Path) -> None:
    status, data = _climb(ladders.headless(tmp_path / "headless"), "--all")
    assert status == 1
    assert list(_outcomes(data).values()) == ["failed", *["implied"] * 4]
    assert _symptoms(data, "cpu-fp32")[0] == "new-weights"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--layers=1",), "add --weights=synthetic"),
        (("--load-config", '{"dtype": "x"}'), "dtype must be one of"),
    ],
)
def test_a_mistake_is_one_clear_error(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = plimsoll("ladder", "tiny-phi", *options)
    assert done.returncode == 2
    assert said in done.stderr


def test_an_entry_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("# mine\n")
    done = plimsoll("ladder", "tiny-phi", "--out", tmp_path / "mine.toml")
    assert done.returncode == 2
    assert "is there already" in done.stderr


def test_people_are_told_the_cause_and_one_next_step(tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path / "damaged")
    truncate_shard(folder)
    done = plimsoll("ladder", folder, "--device=cpu")
    assert "see:   docs/troubleshooting.md#corrupt-file" in done.stdout
    assert "  next:  " in done.stdout
    assert "no rung works" in done.stdout


def test_a_file_that_cannot_be_written_is_told_before_the_climb(tmp_path: Path) -> None:
    for out, says in (("none/x.toml", "there is no folder "), (".", "is a folder; name the file to write")):
        done = plimsoll("ladder", "tiny-phi", f"--out={tmp_path / out}", "--force")
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr


def test_a_model_that_cannot_be_entered_is_told_before_the_climb(tmp_path: Path) -> None:
    folder = save_checkpoint("llama", tmp_path / "no-tokenizer")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    done = plimsoll("ladder", folder, "--device=cpu", f"--out={tmp_path / 'x.toml'}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "it holds no tokenizer" in done.stderr
