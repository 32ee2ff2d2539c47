"""The process that trains: `python -m plimsoll.host.server.train_process`, started by plimsoll.tiny.builder alone."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from plimsoll.errors import PlimsollError
from plimsoll.extras import install_command
from plimsoll.tiny.builder import Phase
from plimsoll.tiny.recipe import TrainingJob

_PR_SET_PDEATHSIG: Final = 1
"""From linux/prctl.h."""


def main() -> int:
    """Carry out the job on standard input; the last line on standard output holds figures or the error."""
    request = json.load(sys.stdin)
    _die_with(request["parent"])
    # What libraries print goes to the log; the real standard output speaks the protocol alone.
    protocol = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=protocol)

    def report(phase: Phase, done: int, total: int) -> None:
        send({"phase": phase, "done": done, "total": total})

    report(Phase.STARTING, 0, 0)
    try:
        from plimsoll.host.server.train import train  # late: the import takes seconds, and may fail
    except ModuleNotFoundError as error:
        send({"error": f"{error.name} is not installed; install it with: {install_command('models')}"})
        return 1
    try:
        figures = train(TrainingJob.from_json(request["job"]), Path(request["folder"]), report)
    except PlimsollError as error:
        send({"error": str(error)})
        return 1
    send({"figures": asdict(figures)})
    return 0


def _die_with(parent: int) -> None:
    """Be killed when the parent ends, however it ends. Elsewhere than on Linux a build may outlive a killed parent by
    its few seconds, and what it leaves is swept by the next build."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call above
            sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
