"""Converts and prints values: stored in base units (bytes, seconds, a plain number), printed for people.

Documents mix GB (1e9 bytes) with GiB (2**30 bytes), a 7 % difference that decides whether a model fits; so bytes are
always printed in both. Pages show GB alone, and the other to a pointer: `present.one_unit` sees to that.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final

_BYTES: Final = {
    "bytes": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_SECONDS: Final = {"s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0}
_PLAIN: Final = {"1": 1.0, "%": 0.01}

SCALE: Final[dict[str, tuple[str, float]]] = {
    **{name: ("bytes", float(scale)) for name, scale in _BYTES.items()},
    **{name: ("s", scale) for name, scale in _SECONDS.items()},
    **{name: ("1", scale) for name, scale in _PLAIN.items()},
    "bytes/s": ("bytes/s", 1.0),
    "GB/s": ("bytes/s", 1e9),
    "TB/s": ("bytes/s", 1e12),
    "FLOP/s": ("FLOP/s", 1.0),
    "TFLOP/s": ("FLOP/s", 1e12),
    "tokens": ("tokens", 1.0),
    "tokens/s": ("tokens/s", 1.0),
    "nats": ("nats", 1.0),
    "nats/byte": ("nats/byte", 1.0),
}
"""Unit name -> (base unit, factor to it)."""


def to_base(value: float, unit: str) -> tuple[float, str]:
    """`(value in the base unit, base unit)`; raises KeyError for a unit that SCALE does not know.

    Decimal arithmetic: 95 % must be exactly 0.95. At 0.9500000000000001, a value of 0.95 would fail its own bound.
    """
    base, factor = SCALE[unit]
    return float(Decimal(str(value)) * Decimal(str(factor))), base


def format_bytes(count: float) -> str:
    """`73.15 GB (68.13 GiB)`; below a megabyte the exact count, because small differences matter there."""
    if abs(count) < 10**6:
        return f"{count:,.0f} bytes"
    for decimal, binary, step in (("TB", "TiB", 4), ("GB", "GiB", 3), ("MB", "MiB", 2)):
        if abs(count) >= 1000**step:
            return f"{count / 1000**step:.2f} {decimal} ({count / 1024**step:.2f} {binary})"
    raise AssertionError("unreachable: every count of a megabyte or more has a step")


def format_short_bytes(count: float) -> str:
    """`73.2 GB`, `1.4 MB`, `12 kB`: for a line that is read at a glance."""
    for unit, step in (("TB", 4), ("GB", 3), ("MB", 2)):
        if abs(count) >= 1000**step:
            return f"{count / 1000**step:.1f} {unit}"
    return f"{count / 1000:.0f} kB"


def format_elapsed(seconds: float) -> str:
    """Whole seconds, `74 s`; from two minutes on like `format_seconds`."""
    return f"{round(seconds)} s" if seconds < 120 else format_seconds(seconds)


def format_seconds(seconds: float) -> str:
    """`0.412 s`, `12.3 s`, `4 min 05 s`, `1 h 12 min`."""
    if abs(seconds) < 10:
        return f"{seconds:.3f} s"
    if abs(seconds) < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def format_value(value: float, base_unit: str) -> str:
    """A value in a base unit, for people; NaN and infinities, which broken measurements give, as words."""
    if not math.isfinite(value):
        return f"{value} {base_unit}" if base_unit != "1" else f"{value}"
    if base_unit == "bytes":
        return format_bytes(value)
    if base_unit == "s":
        return format_seconds(value)
    if base_unit == "bytes/s":
        return f"{format_bytes(value)}/s"
    text = f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 10 else f"{value:.4g}"
    return text if base_unit == "1" else f"{text} {base_unit}"


_STEPS: Final = {
    "bytes": (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0)),
    "bytes/s": (("TB/s", 1e12), ("GB/s", 1e9), ("MB/s", 1e6), ("kB/s", 1e3), ("bytes/s", 1.0)),
    "FLOP/s": (("TFLOP/s", 1e12), ("GFLOP/s", 1e9), ("MFLOP/s", 1e6), ("FLOP/s", 1.0)),
    "s": (("s", 1.0), ("ms", 1e-3)),
}
_BINARY: Final = (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10))


def format_brief(value: float, base_unit: str) -> str:
    """A value in one unit and three digits, for a page that has the rest in a tooltip: `5.09 GB`, `0.1 ms`,
    `506 TFLOP/s`, `4 min 05 s`."""
    if not math.isfinite(value) or (base_unit == "s" and abs(value) >= 120):
        return format_value(value, base_unit)
    if base_unit == "1" and float(value).is_integer():
        return f"{value:,.0f}"
    unit, scale = step_of(value, base_unit)
    text = _three_digits(value / scale)
    return text if base_unit == "1" else f"{text} {unit}"


def format_exact(value: float, base_unit: str) -> str:
    """The same value in the other unit system and as it was measured: `4.74 GiB, 5,090,000,000 bytes`."""
    text = format_measured(value, base_unit)
    if not math.isfinite(value) or not base_unit.startswith("bytes"):
        return text
    rate = base_unit.removeprefix("bytes")
    binary = next(((unit, scale) for unit, scale in _BINARY if abs(value) >= scale), None)
    return text if binary is None else f"{value / binary[1]:.2f} {binary[0]}{rate}, {text}"


def format_measured(value: float, base_unit: str) -> str:
    """A value as it was measured, in its base unit: `5,090,000,000 bytes`."""
    if not math.isfinite(value):
        return format_value(value, base_unit)
    exact = f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1e6 else f"{value:,.6g}"
    return exact if base_unit == "1" else f"{exact} {base_unit}"


def step_of(value: float, base_unit: str) -> tuple[str, float]:
    """The unit in which a value is read best, and its factor: `("GB", 1e9)`."""
    steps = _STEPS.get(base_unit, ((base_unit, 1.0),))
    return next((step for step in steps if abs(value) >= step[1]), (base_unit, 1.0) if value == 0 else steps[-1])


def is_scaled(base_unit: str) -> bool:
    """True where a value is read in kilo, mega or milli of the unit."""
    return base_unit in _STEPS


def _three_digits(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.2g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".")


def capitalised(text: str) -> str:
    """A text that begins as a sentence does; `str.capitalize` would write the names in it small (Slurm, GPU)."""
    return text[:1].upper() + text[1:]


def counted(count: int, noun: str) -> str:
    """`1 cell`, `330 cells`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
