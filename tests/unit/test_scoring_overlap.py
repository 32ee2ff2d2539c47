"""Exact match, F1 and ROUGE-L: what the official scripts publish, and properties that hold for any text.

The tables are data: each line was worked out by hand from the text of the script that it names, not by our code.
"""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.catalogue.entries import DatasetSchema
from plimsoll.dataset.example import AnswerKind
from plimsoll.metrics import RULE_SCORES, SCORES
from plimsoll.scoring.score import score
from plimsoll.scoring.words import NORMALISATIONS, Normalise, f1, nq_open, plain, rouge_l, squad, trivia_qa
from tests.support.examples import NO_ANSWER, example_of

SQUAD, TRIVIA, NQ = DatasetSchema.SQUAD_V2, DatasetSchema.TRIVIA_QA, DatasetSchema.NQ_OPEN

texts = st.text(alphabet=st.sampled_from("abtheno wx19.,-_'’`´ \n%éßİ東"), max_size=30)


@pytest.mark.parametrize(
    ("text", "by_squad", "by_trivia_qa"),
    [
        ("The Eiffel Tower!", "eiffel tower", "eiffel tower"),
        ("well-known", "wellknown", "well known"),
        ("U.S.A.", "usa", "u s"),  # the blank leaves an `a`, which is an article
        ("snake_case", "snakecase", "snake case"),
        ("rock ’n’ roll", "rock ’n’ roll", "rock n roll"),  # typographic quotes are not ASCII punctuation
        ("`´‘quoted’", "´‘quoted’", "quoted"),
        ("An  apple\ta\nday", "apple day", "apple day"),
        ("Thea and Ana", "thea and ana", "thea and ana"),  # articles are whole words
        ("the", "", ""),
        ("O'Neill", "oneill", "o neill"),
        ("$1,200.50", "120050", "1 200 50"),
        ("Ångström—unit", "ångström—unit", "ångström—unit"),
    ],
)
def test_normalisation_is_that_of_each_script(text: str, by_squad: str, by_trivia_qa: str) -> None:
    assert (squad(text), trivia_qa(text)) == (by_squad, by_trivia_qa)


def test_each_schema_has_its_own_normalisation() -> None:
    assert {schema: NORMALISATIONS[schema] for schema in DatasetSchema} == {
        TRIVIA: trivia_qa,
        SQUAD: squad,
        NQ: nq_open,
        DatasetSchema.SVAMP: plain,
        DatasetSchema.BIOASQ: squad,
    }


@pytest.mark.parametrize(
    ("schema", "answer", "golds", "exact", "overlap"),
    [
        # evaluate-v1.1.py and evaluate-v2.0.py
        (SQUAD, "1976", ("1976",), 1, 1),
        (SQUAD, "Denver Broncos", ("Denver Broncos", "The Denver Broncos"), 1, 1),
        (SQUAD, "the broncos", ("Denver Broncos",), 0, 2 / 3),
        (SQUAD, "in the 10th and 11th centuries", ("10th and 11th centuries", "10th"), 0, 8 / 9),
        (SQUAD, "golden golden", ("golden",), 0, 2 / 3),  # a word counts as often as it stands
        (SQUAD, "well known", ("well-known",), 0, 0),
        (SQUAD, "France.", ("Germany", "France"), 1, 1),
        (NQ, "14 December 1972 UTC", ("14 December 1972",), 0, 6 / 7),
        # triviaqa_evaluation.py
        (TRIVIA, "well known", ("well-known",), 1, 1),
        (TRIVIA, "Sunset Blvd.", ("sunset boulevard", "sunset blvd"), 1, 1),
        (TRIVIA, "It was Sinclair Lewis", ("Sinclair Lewis", "Harry Sinclair Lewis"), 0, 2 / 3),
        (TRIVIA, "nobody knows", ("Sinclair Lewis",), 0, 0),
    ],
)
def test_the_best_gold_counts(
    schema: DatasetSchema, answer: str, golds: tuple[str, ...], exact: float, overlap: float
) -> None:
    scores = score(example_of(golds), answer, schema)
    assert scores["exact_match"] == exact
    assert scores["f1"] == pytest.approx(overlap)


