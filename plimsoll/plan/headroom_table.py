"""Shows the headroom for training as text, as JSON, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from plimsoll.footprint.training import PARTS, Phase
from plimsoll.gate.need import CONTEXT_ALLOWANCE
from plimsoll.plan.headroom import RESERVE, Headroom, Otherwise, table_sizes
from plimsoll.present.document import Svg, Table, columns
from plimsoll.present.terminal import LONGEST, aligned
from plimsoll.units import format_bytes

_WHAT: Final = {
    "weights": "weights, and what is trained beside them",
    "activations": "kept between the two passes",
    "gradients": "of what is trained",
    "optimizer": "states of the optimizer",
    "workspace": "there for a moment only, at the highest point",
    "peak": "all at once",
}
_MARKS: Final = "+ safe, ~ fits without the reserve, blank: does not fit"


def render(machine: str, room: Headroom, others: Sequence[Otherwise]) -> str:
    """The largest safe batch, its parts, what limits it, other ways to train, and a table over batch and length."""
    wanted, batch = room.wanted, room.safe_batch()
    title = f"{wanted.name} on {machine}, {format_bytes(room.memory)}: {wanted.training}, {wanted.length:,} tokens"
    parts = room.parts(max(batch, 1))
    rows = tuple((name, f"{getattr(parts, name) / 1e9:.2f}", _WHAT[name]) for name in PARTS)
    told = aligned(Table(columns=columns("part", "GB", "", figures=(1,)), rows=rows), indent=0, widest=LONGEST)
    return "\n".join(
        [
            title,
            *_answer(room, batch),
            "",
            f"a step with {max(batch, 1)} at once takes most in its {_phase(parts.phase)}:",
            *told,
            "",
            *_others(others, batch),
            "",
            f"GB at the highest point, by sequences at once and tokens ({_MARKS}):",
            *_grid(room),
            "",
            f"{format_bytes(CONTEXT_ALLOWANCE)} are set aside for the CUDA context, and {RESERVE:.0%} of all but the "
            "weights for what is not predicted: gaps between blocks, and what a kernel takes within an operation",
        ]
    )


def _phase(phase: Phase) -> str:
    return {
        Phase.FORWARD: "forward pass",
        Phase.BACKWARD: "backward pass",
        Phase.UPDATE: "update",
    }[phase]


def _answer(room: Headroom, batch: int) -> list[str]:
    if not batch:
        lacking = room.reserve(1) - room.left(1)
        return [f"not one sequence is safe: {format_bytes(lacking)} are lacking; what takes most: {room.limit}"]
    times = f", {batch * room.wanted.accumulation} before each update" if room.wanted.accumulation > 1 else ""
    return [
        f"largest safe batch: {batch}{times}; {format_bytes(room.left(batch))} are left, of which "
        f"{format_bytes(room.reserve(batch))} must be",
        f"what takes most in the next larger one: {room.limit}",
    ]


def _others(others: Sequence[Otherwise], batch: int) -> list[str]:
    lines = []
    for other in others:
        what = f"with {other.training}"
        if other.batch is None:
            lines.append(f"{what}: {other.why}")
        else:
            change = "" if not batch or not other.batch else f", {other.batch / batch:.2g} times as many"
            lines.append(f"{what}: {other.batch}{change}")
    return lines


def _grid(room: Headroom) -> list[str]:
    batches, lengths = table_sizes(room)
    titles = columns("batch", *(f"{length:,}" for length in lengths), figures=range(len(lengths) + 1))
    rows = tuple((f"{batch:,}", *(_cell(room, batch, length) for length in lengths)) for batch in batches)
    return aligned(Table(columns=titles, rows=rows), indent=0, widest=LONGEST)


def _cell(room: Headroom, batch: int, length: int) -> str:
    mark = "+" if room.is_safe(batch, length) else "~" if room.left(batch, length) >= 0 else " "
    return f"{room.parts(batch, length).peak / 1e9:.1f} {mark}"


def to_json(machine: str, room: Headroom, others: Sequence[Otherwise]) -> dict[str, Any]:
    """The headroom as JSON data, sizes in bytes."""
    wanted, batch = room.wanted, room.safe_batch()
    batches, lengths = table_sizes(room)
    return {
        "schema": "plimsoll/headroom/1",
        "machine": machine,
        "memory_bytes": room.memory,
        "context_bytes": CONTEXT_ALLOWANCE,
        "reserve": RESERVE,
        "variant": wanted.variant.id,
        "partner": None if wanted.partner is None else wanted.partner.id,
        "attention": wanted.variant.attention,
        "training": _training(room.wanted.training),
        "length": wanted.length,
        "accumulation": wanted.accumulation,
        "trained_parameters": room.step.trained_parameters,
        "safe_batch": batch,
        "left_bytes": room.left(max(batch, 1)),
        "reserve_bytes": room.reserve(max(batch, 1)),
        "limited_by": room.limit,
        "step": _row(room, max(batch, 1), wanted.length),
        "otherwise": [
            {"training": _training(one.training), "safe_batch": one.batch, "why_not": one.why or None} for one in others
        ],
        "table": [_row(room, batch, length) for batch in batches for length in lengths],
    }


def _training(training: Any) -> dict[str, Any]:
    return {
        "mode": training.mode.value,
        "size": training.size,
        "optimizer": training.optimizer.value,
        "checkpointing": training.checkpointing,
    }


def _row(room: Headroom, batch: int, length: int) -> dict[str, Any]:
    parts = room.parts(batch, length)
    return {
        "batch": batch,
        "length": length,
        **{f"{name}_bytes": getattr(parts, name) for name in PARTS},
        "phase": parts.phase.value,
        "left_bytes": room.left(batch, length),
        "safe": room.is_safe(batch, length),
    }


def picture(room: Headroom) -> Svg:
    """The parts of a step by number of sequences, with the memory of the GPU, as an SVG element. Needs matplotlib."""
    from plimsoll.present.drawing import CATEGORIES, INK, drawing, svg

    safe = room.safe_batch()
    batches = sorted({1, *(max(1, round(share * max(safe, 2))) for share in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5))})
    places = range(len(batches))
    with drawing(7.0, 3.6, salt=room.wanted.name) as figure:
        axes = figure.subplots()
        below = [0.0] * len(batches)
        for name, colour in zip(PARTS[:-1], CATEGORIES, strict=False):
            heights = [_there(room, batch, name) / 1e9 for batch in batches]
            axes.bar(places, heights, bottom=below, color=colour, width=0.7, label=name)
            below = [one + more for one, more in zip(below, heights, strict=True)]
        for height, words in ((room.memory, "memory of the GPU"), (room.memory - CONTEXT_ALLOWANCE, "without context")):
            axes.axhline(height / 1e9, color=INK, linewidth=0.8, linestyle="-" if height == room.memory else ":")
            axes.annotate(words, (len(batches) - 0.55, height / 1e9), ha="right", va="bottom", color=INK, fontsize=8)
        axes.set_xticks(places, [f"{batch:,}{' (safe)' if batch == safe else ''}" for batch in batches])
        axes.set_xlabel(f"sequences of {room.wanted.length:,} tokens at once")
        axes.set_ylabel("GB")
        figure.legend(loc="outside upper center", ncols=len(PARTS) - 1)
        return svg(figure)


def _there(room: Headroom, batch: int, name: str) -> int:
    """A part's bytes at the peak: gradients and activations are not there in every phase."""
    parts = room.parts(batch)
    away = {"activations": parts.phase is Phase.UPDATE, "gradients": parts.phase is not Phase.UPDATE}
    if away.get(name, False) and not (name == "gradients" and parts.accumulated):
        return 0
    return int(getattr(parts, name))
