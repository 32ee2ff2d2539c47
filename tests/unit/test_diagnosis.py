"""Why a memory figure is out of its range: each cause from what a load would show, with its bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.packing import packed
from plimsoll.footprint.sizes import ExpectedParameter, Footprint
from plimsoll.host.protocol import HostMemory, Inventory, ParameterRecord
from plimsoll.judge.diagnosis import Observed, diagnose
from plimsoll.judge.judgement import Judgement, Limit, Measurement, judge

EXPERTS = (8, 1024, 512)
LINEAR = (2048, 512)
GIB = 2**30


def expected(name: str, shape: tuple[int, ...], quantization: Quantization) -> ExpectedParameter:
    form = packed(shape, quantization)
    return ExpectedParameter(
        name=name,
        shape=shape,
        quantized=True,
        data_bytes=form.data_bytes,
        statistics_bytes=form.statistics_bytes,
        storage_dtype=form.storage_dtype,
        reason="",
    )


def embedding() -> ExpectedParameter:
    return ExpectedParameter(
        name="embed.weight",
        shape=(1000, 512),
        quantized=False,
        data_bytes=2 * 512_000,
        statistics_bytes=0,
        storage_dtype="bfloat16",
        reason="embedding",
    )


def footprint(quantization: Quantization) -> Footprint:
    experts, linear = (expected(n, s, quantization) for n, s in (("experts.up", EXPERTS), ("q.weight", LINEAR)))
    return Footprint(parameters=(embedding(), experts, linear), buffers=())


def record(parameter: ExpectedParameter, **changes: Any) -> ParameterRecord:
    return ParameterRecord(
        name=parameter.name,
        shape=parameter.shape,
        data_bytes=changes.get("data", parameter.data_bytes),
        statistics_bytes=changes.get("statistics", parameter.statistics_bytes),
        storage_dtype=changes.get("dtype", parameter.storage_dtype),
        scheme="float" if "data" in changes else "nf4",
        device="cuda:0",
    )


def inventory(stored: Footprint, **changes: dict[str, Any]) -> Inventory:
    records = tuple(record(p, **changes.get(p.name.partition(".")[0], {})) for p in stored.parameters)
    return Inventory(parameters=records, buffers=())


def judged(metric: str, value: float | None, *, low: float | None = None, high: float | None = None) -> Judgement:
    reason = "" if value is not None else "nobody looked"
    return judge(
        Measurement(metric=metric, value=value, reason=reason), Limit(metric=metric, low=low, high=high, source="x")
    )


def observed(quantization: Quantization = Quantization.NF4_DQ, **changes: Any) -> Observed:
    stored = footprint(quantization)
    return Observed(
        quantization=quantization, footprint=stored, inventory=changes.pop("inventory", inventory(stored)), **changes
    )


def test_experts_that_stayed_in_16_bit() -> None:
    stored = footprint(Quantization.NF4_DQ)
    count = 8 * 1024 * 512
    loose = inventory(stored, experts={"data": 2 * count, "statistics": 0, "dtype": "bfloat16"})
    size = loose.stored_bytes
    (cause,) = diagnose(judged("vram_peak", size, high=size / 2), observed(inventory=loose))
    assert cause == ("experts are 16-bit: 1 tensor takes 8.39 MB (8.00 MiB) instead of 2.16 MB (2.06 MiB)")


def test_linear_weights_and_embeddings_that_are_too_wide() -> None:
    stored = footprint(Quantization.NF4_DQ)
    wide = inventory(
        stored,
        q={"data": 2 * 2048 * 512, "statistics": 0, "dtype": "bfloat16"},
        embed={"data": 4 * 512_000, "dtype": "float32"},
    )
    causes = diagnose(judged("vram_peak", wide.stored_bytes, high=stored.weight_bytes), observed(inventory=wide))
    assert [cause.partition(":")[0] for cause in causes] == ["linear weights are 16-bit", "unpacked weights are 32-bit"]


def test_statistics_that_were_not_double_quantized() -> None:
    stored, plain = footprint(Quantization.NF4_DQ), footprint(Quantization.NF4)
    statistics = {
        name: {"statistics": p.statistics_bytes} for name, p in zip(("experts", "q"), plain.parameters[1:], strict=True)
    }
    found = inventory(stored, **statistics)
    (cause,) = diagnose(judged("vram_peak", found.stored_bytes, high=stored.weight_bytes), observed(inventory=found))
    assert cause.startswith("statistics not double-quantized: 327,808 bytes instead of ")


def test_plain_statistics_where_the_entry_asks_for_them() -> None:
    value = footprint(Quantization.NF4).weight_bytes
    (cause, _) = diagnose(
        judged("vram_peak", value, high=value - 10_000_000), observed(Quantization.NF4, predicted=value)
    )
    assert cause.startswith("statistics not double-quantized, as the entry has it: ")


def test_memory_that_others_hold() -> None:
    held = round(3.1 * GIB)
    causes = diagnose(judged("vram_peak", 50 * GIB, high=49 * GIB), observed(others=held))
    assert causes == ("other processes hold 3.33 GB (3.10 GiB), which this figure does not count",)
    assert diagnose(judged("ram_peak", 50 * GIB, high=49 * GIB), observed(others=held)) == (
        "the rest was not predicted, and has no known cause",
    )


def test_small_weights_store_less_where_statistics_are_not_double_quantized() -> None:
    shape = (8, 64)
    stored = Footprint(parameters=(expected("q.weight", shape, Quantization.NF4_DQ),), buffers=())
    plain = inventory(stored, q={"statistics": packed(shape, Quantization.NF4).statistics_bytes})
    assert plain.stored_bytes < stored.weight_bytes
    seen = Observed(quantization=Quantization.NF4_DQ, footprint=stored, inventory=plain)
    exact = judged("weight_bytes", plain.stored_bytes, low=stored.weight_bytes, high=stored.weight_bytes)
    assert diagnose(exact, seen) == ("statistics not double-quantized: 96 bytes instead of 1,104 bytes",)


def test_other_statistics_are_not_called_plain_ones() -> None:
    stored = footprint(Quantization.NF4)
    nested = inventory(stored, q={"statistics": 7})
    exact = judged("weight_bytes", nested.stored_bytes, low=stored.weight_bytes, high=stored.weight_bytes)
    (cause,) = diagnose(exact, observed(Quantization.NF4, inventory=nested))
    assert cause.startswith("statistics not those of nf4: 7 bytes instead of ")


def test_pages_of_files_are_told_from_memory() -> None:
    memory = HostMemory(before=0, peak=100, after=90, method="VmHWM", mapped=80, mapped_resident=10**9)
    causes = diagnose(judged("ram_after", 1.2e9, high=1e9), observed(memory=memory, predicted=10**8))
    assert causes == ("pages of the checkpoint's files, which the system may drop: 1.00 GB (0.93 GiB)",)


def test_a_limit_that_cannot_be_kept_is_said_to_be_so() -> None:
    causes = diagnose(judged("vram_peak", 10 * GIB, high=5 * GIB), observed(predicted=9 * GIB))
    assert causes == ("even a sound load takes at least 9.66 GB (9.00 GiB): dispute the limit",)


def test_what_nobody_predicted_is_named_as_such() -> None:
    causes = diagnose(judged("vram_peak", 10 * GIB, high=5 * GIB), observed(predicted=4 * GIB))
    assert causes == ("6.44 GB (6.00 GiB) over the predicted 4.29 GB (4.00 GiB), of unknown origin",)


def test_too_little_means_that_weights_are_elsewhere_or_the_range_is_wrong() -> None:
    stored = footprint(Quantization.NF4_DQ).weight_bytes
    (missing,) = diagnose(judged("vram_peak", stored / 2, low=stored), observed())
    assert missing.endswith("not all of them are where this was measured")
    (wrong,) = diagnose(judged("vram_peak", 1.5 * stored, low=2 * stored), observed())
    assert "the range begins too high" in wrong


def test_what_is_well_or_was_not_measured_has_no_cause() -> None:
    seen = observed(others=GIB)
    assert diagnose(judged("vram_peak", 1.0, high=2.0), seen) == ()
    assert diagnose(judged("vram_peak", None, high=2.0), seen) == ()


def test_without_an_inventory_the_rest_is_still_looked_at() -> None:
    seen = replace(observed(others=2 * GIB), inventory=None)
    assert len(diagnose(judged("vram_peak", 50 * GIB, high=49 * GIB), seen)) == 1
