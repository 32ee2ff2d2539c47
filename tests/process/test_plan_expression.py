"""The expressions of `-m` and `-k`, held against pytest's own, and what they ask for by name."""

from __future__ import annotations

import subprocess
import sys

from tests.support.subsession import ROOT


def test_the_library_reads_expressions_without_pytest() -> None:
    commands = "import plimsoll.commands.plan, plimsoll.commands.audit"
    script = f"import sys; {commands}; print({{'pytest', '_pytest', 'torch'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
