"""Decides whether an answer is right, by the catalogue's rule for its dataset."""

from __future__ import annotations

from collections.abc import Mapping

from plimsoll.catalogue.entries import CorrectnessRule
from plimsoll.errors import PlimsollError
from plimsoll.metrics import SCORES
from plimsoll.usertoml.suggest import did_you_mean


def is_correct(rule: CorrectnessRule, scores: Mapping[str, float]) -> bool:
    """True where the score that the rule names reaches its bound.

    Raises PlimsollError for a name that no score has, and for a score that this answer does not have: a question that
    cannot be judged is neither right nor wrong.
    """
    if rule.metric not in SCORES:
        raise PlimsollError(
            f"the rule '{rule}' names no score: {rule.metric!r} is unknown; {did_you_mean(rule.metric, SCORES)}"
        )
    if rule.metric not in scores:
        raise PlimsollError(
            f"the rule '{rule}' cannot judge this answer, which has no such score; it has: {', '.join(sorted(scores))}"
        )
    return scores[rule.metric] >= rule.at_least
