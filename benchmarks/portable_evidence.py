"""A run's evidence made small enough to keep, and free of what names the machine that made it.

Left out: the samples of resident memory, four a second, which no figure is made from (peaks are the kernel's own), and
of the reports of tests that passed all but what a verdict needs, for whoever reads evidence fills the rest in.
Replaced: paths, the host's name, the names of the checkout and of its branch. The lines of each writer are numbered and
counted anew, for a reader takes a gap in their numbers for lost evidence, which it would be in a run's own folder, and
sealed anew.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from plimsoll.evidence.chain import START, sealed
from plimsoll.evidence.events import Event

HOST: Final = "node"
PROJECT: Final = "plimsoll"
PATH: Final = "a path"
NEEDED: Final = ("outcome", "when", "duration", "longrepr")


def portable(evidence: str, root: Path, reports: Path) -> str:
    """The lines of `evidence`, of a run in the checkout `root` that wrote to `reports`, as they may be published."""
    lines = [json.loads(line) for line in evidence.splitlines()]
    kept = [_reduced(line) for line in lines if line["event"] != Event.SAMPLE]
    written: Counter[str] = Counter()
    text = ""
    for line in kept:
        written[line["worker"]] += 1
        text += f"{json.dumps(line | {'seq': written[line['worker']]}, separators=(',', ':'))}\n"
    for found, replacement in _names(root, reports):
        text = text.replace(found, replacement)
    return _sealed(text)


def _sealed(text: str) -> str:
    """The lines with the checksums and counts that their writer would have given them; those of format 1 have none."""
    last: dict[str, str] = {}
    lines = []
    for event in map(json.loads, text.splitlines()):
        if "sum" not in event:
            return text
        if event["event"] in (Event.CLOSE, Event.FINISH):
            event["events"] = event["seq"]
        fields = {name: value for name, value in event.items() if name not in ("after", "sum")}
        line, last[event["worker"]] = sealed(fields, last.get(event["worker"], START))
        lines.append(line.decode("ascii"))
    return "".join(lines)


def _reduced(line: dict[str, Any]) -> dict[str, Any]:
    """The line without the fields that hold a name alone, which could stand for anything elsewhere in the text, and
    without what nobody needs of a report."""
    match line["event"]:
        case Event.MACHINE:
            line["machine_info"] |= {"node": HOST}
            line["commit_info"] |= {"project": PROJECT, "branch": ""}
        case Event.NODE:
            node = line["node"]
            node |= {
                "hostname": HOST,
                "environment": {name: _placeless(value) for name, value in node["environment"].items()},
            }
            if node.get("disk"):
                node["disk"] |= {"path": _placeless(node["disk"]["path"])}
        case Event.REPORT:
            report = line["report"]
            keys = NEEDED if report["outcome"] == "passed" else report.keys() - {"keywords"}
            line["report"] = {key: report[key] for key in keys}
    return line


def _placeless(value: Any) -> Any:
    """The value, but for a path outside the home folder: where somebody keeps a cache is nobody else's business."""
    known = isinstance(value, str) and value.startswith("/") and not value.startswith(str(Path.home()))
    return PATH if known else value


def _names(root: Path, reports: Path) -> Iterator[tuple[str, str]]:
    """What is replaced wherever it stands, and by what; a path before those that it lies in."""
    yield f"Z-{platform.node().split('.')[0]}-", f"Z-{HOST}-"
    yield str(reports), "reports"
    yield str(root), "."
    yield str(Path.home()), "~"
