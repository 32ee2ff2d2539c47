"""The reader: every kind of damage is told, nothing readable is lost, and what is no evidence is one clear message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from plimsoll.evidence.reader import read_run
from plimsoll.verdict.verdict import Word, reach_verdict

REAL_TESTS = """
import pytest

@pytest.fixture
def broken(): raise RuntimeError("in setup")

@pytest.fixture
def leaking():
    yield
    raise RuntimeError("in teardown")

def test_passes(): pass
def test_asserts(): assert 1 == 2
def test_fails(): pytest.fail("load_time 3 s\\nlimit 2 s", pytrace=False)
def test_setup(broken): pass
def test_teardown(leaking): pass
def test_no_such_fixture(nothing_like_it): pass
def test_skips(): pytest.skip("nothing to compare")
@pytest.mark.xfail(reason="known", strict=False)
def test_known(): assert False
@pytest.mark.xfail(reason="known", strict=False)
def test_better(): pass
@pytest.mark.xfail(reason="known", strict=True)
def test_strictly_better(): pass
"""

REAL_CONFTEST = """
from pathlib import Path
import pytest
from plimsoll.evidence.events import Event
from plimsoll.evidence.writer import EvidenceWriter

def pytest_configure(config): config.writer = EvidenceWriter(Path("evidence.jsonl"))

@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    cells = [{"id": item.nodeid, "measures": []} for item in session.items]
    session.config.writer.write(Event.PLAN, cells=cells, deselected=0)

class Recorder:
    def __init__(self, config): self.config = config
    def pytest_runtest_logreport(self, report):
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.config.writer.write(Event.REPORT, cell=report.nodeid, report=data)

def pytest_sessionstart(session): session.config.pluginmanager.register(Recorder(session.config))
"""


def test_the_reports_of_a_real_pytest_are_understood(tmp_path: Path) -> None:
    (tmp_path / "test_real.py").write_text(REAL_TESTS)
    (tmp_path / "conftest.py").write_text(REAL_CONFTEST)
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": root, "HOME": root}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    verdict = reach_verdict(read_run(tmp_path))
    results = {
        result.cell.id.partition("::")[2].removeprefix("test_"): (result.outcome.value, result.reason)
        for result in verdict.results
    }
    missing = results.pop("no_such_fixture")
    assert missing[0] == "fail"
    assert "fixture 'nothing_like_it' not found" in missing[1]
    assert results == {
        "passes": ("pass", ""),
        "asserts": ("fail", "assert 1 == 2"),
        "fails": ("fail", "load_time 3 s\nlimit 2 s"),
        "setup": ("fail", "setup: RuntimeError: in setup"),
        "teardown": ("fail", "teardown: RuntimeError: in teardown"),
        "skips": ("skip", "nothing to compare"),
        "known": ("skip", "expected to fail (known)"),
        "better": ("fail", "passed though it was expected to fail (known)"),
        "strictly_better": ("fail", "[XPASS(strict)] known"),
    }
    assert verdict.word is Word.REJECTED
