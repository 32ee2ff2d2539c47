"""Sabotage: the text beside a figure holds a secret of this process, as a library's error may; asked for by `-p`."""

import os

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    from fixtures.judging import Judge

    def fail(*_: object, **__: object) -> None:
        pytest.fail(f"the answer was: Bearer {os.environ['ACME_API_KEY']}", pytrace=False)

    Judge.claims = Judge.limit = fail  # type: ignore[method-assign]
