"""Makes the files of a bundle that follow from the evidence: when it is signed, and again when it is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from plimsoll.evidence.reader import EVIDENCE_FILE, RESUMED_FOLDER
from plimsoll.evidence.record import RunRecord
from plimsoll.report.node_card import distinct_nodes
from plimsoll.report.results import benchmark_text, results_text
from plimsoll.report.write import BENCHMARK_FILE, RESULTS_FILE, SUMMARY_FILE, summary_text
from plimsoll.verdict.union import lineages
from plimsoll.verdict.verdict import Verdict

INVENTORY_FILE: Final = "inventory.json"
PACKAGES_FILE: Final = "packages.txt"
WAIVERS_FILE: Final = "waivers.toml"
CATALOGUE_FOLDER: Final = "catalogue"


def derived_files(record: RunRecord, verdict: Verdict) -> dict[str, bytes]:
    """Name -> content of every file that evidence and waivers determine."""
    texts = {
        RESULTS_FILE: results_text(record, verdict),
        SUMMARY_FILE: summary_text(record, verdict),
        BENCHMARK_FILE: benchmark_text(record),
        INVENTORY_FILE: inventory_text(record),
        PACKAGES_FILE: packages_text(record),
    }
    return {name: text.encode("utf-8", "backslashreplace") for name, text in texts.items()}


def evidence_names(record: RunRecord) -> dict[str, str]:
    """Run id -> name of its evidence in the bundle, laid out as in a run folder; the newest run first."""
    newest = lineages(record.runs)[0][-1]
    names = {newest.run_id: EVIDENCE_FILE}
    for run in record.runs:
        names.setdefault(run.run_id, f"{RESUMED_FOLDER}/{run.run_id}.jsonl")
    return names


def catalogue_names(record: RunRecord) -> dict[str, str]:
    """SHA-256 of each catalogue file that took part -> its name in the bundle."""
    names: dict[str, str] = {}
    for number, file in enumerate(() if record.run is None else record.run.catalogues, start=1):
        *_, folder, name = ("", *re.split(r"[/\\]", str(file["path"])))
        safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-") or "catalogue.toml"
        if not file.get("shipped"):
            place = f"user/{number:02d}-{safe}"
        else:
            place = safe if folder in ("", "catalogue", "shipped") else f"{folder}/{safe}"
        names[str(file["sha256"])] = f"{CATALOGUE_FOLDER}/{place}"
    return names


def inventory_text(record: RunRecord) -> str:
    """inventory.json: the machines with their serial numbers, for asset management."""
    nodes = [
        {
            "hostname": node.hostname,
            "system": node.system,
            "kernel": node.kernel,
            "cpu": node.cpu.model,
            "memory": node.memory.total,
            "driver": node.driver,
            "cuda": node.cuda,
            "gpus": [_gpu(gpu) for gpu in node.to_json()["gpus"]],
        }
        for node in distinct_nodes(record)
    ]
    return json.dumps({"nodes": nodes}, indent=2) + "\n"


def _gpu(gpu: Mapping[str, Any]) -> dict[str, Any]:
    return {name: gpu[name] for name in ("index", "name", "uuid", "serial", "vbios", "memory_total")}


def packages_text(record: RunRecord) -> str:
    """packages.txt: every installed distribution with its version, as pip reads it."""
    locked: Mapping[str, str | None] = {} if record.run is None else record.run.packages
    if not locked and record.node is not None:
        locked = record.node.packages
    python = "" if record.node is None else f"# Python {record.node.python}\n"
    return python + "".join(f"{name}=={version}\n" for name, version in locked.items() if version is not None)
