"""What a report calls a check, and the name by which a link finds its row on the page."""

from __future__ import annotations

import re
from typing import Final

from plimsoll.units import capitalised

_NAME: Final = re.compile(r"::(?:test_)?(?P<name>[^:\[]+)(?:\[.*)?\Z", re.DOTALL)
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
    found = _NAME.search(_PHASE.sub("", cell))
    name = cell if found is None else found["name"]
    if name in _TITLES:
        return _TITLES[name]
    text = " ".join(_WORDS.get(word, word) for word in name.split("_") if word)
    return capitalised(text) or cell


def check_anchor(cell: str) -> str:
    """The check's own id, which pytest takes as well; without white space, as the id of an element must be."""
    return re.sub(r"\s+", "_", _PHASE.sub("", cell))
