"""Evidence of many nodes, made up: each has GPUs, checks with figures on each of them, and what a test spoils."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from plimsoll.evidence.chain import START, sealed
from plimsoll.evidence.encoding import judgement_fields, measurement_fields
from plimsoll.evidence.events import Event
from plimsoll.evidence.reader import EVIDENCE_FILE
from plimsoll.evidence.record import Cell
from plimsoll.judge.judgement import Limit, Measurement, judge
from plimsoll.node.node import Gpu, Node
from tests.support.run_events import AT, NODE, Line, crash, finish, gate, line, plan, report, start

H100: Final = "NVIDIA H100 80GB HBM3"
STACK: Final = {"torch": "2.13.0", "transformers": "5.1.0", "accelerate": "1.12.0", "bitsandbytes": "0.49.0"}
_HEALTH: Final = ("ecc", "remapped_rows", "throttle", "xid", "links", "advice")
_RATES: Final = (
    ("test_matmul", "bf16", "matmul_rate", 7.3e14),
    ("test_matmul", "fp16", "matmul_rate", 7.2e14),
    ("test_matmul", "fp8", "matmul_rate", 1.4e15),
    ("test_memory", "copy", "memory_bandwidth", 2.9e12),
    ("test_link", "to-device-pinned", "link_rate", 5.4e10),
    ("test_link", "from-device-pinned", "link_rate", 5.3e10),
)
_TIMES: Final = (("test_token_time", "token_time", 0.011), ("test_first_token_time", "first_token_time", 0.14))


@dataclass(frozen=True, kw_only=True)
class MadeNode:
    """What a node is; tests change a field or two."""

    name: str
    gpus: int = 8
    driver: str = "580.95.05"
    kernel: str = "6.1.0-31-amd64"
    vbios: Mapping[int, str] = field(default_factory=dict)
    """GPU -> its VBIOS, where it is not the usual one."""
    power_limit: Mapping[int, int] = field(default_factory=dict)
    """GPU -> watts, likewise."""
    ecc_off: Sequence[int] = ()
    slow: Mapping[int, float] = field(default_factory=dict)
    """GPU -> factor of all of its speeds."""
    slow_metric: Mapping[tuple[int, str], float] = field(default_factory=dict)
    bits: Mapping[int, str] = field(default_factory=dict)
    """GPU -> its digests, where they are not the usual ones."""
    failing: Sequence[tuple[int, str]] = ()
    """GPU and health check that fails."""
    seconds: float = 600.0
    ends: bool = True
    packages: Mapping[str, str] = field(default_factory=lambda: dict(STACK))
    environment: Mapping[str, str] = field(default_factory=dict)
    mark: str = "gpu8b"
    noise: float = 0.007
    uuid_of: str = ""
    """The node whose GPUs it has; its own unless given."""
    run: str = ""
    product: str = H100

    @property
    def run_id(self) -> str:
        return self.run or f"20261120T125901Z-{self.name}-ab12"

    def uuid(self, gpu: int) -> str:
        return f"GPU-{self.uuid_of or self.name}-{gpu}"


def events_of(made: MadeNode) -> list[Line]:
    """What the run of such a node leaves."""
    chance = random.Random(made.name)  # noqa: S311  noise, not secrets
    cells: list[Cell] = []
    body: list[Line] = []
    for gpu in range(made.gpus):
        silicon = made.noise * chance.gauss(0.0, 1.0)
        for file, test, metric, unit_value, parameter in _timed(gpu):
            own = made.slow.get(gpu, 1.0) * made.slow_metric.get((gpu, metric), 1.0)
            noise = math.exp(silicon + made.noise * chance.gauss(0.0, 1.0))
            is_rate = metric.endswith(("rate", "bandwidth"))
            value = unit_value * noise / own if is_rate else unit_value / noise * own
            one = _cell(file, test, parameter, gpu, (metric,))
            cells.append(one)
            limit = Limit(metric=metric, source="floors.toml: floor[2]", margin=0.05, **_bound(is_rate, unit_value))
            measurement = Measurement(metric=metric, value=value)
            figures = [
                line(Event.MEASUREMENT, cell=one.id, **measurement_fields(measurement, {"rounds": 20})),
                line(Event.JUDGEMENT, cell=one.id, **judgement_fields(judge(measurement, limit))),
            ]
            body += _went(one, figures)
        for check in _HEALTH:
            one = _cell("test_health", f"test_{check}", f"gpu{gpu}", gpu)
            cells.append(one)
            body += _failed(one) if (gpu, check) in made.failing else _went(one)
        digest = made.bits.get(gpu, "5f")
        one = _cell(
            "test_agreement", "test_repeats_to_the_bit", f"gpu{gpu}-wide/bf16", gpu, ("unsteady_ways",), "agreement"
        )
        cells.append(one)
        measurement = Measurement(metric="unsteady_ways", value=0.0)
        digests = {"batch 1, whole": digest * 32, "batch 4, cached": digest * 32}
        limit = Limit(metric="unsteady_ways", high=0.0, source="deterministic algorithms")
        figures = [
            line(Event.MEASUREMENT, cell=one.id, **measurement_fields(measurement, {"digests": digests})),
            line(Event.JUDGEMENT, cell=one.id, **judgement_fields(judge(measurement, limit))),
        ]
        body += _went(one, figures)
    whole = Cell(id="acceptance/test_node.py::test_gpus_answer", subject="node", question="test_gpus_answer")
    cells.append(whole)
    body += _went(whole)
    variants = dict.fromkeys(cell.variant for cell in cells if cell.variant)
    head = start(
        format=2,
        run_id=made.run_id,
        arguments=["-m", made.mark],
        selection={"mark": made.mark, "keyword": "", "paths": []},
        packages=dict(made.packages),
        edited=[],
    )
    seen = line(Event.HEALTH, **_health(made))
    events = [head, _planned(cells, made), line(Event.NODE, node=node_of(made).to_json())]
    events += [gate(variant) for variant in variants]
    if not made.ends:
        return [*events, *body[: len(body) // 2]]
    status = 1 if made.failing else 0
    end = {**finish(status), "at": (datetime.fromisoformat(AT) + timedelta(seconds=made.seconds)).isoformat()}
    return [*events, *body, seen, {**end, "events": len(events) + len(body) + 2, "writers": []}]


def node_of(made: MadeNode) -> Node:
    """The node as it was probed."""
    gpus = tuple(
        Gpu(
            index=index,
            name=made.product,
            uuid=made.uuid(index),
            serial=f"16509{index}",
            vbios=made.vbios.get(index, "96.00.89.00.01"),
            memory_total=85520809984,
            memory_free=84919123968,
            compute_capability="9.0",
            mig=False,
        )
        for index in range(made.gpus)
    )
    return replace(
        NODE,
        hostname=made.name,
        kernel=made.kernel,
        driver=made.driver,
        gpus=gpus,
        packages=dict(made.packages),
        environment=dict(made.environment),
        unread=(),
    )


def write_node(folder: Path, made: MadeNode, events: Sequence[Line] | None = None) -> Path:
    """The run folder of such a node, under `folder`; `events` take the place of those that such a node leaves."""
    run = folder / made.name / made.run_id
    run.mkdir(parents=True)
    (run / EVIDENCE_FILE).write_bytes(_left_by(made) if events is None else _sealed(events))
    return run


def _left_by(made: MadeNode) -> bytes:
    """Most nodes of most tests are the same sound ones."""
    key = repr(made)
    if key not in _LEFT:
        _LEFT[key] = _sealed(events_of(made))
    return _LEFT[key]


_LEFT: Final[dict[str, bytes]] = {}
"""What the nodes left that were made so far."""


def _sealed(events: Iterable[Line]) -> bytes:
    after, lines = START, []
    for number, event in enumerate(events, start=1):
        text, after = sealed({**event, "seq": number}, after)
        lines.append(text)
    return b"".join(lines)


def without_cells(events: Sequence[Line], part: str) -> list[Line]:
    """The events of a run that was not asked the cells whose ids have this in them."""
    kept = [
        {**event, "cells": [cell for cell in event["cells"] if part not in cell["id"]]} if "cells" in event else event
        for event in events
        if part not in str(event.get("cell"))
    ]
    return [*kept[:-1], {**kept[-1], "events": len(kept)}]


def write_fleet_of(folder: Path, count: int, **changes: Callable[[MadeNode], MadeNode]) -> list[MadeNode]:
    """Nodes node01, node02, ... under `folder`; `changes` spoils those that it names."""
    width = max(2, len(str(count)))
    nodes = []
    for number in range(1, count + 1):
        made = MadeNode(name=f"node{number:0{width}}")
        if (change := changes.get(made.name)) is not None:
            made = change(made)
        write_node(folder, made)
        nodes.append(made)
    return nodes


def _timed(gpu: int) -> Iterable[tuple[str, str, str, float, str]]:
    for test, what, metric, value in _RATES:
        yield "test_device", test, metric, value, f"gpu{gpu}-{what}"
    for test, metric, value in _TIMES:
        yield "test_generation_speed", test, metric, value, f"llama-3.1-8b-instruct/bf16:gpu{gpu}"


def _bound(is_rate: bool, value: float) -> dict[str, float]:
    return {"low": 0.8 * value} if is_rate else {"high": 1.25 * value}


def _cell(
    file: str, test: str, parameter: str, gpu: int, measures: tuple[str, ...] = (), subject: str = "speed"
) -> Cell:
    is_model = "/" in parameter and ":" in parameter
    return Cell(
        id=f"acceptance/{file}.py::{test}[{parameter}]",
        variant=parameter if is_model else None,
        subject=subject,
        question=test,
        measures=measures,
        gpu=f"gpu{gpu}",
    )


def _went(one: Cell, figures: Sequence[Line] = ()) -> list[Line]:
    call = line(Event.CALL, cell=one.id, started=AT, seconds=0.25, raised=None)
    return [report(one, "setup"), *figures, call, report(one, "call"), report(one, "teardown")]


def _failed(one: Cell) -> list[Line]:
    what = "GPU 3: ecc.volatile.uncorrected.sram is 1, and at most 0 is sound; action: drain"
    call = line(Event.CALL, cell=one.id, started=AT, seconds=0.25, raised=f"Failed: {what}")
    return [
        report(one, "setup"),
        call,
        report(one, "call", "failed", crash(f"Failed: {what}")),
        report(one, "teardown"),
    ]


def _planned(cells: Sequence[Cell], made: MadeNode) -> Line:
    gpus = [
        {"id": f"gpu{i}", "index": i, "uuid": made.uuid(i), "serial": f"16509{i}", "name": made.product}
        for i in range(made.gpus)
    ]
    return {**plan(cells), "gpus": gpus, "used": [gpu["id"] for gpu in gpus], "withheld": {}, "again": "", "open": []}


def _health(made: MadeNode) -> dict[str, Any]:
    def look(index: int) -> dict[str, Any]:
        watts = made.power_limit.get(index, 700)
        values = {
            "temperature": 41,
            "ecc.mode": int(index not in made.ecc_off),
            "power.enforced": watts * 1000,
            "power.default": 700000,
            "clock.sm.most": 1980,
            "clock.memory.most": 2619,
            "pcie.generation.most": 5,
            "pcie.width.most": 16,
            **{
                f"ecc.volatile.{kind}.{place}": 0 for kind in ("corrected", "uncorrected") for place in ("sram", "dram")
            },
        }
        return {
            "index": index,
            "uuid": made.uuid(index),
            "name": made.product,
            "bus": f"0000:{index}8:00",
            "lost": None,
            "values": values,
            "unread": {},
            "absent": [],
        }

    looks = [look(index) for index in range(made.gpus)]
    return {
        "variant": None,
        "gpus": list(range(made.gpus)),
        "seconds": 60.0,
        "samples": 60,
        "first": looks,
        "last": looks,
        "extremes": {},
        "xids": [],
        "earlier_xids": [],
        "findings": [],
        "unread": [],
        "memory": None,
    }
