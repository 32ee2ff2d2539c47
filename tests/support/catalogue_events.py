"""The events of a run over the whole shipped catalogue, with every outcome that a cell can have: what no machine here
can run, for the pages that must show it.

Sizes follow from the names of the models; nothing is measured, and nothing is random.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from plimsoll.audit.recorded import expectation_fields
from plimsoll.catalogue.entries import Catalogue, Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.evidence.encoding import judgement_fields, measurement_fields
from plimsoll.evidence.events import Event
from plimsoll.evidence.record import Cell
from plimsoll.footprint.demand import Demand
from plimsoll.footprint.load_peak import RAM
from plimsoll.footprint.prediction import ArchitectureFacts, Prediction
from plimsoll.footprint.sizes import ExpectedParameter, Footprint
from plimsoll.judge.judgement import Limit, Measurement, judge
from tests.support.run_events import AT, HOSTILE, NODE, Line, cell, crash, finish, gate, line, plan, report, start

QUESTIONS: Final = (
    *(("node", f"test_free_{what}", (f"free_{what}",)) for what in ("ram", "disk", "vram")),
    ("load", "test_cold_load_time", ("cold_load_time",)),
    ("load", "test_warm_load_time", ("warm_load_time",)),
    *(
        ("load", f"test_{what}", ())
        for what in (
            "loads_from_safetensors",
            "loads_completely",
            "loads_asked_class",
            "loads_on_asked_device",
            "loads_in_asked_dtype",
            "uses_asked_attention",
        )
    ),
    ("memory", "test_stored_bytes", ("weight_bytes",)),
    ("memory", "test_peak", ("vram_peak",)),
    ("memory", "test_peak_ram", ("ram_peak",)),
    ("memory", "test_ram_held", ("ram_after",)),
    ("quantization", "test_coverage", ("quantized_fraction",)),
    *(("quantization", f"test_{what}", ()) for what in ("all_packed", "storage_dtypes", "statistics", "routers")),
    ("generation", "test_taught_answers", ("taught_accuracy",)),
    ("generation", "test_no_degenerate_repetition", ("repetition",)),
    ("generation", "test_cached_decoding_agrees", ("cache_divergence",)),
    ("generation", "test_batch_agrees", ("batch_divergence",)),
    ("generation", "test_close_to_16_bit", ("quantized_divergence",)),
    ("generation", "test_stops_at_its_end", ()),
    ("generation", "test_greedy_is_repeatable", ()),
    ("unload", "test_ram_returns", ("ram_returned",)),
    ("unload", "test_process_is_gone", ()),
)
"""Subject, question and metrics: as many for each variant as the real plan has."""

_BYTES: Final = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.06, "nf4": 0.57, "nf4-dq": 0.53}
_NEVER_ASKED: Final = "qwen2.5-omni-7b"
_SKIPS: Final = {
    "llama-3.1-70b": ("vram", "141.00 GB free on GPU 0", "150.20 GB of GPU memory", "choose a smaller quantization"),
    "mixtral-8x22b-v0.1": (
        "licence_not_accepted",
        "a token whose account has not accepted the licence",
        "access to mistralai/Mixtral-8x22B-v0.1",
        "accept it at https://huggingface.co/mistralai/Mixtral-8x22B-v0.1",
    ),
    "mixtral-8x7b-v0.1": ("offline", "no answer from the Hub", "access to the weights", "unset HF_HUB_OFFLINE"),
    "qwen2.5-72b": ("disk", "12.00 GB free at /cache", "145.41 GB for the checkpoint", "free space there"),
}
WAIVERS: Final = (
    "[[waiver]]\ncells = '*test_batch_agrees*phi-3-mini-4k-instruct/nf4]'\nwho = 'J. Rossi'\nwhy = 'OPS-7'\n"
    "until = 2027-06-30\n"
)


@cache
def catalogue() -> Catalogue:
    """The shipped catalogue."""
    return read_catalogue()


EVERY_OUTCOME: Final = (
    *("llama-3.2-3b/bf16", "llama-3.2-3b/int8", "llama-3.1-70b", "mistral-7b-v0.3/bf16"),
    *("phi-3-mini-4k-instruct/nf4", "phi-3-mini-4k-instruct/nf4-sdpa", "qwen2.5-3b/nf4"),
    *(_NEVER_ASKED, "tiny-phi/bf16", "tiny-phi/nf4-dq"),
)
"""Models and variants among which every outcome is found, and no more: a browser draws each of their checks anew for
each test."""


def full_catalogue(chosen: Collection[str] = (), **changes: Any) -> list[Line]:
    """The run, of all variants or of these and those of these models; `changes` are fields of its first event."""
    known = catalogue().variants.values()
    variants = [one for one in known if not chosen or one.id in chosen or one.model.id in chosen]
    cells = {variant.id: _cells(variant) for variant in variants}
    head = [
        start(**{"arguments": ["-m", "not plan"], "selection": {"mark": "", "keyword": "", "paths": []}, **changes}),
        line(Event.WAIVERS, path="waivers.toml", sha256="0" * 64, text=WAIVERS),
        plan([one for found in cells.values() for one in found], deselected=3),
        line(Event.NODE, node=NODE.to_json()),
        *(_gate(variant) for variant in variants),
    ]
    clock = _Clock()
    body = [
        event
        for variant in variants
        if variant.model.id != _NEVER_ASKED
        for event in _asked(variant, cells[variant.id], clock)
    ]
    return [*head, *body, {**finish(1), "at": clock.now()}]


class _Clock:
    """The time of the run, as it passes."""

    def __init__(self) -> None:
        self._now = datetime.fromisoformat(AT)

    def now(self, seconds: float = 0.0) -> str:
        self._now += timedelta(seconds=seconds)
        return self._now.isoformat()


def _weights(variant: Variant) -> int:
    """Bytes, by the size in the model's name; a tiny one has no size in its name."""
    found = re.search(r"(?:(\d+)x)?(\d+(?:\.\d+)?)b", variant.model.id)
    parameters = 3.8e9 if "mini" in variant.model.id else 6e5
    if found:
        parameters = float(found.group(1) or 1) * float(found.group(2)) * 1e9
    return round(parameters * _BYTES[variant.quantization.value])


