"""Claims held against prediction and evidence, and disputes kept honest by the full prediction."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from plimsoll.audit.auditing import AuditFinding, Auditor, Status, judge_claim
from plimsoll.audit.bounds import Bounds
from plimsoll.audit.table import render, to_json
from plimsoll.catalogue.entries import Claim, LimitedSide, Origin
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.host.server.predict.variant import predict_all, predict_training
from plimsoll.host.training import PredictStep
from plimsoll.plan.predictions import Predictions
from plimsoll.plan.shipped import Shipped
from tests.support.commands import plimsoll

CATALOGUE = read_catalogue()
GIB = 2**30


def answer(request: Any) -> Any:
    """In place of a host: the same functions, in this process."""
    if isinstance(request, PredictStep):
        return predict_training(request.training, request.subject, request.partner)
    return predict_all(request.subject)


@cache
def findings() -> tuple[AuditFinding, ...]:
    """Every finding of the shipped catalogue, from predictions that ship: tests/torch holds these against torch."""
    predictions = Predictions(Path("/nonexistent"), answer, Shipped.read())
    return tuple(Auditor(CATALOGUE, predictions).findings(set(CATALOGUE.variants)))


def of(metric: str, variant: str) -> list[AuditFinding]:
    return [f for f in findings() if f.claim.metric == metric and variant in f.variants]


def test_every_claim_has_a_finding_for_each_of_its_variants() -> None:
    singles = sum(len(claim.variants) for claim in CATALOGUE.claims if not claim.together)
    together = sum(claim.together for claim in CATALOGUE.claims)
    assert len(findings()) == singles + together > 500


def test_an_undisputed_claim_is_possible_and_a_disputed_one_out_of_reach() -> None:
    wrong = [
        f"{f.claim.origin}: {f.claim.metric} of {', '.join(f.variants)} ({f.said}) is {f.status}: {f.bounds.basis}"
        for f in findings()
        if not f.is_honest
    ]
    assert wrong == []
    counts = Counter(finding.status for finding in findings())
    assert counts[Status.IMPOSSIBLE] == sum(f.claim.disputed is not None for f in findings()) > 10


def test_what_nothing_predicts_is_not_called_plausible() -> None:
    unjudged = {finding.claim.metric for finding in findings() if finding.status is Status.UNJUDGED}
    assert {"repetition", "taught_accuracy", "vram_reserved"} <= unjudged
    assert "training_activations" not in unjudged
    assert all(f.bounds.basis for f in findings()), "a reason stands beside each"


def test_facts_of_the_architecture_are_confirmed() -> None:
    for metric in ("parameter_count", "hidden_size", "weight_bytes", "sliding_window", "key_value_heads"):
        found = [f for f in findings() if f.claim.metric == metric]
        assert {f.status for f in found} == {Status.CONFIRMED}, metric


def test_the_words_of_the_documents_and_what_becomes_of_them() -> None:
    # 40 GB for a 70B in 4 bit: enough with double-quantized statistics, and no more than that.
    (tight,) = (f for f in of("vram_needed", "llama-3.1-70b-instruct/nf4-dq") if f.claim.high == 40 * GIB)
    assert tight.status is Status.TIGHT
    assert tight.bounds.expected is not None
    assert 38 * GIB < tight.bounds.expected < 40 * GIB
    assert "with the CUDA context" in tight.bounds.instead
    assert {f.status for f in of("vram_peak", "mixtral-8x22b-instruct-v0.1/nf4")} == {Status.IMPOSSIBLE}
    (first,) = (f for f in of("first_load_time", "llama-3.1-70b-instruct/nf4") if f.claim.high == 15 * 60)
    assert (first.status, "1.3 Gbit/s" in first.bounds.instead) == (Status.TIGHT, True)


def training(*variants: str) -> dict[str, AuditFinding]:
    """What becomes of the claims about training these variants together, by what the document says."""
    return {
        str(f.claim.quote): f for f in findings() if f.claim.metric.startswith("training") and f.variants == variants
    }


def test_what_documents_say_of_training_is_held_against_steps() -> None:
    of_3b = training("llama-3.2-3b/bf16")
    assert of_3b["~5.2 GB"].status is Status.PLAUSIBLE
    assert "nearest to a bridge into a frozen model" in of_3b["~5.2 GB"].bounds.basis
    batch = of_3b["batch size 12, grad accum 1, effective batch 12"]
    assert (batch.status, "are lacking" in batch.bounds.basis) == (Status.TIGHT, True)
    of_8b = training("llama-3.1-8b/bf16")["batch size 6, grad accum 2, effective batch 12"]
    assert (of_8b.status, "are left" in of_8b.bounds.basis) == (Status.PLAUSIBLE, True)
    assert of_8b.bounds.least is not None
    assert of_8b.bounds.expected is not None
    assert 16.1e9 < of_8b.bounds.least < of_8b.bounds.expected < 80e9


def test_pairs_are_judged_as_one_training() -> None:
    quote = "batch size 2, grad accum 4, effective batch 8"
    pair = training("llama-3.1-8b/bf16", "mistral-7b-v0.3/bf16")[quote]
    assert pair.status is Status.PLAUSIBLE
    assert pair.bounds.least is not None
    assert pair.bounds.least > 30.5e9, "the weights of both"
    assert "all weights" not in pair.bounds.basis, "no way to train two at once but a bridge"


def test_spare_memory_is_what_the_card_has_beside_the_need() -> None:
    spare = {f.variants[0]: f for f in findings() if f.claim.metric == "vram_left"}
    assert len(spare) == 6
    assert {f.status for f in spare.values()} == {Status.PLAUSIBLE}
    expected = spare["llama-3-8b/int8"].bounds.expected
    assert expected is not None
    assert 28e9 < expected < 30e9


def test_published_measurements_lie_near_the_prediction() -> None:
    """What others measured of 3B and 7B while generating 2,048 tokens from one, and of 7B and 8B once loaded."""
    for metric, variant in (
        ("vram_peak", "qwen2.5-3b-instruct/bf16"),
        ("vram_peak", "qwen2.5-7b-instruct/bf16"),
        ("vram_allocated", "qwen2.5-7b-instruct/nf4"),
        ("vram_allocated", "llama-3.1-8b/int8"),
    ):
        (found,) = (f for f in of(metric, variant) if f.claim.limits is LimitedSide.NONE)
        assert found.apart is not None
        assert abs(found.apart) < 0.025, found


# --- the rule


def claim(low: float | None, high: float | None, **changes: Any) -> Claim:
    fields: dict[str, Any] = {
        "variants": ("a/bf16",),
        "metric": "vram_peak",
        "low": low,
        "high": high,
        "unit": "bytes",
        "source": "a document",
        "origin": Origin(file=Path("x.toml"), key="claim[0]"),
    }
    return Claim(**{**fields, **changes})


def bounds(least: float | None, expected: float | None, most: float | None = None, *, exact: bool = False) -> Bounds:
    return Bounds(least=least, expected=expected, most=most, exact=exact, basis="a test")


@pytest.mark.parametrize(
    ("said", "predicted", "measured", "status"),
    [
        (claim(50, 100), bounds(101, 110), (), Status.IMPOSSIBLE),
        (claim(50, 100), bounds(101, 110), (90.0,), Status.IMPOSSIBLE),
        (claim(50, 100), bounds(10, 20, 49), (), Status.IMPOSSIBLE),
        (claim(50, 100), bounds(60, 80), (), Status.PLAUSIBLE),
        (claim(50, 100), bounds(60, 99), (), Status.TIGHT),
        (claim(None, 100), bounds(60, 96), (), Status.TIGHT),
        (claim(None, 100), bounds(60, 94), (), Status.PLAUSIBLE),
        (claim(50, 100), bounds(60, 120), (), Status.TIGHT),
        (claim(50, 100), bounds(30, 40), (), Status.TIGHT),
        (claim(50, 100, limits=LimitedSide.HIGH), bounds(30, 40), (), Status.PLAUSIBLE),
        (claim(50, 100, limits=LimitedSide.NONE), bounds(101, 110), (), Status.IMPOSSIBLE),
        (claim(50, 100), bounds(60, 80), (70.0, 100.0), Status.CONFIRMED),
        (claim(50, 100), bounds(60, 80), (70.0, 100.1), Status.REFUTED),
        (claim(50, 100), bounds(None, None), (70.0,), Status.CONFIRMED),
        (claim(50, 100), bounds(None, None), (), Status.UNJUDGED),
        (claim(None, 100), bounds(0, None, 90), (), Status.PLAUSIBLE),
        (claim(None, 100), bounds(0, None, 110), (), Status.UNJUDGED),
        (claim(100, 100), bounds(100, 100, 100, exact=True), (), Status.CONFIRMED),
        (claim(100, 100), bounds(99, 99, 99, exact=True), (), Status.IMPOSSIBLE),
        # How much is enough: the need must not exceed it.
        (claim(100, None, metric="free_vram"), bounds(110, 120), (), Status.IMPOSSIBLE),
        (claim(100, None, metric="free_vram"), bounds(60, 80), (), Status.PLAUSIBLE),
    ],
)
def test_the_rule(said: Claim, predicted: Bounds, measured: tuple[float, ...], status: Status) -> None:
    assert judge_claim(said, predicted, measured) is status


def test_honesty_needs_both_directions() -> None:
    possible, forbidden = bounds(60, 80), bounds(101, 110)
    for said, predicted, honest in (
        (claim(50, 100), possible, True),
        (claim(50, 100), forbidden, False),
        (claim(50, 100, disputed="why"), forbidden, True),
        (claim(50, 100, disputed="why"), possible, False),
    ):
        status = judge_claim(said, predicted, ())
        found = AuditFinding(claim=said, variants=("a/bf16",), status=status, bounds=predicted, measured=())
        assert found.is_honest is honest
        assert ("disputes that do not go with the arithmetic" in render([found])) is not honest


def test_the_page_says_what_to_write_instead() -> None:
    found = next(f for f in findings() if f.status is Status.IMPOSSIBLE and f.claim.metric == "vram_needed")
    for everything in (False, True):
        text = render([found], everything)
        assert f"write instead: {found.bounds.instead}" in text
        assert (f'"{found.claim.quote}"' in text) is everything
    others = replace(found, claim=replace(found.claim, limits=LimitedSide.NONE))
    assert "write instead" not in render([others]), "a measurement is no promise"
    assert to_json([found])["findings"][0]["write_instead"] == found.bounds.instead


# --- the command


def audit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return plimsoll("audit", *arguments)


def evidence(folder: Path, variant: str, metric: str, value: float) -> Path:
    """A run of one cell that measured one thing."""
    cell = f"acceptance/test_memory.py::test_peak_vram[{variant}]"
    planned: dict[str, Any] = {"id": cell, "variant": variant, "model": "m", "quantization": "nf4", "tier": "gpu70b"}
    planned |= {"subject": "memory", "question": "test_peak_vram", "measures": [metric], "weights": "synthetic"}
    measurement = {"cell": cell, "metric": metric, "value": value, "unit": "bytes", "reason": "", "context": {}}
    events: list[dict[str, Any]] = [
        {"event": "plan", "cells": [planned], "deselected": 0},
        {"event": "measurement", **measurement},
    ]
    folder.mkdir()
    lines = [
        json.dumps({"at": "2026-01-01T00:00:00Z", "worker": "main", "seq": number, **event})
        for number, event in enumerate(events, start=1)
    ]
    (folder / "evidence.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.mark.parametrize(("value", "status"), [(40 * GIB, "confirmed"), (60 * GIB, "refuted")])
def test_evidence_confirms_and_refutes(tmp_path: Path, value: int, status: str) -> None:
    variant = "llama-3.1-70b-instruct/nf4"
    run = evidence(tmp_path / "run", variant, "vram_peak", value)
    done = audit("-m", "gpu70b and nf4", "--json", "--evidence", str(run))
    assert done.returncode == 0, done.stderr
    found = [
        f
        for f in json.loads(done.stdout)["findings"]
        if f["variants"] == [variant] and f["metric"] == "vram_peak" and f["disputed"] is None
    ]
    assert {f["status"] for f in found} == {status}
    assert {tuple(f["measured"]) for f in found} == {(value,)}
    assert "note" not in done.stderr


def test_evidence_of_something_else_is_said_to_be_that(tmp_path: Path) -> None:
    run = evidence(tmp_path / "run", "llama-3.1-70b-instruct:1-layer/nf4:cpu", "vram_peak", 40 * GIB)
    done = audit("-m", "gpu70b and nf4", "--json", "--evidence", str(run))
    assert done.returncode == 0, done.stderr
    assert "the evidence has no measurement of what is claimed here; a variant with fewer layers" in done.stderr
    assert not any(f["measured"] for f in json.loads(done.stdout)["findings"])


def test_a_dishonest_dispute_is_an_exit_status(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[[claim]]\nvariants = ["tiny-llama/bf16"]\nmetric = "parameter_count"\nlow = 1\nhigh = 2\nunit = "1"\n'
        'source = "a leaflet"\n'
    )
    done = audit("-m", "tiny and llama and bf16", "--catalogue", str(own))
    assert done.returncode == 1
    assert "parameter_count of tiny-llama/bf16 is impossible and not disputed" in done.stdout
    assert audit("-m", "tiny and llama and bf16").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("-m", "primry"), 2, "did you mean 'primary'?"),
        (("--evidence", "no-such-run"), 2, "no run 'no-such-run'"),
        (("-m", "tiny and gpu70b"), 5, "selects no variant of which anything is claimed"),
    ],
)
def test_mistakes_are_one_message(arguments: tuple[str, ...], status: int, message: str) -> None:
    done = audit(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_counts_come_first_and_then_what_is_to_be_corrected_or_was_measured() -> None:
    shipped = findings()
    confirmed = [found for found in shipped if found.status is Status.CONFIRMED]
    measured = replace(confirmed[0], measured=(7.0,))
    some = [measured, *confirmed[1:], *(found for found in shipped if found.status is not Status.CONFIRMED)]
    first, *rest = render(some).splitlines()
    assert first.startswith(f"{len(shipped)} claims: ")
    assert f"{len(confirmed)} confirmed" in first
    told = [line for line in rest if line.startswith("  ")]
    assert sum("measured" in line for line in told) == 1
    assert 20 < len(told) < 80
    assert len(render(some, everything=True).splitlines()) > 5 * len(told)
    assert not any(f"{found.claim.metric} of {found.variants[0]}:" in line for found in confirmed[1:] for line in told)
    assert "plimsoll audit --all" in rest[-1]
