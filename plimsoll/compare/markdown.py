"""A comparison as Markdown for a pull request: the statements first, long tables folded away."""

from __future__ import annotations

from collections.abc import Sequence

from plimsoll.compare.document import Document, Section
from plimsoll.compare.fail_on import Finding
from plimsoll.present.markdown import markdown
from plimsoll.present.tables import markdown_table


def markdown_text(document: Document, found: Sequence[Finding]) -> str:
    """The whole file."""
    parts = ["# Comparison", "\n".join(f"- {markdown(statement)}" for statement in document.statements)]
    if found:
        parts.append("\n".join(f"- **fails on {f.condition}**: {markdown(f.text)}" for f in found))
    return "\n\n".join([*parts, *map(_section, document.sections)]) + "\n"


def _section(section: Section) -> str:
    parts = [f"## {markdown(section.title)}"]
    if section.lines:
        parts.append("\n".join(f"- {markdown(line)}" for line in section.lines))
    if section.table is not None:
        parts.append(markdown_table(section.table))
    return "\n\n".join(parts)