def demand_for(variant: Variant) -> Demand:
    """What a variant might take: its weights, and a fiftieth more while they are loaded."""
    weights = _weights(variant)
    part = ExpectedParameter(
        name="model.weight",
        shape=(round(weights / _BYTES[variant.quantization.value]),),
        quantized=variant.quantization.is_quantized,
        data_bytes=weights,
        statistics_bytes=0,
        storage_dtype="uint8",
        reason="",
    )
    facts = ArchitectureFacts(hidden_size=None, key_value_heads=None, context_length=None, sliding_window=None)
    footprint = Footprint(parameters=(part,), buffers=())
    place = RAM if variant.tier.device == "cpu" else 0
    return Demand(
        prediction=Prediction(footprint=footprint, facts=facts, unpredicted="made up"),
        load={RAM: 0, place: round(1.02 * weights)},
        held={RAM: 0, place: weights},
        caches={},
        placed=False,
        offloaded=0,
    )


def _cells(variant: Variant) -> list[Cell]:
    on_gpu = variant.tier.device != "cpu"
    return [
        cell(
            question if question != "test_peak" else "test_peak_vram",
            variant.id,
            measures,
            id=f"acceptance/test_{subject}.py::{question}[{variant.id}]",
            model=variant.model.id,
            quantization=variant.quantization.value,
            tier=variant.tier.id,
            subject=subject,
            weights=variant.model.source.value,
        )
        for subject, question, measures in QUESTIONS
        if on_gpu or "vram" not in "".join(measures)
    ]


def _gate(variant: Variant) -> Line:
    expected = expectation_fields(variant, demand_for(variant))
    skip = _SKIPS.get(variant.model.id)
    if skip is None:
        return gate(variant.id, **expected)
    code, have, need, fix = skip
    return gate(variant.id, "skip", code=code, have=have, need=need, fix=fix, text=f"skip[{code}]", **expected)


def _asked(variant: Variant, cells: list[Cell], clock: _Clock) -> Iterator[Line]:
    if variant.model.id in _SKIPS:
        for one in cells:
            yield report(one, "setup", "skipped", ["x.py", 1, "Skipped: x"])
            yield report(one, "teardown")
        return
    yield from _hosted(variant, clock)
    for one in cells:
        yield from _answered(variant, one, clock)


def _hosted(variant: Variant, clock: _Clock) -> Iterator[Line]:
    """A host that loads, generates and is closed, or dies."""
    weights, pid = _weights(variant), 1000 + list(catalogue().variants).index(variant.id)
    seconds = max(2.0, weights / 1.5e9)
    about: dict[str, Any] = {"variant": variant.id, "pid": pid, "log": f"hosts/{pid}.log"}
    yield {**line(Event.HOST, state="started", seconds=0.1, **about), "at": clock.now(0.5)}
    for number in range(1, 41):
        rss = 360e6 + (min(weights, 9e9) * min(number / 30, 1)) * (1 if number < 34 else 0.4)
        yield {**line(Event.SAMPLE, seconds=number, rss=round(rss), **about), "at": clock.now(seconds / 40)}
    yield {**line(Event.HOST, state="request", request="Load", seconds=seconds, **about), "at": clock.now(0)}
    yield line(
        Event.LOAD,
        variant=variant.id,
        cache="cold",
        report={"seconds": seconds, "checkpoint_bytes": weights},
    )
    for number in range(1, 21):
        rss = 360e6 + 0.4 * min(weights, 9e9) + 3e6 * number
        yield {**line(Event.SAMPLE, seconds=number, rss=round(rss), **about), "at": clock.now(0.5)}
    if variant.id == "mistral-7b-v0.3/bf16":
        words = [f"generating, step {step}" for step in range(12)] + [HOSTILE]
        why: dict[str, Any] = {
            "reason": "",
            "exitcode": None,
            "signal": "SIGSEGV",
            "stack": "Thread 0x1\n  File x.py",
            "stderr": words,
        }
        yield {**line(Event.HOST, state="died", request="Generate", seconds=10, **why, **about), "at": clock.now(0)}
        return
    yield {**line(Event.HOST, state="request", request="Generate", seconds=10, **about), "at": clock.now(0)}
    yield {**line(Event.HOST, state="closed", seconds=99, **about), "at": clock.now(0.2)}


