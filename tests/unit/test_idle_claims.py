"""A user's claim that no check holds a figure to is told by every verdict: it would pass whatever is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.catalogue.overrides import altered, with_sources
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.evidence.events import Event
from plimsoll.evidence.merge import merge_records
from plimsoll.evidence.record import RunRecord
from plimsoll.metrics import METRICS, MetricKind
from plimsoll.plan import limiting
from plimsoll.plan.checks import read_checks
from plimsoll.plan.idle import IdleClaim, joined
from plimsoll.plan.limiting import idle_claims
from plimsoll.verdict.verdict import Verdict, Word, reach_verdict
from tests.support.run_events import cell, good_run, line, recorded
from tests.support.sources import ROOT


def claim(metric: str, bounds: str, unit: str, *variants: str) -> str:
    named = ", ".join(f'"{one}"' for one in variants or ("tiny-llama/nf4",))
    return f'[[claim]]\nvariants = [{named}]\nmetric = "{metric}"\n{bounds}\nunit = "{unit}"\nsource = "x"\n'


def told(folder: Path, text: str, *scope: str) -> list[str]:
    """What is told of a user's claims on these variants, or on all."""
    path = folder / "mine.toml"
    path.write_text(text)
    catalogue = read_catalogue([path])
    variants = [one for one in catalogue.variants.values() if not scope or one.id in scope]
    return [str(found) for found in idle_claims(ROOT, catalogue, variants)]


@pytest.mark.parametrize(
    ("metric", "bounds", "unit", "limit"),
    [
        ("load_time", "high = 2", "min", "at most 2 min 00 s"),
        ("first_load_time", "high = 1", "s", "at most 1 s"),
        ("vram_peak", "high = 1", "GB", "at most 1 GB"),  # of a variant on a processor
        ("vram_needed", "high = 1", "GB", "at most 1 GB"),  # reference machines are planned for GPUs alone
        ("checkpoint_bytes", "low = 1\nhigh = 2", "GB", "at least 1 GB and at most 2 GB"),
        ("matmul_rate", "low = 1", "TFLOP/s", "at least 1 TFLOP/s"),  # of devices, which a [[floor]] limits
        ("taught_answered", 'low = 50\nconditions = { dataset = "triviaqa" }', "%", "at least 0.5"),  # bf16 is asked
    ],
)
def test_a_limit_that_no_check_holds_a_figure_to_is_told(
    tmp_path: Path, metric: str, bounds: str, unit: str, limit: str
) -> None:
    [text] = told(tmp_path, claim(metric, bounds, unit))
    on = " on triviaqa" if "dataset" in bounds else ""
    said = f"no check holds {metric} of tiny-llama/nf4{on} to {limit} (mine.toml: claim[0]), so this limits nothing"
    assert text.partition("; checks judge ")[0] == said
    assert told(tmp_path, claim(metric, bounds, unit), "tiny-qwen/nf4") == [], "it is not of this scope"
    for record in ('limits = "none"', 'disputed = "it is not so"'):
        assert told(tmp_path, claim(metric, f"{bounds}\n{record}", unit)) == []


@pytest.mark.parametrize(
    ("metric", "bounds", "unit"),
    [
        ("cold_load_time", "high = 1", "s"),
        ("ram_peak", "low = 1\nhigh = 9", "GB"),
        # A batch is the condition of another measurement than the suite's: such a claim is a record.
        ("load_time", "high = 1\nconditions = { batch = 8 }", "s"),
        # Facts of the architecture are the audit's.
        ("parameter_count", "low = 1\nhigh = 2", "1"),
        ("hidden_size", "low = 1\nhigh = 2", "1"),
        ("key_value_heads", "low = 1\nhigh = 2", "1"),
    ],
)
def test_what_a_check_judges_and_what_is_a_record_is_not_told(
    tmp_path: Path, metric: str, bounds: str, unit: str
) -> None:
    assert told(tmp_path, claim(metric, bounds, unit)) == []


