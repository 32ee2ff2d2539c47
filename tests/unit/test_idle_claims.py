"""A claim that no check holds a figure to is refused when it is read: it would pass whatever is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll import cli
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import CatalogueError
from plimsoll.metrics import METRICS, MetricKind
from plimsoll.plan.checks import read_checks
from plimsoll.plan.limiting import judging_of
from tests.support.sources import ROOT

JUDGING = judging_of(ROOT)


def claim(metric: str, bounds: str, unit: str, *variants: str) -> str:
    named = ", ".join(f'"{one}"' for one in variants or ("tiny-llama/nf4",))
    return f'[[claim]]\nvariants = [{named}]\nmetric = "{metric}"\n{bounds}\nunit = "{unit}"\nsource = "x"\n'


def faults_of(folder: Path, text: str) -> list[str]:
    path = folder / "mine.toml"
    path.write_text(text)
    try:
        read_catalogue([path], judging=JUDGING)
    except CatalogueError as error:
        return [str(fault).partition("mine.toml: ")[2] for fault in error.faults]
    return []


@pytest.mark.parametrize(
    ("metric", "bounds", "unit"),
    [
        ("load_time", "high = 1", "s"),
        ("first_load_time", "high = 1", "s"),
        ("vram_peak", "high = 1", "GB"),  # of a variant on a processor
        ("vram_needed", "high = 1", "GB"),  # reference machines are planned for GPUs alone
        ("vram_allocated", "high = 1", "GB"),
        ("checkpoint_bytes", "high = 1", "GB"),
        ("matmul_rate", "low = 1", "TFLOP/s"),  # of devices, which a [[floor]] limits
        ("training_vram_peak", "high = 1", "GB"),
    ],
)
def test_a_limit_that_no_check_holds_a_figure_to_is_refused(
    tmp_path: Path, metric: str, bounds: str, unit: str
) -> None:
    [fault] = faults_of(tmp_path, claim(metric, bounds, unit))
    assert fault.startswith(
        f"claim[0].metric: no check judges {metric} of 'tiny-llama/nf4', so this limits nothing; "
        'set limits = "none" to keep it as a record'
    )
    assert faults_of(tmp_path, claim(metric, f'{bounds}\nlimits = "none"', unit)) == []
    assert faults_of(tmp_path, claim(metric, f'{bounds}\ndisputed = "it is not so"', unit)) == []


def test_the_fault_names_what_is_judged_instead(tmp_path: Path) -> None:
    [fault] = faults_of(tmp_path, claim("load_time", "high = 1", "s"))
    assert fault.endswith("; checks judge first_token_time, token_time, cold_load_time, warm_load_time")


def test_a_bound_on_the_side_that_nothing_looks_at_is_refused(tmp_path: Path) -> None:
    [fault] = faults_of(tmp_path, claim("vram_needed", "low = 1\nhigh = 99", "GB", "llama-3.1-8b/nf4-dq"))
    assert fault == (
        "claim[0].low: no check holds vram_needed of 'llama-3.1-8b/nf4-dq' to a low bound; set limits = \"high\""
    )
    high = claim("vram_needed", 'low = 1\nhigh = 99\nlimits = "high"', "GB", "llama-3.1-8b/nf4-dq")
    assert faults_of(tmp_path, high) == []


def test_a_pattern_has_to_name_a_variant_that_is_judged(tmp_path: Path) -> None:
    both = claim("vram_peak", "high = 9", "GB", "llama-3.1-8b/nf4-dq", "tiny-llama/nf4")
    [fault] = faults_of(tmp_path, both)
    assert "vram_peak of 'tiny-llama/nf4'" in fault
    # bf16 is not compared with itself, the other quantizations are.
    assert faults_of(tmp_path, claim("quantized_divergence", "high = 9", "nats", "tiny-llama/*")) == []


@pytest.mark.parametrize(("metric", "unit"), [("parameter_count", "1"), ("hidden_size", "1"), ("key_value_heads", "1")])
def test_facts_that_the_audit_reads_are_no_limits(tmp_path: Path, metric: str, unit: str) -> None:
    assert faults_of(tmp_path, claim(metric, "low = 1\nhigh = 2", unit)) == []


def test_every_check_tells_what_it_judges_and_every_shipped_limit_is_judged() -> None:
    catalogue = read_catalogue()
    judged = JUDGING(catalogue)
    assert judged is not None
    somewhere = {metric for metrics in judged.values() for metric in metrics}
    declared = {metric for check in read_checks(ROOT) for metric in check.arguments_of("measures")}
    of_no_variant = {metric for metric in declared - somewhere if METRICS[metric].kind is not MetricKind.NODE}
    assert of_no_variant == {"vram_left"}, "of a machine that is not here"
    limited = {claim.metric for claim in catalogue.claims if claim.is_limit}
    assert {metric for metric in limited - somewhere if METRICS[metric].kind is not MetricKind.FACT} == set()


def test_commands_refuse_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(claim("load_time", "high = 1", "s"))
    for command in ("plan", "audit", "headroom"):
        assert cli.main([command, *(["tiny-llama"] if command == "headroom" else []), f"--catalogue={path}"]) == 2
        assert "no check judges load_time" in capsys.readouterr().err
