"""Watches the GPUs of whatever libnvidia-ml.so.1 this process finds, and prints what the catalogue says of them.

Run as a process, because a library is chosen when a process starts: `python -m tests.support.watched SAMPLES [LOG]`. A
line on standard output says that the watch has begun; one on standard input ends it where SAMPLES is 0. Once there is a
file LOG.overtaken, the next reading of LOG fails as that of /dev/kmsg does where records were lost.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from plimsoll.catalogue.health import read_health
from plimsoll.judge.health import judge_health
from plimsoll.node.health import HealthReader
from plimsoll.node.kernel_log import KernelLog
from plimsoll.node.node import Unread
from plimsoll.node.watch import HealthWatch


def _read(read: Callable[[int, int], bytes], overtaken: Path, descriptor: int, size: int) -> bytes:
    if overtaken.exists():
        overtaken.unlink()
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    return read(descriptor, size)


def main(samples: int, log: str) -> dict[str, Any]:
    """What was seen until so many samples were taken, or a line came."""
    reader = HealthReader.open()
    if isinstance(reader, Unread):
        return {"unread": reader.why}
    os.read = partial(_read, os.read, Path(f"{log}.overtaken"))  # only the kernel can overwrite its own log
    watch = HealthWatch(reader, KernelLog(path=Path(log)), interval=0.02)
    start = watch.begin()
    watch.start()
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    if samples:
        while start.samples < samples:
            time.sleep(0.01)
    else:
        sys.stdin.readline()
    window = watch.since(start)
    watch.stop()
    reader.close()
    judged = judge_health(window, read_health(), worked=True)
    return {
        "findings": [[each.index, each.group, each.action, str(each)] for each in judged.findings],
        "blinds": [[each.index, each.group, str(each), each.fix] for each in judged.blinds],
        "xids": [[xid.gpu, xid.code, xid.told_by] for xid in window.xids],
        "gpus": [gpu.to_json() for gpu in window.after.gpus],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]), sys.argv[2])) + "\n")
