"""Several checkpoints at once: one process a build, as many side by side as there are processors for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from typing import Final

from plimsoll.catalogue.entries import Model
from plimsoll.errors import PlimsollError
from plimsoll.tiny.builder import BuildError, BuildProcess
from plimsoll.tiny.checkpoint import Checkpoint
from plimsoll.tiny.progress import Progress, ProgressCallback
from plimsoll.tiny.store import Store

_GLANCE: Final = 0.5
"""Seconds. A wait without end would not see an interrupt that the system hands to another thread."""


def default_jobs() -> int:
    """As many builds at once as this process may use processors: each of them uses one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ensure_all(
    store: Store, models: Sequence[Model], *, jobs: int, progress: ProgressCallback
) -> tuple[Checkpoint, ...]:
    """The checkpoints of all models, in their order, built where they are missing or damaged.

    `progress` is called from several threads. One failure does not stop the others; raises BuildError with all
    messages when every build has ended. An interrupt ends the builds that run and passes on.
    """
    builder = BuildProcess()
    interrupted = Event()

    def tell(state: Progress) -> None:
        if interrupted.is_set():
            raise BuildError("was interrupted")
        progress(state)

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        builds = [pool.submit(store.ensure, model, build=builder, progress=tell) for model in models]
        try:
            while wait(builds, timeout=_GLANCE).not_done:
                pass
        except BaseException:
            interrupted.set()
            pool.shutdown(wait=False, cancel_futures=True)
            builder.cancel()
            raise
    failures = [error for build in builds if (error := build.exception()) is not None]
    for failure in failures:
        if not isinstance(failure, PlimsollError):
            raise failure
    if failures:
        raise BuildError("\n".join(dict.fromkeys(map(str, failures))))
    return tuple(build.result() for build in builds)
