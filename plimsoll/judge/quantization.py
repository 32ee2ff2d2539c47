"""Judges whether a model is stored as it was asked for: packed where the scheme packs, else in the right dtype.

It compares two lists: the footprint that architecture and scheme should give, and the inventory of what was stored.
Weaker tests (flags, one checked layer, a footprint without its statistics) have accepted quantizations that did not
happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.packing import BLOCK
from plimsoll.footprint.sizes import ExpectedParameter, Footprint
from plimsoll.host.protocol import Inventory, ParameterRecord
from plimsoll.units import format_bytes

_PACKED: Final = ("uint8", "int8")
_FLOAT: Final = "float"
_ELSEWHERE: Final = ("cpu", "disk", "meta")


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """One difference. `parameter` names it, or is empty for the whole model; `explanation` is the sentence that a
    failing test prints."""

    parameter: str
    expected: str
    found: str
    explanation: str

    def __str__(self) -> str:
        return self.explanation


def quantized_count(footprint: Footprint, inventory: Inventory) -> int:
    """The number of the architecture's logical parameters that are stored packed (not the number of packed bytes)."""
    stored = {record.name for record in inventory.parameters if _is_packed(record)}
    return sum(expected.count for expected in footprint.parameters if expected.name in stored)


def check_expected_set(footprint: Footprint, inventory: Inventory) -> tuple[Discrepancy, ...]:
    """Check 1: exactly the weights that the scheme covers are stored packed, and none is missing or extra."""
    stored = {record.name: record for record in inventory.parameters}
    wrong = [_set_discrepancy(expected, stored.get(expected.name)) for expected in footprint.parameters]
    extra = stored.keys() - {expected.name for expected in footprint.parameters}
    return (
        *(discrepancy for discrepancy in wrong if discrepancy is not None),
        *(_differs(name, "no such parameter", stored[name].storage_dtype) for name in sorted(extra)),
    )


def _set_discrepancy(expected: ExpectedParameter, record: ParameterRecord | None) -> Discrepancy | None:
    if record is None:
        return _differs(expected.name, expected.storage_dtype, "not in the model")
    if record.storage_dtype == expected.storage_dtype:
        return None
    why = "" if expected.quantized else f" ({expected.reason})"
    return _differs(expected.name, f"{expected.storage_dtype}{why}", record.storage_dtype)


def check_state(
    footprint: Footprint, inventory: Inventory, quantization: Quantization, dtype: str | None = None
) -> tuple[Discrepancy, ...]:
    """Check 2: packed weights have the requested scheme, its blocks, and the weight's own shape, compute in `dtype`
    where it is given, and can be unpacked. Faults that the inventory noted on any parameter are reported here too."""
    shapes = {expected.name: expected.shape for expected in footprint.parameters}
    found: list[Discrepancy] = []
    for record in (*inventory.parameters, *inventory.buffers):
        found += (
            Discrepancy(parameter=record.name, expected="no fault", found=fault, explanation=f"{record.name}: {fault}")
            for fault in record.faults
        )
        shape = shapes.get(record.name, record.shape)
        if record.shape != shape:
            found.append(_differs(record.name, f"shape {shape}", f"shape {record.shape}"))
        if _is_packed(record) and record.scheme != quantization.value:
            found.append(_differs(record.name, _scheme(quantization.value), _scheme(record.scheme)))
        if dtype is not None and record.compute_dtype not in (None, dtype):
            found.append(_differs(record.name, f"computing in {dtype}", f"computing in {record.compute_dtype}"))
        if record.block_size not in (None, BLOCK):
            found.append(_differs(record.name, f"blocks of {BLOCK}", f"blocks of {record.block_size}"))
    return tuple(found)


def check_coverage(footprint: Footprint, inventory: Inventory) -> tuple[Discrepancy, ...]:
    """Check 3: the packed share of all logical parameters is what the architecture gives."""
    expected = sum(parameter.count for parameter in footprint.parameters if parameter.quantized)
    stored = quantized_count(footprint, inventory)
    if stored >= expected:
        return ()
    total = footprint.parameter_count
    left = _left_in_floats(footprint, inventory)
    return (
        Discrepancy(
            parameter="",
            expected=f"{expected:,}",
            found=f"{stored:,}",
            explanation=f"{_percent(stored, total)} of the parameters are quantized instead of "
            f"{_percent(expected, total)}: {'; '.join(left)}",
        ),
    )


def _left_in_floats(footprint: Footprint, inventory: Inventory) -> list[str]:
    """Weights that should have been packed but were not, by kind: `2 of 2 expert tensors, 97 % of the parameters,
    stayed in bfloat16`."""
    records = {record.name: record for record in inventory.parameters}
    lines = []
    for kind, members in _kinds(footprint).items():
        missed = [m for m in members if m.name not in records or not _is_packed(records[m.name])]
        if missed:
            dtypes = sorted({records[m.name].storage_dtype for m in missed if m.name in records}) or ["nothing"]
            share = _percent(sum(m.count for m in missed), footprint.parameter_count)
            lines.append(
                f"{len(missed):,} of {len(members):,} {kind}, {share} of the parameters, stayed in {', '.join(dtypes)}"
            )
    return lines


def _kinds(footprint: Footprint) -> dict[str, list[ExpectedParameter]]:
    """The parameters that should be packed, with fused experts as a kind of their own."""
    covered = [parameter for parameter in footprint.parameters if parameter.quantized]
    return {
        "expert tensors": [parameter for parameter in covered if parameter.is_experts],
        "linear weights": [parameter for parameter in covered if not parameter.is_experts],
    }


