"""What pytest-html gathers while tests run holds no secret either: it does not pass through the evidence."""

from __future__ import annotations

import os
import subprocess
import sys
from html import escape
from pathlib import Path

import pytest

from plimsoll.redaction import REDACTED, Redactor
from plimsoll.report.naming import check_anchor
from plimsoll.report.rows import settled_rows
from tests.support.broken_checkpoints import model_entry, shipped, variant_entry
from tests.support.subsession import ROOT, run_suite

TOKEN = "planted&<token>-5f2c"


def test_a_live_page_holds_no_token_in_any_form(tmp_path: Path) -> None:
    folder = tmp_path / TOKEN
    folder.mkdir()
    catalogue = tmp_path / "own.toml"
    catalogue.write_text(
        f"{model_entry(shipped('tiny-llama'), 'tiny-leaky', folder)}{variant_entry('tiny-leaky', ['bf16'])}"
    )
    chosen = ("-m", "tiny", "-k", "leaky and test_loads_completely", f"--catalogue={catalogue}")
    outcome = run_suite(tmp_path / "reports", *chosen, env={"HF_TOKEN": TOKEN})
    assert outcome.verdict == "REJECTED"
    assert REDACTED in outcome.output, "nothing could leak: the failure did not name the folder"
    assert TOKEN not in outcome.output.replace(str(tmp_path), "").replace(str(folder), "")
    page = (outcome.folder / "report.html").read_text()
    assert page.count(REDACTED) > 2, "the row and the head tell of it"
    assert "5f2c" not in page.replace(str(tmp_path), "")
    assert escape(TOKEN) not in page


def test_a_redacted_failure_keeps_its_error_apart_from_its_traceback(tmp_path: Path) -> None:
    """pytest's summary, like ours, tells a failure by its error."""
    (tmp_path / "test_own.py").write_text(f"def test_it(tmp_path):\n    assert not tmp_path, 'said {TOKEN}'\n")
    words = (sys.executable, "-m", "pytest", "-c/dev/null", f"--rootdir={tmp_path}", "-pfixtures.redaction", "-rf")
    env = {**os.environ, "HF_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*words, "test_own.py"], cwd=tmp_path, env=env, check=False, capture_output=True, text=True, timeout=60
    )
    assert f"FAILED test_own.py::test_it - AssertionError: said {REDACTED}\n" in done.stdout
    assert "tmp_path = " in done.stdout
    assert TOKEN not in done.stdout


def test_rows_are_redacted_in_every_field() -> None:
    row = {
        "result": "Failed",
        "testId": f"acceptance/test_x.py::test_it[{escape(TOKEN)}]",
        "duration": "1 ms",
        "resultsTableRow": ["<td>Failed</td>", f"<td>{escape(TOKEN)}</td>", f"<td>{escape(TOKEN)}</td>"],
        "log": f"E  {escape(TOKEN)} \x1b[2J\u202e",
        "extras": [{"content": TOKEN}],
    }
    redact = Redactor([TOKEN], forms=[escape])
    assert settled_rows({TOKEN: [row]}, redact) == {
        "0": [
            {
                "result": "Failed",
                "testId": check_anchor(f"acceptance/test_x.py::test_it[{REDACTED}]"),
                "duration": "1 ms",
                "resultsTableRow": [f"<td>Failed<td class=col-testId><a>It</a> <b>{REDACTED}</b><td>{REDACTED}"],
                "log": f"E  {REDACTED} \\x1b[2J\\u202e",
            }
        ]
    }


@pytest.mark.parametrize(
    ("log", "kept"),
    [
        ("No log output captured.", ""),
        ("[gw0] linux -- Python 3.11.7 /usr/bin/python\n", ""),
        (
            "[gw0] linux -- Python 3.11.7 /usr/bin/python\nE  boom",
            "[gw0] linux -- Python 3.11.7 /usr/bin/python\nE  boom",
        ),
    ],
)
def test_a_row_that_has_nothing_to_tell_has_no_log(log: str, kept: str) -> None:
    row = {"result": "Passed", "testId": "a", "duration": "1 ms", "resultsTableRow": [], "log": log}
    assert settled_rows({"a": [row]}, str)["0"][0]["log"] == kept
