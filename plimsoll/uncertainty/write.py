"""Writes everything about an analysis into a folder: JSON, CSV, Markdown, and a file for each picture."""

from __future__ import annotations

from pathlib import Path

from plimsoll.errors import PlimsollError
from plimsoll.report.write import write_atomically
from plimsoll.uncertainty.analysis import Analysis
from plimsoll.uncertainty.csv_files import comparisons_csv, results_csv, scores_csv
from plimsoll.uncertainty.data import analysis_text
from plimsoll.uncertainty.document import markdown_text
from plimsoll.uncertainty.drawn.gallery import gallery


def write_analysis(analysis: Analysis, folder: Path) -> list[str]:
    """Write all files into the folder, which is made where it is missing. Returns what was not drawn, with the reason.

    A picture of an earlier analysis that is not drawn this time is taken away, so that nobody takes it for this one's.
    Raises PlimsollError where something cannot be written.
    """
    pictures = gallery(analysis)
    listed = tuple((p.title, f"{p.name}.svg" if p.element is not None else "", p.text) for p in pictures)
    texts = {
        "uncertainty.json": analysis_text(analysis),
        "uncertainty.md": markdown_text(analysis, listed),
        "results.csv": results_csv(analysis),
        "comparisons.csv": comparisons_csv(analysis),
        "scores.csv": scores_csv(analysis),
        **{f"{p.name}.svg": p.file_text for p in pictures if p.element is not None},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomically(folder / name, text)
        for picture in pictures:
            if picture.element is None:
                (folder / f"{picture.name}.svg").unlink(missing_ok=True)
    except OSError as error:
        what = f"{error.filename or folder} could not be written ({error.strerror or error})"
        raise PlimsollError(f"{what}; use --out DIR for another folder") from None
    return [f"{p.title}: {p.text}" for p in pictures if p.element is None]
