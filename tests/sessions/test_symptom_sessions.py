"""What a run says of its failures and skips: cause, next step and anchor, on the terminal and in every report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from plimsoll.cli import main
from plimsoll.commands.schema import schema
from plimsoll.report.results import results_schema
from plimsoll.symptoms.recognise import Seen, recognise
from tests.support.broken_checkpoints import copy_damaged, model_entry, shipped, truncate_shard, variant_entry
from tests.support.hub_repositories import hub_entry
from tests.support.subsession import Outcome, run_suite

WIKI = "https://wiki.example.org/shards"
MINE = f"""
[[symptom]]
id = "shard-of-our-mirror"
title = "Our mirror cuts files"
cause = "the mirror ends a download after an hour"
next = "fetch it with get-model"
see = "{WIKI}"
explains = ["corrupt-file"]
[[symptom.sign]]
message = ["tiny-sym-ours/{{shard}}: is truncated"]
cause = "the mirror cut {{shard}} short"

[[claim]]
variants = ["tiny-llama/bf16"]
metric = "cold_load_time"
high = 0.000001
unit = "s"
source = "a wish"
replaces = true
"""


@pytest.fixture(scope="module")
def outcome(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Two models with a shard that was cut, of which a site knows why one was; a load that is slower than a claim; and
    weights that nobody may be asked for. By two workers, for what a worker finds has to reach its controller."""
    folder = tmp_path_factory.mktemp("symptoms")
    entries = [MINE, hub_entry("tiny-sym-hub", "plimsoll-tests/none")]
    for name in ("tiny-sym-ours", "tiny-sym-cut"):
        path = copy_damaged(trained["tiny-llama"], folder / name, truncate_shard)
        entries += [model_entry(shipped("tiny-llama"), name, path), variant_entry(name, ["bf16"])]
    catalogue = folder / "mine.toml"
    catalogue.write_text("\n".join(entries))
    wanted = "test_cold_load_time or test_loads_completely or test_free_disk"
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "SLURM_JOB_ID": ""}
    arguments = ("-m", "tiny", "-k", f"(tiny-sym or tiny-llama/bf16) and ({wanted})", "-n", "2")
    return run_suite(tmp_path_factory.mktemp("reports"), f"--catalogue={catalogue}", *arguments, env=env)


def found_in(outcome: Outcome, question: str, variant: str) -> list[dict[str, Any]]:
    return list(outcome.cell(question, variant)["diagnoses"])


def test_each_failure_and_each_skip_has_its_symptom(outcome: Outcome) -> None:
    assert outcome.verdict == "REJECTED", outcome.output
    jsonschema.Draft202012Validator(results_schema()).validate(outcome.results)
    expected = {
        ("test_loads_completely", "tiny-sym-cut/bf16"): "corrupt-file",
        ("test_loads_completely", "tiny-sym-ours/bf16"): "shard-of-our-mirror",
        ("test_cold_load_time", "tiny-llama/bf16"): "slow-load",
        ("test_loads_completely", "tiny-sym-hub/bf16"): "offline",
    }
    for (question, variant), symptom in expected.items():
        assert [each["symptom"] for each in found_in(outcome, question, variant)] == [symptom], variant


def test_a_check_that_passed_has_none(outcome: Outcome) -> None:
    passed = [cell for cell in outcome.results["cells"] if cell["outcome"] in ("pass", "marginal")]
    assert len(passed) >= 2
    assert [cell["diagnoses"] for cell in passed] == [[]] * len(passed)


def test_the_terminal_says_it_under_the_failure_and_at_the_end(outcome: Outcome) -> None:
    at_once = [line for line in outcome.output.splitlines() if line.startswith(("✗ tiny-sym-cut/bf16", "FAILED tiny"))]
    assert at_once
    assert at_once[0].endswith("(see docs/troubleshooting.md#corrupt-file)")
    lines = outcome.output[outcome.output.rindex("planned ") :]
    _, _, steps = lines.partition("what to do:\n")
    assert "  Loading took too long: " in steps
    assert "(docs/troubleshooting.md#slow-load)\n" in steps
    assert f"  Our mirror cuts files: fetch it with get-model ({WIKI})\n" in steps
    assert "(see docs/troubleshooting.md#offline)\n" in steps


