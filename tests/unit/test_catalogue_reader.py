"""What a catalogue comes to once it is read: groups, units, replacement, the order of files, where files are found."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass
from pathlib import Path

import pytest

from plimsoll.catalogue.entries import Quantization, WeightSource
from plimsoll.catalogue.marks import read_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import CatalogueError

ROOT = Path(__file__).parents[2]
FUTURE = Path(__file__).parents[1] / "support/catalogue" / "future.toml"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def containers(value: object) -> Iterator[object]:
    """Whatever in an entry, or in what it holds, can be changed in place."""
    inner: Iterable[object] = ()
    if isinstance(value, dict | list | set):
        yield value
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        inner = value
    elif is_dataclass(value):
        inner = (getattr(value, each.name) for each in fields(value))
    for each in inner:
        yield from containers(each)


def test_two_readings_share_nothing_that_can_be_changed() -> None:
    # Though the shipped files are parsed once in a process.
    first, second = read_catalogue(), read_catalogue()
    assert first == second
    those = {id(each) for each in containers(first)}
    assert len(those) > 1000
    assert those.isdisjoint(id(each) for each in containers(second))


def test_shipped_tiny_tier() -> None:
    variants = read_catalogue().variants
    tiny = {id_ for id_, variant in variants.items() if variant.tier.id == "tiny"}
    families = ("llama", "qwen", "mistral", "mixtral", "phi")
    assert tiny == {
        *(f"tiny-{family}/{scheme}" for family in families for scheme in ("bf16", "int8", "nf4", "nf4-dq")),
        "tiny-llama/fp32",
        "tiny-llama/fp16",
    }
    assert len(tiny) == 22
    assert variants["tiny-mixtral/nf4-dq"].all_marks == ("tiny", "mixtral", "nf4-dq")


def test_group_is_spelt_out_and_units_are_converted() -> None:
    catalogue = read_catalogue()
    variant = catalogue.variants["tiny-mistral/nf4"]
    assert variant.model is catalogue.models["tiny-mistral"]
    assert variant.tier is catalogue.tiers["tiny"]
    assert variant.quantization is Quantization.NF4
    assert variant.tier.load_deadline == 120.0
    assert variant.model.source is WeightSource.TRAINED
    generation = variant.model.generation
    assert (generation.max_new_tokens, generation.do_sample, generation.pad_token) == (32, False, "<|pad|>")
    assert "sliding_window" in variant.model.config
    assert variant.model.config["sliding_window"] is None
    assert str(variant.origin) == "catalogue/models/tiny.toml: variant[0]"
    (accuracy,) = variant.claims_on("taught_accuracy")
    assert (accuracy.low, accuracy.high, accuracy.unit) == (0.95, None, "1")
    (peak,) = variant.claims_on("ram_peak")
    assert (peak.high, peak.unit) == (256 * 2**20, "bytes")
    assert catalogue.tiers["gpu70b"].load_deadline == 45 * 60


def test_profiles_are_multiplied() -> None:
    profiles = read_catalogue().profiles
    one, four = profiles["h100-80g"], profiles["h100-80g-x4"]
    assert (one.count, one.memory, one.bandwidth, one.bf16_rate) == (1, 80 * 10**9, 3.35e12, 989.5e12)
    assert (four.count, four.memory, four.compute_capability) == (4, 80 * 10**9, "9.0")
    assert {"a100-40g", "a100-80g"} <= set(profiles)


def test_bears_the_large_models() -> None:
    catalogue = read_catalogue([FUTURE])
    assert list(catalogue.variants)[len(read_catalogue().variants) :] == [
        "future-llama-70b/nf4",
        "future-llama-70b/nf4-dq",
        "future-mistral-7b/nf4",
        "future-mistral-7b/nf4-dq",
        "future-llama-70b/nf4-eager",
    ]
    variant = catalogue.variants["future-llama-70b/nf4-eager"]
    assert variant.model.config["rope_parameters"]["rope_type"] == "llama3"
    assert variant.model.gated
    assert variant.model.recommended_generation == {"do_sample": True, "temperature": 0.6, "top_p": 0.9}
    assert variant.device_map == {"model": 0, "lm_head": "cpu"}
    assert variant.load_options == {"quantization_config": {"llm_int8_enable_fp32_cpu_offload": True}}
    assert [claim.high for claim in variant.claims_on("vram_peak")] == [46 * 2**30]
    assert len([claim for claim in variant.claims if claim.disputed]) == 1
    assert not catalogue.limits_are_shipped


def test_values_are_frozen_picklable_and_plain_json() -> None:
    catalogue = read_catalogue([FUTURE])
    assert pickle.loads(pickle.dumps(catalogue)) == catalogue  # noqa: S301  our own bytes
    variant = catalogue.variants["tiny-llama/bf16"]
    with pytest.raises(FrozenInstanceError):
        variant.attention = "eager"  # type: ignore[misc]
    json.dumps(asdict(variant), default=str)


def test_entries_of_a_group_share_no_mapping(tmp_path: Path) -> None:
    path = write(
        tmp_path / "my.toml",
        '[[variant]]\nmodels = ["tiny-llama", "tiny-qwen"]\nquantizations = ["nf4"]\nname = "storage"\ntier = "tiny"\n'
        'load_options = { quantization_config = { bnb_4bit_quant_storage = "uint8" } }\n',
    )
    variants = read_catalogue([path]).variants
    one, other = variants["tiny-llama/storage"].load_options, variants["tiny-qwen/storage"].load_options
    assert one == other
    assert one is not other
    assert one["quantization_config"] is not other["quantization_config"]


def test_replaced_entries_are_used_by_all_that_name_them(tmp_path: Path) -> None:
    tier = (
        '[[tier]]\nid = "tiny"\ndescription = "slow"\ndevice = "cpu"\ncold_rounds = 0\nwarm_rounds = 3\n'
        'load_deadline = "10 min"\nrequest_deadline = "1 h"\nreplaces = true\n'
    )
    variant = (
        '[[variant]]\nmodels = ["tiny-phi"]\nquantizations = ["int8"]\ntier = "tiny"\nattention = "eager"\n'
        "replaces = true\n"
    )
    first = write(tmp_path / "first.toml", tier)
    second = write(tmp_path / "second.toml", variant + tier.replace("10 min", "20 min"))
    catalogue = read_catalogue([first, second])
    assert catalogue.variants["tiny-llama/bf16"].tier.load_deadline == 20 * 60
    assert catalogue.variants["tiny-phi/int8"].attention == "eager"
    assert catalogue.variants["tiny-phi/nf4"].attention == "sdpa"
    assert list(catalogue.variants) == list(read_catalogue().variants), "a replaced entry keeps its place"


def test_replacing_claim_takes_only_its_own_variants_and_metric(tmp_path: Path) -> None:
    path = write(
        tmp_path / "my.toml",
        '[[claim]]\nvariants = ["tiny-*/int8"]\nmetric = "warm_load_time"\nhigh = 2\nunit = "min"\n'
        'source = "our slow CI"\nreplaces = true\n',
    )
    catalogue = read_catalogue([path])

    def highs(variant: str, metric: str) -> list[float | None]:
        return [claim.high for claim in catalogue.variants[variant].claims_on(metric)]

    assert highs("tiny-phi/int8", "warm_load_time") == [120.0]
    assert highs("tiny-phi/nf4", "warm_load_time") == [20.0]
    assert highs("tiny-phi/int8", "cold_load_time") == [20.0]
    without = path.read_text(encoding="utf-8").replace("replaces = true\n", "")
    catalogue = read_catalogue([write(path, without)])
    assert highs("tiny-phi/int8", "warm_load_time") == [20.0, 120.0]


def test_replacing_claim_leaves_a_disputed_one_on_record(tmp_path: Path) -> None:
    claim = '[[claim]]\nvariants = ["tiny-phi/nf4"]\nmetric = "load_time"\nhigh = {}\nunit = "s"\nsource = "x"\n'
    text = claim.format(1) + 'disputed = "no"\n' + claim.format(2) + claim.format(3) + "replaces = true\n"
    catalogue = read_catalogue([write(tmp_path / "my.toml", text)])
    assert [c.high for c in catalogue.claims if c.metric == "load_time"] == [1.0, 3.0]
    assert [c.high for c in catalogue.variants["tiny-phi/nf4"].claims_on("load_time")] == [3.0]


def test_only_the_limited_side_limits(tmp_path: Path) -> None:
    claim = (
        '[[claim]]\nvariants = ["tiny-phi/nf4"]\nmetric = "load_time"\nlow = 1\nhigh = 2\nunit = "min"\n'
        'source = "x"\nlimits = "{}"\n'
    )
    text = "".join(map(claim.format, ("both", "low", "high", "none")))
    catalogue = read_catalogue([write(tmp_path / "my.toml", text)])
    variant = catalogue.variants["tiny-phi/nf4"]
    found = [c for c in variant.claims if c.metric == "load_time"]
    assert [(c.low, c.high) for c in found] == [(60.0, 120.0)] * 4, "the document's figures stay whole"
    assert [(c.limit_low, c.limit_high) for c in found] == [(60.0, 120.0), (60.0, None), (None, 120.0), (None, None)]
    assert list(variant.claims_on("load_time")) == found[:3]


def test_records_limit_nothing_and_are_nothing_to_replace(tmp_path: Path) -> None:
    claim = '[[claim]]\nvariants = ["tiny-phi/*"]\nmetric = "load_time"\nhigh = {}\nunit = "s"\nsource = "x"\n'
    records = ("together = true", 'limits = "none"', 'conditions = { batch = 2, gpu = "h100" }', 'quote = "2 s"')
    text = "".join(claim.format(number) + line + "\n" for number, line in enumerate(records))
    catalogue = read_catalogue([write(tmp_path / "my.toml", text)])
    variant = catalogue.variants["tiny-phi/nf4"]
    assert [c.high for c in catalogue.claims if c.metric == "load_time"] == [0.0, 1.0, 2.0, 3.0]
    assert [c.high for c in variant.claims if c.metric == "load_time"] == [1.0, 2.0, 3.0], "not what is said of all"
    (limit,) = variant.claims_on("load_time")
    assert (limit.high, limit.quote) == (3.0, "2 s")
    assert [dict(c.conditions) for c in variant.claims if c.conditions] == [{"batch": 2, "gpu": "h100"}]
    for line in records[:3]:
        later = claim.format(1) + line + "\n" + claim.format(9) + "replaces = true\n"
        with pytest.raises(CatalogueError) as caught:
            read_catalogue([write(tmp_path / "my.toml", later)])
        assert [fault.what for fault in caught.value.faults] == [
            "there is no earlier claim on 'load_time' of these variants"
        ]
    kept = claim.format(1) + 'limits = "none"\n' + claim.format(2) + claim.format(9) + "replaces = true\n"
    variant = read_catalogue([write(tmp_path / "my.toml", kept)]).variants["tiny-phi/nf4"]
    assert [c.high for c in variant.claims if c.metric == "load_time"] == [1.0, 9.0]


def test_statements_are_kept_with_the_models_they_speak_of(tmp_path: Path) -> None:
    text = (
        '[[statement]]\nmodels = ["tiny-mi*", "tiny-phi"]\nsays = "small"\nsource = "x"\ndisputed = "not to an ant"\n'
    )
    statement = read_catalogue([write(tmp_path / "my.toml", text)]).statements[-1]
    assert statement.models == ("tiny-mistral", "tiny-mixtral", "tiny-phi")
    assert (statement.says, statement.source, statement.disputed) == ("small", "x", "not to an ant")


def test_disputed_claim_is_nothing_to_replace(tmp_path: Path) -> None:
    claim = '[[claim]]\nvariants = ["tiny-phi/nf4"]\nmetric = "load_time"\nhigh = 1\nunit = "s"\nsource = "x"\n'
    path = write(tmp_path / "my.toml", claim + 'disputed = "no"\n' + claim + "replaces = true\n")
    with pytest.raises(CatalogueError, match=r"claim\[1\]\.replaces: there is no earlier claim on 'load_time'"):
        read_catalogue([path])


def test_local_path_is_relative_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        '[[model]]\nid = "{id}"\nfamily = "llama"\narchitecture = "LlamaForCausalLM"\n'
        'source = "local"\npath = "{path}"\n'
        'licence = "MIT"\nconfig = {{ model_type = "llama" }}\ngeneration = {{ max_new_tokens = 4 }}\n'
    )
    folder = tmp_path / "catalogues"
    folder.mkdir()
    write(
        folder / "my.toml",
        "".join(
            text.format(id=id_, path=path)
            for id_, path in (("near", "../weights"), ("far", "/srv/weights"), ("home", "~/weights"))
        ),
    )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", "/home/me")
    models = read_catalogue([Path("my.toml")]).models
    assert models["near"].path == tmp_path / "weights"
    assert models["far"].path == Path("/srv/weights")
    assert models["home"].path == Path("/home/me/weights")


@pytest.mark.parametrize(
    ("digests", "message"),
    [
        (f'{{ "model.safetensors" = "{"0a" * 32}", "sub/x.json" = "{"f" * 64}" }}', ""),
        ('{ "model.safetensors" = "0123" }', "'0123' is not the 64 digits of a SHA-256"),
        (f'{{ "sub/../../x" = "{"0" * 64}" }}', "'sub/../../x' is not the name of a file in the folder"),
        (f'{{ "/etc/passwd" = "{"0" * 64}" }}', "'/etc/passwd' is not the name of a file in the folder"),
    ],
)
def test_an_entry_may_name_the_digests_of_its_files(digests: str, message: str, tmp_path: Path) -> None:
    path = write(
        tmp_path / "my.toml",
        '[[model]]\nid = "mine"\nfamily = "llama"\narchitecture = "LlamaForCausalLM"\n'
        'source = "local"\npath = "weights"\nlicence = "MIT"\nconfig = { model_type = "llama" }\n'
        f"generation = {{ max_new_tokens = 4 }}\nsha256 = {digests}\n",
    )
    if not message:
        assert dict(read_catalogue([path]).models["mine"].sha256) == tomllib.loads(f"x = {digests}")["x"]
        return
    with pytest.raises(CatalogueError, match=re.escape(message)):
        read_catalogue([path])


def test_files_are_named_with_their_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = b"\xef\xbb\xbf# from Windows\r\n" + FUTURE.read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "my.toml").write_bytes(content)
    assert read_catalogue().limits_are_shipped
    catalogue = read_catalogue([tmp_path / "my.toml", Path("my.toml")])
    *shipped, mine = catalogue.files
    assert all(file.shipped for file in shipped)
    assert {file.path for file in shipped} >= {ROOT / "catalogue" / "tiers.toml", ROOT / "catalogue/models/tiny.toml"}
    assert (mine.path, mine.shipped) == (tmp_path / "my.toml", False)
    assert mine.sha256 == hashlib.sha256(content).hexdigest()
    assert str(catalogue.models["future-mistral-7b"].origin) == "my.toml: model[1]"


def test_own_marks_select_a_variant(tmp_path: Path) -> None:
    text = '[[variant]]\nmodels = ["tiny-mixtral"]\nquantizations = ["bf16"]\nname = "x"\ntier = "tiny"\n'
    text += 'marks = ["mistral"]\n'
    variant = read_catalogue([write(tmp_path / "my.toml", text)]).variants["tiny-mixtral/x"]
    assert variant.all_marks == ("tiny", "mixtral", "bf16", "mistral")


def test_examples_of_the_documentation_are_read(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8"), re.DOTALL)
    files = [write(tmp_path / f"{number}.toml", block) for number, block in enumerate(blocks)]
    catalogue = read_catalogue(files, known_marks=read_marks(ROOT / "markers.ini"))
    assert [claim.high for claim in catalogue.variants["acme-7b/nf4-dq"].claims_on("vram_peak")] == [7 * 2**30]
    assert [claim.high for claim in catalogue.variants["tiny-phi/nf4"].claims_on("warm_load_time")] == [60.0]
