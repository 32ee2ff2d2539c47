"""The record of a run, as read from evidence: the source of every report.

It holds only what was recorded; conclusions are the verdict's. The values are plain and frozen, so that several records
can be merged, compared and written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any, Final, Self

from plimsoll.evidence.answers import AnswerRecord, Asking
from plimsoll.evidence.events import CHAINED_SINCE, FORMAT
from plimsoll.judge.judgement import Judgement, Measurement
from plimsoll.node.node import Node
from plimsoll.plan.idle import IdleClaim
from plimsoll.suite import PYTEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One planned check of a variant, or of the node (then `variant` and the fields about it are None)."""

    id: str
    """pytest's node id, without what xdist appends to it."""
    variant: str | None = None
    model: str | None = None
    quantization: str | None = None
    tier: str | None = None
    subject: str | None = None
    """A mark of the subjects: `load`, `memory`, ..."""
    question: str | None = None
    """The name of the test, without its parameter."""
    measures: tuple[str, ...] = ()
    """Metrics that the test must judge; passing without doing so is a failure."""
    weights: str | None = None
    """Where the weights come from: `trained`, `hub`, `local`, `synthetic`."""
    gpu: str | None = field(default=None, compare=False)
    """The GPUs that it runs on, `gpu3` or `gpu0+gpu1`; None where it needs none, or there was none. On nodes with one
    GPU, the same check runs on each node's own GPU."""

    @property
    def gpus(self) -> tuple[str, ...]:
        """The ids of these GPUs."""
        return tuple(self.gpu.split("+")) if self.gpu else ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; `from_json` is its inverse."""
        # Not asdict, which copies every text of every check as if it held others.
        return {**{name: getattr(self, name) for name in _CELL_FIELDS}, "measures": list(self.measures)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_json` wrote. Raises KeyError or TypeError for fields that are missing or unknown."""
        texts = {name: value for name, value in data.items() if name != "measures"}
        if wrong := [name for name, value in texts.items() if not isinstance(value, str) and value is not None]:
            raise TypeError(f"{wrong[0]} of a cell is a text, not {texts[wrong[0]]!r}")
        if not isinstance(data["id"], str) or not all(isinstance(metric, str) for metric in data["measures"]):
            raise TypeError("the id of a cell and the metrics that it measures are texts")
        return cls(**{**texts, "measures": tuple(data["measures"])})