def test_a_failure_in_pytests_own_words_has_cause_and_next_step_below_it(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    path = copy_damaged(trained["tiny-llama"], tmp_path / "tiny-sym-cut", truncate_shard)
    entry = model_entry(shipped("tiny-llama"), "tiny-sym-cut", path) + variant_entry("tiny-sym-cut", ["bf16"])
    (tmp_path / "mine.toml").write_text(entry)
    arguments = (f"--catalogue={tmp_path / 'mine.toml'}", "-v", "-m", "tiny", "-k", "tiny-sym-cut and loads_completely")
    shown = run_suite(tmp_path / "reports", *arguments).output
    _, _, below = shown.partition("- Diagnosis -")
    assert "A file of the checkpoint is damaged: the file has " in below
    assert "\n  next: " in below
    assert "\n  see:  docs/troubleshooting.md#corrupt-file\n" in below


def test_the_page_leads_from_each_row_to_the_symptom_without_a_network(outcome: Outcome) -> None:
    page = (outcome.folder / "report.html").read_text("utf-8")
    for symptom in ("corrupt-file", "slow-load", "offline", "shard-of-our-mirror"):
        assert f'id="symptom-{symptom}"' in page
        assert f'href="#symptom-{symptom}"' in page.partition("data-jsonblob")[0]
        assert f"#symptom-{symptom}" in page.partition("data-jsonblob")[2]
    outside = set(re.findall(r'href="(https?://[^"]+)"', page.partition("data-jsonblob")[0]))
    assert outside - {"https://pypi.python.org/pypi/pytest-html"} == {WIKI}


def test_the_summary_has_them_with_cause_and_next_step(outcome: Outcome) -> None:
    summary = (outcome.folder / "summary.md").read_text("utf-8")
    _, _, section = summary.partition("## Recognised, with the next step")
    assert "### A file of the checkpoint is damaged" in section
    assert "docs/troubleshooting.md#corrupt-file" in section
    assert "the mirror cut model-" in section


def test_explain_says_the_same_of_the_run_later(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(outcome.folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema("explain")).validate(said)
    by_symptom = {each["symptom"]: each for each in said["diagnoses"]}
    assert set(by_symptom) == {"corrupt-file", "slow-load", "offline", "shard-of-our-mirror"}
    assert by_symptom["shard-of-our-mirror"]["anchor"] == WIKI
    assert all("tiny-sym-cut/bf16" in check for check in by_symptom["corrupt-file"]["checks"])
    assert main(["explain", str(outcome.folder)]) == 0
    assert "  see:   docs/troubleshooting.md#slow-load\n" in capsys.readouterr().out


def test_neither_source_nor_what_was_compared_is_a_symptom(tmp_path: Path) -> None:
    arguments = ("-m", "tiny and node", "-k", "test_stack", "-p", "tests.support.plugins.meddling")
    outcome = run_suite(tmp_path, *arguments, env={"MEDDLE": "fail-with-words"})
    (found,) = outcome.results["cells"]
    assert (found["outcome"], found["diagnoses"]) == ("fail", [])


def test_an_accepted_run_shows_nothing_in_any_of_its_files(
    recorded: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(recorded.folder)]) == 0
    assert capsys.readouterr().out.startswith("nothing failed")
    texts = {path.name: path.read_text("utf-8") for path in (recorded.folder / "hosts").iterdir()}
    texts |= {name: (recorded.folder / name).read_text("utf-8") for name in ("summary.md", "results.json")}
    texts["terminal"] = recorded.output
    assert {name: recognise(Seen(text=text)) for name, text in texts.items()} == dict.fromkeys(texts, ())
