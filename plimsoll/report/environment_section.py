"""The section with stack and environment: what was asked for, everything that was installed, and the variables that
change what is loaded or measured. Secrets were masked before they were written."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from plimsoll.evidence.record import RunRecord
from plimsoll.present.html_elements import cell, row_head, safe, unfolding, wide_table
from plimsoll.report.node_card import distinct_nodes
from plimsoll.report.section import Section


def environment_section(record: RunRecord) -> Section | None:
    """One block for each run, and one for the variables of each node; the node's card has the versions that matter."""
    blocks = []
    for run in record.runs:
        if run.run is None:
            continue
        head = run.run
        lines = [
            ("Run", head.run_id),
            ("Command", shlex.join(["pytest", *head.arguments])),
            ("Plimsoll", head.plimsoll),
        ]
        blocks.append(_list(lines))
        files = wide_table("Catalogue", ("File", "SHA-256", ""), map(_catalogue, head.catalogues))
        blocks.append(unfolding(f"The {len(head.catalogues)} files of the catalogue", files))
        if head.packages:
            packages = wide_table("Packages", ("Package", "Version"), _rows(head.packages.items()))
            blocks.append(unfolding(f"All {len(head.packages)} packages that were installed", packages))
    for node in distinct_nodes(record):
        variables = _rows(sorted(node.environment.items()))
        table = wide_table("Environment variables", ("Variable", "Value"), variables)
        blocks.append(
            f"<h4>Environment of {safe(node.hostname)}</h4>{table if variables else '<p>Nothing is set.</p>'}"
        )
    return Section(title="Stack and environment", html="".join(blocks), is_open=False) if blocks else None


def _catalogue(file: Mapping[str, Any]) -> list[str]:
    own = "" if file.get("shipped") else "not shipped"
    return [row_head(str(file.get("path"))), cell(str(file.get("sha256"))), cell(own)]


def _list(lines: list[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{safe(label)}</dt><dd>{safe(text)}</dd>' for label, text in lines)}</dl>"


def _rows(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    return [[row_head(name), cell(value)] for name, value in pairs]
