"""Explains a memory figure that is out of its range: the causes that can be seen, each with its bytes.

A failure that says only "too much" makes its reader go through the same list by hand: did the experts stay in 16 bit,
were the statistics double-quantized, does another process hold memory, are these pages of files? Nothing here changes a
judgement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.packing import packed
from plimsoll.footprint.sizes import ExpectedParameter, Footprint
from plimsoll.host.protocol import HostMemory, Inventory, ParameterRecord
from plimsoll.judge.judgement import Judgement
from plimsoll.metrics import METRICS, Place
from plimsoll.symptoms.recognise import told_by
from plimsoll.units import format_bytes

_PACKED: Final = ("uint8", "int8")
_SMALL: Final = 0.01
"""The fraction of a figure below which a cause is not named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is known about a loaded variant besides the figure; None or empty where it is unknown."""

    quantization: Quantization
    footprint: Footprint
    """What should be stored."""
    inventory: Inventory | None = None
    memory: HostMemory | None = None
    predicted: int | None = None
    """The highest number of bytes that was predicted for the metric."""
    others: int | None = None
    """Bytes of the GPUs that other processes held before anything was loaded."""


def diagnose(judgement: Judgement, observed: Observed) -> tuple[str, ...]:
    """The causes of a figure that is out of its range, the largest first, without those that explain nothing. Empty for
    a figure that was not measured, or is in its range.
    """
    value, limit = judgement.measurement.value, judgement.limit
    if value is None or judgement.outcome.is_good:
        return ()
    if limit.low is not None and value < limit.low:
        return _stored_otherwise(judgement, observed) or _too_low(value, limit.low, observed)
    metric, high = judgement.measurement.metric, limit.high
    found = [*_stored(observed), *_beside(metric, observed)]
    heavy = sorted((pair for pair in found if pair[0] >= _SMALL * value), reverse=True)
    causes = tuple(text for _, text in heavy)
    explained = sum(size for size, _ in heavy)
    if high is not None and explained >= value - high:
        return causes
    return (*causes, *_unexplained(metric, value - explained, high, observed))


def _stored(observed: Observed) -> list[tuple[int, str]]:
    """Weights that are not stored as scheme and architecture require, with their excess bytes."""
    if observed.inventory is None:
        return _could_be_smaller(observed)
    pairs = _pairs(observed, observed.inventory)
    loose = [(e, r) for e, r in pairs if e.quantized and r.storage_dtype not in _PACKED]
    experts = [pair for pair in loose if pair[0].is_experts]
    linear = [pair for pair in loose if not pair[0].is_experts]
    wide = [(e, r) for e, r in pairs if not e.quantized and r.data_bytes > e.data_bytes]
    found = []
    for group, figure in ((experts, "experts"), (linear, "linear"), (wide, "unpacked")):
        if group:
            found.append((_too_many(group), _said(figure, widths=_widths(group), sizes=_sizes(group))))
    found += _surplus(observed)
    return [*found, *_statistics(pairs, observed.quantization), *(() if found else _could_be_smaller(observed))]


def _surplus(observed: Observed) -> list[tuple[int, str]]:
    """Tensors that the architecture does not have, such as a separate head in a checkpoint whose configuration ties it
    to the embedding."""
    expected = {part.name for part in observed.footprint.parameters}
    records = observed.inventory.parameters if observed.inventory else ()
    surplus = [record for record in records if record.name not in expected]
    found = []
    for record in surplus:
        size = record.data_bytes + record.statistics_bytes
        tied = " and".join(
            f" {part.name}"
            for part in observed.footprint.parameters
            if "by a tie" in part.reason and part.shape == record.shape
        )
        figure, facts = ("tied", {"other": tied.lstrip()}) if tied else ("surplus", {})
        found.append((size, _said(figure, name=record.name, size=format_bytes(size), **facts)))
    return found


def _pairs(observed: Observed, inventory: Inventory) -> list[tuple[ExpectedParameter, ParameterRecord]]:
    """Pairs of what should be stored and what is, for each stored parameter."""
    records = {record.name: record for record in inventory.parameters}
    return [
        (expected, records[expected.name]) for expected in observed.footprint.parameters if expected.name in records
    ]


def _statistics(
    pairs: Sequence[tuple[ExpectedParameter, ParameterRecord]], quantization: Quantization
) -> list[tuple[int, str]]:
    """Statistics of another size than the scheme's, with their excess bytes: these are negative where small weights are
    not double-quantized, as the tables would take more than they save."""
    others = [(e, r) for e, r in pairs if r.storage_dtype in _PACKED and r.statistics_bytes != e.statistics_bytes]
    if not others:
        return []
    have, want = (
        sum(part) for part in zip(*((r.statistics_bytes, e.statistics_bytes) for e, r in others), strict=True)
    )
    plain = quantization is Quantization.NF4_DQ and all(r.scheme == Quantization.NF4.value for _, r in others)
    told = {"have": format_bytes(have), "want": format_bytes(want)}
    said = _said("nested", **told) if plain else _said("statistics", scheme=quantization, **told)
    return [(have - want, said)]


def _stored_otherwise(judgement: Judgement, observed: Observed) -> tuple[str, ...]:
    """Why stored bytes are too few although every weight is there."""
    if METRICS[judgement.measurement.metric].place is not Place.STORED or observed.inventory is None:
        return ()
    found = _statistics(_pairs(observed, observed.inventory), observed.quantization)
    return tuple(text for size, text in found if size < 0)


def _could_be_smaller(observed: Observed) -> list[tuple[int, str]]:
    """A hint that plain nf4 keeps its statistics in float32, where a document may have meant nf4-dq: nothing is
    wrong."""
    if observed.quantization is not Quantization.NF4:
        return []
    covered = [p for p in observed.footprint.parameters if p.quantized]
    have = sum(p.statistics_bytes for p in covered)
    least = sum(packed(p.shape, Quantization.NF4_DQ).statistics_bytes for p in covered)
    return [(have - least, _said("nested_as_asked", size=format_bytes(have - least)))]


def _beside(metric: str, observed: Observed) -> list[tuple[int, str]]:
    """Causes other than weights: pages of files, and memory that others hold."""
    found = []
    memory = observed.memory
    if METRICS[metric].place is Place.RAM and memory is not None and memory.mapped_resident:
        found.append((memory.mapped_resident, _said("pages", size=format_bytes(memory.mapped_resident))))
    if METRICS[metric].place is Place.GPU and observed.others:
        found.append((observed.others, _said("others", size=format_bytes(observed.others))))
    return found


def _too_low(value: float, low: float, observed: Observed) -> tuple[str, ...]:
    held = observed.footprint.weight_bytes
    if value < held:
        return (_said("elsewhere", held=format_bytes(held)),)
    return (_said("range", held=format_bytes(held), low=format_bytes(low)),)


def _unexplained(metric: str, value: float, high: float | None, observed: Observed) -> tuple[str, ...]:
    """What the causes leave unexplained: either the limit cannot be kept, or there is memory that was not predicted."""
    if observed.predicted is None:
        return (_said("unpredicted"),)
    if high is not None and observed.predicted > high:
        return (_said("limit", predicted=format_bytes(observed.predicted)),)
    more = value - observed.predicted
    if more <= 0:
        return ()
    figure = "unknown_in_ram" if METRICS[metric].place is Place.RAM else "unknown"
    return (_said(figure, more=format_bytes(more), predicted=format_bytes(observed.predicted)),)


def _said(figure: str, **facts: object) -> str:
    """The text of a cause from the table of symptoms."""
    return told_by({"figure": figure, **facts}).cause


def _too_many(group: Sequence[tuple[ExpectedParameter, ParameterRecord]]) -> int:
    return sum(r.data_bytes + r.statistics_bytes - e.data_bytes - e.statistics_bytes for e, r in group)


def _widths(group: Sequence[tuple[ExpectedParameter, ParameterRecord]]) -> str:
    """`16-bit`, or `16-bit and 32-bit`."""
    widths = sorted({round(8 * r.data_bytes / max(1, e.count)) for e, r in group})
    return " and ".join(f"{width}-bit" for width in widths)


def _sizes(group: Sequence[tuple[ExpectedParameter, ParameterRecord]]) -> str:
    have = sum(r.data_bytes + r.statistics_bytes for _, r in group)
    want = sum(e.data_bytes + e.statistics_bytes for e, _ in group)
    tensors = "1 tensor takes" if len(group) == 1 else f"{len(group):,} tensors take"
    return f"{tensors} {format_bytes(have)} instead of {format_bytes(want)}"
