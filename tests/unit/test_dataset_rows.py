"""Rows of each official format become the same examples in either layout, and every fault is told at once."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.catalogue.entries import DatasetSchema
from plimsoll.dataset.example import AnswerKind, DatasetError, Example, StructureReport
from plimsoll.dataset.rows import read_examples
from tests.support.examples import HUB_ROWS, OFFICIAL, dataset_of

TRIVIA, SQUAD, NQ = DatasetSchema.TRIVIA_QA, DatasetSchema.SQUAD_V2, DatasetSchema.NQ_OPEN
SVAMP, BIOASQ = DatasetSchema.SVAMP, DatasetSchema.BIOASQ

CONTEXT = HUB_ROWS[SQUAD][0]["context"]

EXPECTED = {
    TRIVIA: (
        Example(
            id="tc_1",
            question="Which American-born Sinclair won the Nobel Prize for Literature in 1930?",
            context="",
            kind=AnswerKind.TEXT,
            golds=(("Sinclair Lewis", "(Harry) Sinclair Lewis", "harry sinclair lewis"),),
        ),
    ),
    SQUAD: (
        Example(
            id="q1",
            question="Where did the Normans give their name to?",
            context=CONTEXT,
            kind=AnswerKind.TEXT,
            golds=(("Normandy",),),
        ),
        Example(
            id="q2",
            question="Who gave their name to Normandy in the 1000's and 1100's?",
            context=CONTEXT,
            kind=AnswerKind.UNANSWERABLE,
            golds=(),
        ),
    ),
    NQ: (
        Example(
            id="validation-0",
            question="when was the last time anyone was on the moon",
            context="",
            kind=AnswerKind.TEXT,
            golds=(("14 December 1972 UTC", "December 1972"),),
        ),
    ),
    SVAMP: (
        Example(
            id="chal-1",
            question="Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack "
            "How much do you have to pay to buy each pack?",
            context="",
            kind=AnswerKind.NUMBER,
            golds=(("51",),),
        ),
    ),
    BIOASQ: (
        Example(id="b1", question="Is BRCA1 a gene?", context="", kind=AnswerKind.YES_NO, golds=(("yes",),)),
        Example(
            id="b2", question="Which gene?", context="", kind=AnswerKind.TEXT, golds=(("BRCA1", "Breast cancer 1"),)
        ),
        Example(
            id="b3",
            question="Which drugs?",
            context="",
            kind=AnswerKind.LIST,
            golds=(("aspirin", "ASA"), ("ibuprofen",)),
        ),
    ),
}


def faults_of(schema: DatasetSchema, rows: Any, **options: Any) -> list[str]:
    with pytest.raises(DatasetError) as caught:
        read_examples(dataset_of(schema), rows, "validation", **options)
    return [str(fault) for fault in caught.value.faults]


def changed(schema: DatasetSchema, path: str, value: Any, row: int = 0) -> list[dict[str, Any]]:
    """The rows of the Hub with one field set, or taken away where the value is `...`."""
    rows = copy.deepcopy(list(HUB_ROWS[schema]))
    *parents, name = path.split(".")
    target: Any = rows[row]
    for parent in parents:
        target = target[parent]
    if value is ...:
        del target[name]
    else:
        target[name] = value
    return rows


@pytest.mark.parametrize("schema", list(DatasetSchema))
@pytest.mark.parametrize("layout", ["hub", "official"])
def test_both_layouts_give_the_same_examples(schema: DatasetSchema, layout: str) -> None:
    content = HUB_ROWS[schema] if layout == "hub" else OFFICIAL[schema]
    assert read_examples(dataset_of(schema), content, "validation").examples == EXPECTED[schema]


def test_the_report_counts_what_was_found() -> None:
    report = read_examples(dataset_of(BIOASQ), OFFICIAL[BIOASQ], "validation").report
    assert report == StructureReport(
        rows=4,
        examples=3,
        left_out={"summary questions have no exact answer": 1},
        kinds={"text": 1, "yes-no": 1, "list": 1},
        unanswerable=0,
        repeated_questions=0,
    )
    assert StructureReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    squad = read_examples(dataset_of(SQUAD), HUB_ROWS[SQUAD], "validation").report
    assert (squad.rows, squad.unanswerable, squad.kinds) == (2, 1, {"text": 1, "unanswerable": 1})


@pytest.mark.parametrize(
    ("schema", "path", "value", "fault"),
    [
        (TRIVIA, "question", ..., "row 0: question: is missing; did you mean 'question_id'?"),
        (TRIVIA, "question", None, "row 0: question: is null"),
        (TRIVIA, "question", "  ", "row 0: question: is empty"),
        (TRIVIA, "question", 7, "row 0: question: is a number (7), where a text belongs"),
        (TRIVIA, "question", "a\ud800", "row 0: question: is half of a character ('a\\ud800'), where a text belongs"),
        (TRIVIA, "question_id", 7, "row 0: question_id: is a number (7), where a text belongs"),
        (TRIVIA, "answer", "Lewis", "row 0: answer: is a text ('Lewis'), where fields belong"),
        (
            TRIVIA,
            "answer.value",
            ...,
            "row 0: answer.value: is missing; known: "
            "aliases, normalized_aliases, matched_wiki_entity_name, normalized_value, type",
        ),
        (
            TRIVIA,
            "answer.aliases",
            "Lewis",
            "row 0: answer.aliases: is a text ('Lewis'), where a list of texts belongs",
        ),
        (TRIVIA, "answer.aliases", ["a", 7], "row 0: answer.aliases[1]: is a number (7), where a text belongs"),
        (
            TRIVIA,
            "answer.value",
            "<unk>",
            "row 0: answer.value: is <unk>: this split is published without answers; take the validation split",
        ),
        (SQUAD, "context", "", "row 0: context: is empty"),
        (SQUAD, "context", "Elsewhere.", "row 0: answers: has a text ('Normandy'), which is not in the context"),
        (SQUAD, "answers", ["Normandy"], "row 0: answers[0]: is a text ('Normandy'), where fields belong"),
        (SQUAD, "answers", 7, "row 0: answers: is a number (7), where a list belongs"),
        (
            SQUAD,
            "answers.answer_start",
            [82],
            "row 0: answers.text: has 2 texts that are not empty, and answer_start 1 places",
        ),
        (
            SQUAD,
            "answers.answer_start",
            [82, -1],
            "row 0: answers.answer_start: is a list, where a list of places in the context belongs",
        ),
        (NQ, "answer", [], "row 0: answer: has no answer that is not empty"),
        (NQ, "answer", [" "], "row 0: answer: has no answer that is not empty"),
        (NQ, "answer", ["\udfff"], "row 0: answer[0]: is half of a character ('\\udfff'), where a text belongs"),
        (NQ, "answer", "1972", "row 0: answer: is a text ('1972'), where a list of texts belongs"),
        (SVAMP, "Answer", "many", "row 0: Answer: is a text ('many'), where a number belongs"),
        (SVAMP, "Answer", "nan", "row 0: Answer: is a text ('nan'), where a number belongs"),
        (SVAMP, "Answer", "1e999999999", "row 0: Answer: is a text ('1e999999999'), where a number belongs"),
        (SVAMP, "Answer", float("nan"), "row 0: Answer: is no finite number (nan), where a number belongs"),
        (SVAMP, "Answer", float("-inf"), "row 0: Answer: is no finite number (-inf), where a number belongs"),
        (SVAMP, "Answer", 1e16, "row 0: Answer: is a number (1e+16), where a number from 1e-15 up to 1e16 belongs"),
        (SQUAD, "question", float("nan"), "row 0: question: is no finite number (nan), where a text belongs"),
        (SVAMP, "Answer", True, "row 0: Answer: is true or false (True), where a number belongs"),
        (SVAMP, "Body", ..., "row 0: Body: is missing; known: ID, Question, Equation, Answer, Type"),
        (BIOASQ, "type", "essay", "row 0: type: is a text ('essay'); known: yesno, factoid, list, summary"),
        (BIOASQ, "exact_answer", "maybe", "row 0: exact_answer: is a text ('maybe'), where yes or no belongs"),
        (BIOASQ, "exact_answer", ["yes", "no"], "row 0: exact_answer: is a list, where yes or no belongs"),
        (BIOASQ, "exact_answer", [], "row 0: exact_answer: is empty"),
        (BIOASQ, "exact_answer", [[]], "row 0: exact_answer: has an item without a text"),
        (BIOASQ, "exact_answer", 7, "row 0: exact_answer: is a number (7), where texts or lists of texts belong"),
        (BIOASQ, "exact_answer", [[7]], "row 0: exact_answer: is a list, where texts or lists of texts belong"),
    ],
)
def test_a_fault_is_named_with_its_place(schema: DatasetSchema, path: str, value: Any, fault: str) -> None:
    assert faults_of(schema, changed(schema, path, value)) == [fault]


def test_the_official_layouts_are_checked_by_their_own_places() -> None:
    document = copy.deepcopy(OFFICIAL[SQUAD])
    questions = document["data"][0]["paragraphs"][0]["qas"]
    questions[0]["answers"][1]["text"] = ""
    questions[1]["is_impossible"] = False
    assert faults_of(SQUAD, document) == [
        "data[0].paragraphs[0].qas[0].answers[1].text: is empty",
        "data[0].paragraphs[0].qas[1].answers: is empty, and is_impossible is false",
    ]
    questions[0]["answers"] = [{"text": "Normandy"}]
    questions[1]["is_impossible"] = "no"
    assert faults_of(SQUAD, document) == [
        "data[0].paragraphs[0].qas[0].answers[0].answer_start: is missing; known: text",
        "data[0].paragraphs[0].qas[1].is_impossible: is a text ('no'), where true or false belongs",
    ]
    del document["data"][0]["paragraphs"][0]["context"]
    assert faults_of(SQUAD, document) == ["data[0].paragraphs[0].context: is missing; known: qas"]


def test_answers_of_a_question_that_has_none_are_a_fault() -> None:
    row = {**HUB_ROWS[SQUAD][0], "is_impossible": True}
    assert faults_of(SQUAD, [row]) == ["row 0: answers: has answers, and is_impossible is true"]


@pytest.mark.parametrize(
    ("schema", "content", "fault"),
    [
        (SQUAD, {"Data": []}, "data: is missing; known: Data"),
        (BIOASQ, {"questions": "none"}, "questions: is a text ('none'), where a list belongs"),
        (TRIVIA, {"Data": ["a"]}, "Data[0]: is a text ('a'), where fields belong"),
        (SVAMP, {"data": []}, "the whole: is fields, where svamp has a list of rows"),
        (NQ, "text", "the whole: is a text ('text'), where a list of rows belongs"),
        (NQ, [["a"]], "row 0: is a list, where fields belong"),
        (NQ, [], "the whole: has 0 rows and no example"),
        (
            BIOASQ,
            HUB_ROWS[BIOASQ][3:],
            "the whole: has 1 rows and no example; 1 left out: summary questions have no exact answer",
        ),
    ],
)
def test_what_is_no_list_of_rows_is_one_fault(schema: DatasetSchema, content: Any, fault: str) -> None:
    assert faults_of(schema, content) == [fault]


@pytest.mark.parametrize(
    ("written", "gold"),
    [("8.0", "8"), (8, "8"), ("-3", "-3"), (".50", "0.5"), (120, "120"), ("1200.0", "1200"), ("0.0", "0")],
)
def test_the_gold_number_is_written_as_one_would(written: str | float, gold: str) -> None:
    rows = changed(SVAMP, "Answer", written)
    assert read_examples(dataset_of(SVAMP), rows, "validation").examples[0].golds == ((gold,),)


def test_a_problem_may_be_told_in_its_question() -> None:
    rows = changed(SVAMP, "Body", " ")
    question = read_examples(dataset_of(SVAMP), rows, "validation").examples[0].question
    assert question == "How much do you have to pay to buy each pack?"


@pytest.mark.parametrize("value", ["BRCA1", ["BRCA1"], [["BRCA1"]], [["BRCA1", " "], ["BRCA1"]]])
def test_each_form_of_a_factoid_answer_is_read(value: Any) -> None:
    examples = read_examples(dataset_of(BIOASQ), changed(BIOASQ, "exact_answer", value, row=1), "validation").examples
    assert examples[1].golds == (("BRCA1",),)


def test_one_id_for_two_questions_is_a_fault() -> None:
    rows = [HUB_ROWS[TRIVIA][0], {**HUB_ROWS[TRIVIA][0], "question": "Who else?"}]
    assert faults_of(TRIVIA, rows) == ["row 1: has the id 'tc_1' of an earlier row, and another question"]


def test_triviaqa_asks_a_question_of_both_its_sources_once() -> None:
    reading = read_examples(dataset_of(TRIVIA), [HUB_ROWS[TRIVIA][0]] * 2, "validation")
    assert reading.examples == EXPECTED[TRIVIA]
    assert reading.report.left_out == {"repeats the id and the question of an earlier row": 1}
    assert faults_of(SVAMP, [HUB_ROWS[SVAMP][0]] * 2) == ["row 1: has the id 'chal-1' of an earlier row"]


def test_a_question_under_two_ids_is_kept_and_counted() -> None:
    reading = read_examples(dataset_of(NQ), [HUB_ROWS[NQ][0]] * 3, "validation")
    assert [example.id for example in reading.examples] == ["validation-0", "validation-1", "validation-2"]
    assert reading.report.repeated_questions == 2
    # The same question of another passage is another one.
    rows = [{**HUB_ROWS[SQUAD][1], "id": str(n), "context": f"Passage {n}."} for n in range(2)]
    assert read_examples(dataset_of(SQUAD), rows, "validation").report.repeated_questions == 0


def test_the_published_split_has_its_size_and_its_balance() -> None:
    dataset = dataset_of(SQUAD, split_sizes={"validation": 11_873}, unanswerable={"validation": 5_945})
    with pytest.raises(DatasetError) as caught:
        read_examples(dataset, HUB_ROWS[SQUAD], "validation", published=True, place="dev.json")
    assert str(caught.value) == (
        "2 faults in dataset squad, split validation (dev.json); rows count from 0:\n"
        "  the whole: has 2 rows, and the published split 11,873; the file was cut short, or is another split\n"
        "  the whole: has 1 questions without an answer, and the published split 5,945; "
        "the file was cut short, or is another split"
    )
    right = dataset_of(SQUAD, split_sizes={"validation": 2}, unanswerable={"validation": 1})
    assert len(read_examples(right, HUB_ROWS[SQUAD], "validation", published=True).examples) == 2
    assert len(read_examples(dataset, HUB_ROWS[SQUAD], "validation").examples) == 2
    assert len(read_examples(dataset, HUB_ROWS[SQUAD], "train", published=True).examples) == 2


def test_all_faults_come_in_one_error_and_twenty_are_named() -> None:
    with pytest.raises(DatasetError) as caught:
        read_examples(dataset_of(NQ), [{"answer": ["x"]}] * 1234, "validation")
    lines = str(caught.value).splitlines()
    assert lines[0] == "1,234 faults in dataset nq, split validation; rows count from 0:"
    assert lines[20] == "  row 19: question: is missing; known: answer"
    assert lines[21:] == ["  and 1,214 more"]


def test_what_a_file_says_cannot_forge_lines() -> None:
    rows = [{"question\n\x1b[31m": "x", "answer": "\x1b[2J\nrow 9: fine"}]
    assert faults_of(NQ, rows) == [
        "row 0: question: is missing; known: answer",
        r"row 0: answer: is a text ('\x1b[2J\nrow 9: fine'), where a list of texts belongs",
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_nothing_but_the_one_error_comes_of_any_content(content: Any) -> None:
    for schema in DatasetSchema:
        with pytest.raises(DatasetError):
            read_examples(dataset_of(schema), content, "validation")


@given(data=st.data(), schema=st.sampled_from(list(DatasetSchema)))
def test_nothing_but_the_one_error_comes_of_a_damaged_row(data: st.DataObject, schema: DatasetSchema) -> None:
    rows = copy.deepcopy(list(HUB_ROWS[schema]))
    row = data.draw(st.sampled_from(rows))
    name = data.draw(st.sampled_from(sorted(row)))
    row[name] = data.draw(
        st.none()
        | st.text()
        | st.floats()
        | st.lists(st.text() | st.none() | st.lists(st.text() | st.integers()))
        | st.dictionaries(
            st.sampled_from(["text", "answer_start", "value", "aliases"]), st.lists(st.text() | st.integers())
        )
    )
    try:
        reading = read_examples(dataset_of(schema), rows, "validation")
    except DatasetError:
        return
    assert all(example.question and example.answer for example in reading.examples)
