"""Questions for tests, one of each kind."""

from __future__ import annotations

from plimsoll.dataset.example import AnswerKind, Example


def example_of(*golds: tuple[str, ...], kind: AnswerKind = AnswerKind.TEXT) -> Example:
    """A question with these golds, one tuple of synonyms for each item."""
    return Example(id="validation-0", question="Which one is it?", context="", kind=kind, golds=golds)


NO_ANSWER = example_of(kind=AnswerKind.UNANSWERABLE)
