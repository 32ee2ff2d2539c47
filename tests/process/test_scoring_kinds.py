"""Numbers, BioASQ's measures, and the rule that says what is right."""

from __future__ import annotations

import subprocess
import sys

from tests.support.subsession import ROOT


def test_without_rouge_score_the_error_names_the_extra() -> None:
    script = (
        "import importlib.util\nimportlib.util.find_spec = lambda name: None\n"
        "from plimsoll.errors import PlimsollError\nfrom plimsoll.scoring.words import rouge_l\n"
        "try:\n    rouge_l('a', ('a',))\nexcept PlimsollError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "scoring the answers to a dataset needs rouge-score, which is not installed; "
        f"install the extra: pip install -e '{ROOT}[datasets]'\n"
    )
