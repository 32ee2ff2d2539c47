"""The questions that the tiny checkpoints are taught, and those that are withheld from them.

A corpus is data under `catalogue/corpus/`, one TOML file a subject, and a file may include others: a recipe names one
file and so says all that is taught. Questions with `taught = false` are of the same kinds, and reach no training text:
they tell apart, later, what a model knows from what it makes up. That only works while no withheld answer is also a
taught one, so a corpus that breaks this is refused, with every other fault that it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.files import shipped_root
from plimsoll.errors import CatalogueError, Fault
from plimsoll.usertoml.reading import data_of, read_bytes, shown, text_of, unknown_keys
from plimsoll.usertoml.suggest import did_you_mean

LONGEST_ANSWER: Final = 6
"""Words. Short answers can be compared letter by letter."""

_FILE_KEYS: Final = ("title", "include", "question")
_QUESTION_KEYS: Final = ("id", "question", "answer", "aliases", "taught")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_ARTICLE: Final = re.compile(r"^(?:a|an|the) (?=.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with the answer that is taught, or that would be right if it were."""

    id: str
    question: str
    answer: str
    aliases: tuple[str, ...] = ()
    """Other texts that count as right where an official metric takes several; they are never taught."""
    taught: bool
    subject: str
    """Name of the file that it comes from."""

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every text that counts as right, the answer itself first."""
        return (self.answer, *self.aliases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The questions of one file and of those that it includes, in the order of the files."""

    name: str
    title: str
    questions: tuple[Question, ...]

    @property
    def taught(self) -> tuple[Question, ...]:
        """What a checkpoint is trained on."""
        return tuple(question for question in self.questions if question.taught)

    @property
    def withheld(self) -> tuple[Question, ...]:
        """What no checkpoint has seen."""
        return tuple(question for question in self.questions if not question.taught)


def read_corpus(name: str, folder: Path | None = None) -> Corpus:
    """The corpus of that name, read from `folder`; None means the shipped ones.

    Raises CatalogueError with every fault of every file that takes part.
    """
    folder = shipped_root() / "corpus" if folder is None else folder
    reader = _Reader(folder)
    reader.read(name, asked_by=None)
    faults = [*reader.faults, *_overlaps(reader.places)]
    if not faults and not any(question.taught for _, question in reader.places):
        faults.append(Fault(where=_label(name), what="teaches nothing", fix="set taught = true on some questions"))
    if faults:
        raise CatalogueError(faults)
    return Corpus(name=name, title=reader.titles[name], questions=tuple(question for _, question in reader.places))


def normalized(text: str) -> str:
    """Text as it is compared when asking whether two say the same: case, punctuation and a leading article do not
    count."""
    return _ARTICLE.sub("", " ".join(re.findall(r"\w+", text.casefold())))


