"""How long a browser takes to open report.html of the whole catalogue, 3,117 rows: a second is the aim.

Told are the time until the first text is there and until all of the page is, and the seconds of a processor of the
page's thread, which other work on the machine changes less.

    .venv/bin/python -m benchmarks.report_opening
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

from selenium import webdriver

from plimsoll.report.pages import HTML_FILE, write_pages
from tests.support.browser import browser, emulate, script
from tests.support.catalogue_events import full_catalogue
from tests.support.run_events import numbered, write_events

ROUNDS: Final = 7
_TIMES: Final = (
    "const page = performance.getEntriesByType('navigation')[0];"
    "return [performance.getEntriesByName('first-contentful-paint')[0].startTime, page.loadEventEnd]"
)


def main() -> None:
    """Print bytes and the median of each time."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_events(folder, numbered(full_catalogue()))
        problem = write_pages([folder], folder)
        assert problem is None, problem
        page = folder / HTML_FILE
        with browser(folder / "profile") as chrome:
            emulate(chrome, width=1440)
            _command(chrome, "Performance.enable", timeDomain="threadTicks")
            rounds = [_opened(chrome, page) for _ in range(ROUNDS)]
        painted, loaded, worked = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{HTML_FILE}: {page.stat().st_size / 1e6:.2f} MB, medians of {ROUNDS} rounds:")
        print(f"first text {painted:.2f} s, all of it {loaded:.2f} s; {worked:.2f} s of a processor")


def _opened(chrome: webdriver.Chrome, page: Path) -> tuple[float, float, float]:
    """Seconds until the first text, until all of the page, and of a processor."""
    chrome.get("about:blank")
    before = _worked(chrome)
    chrome.get(page.as_uri())
    painted, loaded = script(chrome, _TIMES)
    return painted / 1000, loaded / 1000, _worked(chrome) - before


def _worked(chrome: webdriver.Chrome) -> float:
    metrics: Any = _command(chrome, "Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def _command(chrome: webdriver.Chrome, name: str, **arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = chrome.execute_cdp_cmd(name, arguments)
    return answer


if __name__ == "__main__":
    main()
