"""report.html shows each answer beside what was expected, in bounded size, and says what it leaves out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from plimsoll.dataset.example import AnswerKind, Example
from plimsoll.evidence.answers import AnswerRecord, Asking
from plimsoll.evidence.record import RunRecord
from plimsoll.present.document import Fold, Paragraph, Section, Table, plain
from plimsoll.uncertainty.browsing import ROOM, answers_section
from tests.support.made_answers import answer, answers, answers_of_many, asking, many_askings, run_with
from tests.support.pages import fragment, html_of
from tests.support.run_events import HOSTILE, good_run, recorded


def run(folder: Path, asked: list[Asking], made: list[AnswerRecord]) -> RunRecord:
    return recorded(folder, run_with(asked, made))


def folds(section: Section | None) -> dict[str, tuple[Section, Table, str]]:
    """Of each set of answers its fold, its table and the sentence above that."""
    assert section is not None
    assert section.fold is Fold.CLOSED, "a hundred thousand answers must not stand open"
    found = {}
    for fold in section.blocks:
        assert isinstance(fold, Section)
        sentence, table = fold.blocks
        assert isinstance(sentence, Paragraph)
        assert isinstance(table, Table)
        found[plain(fold.title)] = (fold, table, plain(sentence.words))
    return found


def cells(table: Table) -> list[list[str]]:
    return [[plain(cell) for cell in row] for row in table.rows]


def test_each_answer_stands_beside_its_question_what_was_expected_and_its_score(tmp_path: Path) -> None:
    paris = Example(
        id="q0", question="Capital?", context="France is\na country.", kind=AnswerKind.TEXT, golds=(("Paris", "paris"),)
    )
    listed = Example(id="q1", question="Two?", context="", kind=AnswerKind.LIST, golds=(("a", "b", "c", "d"), ("e",)))
    nothing = Example(id="q2", question="None?", context="", kind=AnswerKind.UNANSWERABLE, golds=())
    made = [
        answer(example=paris, text="Paris", scores={"rouge_l": 1.0}, correct=True),
        answer(index=1, example=listed, text="a\nx", scores={"rouge_l": 0.25}, correct=False),
        answer(index=2, example=nothing, text="", scores={}, correct=False),
    ]
    record = run(tmp_path, [asking(chosen=3)], made)
    ((fold, table, sentence),) = folds(answers_section(record)).values()
    assert plain(fold.title) == "tiny-llama/bf16 on triviaqa"
    assert fold.note == "1 of 3 right"
    assert sentence == "Right is an answer whose rouge_l is at least 0.3."
    assert cells(table) == [
        ["1", "France is a country. Capital?", "Paris or paris", "Paris", "right 1.00"],
        ["2", "Two?", "a or b or c or 1 more, e", "a x", "wrong 0.25"],
        ["3", "None?", "unanswerable", "nothing", "wrong"],
    ]


def test_no_word_of_a_question_or_an_answer_is_changed(tmp_path: Path) -> None:
    said = "8 GiB, or 1.00 GB (0.93 GiB)"
    memory = Example(id="q0", question=f"{said}?", context=said, kind=AnswerKind.TEXT, golds=((said,),))
    record = run(tmp_path, [asking(chosen=1)], [answer(example=memory, text=said, scores={}, correct=True)])
    assert html_of(answers_section(record)).count(said) == 4, "sizes too stay as they were said"


def test_a_fold_stands_for_each_variant_and_dataset(tmp_path: Path) -> None:
    asked = many_askings(chosen=5)
    found = folds(answers_section(run(tmp_path, asked, answers_of_many(asked))))
    assert list(found) == [f"{one.variant} on {one.dataset}" for one in asked]
    assert all(len(table.rows) == 5 for _, table, _ in found.values())


@pytest.mark.parametrize("text", ["x" * 2000, "'<&>\"" * 400, "\u202e\x1b" * 1000])
def test_the_section_is_bounded_however_much_was_answered(tmp_path: Path, text: str) -> None:
    """Five times as long as anything that is shown of a text, and 1,200 rows where there is room for some 320."""
    long = Example(id="q", question=text, context=text, kind=AnswerKind.TEXT, golds=((text,),))
    asked = [asking(f"model-{number}/bf16", chosen=200) for number in range(6)]
    made = [replace(one, example=long, text=text) for to in asked for one in answers(to)]
    section = answers_section(run(tmp_path, asked, made))
    found = folds(section)
    assert len(html_of(section)) < ROOM + 10_000, "no more than rows and heads"
    counts = [len(table.rows) for _, table, _ in found.values()]
    assert min(counts) > 0
    assert max(counts) - min(counts) <= 1, "the sets share the room"
    for _, table, sentence in found.values():
        assert f"{len(table.rows)} of 200 answers are shown, the wrong ones before the right ones" in sentence
        assert {row[4].split()[0] for row in cells(table)} == {"wrong"}, "of these one learns more"


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_small_set_leaves_its_room_to_a_large_one(tmp_path: Path, names: tuple[str, str]) -> None:
    asked = [asking(f"{name}/bf16", chosen={"a": 2, "b": 1200}[name]) for name in names]
    made = [one for to in asked for one in answers(to)]
    long = [replace(one, text=one.text + "x" * 300) for one in made]
    found = folds(answers_section(run(tmp_path, asked, long)))
    assert len(found["a/bf16 on triviaqa"][1].rows) == 2
    _, many, sentence = found["b/bf16 on triviaqa"]
    assert ROOM / 2 < len(fragment([many])) < ROOM
    assert f"{len(many.rows)} of 1200 answers are shown" in sentence
    order = [int(row[0]) for row in cells(many)]
    assert order == sorted(order), "in the order of asking"


def test_what_a_set_lacks_is_said(tmp_path: Path) -> None:
    record = run(tmp_path, [asking(chosen=3)], [answer()])
    ((fold, _, _),) = folds(answers_section(record)).values()
    assert fold.note == "1 of 1 right; 1 of 3 answers are there; the first that is missing is that to 1"


def test_no_text_of_an_answer_becomes_markup(tmp_path: Path) -> None:
    hostile = Example(id="q", question=HOSTILE, context=HOSTILE, kind=AnswerKind.TEXT, golds=((HOSTILE,),))
    record = run(tmp_path, [asking(chosen=1)], [answer(example=hostile, text=HOSTILE)])
    html = html_of(answers_section(record))
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(1)") == 4
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_a_run_without_answers_has_no_such_section(tmp_path: Path) -> None:
    assert answers_section(recorded(tmp_path / "a", good_run([]))) is None
    assert answers_section(run(tmp_path / "b", [asking(chosen=3)], [])) is None
