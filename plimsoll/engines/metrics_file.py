"""Writes a fleet, or a single node, as a textfile for Prometheus' node exporter.

One value that is no number makes the exporter drop the whole file, a file that is read half written likewise, and a
stale file looks like health: so there are numbers only, the file appears in one step, and it says when it was made and
when each run ended.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from plimsoll import clock
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.fleet.fleet import Fleet, outcome_counts
from plimsoll.fleet.outliers import Outlier
from plimsoll.fleet.summary import NodeSummary
from plimsoll.report.write import write_output
from plimsoll.verdict.cells import CellOutcome
from plimsoll.verdict.verdict import Word


@dataclass(frozen=True, slots=True)
class Sample:
    """One value with its labels."""

    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, what it is, and its values."""

    name: str
    what: str
    samples: tuple[Sample, ...]


def metrics_text(fleet: Fleet, now: datetime) -> str:
    """The textfile. What is not known has no line, for there is no number for it."""
    return "".join(f"{line}\n" for family in _families(fleet, now) for line in _lines(family))


def required_metrics(path: Path) -> None:
    """Raise PlimsollError, before anything is read, for a file that nobody would read."""
    if path.suffix != ".prom":
        raise PlimsollError(f"--metrics-file {path}: the node exporter reads files that end in .prom alone")


def write_metrics(path: Path, fleet: Fleet) -> None:
    """Write the textfile in one step. Raises PlimsollError where that cannot be done."""
    try:
        write_output(path, metrics_text(fleet, clock.now()))
    except OSError as error:
        raise PlimsollError(f"--metrics-file {path} could not be written ({reason_of(error)})") from None


def _families(fleet: Fleet, now: datetime) -> Iterator[Family]:
    yield Family("plimsoll_written_timestamp_seconds", "when this file was made", (Sample((), now.timestamp()),))
    yield Family(
        "plimsoll_fleet_accepted", "1 where the fleet is accepted", (Sample((), float(fleet.word is Word.ACCEPTED)),)
    )
    counts = Counter(map(fleet.word_of, fleet.nodes))
    words = tuple(Sample((("verdict", word.value),), float(counts[word])) for word in Word)
    yield Family("plimsoll_fleet_nodes", "nodes with this verdict", words)
    missing = len(fleet.missing) if fleet.expected.names else max(0, (fleet.expected.count or 0) - len(fleet.nodes))
    yield Family("plimsoll_fleet_nodes_missing", "expected nodes without evidence", (Sample((), float(missing)),))
    for word in (Word.ACCEPTED, Word.REJECTED):
        name = word.value.lower()
        yield Family(f"plimsoll_node_{name}", f"1 where the node is {name}", tuple(_has_word(fleet, word)))
    yield _of_nodes(fleet.nodes, "planned_checks", "checks that were planned", lambda n: float(n.planned))
    checks = tuple(
        Sample((("node", node.name), ("outcome", outcome.value)), float(outcome_counts(node)[outcome]))
        for node in fleet.nodes
        for outcome in CellOutcome
    )
    yield Family("plimsoll_node_checks", "checks that ended so", checks)
    yield _of_nodes(fleet.nodes, "gpus", "GPUs of the node", lambda n: float(len(n.gpus)))
    yield _of_nodes(fleet.nodes, "run_seconds", "wall time of its run", lambda n: n.seconds)
    yield _of_nodes(fleet.nodes, "run_end_timestamp_seconds", "when its run ended", _ended)
    slow = tuple(Sample(_what_is_slow(one), one.behind) for one in fleet.outliers.outliers)
    yield Family("plimsoll_slower_ratio", "part by which a GPU or a node lies behind its like", slow)


def _what_is_slow(one: Outlier) -> tuple[tuple[str, str], ...]:
    """All that tells one from another: of two lines with the same labels the exporter takes none of the file."""
    return (
        ("node", one.node),
        ("gpu", one.gpu or ""),
        ("check", one.check or ""),
        ("metric", one.metric or ""),
        ("look", one.look.value),
        ("product", one.product),
    )


def _has_word(fleet: Fleet, word: Word) -> Iterator[Sample]:
    """Among the others; an expected node that left nothing is known to be neither accepted nor rejected."""
    for node in fleet.nodes:
        yield Sample((("node", node.name),), float(fleet.word_of(node) is word))
    for name in fleet.missing if fleet.expected.names else ():
        yield Sample((("node", name),), 0.0)


def _of_nodes(
    nodes: Sequence[NodeSummary], name: str, what: str, value: Callable[[NodeSummary], float | None]
) -> Family:
    found = [(node, value(node)) for node in nodes]
    samples = tuple(Sample((("node", node.name),), number) for node, number in found if number is not None)
    return Family(f"plimsoll_node_{name}", what, samples)


def _ended(node: NodeSummary) -> float | None:
    ended = node.runs[-1].ended
    try:
        return None if ended is None else datetime.fromisoformat(ended).timestamp()
    except ValueError:
        return None


def _lines(family: Family) -> Iterator[str]:
    known = [sample for sample in family.samples if math.isfinite(sample.value)]
    if known:
        yield f"# HELP {family.name} {family.what}"
        yield f"# TYPE {family.name} gauge"
    for sample in known:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
        yield f"{family.name}{{{labels}}} {sample.value!r}" if labels else f"{family.name} {sample.value!r}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
