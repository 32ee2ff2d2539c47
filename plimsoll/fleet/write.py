"""Writes what is made of a fleet: the page, the Markdown, the files for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from plimsoll.errors import PlimsollError, reason_of
from plimsoll.extras import require
from plimsoll.fleet.data import fleet_text, node_lines
from plimsoll.fleet.document import breach_words, fleet_document
from plimsoll.fleet.fleet import Fleet
from plimsoll.present import markdown, parts, terminal
from plimsoll.report.write import write_atomically, write_output
from plimsoll.userpath import is_there

_SKIPPED_ON_A_TERMINAL: Final = ("All nodes", "How it was decided")


def terminal_lines(fleet: Fleet) -> list[str]:
    """What a reader of a terminal sees: the sections, the statement last, behind it why the status is not its own."""
    whole = fleet_document(fleet)
    lines: list[str] = []
    for section in whole.sections:
        if section.title not in _SKIPPED_ON_A_TERMINAL:
            lines += [*terminal.section_lines(section), ""]
    return [*lines, terminal.line(fleet.statement), *(f"{head}{rest}" for head, rest in breach_words(fleet))]


def markdown_text(fleet: Fleet) -> str:
    """The same in Markdown, long tables folded away."""
    return markdown.document_text(fleet_document(fleet))


def page_text(fleet: Fleet) -> str:
    """A page that needs nothing else."""
    own = Path(__file__).with_name("page.css").read_text("utf-8")
    return parts.own_page(fleet_document(fleet, on_page=True), own)


def lines_text(fleet: Fleet) -> str:
    """A line of JSON for each node."""
    return "".join(f"{line}\n" for line in node_lines(fleet))


_WRITERS: Final[Mapping[str, Callable[[Fleet], str]]] = {
    ".html": page_text,
    ".md": markdown_text,
    ".json": fleet_text,
    ".jsonl": lines_text,
}
"""Ending of a file -> what makes its text."""


def required_output(path: Path) -> Path:
    """The path, where it can be written to. Raises PlimsollError, before anything is read, where the page needs a
    library that is missing, and for a path that cannot be examined."""
    is_folder = is_there(path) and path.is_dir()
    if path.suffix in ("", ".html") or is_folder:
        require("pages", "the page of a fleet", ("jinja2",))
    if path.suffix not in ("", *_WRITERS) and not is_folder:
        raise PlimsollError(
            f"--output {path}: it ends in none of {', '.join(_WRITERS)}; give such a file, or a folder for all of them"
        )
    return path


def files_of(path: Path) -> list[Path]:
    """What is written for a path: the file, or all four in a folder."""
    is_file = path.suffix in _WRITERS and not path.is_dir()
    return [path] if is_file else [path / f"fleet{ending}" for ending in _WRITERS]


def write_fleet(fleet: Fleet, path: Path) -> list[Path]:
    """Write one file, by its ending, or all four into a folder, which is made. Raises PlimsollError."""
    files, write = files_of(path), write_output
    if path not in files:
        # A folder may come from anybody, with links in it.
        write = write_atomically
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlimsollError(f"folder {path} cannot be made ({reason_of(error)})") from None
    for file in files:
        try:
            write(file, _WRITERS[file.suffix](fleet))
        except OSError as error:
            raise PlimsollError(f"{file} could not be written ({reason_of(error)})") from None
    return files
