"""What cannot be a catalogue, or a run, is told at once and in words: no hang, no infinity, no traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plimsoll import cli
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import CatalogueError, PlimsollError
from plimsoll.evidence.reader import read_run
from plimsoll.verdict.waivers import read_waivers
from tests.support.run_events import SOON

MODEL = """
[[model]]
id = "{id}"
family = "{family}"
architecture = "LlamaForCausalLM"
source = "hub"
hub_id = "a/b"
licence = "x"
{more}
config = {{ model_type = "llama", hidden_size = {hidden}, num_hidden_layers = {layers} }}
generation = {{ max_new_tokens = 8 }}
"""


def model(id_: str = "mine", *, family: str = "llama", hidden: str = "64", layers: str = "2", more: str = "") -> str:
    return MODEL.format(id=id_, family=family, hidden=hidden, layers=layers, more=more)


def faults_of(folder: Path, text: str) -> list[str]:
    path = folder / "mine.toml"
    path.write_text(text)
    with pytest.raises(CatalogueError) as caught:
        read_catalogue([path])
    return [str(fault).partition("mine.toml: ")[2] for fault in caught.value.faults]


@pytest.mark.parametrize("size", ["0", "-1", "1_000_000_000", "1.5"])
def test_sizes_that_no_model_has_are_refused(tmp_path: Path, size: str) -> None:
    [layers] = faults_of(tmp_path, model(layers=size))
    assert layers.startswith("model[0].config.num_hidden_layers: must be a whole number from 1 to 10000, not ")
    [hidden] = faults_of(tmp_path, model(hidden=size))
    assert hidden.startswith("model[0].config.hidden_size: must be a whole number from 1 to 10000000, not ")


@pytest.mark.parametrize("packing", ['"int8"', "{}", '{ quant_method = "bitsandbytes" }', "[4]"])
def test_a_quantization_config_that_packs_nothing_is_refused(tmp_path: Path, packing: str) -> None:
    [fault] = faults_of(tmp_path, model(layers=f"2, quantization_config = {packing}"))
    assert fault.startswith("model[0].config.quantization_config: ")
    assert fault.endswith("; leave it out where the weights are in floats")


def test_a_model_cannot_be_tuned_from_itself(tmp_path: Path) -> None:
    text = (
        model("a", more='tuned_from = "b"') + model("b", more='tuned_from = "c"') + model("c", more='tuned_from = "a"')
    )
    assert faults_of(tmp_path, text)[0] == (
        "model[0].tuned_from: goes round in a circle: a from b from c from a; a base model has none"
    )
    assert len(faults_of(tmp_path, model("a", more='tuned_from = "a"'))) == 1


def test_a_limit_that_becomes_infinite_is_refused(tmp_path: Path) -> None:
    claim = (
        '[[claim]]\nvariants = ["tiny-llama/nf4"]\nmetric = "cold_load_time"\nhigh = 1e308\nunit = "h"\nsource = "x"\n'
    )
    assert faults_of(tmp_path, claim)[0].startswith("claim[0].high: is too large: 1e+308 h is infinite in s")


def test_the_plan_refuses_what_pytest_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(model(family="lama"))
    for command in ("plan", "audit"):
        assert cli.main([command, f"--catalogue={path}", "-m", "tiny"]) == 2
        assert "unknown family 'lama'; did you mean 'llama'?" in capsys.readouterr().err


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.toml"
    os.mkfifo(path)
    return path


def test_pipes_and_devices_are_no_files(pipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(CatalogueError, match="it is no file, but a pipe or a device"):
            read_catalogue([path])
        with pytest.raises(PlimsollError, match="it is no file, but a pipe or a device"):
            read_waivers(path, SOON)
        with pytest.raises(PlimsollError, match="no evidence in"):
            read_run(path)
    evidence = tmp_path / "run" / "evidence.jsonl"
    evidence.parent.mkdir()
    os.mkfifo(evidence)
    assert cli.main(["report", str(evidence.parent)]) == 2
    assert "it is no file" in capsys.readouterr().err
    large = tmp_path / "large.toml"
    large.touch()
    os.truncate(large, 2**40)
    with pytest.raises(CatalogueError, match="at most 67108864 are read"):
        read_catalogue([large])
