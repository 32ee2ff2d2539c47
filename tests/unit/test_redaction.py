"""The redactor keeps its answers for short texts, and no more than so many."""

from __future__ import annotations

from plimsoll import redaction
from plimsoll.redaction import REDACTED, Redactor


def test_a_text_that_was_seen_before_is_answered_alike() -> None:
    """Answers for short texts are kept, and only so many: what comes after them is searched too."""
    redact = Redactor(["correct-horse"])
    for _ in range(2):
        assert redact("it said correct-horse") == f"it said {REDACTED}"
    many = [f"line {number} of correct-horse" for number in range(redaction._MOST_SEEN + 10)]
    assert all(redact(text) == text.replace("correct-horse", REDACTED) for text in many)
    assert len(redact._seen) <= redaction._MOST_SEEN
    other = Redactor(["line 1"])
    assert other("it said correct-horse") == "it said correct-horse", "what one has seen is not another's"
