"""Runs to compare: sides in memory for what is statistics, and run folders with timed checks for what is reading."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plimsoll.compare.side import Machine, Side, SideKind, Timed
from plimsoll.evidence.events import Event
from plimsoll.evidence.record import Cell
from plimsoll.node.node import Node
from tests.support.run_events import (
    NODE,
    Line,
    cell,
    finish,
    good_cell,
    line,
    measured,
    numbered,
    plan,
    start,
    write_events,
)

MACHINE = Machine(gpus=(), cpu="EPYC", facts={})

Rounds = Mapping[str, Sequence[float]]
"""Variant -> seconds of each round."""


def side(name: str, times: Sequence[Sequence[float]], machine: Machine = MACHINE) -> Side:
    """A side with one time a cell."""
    timed = [
        Timed(
            cell=f"t.py::test_{i}",
            metric="load_time",
            unit="s",
            rounds=tuple(rounds),
            median=statistics.median(rounds),
        )
        for i, rounds in enumerate(times)
    ]
    return Side(
        name=name,
        path=Path(name),
        kind=SideKind.RUN,
        machine=machine,
        verdict=None,
        cells=None,
        timed={(t.cell, t.metric): t for t in timed},
        figures={},
    )


def noisy(seed: int, rounds: int, noise: float = 0.05, centre: float = 1.0) -> list[float]:
    """Log-normal rounds around a median."""
    values = centre * np.exp(noise * np.random.default_rng(seed).standard_normal(rounds))
    return [float(value) for value in values]


def load_cell(variant: str) -> Cell:
    """The cell in which a variant's loads are timed."""
    return cell("test_cold_load_time", variant, measures=["cold_load_time"])


def benchmark_row(of: str, rounds: Sequence[float], **changes: Any) -> Line:
    """A row in pytest-benchmark's format."""
    stats = {"rounds": len(rounds), "median": statistics.median(rounds), "data": list(rounds)}
    row: Line = {
        "fullname": of,
        "name": of.rpartition("::")[2],
        "stats": stats,
        "options": {"timer": "LoadClock"},
        "extra_info": {"cache": "cold"},
    }
    return {**row, **changes}


def timed_events(
    times: Rounds,
    *,
    node: Node = NODE,
    run_id: str = "base",
    memory: Mapping[str, int] | None = None,
    others: Sequence[Line] = (),
    cells: Sequence[Cell] = (),
    **row: Any,
) -> list[Line]:
    """A run that is ACCEPTED, in which each variant was loaded in these rounds and its memory measured once."""
    loads = [load_cell(variant) for variant in times]
    remembered = [cell("test_peak_ram", variant, subject="memory") for variant in memory or {}]
    body = [event for c in (*loads, *remembered) for event in good_cell(c)]
    figures = [measured(c, "ram_peak", count) for c, count in zip(remembered, (memory or {}).values(), strict=True)]
    rows = [
        line(Event.BENCHMARK, cell=c.id, benchmark=benchmark_row(c.id, rounds, **row))
        for c, rounds in zip(loads, times.values(), strict=True)
    ]
    planned = [*loads, *remembered, *cells]
    head = [start(run_id=run_id), plan(planned), line(Event.NODE, node=node.to_json())]
    return [*head, *body, *figures, *rows, *others, finish()]


def write_run(folder: Path, events: Sequence[Line]) -> Path:
    """A run folder with these events."""
    write_events(folder, numbered(events))
    return folder


def timed_run(reports: Path, name: str, times: Rounds, **more: Any) -> Path:
    """The folder of a run of that name, as `timed_events` makes it."""
    return write_run(reports / name, timed_events(times, run_id=name, **more))


def benchmark_file(path: Path, times: Rounds, cpu: str | None = "EPYC") -> Path:
    """A file as `pytest --benchmark-json` writes it."""
    machine = {"node": "n", "cpu": {"brand_raw": cpu}} if cpu else {}
    rows = [benchmark_row(f"bench.py::{name}", rounds) for name, rounds in times.items()]
    content = {"machine_info": machine, "commit_info": {}, "benchmarks": rows, "version": "5.3.1"}
    path.write_text(json.dumps(content))
    return path
