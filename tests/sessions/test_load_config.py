"""--load-config in real runs: what it alters, where it stands, and what a setting without effect comes to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plimsoll.catalogue.settings import settings_of
from tests.support.broken_checkpoints import copy_damaged, model_entry, shipped, variant_entry
from tests.support.subsession import pytest_says, run_suite

GIVEN = {"torch_dtype": "float16", "sliding_window": 64, "low_cpu_mem_usage": True, "attn_implementation": "eager"}


@pytest.mark.usefixtures("trained")
def test_settings_are_in_force_recorded_and_in_the_scope(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(GIVEN))
    checks = "test_settings_take_effect or test_uses_asked_attention or test_loads_in_asked_dtype"
    outcome = run_suite(
        tmp_path / "reports", "-m", "tiny", "-k", f"tiny-phi/bf16 and ({checks})", f"--load-config={path}"
    )
    assert outcome.verdict == "ACCEPTED", outcome.output
    settings = settings_of(GIVEN, "x")
    name = f"tiny-phi/bf16:{settings.alteration}"
    assert outcome.cell("test_settings_take_effect", name)["outcome"] == "pass"
    assert settings.text in outcome.results["verdict"]["scope"].replace("'", "")
    notes = " ".join(outcome.results["verdict"]["notes"])
    assert "low_cpu_mem_usage changes nothing: transformers 5 always loads so" in notes
    assert f"{settings.alteration} in 3 of 3 checks" in notes
    load = next(event for event in outcome.events if event["event"] == "load")
    assert load["settings"] == dict(settings.given)
    effective = load["report"]["effective"]
    assert effective["config"] == {"sliding_window": 64}
    assert effective["dtype"] == ["float16"]
    assert effective["attention"] == ["eager"]


def test_a_setting_without_effect_rejects(tmp_path: Path, trained: dict[str, Path]) -> None:
    """Remote code that is on, and that the checkpoint does not have for the class."""
    folder = copy_damaged(trained["tiny-llama"], tmp_path / "llama", lambda _: None)
    catalogue = tmp_path / "mine.toml"
    entry = model_entry(shipped("tiny-llama"), "tiny-remote", folder, trust_remote_code=True)
    catalogue.write_text(entry + variant_entry("tiny-remote", ["bf16"]))
    outcome = run_suite(
        tmp_path / "reports", "-k", "tiny-remote and test_settings_take_effect", f"--catalogue={catalogue}"
    )
    assert outcome.verdict == "REJECTED"
    assert "trust_remote_code is on, and the class is transformers' own" in outcome.output


def test_settings_that_cannot_be_used_are_one_usage_error() -> None:
    done = pytest_says("-m", "tiny", '--load-config={"dtype": "x"}')
    assert done.returncode == 4
    assert "dtype must be one of float32, bfloat16, float16" in done.stdout + done.stderr