@pytest.mark.parametrize("answer", ["", " ", "unanswerable", "Unanswerable.", "No answer", "the"])
def test_no_answer_is_right_where_there_is_none_and_wrong_where_there_is_one(answer: str) -> None:
    assert score(NO_ANSWER, answer, SQUAD) == {"exact_match": 1, "f1": 1, "rouge_l": 1}
    assert score(example_of(("France",)), answer, SQUAD) == {"exact_match": 0, "f1": 0, "rouge_l": 0}


@pytest.mark.parametrize("answer", ["France", "it is unanswerable", "no answer is given", "none"])
def test_an_answer_is_wrong_where_there_is_none(answer: str) -> None:
    assert score(NO_ANSWER, answer, SQUAD) == {"exact_match": 0, "f1": 0, "rouge_l": 0}


def test_the_word_for_no_answer_can_be_an_answer() -> None:
    assert score(example_of(("unanswerable",)), "Unanswerable", SQUAD)["exact_match"] == 1
    assert score(example_of(("no answer",)), "no answer", TRIVIA)["exact_match"] == 1


def test_a_gold_without_a_word_is_passed_over() -> None:
    # evaluate-v2.0.py keeps the golds that are something once normalised, and takes "no answer" where none is.
    assert score(example_of(("the", "France")), "", SQUAD)["f1"] == 0
    assert score(example_of((".",)), "", SQUAD) == {"exact_match": 1, "f1": 1, "rouge_l": 1}


@pytest.mark.parametrize("schema", [TRIVIA, NQ])
@pytest.mark.parametrize("gold", ["The The", "A", "!!!", "an", "?"])
def test_a_gold_of_articles_or_punctuation_is_met_by_itself_and_not_by_nothing(
    schema: DatasetSchema, gold: str
) -> None:
    same, empty = score(example_of((gold,)), gold, schema), score(example_of((gold,)), " ", schema)
    # triviaqa_evaluation.py wants a word in common for F1.
    assert same == {"exact_match": 1, "f1": 0 if schema is TRIVIA else 1, "rouge_l": 1}
    assert empty == {"exact_match": 0, "f1": 0, "rouge_l": 0}


@pytest.mark.parametrize("schema", [TRIVIA, NQ])
def test_a_gold_of_articles_counts_beside_an_alias(schema: DatasetSchema) -> None:
    golds = example_of(("The The", "Matt Johnson"))
    assert score(golds, "The The", schema)["exact_match"] == 1
    assert score(golds, "Matt Johnson.", schema)["exact_match"] == 1
    assert score(golds, "", schema)["exact_match"] == 0


def test_nq_open_compares_decomposed_letters() -> None:
    composed, decomposed = "Zürich", "Zu\u0308rich"
    for gold, answer in ((composed, decomposed), (decomposed, composed)):
        assert score(example_of((gold,)), answer, NQ) == {"exact_match": 1, "f1": 1, "rouge_l": 1}
        # The other scripts compare characters as they are.
        assert score(example_of((gold,)), answer, TRIVIA)["exact_match"] == 0
        assert score(example_of((gold,)), answer, SQUAD)["exact_match"] == 0
        assert score(example_of((gold,)), answer, TRIVIA)["rouge_l"] == 1


@pytest.mark.parametrize(
    ("gold", "answer", "value"),
    [
        # rouge_scorer_test.py of the library
        ("testing one two", "testing one", 4 / 5),
        ("testing one two", "testing two", 4 / 5),
        ("testing one two", "", 0),
        # The example of its README: quick, brown, the, lazy ... in order, of 9 and 8 words: the quick brown jumps the
        ("The quick brown fox jumps over the lazy dog", "The quick brown dog jumps on the log.", 10 / 17),
    ],
)
def test_rouge_l_is_the_published_one(gold: str, answer: str, value: float) -> None:
    assert rouge_l(answer, (gold,)) == pytest.approx(value)


def test_rouge_l_takes_the_best_gold_and_does_not_stem() -> None:
    assert rouge_l("text first", ("nothing", "first text", "first something")) == pytest.approx(0.5)
    assert rouge_l("meetings", ("meeting",)) == 0


