"""`plimsoll probe`: what this node is, for people as tables and for other tools as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.commands.output import add_output, show
from plimsoll.node.node import Gpu, Node
from plimsoll.node.probe import Probe, RecordedProbe, SystemProbe
from plimsoll.node.stack import check_stack
from plimsoll.present.document import Table, columns
from plimsoll.present.terminal import LONGEST, aligned
from plimsoll.units import format_bytes

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_SUMMARY = "show this node: GPUs, driver, processor, memory, disk, software stack"


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "probe",
        help=_SUMMARY,
        description="Look at this node and say what it is, what could not be read and why. Needs no GPU and no torch; "
        "secrets among the environment variables are masked. Exit status: 0 shown, what could not be read "
        "included, 2 usage error or a file that cannot be read.",
    )
    add_output(parser, "print JSON, which --recorded reads back")
    parser.add_argument("--recorded", type=Path, metavar="FILE", help="show the node that FILE holds instead")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the node; the status is 0 also where something could not be read, for the output says so."""
    probe: Probe = SystemProbe() if options.recorded is None else RecordedProbe(options.recorded)
    node = probe.probe()
    if options.json:
        print(json.dumps(node.to_json(), indent=2))
    else:
        show(render(node))
    return 0


def render(node: Node) -> str:
    """The node as aligned tables under headings, sizes in GB and GiB."""
    sections: list[tuple[str, Sequence[tuple[str, ...]]]] = [
        ("", _machine(node)),
        ("GPUs", _gpu_memory(node.gpus)),
        ("GPU identity", _gpu_identity(node.gpus)),
        ("packages", [(name, version or "not installed") for name, version in node.packages.items()]),
        ("unsupported packages", [(str(fault),) for fault in check_stack(node)]),
        ("environment", list(node.environment.items())),
        ("not read", [(entry.what, entry.why) for entry in node.unread]),
    ]
    return "\n\n".join("\n".join(_block(title, rows)) for title, rows in sections if rows)


def _block(title: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    table = Table(columns=columns(*("" for _ in rows[0])), rows=tuple(rows), has_head=False)
    return [*([title] if title else []), *aligned(table, indent=2 if title else 0, widest=LONGEST)]


def _machine(node: Node) -> list[tuple[str, ...]]:
    cpu, memory, disk = node.cpu, node.memory, node.disk
    cores = "physical cores not read" if cpu.physical_cores is None else f"{cpu.physical_cores} cores"
    quota = "" if cpu.quota is None else f", time of {cpu.quota:g} granted by the control group"
    limit = "" if memory.limit is None else ", limited by the control group"
    return [
        ("node", node.hostname),
        ("system", f"{node.system}, kernel {node.kernel}, Python {node.python}"),
        ("processor", f"{_text(cpu.model)}, {cpu.architecture}, {cores}, {cpu.logical_cores} threads{quota}"),
        ("instructions", " ".join(cpu.features) or "none that matter here"),
        ("memory", f"{format_bytes(memory.available)} available of {format_bytes(memory.total)}{limit}"),
        (
            "disk",
            f"{format_bytes(disk.free)} free of {format_bytes(disk.total)} at {disk.path} ({_text(disk.filesystem)})",
        ),
        ("driver", f"{_text(node.driver)}, up to CUDA {_text(node.cuda)}" if node.driver or node.cuda else "not read"),
    ]


def _gpu_memory(gpus: Sequence[Gpu]) -> list[tuple[str, ...]]:
    if not gpus:
        return []
    split = {True: "on", False: "off", None: "not read"}
    return [
        ("index", "name", "memory", "free", "capability", "MIG"),
        *(
            (
                str(g.index),
                _text(g.name),
                _bytes(g.memory_total),
                _bytes(g.memory_free),
                _text(g.compute_capability),
                split[g.mig],
            )
            for g in gpus
        ),
    ]


def _gpu_identity(gpus: Sequence[Gpu]) -> list[tuple[str, ...]]:
    if not gpus:
        return []
    return [
        ("index", "UUID", "serial", "VBIOS"),
        *((str(g.index), _text(g.uuid), _text(g.serial), _text(g.vbios)) for g in gpus),
    ]


def _text(value: str | None) -> str:
    return "not read" if value is None else value


def _bytes(value: int | None) -> str:
    return "not read" if value is None else format_bytes(value)
