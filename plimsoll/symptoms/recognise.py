"""Recognises symptoms in a text, an exception, the end of a process, or facts that the suite knows, by the table.

The order of the table decides: of two symptoms in the same line only the first is reported, and none that is only a
consequence of another. Where nothing matches, nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from plimsoll.catalogue.entries import Symptom, SymptomSign
from plimsoll.symptoms.surroundings import Surroundings, here
from plimsoll.usertoml.phrases import filled, phrase

PAGE: Final = "docs/troubleshooting.md"
"""The page on which every shipped symptom has an anchor."""

_BEGINNING: Final = 20_000
_END: Final = 80_000
"""Characters searched in a long text: the error is at the end, and the command at the start."""
_MOST_ERRORS: Final = 10
_LONGEST_LINE: Final = 2_000
_SHOWN: Final = 200
_KIND: Final = re.compile(r"(?<![\w.])(?:[A-Za-z_]\w{0,80}\.){0,8}([A-Z]\w{0,80})(?=:|\s*$|\(| in the host )")
"""The name of a class before an exception's message: at the end of a traceback, or in a message of ours."""
_SIGNAL: Final = re.compile(r"\b(?:killed by |died with <Signals\.|Signals\.)(SIG[A-Z0-9]{2,12})\b")
_SKIP: Final = re.compile(r"\bskip\[(\w{1,40})\]")
_STATUS: Final = re.compile(
    r"(?:\bexit(?:ed)?(?: with)?(?: exit)?[ _]?(?:code|status)?|\breturn[ _]?code|\bnon-zero (?:code|status)|\] error)"
    r"[\"']?\s{0,20}[:=]?\s{0,20}\(?(-\d{1,2}|1[34]\d)\b",
    re.IGNORECASE,
)
"""An exit status that stands for a signal: Python says -9, a shell and a container 128 + 9."""
_KILLED: Final = re.compile(
    r"\s*Killed(?:: 9)?\s*$"
    r"|\s*Killed(?:\s{3,}\S.*[^\s.?!]|\s+(?:\S*/)?(?:python[\d.]*|pytest|plimsoll|torchrun|accelerate|srun|make)\b.*)$"
    r"|\s*(?:\S+: line \d+:\s+\d+|\[\d+\]\s?[+-]?(?:\s+\d+)?)\s+Killed\b"
    r"|\s*zsh: killed\s"
    r"|(?:g?make(?:\[\d+\])?: \*\*\* .+\]|srun: error: .+:) Killed\s*$"
)
"""A line in which a shell, make or Slurm says that a signal killed a command; the word in a sentence is none."""
_XID: Final = re.compile(
    r"\bXid \([^()]{4,60}\): (?P<logged>\d{1,3})\b"
    r"|(?:^\s*|\b(?:GPU|NVIDIA|NVRM)\b.{0,120}?\b)(?:Xid|XID)(?: [Ee]rror| code)?:? (?P<told>\d{1,3})\b"
)
"""An error that the NVIDIA driver numbers: as the kernel's log has it, or as people and tools tell it of a GPU."""
_BY_NUMBER: Final = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is visible of a failure; unknown parts are left out."""

    text: str = ""
    """A message, a traceback or a log; of a long text the beginning and the end are searched."""
    exceptions: tuple[str, ...] = ()
    """Names of classes, with or without module: of the exception, its bases and its causes."""
    signal: str = ""
    """What ended the process, `SIGKILL`."""
    evidence: Mapping[str, object] = field(default_factory=dict)
    """Further facts (`reply`, `skip`, `metric`, `ended` ...), for conditions and to fill sentences."""

    @classmethod
    def of(cls, error: BaseException, **evidence: object) -> Self:
        """What an exception shows, with its causes and a group's members: their messages and classes."""
        said: list[str] = []
        kinds: list[str] = []
        left: list[BaseException] = [error]
        while left and len(said) < _MOST_ERRORS:
            seen = left.pop(0)
            said.append(f"{type(seen).__name__}: {_words(seen)}")
            kinds += [kind.__name__ for kind in type(seen).__mro__ if kind not in (BaseException, Exception, object)]
            cause = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
            left += [*(seen.exceptions if isinstance(seen, BaseExceptionGroup) else ()), *filter(None, [cause])]
        return cls(text="\n".join(said), exceptions=tuple(dict.fromkeys(kinds)), evidence=evidence)


def _words(error: BaseException) -> str:
    """The message of an exception. For an assertion with a message of its own, without the values that pytest adds:
    those may be a model's answer, or the text that was looked for."""
    said = str(error)
    return said.partition("\nassert ")[0] if isinstance(error, AssertionError) else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A symptom that was recognised."""

    symptom: str
    title: str
    cause: str
    next: str
    """One step."""
    anchor: str
    """Where to read more: `docs/troubleshooting.md#gpu-memory`, or what a user's own table says."""
    seen: str
    """The line, the signal or the evidence by which it was recognised; at most 200 characters."""

    def __str__(self) -> str:
        return f"{self.title}: {self.cause}; next: {self.next} ({self.anchor})"

    def to_json(self) -> dict[str, str]:
        """Plain JSON data; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_json` wrote. Raises TypeError for anything else."""
        return cls(**{name: str(value) for name, value in data.items()})


