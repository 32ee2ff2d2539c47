"""The process that trains: `python -m plimsoll.host.server.train_process`, started only by plimsoll.tiny.builder."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from plimsoll.child.inside import Outlet, end_with_parent
from plimsoll.errors import PlimsollError
from plimsoll.extras import install_command
from plimsoll.garbage import keep_all
from plimsoll.tiny.builder import BuildPhase
from plimsoll.tiny.recipe import TrainingJob


def main() -> int:
    """Carry out the job on standard input; the last line on standard output holds figures or the error."""
    request = json.load(sys.stdin)
    # What a build leaves that outlives a killed parent is swept by the next build.
    end_with_parent(request["parent"])
    outlet = Outlet()

    def report(phase: BuildPhase, done: int, total: int) -> None:
        outlet.send(phase=phase, done=done, total=total)

    report(BuildPhase.STARTING, 0, 0)
    try:
        with keep_all():
            from plimsoll.host.server.train import train  # late: the import takes seconds, and may fail
    except ModuleNotFoundError as error:
        outlet.send(error=f"{error.name} is not installed; install it with: {install_command('models')}")
        return 1
    try:
        figures = train(TrainingJob.from_json(request["job"]), Path(request["folder"]), report)
    except PlimsollError as error:
        outlet.send(error=str(error))
        return 1
    outlet.send(figures=asdict(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