def test_rouge_l_of_another_script_is_equality() -> None:
    assert rouge_l(" 東京 ", ("大阪", "東京")) == 1
    assert rouge_l("大阪", ("東京",)) == 0


def longest_common_subsequence(said: list[str], wanted: list[str]) -> int:
    """By trying all: only for a few words."""
    for size in range(min(len(said), len(wanted)), 0, -1):
        for places in (p for p in permutations(range(len(said)), size) if list(p) == sorted(p)):
            words = iter(wanted)
            if all(said[place] in words for place in places):
                return size
    return 0


@given(
    said=st.lists(st.sampled_from("abcd"), max_size=5), wanted=st.lists(st.sampled_from("abcd"), min_size=1, max_size=5)
)
def test_rouge_l_is_the_longest_common_subsequence(said: list[str], wanted: list[str]) -> None:
    expected = 2 * longest_common_subsequence(said, wanted) / (len(said) + len(wanted))
    assert rouge_l(" ".join(said), (" ".join(wanted),)) == pytest.approx(expected)


@given(
    said=st.lists(st.sampled_from(["x", "y", "z9"]), max_size=6),
    wanted=st.lists(st.sampled_from(["x", "y", "w"]), max_size=6),
)
def test_rouge_l_is_at_most_f1(said: list[str], wanted: list[str]) -> None:
    # An order can only take away from what a bag of words has in common.
    answer, gold = " ".join(said), " ".join(wanted)
    assert rouge_l(answer, (gold,)) <= f1(answer, gold, plain) + 1e-12


@pytest.mark.parametrize("normalise", [squad, trivia_qa, nq_open, plain])
@given(text=texts)
def test_normalising_twice_changes_nothing(normalise: Normalise, text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize("schema", [SQUAD, TRIVIA, NQ])
@given(answer=texts, golds=st.lists(texts, min_size=1, max_size=3))
def test_scores_are_fractions_and_a_match_is_a_whole_one(schema: DatasetSchema, answer: str, golds: list[str]) -> None:
    scores = score(example_of(tuple(golds)), answer, schema)
    assert all(0 <= value <= 1 for value in scores.values())
    assert scores["exact_match"] in (0, 1)
    if scores["exact_match"] == 1 and (schema is not TRIVIA or trivia_qa(answer)):
        assert scores["f1"] == 1


@given(answer=texts, gold=texts, seed=st.randoms(use_true_random=False))
def test_f1_knows_no_order_and_no_sides(answer: str, gold: str, seed: Random) -> None:
    value = f1(answer, gold, squad)
    assert value == f1(gold, answer, squad)
    words = squad(answer).split()
    seed.shuffle(words)
    assert value == pytest.approx(f1(" ".join(words), gold, squad))


@given(answer=texts, gold=texts)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(answer: str, gold: str) -> None:
    said, wanted = squad(answer).split(), squad(gold).split()
    shared = (Counter(said) & Counter(wanted)).total()
    if shared:
        precision, recall = shared / len(said), shared / len(wanted)
        assert f1(answer, gold, squad) == pytest.approx(2 * precision * recall / (precision + recall))
    else:
        assert f1(answer, gold, squad) == float(not said and not wanted)


def test_every_kind_has_the_scores_that_a_rule_may_name() -> None:
    kinds = {
        SQUAD: [NO_ANSWER, example_of(("x",))],
        TRIVIA: [example_of(("x",))],
        NQ: [example_of(("x",))],
        DatasetSchema.SVAMP: [example_of(("8",), kind=AnswerKind.NUMBER)],
        DatasetSchema.BIOASQ: [
            example_of(("yes",), kind=AnswerKind.YES_NO),
            example_of(("x", "y")),
            example_of(("x",), ("y",), kind=AnswerKind.LIST),
        ],
    }
    assert set(RULE_SCORES) == {schema.value for schema in DatasetSchema}
    seen: set[str] = set()
    for schema, examples in kinds.items():
        found = [set(score(example, "x", schema)) for example in examples]
        assert set.intersection(*found) == set(RULE_SCORES[schema.value])
        seen |= set.union(*found)
    assert seen == set(SCORES)