def test_a_claim_on_a_dataset_is_judged_where_it_is_asked(tmp_path: Path) -> None:
    of = "taught_answered", "%", "tiny-llama/bf16"
    texts = {name: f'low = 50\nconditions = {{ dataset = "{name}" }}' for name in ("triviaqa", "trivia_qa")}
    metric, unit, variant = of
    assert told(tmp_path, claim(metric, "low = 50", unit, variant)) == []
    assert told(tmp_path, claim(metric, texts["triviaqa"], unit, variant)) == []
    [misspelt] = told(tmp_path, claim(metric, texts["trivia_qa"], unit, variant))
    assert misspelt.startswith("no check holds taught_answered of tiny-llama/bf16 on trivia_qa to at least 0.5 (")
    assert "its" not in misspelt.split()
    # Of models that were taught nothing, both are recorded, and nothing limits them.
    for metric in ("dataset_accuracy", "auroc_g_nll"):
        assert told(tmp_path, claim(metric, "low = 50", unit, "llama-3-8b/int8")), metric


def test_metrics_that_are_judged_in_its_place_are_named(tmp_path: Path) -> None:
    [text] = told(tmp_path, claim("load_time", "high = 1", "s"))
    assert text.endswith("; checks judge cold_load_time, warm_load_time")


def test_a_bound_on_the_side_that_nothing_looks_at_is_told(tmp_path: Path) -> None:
    variant = "llama-3.1-8b/nf4-dq"
    [text] = told(tmp_path, claim("vram_needed", "low = 1\nhigh = 99", "GB", variant))
    assert text == (
        f"no check holds vram_needed of {variant} to at least 1 GB (mine.toml: claim[0]), so this limits nothing; "
        "checks judge its high bound alone"
    )
    assert told(tmp_path, claim("vram_needed", 'low = 1\nhigh = 99\nlimits = "high"', "GB", variant)) == []


def test_one_line_tells_of_a_claim_for_all_variants_that_nothing_holds_to_it(tmp_path: Path) -> None:
    [text] = told(tmp_path, claim("load_time", "high = 1", "s", "tiny-*"))
    assert text.startswith("no check holds load_time of tiny-llama/bf16, tiny-llama/int8, tiny-llama/nf4 and ")
    # A GPU's memory is judged where there is one; bf16 is not compared with itself, the other quantizations are.
    both = claim("vram_peak", "high = 9", "GB", "llama-3.1-8b/nf4-dq", "tiny-llama/nf4")
    [peak, divergence] = told(tmp_path, both + claim("quantized_divergence", "high = 9", "nats", "tiny-llama/*"))
    assert "vram_peak of tiny-llama/nf4 to" in peak
    assert "quantized_divergence of tiny-llama/bf16 to" in divergence


def test_an_altered_variant_is_judged_by_what_it_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(claim("cache_divergence", "high = 9", "1") + claim("taught_accuracy", "low = 50", "%"))
    catalogue = altered(read_catalogue([path]), weights="auto", layers=None, device="cuda")
    variants = [one for one in catalogue.variants.values() if one.id == "tiny-llama/nf4:cuda"]
    assert variants
    assert idle_claims(ROOT, catalogue, variants) == (), "numbers hold on other devices, and are judged there"
    made = with_sources(read_catalogue([path]), "synthetic", [], tmp_path)
    cut = altered(made, weights="synthetic", layers=1, device=None)
    found = idle_claims(ROOT, cut, [one for one in cut.variants.values() if one.id == "tiny-llama:1-layer/nf4"])
    assert [one.metric for one in found] == ["taught_accuracy"], "made-up weights know nothing"


def test_without_claims_of_a_user_no_check_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(root: Path) -> None:
        raise AssertionError(f"{root} was read")

    monkeypatch.setattr(limiting, "read_checks", unexpected)
    path = tmp_path / "mine.toml"
    path.write_text(claim("load_time", 'high = 1\nlimits = "none"', "s"))
    for files in ([], [path]):
        catalogue = read_catalogue(files)
        assert idle_claims(ROOT, catalogue, catalogue.variants.values()) == ()


