"""What several tests of processes share: hosts, users of locks, and a Hub that their children are pointed at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest

from plimsoll.child import started
from plimsoll.host.client.process import Host, Hosts
from tests.support.fork_servers import SERVERS
from tests.support.forked import Forks
from tests.support.forked_sessions import SESSIONS, forked_children
from tests.support.hub_asking import Serve
from tests.support.hub_repositories import make_repository
from tests.support.hub_server import HubServer, Repository, serving
from tests.support.users import Users


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    """Hosts with the stack that loads models; a file whose tests load none has hosts of its own without."""
    with SERVERS.lent(), Hosts() as found:
        yield found


@pytest.fixture
def host(hosts: Hosts, tmp_path: Path) -> Iterator[Host]:
    """A host that is gone afterwards, whatever the test did to it."""
    started = hosts.start("tiny-llama/nf4", tmp_path / "host.log")
    yield started
    started.close()
    assert not psutil.pid_exists(started.pid)


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for an environment without a login or a proxy, and with a cache of its own."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path


@pytest.fixture(scope="module")
def forks() -> Forks:
    """What the Hub's process is forked from."""
    return SESSIONS


@pytest.fixture
def started_children() -> None:
    """For a test whose children are started as a user's are."""


@pytest.fixture
def forked(request: pytest.FixtureRequest, forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the Hub's process forked, unless the test asks for `started_children`."""
    if "started_children" not in request.fixturenames:
        monkeypatch.setattr(started, "subprocess", forked_children(forks))


@pytest.fixture
def serve_as(nobody: Path, forked: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a Hub with repositories of an owner, and point this process's children at it."""
    with ExitStack() as servers:

        def start(owner: str, **repositories: Repository) -> HubServer:
            served = {f"{owner}/{name}": repository for name, repository in repositories.items()}
            server = servers.enter_context(serving(served))
            monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
            return server

        yield start


@pytest.fixture
def serve(serve_as: Serve) -> Serve:
    """Start a Hub with repositories of its own, and point this process's children at it; nobody is logged in."""
    return partial(serve_as, "hub")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that looks like a checkpoint and holds no model."""
    return make_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def users() -> Iterator[Users]:
    """Processes that use what others use too; they are killed in the end."""
    found = Users()
    yield found
    found.end()
