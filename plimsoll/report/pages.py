"""report.html and junit.xml, which only pytest can write: asks the suite for a replay, in a process of its own.

`plimsoll report` must work where nothing but the library is installed, so what the suite needs is asked for and not
imported; where it is missing, the answer is a sentence that says how to get it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from plimsoll.errors import reason_of
from plimsoll.extras import why_missing
from plimsoll.present.foreign_text import one_line
from plimsoll.suite import suite_root
from plimsoll.userpath import resolved
from plimsoll.verdict.verdict import Word

HTML_FILE: Final = "report.html"
JUNIT_FILE: Final = "junit.xml"

_DEADLINE: Final = 600.0
_VERDICTS: Final = (0, 1, 5, 6)
"""Exit statuses of a replay that went through, whatever the verdict."""
_WORDS: Final = tuple(f"{word} over " for word in Word)


def why_no_pages() -> str | None:
    """Why report.html and junit.xml cannot be written here, and what to do; None where they can."""
    if (
        missing := why_missing("suite", f"writing {HTML_FILE} and {JUNIT_FILE}", ("pytest", "pytest_html"))
    ) is not None:
        return missing
    if suite_root() is None:
        return f"{HTML_FILE} and {JUNIT_FILE} are written by the suite, which is not in this installation"
    return None


def write_pages(runs: Sequence[Path], folder: Path, waivers: Path | None = None) -> str | None:
    """Write both pages of the runs into an existing folder; ask `why_no_pages` first.

    Returns what went wrong, None where both are there. The old pages stay until the new ones are whole.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".pages-", dir=folder) as made:
            problem = _replay(runs, Path(made), waivers)
            if problem is None:
                for name in (HTML_FILE, JUNIT_FILE):
                    Path(made, name).replace(folder / name)
    except OSError as error:
        return f"{HTML_FILE} and {JUNIT_FILE} could not be written ({reason_of(error)})"
    return problem


def _replay(runs: Sequence[Path], folder: Path, waivers: Path | None) -> str | None:
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider"]
    command += [f"--replay={resolved(run)}" for run in runs]
    command += [f"--report-dir={resolved(folder)}"]
    command += [] if waivers is None else [f"--waivers={resolved(waivers)}"]
    # What a user sets for pytest is meant for runs: more options, fewer plugins.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter, our own options
            command, cwd=suite_root(), env=environment, capture_output=True, text=True, timeout=_DEADLINE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{HTML_FILE} and {JUNIT_FILE} were not written within {_DEADLINE:.0f} s"
    # An interpreter that dies of an exception has status 1 too: only the verdict's last line tells a replay's.
    last = done.stdout.rstrip().rpartition("\n")[2]
    is_whole = last.startswith(_WORDS) and all((folder / name).is_file() for name in (HTML_FILE, JUNIT_FILE))
    if done.returncode in _VERDICTS and is_whole and "a report could not be written" not in done.stdout:
        return None
    said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
    return f"{HTML_FILE} and {JUNIT_FILE} could not be written; pytest says: {one_line(' '.join(said[-3:]), 600)}"
