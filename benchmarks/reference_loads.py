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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.portable_evidence import portable
from plimsoll.evidence.reader import read_run
from plimsoll.evidence.record import Measured, RunRecord
from plimsoll.judge.judgement import Judgement
from plimsoll.units import format_bytes, format_seconds
from plimsoll.verdict.verdict import reach_verdict

ROOT: Final = Path(__file__).parents[1]
REFERENCE: Final = ROOT / "reports" / "reference"
RUNS: Final = REFERENCE / "synthetic-cpu"
TABLE: Final = REFERENCE / "synthetic-loads.md"
NO_NUMERICS: Final = "not test_generation"
NOT_ASKED: Final = "not asked"
DIVERGENCES: Final = ("cache_divergence", "batch_divergence", "quantized_divergence")


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
    Row(variant="qwen2.5-omni-7b/int8", layers=1),
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
STOCK: Final = "mixtral-8x7b-instruct-v0.1/stock"
"""A mixture as the software stack loads it on its own, its experts in 16 bit."""


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
    on_gpus = ([variant, "not measured", f"`{_command(variant)}`"] for variant in ON_A_GPU)
    stock = [STOCK, "not measured", f"`{_command(STOCK)} --catalogue=stock.toml`, with the file below"]
    lines = [
        HEAD,
        *_table(COLUMNS, (tuple(_cells(row)) for row in ROWS)),
        "",
        GPU_HEAD,
        *_table(("variant", "", "command"), (*on_gpus, stock)),
        "",
        STOCK_CATALOGUE,
    ]
    return "\n".join(lines)


COLUMNS: Final = (
    "variant",
    "stored",
    "predicted",
    "error",
    "peak of RAM",
    "predicted",
    "error",
    "made and packed in",
    "divergence with a cache, in a batch, from bf16",
    "verdict",
)
HEAD: Final = """\
# Synthetic loads

Full-size models, or one layer of them, loaded by `from_pretrained` from weights that are made up on demand, as
[docs/synthetic-weights.md](../../docs/synthetic-weights.md) says. `python -m benchmarks.reference_loads run` loads
them, one after another; `table` makes this page from the evidence in [synthetic-cpu/](synthetic-cpu), a run of the
suite each, without the samples of memory and the names of the machine.

## On a CPU
Stored is what every parameter, buffer and quantization statistic takes once loaded. The peak is the kernel's
high-water mark while loading, over what the host had before. Nothing measured is in a prediction: each is made from
the configuration alone. The suite allows stored bytes no error, and a peak 256 MiB more, for code and allocator.

The seconds are those of making and packing weights on two cores that others used as well. Nothing was read from a
disk, so they are no load time of the model. [docs/catalogue.md](../../docs/catalogue.md) says what divergences may be;
those of a model that was never trained are no measure of its quality.
"""
GPU_HEAD: Final = """\
## On a GPU
Not measured: no GPU was at hand. Each command measures its row on a GPU of the size that `plimsoll plan` asks for: the
predicted bytes against what torch allocates and reserves and what NVML says, the context, and the load's peak.
"""


STOCK_CATALOGUE: Final = """\
The last row is the mixture as the software stack loads it on its own. It has to fail, with "experts are 16-bit" for a
cause, so it is no variant of the catalogue; `stock.toml` makes it one:
```toml
[[variant]]
models = ["mixtral-8x7b-instruct-v0.1"]
quantizations = ["nf4-dq"]
name = "stock"
tier = "gpumoe"
load_options = { fused_experts = "stock" }
```
"""


def _command(variant: str) -> str:
    """What measures a row on a GPU; a keyword that ends in nf4 is one of nf4-dq too."""
    only = f"{variant} and not nf4-dq" if variant.endswith("/nf4") else variant
    return f"pytest --weights=synthetic -k '{only}'"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join([*row, *[''] * (len(columns) - len(row))])} |"


def _cells(row: Row) -> Iterator[str]:
    yield row.altered.removesuffix(":cpu")
    evidence = row.folder / "evidence.jsonl"
    if not evidence.exists():
        yield "not measured"
        return
    record = read_run(evidence, alone=True)
    stored, peak = _judged(record, "weight_bytes"), _measured(record, "ram_peak")
    yield from _beside(
        None if stored is None else stored.measurement.value, None if stored is None else stored.limit.low
    )
    yield from _beside(*((None, None) if peak is None else (peak.measurement.value, peak.context["predicted"])))
    yield ", ".join(format_seconds(load.seconds) for load in record.loads[:1])
    divergences = [_number(_judged(record, metric)) for metric in DIVERGENCES]
    yield ", ".join(divergences) if set(divergences) != {NOT_ASKED} else NOT_ASKED
    verdict = reach_verdict(record)
    yield f"{verdict.word}, {verdict.planned} checks"


def _beside(found: float | None, predicted: float | None) -> tuple[str, str, str]:
    """What was found, what was predicted, and how far the prediction is off."""
    if found is None or predicted is None:
        return ("not measured", "", "")
    error = "0" if found == predicted else f"{predicted / found - 1:+.2%}"
    return (format_bytes(found), format_bytes(predicted), error)


def stored_bytes(variant: str) -> int | None:
    """What a whole model stored once it was loaded; None where no evidence of that is kept."""
    evidence = Row(variant=variant).folder / "evidence.jsonl"
    if not evidence.exists():
        return None
    stored = _judged(read_run(evidence, alone=True), "weight_bytes")
    return None if stored is None or stored.measurement.value is None else round(stored.measurement.value)


def _judged(record: RunRecord, metric: str) -> Judgement | None:
    """The judgement of a metric; None where it was not asked."""
    judgements = (j for evidence in record.cells.values() for j in evidence.judgements)
    return next((j for j in judgements if j.measurement.metric == metric), None)


def _measured(record: RunRecord, metric: str) -> Measured | None:
    """The measurement of a metric, with its context; None where there is none."""
    measurements = (m for evidence in record.cells.values() for m in evidence.measurements)
    return next((m for m in measurements if m.measurement.metric == metric), None)


def _number(judgement: Judgement | None) -> str:
    if judgement is None or judgement.measurement.value is None:
        return NOT_ASKED
    return f"{judgement.measurement.value:.3f}"


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
