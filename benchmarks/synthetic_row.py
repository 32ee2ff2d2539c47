"""One variant of the catalogue loaded from synthetic weights: how the suite is called, and what its evidence says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plimsoll.evidence.record import Measured, RunRecord
from plimsoll.judge.judgement import Judgement
from plimsoll.units import format_bytes

ROOT: Final = Path(__file__).parents[1]
REFERENCE: Final = ROOT / "reports" / "reference"
RUNS: Final = REFERENCE / "synthetic-cpu"
NO_NUMERICS: Final = "not test_generation"
NOT_MEASURED: Final = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run: a variant of the catalogue, cut to `layers` where they are given."""

    variant: str
    layers: int | None = None
    numerics: bool = True
    """False where forward passes on a CPU take longer than they are worth."""
    on_cpu: bool = True
    """False for the device that the variant's tier asks for."""

    @property
    def altered(self) -> str:
        """The id that the variant has in the run."""
        model, _, name = self.variant.partition("/")
        depth = f":{self.layers}-layer{'s' if self.layers > 1 else ''}" if self.layers else ""
        return f"{model}{depth}/{name}{':cpu' if self.on_cpu else ''}"

    @property
    def folder(self) -> Path:
        """Where the evidence of a row on a CPU is kept. A colon is no part of a file's name everywhere."""
        return RUNS / self.altered.replace("/", "_").replace(":", ".")

    @property
    def arguments(self) -> list[str]:
        """What pytest is called with."""
        # A keyword is part of an id, and nf4 is part of nf4-dq.
        only = f"{self.altered} and not nf4-dq" if self.altered.endswith("/nf4") else self.altered
        keyword = only if self.numerics else f"{only} and {NO_NUMERICS}"
        layers = [f"--layers={self.layers}"] if self.layers else []
        return ["-k", keyword, "--weights=synthetic", *(["--device=cpu"] if self.on_cpu else []), *layers]


def judged(record: RunRecord, metric: str) -> Judgement | None:
    """The judgement of a metric; None where it was not asked."""
    judgements = (j for evidence in record.cells.values() for j in evidence.judgements)
    return next((j for j in judgements if j.measurement.metric == metric), None)


def measured(record: RunRecord, metric: str) -> Measured | None:
    """The measurement of a metric, with its context; None where there is none."""
    measurements = (m for evidence in record.cells.values() for m in evidence.measurements)
    return next((m for m in measurements if m.measurement.metric == metric), None)


def beside(found: float | None, predicted: float | None) -> tuple[str, str, str]:
    """What was found, what was predicted, and how far the prediction is off."""
    if found is None or predicted is None:
        return (NOT_MEASURED, "", "")
    error = "0" if found == predicted else f"{predicted / found - 1:+.2%}"
    return (format_bytes(found), format_bytes(predicted), error)
