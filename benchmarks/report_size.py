"""How long the reports of a large run take, and how large they are: 10,000 results over the whole catalogue.

The evidence is made up (`tests/support/catalogue_events.py`), with every outcome. Two times are told: what follows
from the evidence alone, and report.html and junit.xml, for which pytest is started. They are seconds of a processor,
which other work on the machine changes little.

    .venv/bin/python -m benchmarks.report_size [RESULTS]
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from plimsoll.evidence.reader import read_run
from plimsoll.report.pages import HTML_FILE, write_pages
from plimsoll.report.write import write_reports
from plimsoll.verdict.verdict import reach_verdict
from tests.support.catalogue_events import catalogue, full_catalogue
from tests.support.run_events import Line, cell, good_cell, numbered, write_events

RESULTS = 10_000


def events_of(results: int) -> list[Line]:
    """A run over the whole catalogue, filled up with further cells to so many results."""
    events = full_catalogue()
    plan = next(event for event in events if event["event"] == "plan")
    variants = list(catalogue().variants)
    more = [
        cell(f"test_more_{number // len(variants)}", variants[number % len(variants)], ["ram_peak"])
        for number in range(results - len(plan["cells"]))
    ]
    plan["cells"] = [*plan["cells"], *(one.to_json() for one in more)]
    return [*events[:-1], *(event for one in more for event in good_cell(one)), events[-1]]


def children() -> float:
    """Seconds of a processor that finished child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print seconds and bytes."""
    results = int(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        evidence = write_events(folder, numbered(events_of(results)))
        began = time.process_time()
        record = read_run(folder)
        verdict = reach_verdict(record)
        assert len(verdict.results) == results, f"{len(verdict.results)} results"
        assert not write_reports(record, verdict, folder)
        plain = time.process_time() - began
        began = children()
        problem = write_pages([folder], folder)
        assert problem is None, problem
        pages = children() - began
        print(f"{results:,} results, evidence {evidence.stat().st_size / 1e6:.1f} MB")
        print(f"results.json, summary.md: {plain:.1f} s; report.html, junit.xml: {pages:.1f} s")
        for name in (HTML_FILE, "results.json", "summary.md", "junit.xml"):
            print(f"{name}: {(folder / name).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
