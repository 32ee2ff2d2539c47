"""What keeps unit tests quick: one that starts a process or imports torch fails, however it does it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.subsession import ROOT, environment

TESTS = {
    "runs a program": "import subprocess, sys\ndef test(): subprocess.run([sys.executable, '-c', ''])",
    "forks": "import os\ndef test():\n    pid = os.fork()\n    os._exit(0) if not pid else os.waitpid(pid, 0)",
    "asks a shell": "import os\ndef test(): os.system('true')",
    "starts in a fixture": (
        "import pytest, subprocess\n@pytest.fixture\ndef done(): return subprocess.run(['true'])\ndef test(done): pass"
    ),
    "swallows the error": (
        "import contextlib, subprocess\n"
        "def test():\n    with contextlib.suppress(BaseException): subprocess.run(['true'])"
    ),
}
TORCH = {
    "imports torch in a test": "def test(): import torch",
    "imports torch": "import torch\ndef test(): pass",
    "swallows it in an import": "try:\n    import torch\nexcept BaseException: pass\ndef test(): pass",
}


def run(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "tests/unit/conftest.py", folder / "conftest.py")
    (folder / "test_it.py").write_text(test + "\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env=environment({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("test", TESTS.values(), ids=TESTS)
def test_a_unit_test_that_starts_a_process_fails(tmp_path: Path, test: str) -> None:
    done = run(tmp_path, test)
    assert done.returncode == 1, done.stdout
    assert "a unit test starts a process (" in done.stdout
    assert "move it to tests/process" in done.stdout


@pytest.mark.parametrize("test", TORCH.values(), ids=TORCH)
def test_a_unit_test_that_imports_torch_fails(tmp_path: Path, test: str) -> None:
    done = run(tmp_path, test)
    assert done.returncode != 0, done.stdout
    assert "passed" not in done.stdout
    assert "a unit test imports torch: move it to tests/torch" in done.stdout


def test_a_unit_test_that_does_neither_passes(tmp_path: Path) -> None:
    done = run(tmp_path, "import subprocess\ndef test(): assert 'torch' not in __import__('sys').modules")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout
