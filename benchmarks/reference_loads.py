"""Full-size models loaded from synthetic weights, one after another, and the table of what they took.

    python -m benchmarks.reference_loads run [PATTERN ...]    # runs the suite on each row that is missing, or matches
    python -m benchmarks.reference_loads table                # writes the table from the evidence that is kept

Each row is a run of the suite, `pytest --weights=synthetic --device=cpu`, with its verdict and evidence; the table is
made from the evidence alone. Rows come in the order of their size, and one model is in memory at a time.
"""

from __future__ import annotations

import fnmatch
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.portable_evidence import portable
from plimsoll.evidence.reader import read_run
from plimsoll.evidence.record import RunRecord
from plimsoll.judge.judgement import Judgement
from plimsoll.units import format_bytes, format_seconds
from plimsoll.verdict.verdict import reach_verdict

ROOT: Final = Path(__file__).parents[1]
REFERENCE: Final = ROOT / "reports" / "reference"
RUNS: Final = REFERENCE / "synthetic-cpu"
TABLE: Final = REFERENCE / "synthetic-loads.md"
NO_NUMERICS: Final = "not test_generation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run: a variant of the catalogue, cut to `layers` where they are given."""

    variant: str
    layers: int | None = None
    numerics: bool = True
    """False where forward passes on a CPU take longer than they are worth."""

    @property
    def altered(self) -> str:
        """The id that the variant has in the run."""
        model, _, name = self.variant.partition("/")
        depth = f":{self.layers}-layer{'s' if self.layers > 1 else ''}" if self.layers else ""
        return f"{model}{depth}/{name}:cpu"

    @property
    def folder(self) -> Path:
        """Where its evidence is kept. A colon is no part of a file's name everywhere."""
        return RUNS / self.altered.replace("/", "_").replace(":", ".")

    @property
    def arguments(self) -> list[str]:
        """What pytest is called with."""
        keyword = self.altered if self.numerics else f"{self.altered} and {NO_NUMERICS}"
        layers = [f"--layers={self.layers}"] if self.layers else []
        return ["-k", keyword, "--weights=synthetic", "--device=cpu", *layers]


ROWS: Final = (
    *(Row(variant=f"llama-3.2-1b/{name}", numerics=name != "nf4") for name in ("bf16", "int8", "nf4", "nf4-dq")),
    *(Row(variant=f"qwen2.5-1.5b/{name}", numerics=False) for name in ("bf16", "nf4")),
    *(Row(variant=f"llama-3.2-3b/{name}", numerics=False) for name in ("bf16", "nf4")),
    *(Row(variant=f"phi-3-mini-4k-instruct/{name}", numerics=False) for name in ("int8", "nf4")),
    Row(variant="qwen2.5-7b/int8", numerics=False),
    Row(variant="llama-3.1-8b/nf4-dq", numerics=False),
    Row(variant="llama-3.1-70b-instruct/nf4-dq", layers=1),
    Row(variant="mixtral-8x22b-instruct-v0.1/nf4-dq", layers=1),
)

ON_A_GPU: Final = (
    "llama-3.2-1b/fp16",
    "qwen2.5-7b/int8",
    "llama-3-8b/int8",
    "llama-3.1-70b-instruct/nf4",
    "llama-3.1-70b-instruct/nf4-dq",
    "mixtral-8x7b-instruct-v0.1/nf4-dq",
    "mixtral-8x22b-instruct-v0.1/nf4-dq",
)
"""What is to be loaded where there is a GPU."""


def run(row: Row) -> int:
    """Run the suite on one row and keep its evidence; pytest's exit status."""
    with tempfile.TemporaryDirectory() as name:
        reports = Path(name)
        command = [sys.executable, "-m", "pytest", f"--report-dir={reports}", *row.arguments]
        print(shlex.join(command), flush=True)
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        evidence = reports / "latest" / "evidence.jsonl"
        if evidence.exists():
            row.folder.mkdir(parents=True, exist_ok=True)
            text = portable(evidence.read_text(encoding="ascii"), ROOT, reports)
            (row.folder / "evidence.jsonl").write_text(text, encoding="ascii")
    return status


