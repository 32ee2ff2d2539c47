"""The suite as it is installed: from the built wheel, in a folder where there is nothing of a checkout."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.light import light, link_dependencies
from tests.support.slurm import submit
from tests.support.subsession import ROOT, environment, read_events

SOME = ("-m", "tiny", "-k", "tiny-llama/bf16 and (test_free or stored_bytes)")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel was unpacked, to be put before everything else on the path."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = wheels.glob("plimsoll_gpu-*.whl")
    unpack = [*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run(unpack, check=True, timeout=300)
    return target


def plimsoll(installed: Path, here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    here.mkdir(exist_ok=True)
    env = {**environment({"PYTHONPATH": str(installed)}), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "plimsoll", *arguments]
    return subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def ran(installed: Path, trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    here = tmp_path_factory.mktemp("empty")
    done = plimsoll(installed, here, "run", *SOME)
    assert done.returncode == 0, done.stdout + done.stderr
    return here, done.stdout


def test_the_suite_runs_where_there_is_no_checkout(ran: tuple[Path, str], installed: Path) -> None:
    here, output = ran
    assert output.rstrip().splitlines()[-1].startswith(f"ACCEPTED over {SOME[0]} {SOME[1]} {SOME[2]} '{SOME[3]}': ")
    assert "differs from the release" not in output
    assert str(installed) in output, "it was not the installed suite that ran"
    latest = here / "reports" / "latest"
    assert {"report.html", "junit.xml", "results.json", "evidence.jsonl"} <= {path.name for path in latest.iterdir()}
    (head,) = [event for event in read_events(latest / "evidence.jsonl") if event["event"] == "run"]
    assert (head["program"], head["arguments"]) == ("plimsoll run", list(SOME))
    assert head["selection"]["paths"] == []
    assert head["edited"] == []


def test_its_script_runs_the_command_line(installed: Path, tmp_path: Path) -> None:
    script = [sys.executable, str(installed / "bin" / "plimsoll"), "--version"]
    env = environment({"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"})
    done = subprocess.run(script, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("plimsoll ")
    assert "from plimsoll_gpu import main" in (installed / "bin" / "plimsoll").read_text()


def test_its_reports_are_written_again(ran: tuple[Path, str], installed: Path) -> None:
    here, _ = ran
    page = here / "reports" / "latest" / "report.html"
    page.unlink()
    done = plimsoll(installed, here, "report", "latest")
    assert (done.returncode, done.stderr) == (0, "")
    assert page.stat().st_size > 10_000


def test_a_file_of_checks_is_found_and_stands_in_the_scope(installed: Path, tmp_path: Path) -> None:
    done = plimsoll(installed, tmp_path, "run", "acceptance/test_node.py", *SOME[:2], "-k", "test_free")
    assert "acceptance/test_node.py" in done.stdout.rstrip().splitlines()[-1]


def test_the_next_step_is_one_that_works_here(installed: Path, tmp_path: Path) -> None:
    left_out = "acceptance/test_node.py::test_stack[tiny]"
    done = plimsoll(installed, tmp_path, "run", "-m", "tiny and node", f"--deselect={left_out}")
    assert done.returncode == 6
    assert "to run them: plimsoll run -m 'tiny and node'\n" in done.stdout


def test_its_batch_script_runs_in_any_folder(installed: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    here = tmp_path / "empty"
    script = plimsoll(installed, here, "slurm", "script", *SOME[:2], "-k", SOME[3])
    assert (script.returncode, script.stderr) == (0, "")
    told = {"SLURM_JOB_NODELIST": "a,b", "FAKE_NODES": "a b", "PYTHONPATH": str(installed)}
    done = submit(script.stdout, here, tmp_path, told)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "ACCEPTED over 2 expected nodes: 2 accepted"


def test_the_next_step_of_an_entry_is_one_that_works_here(
    installed: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    known = plimsoll(installed, tmp_path, "add", "tiny-llama")
    assert known.stderr.rstrip().endswith(": plimsoll run -k tiny-llama")
    added = plimsoll(installed, tmp_path, "add", str(trained["tiny-llama"]), "--id=mine", "--out=my.toml")
    assert added.returncode == 0, added.stderr
    (step,) = [line for line in added.stdout.splitlines() if line.startswith("next: ")]
    program, *arguments = shlex.split(step.removeprefix("next: "))
    assert program == "plimsoll"
    done = plimsoll(installed, tmp_path, *arguments, "--collect-only", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[mine/" in done.stdout


def test_the_status_is_the_verdicts(installed: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    nothing = plimsoll(installed, tmp_path, "run", "-m", "tiny", "-k", "no_such_check")
    assert nothing.returncode == 5
    damaged = shutil.copytree(trained["tiny-llama"], tmp_path / "damaged")
    for weights in damaged.glob("*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:100])
    done = plimsoll(installed, tmp_path, "run", *SOME, f"--model-dir=tiny-llama={damaged}")
    assert done.returncode == 1, done.stdout


def test_workers_find_it_too(installed: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    done = plimsoll(installed, tmp_path, "run", *SOME, "-n", "2")
    assert done.returncode == 0, done.stdout
    results = json.loads((tmp_path / "reports" / "latest" / "results.json").read_text())
    assert len(results["cells"]) >= 2


def test_marks_are_known_to_the_library(installed: Path, tmp_path: Path) -> None:
    marks = plimsoll(installed, tmp_path, "run", "--markers")
    assert "@pytest.mark.gpu70b" in marks.stdout
    wrong = plimsoll(installed, tmp_path, "plan", "-m", "tinny")
    assert "did you mean 'tiny'?" in wrong.stderr


def test_help_is_ours_and_pytests_is_to_be_had(installed: Path, tmp_path: Path) -> None:
    assert "Everything after `run` is pytest's" in plimsoll(installed, tmp_path, "run", "--help").stdout
    assert "--load-rounds" in plimsoll(installed, tmp_path, "run", "--", "--help").stdout
    assert not (tmp_path / "reports").exists(), "help leaves no run behind"


def test_what_is_missing_is_installed_from_the_wheel(
    installed: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """No index has the distribution, so that its bare name would find nothing."""
    packages = link_dependencies(tmp_path_factory.getbasetemp() / "packages without pytest")
    (noted,) = installed.glob("plimsoll_gpu-*.dist-info/direct_url.json")
    wheel = Path(json.loads(noted.read_text())["url"].removeprefix("file://"))

    def told() -> list[str]:
        done = light(packages, "-m", "plimsoll", "run", "-m", "tiny", cwd=tmp_path, root=installed)
        assert done.returncode == 2
        return shlex.split(done.stderr.partition("; install the extra: ")[2])

    assert told() == ["pip", "install", f"{wheel}[suite]"]
    away = wheel.rename(wheel.with_suffix(".away"))
    try:
        assert told() == ["pip", "install", f"/path/of/{wheel.name}[suite]"]
    finally:
        away.rename(wheel)


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "-m", "gpu8b", "--profile", "h100-80g"),
        ("audit", "-m", "gpu8b"),
        ("headroom", "llama-3.1-8b", "--profile", "h100-80g"),
    ],
    ids=lambda words: str(words[0]),
)
def test_the_wheel_answers_without_torch(
    installed: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """From the predictions that it carries, in an environment with the command line's own libraries."""
    packages = link_dependencies(tmp_path_factory.getbasetemp() / "packages without torch")
    done = light(packages, "-m", "plimsoll", *arguments, cwd=tmp_path, root=installed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("predictions as shipped with Plimsoll, made with torch ")