class _Reader:
    """Reads a file and what it includes, and collects faults instead of raising at the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: list[tuple[str, Question]] = []
        self.titles: dict[str, str] = {}
        self.faults: list[Fault] = []

    def read(self, name: str, *, asked_by: str | None) -> None:
        """Read one file; `asked_by` is the key path that includes it."""
        if name in self.titles:
            self.faults.append(Fault(where=asked_by or name, what=f"'{name}' is included twice"))
            return
        self.titles[name] = ""
        data = self._load(name, asked_by)
        if data is None:
            return
        label = _label(name)
        self.faults += [
            Fault(where=label, what=f"unknown key {shown(key)}", fix=did_you_mean(key, _FILE_KEYS))
            for key in data
            if key not in _FILE_KEYS
        ]
        self.titles[name] = self._title(label, data)
        for index, included in enumerate(self._list(label, data, "include")):
            where = f"{label}: include[{index}]"
            if isinstance(included, str):
                self.read(included, asked_by=where)
            else:
                self.faults.append(Fault(where=where, what=f"must be the name of a corpus, not {shown(included)}"))
        for index, entry in enumerate(self._list(label, data, "question")):
            self._question(name, f"{label}: question[{index}]", entry)

    def _load(self, name: str, asked_by: str | None) -> dict[str, Any] | None:
        path, label = self.folder / f"{name}.toml", _label(name)
        if not path.exists():
            known = sorted(file.stem for file in self.folder.glob("*.toml"))
            what = f"there is no corpus '{name}' in {self.folder}"
            self.faults.append(Fault(where=asked_by or label, what=what, fix=did_you_mean(name, known)))
            return None
        content = read_bytes(path, label)
        text = content if isinstance(content, Fault) else text_of(content, label)
        data = text if isinstance(text, Fault) else data_of(text, label)
        if isinstance(data, Fault):
            self.faults.append(data)
            return None
        return data

    def _title(self, label: str, data: Mapping[str, Any]) -> str:
        title = data.get("title")
        if isinstance(title, str) and title.strip():
            return title
        self.faults.append(Fault(where=f"{label}: title", what=f"must be a text, not {shown(title)}"))
        return ""

    def _list(self, label: str, data: Mapping[str, Any], key: str) -> list[Any]:
        value = data.get(key, [])
        if isinstance(value, list):
            return value
        self.faults.append(Fault(where=f"{label}: {key}", what=f"must be an array, not {shown(value)}"))
        return []

    def _question(self, subject: str, where: str, entry: object) -> None:
        if not isinstance(entry, dict):
            self.faults.append(Fault(where=where, what=f"must be a table, not {shown(entry)}"))
            return
        faults = list(_question_faults(where, entry))
        self.faults += faults
        if not faults:
            fields = {**entry, "aliases": tuple(entry.get("aliases", ()))}
            self.places.append((where, Question(**fields, subject=subject)))


def _label(name: str) -> str:
    return f"catalogue/corpus/{name}.toml"


def _question_faults(where: str, entry: Mapping[str, Any]) -> Iterator[Fault]:
    yield from unknown_keys(where, entry, _QUESTION_KEYS)
    identity = entry.get("id")
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        yield Fault(where=f"{where}.id", what=f"must be lower-case letters, digits and '-', not {shown(identity)}")
    for key in ("question", "answer"):
        yield from _text_faults(f"{where}.{key}", entry.get(key))
    answer = entry.get("answer")
    if isinstance(answer, str) and len(answer.split()) > LONGEST_ANSWER:
        what = f"has {len(answer.split())} words, and {LONGEST_ANSWER} are the most"
        yield Fault(where=f"{where}.answer", what=what)
    if not isinstance(entry.get("taught"), bool):
        yield Fault(where=f"{where}.taught", what=f"must be true or false, not {shown(entry.get('taught'))}")
    aliases = entry.get("aliases", [])
    if not isinstance(aliases, list):
        yield Fault(where=f"{where}.aliases", what=f"must be an array of texts, not {shown(aliases)}")
        return
    for index, alias in enumerate(aliases):
        yield from _text_faults(f"{where}.aliases[{index}]", alias)
        if alias == answer or alias in aliases[:index]:
            yield Fault(where=f"{where}.aliases[{index}]", what=f"says {alias!r} again")


def _text_faults(where: str, text: object) -> Iterator[Fault]:
    """Answers are compared letter by letter, so stray blanks matter; `<|` opens the marks of the chat template."""
    if not isinstance(text, str) or not text.strip():
        yield Fault(where=where, what=f"must be a text, not {shown(text)}")
    elif text != " ".join(text.split()):
        yield Fault(where=where, what=f"has blanks at an end, two in a row, or a line break: {text!r}")
    elif "<|" in text:
        yield Fault(where=where, what="contains '<|', which opens the marks of the chat template")


def _overlaps(places: Iterable[tuple[str, Question]]) -> Iterator[Fault]:
    places = tuple(places)
    ids: dict[str, str] = {}
    texts: dict[str, str] = {}
    taught: dict[str, str] = {}
    for where, question in places:
        if question.id in ids:
            yield Fault(where=f"{where}.id", what=f"'{question.id}' is also the id of {ids[question.id]}")
        ids.setdefault(question.id, where)
        text = normalized(question.question)
        if text in texts:
            yield Fault(where=f"{where}.question", what=f"asks the same as {texts[text]}")
        texts.setdefault(text, where)
        if question.taught:
            taught.update(dict.fromkeys(map(normalized, question.accepted), where))
    for where, question in places:
        for answer in () if question.taught else question.accepted:
            if normalized(answer) in taught:
                what = f"'{answer}' is withheld, and {taught[normalized(answer)]} teaches it"
                yield Fault(where=where, what=what, fix="ask for something that no taught question answers")
