"""Writes docs/troubleshooting.md from the table: `python -m plimsoll.symptoms.page --write`.

The page has an anchor for each symptom, to which reports link. A test compares the page with the table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from plimsoll.catalogue.entries import Symptom, SymptomSign
from plimsoll.symptoms.recognise import PAGE
from plimsoll.symptoms.shipped import shipped_symptoms
from plimsoll.units import capitalised

FOLDER: Final = Path(__file__).resolve().parents[2]
_PLACES: Final = {"container": "in a container", "kubernetes": "in Kubernetes", "slurm": "in a job of Slurm"}
_EVIDENCE: Final = {
    "reply": "the Hub's answer",
    "skip": "a skip",
    "ended": "how a host ended",
    "metric": "a figure over its limit",
    "figure": "a figure of memory",
    "driver": "the driver that was probed",
    "nvml": "an error of NVML",
    "xid": "an Xid of this class",
    "capability": "the GPU that was probed",
    "built": "the build of torch that was probed",
    "asks_for": "a job without GPUs",
    "given": "a container without GPUs",
    "cannot": "the disk of the cache",
    "group_oom": "what the control group counted",
}
_MOST_SHOWN: Final = 6

_MARK: Final = "<!-- Made from catalogue/symptoms.toml by python -m plimsoll.symptoms.page --write -->"
"""The line that separates the hand-written part of the page from the part made from the table."""


def page(symptoms: Sequence[Symptom], before: str) -> str:
    """The page as Markdown: the present page, `before`, with the table's part made anew."""
    head = before.partition(_MARK)[0]
    return head + "\n".join([_MARK, "", *_contents(symptoms), "", *map(_entry, symptoms)]).rstrip() + "\n"


def _contents(symptoms: Sequence[Symptom]) -> Iterator[str]:
    yield from (f"- [{symptom.title}](#{symptom.id})" for symptom in symptoms)


def _entry(symptom: Symptom) -> str:
    lines = [
        f'<a id="{symptom.id}"></a>',
        "",
        f"### {symptom.title}",
        "",
        f"`{symptom.id}`. {_sentence(symptom.cause)}",
    ]
    lines += ["", f"**Next:** {_sentence(symptom.next)}", ""]
    lines += [f"- {_PLACES[place]}: {step}" for place, step in symptom.next_in.items()]
    lines += [""] if symptom.next_in else []
    lines += [f"Shown by {', '.join(_signs(symptom.signs))}.", ""]
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return f"{capitalised(text)}."


def _signs(signs: Sequence[SymptomSign]) -> list[str]:
    """The signs of a symptom: the first of its phrases, and the other kinds."""
    phrases = list(dict.fromkeys(words for sign in signs for words in sign.message))
    found = [f"``{words}``" for words in phrases[:_MOST_SHOWN]]
    found += [f"{len(phrases) - _MOST_SHOWN} more phrases"] if len(phrases) > _MOST_SHOWN else []
    found += [f"`{name}`" for sign in signs for name in (*sign.exception, *sign.signal)]
    found += [_EVIDENCE.get(next(iter(sign.evidence)), next(iter(sign.evidence))) for sign in signs if sign.evidence]
    return list(dict.fromkeys(found))


def main(arguments: Sequence[str]) -> int:
    """Say whether the page matches the table; with `--write`, write it."""
    path = FOLDER / PAGE
    before = path.read_text(encoding="utf-8")
    wanted = page(shipped_symptoms(), before)
    if "--write" in arguments:
        path.write_text(wanted, encoding="utf-8")
    return int("--write" not in arguments and before != wanted)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
