"""Keeps baselines: `reports/baselines/<GPU or processor>/<driver>/<name>/`.

A baseline is the evidence of a run and nothing else, under a name that says what machine it speaks of, so that it can
be kept in version control and found again after a driver has changed.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.evidence.reader import EVIDENCE_FILE, RESUMED_FOLDER, read_run
from plimsoll.node.node import Node
from plimsoll.userpath import is_there

FOLDER: Final = "baselines"
"""Where baselines lie in the reports folder."""
NO_DRIVER: Final = "no-driver"

_DEPTH: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A run that was kept. `machine` and `driver` are the names of its folders."""

    machine: str
    driver: str
    name: str
    folder: Path

    def __str__(self) -> str:
        """As it is named on the command line, behind `baseline:`."""
        return f"{self.machine}/{self.driver}/{self.name}"


def baselines(reports: Path) -> list[Baseline]:
    """Every baseline in the reports folder, by machine, driver and name."""
    root = reports / FOLDER
    found = sorted(file.parent for file in root.glob(f"{'*/' * _DEPTH}{EVIDENCE_FILE}"))
    return [
        Baseline(machine=f.parts[-3], driver=f.parts[-2], name=f.parts[-1], folder=f)
        for f in found
        if len(f.relative_to(root).parts) == _DEPTH
    ]


def find_baseline(name: str, reports: Path) -> Path:
    """The folder of a baseline: its name, or as many of its machine, driver and name as tell it from all others.

    Raises PlimsollError where none fits, or more than one.
    """
    known = baselines(reports)
    wanted = [part for part in name.split("/") if part]
    fitting = [b for b in known if _fits(wanted, (b.machine, b.driver, b.name))]
    if len(fitting) == 1:
        return fitting[0].folder
    listed = ", ".join(map(str, fitting or known)) or "none"
    if fitting:
        raise PlimsollError(f"baseline:{name} fits {len(fitting)} baselines, name one of them: {listed}")
    raise PlimsollError(
        f"no baseline {name!r} in {reports / FOLDER}; there are: {listed}; keep one with `plimsoll baseline save RUN`"
    )


def _fits(wanted: Sequence[str], parts: Sequence[str]) -> bool:
    """True where the wanted parts are among the parts, in their order."""
    rest = iter(parts)
    return bool(wanted) and all(part in rest for part in wanted)


def save_baseline(run: Path, reports: Path, *, name: str | None, replace: bool) -> Baseline:
    """Keep the evidence of a run as a baseline, under its run id unless `name` is given.

    Raises PlimsollError for damaged evidence, for a run without a node, for a name that is taken (unless `replace`),
    and where nothing can be written.
    """
    record = read_run(run)
    if record.faults:
        raise PlimsollError(f"the evidence of {run} is damaged and no baseline: {record.faults[0]}")
    if record.node is None:
        raise PlimsollError(f"{run} did not record its node, so nobody knows what a baseline from it would speak of")
    label = (record.parts or (record,))[-1].run_id if name is None else name
    if slug(label) != label.lower() or not label:
        raise PlimsollError(f"{label!r} is no name for a baseline: use letters, digits, dots and dashes")
    machine, driver = machine_slug(record.node), slug(record.node.driver or "") or NO_DRIVER
    folder = reports / FOLDER / machine / driver / label
    if is_there(folder) and not replace:
        raise PlimsollError(f"there is a baseline {folder} already; use --replace, or --name NAME for another")
    try:
        _copy(run, folder)
    except OSError as error:
        raise PlimsollError(f"baseline {folder} cannot be written ({reason_of(error)})") from None
    return Baseline(machine=machine, driver=driver, name=label, folder=folder)


def _copy(run: Path, folder: Path) -> None:
    """Copy the evidence, and that of runs which it resumes. The run's own comes last and in one step, for a baseline is
    found by it: it is whole or absent."""
    evidence = run / EVIDENCE_FILE if run.is_dir() else run
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / RESUMED_FOLDER, ignore_errors=True)
    if (resumed := evidence.parent / RESUMED_FOLDER).is_dir():
        (folder / RESUMED_FOLDER).mkdir()
        # What was read, and nothing else that lies there: a folder may hold links to anywhere, and pipes.
        for file in resumed.glob("*.jsonl"):
            shutil.copyfile(file, folder / RESUMED_FOLDER / file.name)
    temporary = folder / f".{EVIDENCE_FILE}.tmp"
    try:
        shutil.copyfile(evidence, temporary)
        temporary.replace(folder / EVIDENCE_FILE)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def machine_slug(node: Node) -> str:
    """`nvidia-h200`, `8x-nvidia-h100-80gb-hbm3`, `cpu-amd-epyc`: what the machine computes on."""
    if not node.gpus:
        return f"cpu-{slug(node.cpu.model or node.cpu.architecture)}"
    counts = Counter(slug(gpu.name or "") or "unnamed-gpu" for gpu in node.gpus)
    return "+".join(name if count == 1 else f"{count}x-{name}" for name, count in sorted(counts.items()))


def slug(text: str) -> str:
    """The text as the name of a folder: small letters, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")
