"""A model of one's own: README's example is accepted as it stands, and damaged copies are red for their own reasons."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.server.loading import load
from tests.support.broken_checkpoints import copy_damaged, model_entry, rewrite, shipped, toml_value, variant_entry
from tests.support.english import english_in
from tests.support.hub_repositories import hub_catalogue, hub_entry
from tests.support.hub_server import Repository, serving
from tests.support.random_checkpoints import load_spec
from tests.support.subsession import ROOT, Outcome, run_suite


@pytest.fixture(scope="module")
def english(trained: dict[str, Path], built_cache: Path) -> Path:
    return english_in(built_cache / "tests", trained["tiny-llama"])


def readme_example(path: Path) -> str:
    """README's catalogue file, with a small checkpoint on this disk in acme's place and a tier that needs no GPU."""
    page = (ROOT / "README.md").read_text()
    (example,) = re.findall(r"```toml\n(\[\[model\]\]\n.*?)```", page, re.DOTALL)
    config = "".join(f"{key} = {toml_value(value)}\n" for key, value in shipped("tiny-llama").config.items())
    for pattern, instead in (
        (r'source = "hub".*\nhub_id = .*\n', f'source = "local"\npath = "{path}"\n'),
        (r"(?s)(\[model\.config\].*?\n).*?\n\n", rf"\g<1>{config}\n"),
        (r'tier = "gpu8b"', 'tier = "tiny"'),
    ):
        example, count = re.subn(pattern, instead, example)
        assert count == 1, f"README's example has {count} of {pattern}"
    return str(example)


def test_readmes_example_is_accepted(english: Path, tmp_path: Path) -> None:
    catalogue = tmp_path / "my.toml"
    catalogue.write_text(readme_example(english))
    outcome = run_suite(tmp_path / "reports", "-m", "tiny", "-k", "acme-7b", f"--catalogue={catalogue}")
    assert outcome.verdict == "ACCEPTED", outcome.output
    assert outcome.status == 0
    own = {
        judgement["metric"]
        for cell in outcome.results["cells"]
        for judgement in cell["judgements"]
        if "the suite's own" in judgement["source"]
    }
    asked = Counter(event["variant"] for event in outcome.events if event.get("request") == "Generate")
    # All answers, long ones, the same again, and short ones: two checks judge the long ones.
    assert set(asked.values()) == {4}
    # What neither the entry nor the arithmetic limits exactly has a limit that says whose it is.
    assert own >= {
        "cold_load_time",
        "warm_load_time",
        "ram_peak",
        "ram_after",
        "ram_returned",
        "repetition",
        "cache_divergence",
        "batch_divergence",
        "quantized_divergence",
        "nll_per_byte",
        "general_answers",
        "ended_share",
    }


def test_the_reference_is_never_beside_the_model(english: Path, tmp_path: Path) -> None:
    catalogue = tmp_path / "my.toml"
    catalogue.write_text(readme_example(english))
    selection = "acme-7b and nf4-dq and (test_loads_completely or test_close_to_16_bit or test_process_is_gone)"
    outcome = run_suite(tmp_path / "reports", "-m", "tiny", "-k", selection, f"--catalogue={catalogue}")
    assert outcome.verdict == "ACCEPTED", outcome.output
    alive: dict[int, str] = {}
    beside_reference = set()
    for event in outcome.events:
        if event["event"] != "host":
            continue
        if event["state"] == "started":
            alive[event["pid"]] = event["variant"]
        elif event["state"] in {"closed", "died", "timeout"}:
            alive.pop(event["pid"], None)
        if any(name.endswith("/reference") for name in alive.values()):
            beside_reference |= {name for name in alive.values() if not name.endswith("/reference")}
    assert any(event.get("variant") == "acme-7b/reference" for event in outcome.events)
    assert not beside_reference
    loads = [event for event in outcome.events if event["event"] == "load"]
    assert len(loads) == 1, "the packed model was loaded again to be compared"


def test_one_reference_and_one_host_to_compare_serve_all_variants_of_a_model(tmp_path: Path) -> None:
    selection = "tiny-qwen and (nf4 or int8) and (test_loads_completely or test_close_to_16_bit)"
    outcome = run_suite(tmp_path / "reports", "-m", "tiny", "-k", selection)
    assert outcome.verdict == "ACCEPTED", outcome.output
    started = Counter(event["variant"] for event in outcome.events if event.get("state") == "started")
    assert started.pop("tiny-qwen/reference") == started.pop("comparison") == 1
    assert {name: outcome.cell("test_close_to_16_bit", name)["outcome"] for name in started} == {
        "tiny-qwen/int8": "pass",
        "tiny-qwen/nf4": "pass",
        "tiny-qwen/nf4-dq": "pass",
    }


def test_weights_that_turn_out_packed_have_no_reference_and_say_so(trained: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    made = load(load_spec(trained["tiny-llama"], "llama", Quantization.NF4), "as-is")
    made.whole.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    catalogue = hub_catalogue(tmp_path, hub_entry("tiny-hub-packed", "plimsoll-tests/packed", ("nf4",)))
    selection = "tiny-hub-packed and (test_loads_completely or test_weights_are or test_close_to_16_bit)"
    with serving({"plimsoll-tests/packed": Repository(folder=folder)}) as server:
        environment = {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": ""}
        reports = tmp_path / "reports"
        outcome = run_suite(reports, f"--catalogue={catalogue}", "-m", "tiny", "-k", selection, env=environment)
    cell = outcome.cell("test_close_to_16_bit", "tiny-hub-packed/nf4")
    assert (cell["outcome"], cell["code"]) == ("skip", "packed"), outcome.output
    assert "weights of tiny-hub-packed that were saved packed" in cell["reason"]
    assert "name quantization_config in the entry's config" in outcome.output
    assert outcome.cell("test_weights_are_the_checkpoints", "tiny-hub-packed/nf4")["outcome"] == "pass"
    assert not any(event.get("variant") == "tiny-hub-packed/reference" for event in outcome.events)
    assert outcome.verdict == "INCOMPLETE"


def edit_json(name: str, **fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return change


def swap_layers(folder: Path) -> None:
    """The weights of the two layers change places."""
    found: dict[str, bytes] = {}

    for shard in sorted(folder.glob("*.safetensors")):
        raw = shard.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            found[name] = raw[8 + length + begin : 8 + length + end]

    def change(name: str, entry: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        other = name.replace(".layers.0.", ".layers.X.").replace(".layers.1.", ".layers.0.")
        return entry, found.get(other.replace(".layers.X.", ".layers.1."), content)

    rewrite(folder, change)


def permute_tokenizer(folder: Path) -> None:
    """Each token has the id of another."""
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    vocabulary = data["model"]["vocab"]
    ordinary = [token for token, number in vocabulary.items() if number > 2]
    numbers = [vocabulary[token] for token in ordinary]
    vocabulary.update(zip(ordinary, numbers[7:] + numbers[:7], strict=True))
    path.write_text(json.dumps(data))


def end_elsewhere(folder: Path) -> None:
    """Generation ends at a token that no turn ends with."""
    edit_json("generation_config.json", eos_token_id=5)(folder)


DAMAGE: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "layers": (swap_layers, "test_reads_plain_english", "nll_per_byte"),
    "tokenizer": (permute_tokenizer, "test_reads_plain_english", "nll_per_byte"),
    "end": (end_elsewhere, "test_turns_end_where_generation_ends", "eos_token_id"),
    "activation": (edit_json("config.json", hidden_act="gelu"), "test_is_the_entrys_model", "hidden_act"),
    "positions": (
        edit_json("config.json", rope_parameters={"rope_type": "default", "rope_theta": 500000.0}),
        "test_is_the_entrys_model",
        "rope_theta",
    ),
}


@pytest.fixture(scope="module")
def damaged(english: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("damaged")
    entries, model = [], shipped("tiny-llama")
    model = replace(model, config={**model.config, "hidden_act": "silu"})
    for name, (damage, _, _) in DAMAGE.items():
        copy = copy_damaged(english, folder / name, damage)
        entries += [
            model_entry(model, f"damaged-{name}", copy),
            variant_entry(f"damaged-{name}", ["bf16"]),
        ]
    catalogue = folder / "damaged.toml"
    catalogue.write_text("\n".join(entries))
    questions = "test_is_the_entrys_model or test_turns_end or test_reads_plain or test_answers_and_ends"
    return run_suite(
        tmp_path_factory.mktemp("reports"),
        f"--catalogue={catalogue}",
        "-m",
        "tiny",
        "-k",
        f"damaged- and ({questions})",
    )


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_red_for_its_own_reason(damaged: Outcome, name: str) -> None:
    _, question, reason = DAMAGE[name]
    assert damaged.verdict == "REJECTED", damaged.output
    cell = damaged.cell(question, f"damaged-{name}/bf16")
    assert cell["outcome"] == "fail", damaged.output
    assert reason in cell["reason"]


def test_answers_that_never_end_are_red(damaged: Outcome) -> None:
    cell = damaged.cell("test_answers_and_ends", "damaged-end/bf16")
    assert cell["outcome"] == "fail"
    assert "ended_share 0" in cell["reason"]
