"""`plan`, `audit` and `headroom` without torch: answered from what ships, or one line says what is missing."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.reader import read_catalogue
from plimsoll.plan.prediction_keys import followed_versions
from plimsoll.plan.shipped import public
from tests.support.light import light, link_dependencies
from tests.support.subsession import ROOT

CATALOGUE = read_catalogue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment, which is what it says: torch and its kin cannot be imported in it."""
    found = link_dependencies(tmp_path_factory.mktemp("light") / "packages")
    for name in ("torch", "transformers", "accelerate", "bitsandbytes", "pytest"):
        done = light(found, "-c", f"import {name}")
        assert f"No module named '{name}'" in done.stderr
    return found


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A catalogue with a copy of a shipped model that has one layer less, so that nothing of it ships."""
    shipped = (ROOT / "catalogue" / "models" / "llama.toml").read_text("utf-8")
    (model,) = [text for text in shipped.split("[[model]]") if 'id = "llama-3.2-1b"' in text]
    model = model.replace('"llama-3.2-1b"', '"own-llama"').replace("num_hidden_layers = 16", "num_hidden_layers = 15")
    assert "own-llama" in model
    assert "num_hidden_layers = 15" in model
    variant = '[[variant]]\nmodels = ["own-llama"]\nquantizations = ["nf4"]\ntier = "gpu1b"\n'
    path = tmp_path / "own.toml"
    path.write_text(f"[[model]]{model.partition('[[variant]]')[0]}\n{variant}")
    return path


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = light(folder, "-m", "plimsoll", *arguments)
    assert "Traceback" not in done.stderr
    return done


def printed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def test_every_reference_machine_is_planned(folder: Path) -> None:
    done = command(folder, "plan", "--profile", "*", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = printed(done)
    assert {plan["profile"] for plan in found["plans"]} == set(CATALOGUE.profiles)
    rows = [row for plan in found["plans"] for row in plan["rows"]]
    assert {row["variant"] for row in rows} == set(CATALOGUE.variants)
    assert {row["decision"] for row in rows} == {"run", "skip"}
    assert all(row["needed_bytes"] for row in rows if row["device"] == "cuda")
    assert {row["code"] for row in rows if row["decision"] == "skip"}.isdisjoint({"package"})
    assert found["predictions"]["predicted_here"] is False


@pytest.mark.parametrize("how", ["spread", "each", "first"])
def test_gpus_are_dealt_without_torch_too(folder: Path, how: str) -> None:
    done = command(folder, "plan", "-m", "gpu70b", "--profile", "h100-80g-x8", "--gpus", how, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert {row["decision"] for row in printed(done)["plans"][0]["rows"]} <= {"run", "skip"}


def test_the_plan_says_where_its_figures_come_from(folder: Path) -> None:
    done = command(folder, "plan", "-m", "gpu8b", "--profile", "h100-80g")
    stack = ", ".join(f"{name} {public(version)}" for name, version in followed_versions().items())
    assert done.stdout.splitlines()[-1] == f"predictions as shipped with Plimsoll, made with {stack}"


def test_documents_are_audited(folder: Path) -> None:
    """Facts that documents state of real models are confirmed, so the figures are the right ones."""
    done = command(folder, "audit", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = printed(done)
    counts = Counter(finding["status"] for finding in found["findings"])
    assert counts["confirmed"] > 40
    assert counts["impossible"] > 10
    assert "not installed" not in done.stdout
    assert found["predictions"]["predicted_here"] is False


def test_the_usual_training_is_told(folder: Path) -> None:
    done = command(folder, "headroom", "llama-3.1-8b", "--profile", "h100-80g")
    assert (done.returncode, done.stderr) == (0, "")
    assert "largest safe batch: " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("predictions as shipped with Plimsoll")


MISSING = (
    "no prediction of it ships, and predicting needs torch and transformers and accelerate, which are not installed; "
    f"install the extra: pip install -e '{ROOT}[models]'\n"
)


def test_what_does_not_ship_is_not_guessed(folder: Path, own: Path) -> None:
    alone = command(folder, "plan", "-m", "gpu1b", "--profile", "h100-80g", "--catalogue", str(own))
    assert alone.returncode == 6
    assert alone.stderr.endswith(f"own-llama/nf4: {MISSING}")
    assert alone.stderr.count("\n") == 1
    told = next(line for line in alone.stdout.splitlines() if line.startswith("own-llama/nf4"))
    assert " error " in told
    assert "llama-3.2-1b/nf4 " in alone.stdout, "what ships is planned all the same"


ALTERED = {
    "skip": 'quantizations = ["int8"]\nload_options.quantization_config = { llm_int8_skip_modules = ["lm_head"] }',
    "eager": 'quantizations = ["bf16"]\nattention = "eager"',
    "rope": 'quantizations = ["bf16"]\nconfig.rope_parameters = { rope_type = "default", rope_theta = 9.0 }',
    "auto": 'quantizations = ["nf4"]\ndevice_map = "auto"\nload_options = { max_memory = { 0 = "20GB" } }',
}
"""Ways to load a shipped model that no shipped entry has."""
ON_GPU = ("model.embed_tokens", "model.rotary_emb", "model.layers", "model.norm")
MAPPED = "\n".join(
    ('quantizations = ["bf16"]', *(f'device_map."{name}" = 0' for name in ON_GPU), 'device_map.lm_head = "cpu"')
)


def test_a_ladder_says_what_is_missing_and_nothing_of_the_model(folder: Path, own: Path) -> None:
    """No rung worked, it said, and exited as for a model that cannot be loaded."""
    for arguments in (["tiny-llama"], ["own-llama", "--catalogue", str(own), "--weights", "synthetic", "--json"]):
        done = command(folder, "ladder", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "plimsoll: error: trying to load a model needs torch and transformers and accelerate, which are not "
            f"installed; install the extra: pip install -e '{ROOT}[models]'\n"
        )


def test_an_altered_entry_is_not_given_the_figures_of_the_shipped_one(folder: Path, tmp_path: Path) -> None:
    """Where parts go changes no prediction, and is reckoned here; all else is another model to predict."""
    path = tmp_path / "own.toml"
    shared = 'models = ["llama-3.1-8b"]\ntier = "gpu8b"'
    variants = {**ALTERED, "mapped": MAPPED}
    path.write_text("\n".join(f'[[variant]]\nname = "{name}"\n{shared}\n{rest}' for name, rest in variants.items()))
    done = command(folder, "plan", "-m", "gpu8b", "--profile", "h100-80g", "--catalogue", str(path), "--json")
    assert done.returncode == 6
    rows = {row["variant"]: row for row in printed(done)["plans"][0]["rows"]}
    refused = [name for name, row in rows.items() if row["decision"] == "error"]
    assert sorted(refused) == sorted(f"llama-3.1-8b/{name}" for name in ALTERED)
    whole, mapped = rows["llama-3.1-8b/bf16"], rows["llama-3.1-8b/mapped"]
    assert mapped["decision"] == "run"
    assert 0 < mapped["needed_bytes"] < whole["needed_bytes"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("headroom", "own-llama/nf4", "--profile", "h100-80g"), "own-llama/nf4: "),
        (("headroom", "llama-3.1-8b", "--profile", "h100-80g", "--bridge", "3M"), "llama-3.1-8b/bf16: "),
    ],
)
def test_a_training_that_does_not_ship_is_one_line(
    folder: Path, own: Path, arguments: tuple[str, ...], what: str
) -> None:
    done = command(folder, *arguments, "--catalogue", str(own))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"plimsoll: error: {what}{MISSING}"


def test_an_audit_of_what_does_not_ship_gives_no_verdict(folder: Path, own: Path) -> None:
    claim = '[[claim]]\nvariants = ["own-llama/nf4"]\nmetric = "parameter_count"\nlow = 1\nhigh = 2\nunit = "1"\n'
    own.write_text(f'{own.read_text()}\n{claim}source = "a leaflet"\n')
    done = command(folder, "audit", "-m", "gpu1b", "--catalogue", str(own))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"own-llama/nf4: {MISSING}")


def test_another_release_of_what_was_followed_makes_them_void(folder: Path, tmp_path: Path) -> None:
    """transformers alone is installed, in a release whose code would be followed differently."""
    other = tmp_path / "transformers-5.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 5.0.1\n")
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    done = command(tmp_path, "plan", "-m", "gpu8b", "--profile", "h100-80g")
    assert (done.returncode, done.stdout) == (6, "")
    expected = public(followed_versions()["transformers"])
    assert (
        f"the predictions that ship do not count here (the installed stack is another: transformers 5.0.1, and not "
        f"{expected})"
    ) in done.stderr
    assert done.stderr.count("\n") == 1
