"""What is asked of whom, in which order; and that looking leaves no trace."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest

from plimsoll.catalogue.marks import read_marks
from tests.support.subsession import ROOT, Outcome, environment, run_inside, run_suite


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_inside(tmp_path_factory.mktemp("reports"), "-m", "tiny", "--collect-only", "-q")


def ids(outcome: Outcome, variant: str) -> list[str]:
    """The questions to one variant, in the order in which they will be asked."""
    lines = [line for line in outcome.output.splitlines() if line.endswith(f"[{variant}]")]
    return [line.rpartition("::")[2].partition("[")[0] for line in lines]


def test_ids_name_question_and_variant(collected: Outcome) -> None:
    assert "acceptance/test_quantization.py::test_applied[tiny-mixtral/nf4-dq]" in collected.output.splitlines()


def test_every_tiny_variant_is_asked(collected: Outcome) -> None:
    variants = {line.partition("[")[2].rstrip("]") for line in collected.output.splitlines() if "[" in line}
    quantizations = ("bf16", "int8", "nf4", "nf4-dq")
    families = ("tiny-llama", "tiny-qwen", "tiny-mistral", "tiny-mixtral", "tiny-phi")
    wanted = {f"{family}/{quantization}" for family in families for quantization in quantizations}
    tiny = {variant for variant in variants if variant.startswith("tiny-")}
    assert tiny == wanted | {"tiny-llama/fp32", "tiny-llama/fp16"}
    assert all(rest in ("tiny", "cpu") or rest.startswith("cpu-") for rest in variants - tiny)


def test_the_stack_is_asked_before_any_variant(collected: Outcome) -> None:
    ids = [line for line in collected.output.splitlines() if "[" in line]
    golden = [place for place, line in enumerate(ids) if "test_golden_logits" in line]
    first = next(place for place, line in enumerate(ids) if "[tiny-" in line)
    assert max(golden) < first


def test_questions_come_in_an_order_that_none_spoils(collected: Outcome) -> None:
    asked = ids(collected, "tiny-phi/nf4")
    assert asked.index("test_cold_load_time") < asked.index("test_warm_load_time") < asked.index("test_applied")
    assert asked.index("test_applied") < asked.index("test_finite_logits")
    assert asked[-3:] == ["test_ram_returns", "test_process_is_gone", "test_close_to_16_bit"]


def test_variants_come_one_after_another(collected: Outcome) -> None:
    order = [line.partition("[")[2].rstrip("]") for line in collected.output.splitlines() if "[" in line]
    changes = sum(one != other for one, other in pairwise(order))
    assert changes == len(set(order)) - 1, "a variant is left and come back to, so it would be loaded twice"


def test_a_question_that_makes_no_sense_is_not_asked(collected: Outcome) -> None:
    assert "test_state" in ids(collected, "tiny-llama/nf4")
    assert "test_state" not in ids(collected, "tiny-llama/bf16")
    assert "test_close_to_16_bit" not in ids(collected, "tiny-llama/bf16")
    assert "test_close_to_16_bit" in ids(collected, "tiny-llama/fp32")


def test_checks_of_another_suite_are_grouped_as_pytest_groups_them(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import pytest\n"
        "@pytest.fixture(scope='session', params='ab')\ndef costly(): pass\n"
        "def test_first(costly): pass\n"
        "def test_second(costly): pass\n"
    )
    place = ("-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}")
    found = run_inside(tmp_path / "reports", "--collect-only", "-q", *place, "acceptance/test_node.py", str(tmp_path))
    asked = [line.rpartition("::")[2] for line in found.output.splitlines() if "::" in line]
    assert asked[0].startswith("test_stack[")
    assert asked[-4:] == ["test_first[a]", "test_second[a]", "test_first[b]", "test_second[b]"]


@pytest.mark.parametrize("only", [("--collect-only",), ()], ids=["collected", "recorded"])
def test_pytest_does_not_group_what_the_suite_puts_in_its_order(only: tuple[str, ...], tmp_path: Path) -> None:
    grouped: list[pytest.Item] = []

    def group(items: list[pytest.Item]) -> list[pytest.Item]:
        grouped.extend(items)
        return items

    with mock.patch("_pytest.fixtures.reorder_items", group):
        found = run_inside(tmp_path, *only, "-k", "no_such_check")
    assert "deselected" in found.output
    assert [item.nodeid for item in grouped if "[" in item.nodeid] == []


def test_collecting_leaves_no_run(collected: Outcome) -> None:
    assert collected.status == 0
    assert not list(collected.reports.iterdir())


@pytest.mark.parametrize("option", ["--markers", "--fixtures", "--help", "--version"])
def test_asking_leaves_no_run(option: str, tmp_path: Path) -> None:
    outcome = run_inside(tmp_path, option)
    assert outcome.status == 0
    assert not list(tmp_path.iterdir())


def test_showing_the_cache_leaves_no_run(tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "pytest", "--cache-show", "-o", f"cache_dir={tmp_path}/cache"]
    reports = tmp_path / "reports"
    done = subprocess.run(
        [*asked, f"--report-dir={reports}"], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "cache is empty" in done.stdout
    assert not reports.exists()


def test_markers_are_those_of_the_file(tmp_path: Path) -> None:
    output = run_inside(tmp_path, "--markers").output
    marks = read_marks(ROOT / "markers.ini")
    assert len(marks.lines) > 20
    for line in marks.lines:
        assert f"@pytest.mark.{line}" in output


def test_the_suites_own_tests_leave_no_run(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "tests/unit/test_catalogue_marks.py", "-q")
    assert outcome.status == 0
    assert not list(tmp_path.iterdir())


def test_options_explain_themselves(tmp_path: Path) -> None:
    output = " ".join(run_inside(tmp_path, "--help").output.split())
    for option in ("--catalogue", "--report-dir", "--load-rounds", "--allow-incomplete", "--weights", "--model-dir"):
        assert option in output
    assert "write it with the equals sign" in output


def test_load_rounds_must_be_a_positive_number(tmp_path: Path) -> None:
    outcome = run_inside(tmp_path, "--load-rounds=0")
    assert outcome.status == 4
    assert "--load-rounds" in outcome.output
    assert "Traceback" not in outcome.output