@dataclass(frozen=True, slots=True)
class _Match:
    symptom: Symptom
    sign: SymptomSign
    grounds: frozenset[object]
    """The numbers of the lines that show it, and the signal or evidence."""
    values: Mapping[str, object]
    seen: str


def recognise(
    seen: Seen, symptoms: Sequence[Symptom] | None = None, place: Surroundings | None = None
) -> tuple[Diagnosis, ...]:
    """The recognised symptoms, the most specific first; empty for none. `symptoms` are a catalogue's
    (`Catalogue.symptoms`); None for the shipped ones. `place` is where it happened, which chooses the next step; None
    for the surroundings of this process. Imports no torch.
    """
    known = _shipped() if symptoms is None else symptoms
    text = _Text(seen)
    if text.skip_code and "skip" not in seen.evidence:
        seen = replace(seen, evidence={**seen.evidence, "skip": text.skip_code})
    found = [match for symptom in known if (match := _shown(symptom, text, seen)) is not None]
    surrounded = here() if place is None else place
    return tuple(_diagnosis(match, surrounded) for match in _told(found))


def _shipped() -> Sequence[Symptom]:
    # What reads and checks the table takes a quarter of a second to import, and most runs have no symptom.
    from plimsoll.symptoms.shipped import shipped_symptoms

    return shipped_symptoms()


def told_by(evidence: Mapping[str, object], place: Surroundings | None = None) -> Diagnosis:
    """The shipped table's diagnosis of something that the suite itself found. `place` as for `recognise`.

    Raises LookupError where the table has none, which means that code and table have drifted apart.
    """
    found = recognise(Seen(evidence=evidence), place=place)
    if not found:
        raise LookupError(f"catalogue/symptoms.toml says nothing of {dict(evidence)!r:.200}")
    return found[0]


def _told(found: Sequence[_Match]) -> Iterator[_Match]:
    """The symptoms to report, of all that were found: no line twice, no consequence of another, no last resort beside
    something better."""
    explained = {id_ for match in found for id_ in match.symptom.explains}
    better = [match for match in found if match.symptom.id not in explained]
    firm = [match for match in better if not match.sign.otherwise]
    taken: set[object] = set()
    for match in firm or better[:1]:
        if not match.grounds <= taken:
            taken |= match.grounds
            yield match


def _diagnosis(match: _Match, place: Surroundings) -> Diagnosis:
    symptom, sign = match.symptom, match.sign
    general = _step(symptom.next, symptom.next_in, place)
    own = _step(sign.next, sign.next_in, place)
    return Diagnosis(
        symptom=symptom.id,
        title=symptom.title,
        cause=(filled(sign.cause, match.values) if sign.cause else None) or symptom.cause,
        next=(filled(own, match.values) if own else None) or general,
        anchor=anchor_of(symptom),
        seen=match.seen[:_SHOWN],
    )


def _step(otherwise: str, by_place: Mapping[str, str], place: Surroundings) -> str:
    return next((by_place[name] for name in place.names if name in by_place), otherwise)


def anchor_of(symptom: Symptom) -> str:
    """Where to read more about a symptom: on the project's page for a shipped one, else what its own table says."""
    if symptom.see:
        return symptom.see
    return f"{PAGE}#{symptom.id}" if symptom.origin.file.as_posix().startswith("catalogue/") else str(symptom.origin)


class _Text:
    """The searched lines of a text, and the exceptions and signals that they name, read once."""

    def __init__(self, seen: Seen) -> None:
        text = seen.text
        if len(text) > _BEGINNING + _END:
            text = f"{text[:_BEGINNING]}\n{text[-_END:]}"
        self.lines = [line[:_LONGEST_LINE] for line in text.splitlines()]
        self.folded = "\n".join(self.lines).lower()
        self.skip_code = found[1] if (found := _SKIP.search("\n".join(self.lines))) else ""
        """The code of the first skip in the text."""
        self.kinds: dict[str, set[int]] = {}
        self.signals: dict[str, set[int]] = {}
        self.xids: dict[int, list[int]] = {}
        """Code of an Xid -> its lines."""
        for number, line in enumerate(self.lines):
            for kind in _KIND.findall(line):
                self.kinds.setdefault(kind, set()).add(number)
            numbers = (int(status) for status in _STATUS.findall(line))
            named = [*_SIGNAL.findall(line), *(_BY_NUMBER.get(-n if n < 0 else n - 128, "") for n in numbers)]
            named += ["SIGKILL"] if "illed" in line and _KILLED.match(line) else []
            for signal in filter(None, named):
                self.signals.setdefault(signal, set()).add(number)
            if "xid" in line.lower():
                for xid in _XID.finditer(line):
                    self.xids.setdefault(int(xid["logged"] or xid["told"]), []).append(number)

    def has(self, words: str) -> bool:
        """True where some line has a phrase."""
        looked_for = phrase(words)
        return looked_for.opening in self.folded and any(looked_for.find(line) is not None for line in self.lines)

    def find(self, words: str) -> Iterator[tuple[int, Mapping[str, str]]]:
        """The lines that have a phrase, with what stands in its holes."""
        looked_for = phrase(words)
        if looked_for.opening in self.folded:
            for number, line in enumerate(self.lines):
                if (holes := looked_for.find(line)) is not None:
                    yield number, holes


