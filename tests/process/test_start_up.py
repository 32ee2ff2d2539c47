"""What a run of the acceptance tests imports: nothing of what only the suite's own tests use."""

from __future__ import annotations

import subprocess
import sys

from tests.support.subsession import ROOT, environment

UNWANTED = {"hypothesis", "anyio", "matplotlib", "numpy", "torch", "transformers"}


def test_collecting_imports_nothing_that_no_acceptance_test_uses() -> None:
    script = (
        "import sys, pytest\n"
        "status = pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider', 'acceptance/test_node.py'])\n"
        f"print('status', int(status), 'imported', sorted({UNWANTED!r} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "status 0 imported []", done.stdout + done.stderr