_CELL_FIELDS: Final = tuple(each.name for each in fields(Cell))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGpu:
    """A GPU, or an instance of a split one, that a run could use."""

    id: str
    """`gpu3`, by NVML's index; `gpu3.1` for an instance."""
    index: int
    uuid: str | None
    serial: str | None
    name: str | None
    used: bool
    """False where the run left it out (`--gpus`)."""

    def __str__(self) -> str:
        """`gpu3 (NVIDIA H100 80GB HBM3, GPU-...)`."""
        known = ", ".join(part for part in (self.name, self.uuid) if part)
        return f"{self.id} ({known})" if known else self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The run that another resumes, and the SHA-256 of its evidence at that moment."""

    run_id: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHead:
    """The head of a run: the first line of the evidence."""

    run_id: str
    started: str
    """ISO time, UTC."""
    plimsoll: str
    arguments: tuple[str, ...]
    """What a person gave to `program`."""
    selection: Mapping[str, Any]
    """`mark`, `keyword` and `paths`, as given to pytest; empty ones may be missing."""
    allow_incomplete: bool
    catalogues: tuple[Mapping[str, Any], ...]
    limits_are_shipped: bool
    packages: Mapping[str, str] = field(default_factory=dict)
    """Distribution -> version of everything that was installed; empty where an early run did not record it."""
    edited: tuple[str, ...] | None = None
    """Files of the suite that differ from the release; None where that was not checked."""
    resumes: Resumed | None = None
    format: int = FORMAT
    program: str = PYTEST

    @property
    def is_chained(self) -> bool:
        """True where each line has a checksum and each call is recorded."""
        return self.format >= CHAINED_SINCE


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedWaivers:
    """The waiver file of a run, as it was that day."""

    path: str
    text: str
    on: date
    """UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRecord:
    """What the gate decided for a variant; `code`, `have`, `need` and `fix` are None unless it said skip."""

    variant: str
    decision: str
    """`run`, `skip`, or `error` where nothing could be decided."""
    code: str | None
    have: str | None
    need: str | None
    fix: str | None
    text: str
    bounds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Metric -> predicted bounds; empty where they were not recorded. `plimsoll.audit.recorded` reads them."""
    claims: tuple[Mapping[str, Any], ...] = ()
    """Documents' claims on the variant, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRecord:
    """One load of a variant; `report` is the host's LoadReport as JSON data, without its inventory."""

    variant: str
    cache: str
    """The state of the page cache that was asked for: `cold`, `warm`, `as-is`."""
    report: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        """Seconds that `from_pretrained` took."""
        return float(self.report["seconds"])

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of the checkpoint's files."""
        return int(self.report["checkpoint_bytes"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measurement, and how it was made, as JSON data."""

    measurement: Measurement
    context: Mapping[str, Any]

    @property
    def causes(self) -> tuple[str, ...]:
        """Why the figure is out of its range, where causes were recorded; empty otherwise."""
        found = self.context.get("causes")
        return tuple(str(cause) for cause in found) if isinstance(found, list) else ()

    @property
    def action(self) -> str:
        """What to do with a GPU whose figure is out of its range; empty where nothing is recommended."""
        found = self.context.get("action")
        return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One call of a check, as the suite itself saw it."""

    started: str
    """ISO time, UTC."""
    seconds: float
    raised: str | None
    """Type and text of what it raised, skips included; None for a clean call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEvidence:
    """Everything that was recorded about one check, in order."""

    reports: tuple[Mapping[str, Any], ...] = ()
    """pytest's serialised reports of setup, call and teardown."""
    calls: tuple[RecordedCall, ...] = ()
    """Empty where the evidence is older than the recording of calls."""
    judgements: tuple[Judgement, ...] = ()
    measurements: tuple[Measured, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectError:
    """A file that could not be collected, so that its checks are not in the plan."""

    nodeid: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The end of a run. `exitstatus` is pytest's own, before the verdict replaced it."""

    at: str
    exitstatus: int
    interrupted: bool
    reason: str
    writers: tuple[str, ...] = ()
    """The workers of xdist that wrote evidence too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFile:
    """A file that was read for the record, with the SHA-256 of its bytes."""

    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run, or several as one (`parts`). What a killed run did not reach is None or empty."""

    folder: Path
    files: tuple[EvidenceFile, ...]
    run: RunHead | None
    node: Node | None
    plan: tuple[Cell, ...]
    deselected: int
    gates: Mapping[str, GateRecord]
    """By variant."""
    cells: Mapping[str, CellEvidence]
    """By id of the check, planned or not; checks without any record are missing."""
    loads: tuple[LoadRecord, ...]
    benchmarks: tuple[Mapping[str, Any], ...]
    """Rows in pytest-benchmark's own format."""
    machine: Mapping[str, Any] | None
    """The head of pytest-benchmark's file: machine_info, commit_info, version."""
    hosts: tuple[Mapping[str, Any], ...]
    """The HOST events."""
    hub: tuple[Mapping[str, Any], ...] = ()
    """The HUB events."""
    samples: tuple[Mapping[str, Any], ...]
    """The SAMPLE events."""
    health: tuple[Mapping[str, Any], ...] = ()
    """The HEALTH events."""
    askings: tuple[Asking, ...] = ()
    """What was asked of which dataset; a resuming run repeats the earlier entries."""
    answers: tuple[AnswerRecord, ...] = ()
    """One for each example that was answered, in the order of answering."""
    collect_errors: tuple[CollectError, ...]
    finish: Finish | None
    faults: tuple[str, ...]
    """Faults of the evidence itself: damaged or missing lines, plans that differ. A run with any cannot be accepted."""
    torn: tuple[str, ...] = ()
    """The `faults` about a half-written last line, which a kill or a power cut leaves."""
    waivers: RecordedWaivers | None = None
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Id of a planned cell -> why pytest did not run it."""
    again: str = ""
    """The command that runs what was withheld."""
    gpus: tuple[RunGpu, ...] = ()
    """GPUs that the environment left to the run, by index; empty where there is none, and in old evidence."""
    open: tuple[str, ...] = ()
    """Test functions whose checks were planned as pytest collected them."""
    idle: tuple[IdleClaim, ...] = ()
    """Claims of the user on variants of the plan that no check judges; empty in old evidence."""
    parts: tuple[RunRecord, ...] = ()
    """The runs that were merged into this one, oldest first; empty for a single run."""

    @property
    def run_id(self) -> str:
        """The id that the run gave itself; the folder's name where its first line is lost."""
        return self.folder.name if self.run is None else self.run.run_id

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """The single runs, oldest first: the parts, or this one."""
        return self.parts or (self,)

    def evidence_of(self, cell: Cell) -> CellEvidence:
        """The record of a check; empty where there is none."""
        return self.cells.get(cell.id, CellEvidence())
