"""Judges whether what was left unpacked is stored in the dtype that was asked for.

An architecture may hold a part of itself in another dtype, whatever is asked: Qwen2.5-Omni makes its sound in float32.
That is by design, and the footprint, which is read off the architecture, knows of it; all else has to be as asked.
"""

from __future__ import annotations

from plimsoll.footprint.sizes import Footprint
from plimsoll.host.protocol import Inventory
from plimsoll.judge.quantization import Discrepancy

_FLOAT = "float"


def check_dtypes(footprint: Footprint, inventory: Inventory, asked: str) -> tuple[Discrepancy, ...]:
    """What is not packed and is not in the dtype `asked`, nor in the one in which the architecture holds it."""
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
