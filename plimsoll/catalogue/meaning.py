"""Reads the plain texts and general questions for every model with real weights from `catalogue/meaning/`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from plimsoll.catalogue.files import shipped_root

_FILE: Final = "meaning/plain.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text of our own in plain English, and a request that it could answer."""

    request: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralQuestion:
    """A question whose answer everybody knows; a right answer has one of `answers` as whole words."""

    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """The texts and questions for a model of which we only know that it reads English."""

    passages: tuple[Passage, ...]
    questions: tuple[GeneralQuestion, ...]


@cache
def read_plain(root: Path | None = None) -> Plain:
    """The shipped texts and questions. Raises OSError, ValueError or KeyError where the installation lacks them."""
    data = tomllib.loads(((root or shipped_root()) / _FILE).read_text(encoding="utf-8"))
    return Plain(
        passages=tuple(Passage(request=each["request"], text=each["text"].strip()) for each in data["passage"]),
        questions=tuple(
            GeneralQuestion(question=each["question"], answers=tuple(each["answers"])) for each in data["question"]
        ),
    )
