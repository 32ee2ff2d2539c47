"""Keeps what was expected of a variant in evidence: written before the first load, read by every report.

A report may be made years later, on a machine without the catalogue, torch or a cache of predictions. So the claims on
each variant and its predicted bounds go into evidence with the gate's decision; only the findings are computed anew, as
they depend on what was measured afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from plimsoll.audit.auditing import AuditFinding, judge_claim, measurements
from plimsoll.audit.bounds import Bounds, bounds_of
from plimsoll.catalogue.entries import Claim, Origin, Variant
from plimsoll.evidence.record import GateRecord, RunRecord
from plimsoll.footprint.demand import Demand
from plimsoll.footprint.load_peak import RAM
from plimsoll.metrics import METRICS


def expectation_fields(variant: Variant, demand: Demand | None) -> dict[str, Any]:
    """`bounds` and `claims` of a GATE event; without a demand nothing was predicted, and only the claims are known."""
    claims = [claim for claim in variant.claims if not claim.together]
    if demand is None:
        return {"bounds": {}, "claims": [_claim_fields(claim, Bounds(basis="not predicted")) for claim in claims]}
    # A report shows what is possible for these, whether or not a document speaks of them.
    metrics = [name for name, metric in METRICS.items() if metric.is_drawn_on(variant.tier.device)]
    return {
        "bounds": {metric: asdict(_bounds(metric, variant, demand)) for metric in metrics},
        "claims": [_claim_fields(claim, bounds_of(claim, variant, demand)) for claim in claims],
    }


def recorded_bounds(gate: GateRecord) -> dict[str, Bounds]:
    """Metric -> predicted bounds; empty where an early run did not record them, or none could be made."""
    return {metric: _read_bounds(bounds) for metric, bounds in gate.bounds.items() if metric in METRICS}


def recorded_claims(gate: GateRecord, metric: str | None = None) -> Iterator[tuple[Claim, Bounds]]:
    """What documents said of the gate's variant, of one metric or of all, with what prediction allowed; claims of a
    metric that this version does not know are left out."""
    for fields in gate.claims:
        if fields["metric"] in METRICS and metric in (None, fields["metric"]):
            yield _read_claim(gate.variant, fields), _read_bounds(fields["bounds"])


def recorded_findings(record: RunRecord) -> list[AuditFinding]:
    """The finding on each recorded claim about each variant, by what the run measured."""
    measured = measurements(record.runs)
    findings = []
    for gate in record.gates.values():
        for claim, bounds in recorded_claims(gate):
            values = () if claim.conditions else measured.get((gate.variant, claim.metric), ())
            findings.append(
                AuditFinding(
                    claim=claim,
                    variants=(gate.variant,),
                    status=judge_claim(claim, bounds, values),
                    bounds=bounds,
                    measured=values,
                )
            )
    return findings


def _bounds(metric: str, variant: Variant, demand: Demand) -> Bounds:
    unsaid = Claim(
        variants=(variant.id,),
        metric=metric,
        low=None,
        high=None,
        unit=METRICS[metric].unit,
        source="",
        origin=variant.origin,
    )
    bounds = bounds_of(unsaid, variant, demand)
    if variant.tier.device != "cpu" or not metric.startswith("ram_"):
        return bounds
    # On a CPU the weights lie in RAM: there is a figure to expect, which a host beside a GPU does not have.
    return replace(bounds, expected=(demand.held if metric == "ram_after" else demand.load)[RAM])


def _claim_fields(claim: Claim, bounds: Bounds) -> dict[str, Any]:
    return {
        "metric": claim.metric,
        "low": claim.low,
        "high": claim.high,
        "source": claim.source,
        "quote": claim.quote,
        "limits": claim.limits.value,
        "conditions": dict(claim.conditions),
        "disputed": claim.disputed,
        "origin": str(claim.origin),
        "bounds": asdict(bounds),
    }


def _read_claim(variant: str, fields: Mapping[str, Any]) -> Claim:
    return Claim(
        variants=(variant,),
        metric=fields["metric"],
        low=fields["low"],
        high=fields["high"],
        unit=METRICS[fields["metric"]].unit,
        source=str(fields.get("source") or ""),
        quote=_text(fields.get("quote")),
        limits=fields["limits"],
        conditions=fields["conditions"],
        disputed=_text(fields.get("disputed")),
        origin=Origin(file=Path("evidence"), key=str(fields.get("origin") or "")),
    )


def _read_bounds(fields: Mapping[str, Any]) -> Bounds:
    return Bounds(
        least=fields["least"],
        expected=fields["expected"],
        most=fields["most"],
        exact=fields.get("exact") is True,
        basis=str(fields.get("basis") or ""),
        instead=str(fields.get("instead") or ""),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