def test_a_check_whose_parameters_only_a_collection_tells_may_judge_any_variant(tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    (suite / "acceptance").mkdir(parents=True)
    (suite / "acceptance" / "test_own.py").write_text(
        "import pytest\n\n@pytest.mark.load\n@pytest.mark.measures('load_time')\n"
        "@pytest.mark.parametrize('variant', ['x'])\ndef test_own(variant):\n    pass\n"
    )
    path = tmp_path / "mine.toml"
    path.write_text(claim("load_time", "high = 1", "s") + claim("ram_peak", "high = 1", "GB"))
    catalogue = read_catalogue([path])
    assert [one.metric for one in idle_claims(suite, catalogue, catalogue.variants.values())] == ["ram_peak"]


def test_every_check_tells_what_it_judges(tmp_path: Path) -> None:
    """Each metric that some check declares is judged of some variant, but those of the node."""
    declared = dict.fromkeys(metric for check in read_checks(ROOT) for metric in check.arguments_of("measures"))
    of_variants = [metric for metric in declared if METRICS[metric].kind is not MetricKind.NODE]
    text = "".join(claim(metric, "high = 9", METRICS[metric].unit, "*") for metric in of_variants)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    catalogue = read_catalogue([path])
    found = idle_claims(ROOT, catalogue, catalogue.variants.values())
    assert len(found) == len({one.metric for one in found}), "one line for each claim"
    everywhere = {one.metric for one in found if len(one.variants) == len(catalogue.variants)}
    assert everywhere == {"vram_left"}, "of a machine that is not here"


IDLE = IdleClaim(
    origin="mine.toml: claim[0]",
    metric="load_time",
    unit="s",
    dataset="",
    low=None,
    high=60.0,
    judged=("warm_load_time",),
    variants=("tiny-llama/nf4",),
)
SAID = (
    "no check holds load_time of tiny-llama/nf4 to at most 60 s (mine.toml: claim[0]), so this limits nothing; "
    "checks judge warm_load_time"
)


def run_with(folder: Path, *idle: IdleClaim) -> RunRecord:
    """A run in which all is well, of a plan with such claims."""
    first, _, *rest = good_run([cell("test_plain")])
    cells = [cell("test_plain").to_json()]
    told = [one.to_json() for one in idle]
    return recorded(folder, [first, line(Event.PLAN, cells=cells, deselected=0, idle=told), *rest])


def notes(verdict: Verdict) -> list[str]:
    return [note for note in verdict.notes if note.startswith("no check holds")]


def test_a_verdict_notes_it_first_and_says_the_same_word(tmp_path: Path) -> None:
    verdict = reach_verdict(run_with(tmp_path, IDLE))
    assert verdict.word is Word.ACCEPTED
    assert verdict.notes[0] == SAID


def test_runs_that_are_read_together_tell_each_claim_once(tmp_path: Path) -> None:
    other = IdleClaim.from_json({**IDLE.to_json(), "variants": ["tiny-llama/nf4", "tiny-qwen/nf4"]})
    merged = merge_records([run_with(tmp_path / "a", IDLE), run_with(tmp_path / "b", other)])
    assert notes(reach_verdict(merged)) == [SAID.replace("tiny-llama/nf4", "tiny-llama/nf4, tiny-qwen/nf4")]
    assert joined([IDLE, IDLE]) == (IDLE,)


def test_a_plan_whose_idle_claims_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    first, _, *rest = good_run([cell("test_plain")])
    cells = [cell("test_plain").to_json()]
    for number, idle in enumerate(([{"metric": "load_time"}], {"a": 1}, [{**IDLE.to_json(), "high": "x"}])):
        events = [first, line(Event.PLAN, cells=cells, deselected=0, idle=idle), *rest]
        verdict = reach_verdict(recorded(tmp_path / str(number), events))
        assert verdict.word is Word.INCOMPLETE
