"""Asks a Hub on the loopback interface about one repository, as its tests do."""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.hub.access import Access, Query
from plimsoll.hub.client import ask
from tests.support.hub_server import HubServer

Serve = Callable[..., HubServer]
"""Starts a Hub with repositories."""


def ask_one(name: str, revision: str | None = None) -> Access:
    """What the Hub says of its own repository of this name."""
    question = Query(repository=f"hub/{name}", revision=revision)
    return ask([question])[question]
