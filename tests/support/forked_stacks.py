"""Forks fork servers of hosts from a process that has imported the model stack, which takes longer than what most of
them are asked for.

They are processes of their own, in the environment of who starts them, and import `plimsoll.host.server.preload`
themselves; what it imports in turn is there already. That is so where nothing differs that is read by an import. Where
only variables of the Hub differ, they are forked from a process that has imported what heeds none of them.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

from plimsoll.host.client import forkserver
from tests.support.forked import LIBRARIES, MODULES, ROOT, Forks
from tests.support.forking import forget

_READ_LATER: Final = (
    *("PLIMSOLL_", "PYTEST_", "SLURM_", "GITHUB_STEP_SUMMARY", "HALTED_FILE", "HOST_THREADS", "TORCH_GUARD"),
    *("CARELESS", "GPU_THAT_", "MEDDLE", "RAM_MEETING", "STACK_FAULT"),
)
"""Beginnings of variables that nothing reads while the stack is imported; tests/process/test_host_stack.py holds it
against what is read."""
_READ_LATER_WHOLE: Final = frozenset(
    {
        *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "TERM", "TOX_ENV_DIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    }
)
"""The same, by their whole names: HF_TOKEN_PATH is read."""
OF_THE_HUB: Final = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_")
"""Beginnings of variables that nothing reads while BELOW is imported, which
tests/process/test_host_stack.py shows."""
BELOW: Final = (
    *("torch", "torch._dynamo", "torch.distributed.checkpoint", "numpy.ma", "PIL.Image"),
    *("jinja2", "regex", "yaml", "psutil", "tokenizers", "safetensors.torch", "httpx"),
)
"""What the stack imports of others, but for what reads variables of the Hub or asks for GPUs."""
_SET_BY_TORCH: Final = "TORCHINDUCTOR_CACHE_DIR"
"""What torch sets as it is imported, to what it would take anyway: a worker that has imported it has the variable from
then on, and its fork servers would be no different."""
_STACK: Final = "plimsoll.host.server.preload"
STACKS_ADDRESS: Final = "PLIMSOLL_TEST_STACKS"
"""The variable that tells a session where fork servers are forked."""


def is_read_later(name: str) -> bool:
    """Whether a variable makes no difference to what a fork server has imported."""
    return name.startswith(_READ_LATER) or name in _READ_LATER_WHOLE


def read_by_the_stack(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that make a difference to what a fork server has imported."""
    found = {name: value for name, value in variables.items() if not is_read_later(name) and name != _SET_BY_TORCH}
    if found.get(MODULES) == str(ROOT):
        del found[MODULES]
    return found


def _read_below(variables: Mapping[str, str]) -> dict[str, str]:
    read = read_by_the_stack(variables)
    # Nor does it ask a driver, whose stand-in is loaded in the fork.
    return {name: value for name, value in read.items() if not name.startswith(OF_THE_HUB) and name != LIBRARIES}


_WITHOUT_HUB: Final = Forks("tests.support.forked_stacks:import_below", read=_read_below, listens=True)
STACKS: Final = Forks(
    "tests.support.forked_stacks:import_stack", below=_WITHOUT_HUB, read=read_by_the_stack, listens=True
)
"""Forks what has the whole stack."""


def import_below() -> Forks:
    """Import what heeds no variable of the Hub, in the process that others are forked from."""
    # As the stack has it: NVML is asked for GPUs, for the CUDA runtime would be of no use in a fork.
    with mock.patch.dict(os.environ, {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}):
        for module in BELOW:
            importlib.import_module(module)
    return Forks("")


def import_stack() -> Forks:
    """Import the stack, but leave the module that does so, and what it sets, to each process."""
    # What libraries say meanwhile would stand in the output of the test that happens to run.
    with mock.patch.dict(os.environ), redirect_stderr(StringIO()):
        importlib.import_module(_STACK)
    forget(_STACK)
    return Forks("")


def begin_with(variables: Mapping[str, str]) -> None:
    """Tell what most fork servers of this worker have for an environment."""
    for forks in (_WITHOUT_HUB, STACKS):
        forks.begin_with(variables)


def share(folder: Path) -> None:
    """Share what has no variable of the Hub among the processes that share in this folder. What has the whole stack
    is each worker's own, and forked from there."""
    _WITHOUT_HUB.share(folder)


def end() -> None:
    """End what was begun; fork servers live on."""
    for forks in (STACKS, _WITHOUT_HUB):
        forks.end()


@contextmanager
def forked_servers() -> Iterator[None]:
    """Have fork servers of this process forked, where they can be."""
    with mock.patch.object(forkserver, "subprocess", _forked_where_they_can(STACKS, _WITHOUT_HUB)):
        yield


def fork_servers_of_a_session() -> None:
    """The same from now on, for a session that was told where."""
    if STACKS_ADDRESS not in os.environ:
        return
    forks = Forks("", read=read_by_the_stack)
    forks.join_at(Path(os.environ[STACKS_ADDRESS]))
    vars(forkserver)["subprocess"] = _forked_where_they_can(forks)


def _forked_where_they_can(*ways: Forks) -> SimpleNamespace:
    """In place of `subprocess` where fork servers are started."""

    def start(
        command: list[str], *, stdin: int, stdout: Any, stderr: Any, start_new_session: bool, env: dict[str, str]
    ) -> Any:
        assert start_new_session
        forks = next((way for way in ways if way.can_start(env)), None) if _are_ours(sys.path) else None
        if forks is None:
            return subprocess.Popen(
                command, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=start_new_session, env=env
            )
        return forks.start(command[1:], env, [stdin, stdout.fileno(), stderr.fileno()], leads="session")

    return SimpleNamespace(**{**vars(subprocess), "Popen": start})


def _are_ours(folders: list[str]) -> bool:
    """Whether modules come from where those came from that are imported already."""
    own = (ROOT, Path(sys.prefix), Path(sys.base_prefix))
    return all(any(Path(folder or Path.cwd()).is_relative_to(one) for one in own) for folder in folders)
