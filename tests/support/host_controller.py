"""A controller to be killed: `python -m tests.support.host_controller FOLDER FUNCTION` starts two hosts, each with
children, prints a line once all run, and waits for FUNCTION in one of them."""

from __future__ import annotations

import sys
from pathlib import Path

from plimsoll.host.client.process import Hosts
from plimsoll.host.protocol import Call


def main(folder: Path, function: str) -> None:
    with Hosts(stack=None) as hosts:
        idle = hosts.start("idle", folder / "idle.log")
        busy = hosts.start("busy", folder / "busy.log")
        for host in (idle, busy):
            host.ask(Call(target="tests.support.host_targets:start_children"), deadline=60.0)
        print("ready", flush=True)
        busy.ask(Call(target=f"tests.support.host_targets:{function}"), deadline=3600.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
