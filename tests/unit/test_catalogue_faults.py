"""Every fault of every file in one error, with file, key path and the nearest known name: whole messages, verbatim."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.marks import read_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import CatalogueError

HERE = Path(__file__).parents[1] / "support"
MARKS = read_marks(HERE.parents[1] / "markers.ini")
GOOD = (HERE / "catalogue" / "good.toml").read_text(encoding="utf-8")
SINGLE_FAULTS = tomllib.loads((HERE / "catalogue" / "faults.toml").read_text(encoding="utf-8"))["case"]


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def faults_of(*texts: str | bytes) -> list[str]:
    """The faults of files my.toml, my1.toml, ... below the working directory, as a user reads them."""
    paths = []
    for number, text in enumerate(texts):
        path = Path.cwd() / f"my{number or ''}.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        paths.append(path)
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(paths, known_marks=MARKS)
    faults = [str(fault) for fault in caught.value.faults]
    plural = "fault" if len(faults) == 1 else "faults"
    assert str(caught.value) == "\n".join([f"{len(faults)} {plural} in the catalogue:", *(f"  {f}" for f in faults)])
    return faults


def changed(old: str, new: str) -> str:
    """GOOD with one change."""
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def table(kind: str) -> str:
    """The one table of a kind in GOOD."""
    return "".join(f"[[{part}" for part in GOOD.split("[[")[1:] if part.startswith(kind))


def test_good_file_is_good() -> None:
    path = Path("good.toml")
    path.write_text(GOOD, encoding="utf-8")
    assert "my-llama/nf4" in read_catalogue([path], known_marks=MARKS).variants


def test_many_different_faults_of_one_file() -> None:
    text = """
[[model]]
id = "my-llama"
family = "lama"
architecture = "LlamaForCausalLM"
source = "hub"
licnce = "MIT"
gated = "yes"
generation = { max_new_tokens = 0 }
[model.config]
model_type = "llama"
rope_parameters = { rope_theta = inf }

[[variant]]
models = ["my-lama"]
quantizations = ["bf16", "nf44"]
tier = "tiny"

[[variant]]
models = ["my-llama"]
quantizations = ["bf16"]
tier = "tinny"
load_options = { quantization_config = { load_in_4_bit = true } }

