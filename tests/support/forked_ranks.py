"""Forks torchrun, and the ranks that it starts, from the process that has imported the model stack
(`tests.support.forked_stacks`): each imports torch otherwise, three times for two ranks.

torchrun runs as ever in a process of its own, and so does each rank, with the variables, the streams and the session
that torchrun gives it; what differs is where their processes come from. One test of tests/process/test_ranks.py starts
them as users do.
"""

from __future__ import annotations

import importlib
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Final

from plimsoll.host.client import torchrun
from tests.support.forked import Forks
from tests.support.forked_stacks import STACKS_ADDRESS, read_by_the_stack

_TORCHRUN: Final = "torch.distributed.run"
_STARTS_RANKS: Final = "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler"
_BOOT: Final = f"from {__name__} import launch; launch()"
_OF_RANKS: Final = ("TORCHELASTIC_", "TORCH_NCCL_", "MASTER_", "GROUP_", "ROLE_")
"""Beginnings of variables that torchrun gives its ranks."""
_OF_RANKS_WHOLE: Final = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"})


def is_of_ranks(name: str) -> bool:
    """Whether torchrun gives a rank this variable. Nothing reads one while the stack is imported, which
    tests/process/test_host_stack.py shows."""
    return name.startswith(_OF_RANKS) or name in _OF_RANKS_WHOLE


def torchrun_forked_from(forks: Forks, address: Path) -> SimpleNamespace:
    """In place of `subprocess` where torchrun is started (`plimsoll.host.client.torchrun`): it is forked from there,
    and its ranks from what listens at the address, the same."""

    def start(command: list[str], *, stdout: IO[str], env: Mapping[str, str], **options: Any) -> Any:
        module, arguments = command[3], command[4:]
        assert (command[1:3], module) == (["-P", "-m"], _TORCHRUN)
        if not forks.can_start(env):
            return subprocess.Popen(command, stdout=stdout, env=env, **options)
        assert options == {"stdin": subprocess.DEVNULL, "stderr": stdout, "process_group": 0}
        variables = {**env, STACKS_ADDRESS: str(address)}
        return _start(forks, ["-c", _BOOT, *arguments], variables, stdout, stdout, "group")

    return SimpleNamespace(**{**vars(subprocess), "Popen": start})


def fork_ranks_of_a_session() -> None:
    """Have torchrun forked from now on, in a session that was told where."""
    address = Path(os.environ[STACKS_ADDRESS])
    vars(torchrun)["subprocess"] = torchrun_forked_from(_joined(address), address)


def launch() -> None:
    """Be torchrun, in a fork, whose ranks are forked too."""
    forks = _joined(Path(os.environ.pop(STACKS_ADDRESS)))

    def start(
        args: tuple[str, ...], *, env: Mapping[str, str], stdout: IO[str], stderr: IO[str], start_new_session: bool
    ) -> Any:
        assert start_new_session
        assert args[0] == sys.executable
        assert forks.can_start(env)
        return _start(forks, list(args[1:]), env, stdout, stderr, "session")

    vars(importlib.import_module(_STARTS_RANKS))["Popen"] = start
    runpy.run_module(_TORCHRUN, run_name="__main__", alter_sys=True)


def _joined(address: Path) -> Forks:
    forks = Forks("", read=_read_by_ranks)
    forks.join_at(address)
    return forks


def _read_by_ranks(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in read_by_the_stack(variables).items() if not is_of_ranks(name)}


def _start(
    forks: Forks, arguments: list[str], variables: Mapping[str, str], out: IO[str], err: IO[str], leads: str
) -> Any:
    with Path(os.devnull).open() as nothing:
        streams = [nothing.fileno(), out.fileno(), err.fileno()]
        return forks.start(arguments, variables, streams, folder=Path.cwd(), leads=leads, is_child=True)
