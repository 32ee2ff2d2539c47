"""Numbers, BioASQ's measures, and the rule that says what is right."""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.catalogue.entries import CorrectnessRule, DatasetSchema
from plimsoll.dataset.example import AnswerKind
from plimsoll.errors import PlimsollError
from plimsoll.scoring.numbers import number_in, same_number
from plimsoll.scoring.score import is_correct, score
from tests.support.examples import example_of

BIOASQ, SVAMP = DatasetSchema.BIOASQ, DatasetSchema.SVAMP


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", 42),
        ("8.0", 8),
        ("-3", -3),
        ("−4 °C", -4),
        ("$1,200.50", Fraction(2401, 2)),
        ("-$5", -5),
        ("12,345,678", 12_345_678),
        ("The answer is 7 apples", 7),
        ("The answer is 7 of the 12 apples", 7),
        ("answer: 9, since 4 + 5", 9),
        ("5 + 2 = 7", 7),
        ("4 + 5 = 9, so 9 + 1 = 10 in all", 10),
        ("#### 11 (of 20)", 11),
        ("He had 5 and found 2, so 7.", 7),
        ("10-3", 3),
        ("10 - 3", 3),
        ("3/4", Fraction(3, 4)),
        ("1 1/2 cups", Fraction(3, 2)),
        (".5", Fraction(1, 2)),
        ("50%", 50),
        ("1/0", None),
        ("seven", None),
        ("", None),
        ("²", None),
        ("9" * 10_000, int("9" * 4000)),
    ],
)
def test_the_number_in_a_text(text: str, number: Fraction | int | None) -> None:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert number_in(text) == number
    finally:
        sys.set_int_max_str_digits(limit)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("...7", 7),
        ("1e3", 1000),
        ("1.5E-3", Fraction(3, 2000)),
        ("7 = 5 + 2", 7),
        ("x = 7", 7),
        ("$9{,}500$", 9500),
        ("\\frac{3}{4}", Fraction(3, 4)),
        ("\\dfrac{3}{4}", Fraction(3, 4)),
        ("$-\\frac{3}{4}$", Fraction(-3, 4)),
        ("1\\frac{1}{2}", Fraction(3, 2)),
        ("\\frac34", Fraction(3, 4)),
        ("\uff11\uff12\uff13", 123),
        ("\u00bd", Fraction(1, 2)),
        ("2\u00bd", Fraction(5, 2)),
        ("2 \u00bd", Fraction(5, 2)),
        ("\u2153", Fraction(1, 3)),
        ("1\u20442", Fraction(1, 2)),
        ("\u00be cup", Fraction(3, 4)),
        ("\\boxed{$9{,}500}", 9500),
        ("The answer is $9{,}500.", 9500),
        ("The final answer is $\\frac{3}{4}$.", Fraction(3, 4)),
        ("9\\,500", 9500),
        ("$9\\,500\\text{ dollars}$", 9500),
        ("\\text{7 apples}", 7),
        ("7\\text{ apples}", 7),
        ("50\\%", 50),
        ("\\$1,200", 1200),
        ("1.2 \u00d7 10^5", 120000),
        ("1.2\\times 10^{5}", 120000),
        ("1.2\u00d710\u2075", 120000),
        ("10^3", 1000),
        ("10\u00b3", 1000),
        ("1 234 567", 1234567),
        ("1\u202f234\u00a0567", 1234567),
        ("1'234'567", 1234567),
        ("1\u2019234", 1234),
        ("1_000_000", 1000000),
        ("1.234.567", 1234567),
        ("1.234", Fraction(617, 500)),
        ("1.234,56", Fraction(30864, 25)),
        ("12,34,567", 1234567),
        ("\u20135", -5),
        ("\uff0d\uff15", -5),
        ("minus 5", -5),
        ("10 minus 3", 3),
        ("\u20ac1.200.000", 1200000),
        ("\u00a5500", 500),
        ("500 \u20b9", 500),
        ("$-5", -5),
        ("-1 1/2", Fraction(-3, 2)),
        ("1e999999999", None),
        ("10^999999", None),
        ("The answer is 7 = 5 + 2.", 7),
        ("Total: 12 = 3 * 4", 12),
        ("3 + 4 = 2 + 5", 2),
        ("So x = 12.", 12),
        ("5.", 5),
        ("It costs 3, 4 or 5", 5),
        ("\u0663", 3),
        ("\\boxed{12} because 3", 12),
        ("2^{10}", 1024),
        ("1,234, 5", 5),
        ("0.3333", Fraction(3333, 10000)),
        ("\u00b3\u2044\u2084", Fraction(3, 4)),
        ("a\\\\b", None),
        ("\\frac{1,000}{3}", Fraction(1000, 3)),
        ("\\left(\\frac{3}{4}\\right)", Fraction(3, 4)),
        ("7^\\circ", 7),
        ("90^{\\circ}", 90),
        ("(-3)", -3),
        ("1,200 - 200 = 1,000", 1000),
        ("3.14.", Fraction(157, 50)),
        ("1,000,000.50", Fraction(2000001, 2)),
        ("100 000 km", 100000),
        ("5 100", 5100),
    ],
)
def test_a_number_is_read_in_latex_in_other_scripts_and_with_any_separator(
    text: str, number: Fraction | int | None
) -> None:
    assert number_in(text) == number
    assert number is None or same_number(text, f"{Fraction(number)}")


