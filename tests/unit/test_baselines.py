"""Baselines: kept under their machine and driver, found again by as much of the name as tells them apart."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from plimsoll.compare.baselines import baselines, find_baseline, machine_slug, save_baseline
from plimsoll.errors import PlimsollError
from tests.support.compare_runs import timed_events, timed_run, write_run
from tests.support.run_events import NODE

ROUNDS = [1.0, 1.1, 1.2, 1.3, 1.4]
BARE = replace(NODE, gpus=(), driver=None, cuda=None)


def test_a_baseline_lies_under_its_machine_and_driver(tmp_path: Path) -> None:
    saved = save_baseline(timed_run(tmp_path, "r1", {"a/nf4": ROUNDS}), tmp_path, name=None, replace=False)
    assert str(saved) == "nvidia-h200/570.1/r1"
    assert saved.folder == tmp_path / "baselines" / "nvidia-h200" / "570.1" / "r1"
    original = (tmp_path / "r1" / "evidence.jsonl").read_bytes()
    assert [p.name for p in saved.folder.iterdir()] == ["evidence.jsonl"]
    assert (saved.folder / "evidence.jsonl").read_bytes() == original


def test_without_a_gpu_the_machine_is_the_processor(tmp_path: Path) -> None:
    bare = timed_run(tmp_path, "r1", {"a/nf4": ROUNDS}, node=BARE)
    assert str(save_baseline(bare, tmp_path, name="v1", replace=False)) == "cpu-epyc/no-driver/v1"


def test_several_gpus_are_counted_by_name() -> None:
    gpu = NODE.gpus[0]
    assert machine_slug(replace(NODE, gpus=(gpu,) * 8)) == "8x-nvidia-h200"
    other = replace(gpu, name="NVIDIA A100-SXM4-40GB")
    assert machine_slug(replace(NODE, gpus=(gpu, other, gpu))) == "nvidia-a100-sxm4-40gb+2x-nvidia-h200"
    assert machine_slug(replace(NODE, gpus=(replace(gpu, name=None),))) == "unnamed-gpu"


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    for driver in ("570.1", "580.2"):
        for name in ("v1", "v2"):
            node = replace(NODE, driver=driver)
            source = write_run(tmp_path / f"{driver}-{name}", timed_events({"a/nf4": ROUNDS}, node=node))
            save_baseline(source, tmp_path, name=name, replace=False)
    return tmp_path


@pytest.mark.parametrize("name", ["nvidia-h200/580.2/v1", "580.2/v1", "nvidia-h200/580.2//v1"])
def test_a_baseline_is_found_by_as_much_as_tells_it_apart(reports: Path, name: str) -> None:
    assert find_baseline(name, reports) == reports / "baselines" / "nvidia-h200" / "580.2" / "v1"


def test_a_name_that_fits_several_lists_them(reports: Path) -> None:
    with pytest.raises(PlimsollError) as caught:
        find_baseline("v1", reports)
    assert str(caught.value) == (
        "baseline:v1 fits 2 baselines, name one of them: nvidia-h200/570.1/v1, nvidia-h200/580.2/v1"
    )


@pytest.mark.parametrize("name", ["v3", "", "v1/580.2", "../nvidia-h200/580.2/v1"])
def test_a_name_that_fits_none_lists_all(reports: Path, name: str) -> None:
    with pytest.raises(PlimsollError, match=f"no baseline '{name}' in .*; there are: nvidia-h200/570.1/v1, "):
        find_baseline(name, reports)


def test_a_name_that_is_taken_is_kept_unless_replaced(reports: Path) -> None:
    other = timed_run(reports, "other", {"a/nf4": [9.0] * 5})
    with pytest.raises(PlimsollError, match=r"there is a baseline .* already; use --replace"):
        save_baseline(other, reports, name="v1", replace=False)
    save_baseline(other, reports, name="v1", replace=True)
    assert "9.0" in (find_baseline("570.1/v1", reports) / "evidence.jsonl").read_text()
    assert len(baselines(reports)) == 4


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "two words", "-x"])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PlimsollError, match="is no name for a baseline"):
        save_baseline(timed_run(tmp_path, "r1", {"a/nf4": ROUNDS}), tmp_path, name=name, replace=False)
    assert not (tmp_path / "baselines").exists()


def test_damaged_evidence_and_a_run_without_a_node_are_no_baselines(tmp_path: Path) -> None:
    damaged = timed_run(tmp_path, "r1", {"a/nf4": ROUNDS})
    with (damaged / "evidence.jsonl").open("a") as file:
        file.write("{")
    with pytest.raises(PlimsollError, match="is damaged and no baseline"):
        save_baseline(damaged, tmp_path, name=None, replace=False)
    nameless = write_run(tmp_path / "r2", [e for e in timed_events({"a/nf4": ROUNDS}) if e["event"] != "node"])
    with pytest.raises(PlimsollError, match="did not record its node"):
        save_baseline(nameless, tmp_path, name=None, replace=False)


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "baselines").write_text("a file where the folder should be")
    with pytest.raises(PlimsollError, match="cannot be written"):
        save_baseline(timed_run(tmp_path, "r1", {"a/nf4": ROUNDS}), tmp_path, name=None, replace=False)


def test_only_evidence_is_copied_into_a_baseline(tmp_path: Path) -> None:
    run = timed_run(tmp_path, "r1", {"a/nf4": ROUNDS})
    (run / "resumed").mkdir()
    secret = tmp_path / "secret"
    secret.write_text("not for others")
    (run / "resumed" / "notes.txt").symlink_to(secret)
    os.mkfifo(run / "resumed" / "pipe")
    saved = save_baseline(run, tmp_path / "reports", name="a", replace=False)
    assert sorted(path.name for path in saved.folder.rglob("*")) == ["evidence.jsonl", "resumed"]


def test_a_name_that_the_system_refuses_is_one_message(tmp_path: Path) -> None:
    source = timed_run(tmp_path, "r1", {"a/nf4": ROUNDS})
    save_baseline(source, tmp_path, name="v1", replace=False)
    with pytest.raises(PlimsollError, match=r"cannot be looked at: File name too long"):
        save_baseline(source, tmp_path, name="x" * 300, replace=False)
