"""The list of the release: an edited, added or removed file of the suite is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from plimsoll.digests import differences, main, shortened
from tests.support.run_events import cell, good_run, start, verdict_on
from tests.support.subsession import ROOT


def suite(folder: Path) -> tuple[Path, Path]:
    """A small suite and the list of its files."""
    for name in (
        "acceptance/test_node.py",
        "fixtures/run.py",
        "plimsoll/units.py",
        "catalogue/tiers.toml",
        "conftest.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    listed = folder / "release.sha256"
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    done = subprocess.run(["sha256sum", "--", *names], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S607  that of the system
    listed.write_text(done.stdout)
    return folder, listed


def test_what_was_edited_added_and_removed_is_named(tmp_path: Path) -> None:
    root, listed = suite(tmp_path)
    assert differences(root, listed) == ()
    (root / "acceptance/test_node.py").write_text("assert True")
    (root / "catalogue/tiers.toml").write_text("")
    (root / "fixtures/more.py").write_text("")
    (root / "plimsoll/units.py").rename(root / "plimsoll/unit.py")
    assert differences(root, listed) == (
        "acceptance/test_node.py",
        "catalogue/tiers.toml",
        "fixtures/more.py (added)",
        "plimsoll/unit.py (added)",
        "plimsoll/units.py (gone)",
    )
    assert differences(root, tmp_path / "none") is None


def test_a_wheel_has_no_checks_and_its_catalogue_inside(tmp_path: Path) -> None:
    root, listed = suite(tmp_path)
    for folder in ("acceptance", "fixtures"):
        (root / folder).rename(tmp_path.parent / f"{tmp_path.name}-{folder}")
    (root / "plimsoll/catalogue").mkdir()
    (root / "catalogue").rename(root / "plimsoll/catalogue/shipped")
    assert differences(root, listed) == ()


def test_a_line_names_a_few_files() -> None:
    assert shortened([f"{n}.py" for n in range(40)])[-2:] == ["11.py", "28 more"]


def test_the_list_of_the_release_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "plimsoll.digests"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), "renew it: make digests"
    assert main(["--no-such-option"]) == 2


def test_a_verdict_names_what_was_edited(tmp_path: Path) -> None:
    edited = ["acceptance/test_node.py", "catalogue/tiers.toml"]
    verdict = verdict_on(tmp_path, [start(edited=edited), *good_run([cell("test_it")])[1:]])
    assert "this suite differs from the release: acceptance/test_node.py, catalogue/tiers.toml" in verdict.notes
    assert "limits are not the shipped ones: catalogue/tiers.toml" in verdict.notes