@given(number=st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_a_number_is_found_however_it_is_written(number: Decimal) -> None:
    for text in (f"{number}", f"{number:,}", f"The answer is {number:,}.", f"2 apples, so x = {number}"):
        assert same_number(text, f"{number}"), text
    assert not same_number(f"{number}", f"{number + 1}")


@pytest.mark.parametrize(
    ("answer", "gold", "numeric", "exact"),
    [
        ("8", "8", 1, 1),
        ("8.0", "8", 1, 0),
        ("8.", "8", 1, 1),
        ("8 apples", "8", 1, 0),
        ("8.5", "85", 0, 0),  # SQuAD's normalisation would delete the point
        ("0.3333", "1/3", 1, 0),
        ("0.333", "1/3", 0, 0),
        ("1000001", "1000000", 0, 0),
        ("none", "0", 0, 0),
    ],
)
def test_svamp_is_numeric_equality(answer: str, gold: str, numeric: float, exact: float) -> None:
    scores = score(example_of((gold,), kind=AnswerKind.NUMBER), answer, SVAMP)
    assert (scores["numeric"], scores["exact_match"]) == (numeric, exact)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("yes", 1),
        ("Yes.", 1),
        (" YES, in mice", 1),
        ("no", 0),
        ("It is yes", 1),
        ("There is no proof, yes", 1),
        ("yesterday", 1),  # the evaluator looks for the letters
        ("neither", 0),
        ("", 0),
    ],
)
def test_an_answer_that_contains_yes_is_yes(answer: str, right: float) -> None:
    assert score(example_of(("yes",), kind=AnswerKind.YES_NO), answer, BIOASQ)["yes_no"] == right


@pytest.mark.parametrize(
    ("answer", "right"),
    [("no", 1), ("There is NO proof.", 1), ("nothing", 1), ("yes and no", 0), ("maybe", 0)],
)
def test_an_answer_that_contains_no_and_not_yes_is_no(answer: str, right: float) -> None:
    assert score(example_of(("no",), kind=AnswerKind.YES_NO), answer, BIOASQ)["yes_no"] == right