[[claim]]
variants = ["my-llama/*", "tiny-lama/*"]
metric = "cold_load_tme"
low = 20
high = 10
unit = "sec"
source = "hearsay"
"""
    assert faults_of(text) == [
        "my.toml: model[0].generation.max_new_tokens: must be more than 0, not 0",
        "my.toml: model[0].gated: must be true or false, not 'yes'",
        "my.toml: model[0].licnce: unknown key 'licnce'; did you mean 'licence'?",
        "my.toml: model[0].hub_id: is required, because source is 'hub'",
        "my.toml: model[0].config.rope_parameters.rope_theta: must be finite, not inf",
        "my.toml: model[0].family: unknown family 'lama'; did you mean 'llama'?",
        "my.toml: variant[0].quantizations[1]: unknown quantization 'nf44'; did you mean 'nf4'?",
        "my.toml: variant[0].models[0]: unknown model 'my-lama'; did you mean 'my-llama'?",
        "my.toml: variant[1].load_options.quantization_config.load_in_4_bit: is not a field of BitsAndBytesConfig, "
        "which would ignore it without a word; did you mean 'load_in_4bit'?",
        "my.toml: variant[1].load_options.quantization_config: has no meaning for bf16, which is not quantized",
        "my.toml: variant[1].tier: unknown tier 'tinny'; did you mean 'tiny'?",
        "my.toml: claim[0].metric: unknown metric 'cold_load_tme'; did you mean 'cold_load_time'?",
        "my.toml: claim[0].unit: unknown unit 'sec'; known: s, ms, min, h",
        "my.toml: claim[0].low: is 20, which is above high, 10",
        "my.toml: claim[0].variants[1]: 'tiny-lama/*' matches no variant; did you mean 'tiny-llama/*'?",
    ]


def test_faults_of_all_files_come_together() -> None:
    assert faults_of(
        "[[model]\n",
        changed('tier = "tiny"', 'tier = "tinny"'),
        b'[[tier]]\nid = "caf\xe9"\n',
        "",
        '[[modle]]\nid = "x"\n',
    ) == [
        "my.toml: line 1, column 8: is not valid TOML: Expected ']]' at the end of an array declaration",
        "my2.toml: line 2: is not UTF-8 text; save the file as UTF-8",
        "my1.toml: variant[0].tier: unknown tier 'tinny'; did you mean 'tiny'?",
        "my3.toml: is empty; remove it, or add a [[model]]",
        "my4.toml: unknown table 'modle'; did you mean 'model'?",
    ]


def test_files_that_cannot_be_read() -> None:
    Path("folder").mkdir()
    with pytest.raises(CatalogueError) as caught:
        read_catalogue([Path("absent.toml"), Path.cwd() / "folder"])
    assert str(caught.value) == (
        "2 faults in the catalogue:\n"
        "  absent.toml: there is no such file\n"
        "  folder: is a folder; name the TOML files in it, one by one"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a = 1\na = 2\n", "my.toml: line 2, column 6: is not valid TOML: Cannot overwrite a value"),
        ("a = [", "my.toml: end of document: is not valid TOML: Invalid value"),
        ("a = " + "[" * 100_000, "my.toml: is nested too deeply to be read"),
    ],
)
def test_broken_toml(text: str, fault: str) -> None:
    assert faults_of(text) == [fault]


def test_number_of_thousands_of_digits_is_a_fault_not_a_traceback() -> None:
    (fault,) = faults_of("a = " + "9" * 10_000)
    assert fault.startswith("my.toml: is not valid TOML: Exceeds the limit (4300 digits) for integer string conversion")


@pytest.mark.parametrize("case", SINGLE_FAULTS, ids=lambda case: case["new"].strip()[:40] or f"no {case['old'][:40]}")
def test_single_fault(case: dict[str, Any]) -> None:
    assert faults_of(changed(case["old"], case["new"])) == [f"my.toml: {fault}" for fault in case["faults"]]


def test_table_that_should_be_an_array() -> None:
    assert faults_of('[tier]\nid = "x"\n') == ["my.toml: tier: must be an array of tables, not a table; write [[tier]]"]
    assert faults_of("tier = [1]\n") == ["my.toml: tier[0]: must be a table, not 1"]


def test_shape_fault_hides_no_other_fault_and_brings_up_none() -> None:
    text = changed('licence = "MIT"', "licence = 1\ngated = true").replace('hub_id = "me/my-llama"', "hub_id = 5")
    assert faults_of(text) == [
        "my.toml: model[0].hub_id: must be text, not 5",
        "my.toml: model[0].licence: must be text, not 1",
    ]


def test_duplicate_ids_across_files_and_within_one() -> None:
    assert faults_of(GOOD, table("model"), table("variant") * 2) == [
        "my1.toml: model[0]: model 'my-llama' is declared already, in my.toml: model[0]; "
        "give it another id, or say replaces = true",
        "my2.toml: variant[0]: variant 'my-llama/nf4' is declared already, in my.toml: variant[0]; "
        "give it another id, or say replaces = true",
        "my2.toml: variant[1]: variant 'my-llama/nf4' is declared already, in my2.toml: variant[0]; "
        "give it another id, or say replaces = true",
    ]


def test_vocabulary_of_recipe_and_config_must_agree() -> None:
    recipe = '[model.recipe]\ncorpus = "tiny"\nvocabulary = 512\nsteps = 1\nbatch = 1\nlearning_rate = 0.1\nseed = 0\n'
    text = table("model").replace('source = "hub"\nhub_id = "me/my-llama"', 'source = "trained"') + recipe
    assert faults_of(text) == ["my.toml: model[0].config.vocab_size: must equal recipe.vocabulary, 512, not 'nothing'"]
    assert faults_of(text.replace('"llama" }', '"llama", vocab_size = 1024 }')) == [
        "my.toml: model[0].config.vocab_size: must equal recipe.vocabulary, 512, not 1024"
    ]


def test_text_of_a_file_cannot_steer_a_terminal() -> None:
    (fault,) = faults_of(changed('tier = "tiny"', 'tier = "\\u001b[2J"'))
    assert fault.startswith(r"my.toml: variant[0].tier: unknown tier '\x1b[2J'")
    (fault,) = faults_of(GOOD + '"\\u001b[2J" = 1\n')
    assert "\x1b" not in fault