def _answered(variant: Variant, one: Cell, clock: _Clock) -> Iterator[Line]:
    yield report(one, "setup")
    judgements = [event for metric in one.measures for event in _figure(variant, one, metric)]
    yield from judgements
    figures = [event for event in judgements if event["event"] == Event.JUDGEMENT.value]
    bad = [event["text"] for event in figures if event["outcome"] in ("fail", "unset")]
    trouble = "\n".join(bad) or _TROUBLE.get((variant.id, one.question or ""), "")
    attached = [{k: v for k, v in event.items() if k not in ("event", "at", "worker", "cell")} for event in figures]
    outcome, longrepr = ("failed", crash(trouble)) if trouble else ("passed", None)
    yield {**report(one, "call", outcome, longrepr, plimsoll=attached), "at": clock.now(0.3)}
    yield report(one, "teardown")


_DIED: Final = "mistral-7b-v0.3/bf16: the host of mistral-7b-v0.3/bf16 died 10.0 s into Generate: killed by SIGSEGV"
_TROUBLE: Final = {
    ("mistral-7b-v0.3/bf16", "test_stops_at_its_end"): _DIED,
    (
        "mistral-7b-v0.3/bf16",
        "test_greedy_is_repeatable",
    ): _DIED,
    ("qwen2.5-3b/nf4", "test_stops_at_its_end"): f"AssertionError: it said {HOSTILE}",
}


def _figure(variant: Variant, one: Cell, metric: str) -> Iterator[Line]:
    weights = _weights(variant)
    limits = [
        Limit(metric=metric, low=claim.limit_low, high=claim.limit_high, source=claim.source, margin=0.05)
        for claim in variant.claims_on(metric)
    ] or [_own_limit(metric, weights)]
    value, reason, context = _value(variant, metric, weights, limits), "", {}
    if (variant.id, metric) == ("llama-3.2-3b/int8", "vram_peak"):
        value = 1.6 * weights
        context = {"causes": ["24 of 28 layers were left in 16 bit: 2.9 GB more than int8 takes"]}
    if (variant.id, metric) == ("qwen2.5-7b/nf4", "taught_accuracy"):
        value, reason = None, "the host gave no answer"
    measurement = Measurement(metric=metric, value=value, reason=reason)
    yield line(Event.MEASUREMENT, cell=one.id, **measurement_fields(measurement, context))
    for limit in limits[:1]:
        yield line(Event.JUDGEMENT, cell=one.id, **judgement_fields(judge(measurement, limit)))


def _own_limit(metric: str, weights: int) -> Limit:
    if metric in ("weight_bytes", "quantized_fraction"):
        exact = float(weights) if metric == "weight_bytes" else 0.9
        return Limit(metric=metric, low=exact, high=exact, source="predicted from the configuration")
    if metric.startswith("free_"):
        return Limit(metric=metric, low=1.2 * weights + 1e9, source="predicted from the configuration")
    high = {"vram_peak": 1.1 * weights + 6e7, "ram_peak": weights + 5e9, "ram_after": weights + 5e9}.get(metric, 1e10)
    return Limit(metric=metric, high=high, source="docs/tiny-tier.md", margin=0.05)


def _value(variant: Variant, metric: str, weights: int, limits: list[Limit]) -> float | None:
    """Well inside the first limit, but for a marginal one here and there, and a waived one."""
    low, high = limits[0].low, limits[0].high
    if metric == "batch_divergence" and variant.id == "phi-3-mini-4k-instruct/nf4":
        return 2 * (high or 1.0)
    sizes = {"vram_peak": 1.03 * weights, "ram_peak": 0.3 * weights + 2e8, "ram_after": 0.1 * weights + 1e7}
    value = sizes.get(metric, (low or 0.0) * 3 if high is None else high * 0.4)
    if high is not None and variant.model.id.startswith("tiny-phi") and metric.startswith("ram_"):
        value = 0.99 * high
    return min(max(value, low or value), high if high is not None else value)