def _shown(symptom: Symptom, text: _Text, seen: Seen) -> _Match | None:
    """The first sign that is there, with the lines of all signs that are."""
    found = [match for sign in symptom.signs for match in _matches(symptom, sign, text, seen)]
    if not found:
        return None
    firm = [match for match in found if not match.sign.otherwise] or found
    return replace(firm[0], grounds=frozenset().union(*(match.grounds for match in firm)))


def _matches(symptom: Symptom, sign: SymptomSign, text: _Text, seen: Seen) -> Iterator[_Match]:
    """A sign of an Xid may be there once for each code that the text has, any other sign once."""
    if "xid" not in sign.evidence:
        if (match := _match(symptom, sign, text, seen)) is not None:
            yield match
        return
    for code, numbers in text.xids.items():
        facts = {**seen.evidence, "xid": _class_of(code), "code": code}
        if (match := _match(symptom, sign, text, replace(seen, evidence=facts))) is not None:
            yield replace(match, grounds=frozenset(numbers), seen=text.lines[numbers[0]].strip())


def _class_of(code: int) -> str:
    # Most texts have no Xid, and need no rules for it.
    from plimsoll.catalogue.health import read_health

    found = read_health().xid(code)
    return "unknown" if found is None else found.name


def _match(symptom: Symptom, sign: SymptomSign, text: _Text, seen: Seen) -> _Match | None:
    if not all(_equal(seen.evidence.get(name), value) for name, value in sign.evidence.items()):
        return None
    if not all(map(text.has, sign.beside)):
        return None
    parts = [
        part
        for is_asked, look in (
            (sign.message, _messages),
            (sign.exception, _exceptions),
            (sign.signal, _signals),
        )
        if is_asked
        for part in [look(sign, text, seen)]
    ]
    if any(part is None for part in parts):
        return None
    grounds, told = frozenset[object](), ""
    holes: dict[str, str] = {}
    for part in filter(None, parts):
        # For a message with its class, the line of the message is what shows it.
        grounds = grounds or part[0]
        holes, told = {**part[1], **holes}, told or part[2]
    if not parts:
        grounds = frozenset(sign.evidence.items())
        told = ", ".join(f"{name} {value}" for name, value in sign.evidence.items())
    return _Match(symptom, sign, grounds, {**seen.evidence, **holes}, told)


_Part = tuple[frozenset[object], Mapping[str, str], str]


def _equal(known: object, asked: str | int | bool) -> bool:
    """True where a fact has this value; an unknown value equals nothing, not even False."""
    if known is None or isinstance(known, bool) or isinstance(asked, bool):
        return known is asked
    return str(known) == str(asked)


def _messages(sign: SymptomSign, text: _Text, _seen: Seen) -> _Part | None:
    grounds: set[object] = set()
    first: tuple[int, Mapping[str, str]] | None = None
    for words in sign.message:
        for number, holes in text.find(words):
            if any(phrase(other).find(text.lines[number]) is not None for other in sign.unless):
                continue
            grounds.add(number)
            first = first or (number, holes)
    if first is None:
        return None
    return frozenset(grounds), first[1], text.lines[first[0]].strip()


def _exceptions(sign: SymptomSign, text: _Text, seen: Seen) -> _Part | None:
    for name in sign.exception:
        short = name.rpartition(".")[2]
        if numbers := text.kinds.get(short):
            return frozenset(numbers), {}, text.lines[min(numbers)].strip()
        if any(kind in (name, short) or kind.rpartition(".")[2] == short for kind in seen.exceptions):
            return frozenset({("exception", short)}), {}, name
    return None


def _signals(sign: SymptomSign, text: _Text, seen: Seen) -> _Part | None:
    for name in sign.signal:
        if seen.signal == name:
            return frozenset({("signal", name)}), {"signal": name}, f"killed by {name}"
        if numbers := text.signals.get(name):
            return frozenset(numbers), {"signal": name}, text.lines[min(numbers)].strip()
    return None
