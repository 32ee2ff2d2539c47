"""A stamp of acceptance on a node: what was accepted, by UUIDs and driver, so that a Prolog need not measure anything.

A Prolog has seconds, and an acceptance takes half an hour. So the stamp says what was accepted and when, and the check
asks NVML alone whether that is still what is here. It guards against accidents (a swapped card, a new driver, a node
that nobody accepted), not against who can write the file.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from plimsoll.present.foreign_text import one_line

DEFAULT_STAMP: Final = Path("/var/lib/plimsoll/stamp.json")
SCHEMA: Final = "plimsoll/stamp/1"

UNREADABLE: Final = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What reading a file raises that is no stamp."""

_AHEAD: Final = timedelta(minutes=5)
"""How far a stamp's time may lie in the future: clocks of nodes are set to each other by seconds."""
_LARGEST: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentNode:
    """The node as NVML tells it now."""

    name: str
    driver: str | None
    uuids: tuple[str, ...]
    """Sorted."""
    problem: str | None = None
    """Why GPUs could not be asked; None where they were."""
    has_driver: bool = True
    """False where there is no driver at all: a node without GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What was accepted."""

    node: str
    driver: str | None
    uuids: tuple[str, ...]
    run: str
    statement: str
    accepted_at: str
    """ISO time, UTC: the end of the run."""
    sha256: tuple[str, ...]
    """Of the evidence."""

    @property
    def at(self) -> datetime:
        """`accepted_at` as a time. Raises ValueError or OverflowError for what is none."""
        return datetime.fromisoformat(self.accepted_at).astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Whether the node is as it was accepted, and why not."""

    is_fresh: bool
    why: str
    is_known: bool = True
    """False where nobody could tell."""


def present_node() -> PresentNode:
    """Ask NVML for the driver and the UUIDs, and nothing else."""
    name = os.environ.get("PLIMSOLL_NODE") or os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    try:
        import pynvml
    except ImportError:
        return PresentNode(name=name, driver=None, uuids=(), problem="the package nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        absent = error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
        problem = None if absent else f"NVML did not start: {error}"
        return PresentNode(name=name, driver=None, uuids=(), problem=problem, has_driver=not absent)
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        uuids = tuple(sorted(_text(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles))
    # What is no UTF-8 is no answer either: pynvml decodes versions and UUIDs.
    except (pynvml.NVMLError, UnicodeDecodeError) as error:
        return PresentNode(name=name, driver=None, uuids=(), problem=f"a GPU gives no answer: {error}")
    finally:
        pynvml.nvmlShutdown()
    return PresentNode(name=name, driver=driver, uuids=uuids)


def check_stamp(path: Path, node: PresentNode, now: datetime, most: timedelta) -> Found:
    """Whether the stamp is of this node as it is now, and no older than `most`."""
    try:
        stamp = read_stamp(path)
    except FileNotFoundError:
        return Found(is_fresh=False, why=f"no acceptance is on record: there is no {path}")
    except (OSError, *UNREADABLE) as error:
        return Found(is_fresh=False, is_known=False, why=f"{path} cannot be read: {one_line(str(error), 120)}")
    if node.problem is not None:
        return Found(is_fresh=False, is_known=False, why=node.problem)
    if not stamp.uuids and stamp.node != node.name:
        return Found(is_fresh=False, why=f"the acceptance on record is of {one_line(stamp.node, 80)}")
    if (found := difference(stamp, node)) is not None:
        return Found(is_fresh=False, why=found)
    age = now - stamp.at
    if age < -_AHEAD:
        return Found(is_fresh=False, is_known=False, why=f"the acceptance is of the future: {stamp.accepted_at}")
    if age > most:
        old, limit = age.total_seconds() / 3600, most.total_seconds() / 3600
        return Found(is_fresh=False, why=f"the acceptance is {old:.0f} h old, and {limit:g} h are allowed")
    return Found(is_fresh=True, why=f"accepted {stamp.accepted_at} by run {one_line(stamp.run, 120)}")


def hints(path: Path) -> list[str]:
    """How the stamp is checked: a line for a Prolog, and one for NHC."""
    where = "" if path == DEFAULT_STAMP else f" --stamp {path}"
    command = f"plimsoll slurm check{where}"
    return [
        f"Prolog:  timeout 8 {command} >&2   # its failure drains the node",
        f"NHC:     * || check_cmd_output -t 10 -r 0 -m '/^OK:/' -e '{command}'",
    ]


def difference(stamp: Stamp, node: PresentNode) -> str | None:
    """In what the node is not the one that was accepted; None where it is."""
    if stamp.uuids and not node.has_driver:
        return f"{len(stamp.uuids)} GPUs were accepted, and there is no driver"
    if gone := sorted(set(stamp.uuids) - set(node.uuids)):
        return f"{len(gone)} of {len(stamp.uuids)} accepted GPUs are not here, such as {one_line(gone[0], 60)}"
    if new := sorted(set(node.uuids) - set(stamp.uuids)):
        return f"{len(new)} GPUs were never accepted, such as {one_line(new[0], 60)}"
    if stamp.driver != node.driver:
        return f"driver {one_line(str(stamp.driver), 40)} was accepted, and {one_line(str(node.driver), 40)} is here"
    return None


def read_stamp(path: Path) -> Stamp:
    """The stamp in a file. Raises OSError, or one of `UNREADABLE` for what is none."""
    with path.open("rb") as file:
        data: dict[str, Any] = json.loads(file.read(_LARGEST))
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError("it is no stamp of this version")
    stamp = Stamp(
        node=str(data["node"]),
        driver=None if data["driver"] is None else str(data["driver"]),
        uuids=tuple(map(str, data["uuids"])),
        run=str(data["run"]),
        statement=str(data["statement"]),
        accepted_at=str(data["accepted_at"]),
        sha256=tuple(map(str, data["sha256"])),
    )
    if datetime.fromisoformat(stamp.accepted_at).tzinfo is None:
        raise ValueError("its time has no zone")
    _ = stamp.at
    return stamp


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
