"""`plimsoll schema`: the JSON Schema of each file and output that other tools read."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from plimsoll.commands.output import add_output
from plimsoll.present.document import Table, columns
from plimsoll.present.terminal import LONGEST, aligned

if TYPE_CHECKING:
    from argparse import _SubParsersAction

SCHEMAS: Final = {
    "results": ("plimsoll.report", "results.json of a run"),
    "evidence": ("plimsoll.evidence", "one line of evidence.jsonl"),
    "comparison": ("plimsoll.compare", "`plimsoll compare --json FILE`, and comparison.json of a run with --against"),
    "uncertainty": ("plimsoll.uncertainty", "uncertainty.json, and `plimsoll uncertainty --json`"),
    "node": ("plimsoll.node", "`plimsoll probe --json`"),
    "plan": ("plimsoll.plan", "`plimsoll plan --json`"),
    "headroom": ("plimsoll.plan", "`plimsoll headroom --json`"),
    "inspection": ("plimsoll.inspection", "`plimsoll inspect --json`"),
    "ladder": ("plimsoll.ladder", "`plimsoll ladder --json`"),
    "audit": ("plimsoll.audit", "`plimsoll audit --json`"),
    "explain": ("plimsoll.symptoms", "`plimsoll explain --json`"),
    "checkpoints": ("plimsoll.tiny", "`plimsoll tiny list --json`"),
    "baselines": ("plimsoll.compare", "`plimsoll baseline list --json`"),
    "fleet": ("plimsoll.fleet", "fleet.json, and `plimsoll fleet --json`"),
    "stamp-check": ("plimsoll.engines", "`plimsoll slurm check --json`"),
    "bundle": ("plimsoll.signoff", "manifest.json in a bundle of `plimsoll sign`"),
    "verification": ("plimsoll.signoff", "`plimsoll verify --json`"),
}
"""Name -> the package that ships it, and what it describes."""

_DESCRIPTION = """\
Print the JSON Schema (draft 2020-12) of what other tools read; without a NAME list them. A change that an old reader
could not take gets a new number.
Exit status: 0 printed, 2 usage error."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "schema", help="print the JSON Schema of what other tools read", description=_DESCRIPTION
    )
    parser.add_argument("name", nargs="?", choices=tuple(SCHEMAS), metavar="NAME", help=", ".join(SCHEMAS))
    parser.add_argument("--list", action="store_true", help="list the names, and what each describes")
    add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print one schema, or what there are."""
    if options.list or options.name is None:
        rows = tuple((name, f"plimsoll/{name}/1", what) for name, (_, what) in SCHEMAS.items())
        lines = aligned(
            Table(columns=columns("name", "schema", "what"), rows=rows, has_head=False), indent=0, widest=LONGEST
        )
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    else:
        print(json.dumps(schema(options.name), indent=2, ensure_ascii=False))
    return 0


def schema(name: str) -> dict[str, Any]:
    """The schema of that name. Raises KeyError for one that there is not."""
    package, _ = SCHEMAS[name]
    text = resources.files(package).joinpath("schemas", f"{name}-1.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