@pytest.mark.parametrize(
    ("answer", "strict", "lenient", "mrr"),
    [
        ("BRCA1", 1, 1, 1),
        ("breast cancer 1.", 1, 1, 1),
        ("TP53", 0, 0, 0),
        ("TP53; BRCA1", 0, 1, 1 / 2),
        ("1. TP53\n2. MLH1\n3. brca1", 0, 1, 1 / 3),
        ("a; b; c; d; e; BRCA1", 0, 0, 0),  # five are read
        ("a, BRCA1", 0, 0, 0),  # one candidate: names hold commas
        ("", 0, 0, 0),
    ],
)
def test_factoid_measures(answer: str, strict: float, lenient: float, mrr: float) -> None:
    scores = score(example_of(("BRCA1", "Breast cancer 1")), answer, BIOASQ)
    assert (scores["strict"], scores["lenient"]) == (strict, lenient)
    assert scores["mrr"] == pytest.approx(mrr)


@pytest.mark.parametrize(
    ("answer", "precision", "recall"),
    [
        ("aspirin, ibuprofen, signs and symptoms", 1, 1),
        ("Ibuprofen; acetylsalicylic acid", 1, 2 / 3),
        ("- signs and symptoms\n- aspirin", 1, 2 / 3),
        ("aspirin and ibuprofen", 1, 2 / 3),
        ("aspirin, acetylsalicylic acid", 1 / 2, 1 / 3),  # one gold by two names is found once
        ("aspirin, aspirin, water", 1 / 3, 1 / 3),
        ("ibuprofen, and aspirin", 1, 2 / 3),
        ("water", 0, 0),
        ("", 0, 0),
    ],
)
def test_list_measures(answer: str, precision: float, recall: float) -> None:
    golds = (("aspirin", "acetylsalicylic acid"), ("ibuprofen",), ("signs and symptoms",))
    scores = score(example_of(*golds, kind=AnswerKind.LIST), answer, BIOASQ)
    assert scores["list_precision"] == pytest.approx(precision)
    assert scores["list_recall"] == pytest.approx(recall)
    mean = 2 * precision * recall / (precision + recall) if precision else 0
    assert scores["list_f1"] == scores["f1"] == pytest.approx(mean)
    assert scores["exact_match"] == float(precision == recall == 1)


@given(st.lists(st.sampled_from(["aspirin", "ibuprofen", "water", "1,2-dichloroethane"]), max_size=5))
def test_list_measures_know_no_order(items: list[str]) -> None:
    example = example_of(("aspirin",), ("1,2-dichloroethane",), kind=AnswerKind.LIST)
    there, back = (score(example, ", ".join(order), BIOASQ) for order in (items, items[::-1]))
    assert there["list_f1"] == back["list_f1"]
    assert all(0 <= value <= 1 for value in there.values())


def test_the_answer_of_an_example_is_right_by_every_score() -> None:
    for example, schema in (
        (example_of(("aspirin", "ASA"), ("ibuprofen",), kind=AnswerKind.LIST), BIOASQ),
        (example_of(("no",), kind=AnswerKind.YES_NO), BIOASQ),
        (example_of(("BRCA1", "Breast cancer 1")), BIOASQ),
        (example_of(("12",), kind=AnswerKind.NUMBER), SVAMP),
    ):
        assert set(score(example, example.answer, schema).values()) == {1.0}


def test_a_rule_includes_its_bound() -> None:
    rule = CorrectnessRule(metric="rouge_l", at_least=0.3)
    assert is_correct(rule, {"rouge_l": 0.3})
    assert not is_correct(rule, {"rouge_l": 0.29999})


def test_a_rule_that_names_no_score_is_one_clear_error() -> None:
    with pytest.raises(
        PlimsollError,
        match=re.escape("the rule 'rouge_1 >= 0.3' names no score: 'rouge_1' is unknown; did you mean 'rouge_l'?"),
    ):
        is_correct(CorrectnessRule(metric="rouge_1", at_least=0.3), {"rouge_l": 1.0})


def test_an_answer_without_the_score_is_not_simply_wrong() -> None:
    with pytest.raises(
        PlimsollError,
        match=re.escape(
            "the rule 'numeric >= 1' cannot judge this answer, which has no such score; it has: f1, rouge_l"
        ),
    ):
        is_correct(CorrectnessRule(metric="numeric", at_least=1), {"rouge_l": 1.0, "f1": 1.0})
