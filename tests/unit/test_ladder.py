"""The rungs of the ladder, what an earlier failure implies, and the entry that is written."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.entries import Quantization, Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.host.failures import HostDied, HostError, Raised
from plimsoll.host.protocol import Completion, Generate, Generated, Load, Unload
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.specify import load_spec
from plimsoll.ladder.attempt import Attempt, RungOutcome, failed, implied, refused
from plimsoll.ladder.climb import Climb, Ladder, climb, why_implied
from plimsoll.ladder.document import conclusion, lines_of, to_json
from plimsoll.ladder.entry import variant_table
from plimsoll.ladder.rungs import RUNGS, Room, Rung, best_dtype, rung, variant_on
from plimsoll.plan.asking import Named
from plimsoll.plan.cells import Selection, make_plan
from plimsoll.symptoms.recognise import Diagnosis
from tests.support.load_reports import load_report

ROOT = Path(__file__).parents[2]
ROOM = Room(gpus=(80 * 10**9,), ram=64 * 10**9, weights=8 * 10**9)


@pytest.fixture(scope="module")
def phi() -> Variant:
    return read_catalogue().variants["phi-3-mini-4k-instruct/bf16"]


def _rung(name: str, device: str = "cuda", dtype: str = "bfloat16", **given: Any) -> Rung:
    return rung(name, device, ROOM, dtype, "/scratch", given)


def _ladder(base: Variant, **changes: Any) -> Ladder:
    def never(*_: Any) -> Any:
        raise AssertionError("no host is started in a unit test")

    fields: dict[str, Any] = {
        "base": base,
        "device": "cuda",
        "room": ROOM,
        "given": {},
        "scratch": "/scratch",
        "start": never,
        "specify": never,
        "gate": lambda _: None,
    }
    return Ladder(**{**fields, **changes})


def _host_error(mistake: LoadFailed) -> HostError:
    raised = Raised(kind="LoadFailed", message=str(mistake), traceback="", mistake=mistake)
    failure = HostError(host="x", request="Load", seconds=1.0, log=Path("x.log"), raised=raised)
    failure.__cause__ = mistake
    return failure


def _died(signal: str) -> HostDied:
    return HostDied(
        host="x",
        request="Load",
        seconds=1.0,
        log=Path("x.log"),
        reason="",
        exitcode=None,
        signal=signal,
        stack=None,
        last_lines=(),
    )


def _numbers(step: Rung) -> Attempt:
    told = Diagnosis(symptom="not-finite", title="", cause="", next="", anchor="", seen="")
    return Attempt(rung=step, outcome=RungOutcome.FAILED, why="x", diagnoses=(told,))


def test_the_rungs_are_the_sequence_of_the_load_strategy(phi: Variant) -> None:
    variants = [variant_on(phi, _rung(name)) for name in RUNGS]
    assert [one.quantization.value for one in variants] == ["fp32", "bf16", "fp16", "bf16", "bf16"]
    assert [one.tier.device for one in variants] == ["cpu", "cuda", "cuda", "cuda", "cuda"]
    assert {one.attention for one in variants} == {"eager"}
    assert [one.device_map for one in variants] == ["cpu", None, None, "auto", "auto"]
    assert variants[3].load_options["max_memory"] == {"0": 56 * 10**9, "cpu": int(51.2 * 10**9)}
    parts = variants[4].load_options["max_memory"]
    assert sum(parts.values()) < ROOM.weights, "all would fit, and nothing would go to a disk"
    assert variants[4].load_options["offload_folder"] == "/scratch"


def test_a_packed_entry_stays_packed(phi: Variant) -> None:
    packed = replace(phi, quantization=Quantization.NF4)
    half = variant_on(packed, _rung("fp16"))
    assert half.quantization is Quantization.NF4
    assert half.dtype == "float16"


def test_the_users_settings_are_over_every_rung_but_for_places_on_the_dry_run(phi: Variant) -> None:
    given: dict[str, Any] = {"attn_implementation": "sdpa", "max_memory": {"0": "12GiB"}}
    assert variant_on(phi, _rung("max-memory", **given)).load_options["max_memory"] == {"0": "12GiB"}
    dry = variant_on(phi, _rung("cpu-fp32", **given))
    assert dry.attention == "sdpa"
    assert "max_memory" not in dry.load_options


@pytest.mark.parametrize("kind", [LoadFailure.DAMAGED, LoadFailure.SHAPE, LoadFailure.TOKENIZER, LoadFailure.NOT_FOUND])
def test_what_is_wrong_with_files_implies_every_rung(phi: Variant, kind: LoadFailure) -> None:
    before = [failed(_rung("cpu-fp32"), _host_error(LoadFailed(kind, "x: no header")), None)]
    for name in RUNGS[1:]:
        assert why_implied(_rung(name), before, _ladder(phi)).startswith("cpu-fp32 failed for what no setting")


def test_a_setting_that_is_refused_implies_the_rungs_and_is_no_fault_of_the_checkpoint(phi: Variant) -> None:
    refusal = LoadFailed(LoadFailure.OPTIONS, "load_options: fused_experts has no effect: x; remove it")
    before = [failed(_rung("cpu-fp32"), _host_error(refusal), None)]
    assert not before[0].of_the_checkpoint
    for name in RUNGS[1:]:
        assert "a setting that stands over this rung too" in why_implied(_rung(name), before, _ladder(phi))


def test_memory_that_ran_out_implies_what_is_no_smaller_on_the_same_device(phi: Variant) -> None:
    raised = Raised(kind="torch.OutOfMemoryError", message="CUDA out of memory. Tried to allocate 2 GiB", traceback="")
    out = HostError(host="x", request="Load", seconds=1.0, log=Path("x.log"), raised=raised)
    before = [failed(_rung("bf16"), out, None)]
    assert before[0].is_of_memory
    assert "with weights that are no larger" in why_implied(_rung("fp16"), before, _ladder(phi))
    for name in ("max-memory", "offload"):
        assert why_implied(_rung(name), before, _ladder(phi)) == ""
    on_cpu = [
        failed(_rung("cpu-fp32"), _host_error(LoadFailed(LoadFailure.MEMORY, "x: out of memory while loading")), None)
    ]
    assert why_implied(_rung("bf16"), on_cpu, _ladder(phi)) == ""
    assert why_implied(_rung("bf16", device="cpu"), on_cpu, _ladder(phi, device="cpu")) == ""


def test_a_process_that_was_killed_implies_nothing(phi: Variant) -> None:
    before = [failed(_rung("cpu-fp32"), _died("SIGKILL"), None)]
    assert before[0].diagnoses, "the table knows what a kill is"
    assert why_implied(_rung("bf16"), before, _ladder(phi)) == ""


def test_numbers_imply_dtypes_with_no_larger_range(phi: Variant) -> None:
    def implies(first: str, then: str, dtype: str = "bfloat16") -> bool:
        return bool(why_implied(_rung(then, dtype=dtype), [_numbers(_rung(first))], _ladder(phi)))

    assert implies("cpu-fp32", "bf16")
    assert implies("bf16", "fp16")
    assert implies("bf16", "offload")
    assert implies("fp16", "max-memory", "float16")
    assert not implies("fp16", "max-memory")


def test_the_dtype_of_the_last_rungs_is_one_that_did_not_fail() -> None:
    assert best_dtype([], []) == "bfloat16"
    assert best_dtype([], ["bfloat16"]) == "float16"
    assert best_dtype(["float16"], ["bfloat16"]) == "float32"


def test_what_the_gate_refuses_for_all_is_asked_once_and_limits_pass_its_memory(phi: Variant) -> None:
    def offline(_: Variant) -> Skip:
        return Skip(code=SkipCode.OFFLINE, have="no answer from the Hub", need="access", fix="go online")

    climbed = climb(_ladder(phi, gate=offline), every=True)
    assert [one.outcome for one in climbed.attempts] == [RungOutcome.REFUSED, *[RungOutcome.IMPLIED] * 4]

    asked: list[str] = []

    def small(variant: Variant) -> Skip:
        return Skip(code=SkipCode.VRAM, have="1 GB", need="8 GB", fix="a larger GPU")

    def specify(variant: Variant) -> Any:
        asked.append(variant.id)
        raise AssertionError("tried")

    with pytest.raises(AssertionError, match="tried"):
        climb(_ladder(phi, gate=small, specify=specify), every=True)
    assert asked == ["phi-3-mini-4k-instruct/max-memory"]


class Recorded:
    """The replies of a host that loads and gives so many tokens: no real one gives fewer than it is asked for."""

    def __init__(self, tokens: int, attention: str) -> None:
        load = load_report(attention=attention)
        completion = Completion(text="", token_ids=tuple(range(tokens)), prompt_tokens=6, ended=False)
        answer = Generated(
            completions=(completion,), finite=True, clean_endings=True, pad_token=None, eos_tokens=(), seconds=1.0
        )
        self._replies = {Load: load, Generate: answer, Unload: None}

    def ask(self, request: Any, deadline: float) -> Any:
        return self._replies[type(request)]

    def close(self) -> None:
        pass


def _climbed_by(host: Recorded, base: Variant) -> Climb:
    specify = partial(load_spec, folder="x")
    return climb(_ladder(base, start=lambda _: host, specify=specify, device="cpu"))


@pytest.mark.parametrize("tokens", [0, 9])
def test_a_rung_that_gives_fewer_tokens_than_asked_does_not_work(phi: Variant, tokens: int) -> None:
    climbed = _climbed_by(Recorded(tokens, "eager"), phi)
    assert climbed.working is None
    assert {one.why for one in climbed.attempts} == {
        f"gave {tokens} of 10 tokens, though it was to go on past every end"
    }
    assert _climbed_by(Recorded(10, "eager"), phi).working is not None


def test_another_attention_than_the_rungs_is_a_finding(phi: Variant) -> None:
    assert [one.findings for one in _climbed_by(Recorded(10, "eager"), phi).attempts] == [(), ()]
    assert [one.findings for one in _climbed_by(Recorded(10, "sdpa"), phi).attempts] == [
        ("eager attention was asked for, and sdpa is in use",)
    ] * 2


def test_a_rung_without_a_known_symptom_still_says_what_it_saw() -> None:
    raised = Raised(kind="ValueError", message="the moon is full", traceback="")
    attempt = failed(
        _rung("bf16"), HostError(host="x", request="Load", seconds=1.0, log=Path("x.log"), raised=raised), None
    )
    assert attempt.diagnoses == ()
    lines = list(lines_of(attempt))
    assert any("the moon is full" in line for line in lines)
    assert any(line.startswith("  next:") for line in lines)


def test_the_end_says_that_nothing_works_and_the_first_next_step(phi: Variant) -> None:
    damaged = failed(_rung("cpu-fp32"), _host_error(LoadFailed(LoadFailure.DAMAGED, "x: is truncated")), None)
    climbed = replace(
        climb(_ladder(phi, gate=lambda _: "no"), every=True), attempts=(damaged, implied(_rung("bf16"), "y"))
    )
    assert climbed.working is None
    assert conclusion(climbed)[0].startswith("phi-3-mini-4k-instruct: no rung works (1 failed)")
    assert to_json(climbed)["works"] is None


def test_an_entry_is_written_that_the_catalogue_reads(tmp_path: Path, phi: Variant) -> None:
    for name in RUNGS[1:]:
        attempt = Attempt(rung=_rung(name), outcome=RungOutcome.WORKS)
        path = tmp_path / f"{name}.toml"
        path.write_text(variant_table(phi, attempt, read_catalogue(), "plimsoll ladder x"))
        found = read_catalogue([path]).variants[f"phi-3-mini-4k-instruct/ladder-{name}"]
        wanted = variant_on(phi, attempt.rung)
        assert (found.quantization, found.attention, found.device_map) == (
            wanted.quantization,
            wanted.attention,
            wanted.device_map,
        )
        assert found.load_options.get("max_memory") == wanted.load_options.get("max_memory")
        assert found.load_options.get("offload_folder") in (None, "offload")


@pytest.mark.parametrize(("mark", "file"), [("ladder", "test_ladder.py"), ("usage", "test_usage.py")])
def test_ladder_and_profiles_of_use_are_asked_by_name_alone(mark: str, file: str) -> None:
    catalogue = read_catalogue()
    asked = Selection(mark=f"tiny and {mark}", base=ROOT)
    assert asked.named.asks(file, catalogue)
    assert not Selection(mark="tiny", base=ROOT).named.asks(file, catalogue)
    assert isinstance(asked.named, Named)
    cells = make_plan(ROOT, catalogue, asked).cells
    assert [cell.id.partition("[")[2] for cell in cells] == [
        f"{name}/bf16]" for name in ("tiny-llama", "tiny-qwen", "tiny-mistral", "tiny-mixtral", "tiny-phi")
    ]


def test_a_refused_rung_keeps_the_gates_decision() -> None:
    skip = Skip(code=SkipCode.NO_GPU, have="no GPU", need="a CUDA GPU", fix="x")
    assert refused(_rung("bf16"), skip, None).skip is skip
    assert refused(_rung("bf16"), "not predicted", None).skip is None
