"""Sabotage: figures are measured and never judged, as a careless edit of the suite would have it; asked for by `-p`."""

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    from fixtures.judging import Judge

    Judge.claims = Judge.limit = lambda self, metric, value, **_: None  # type: ignore[assignment,method-assign]
