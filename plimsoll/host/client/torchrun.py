"""Starts the ranks of a training step by torchrun, waits for them, and says how one died."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psutil

from plimsoll.child.started import python_path
from plimsoll.errors import PlimsollError
from plimsoll.footprint.training import Phase, StepParts
from plimsoll.host.client.processor_time import ProcessorTime, starved
from plimsoll.host.ranks import ORDER, RankAnswer, RankOrder, answer_name
from plimsoll.redaction import Redactor
from plimsoll.suspension import STEP, Patience

_MODULE: Final = "plimsoll.host.server.rank_process"
_LINES: Final = 12
"""The number of last lines of a rank's log that a failure shows."""
_ENDING: Final = 10.0
"""Seconds that torchrun has to end its ranks."""


class RanksFailedError(PlimsollError):
    """A rank died, or the ranks did not finish in time; the text has the log of the first that died. `starved` says how
    short of processor time torchrun or a rank was that did not finish; None where none was."""

    def __init__(self, text: str, starved: str | None = None) -> None:
        super().__init__(text)
        self.starved = starved


def run_ranks(
    order: RankOrder, ranks: int, folder: Path, deadline: float, environment: Mapping[str, str] | None = None
) -> tuple[RankAnswer, ...]:
    """The answers of all ranks, in their order. `folder` is empty, and keeps the ranks' logs; `deadline` in seconds.

    Raises RanksFailedError.
    """
    (folder / ORDER).write_bytes(pickle.dumps(order))
    log = folder / "torchrun.log"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(  # noqa: S603  our own interpreter, our own code
            [
                *(sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"),
                *(f"--log-dir={folder / 'logs'}", "--redirects=3", "--module", _MODULE, str(folder)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {}), "PYTHONPATH": python_path()},
            process_group=0,  # Ctrl-C reaches this process alone, which then ends the ranks in order
        )
        began, short, patience = ProcessorTime.of(process.pid), None, Patience(deadline)
        try:
            status = _status(process, patience)
            if status is None:
                short = _starved(process.pid, began and began.later(patience.stopped))
        finally:
            _end(process)
    answers = [folder / answer_name(rank) for rank in range(ranks)]
    if status != 0 or not all(answer.is_file() for answer in answers):
        how = f"did not finish in {deadline:.0f} s" if status is None else f"ended with status {status}"
        raise RanksFailedError(f"{ranks} ranks {how}\n{_post_mortem(folder, log)}", short)
    return tuple(_read(answer) for answer in answers)


def _status(process: subprocess.Popen[bytes], patience: Patience) -> int | None:
    """The status of a process that ended in time; None for any other."""
    while (left := patience.left()) > 0:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(min(left, STEP))
    return None


def _starved(pid: int, began: ProcessorTime | None) -> str | None:
    """How short of processor time torchrun was since it began, or one of the ranks that it has started by now, whatever
    the others had: they wait for it."""
    if began is None:
        return None
    with suppress(psutil.Error):
        start = replace(began, ran=0.0, waited=0.0)
        pids = [pid, *(rank.pid for rank in psutil.Process(pid).children(recursive=True))]
        found = (starved(start, ProcessorTime.of(each)) for each in pids)
        return next((short for short in found if short is not None), None)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """torchrun ends its ranks when it is asked to end; the kernel ends them when it is killed."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_ENDING)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _post_mortem(folder: Path, log: Path) -> str:
    """The last lines of the logs of the ranks that wrote any, the one that was written first foremost: the others die
    of its death."""
    logs = [path for path in (folder / "logs").rglob("stderr.log") if path.stat().st_size]
    logs.sort(key=lambda path: path.stat().st_mtime)
    redact = Redactor.from_environment()
    told = [
        f"{_name(path)}:\n" + "\n".join(f"  | {line}" for line in _last_lines(redact(_text(path))))
        for path in (*logs, log)
        if _text(path).strip()
    ]
    return "\n".join(told) or "and wrote nothing"


def _name(path: Path) -> str:
    return f"rank {path.parent.name}" if path.name == "stderr.log" else "torchrun"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _last_lines(text: str) -> list[str]:
    return text.strip().splitlines()[-_LINES:]


def _read(path: Path) -> RankAnswer:
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    parts = {**fields.pop("parts")}
    parts["phase"] = Phase(parts["phase"])
    return RankAnswer(**{**fields, "devices": tuple(fields["devices"]), "parts": StepParts(**parts)})
