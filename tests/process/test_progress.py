"""What a person sees while a load takes long: in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.subsession import ROOT, environment


def test_it_is_seen_while_a_test_runs(tmp_path: Path) -> None:
    # pytest captures what a test writes, and what its own terminal writer does meanwhile.
    (tmp_path / "test_slow.py").write_text(
        "from fixtures.progress import progress_of\n"
        "def test_slow(request):\n"
        "    progress_of(request.config).update('llama load', 31.0, None)\n"
        "    print('of the test')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "/dev/null", f"--rootdir={tmp_path}", str(tmp_path)],
        env=environment({"PYTHONPATH": str(ROOT)}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\nllama load: 31.0 s\n" in done.stdout
    assert "of the test" not in done.stdout
