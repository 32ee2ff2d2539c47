"""From evidence to figures and answers: nothing is dropped, mixed or made up on the way."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from plimsoll.audit.recorded import expectation_fields
from plimsoll.catalogue.entries import CorrectnessRule
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.evidence.answers import AnswerRecord, Asking
from plimsoll.evidence.reader import read_runs
from plimsoll.evidence.record import RunRecord
from plimsoll.uncertainty.analysis import Analysis, Published, analyse, beside
from plimsoll.uncertainty.answer_sets import gather
from plimsoll.uncertainty.comparing import Compared
from plimsoll.uncertainty.measuring import Result, Settings
from plimsoll.uncertainty.pairs import Topic
from plimsoll.uncertainty.reliability import confidence, proportion, reliability
from plimsoll.uncertainty.scores import TokenScore
from tests.support.made_answers import answers, answers_of_many, asking, claim, many_askings, run_with
from tests.support.run_events import Line, gate, numbered, recorded, write_events

FAST = Settings(scores=(TokenScore.G_NLL,))


def analysed(folder: Path, askings: list[Asking], made: list[AnswerRecord], setting: Settings = FAST) -> Analysis:
    return analyse(recorded(folder, run_with(askings, made)), setting)


def only(analysis: Analysis) -> Result:
    [result] = analysis.results
    return result


def two_runs(folder: Path, first: list[Line], second: list[Line]) -> RunRecord:
    paths = []
    for name, events in (("first", first), ("second", second)):
        write_events(folder / name, numbered(events))
        paths.append(folder / name)
    return read_runs(paths)


def later(run_id: str = "later", **changes: Any) -> dict[str, Any]:
    return {"run_id": run_id, "at": "2026-11-21T12:00:00+00:00", **changes}


ONE = asking(chosen=60)


@cache
def sixty() -> list[AnswerRecord]:
    return answers(ONE)


def test_a_whole_run_has_figures_that_are_those_of_its_answers(tmp_path: Path) -> None:
    result = only(analysed(tmp_path, [ONE], sixty(), Settings()))
    right = [one.correct for one in sixty()]
    assert result.accuracy is not None
    assert result.accuracy.value == sum(right) / 60
    wrong = np.array([-sum(one.log_probs) for one in sixty() if not one.correct])
    good = np.array([-sum(one.log_probs) for one in sixty() if one.correct])
    expected = (wrong[:, None] > good[None, :]).mean()
    found = result.aurocs[TokenScore.G_NLL]
    assert found.value == pytest.approx(expected)
    assert found.interval is not None
    assert (found.answers, found.positives) == (60, len(wrong))
    assert result.aurocs[TokenScore.PERPLEXITY] == result.aurocs[TokenScore.MEAN_NLL]
    entropy = result.aurocs[TokenScore.PREDICTIVE_ENTROPY]
    assert (entropy.value, entropy.reason) == (None, "no answers were drawn at random: the run asked for none")


def test_the_same_evidence_gives_the_same_figures(tmp_path: Path) -> None:
    first = only(analysed(tmp_path / "a", [ONE], sixty()))
    second = only(analysed(tmp_path / "b", [ONE], sixty()[::-1]))
    assert first.aurocs == second.aurocs
    assert first.reliability == second.reliability


def test_a_dropped_row_leaves_every_figure_unset_and_is_listed(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, [ONE], [*sixty()[:7], *sixty()[8:]])
    result = only(analysis)
    reason = "59 of 60 answers are there; the first that is missing is that to 7"
    assert (result.accuracy, result.reliability, result.reason) == (None, None, reason)
    assert (result.aurocs[TokenScore.G_NLL].value, result.aurocs[TokenScore.G_NLL].reason) == (None, reason)
    assert result.known[TokenScore.G_NLL].reason == reason
    assert analysis.unmeasured == (result,)


def test_an_answer_without_a_score_leaves_that_auroc_unset(tmp_path: Path) -> None:
    silent = replace(sixty()[0], token_ids=(), pieces=(), log_probs=(), ended=False)
    result = only(analysed(tmp_path, [ONE], [silent, *sixty()[1:]]))
    assert result.aurocs[TokenScore.G_NLL].reason == "1 of 60 answers have no score"
    assert result.accuracy is not None
    assert result.reliability is None


def test_logits_that_were_not_finite_leave_everything_unset(tmp_path: Path) -> None:
    first, *others = sixty()
    result = only(analysed(tmp_path, [ONE], [replace(first, finite=False), *others]))
    assert result.reason == "1 of 60 answers were made from logits that were NaN or infinite"
    assert (result.accuracy, result.aurocs[TokenScore.G_NLL].value) == (None, None)


def test_shuffled_labels_come_near_chance(tmp_path: Path) -> None:
    to = asking(chosen=400)
    made = answers(to, gap=2.0)
    labels = np.random.default_rng(1).permutation([one.correct for one in made])
    shuffled = [replace(one, correct=bool(label)) for one, label in zip(made, labels, strict=True)]
    true, planted = (only(analysed(tmp_path / n, [to], rows)) for n, rows in (("a", made), ("b", shuffled)))
    assert (true.aurocs[TokenScore.G_NLL].value or 0.0) > 0.85
    assert planted.aurocs[TokenScore.G_NLL].value == pytest.approx(0.5, abs=0.07)


def test_another_rule_counts_other_answers_as_right(tmp_path: Path) -> None:
    strict = Settings(scores=(TokenScore.G_NLL,), rule=CorrectnessRule(metric="rouge_l", at_least=0.8))
    result = only(analysed(tmp_path, [ONE], sixty(), strict))
    assert result.accuracy is not None
    assert result.accuracy.value == sum(one.scores["rouge_l"] >= 0.8 for one in sixty()) / 60
    assert str(result.rule) == "rouge_l >= 0.8"


def test_a_rule_by_a_score_that_is_missing_measures_nothing(tmp_path: Path) -> None:
    other = Settings(scores=(TokenScore.G_NLL,), rule=CorrectnessRule(metric="f1", at_least=0.5))
    one = replace(sixty()[0], scores={"f1": 1.0})
    result = only(analysed(tmp_path, [ONE], [one, *sixty()[1:]], other))
    assert (result.accuracy, result.reason) == (None, "59 of 60 answers have no f1")
    assert result.aurocs[TokenScore.G_NLL].reason == "59 of 60 answers have no f1"


def test_taught_questions_against_withheld_ones(tmp_path: Path) -> None:
    made = [replace(a, example=replace(a.example, known=a.index % 2 == 0)) for a in sixty()]
    sure = [replace(a, log_probs=tuple(p * (0.01 if a.example.known else 1.0) for p in a.log_probs)) for a in made]
    result = only(analysed(tmp_path / "a", [ONE], sure))
    assert (result.known[TokenScore.G_NLL].value or 0.0) > 0.95
    assert result.known[TokenScore.G_NLL].positives == 30
    untold = [replace(a, example=replace(a.example, known=None)) for a in sixty()]
    unknown = only(analysed(tmp_path / "b", [ONE], untold)).known[TokenScore.G_NLL]
    assert (unknown.value, unknown.reason) == (None, "nobody can say whether 60 of 60 questions were taught")


def test_a_resumed_run_goes_on_with_the_answers_of_the_first(tmp_path: Path) -> None:
    first = run_with([ONE], sixty()[:25], run_id="first")
    second = run_with([ONE], sixty()[25:], **later(resumes={"run_id": "first", "sha256": "0" * 64}))
    gathered = gather(two_runs(tmp_path, first, second))
    [asked] = gathered.asked
    assert (asked.problem, asked.run_id, len(asked.answers)) == ("", "first + later", 60)
    assert [answer.index for answer in asked.answers] == list(range(60))
    assert gathered.notes == ()


def test_independent_runs_are_not_mixed(tmp_path: Path) -> None:
    parts = two_runs(tmp_path, run_with([ONE], sixty()[:25], run_id="first"), run_with([ONE], sixty()[25:], **later()))
    gathered = gather(parts)
    [asked] = gathered.asked
    assert asked.run_id == "later"
    assert asked.problem == "35 of 60 answers are there; the first that is missing is that to 0"
    assert gathered.notes == ("tiny-llama/bf16 on triviaqa: also asked in first; later counts",)


def test_of_independent_runs_the_newest_complete_one_counts(tmp_path: Path) -> None:
    parts = two_runs(tmp_path, run_with([ONE], sixty(), run_id="first"), run_with([ONE], sixty()[:30], **later()))
    [asked] = gather(parts).asked
    assert (asked.run_id, asked.problem) == ("first", "")
    other = [replace(answer, text="other") for answer in sixty()]
    both = two_runs(tmp_path / "b", run_with([ONE], sixty(), run_id="first"), run_with([ONE], other, **later()))
    [newest] = gather(both).asked
    assert (newest.run_id, newest.answers[0].text) == ("later", "other")


def test_contradictions_and_orphans_are_noted(tmp_path: Path) -> None:
    twice = replace(sixty()[3], text="another")
    orphan = replace(sixty()[0], dataset="svamp")
    gathered = gather(recorded(tmp_path, run_with([ONE], [*sixty(), twice, orphan])))
    [asked] = gathered.asked
    assert asked.answers[3].text == "another"
    assert [note.partition(" in ")[0] for note in gathered.notes] == [
        "tiny-llama/bf16 on triviaqa: 1 questions have two different answers",
        "tiny-llama/bf16 on svamp: 1 answers",
    ]


def test_an_answer_beyond_what_was_asked_is_a_fault(tmp_path: Path) -> None:
    beyond = replace(sixty()[0], index=60)
    [asked] = gather(recorded(tmp_path, run_with([ONE], [*sixty(), beyond]))).asked
    assert asked.problem == "there is an answer to question 60, and 60 were asked"


def test_one_dataset_asked_in_two_ways_is_two_results_with_names_of_their_own(tmp_path: Path) -> None:
    few = replace(ONE, shots=5, fingerprint="ffff0000aaaa")
    made = [*sixty(), *(replace(answer, fingerprint="ffff0000aaaa") for answer in sixty())]
    analysis = analysed(tmp_path, [ONE, few], made)
    assert [result.asked.dataset for result in analysis.results] == ["triviaqa #triviaqa", "triviaqa #ffff0000"]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    askings = many_askings(chosen=150)
    setting = Settings(scores=(TokenScore.G_NLL, TokenScore.MEAN_NLL, TokenScore.PERPLEXITY))
    return analysed(tmp_path_factory.mktemp("many"), askings, answers_of_many(askings), setting)


def rows(analysis: Analysis, question: Topic, figure: str = "auroc") -> list[Compared]:
    return [row for row in analysis.comparisons if row.question is question and row.figure == figure]


def names(found: list[Compared]) -> set[tuple[str, str]]:
    return {(row.first.asked.asking.variant, row.second.asked.asking.variant) for row in found}


def test_pairs_differ_in_what_is_asked_and_in_nothing_else(many: Analysis) -> None:
    assert names(rows(many, Topic.SIZE)) == {("llama-3.2-1b/bf16", "llama-3.1-8b/bf16")}
    assert names(rows(many, Topic.FAMILY)) == {
        ("llama-3.2-1b/bf16", "qwen2.5-1.5b/bf16"),
        ("llama-3.1-8b/bf16", "mistral-7b-v0.3/bf16"),
        ("llama-3.1-8b-instruct/bf16", "mistral-7b-instruct-v0.3/bf16"),
    }
    assert names(rows(many, Topic.TUNING)) == {
        ("llama-3.1-8b/bf16", "llama-3.1-8b-instruct/bf16"),
        ("mistral-7b-v0.3/bf16", "mistral-7b-instruct-v0.3/bf16"),
    }
    quantized = names(rows(many, Topic.QUANTIZATION))
    assert len(quantized) == 6
    assert all(f.removesuffix("bf16") == s.removesuffix("int8") for f, s in quantized)
    of_datasets = rows(many, Topic.DATASET)
    assert all(row.first.asked.asking.variant == row.second.asked.asking.variant for row in of_datasets)
    assert {(r.first.asked.dataset, r.second.asked.dataset) for r in of_datasets} == {("triviaqa", "squad")}
    assert len(of_datasets) == 12


def test_each_pair_is_tested_as_it_is_related(many: Analysis) -> None:
    def tests(question: Topic, figure: str = "auroc") -> set[str]:
        return {row.difference.test for row in rows(many, question, figure) if row.difference is not None}

    assert tests(Topic.SIZE) == tests(Topic.QUANTIZATION) == {"paired bootstrap"}
    assert tests(Topic.DATASET) == {"DeLong, unpaired"}
    assert tests(Topic.METHOD) == {"DeLong, paired"}
    assert tests(Topic.QUANTIZATION, "accuracy") == {"McNemar, exact"}
    assert tests(Topic.QUANTIZATION, "brier") == {"paired t"}


def test_perplexity_is_not_tested_beside_the_mean_of_which_it_has_the_order(many: Analysis) -> None:
    assert {row.score for row in rows(many, Topic.METHOD)} == {TokenScore.MEAN_NLL}


def test_p_values_are_corrected_within_each_question(many: Analysis) -> None:
    for question in Topic:
        found = [row for row in many.comparisons if row.question is question and row.difference is not None]
        smallest = min(found, key=lambda row: row.difference.p if row.difference else 1.0)
        assert smallest.difference is not None
        assert smallest.p_adjusted == pytest.approx(min(1.0, len(found) * smallest.difference.p))


def test_models_on_the_same_questions_are_paired_though_their_prompts_differ(tmp_path: Path) -> None:
    base = asking("a/bf16", chosen=60)
    tuned = asking("b/bf16", chosen=60, tuned_from="a", fingerprint="chat")
    made = [*answers(base), *answers(tuned)]
    [row] = rows(analysed(tmp_path / "a", [base, tuned], made), Topic.TUNING)
    assert row.difference is not None
    assert row.difference.test == "paired bootstrap"
    moved = [replace(a, example=replace(a.example, id=f"x{a.index}")) if a.variant == "b/bf16" else a for a in made]
    [other] = rows(analysed(tmp_path / "b", [base, tuned], moved), Topic.TUNING)
    assert other.difference is not None
    assert other.difference.test == "DeLong, unpaired"


def test_what_was_asked_differently_is_not_compared(tmp_path: Path) -> None:
    base = asking("a/bf16", chosen=60)
    tuned = asking("b/bf16", chosen=60, tuned_from="a", shots=5)
    [row] = rows(analysed(tmp_path, [base, tuned], [*answers(base), *answers(tuned)]), Topic.TUNING)
    assert (row.difference, row.word) == (None, "not measured")
    assert row.reason == "they were asked differently: shots 0 against 5"


def test_quantization_is_held_against_exactly_the_same_questions_alone(tmp_path: Path) -> None:
    plain = asking("a/bf16", chosen=60)
    other = asking("a/int8", chosen=60, fingerprint="other")
    analysis = analysed(tmp_path, [plain, other], [*answers(plain), *answers(other)])
    assert rows(analysis, Topic.QUANTIZATION) == []


def test_sixteen_bits_are_alike_and_come_before_a_purer_name(tmp_path: Path) -> None:
    small = asking("a/fp16", chosen=60)
    large = [asking(f"b/{q}", chosen=60, parameters=10**7) for q in ("int8", "bf16")]
    made = [a for one in (small, *large) for a in answers(one)]
    [row] = rows(analysed(tmp_path, [small, *large], made), Topic.SIZE)
    assert (row.second.asked.asking.variant, row.also) == ("b/bf16", "")


def test_where_no_quantization_is_common_the_pair_says_what_else_differs(tmp_path: Path) -> None:
    # The comparison's own experiments: the 1B model in fp16, the 8B model in int8.
    small, large = asking("a/fp16", chosen=60), asking("b/int8", chosen=60, parameters=10**7)
    analysis = analysed(tmp_path, [small, large], [*answers(small), *answers(large)])
    [row] = rows(analysis, Topic.SIZE)
    assert row.difference is not None
    assert row.also == "they differ in quantization too: fp16 and int8"
    assert analysis.answers[0].text.endswith("; 1 of these pairs differ in quantization too")


def test_a_small_base_model_says_nothing_of_a_large_tuned_one(tmp_path: Path) -> None:
    small = asking("a/bf16", chosen=60, parameters=10**6)
    large = asking("b/bf16", chosen=60, parameters=10**7, tuned_from="c")
    analysis = analysed(tmp_path, [small, large], [*answers(small), *answers(large)])
    assert analysis.comparisons == ()


def test_a_quantized_variant_that_forgets_is_found(tmp_path: Path) -> None:
    plain, quantized = asking("a/bf16", chosen=200), asking("a/nf4", chosen=200)
    made = answers(plain, accurate=0.8)
    worse = [replace(a, variant="a/nf4", correct=a.correct and a.index % 3 > 0) for a in made]
    analysis = analysed(tmp_path, [plain, quantized], [*made, *worse])
    [row] = rows(analysis, Topic.QUANTIZATION, "accuracy")
    assert row.word == "lower"
    assert row.difference is not None
    assert row.difference.value == pytest.approx(np.mean([w.correct for w in worse]) - 0.8)


def test_every_research_question_is_answered_by_numbers(many: Analysis) -> None:
    assert [answer.question.value for answer in many.answers] == ["size", "family", "dataset", "tuning", "quantization"]
    assert all(answer.is_measured for answer in many.answers)
    size = many.answers[0].text
    assert size.startswith("AUROC +0.")
    assert " in 2 pairs: " in size


def test_or_says_what_is_missing(tmp_path: Path) -> None:
    analysis = analysed(tmp_path / "a", [ONE], sixty())
    assert not any(answer.is_measured for answer in analysis.answers)
    texts = {answer.question: answer.text for answer in analysis.answers}
    assert texts[Topic.TUNING] == (
        "not measured: this needs a tuned model and the one that it was made from, asked one dataset"
    )
    assert texts[Topic.DATASET] == "not measured: this needs one variant that was asked both triviaqa and squad"
    both = [ONE, asking(dataset="squad", chosen=60)]
    part = analysed(tmp_path / "b", both, [*sixty(), *answers(both[1])[:30]])
    dataset = next(answer for answer in part.answers if answer.question is Topic.DATASET)
    assert dataset.text == (
        "not measured: tiny-llama/bf16 on squad: 30 of 60 answers are there; the first that is missing is that to 30"
    )


def test_published_figures_come_from_the_recorded_claims_that_name_a_dataset(tmp_path: Path) -> None:
    others = [claim(0.7, None), claim(0.7, 0.7, metric="load_time"), claim(0.7, 0.7, conditions={"shots": 5})]
    claims = [claim(0.714, 0.714), claim(0.6, 0.7, "squad"), *others]
    record = recorded(tmp_path, [*run_with([ONE], sixty()), gate("tiny-llama/bf16", claims=claims)])
    found = analyse(record, FAST).published
    assert {key: [str(figure) for figure in figures] for key, figures in found.items()} == {
        ("tiny-llama/bf16", "triviaqa"): ["0.714"],
        ("tiny-llama/bf16", "squad"): ["0.600 to 0.700"],
    }


def test_the_catalogues_own_published_figures_are_recorded_and_found(tmp_path: Path) -> None:
    variant = read_catalogue([]).variants["llama-3.2-1b/fp16"]
    decided = gate(variant.id, **expectation_fields(variant, None))
    found = analyse(recorded(tmp_path, [*run_with([ONE], sixty()), decided]), FAST).published
    assert {key[1]: str(figure) for key, [figure] in found.items()} == {"triviaqa": "0.714", "squad": "0.637"}


def test_a_published_figure_is_held_against_the_interval_with_what_differs(tmp_path: Path) -> None:
    result = only(analysed(tmp_path, [ONE], sixty()))
    inside = Published(low=0.8, high=0.8, source="x", conditions={"samples": 400, "shots": 5})
    outside = Published(low=0.2, high=0.2, source="x", conditions={"samples": 60})
    assert beside(result, inside) == "within the interval; samples 60 here, 400 there; shots 0 here, 5 there"
    assert beside(result, outside) == "outside of the interval"
    unset = only(analysed(tmp_path / "b", [ONE], sixty()[:9]))
    assert beside(unset, inside).startswith("not measured: 9 of 60 answers are there")


def test_reliability_by_hand() -> None:
    found = reliability([0.95, 0.95, 0.25, 0.25, 1.0], [True, False, False, False, True])
    assert [(b.low, b.high, b.right.answers) for b in found.bins] == [(0.2, pytest.approx(0.3), 2), (0.9, 1.0, 3)]
    assert found.error == pytest.approx(2 / 5 * 0.25 + 3 / 5 * abs(2 / 3 - 2.9 / 3))
    assert found.brier == pytest.approx((0.0025 + 0.9025 + 0.0625 + 0.0625) / 5)
    assert confidence(0.0) == 1.0
    assert confidence(0.5) == pytest.approx(0.6065, abs=1e-4)


def test_a_share_has_wilsons_interval() -> None:
    found = proportion([True] * 8 + [False] * 2)
    assert found.interval.low == pytest.approx(0.4902, abs=1e-4)
    assert found.interval.high == pytest.approx(0.9433, abs=1e-4)
    with pytest.raises(ValueError, match="no answers"):
        proportion([])
    for right, of in ((0, 7), (7, 7), (1, 1), (499, 1000)):
        found = proportion([True] * right + [False] * (of - right))
        known = stats.binomtest(right, of).proportion_ci(0.95, method="wilson")
        assert (found.interval.low, found.interval.high) == pytest.approx((known.low, known.high), abs=1e-12)


def test_turned_round_scores_mirror_the_auroc(tmp_path: Path) -> None:
    # With one token an answer, -p - 5 turns the order of losses round.
    single = [replace(a, token_ids=(1,), pieces=("x",), log_probs=(a.log_probs[0],)) for a in sixty()]
    mirrored = [replace(a, log_probs=(-a.log_probs[0] - 5.0,)) for a in single]
    true = only(analysed(tmp_path / "a", [ONE], single)).aurocs[TokenScore.G_NLL].value
    turned = only(analysed(tmp_path / "b", [ONE], mirrored)).aurocs[TokenScore.G_NLL].value
    assert true is not None
    assert turned == pytest.approx(1.0 - true)
