"""Run folders: named for the moment and the node, never shared, and a place that cannot be written is told at once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_runs_that_start_together_get_folders_of_their_own(tmp_path: Path) -> None:
    code = """
        import sys
        from datetime import UTC, datetime
        from pathlib import Path
        from plimsoll.evidence.run_folder import create_run_folder, point_latest
        reports = Path(sys.argv[1])
        for _ in range(100):
            run = create_run_folder(reports, datetime(2026, 11, 20, tzinfo=UTC))
            point_latest(run)
            assert (reports / "latest").is_dir()
            print(run)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    together = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    made = "".join(process.communicate()[0] for process in together).split()
    assert [process.returncode for process in together] == [0, 0, 0]
    assert len(set(made)) == 300
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(Path(p).name for p in made), "latest"])


def test_a_read_only_reports_folder_is_one_clear_message() -> None:
    code = """
        import os, sys
        from datetime import UTC, datetime
        from pathlib import Path
        from plimsoll.errors import PlimsollError
        from plimsoll.evidence.run_folder import create_run_folder, point_latest
        if os.geteuid() == 0:
            os.seteuid(65534)  # root may write everywhere
        reports = Path(sys.argv[1])
        make = lambda: create_run_folder(reports, datetime.now(UTC))
        for write in (make, lambda: point_latest(reports / "a")):
            try:
                write()
            except PlimsollError as error:
                print(error)
    """
    # Not under tmp_path: its parents let nobody but the owner through.
    with tempfile.TemporaryDirectory() as reports:
        Path(reports).chmod(0o555)
        command = [sys.executable, "-c", textwrap.dedent(code), reports]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        Path(reports).chmod(0o755)
    message = f"reports folder {reports} is not writable (Permission denied); use --report-dir=DIR for another\n"
    assert done.stdout == 2 * message
