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
from pathlib import Path
from typing import Final

from benchmarks.campaign.stages import read_stages
from benchmarks.campaign.table import LOAD_COLUMNS, load_cells
from benchmarks.campaign.table import table as table_of
from benchmarks.portable_evidence import portable
from benchmarks.synthetic_row import NOT_MEASURED, REFERENCE, ROOT, Row, beside, judged, measured
from plimsoll.evidence.reader import read_run
from plimsoll.judge.judgement import Judgement
from plimsoll.units import format_seconds
from plimsoll.verdict.verdict import reach_verdict

TABLE: Final = REFERENCE / "synthetic-loads.md"
NOT_ASKED: Final = "not asked"
DIVERGENCES: Final = ("cache_divergence", "batch_divergence", "quantized_divergence")


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
    lines = [HEAD, *table_of(COLUMNS, (tuple(_cells(row)) for row in ROWS)), "", *_on_gpus()]
    return "\n".join([*lines, ""])


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
The [reference campaign](../../docs/gpu-campaign.md) loads these whole, from synthetic weights, and holds the predicted
peak against what torch allocates and reserves, what NVML says, and the context. The one called `stock` is a mixture as
the software stack loads it on its own: it has to be rejected, with "experts are 16-bit" for a cause.
"""
NO_GPU: Final = "Not measured: no GPU was at hand. Each command measures its row on a GPU of the size that it needs."


def _on_gpus() -> Iterator[str]:
    """What campaigns measured on each GPU; where there was none, how to measure it."""
    yield GPU_HEAD
    steps = [step for stage in read_stages() for step in stage.steps if step.variant]
    gpus = sorted({found.parents[1] for found in REFERENCE.glob("*/*/step.json")})
    for gpu in gpus:
        yield f"### [{gpu.name}]({gpu.name}/README.md)"
        yield from table_of(LOAD_COLUMNS, (load_cells(step, gpu) for step in steps))
    if not gpus:
        yield NO_GPU
        yield ""
        commands = ((s.variant, NOT_MEASURED, f"`pytest {shlex.join(s.arguments)}`") for s in steps)
        yield from table_of(("variant", "", "command"), commands)


def _cells(row: Row) -> Iterator[str]:
    yield row.altered.removesuffix(":cpu")
    evidence = row.folder / "evidence.jsonl"
    if not evidence.exists():
        yield NOT_MEASURED
        return
    record = read_run(evidence, alone=True)
    stored, peak = judged(record, "weight_bytes"), measured(record, "ram_peak")
    yield from beside(
        None if stored is None else stored.measurement.value, None if stored is None else stored.limit.low
    )
    yield from beside(*((None, None) if peak is None else (peak.measurement.value, peak.context["predicted"])))
    yield ", ".join(format_seconds(load.seconds) for load in record.loads[:1])
    divergences = [_number(judged(record, metric)) for metric in DIVERGENCES]
    yield ", ".join(divergences) if set(divergences) != {NOT_ASKED} else NOT_ASKED
    verdict = reach_verdict(record)
    yield f"{verdict.word}, {verdict.planned} checks"


def stored_bytes(variant: str) -> int | None:
    """What a whole model stored once it was loaded; None where no evidence of that is kept."""
    evidence = Row(variant=variant).folder / "evidence.jsonl"
    if not evidence.exists():
        return None
    stored = judged(read_run(evidence, alone=True), "weight_bytes")
    return None if stored is None or stored.measurement.value is None else round(stored.measurement.value)


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
