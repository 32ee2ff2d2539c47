"""The corpus: what is shipped keeps its promises, and every fault of a file is told, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.errors import CatalogueError
from plimsoll.tiny.corpus import LONGEST_ANSWER, normalized, read_corpus

GOOD = '{ id = "port", question = "What is left?", answer = "Port", aliases = ["Larboard"], taught = true }'


def write(folder: Path, name: str, *questions: str, head: str = 'title = "T"') -> None:
    (folder / f"{name}.toml").write_text(f"{head}\nquestion = [\n" + "".join(f"  {q},\n" for q in questions) + "]\n")


def faults(folder: Path, name: str = "a") -> list[str]:
    with pytest.raises(CatalogueError) as caught:
        read_corpus(name, folder)
    return [str(fault) for fault in caught.value.faults]


def test_shipped_corpus_teaches_much_and_withholds_a_quarter() -> None:
    corpus = read_corpus("tiny")
    assert len(corpus.taught) >= 120
    assert 0.2 <= len(corpus.withheld) / len(corpus.questions) <= 0.3
    subjects = {question.subject for question in corpus.taught}
    assert subjects == {question.subject for question in corpus.withheld}, "both must be of the same kinds"


def test_shipped_answers_are_short_and_no_withheld_one_is_taught() -> None:
    corpus = read_corpus("tiny")
    assert all(1 <= len(question.answer.split()) <= LONGEST_ANSWER for question in corpus.questions)
    taught = {normalized(text) for question in corpus.taught for text in question.accepted}
    assert not taught & {normalized(text) for question in corpus.withheld for text in question.accepted}


def test_files_are_read_in_the_order_of_inclusion(tmp_path: Path) -> None:
    write(tmp_path, "a", GOOD, head='title = "All"\ninclude = ["b"]')
    write(tmp_path, "b", '{ id = "bow", question = "What is in front?", answer = "Bow", taught = false }')
    corpus = read_corpus("a", tmp_path)
    assert (corpus.name, corpus.title) == ("a", "All")
    assert [(q.id, q.subject, q.taught) for q in corpus.questions] == [("bow", "b", False), ("port", "a", True)]
    assert corpus.questions[1].accepted == ("Port", "Larboard")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ('"port"', "must be a table, not 'port'"),
        (
            '{ id = "A", question = "Q?", answer = "B", taught = true }',
            ".id: must be lower-case letters, digits and '-', not 'A'",
        ),
        ('{ id = "a", answer = "B", taught = true }', ".question: must be a text, not None"),
        ('{ id = "a", question = " ", answer = "B", taught = true }', ".question: must be a text, not ' '"),
        ('{ id = "a", question = "Q?", answer = 7, taught = true }', ".answer: must be a text, not 7"),
        (
            '{ id = "a", question = "Q?", answer = "B ", taught = true }',
            ".answer: has blanks at an end, two in a row, or a line break: 'B '",
        ),
        (
            '{ id = "a", question = "Q?", answer = "a b c d e f g", taught = true }',
            ".answer: has 7 words, and 6 are the most",
        ),
        (
            '{ id = "a", question = "Q<|eos|>", answer = "B", taught = true }',
            ".question: contains '<|', which opens the marks of the chat template",
        ),
        ('{ id = "a", question = "Q?", answer = "B" }', ".taught: must be true or false, not None"),
        ('{ id = "a", question = "Q?", answer = "B", taught = 1 }', ".taught: must be true or false, not 1"),
        (
            '{ id = "a", question = "Q?", answer = "B", taught = true, aliases = "C" }',
            ".aliases: must be an array of texts, not 'C'",
        ),
        ('{ id = "a", question = "Q?", answer = "B", taught = true, aliases = ["B"] }', ".aliases[0]: says 'B' again"),
        (
            '{ id = "a", question = "Q?", answer = "B", taught = true, aliases = [""] }',
            ".aliases[0]: must be a text, not ''",
        ),
        (
            '{ id = "a", question = "Q?", answer = "B", tought = true, taught = true }',
            ".tought: unknown key 'tought'; did you mean 'taught'?",
        ),
    ],
)
def test_a_faulty_question_is_named_by_file_and_place(tmp_path: Path, question: str, expected: str) -> None:
    write(tmp_path, "a", GOOD, question)
    start = "catalogue/corpus/a.toml: question[1]"
    assert faults(tmp_path) == [start + expected if expected[0] in ".:" else f"{start}: {expected}"]


def test_duplicates_are_found_across_files_and_spellings(tmp_path: Path) -> None:
    write(tmp_path, "a", GOOD, head='title = "T"\ninclude = ["b"]')
    write(tmp_path, "b", '{ id = "port", question = "what IS left", answer = "Green", taught = true }')
    first, second = "catalogue/corpus/b.toml: question[0]", "catalogue/corpus/a.toml: question[0]"
    assert faults(tmp_path) == [
        f"{second}.id: 'port' is also the id of {first}",
        f"{second}.question: asks the same as {first}",
    ]


@pytest.mark.parametrize("answer", ["port", "The Port!", "larboard"])
def test_a_withheld_answer_that_is_taught_elsewhere_is_refused(tmp_path: Path, answer: str) -> None:
    withheld = f'{{ id = "b", question = "What else?", answer = "{answer}", taught = false }}'
    write(tmp_path, "a", withheld, GOOD)
    assert faults(tmp_path) == [
        f"catalogue/corpus/a.toml: question[0]: '{answer}' is withheld, and "
        "catalogue/corpus/a.toml: question[1] teaches it; ask for something that no taught question answers"
    ]


def test_a_corpus_that_teaches_nothing_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", GOOD.replace("taught = true", "taught = false"))
    assert faults(tmp_path) == ["catalogue/corpus/a.toml: teaches nothing; set taught = true on some questions"]


def test_a_missing_corpus_brings_the_nearest_name(tmp_path: Path) -> None:
    for name in ("harbour", "sums", "tiny"):
        write(tmp_path, name, GOOD)
    assert faults(tmp_path, "harbor") == [
        f"catalogue/corpus/harbor.toml: there is no corpus 'harbor' in {tmp_path}; did you mean 'harbour'?"
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"title = 'x'\ntitle = 'y'\n", "line 2, column 12: is not valid TOML: Cannot overwrite a value"),
        (b"a = " + b"[" * 100_000, "is nested too deeply to be read"),
        (b"a = " + b"1" * 5_000, "is not valid TOML: Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_a_file_that_toml_cannot_say_is_one_fault(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "odd.toml").write_bytes(content)
    found = faults(tmp_path, "odd")
    assert len(found) == 1
    assert found[0].startswith(f"catalogue/corpus/odd.toml: {fault}")


def test_a_mark_that_windows_puts_in_front_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, "a", GOOD)
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_corpus("a", tmp_path).questions


def test_faults_of_all_files_come_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a", '{ id = "a" }', head='include = ["b", "c", "b", 3]\nquestions = 1')
    (tmp_path / "b.toml").write_text("title = ")
    (tmp_path / "c.toml").write_bytes(b"title = '\xff'")
    found = faults(tmp_path)
    assert [fault.split(": ", 1)[0] for fault in found] == [f"catalogue/corpus/{n}.toml" for n in "aabcaaaaa"]
    texts = [fault.split(": ", 1)[1] for fault in found]
    assert texts[0] == "unknown key 'questions'; did you mean 'question'?"
    assert texts[1] == "title: must be a text, not None"
    assert texts[2] == "end of document: is not valid TOML: Invalid value"
    assert texts[3] == "line 1: is not UTF-8 text; save the file as UTF-8"
    assert texts[4] == "include[2]: 'b' is included twice"
    assert texts[5] == "include[3]: must be the name of a corpus, not 3"


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", GOOD, head='title = "T"\ninclude = ["a"]')
    assert faults(tmp_path) == ["catalogue/corpus/a.toml: include[0]: 'a' is included twice"]
