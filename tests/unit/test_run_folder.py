"""Run folders: named for the moment and the node, never shared, and a place that cannot be written is told at once."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from plimsoll.errors import PlimsollError
from plimsoll.evidence.run_folder import create_run_folder, find_run, point_latest

NOW = datetime(2026, 11, 20, 12, 59, 1, tzinfo=UTC)


def test_the_name_says_when_and_where(tmp_path: Path) -> None:
    folder = create_run_folder(tmp_path / "deep" / "reports", NOW.astimezone(timezone(timedelta(hours=9))))
    assert folder.is_dir()
    assert folder.parent == tmp_path / "deep" / "reports"
    assert re.fullmatch(r"20261120T125901Z-[A-Za-z0-9.-]+-[0-9a-f]{4}", folder.name)


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("gpu-07.cluster.example", "gpu-07"),
        ("a/b c$", "a-b-c"),
        ("x" * 200, "x" * 40),
        ("", "node"),
        ("...", "node"),
    ],
)
def test_any_hostname_makes_a_plain_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hostname: str, name: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: hostname)
    assert create_run_folder(tmp_path, NOW).name[:-5] == f"20261120T125901Z-{name}"


def test_a_name_that_is_taken_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suffixes = iter(["ab12", "ab12", "cd34"])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(suffixes))
    first, second = create_run_folder(tmp_path, NOW), create_run_folder(tmp_path, NOW)
    assert (first.name[-4:], second.name[-4:]) == ("ab12", "cd34")


def test_latest_points_to_the_newest_also_after_a_move(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    for _ in range(2):
        run = create_run_folder(reports, NOW)
        point_latest(run)
        assert (reports / "latest").resolve() == run
    reports.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest").resolve() == tmp_path / "moved" / run.name


def test_a_folder_in_place_of_the_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(PlimsollError) as error:
        point_latest(create_run_folder(tmp_path, NOW))
    assert str(error.value) == (
        f"{tmp_path / 'latest'} is a folder, not a link to the newest run; move it away, or use --report-dir=DIR"
    )


def test_a_place_where_no_folder_can_be_made_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for reports, why in ((tmp_path / "file" / "reports", "Not a directory"), (Path("/proc/reports"), "No such file")):
        with pytest.raises(PlimsollError) as error:
            create_run_folder(reports, NOW)
        assert str(error.value).startswith(f"reports folder {reports} is not writable ({why}")
        assert str(error.value).endswith("; use --report-dir=DIR for another")


def test_a_run_is_found_by_path_id_and_latest(tmp_path: Path) -> None:
    run = create_run_folder(tmp_path, NOW)
    point_latest(run)
    assert find_run(str(run), Path("nowhere")) == run
    assert find_run(run.name, tmp_path) == run
    assert find_run("latest", tmp_path).resolve() == run


def test_a_run_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(PlimsollError) as error:
        find_run("latest", tmp_path)
    assert str(error.value) == (
        f"no run 'latest': it is neither a folder nor an evidence file, and {tmp_path} holds no runs"
    )
    for name in ("a", "b", "c", "d", "empty"):
        (tmp_path / name).mkdir()
        if name != "empty":
            (tmp_path / name / "evidence.jsonl").write_text("")
    (tmp_path / "latest").symlink_to("d")
    with pytest.raises(PlimsollError, match=r"the newest in .* are b, c, d$"):
        find_run("z", tmp_path)


def test_a_name_that_no_file_system_takes_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(PlimsollError, match=r"^x{200}\.\.\.: cannot be looked at: File name too long$"):
        find_run("x" * 5000, tmp_path)
