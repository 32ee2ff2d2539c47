"""What a report calls a check, and the name by which a link finds its row on the page."""

from __future__ import annotations

import re
from typing import Final

_PARTS: Final = re.compile(
    r"(?:.*/)?(?:test_)?(?P<file>[^/:]*?)(?:\.py)?::(?:test_)?(?P<name>[^\[]*)(?P<asked>\[.*)?\Z",
    re.DOTALL,
)
_PHASE: Final = re.compile(r"::(?:setup|teardown|call)\Z")
_WORDS: Final = {
    **{word: word.upper() for word in ("cpu", "ddp", "ecc", "gpu", "gpus", "kl", "pcie", "ram")},
    "gpus": "GPUs",
    "vram": "GPU memory",
    "xid": "Xid",
}
_TITLES: Final = {"peak": "Peak GPU memory", "peak_vram": "Peak GPU memory", "matmul": "Speed of products"}
"""Where the words of a test's name would not do."""


def check_title(cell: str) -> str:
    """`Stored bytes` of `acceptance/test_memory.py::test_stored_bytes[tiny-llama/nf4]`."""
    found = _PARTS.match(_PHASE.sub("", cell))
    name = cell if found is None else found["name"]
    if name in _TITLES:
        return _TITLES[name]
    text = " ".join(_WORDS.get(word, word) for word in name.split("_") if word)
    return text[:1].upper() + text[1:] or cell


def check_anchor(cell: str) -> str:
    """`memory.stored_bytes[tiny-llama/nf4]` of the same; without white space, as an id must be."""
    found = _PARTS.match(_PHASE.sub("", cell))
    text = cell if found is None else f"{found['file']}.{found['name']}{found['asked'] or ''}"
    return re.sub(r"\s+", "_", text)
