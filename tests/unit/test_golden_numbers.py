"""The golden numbers: shipped as they are computed, read with their digests, and judged by plain arithmetic."""

from __future__ import annotations

import json
import math
import shutil
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.golden import make
from benchmarks.golden.packing import NF4, Packing, dynamic_codes
from benchmarks.golden.weights import seven_bits
from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.files import shipped_root
from plimsoll.catalogue.golden import FOLDER, MANIFEST, GoldenModel, read_golden, weights_kind
from plimsoll.errors import PlimsollError
from plimsoll.host.protocol import ComputeGolden, GoldenLogits
from plimsoll.judge.golden import golden_errors, golden_request

GOLDEN = read_golden()
SHIPPED = shipped_root() / FOLDER


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the golden folder, in a catalogue of its own."""
    shutil.copytree(SHIPPED, tmp_path / FOLDER)
    return tmp_path / FOLDER


@dataclass(frozen=True)
class Checked:
    found: list[str]
    made: Mapping[str, make.Made]


@pytest.fixture(scope="module")
def checked() -> Checked:
    """A check of what ships, and what it computed for it, which takes long."""
    kept: list[Mapping[str, make.Made]] = []
    compute = make.make_all
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "make_all", lambda *told: kept.append(compute(*told)) or kept[-1])  # type: ignore[func-returns-value]
        found = make.check(SHIPPED)
    return Checked(found, kept[-1])


def test_shipped_numbers_are_those_of_a_fresh_computation(checked: Checked) -> None:
    assert checked.found == []
    assert checked.made.keys() == GOLDEN.models.keys()


@pytest.mark.parametrize("family", GOLDEN.models)
@pytest.mark.parametrize("quantization", Quantization)
def test_every_model_has_numbers_and_a_limit_with_a_source(family: str, quantization: Quantization) -> None:
    model = GOLDEN.models[family]
    numbers = model.expected(quantization)
    assert len(numbers) == len(model.asked(quantization)) * model.texts.tokens * model.config["vocab_size"]
    limit = GOLDEN.limit(family, quantization)
    assert 0 < limit.high < 1
    assert limit.source


@pytest.mark.parametrize("family", GOLDEN.models)
def test_the_long_text_goes_beyond_the_tiles_that_kernels_work_in(family: str) -> None:
    model = GOLDEN.models[family]
    kept = model.texts.long_kept
    assert len(model.expected_long()) == len(kept) * model.config["vocab_size"]
    assert (len(model.long_tokens), kept[-1]) == (model.texts.long, model.texts.long - 1)
    assert [*kept] == sorted({*kept})
    for low, high in ((0, 64), (64, 128), (128, 256), (256, model.texts.long)):
        assert sum(low <= place < high for place in kept) >= 8
    asked = {quantization for quantization in Quantization if golden_request(model, quantization, "cpu").long_tokens}
    assert asked == {quantization for quantization in Quantization if not quantization.is_quantized}


def test_numbers_are_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 2_000_000


def test_a_changed_number_is_found_by_its_digest(copied: Path) -> None:
    path = copied / "llama-plain.f32"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    model = read_golden(copied.parent).models["llama"]
    with pytest.raises(PlimsollError, match=r"llama-plain\.f32 has other content than was made; install"):
        model.expected(Quantization.FP32)


def test_a_missing_file_is_named(copied: Path) -> None:
    (copied / "phi-nf4.f32").unlink()
    with pytest.raises(PlimsollError, match=r"phi-nf4\.f32 cannot be read"):
        read_golden(copied.parent).models["phi"].expected(Quantization.NF4)


@pytest.mark.parametrize("damage", ["{", "[]", '{"family": {}}'])
def test_a_damaged_manifest_is_one_clear_error(copied: Path, damage: str) -> None:
    (copied / MANIFEST).write_text(damage)
    with pytest.raises(PlimsollError, match="holds no golden models"):
        read_golden(copied.parent)


def test_a_check_finds_other_numbers(copied: Path, checked: Checked) -> None:
    path = copied / "llama-plain.f32"
    numbers = np.fromfile(path, dtype="<f4")
    numbers[5] *= 1.001
    path.write_bytes(numbers.tobytes())
    manifest = json.loads((copied / MANIFEST).read_text())
    manifest["family"]["qwen"]["tokens"][0][0] ^= 1
    (copied / MANIFEST).write_text(json.dumps(manifest))
    assert make.differences(copied, checked.made) == [
        "llama-plain.f32: make.json has another digest of it",
        "llama-plain.f32: other logits",
        "qwen: other texts",
    ]


def test_the_hash_is_splitmix64() -> None:
    # The first outputs for a seed of zero, as the authors' C code gives them; the top seven bits of each are kept.
    reference = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    state = 0
    found = []
    for _ in reference:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        mixed = state
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        found.append(mixed ^ (mixed >> 31))
    assert found == reference
    assert set(seven_bits("any name", 5000).tolist()) == set(range(128))


def test_packing_follows_the_schemes() -> None:
    row = np.concatenate([np.linspace(-1, 1, 64), 8 * np.linspace(-1, 1, 64)])[None]
    plain = Packing("nf4").unpacked(row)
    assert set(plain[0, :64]) <= set(NF4)
    assert set(plain[0, 64:]) <= set(8 * NF4)
    assert np.abs(plain[0, :64] - row[0, :64]).max() <= np.diff(NF4).max() / 2
    integers = Packing("int8").unpacked(row) * 127 / 8
    assert np.allclose(integers, np.rint(integers), atol=1e-12)
    codes = dynamic_codes()
    assert len(codes) == 256
    assert codes[0] == -codes[-2]
    assert codes[-1] == 1


def answer(model: GoldenModel, request: ComputeGolden, factor: float = 1.0) -> GoldenLogits:
    """What a stack would send whose logits are the expected ones times a factor, made apart from the judge."""
    expected = np.array(model.expected(request.quantization)).reshape(
        len(request.tokens), model.texts.tokens, model.config["vocab_size"]
    )
    expected = (expected * factor).astype("<f4")
    texts = model.texts
    padded = [text[:count] for text, count in zip(expected, texts.padded, strict=False)]
    ways = {
        "whole": expected,
        "token by token": expected[:, texts.prefix : texts.prefix + texts.decoded],
        "padded": np.concatenate(padded),
    }
    long = np.array(model.expected_long()).reshape(len(texts.long_kept), model.config["vocab_size"])
    long = (long * factor).astype("<f4")
    long_ways = {"long": long, "long, token by token": long[-texts.long_decoded :]}
    told = [(one, ways) for one in request.attentions] + [(one, long_ways) for one in request.long_attentions]
    return GoldenLogits(
        weights_sha256=model.weights_sha256,
        ways={f"{one}, {way}": logits.tobytes() for one, those in told for way, logits in those.items()},
    )


@pytest.mark.parametrize("quantization", [Quantization.FP32, Quantization.NF4])
def test_error_is_the_relative_rms(quantization: Quantization) -> None:
    model = GOLDEN.models["llama"]
    request = golden_request(model, quantization, "cpu")
    assert set(golden_errors(model, request, answer(model, request)).ways.values()) == {0.0}
    errors = golden_errors(model, request, answer(model, request, 0.75))
    assert list(errors.ways.values()) == pytest.approx([0.25] * len(errors.ways))


def test_a_nan_is_the_worst_and_never_passes() -> None:
    model = GOLDEN.models["llama"]
    request = golden_request(model, Quantization.BF16, "cpu")
    sent = answer(model, request)
    broken = array("f", sent.ways["eager, padded"])
    broken[7] = math.nan
    errors = golden_errors(model, request, replace(sent, ways={**sent.ways, "eager, padded": broken.tobytes()}))
    assert errors.worst == "eager, padded"
    assert math.isnan(errors.ways[errors.worst])


def test_what_was_not_computed_is_no_answer() -> None:
    model = GOLDEN.models["llama"]
    request = golden_request(model, Quantization.BF16, "cpu")
    sent = answer(model, request)
    fewer = {way: logits for way, logits in sent.ways.items() if way != "sdpa, token by token"}
    with pytest.raises(PlimsollError, match=r"and was asked for .*sdpa, token by token"):
        golden_errors(model, request, replace(sent, ways=fewer))
    cut = {**sent.ways, "sdpa, whole": sent.ways["sdpa, whole"][:-4]}
    with pytest.raises(PlimsollError, match=r"sdpa, whole: 24575 logits, not 24576"):
        golden_errors(model, request, replace(sent, ways=cut))


def test_other_weights_are_told() -> None:
    model = GOLDEN.models["llama"]
    request = golden_request(model, Quantization.BF16, "cpu")
    with pytest.raises(PlimsollError, match="the weights of the golden llama came out otherwise here"):
        golden_errors(model, request, replace(answer(model, request), weights_sha256="0" * 64))


def test_plain_dtypes_share_their_numbers() -> None:
    assert {weights_kind(q) for q in Quantization} == {"plain", "int8", "nf4", "nf4-dq"}