def check_stored_bytes(footprint: Footprint, inventory: Inventory) -> tuple[Discrepancy, ...]:
    """Check 4: every parameter and buffer takes the predicted bytes, in data and in statistics, and so does the whole
    model."""
    expected = {p.name: (p.data_bytes, p.statistics_bytes) for p in (*footprint.parameters, *footprint.buffers)}
    stored = {r.name: (r.data_bytes, r.statistics_bytes) for r in (*inventory.parameters, *inventory.buffers)}
    names = sorted(expected.keys() | stored.keys())
    wrong = [
        _differs(name, _bytes(expected.get(name)), _bytes(stored.get(name)))
        for name in names
        if expected.get(name) != stored.get(name)
    ]
    difference = inventory.stored_bytes - footprint.weight_bytes
    if not difference:
        return tuple(wrong)
    stored_text, predicted_text = apart(inventory.stored_bytes, footprint.weight_bytes)
    whole = Discrepancy(
        parameter="",
        expected=f"{footprint.weight_bytes:,} bytes",
        found=f"{inventory.stored_bytes:,} bytes",
        explanation=f"the model stores {stored_text} where {predicted_text} were predicted: "
        f"{format_bytes(abs(difference))} too {'many' if difference > 0 else 'few'}",
    )
    return (whole, *wrong)


def apart(one: int, other: int) -> tuple[str, str]:
    """Two sizes as texts; to the byte where rounding would make them look alike."""
    texts = format_bytes(one), format_bytes(other)
    return texts if texts[0] != texts[1] else (f"{one:,} bytes", f"{other:,} bytes")


def check_placement(
    device_map: Mapping[str, str],
    asked: Mapping[str, str | int] | str | None,
    device: str,
    *,
    may_offload: bool = False,
) -> tuple[Discrepancy, ...]:
    """Check 5: everything is on the device that it was sent to, and nothing else is on the CPU or on disk. `asked` is
    the variant's device map, None where the whole model belongs on `device`. A map that transformers chooses (`auto`)
    may use any GPU; RAM and disk only with `may_offload`, and RAM where it is the device itself.
    """
    wanted: Mapping[str, str] = {"": device} if asked is None else {}
    if isinstance(asked, Mapping):
        wanted = {name: f"cuda:{place}" if isinstance(place, int) else place for name, place in asked.items()}
    elif asked in _ELSEWHERE or (asked or "").startswith("cuda"):
        wanted = {"": str(asked)}
    wrong = []
    for name, place in device_map.items():
        right = _wanted_place(name, wanted)
        if right is None and (may_offload or place == device or place not in _ELSEWHERE):
            continue
        if right is None or _whole_device(place) != _whole_device(right):
            wrong.append(_differs(name or "the model", right or "a GPU", place))
    return tuple(wrong)


def _wanted_place(name: str, wanted: Mapping[str, str]) -> str | None:
    """The device of the longest entry of the map that covers a module; None where none does."""
    owners = [entry for entry in wanted if not entry or name == entry or name.startswith(f"{entry}.")]
    return wanted[max(owners, key=len)] if owners else None


def _whole_device(place: str) -> str:
    """The device with its index: torch reads `cuda` as `cuda:0`."""
    return "cuda:0" if place == "cuda" else place


def summarise(discrepancies: Sequence[Discrepancy], limit: int = 5) -> str:
    """The first few explanations, one line each, and how many more there are."""
    lines = [discrepancy.explanation for discrepancy in discrepancies[:limit]]
    more = len(discrepancies) - limit
    return "\n".join(lines + ([f"... and {more:,} more"] if more > 0 else []))


def _scheme(name: str) -> str:
    """The name of a scheme, with what tells `nf4-dq` from `nf4`."""
    if not name.startswith(("nf4", "fp4")):
        return name
    return f"{name[:3]} with {'nested (double-quantized)' if name.endswith('-dq') else 'plain'} statistics"


def _is_packed(record: ParameterRecord) -> bool:
    return record.storage_dtype in _PACKED and record.scheme not in ("float", "unknown")


def _differs(name: str, expected: str, found: str) -> Discrepancy:
    return Discrepancy(
        parameter=name, expected=expected, found=found, explanation=f"{name}: {found} instead of {expected}"
    )


def _bytes(sizes: Iterable[int] | None) -> str:
    if sizes is None:
        return "nothing"
    data, statistics = sizes
    return f"{data:,} bytes and {statistics:,} of statistics"


def _percent(part: int, whole: int) -> str:
    """A percentage with two digits, or three near 0 and 100: 97 %, but 99.7 %."""
    share = 100 * part / whole
    return f"{share:.1f} %" if 99 < share < 100 or 0 < share < 1 else f"{share:.0f} %"


def check_dtypes(footprint: Footprint, inventory: Inventory, asked: str) -> tuple[Discrepancy, ...]:
    """Unpacked parameters whose dtype is neither `asked` nor the one that the architecture prescribes, such as the
    float32 of Qwen2.5-Omni's sound."""
    held = {part.name: part.storage_dtype for part in footprint.parameters if not part.quantized}
    plain = {record.name: record.storage_dtype for record in inventory.parameters if record.scheme == _FLOAT}
    if asked not in plain.values():
        return (
            Discrepancy(
                parameter="",
                expected=asked,
                found=", ".join(sorted(set(plain.values()))) or "nothing",
                explanation=f"no parameter is stored in {asked}: not even embeddings or norms",
            ),
        )
    return tuple(
        Discrepancy(
            parameter=name,
            expected=held.get(name, asked),
            found=dtype,
            explanation=f"{name} is in {dtype}, and {held.get(name, asked)} was asked for",
        )
        for name, dtype in plain.items()
        if dtype != held.get(name, asked)
    )
