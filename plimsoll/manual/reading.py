"""Reads what each check proves, its limit, what makes it fail and what to do, from the docstrings of `acceptance/`.

A docstring begins with what the check proves. Then come `Limit:`, `Fails when:` and `Do:`, each at the start of a line,
and `Symptoms:` with ids of catalogue/symptoms.toml where some fit.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError
from plimsoll.plan.checks import Check, read_checks

LIMIT, FAILS, DO, SYMPTOMS = "Limit", "Fails when", "Do", "Symptoms"
_NEEDED: Final = (LIMIT, FAILS, DO)
_LABEL: Final = re.compile(rf"^({'|'.join((*_NEEDED, SYMPTOMS))}):\s*", re.MULTILINE)
_SENTENCE: Final = re.compile(r".*?[.?!](?=\s|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the manual says of one check."""

    check: Check
    proves: str
    limit: str
    fails: str
    """Follows the words "Fails when"."""
    do: str
    symptoms: tuple[str, ...]
    """Ids of symptoms that it often shows."""

    @property
    def first_sentence(self) -> str:
        """What it proves, in one sentence."""
        found = _SENTENCE.match(self.proves)
        return found.group() if found else self.proves


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualChapter:
    """A file of checks: what it asks, and its checks in the order of the file."""

    file: str
    """`acceptance/test_load.py`."""
    intro: str
    """Paragraphs, parted by an empty line."""
    entries: tuple[Entry, ...]


def read_manual(root: Path) -> tuple[ManualChapter, ...]:
    """The chapters of the suite under `root`, by the names of their files.

    Raises PlimsollError for a check of which the docstring leaves a part out, and where there is no suite.
    """
    by_file: dict[str, list[Check]] = {}
    for check in read_checks(root):
        by_file.setdefault(check.file, []).append(check)
    return tuple(_chapter(root, file, checks) for file, checks in by_file.items())


def _chapter(root: Path, file: str, checks: list[Check]) -> ManualChapter:
    module = ast.parse((root / file).read_text(encoding="utf-8"))
    docs = {node.name: ast.get_docstring(node) or "" for node in module.body if isinstance(node, ast.FunctionDef)}
    intro = "\n\n".join(map(_joined, (ast.get_docstring(module) or "").split("\n\n")))
    entries = tuple(_entry(check, docs.get(check.name, "")) for check in checks)
    return ManualChapter(file=file, intro=intro, entries=entries)


def _entry(check: Check, doc: str) -> Entry:
    proves, parts = _parts(doc)
    missing = [label for label in _NEEDED if not parts.get(label)]
    if missing or not proves:
        what = ", ".join([*([] if proves else ["what it proves"]), *(f"'{label}:'" for label in missing)])
        raise PlimsollError(f"{check.id}: its docstring lacks {what}; see CONTRIBUTING.md")
    symptoms = tuple(filter(None, (one.strip() for one in parts.get(SYMPTOMS, "").split(","))))
    return Entry(check=check, proves=proves, limit=parts[LIMIT], fails=parts[FAILS], do=parts[DO], symptoms=symptoms)


def _parts(doc: str) -> tuple[str, Mapping[str, str]]:
    head, *rest = _LABEL.split(doc)
    return _joined(head), {label: _joined(text) for label, text in zip(rest[::2], rest[1::2], strict=True)}


def _joined(text: str) -> str:
    return " ".join(text.split())
