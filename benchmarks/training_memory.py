"""Parts and peak of real training steps, measured on a CPU against predicted: the table of docs/headroom.md.

`python -m benchmarks.training_memory --rows 'tiny-*'`: each row loads a model in a host of its own, trains it for two
steps, and counts the second. Rows of full-size models have weights that are made up, and so few layers that they fit.
Rows are added to a JSON lines file, so that a table can be made in several sittings; `--table` prints what is there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import Catalogue, Quantization, Variant
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.footprint.prediction import Subject
from plimsoll.footprint.training import PARTS, Mode, Training
from plimsoll.host.client.process import Host, Hosts
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.specify import load_spec
from plimsoll.host.training import PredictStep, Train, TrainingData
from plimsoll.tiny.store import Store

_ROWS: Final = Path("reports/reference/training-memory.jsonl")
_TINY: Final = ("tiny-llama", "tiny-qwen", "tiny-mistral", "tiny-mixtral", "tiny-phi")
_LARGE: Final = ("llama-3.2-1b", "mistral-7b-v0.3", "qwen2.5-1.5b")
_BRIDGES: Final = {True: 2**14, False: 4 * 10**6}
_SIZES: Final = ((1, 128), (1, 512), (4, 128), (4, 512))
_PACKED: Final = (Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ)
_PACKED_SIZES: Final = (_SIZES[0], _SIZES[-1])
_SHORT: Final = 128
_LONG: Final = 512
_DEADLINE: Final = 900.0
"""Seconds for one step of a full-size layer on a busy processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One step that is measured."""

    model: str
    layers: int
    """0 for all."""
    attention: str
    checkpointing: bool
    batch: int
    length: int
    scheme: Quantization | None = None
    """How weights are packed; None for floats."""

    @property
    def id(self) -> str:
        """`llama-3.2-1b.1-layer-sdpa-4x128`; `tiny-phi.int8-sdpa-4x512` of packed weights."""
        depth = f".{self.layers}-layer" if self.layers else ""
        packed = f".{self.scheme}" if self.scheme else ""
        again = "-again" if self.checkpointing else ""
        return f"{self.model}{depth}{packed}-{self.attention}{again}-{self.batch}x{self.length}"


def rows(*, slow: bool) -> Iterator[Row]:
    """Every row of the table, small ones first; those that take minutes where `slow` asks for them."""
    for model in (*_TINY, *_LARGE):
        for layers in (0,) if model in _TINY else (1, 2):
            for (batch, length), attention, again in product(_SIZES, ("sdpa", "eager"), (False, True)):
                row = Row(
                    model=model, layers=layers, attention=attention, checkpointing=again, batch=batch, length=length
                )
                if slow or model in _TINY or not _is_slow(row):
                    yield row
    for model, scheme, (batch, length), again in product(_TINY, _PACKED, _PACKED_SIZES, (False, True)):
        yield Row(
            model=model,
            layers=0,
            attention="sdpa",
            checkpointing=again,
            batch=batch,
            length=length,
            scheme=scheme,
        )


def _is_slow(row: Row) -> bool:
    """True for a step that two cores take minutes for: of a full-size model the shortest text is trained on in every
    way, and longer ones with one layer."""
    size = row.batch * row.length
    return size > _SHORT and (row.layers > 1 or row.checkpointing or (size > _LONG and row.attention == "eager"))


def main() -> int:
    """Measure what is asked for and not there yet, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="*", metavar="PATTERN", help="ids of rows: 'tiny-*', '*sdpa-1x128'")
    parser.add_argument("--slow", action="store_true", help="steps of full-size layers that take minutes, too")
    parser.add_argument("--file", type=Path, default=_ROWS, help=f"where rows are kept (default: {_ROWS})")
    parser.add_argument("--table", action="store_true", help="measure nothing, and print Markdown")
    options = parser.parse_args()
    there = _read(options.file)
    if options.table:
        print("\n".join(_table(there)))
        return 0
    known = {row["id"] for row in there}
    wanted = [row for row in rows(slow=options.slow) if fnmatchcase(row.id, options.rows) and row.id not in known]
    catalogue = read_catalogue()
    with Hosts() as hosts, tempfile.TemporaryDirectory() as logs:
        for row in wanted:
            host = hosts.start(row.id, Path(logs) / f"{row.id}.log", threads=1)
            found = measure(row, catalogue, host)
            host.close()
            with options.file.open("a", encoding="utf-8") as file:
                print(json.dumps(found), file=file)
            peaks = (f"{which} {found[which]['peak']:,}" for which in ("measured", "predicted"))
            print(f"{row.id}: {', '.join(peaks)}", file=sys.stderr)
    return 0


def measure(row: Row, catalogue: Catalogue, host: Host) -> dict[str, Any]:
    """The parts of a row, measured in a fresh host and predicted there before."""
    small = row.model in _TINY
    variant = _variant(row, catalogue)
    training = Training(mode=Mode.BRIDGE, size=_BRIDGES[small], checkpointing=row.checkpointing)
    data = TrainingData(batch=row.batch, length=row.length)
    train = Train(spec=_spec(variant, small=small), training=training, data=data, steps=2, rate=1e-3)
    predict = PredictStep(subject=Subject.of(variant), partner=None, training=training)
    predicted, trained = host.ask(predict, _DEADLINE), host.ask(train, _DEADLINE)
    expected = predicted.at(row.batch, row.length, device="cpu")
    return {
        "id": row.id,
        **asdict(row),
        "dtype": variant.dtype,
        "measured": {name: getattr(trained.parts, name) for name in PARTS} | {"phase": trained.parts.phase},
        "predicted": {name: getattr(expected, name) for name in PARTS} | {"phase": expected.phase},
        "method": trained.method,
    }


def _variant(row: Row, catalogue: Catalogue) -> Variant:
    """The entry in bf16 or packed; of a full-size model its first layers, in float32: products in 16 bit have no fast
    kernel on the way back on every processor."""
    variant = replace(catalogue.variants[f"{row.model}/{row.scheme or Quantization.BF16}"], attention=row.attention)
    if not row.layers:
        return variant
    config = {**variant.model.config, "num_hidden_layers": row.layers}
    model = replace(variant.model, config=config)
    return replace(variant, model=model, quantization=Quantization.FP32)


def _spec(variant: Variant, *, small: bool) -> LoadSpec:
    model = variant.model
    folder = str(Store().ensure(model).path) if small else model.id
    asked = load_spec(variant, folder, synthetic_config=None if small else model.config)
    return replace(asked, device="cpu", device_map=None)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def _table(there: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Measured parts in MB, and how far the prediction of each lies beside it."""
    yield f"| step | dtype | {' | '.join(PARTS)} | worst part | peak |"
    yield f"|{'---|' * (len(PARTS) + 4)}"
    for row in there:
        measured, predicted = row["measured"], row["predicted"]
        apart = {name: predicted[name] / measured[name] - 1 for name in PARTS if measured[name]}
        worst = max(apart, key=lambda name: abs(apart[name]))
        cells = " | ".join(f"{measured[name] / 1e6:,.2f}" for name in PARTS)
        yield f"| {row['id']} | {row['dtype']} | {cells} | {worst} {apart[worst]:+.2%} | {apart['peak']:+.2%} |"


if __name__ == "__main__":
    sys.exit(main())