def table() -> str:
    """The page, from the evidence of every row that has some."""
    lines = [*HEAD, "", *_columns()]
    for row in ROWS:
        evidence = row.folder / "evidence.jsonl"
        cells = list(_cells(read_run(evidence, alone=True))) if evidence.exists() else ["not measured"]
        lines.append(
            f"| {row.altered.removesuffix(':cpu')} | {' | '.join(cells + [''] * (len(COLUMNS) - 1 - len(cells)))} |"
        )
    lines += ["", *GPU_HEAD, "", *(f"- {variant}: not measured" for variant in ON_A_GPU), ""]
    return "\n".join(lines)


COLUMNS: Final = (
    "variant",
    "stored",
    "predicted",
    "peak of RAM",
    "predicted, at most",
    "RAM held after",
    "made and packed in",
    "numerics: divergence with a cache, in a batch",
    "verdict",
)
HEAD: Final = (
    "# Synthetic loads on a CPU",
    "",
    "Full-size models (or one layer of them) loaded by `from_pretrained` from weights that are made up on demand, as",
    "[docs/synthetic-weights.md](../../docs/synthetic-weights.md) says. Made by `python -m benchmarks.reference_loads`",
    "from the evidence in [synthetic-cpu/](synthetic-cpu), of which each file is one run of the suite.",
    "",
    "RAM is over what the host had before, by the kernel's high-water mark. The prediction of its peak has 256 MiB for",
    "code and allocator in it. The seconds are those of making and packing weights on two busy cores: nothing was read",
    "from a disk, so they are no load time of the model. Memory of a GPU was not measured: there was none.",
)
GPU_HEAD: Final = (
    "## On a GPU",
    "",
    "No GPU was at hand. These rows are open; `pytest --weights=synthetic -k VARIANT` on a GPU fills them:",
)


def _columns() -> list[str]:
    return [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]


def _cells(record: RunRecord) -> Iterator[str]:
    stored, peak, after = (_judged(record, metric) for metric in ("weight_bytes", "ram_peak", "ram_after"))
    yield _value(stored)
    yield _difference(stored)
    yield _value(peak)
    yield "" if peak is None or peak.limit.high is None else format_bytes(peak.limit.high)
    yield _value(after)
    yield ", ".join(format_seconds(load.seconds) for load in record.loads[:1])
    yield ", ".join(_number(_judged(record, metric)) for metric in ("cache_divergence", "batch_divergence"))
    verdict = reach_verdict(record)
    yield f"{verdict.word}, {verdict.planned} cells"


def _judged(record: RunRecord, metric: str) -> Judgement | None:
    """The judgement of a metric; None where it was not asked."""
    judgements = (j for evidence in record.cells.values() for j in evidence.judgements)
    return next((j for j in judgements if j.measurement.metric == metric), None)


def _value(judgement: Judgement | None) -> str:
    return (
        "not measured"
        if judgement is None or judgement.measurement.value is None
        else format_bytes(judgement.measurement.value)
    )


def _difference(judgement: Judgement | None) -> str:
    """The prediction, by its distance from what was stored."""
    if judgement is None or judgement.measurement.value is None or judgement.limit.low is None:
        return "not measured"
    difference = judgement.measurement.value - judgement.limit.low
    return "the same" if not difference else f"{format_bytes(judgement.limit.low)}, {difference:+,.0f} bytes"


def _number(judgement: Judgement | None) -> str:
    return (
        "not asked"
        if judgement is None or judgement.measurement.value is None
        else f"{judgement.measurement.value:.3f}"
    )


def main(arguments: Sequence[str]) -> int:
    """Run rows or write the table."""
    what, *patterns = arguments or ["table"]
    if what == "run":
        chosen = [
            r
            for r in ROWS
            if (any(fnmatch.fnmatch(r.altered, p) for p in patterns) if patterns else not r.folder.exists())
        ]
        return max([run(row) for row in chosen], default=0)
    TABLE.write_text(table(), encoding="utf-8")
    print(TABLE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
