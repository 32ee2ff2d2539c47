"""The cache of tiny checkpoints: damaged ones are built again.

A checkpoint is built in a folder beside its final one, and renamed when every byte is on the disk, so that the final
folder is complete or absent. A lock for each checkpoint lets one process build while others wait, and the system frees
it when its holder dies in any way. The next build removes what a killed one left behind.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from errno import EACCES, ENOSPC, EPERM, EROFS
from pathlib import Path
from threading import Event
from typing import Final, TypeAlias

from filelock import FileLock, Timeout

from plimsoll.catalogue.entries import Model
from plimsoll.clock import monotonic
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.tiny.builder import (
    DEADLINE,
    Builder,
    BuildError,
    BuildPhase,
    BuildProcess,
    BuildProgress,
    ProgressCallback,
)
from plimsoll.tiny.checkpoint import Damage, TinyCheckpoint, TrainingFigures, examine, write_manifest
from plimsoll.tiny.recipe import TrainingJob, recipe_hash, training_job
from plimsoll.units import format_seconds
from plimsoll.userpath import home_folder, user_path

LEAST_ACCURACY: Final = 0.95
"""Fraction of what it was taught that a checkpoint must answer to be kept."""

_HASH_DIGITS: Final = 16
"""Of the recipe's hash, in the name of the folder; the manifest has all of them."""
_FOLDER: Final = re.compile(rf"(?P<model>.+)-[0-9a-f]{{{_HASH_DIGITS}}}")
_LEFTOVER: Final = re.compile(r"\.(?P<name>.+)\.(?:building|damaged)-[0-9]+")
_FULL: Final = 2**20
"""A disk with fewer free bytes is called full when a build has failed on it."""
_POLL: Final = 1.0
"""Seconds between two signs of life while another process builds."""
_LONGEST_WAIT: Final = DEADLINE + 60.0

_Tell: TypeAlias = Callable[[BuildPhase, int, int, str], None]


class StoreError(PlimsollError):
    """The cache folder cannot be used as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlace:
    """The folder of a model's checkpoint in the cache, and its recipe."""

    model: Model
    job: TrainingJob
    recipe_hash: str
    path: Path

    def examine(self) -> TinyCheckpoint | Damage | None:
        """What is there: a sound checkpoint, a damaged one, or nothing."""
        return examine(self.path, self.recipe_hash)


def cache_folder() -> Path:
    """`$PLIMSOLL_CACHE`, else `$XDG_CACHE_HOME/plimsoll`, else `~/.cache/plimsoll`. Raises PlimsollError where there is
    no such home."""
    own, users = os.environ.get("PLIMSOLL_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return user_path(own).absolute()
    # The XDG specification has relative paths ignored.
    known = Path(users) if users and Path(users).is_absolute() else home_folder("PLIMSOLL_CACHE") / ".cache"
    return known / "plimsoll"


def lock_folder(own: Path) -> Path:
    """The folder for locks that all runs share: our cache, which is made where it is missing, or the run's own folder
    where it cannot be made. It is made here because a worker that finds it missing, just before another makes it, would
    lock files that no other uses."""
    shared = cache_folder()
    with suppress(OSError):
        shared.mkdir(parents=True, exist_ok=True)
    return shared if os.access(shared, os.W_OK) else own


class Store:
    """The tiny checkpoints of one cache folder. `corpora` is where corpora are read from; None for the shipped ones."""

    def __init__(self, folder: Path | None = None, corpora: Path | None = None) -> None:
        self.folder = (cache_folder() if folder is None else folder) / "tiny"
        self._corpora = corpora

    def place(self, model: Model) -> CachePlace:
        """Where the model's checkpoint belongs. Raises RecipeError, CatalogueError; touches no file of the cache."""
        job = training_job(model, self._corpora)
        digest = recipe_hash(job)
        path = self.folder / f"{model.id}-{digest[:_HASH_DIGITS]}"
        return CachePlace(model=model, job=job, recipe_hash=digest, path=path)

    def checkpoint_path(self, model: Model) -> Path:
        """The folder of the model's checkpoint, whether it exists or not. Raises RecipeError, CatalogueError."""
        return self.place(model).path

    def ensure(
        self, model: Model, *, build: Builder | None = None, progress: ProgressCallback | None = None
    ) -> TinyCheckpoint:
        """The model's checkpoint, built first where it is missing or damaged.

        `build` defaults to a process of its own. A sound checkpoint needs no write access. Raises StoreError where the
        cache folder is not usable, BuildError where the build failed, RecipeError and CatalogueError.
        """
        place = self.place(model)
        with self._explained():
            found = place.examine()
            if isinstance(found, TinyCheckpoint):
                return found
            tell = _teller(model, progress)
            with self._locked(place.path, tell):
                found = place.examine()
                if isinstance(found, TinyCheckpoint):
                    return found
                if found is not None:
                    tell(BuildPhase.REPLACING, 0, 0, str(found))
                return self._build(place, build or BuildProcess(), tell)

    def paths(self) -> tuple[Path, ...]:
        """The folders of all checkpoints in the cache, of whatever recipe. Raises StoreError."""
        with self._explained():
            if not self.folder.is_dir():
                return ()
            return tuple(sorted(path for path in self.folder.iterdir() if _FOLDER.fullmatch(path.name)))

    def remove(self, path: Path) -> bool:
        """Remove a checkpoint; False where a build holds it now. Raises StoreError."""
        with self._explained(), self._free(path.name) as free:
            if free:
                _discard(path)
            return free

    def sweep(self) -> int:
        """Remove what killed builds have left behind; returns how many folders that were. Raises StoreError."""
        with self._explained():
            return sum(self._sweep(name) for name in {_LEFTOVER.sub(r"\g<name>", p.name) for p in self._leftovers()})

    def _sweep(self, name: str) -> int:
        with self._free(name) as free:
            leftovers = self._leftovers(name) if free else []
            for leftover in leftovers:
                _discard(leftover)
            return len(leftovers)

    def _leftovers(self, name: str | None = None) -> list[Path]:
        """What builds of the checkpoint of that name left, or of any."""
        found = [(path, _LEFTOVER.fullmatch(path.name)) for path in self.folder.glob(".*")]
        return [path for path, match in found if match and name in (None, match["name"])]

    def _build(self, place: CachePlace, build: Builder, tell: _Tell) -> TinyCheckpoint:
        """Build, and put it in its place; the lock is held."""
        for leftover in self._leftovers(place.path.name):
            _discard(leftover)
        folder = self.folder / f".{place.path.name}.building-{os.getpid()}"
        folder.mkdir()
        try:
            figures = build(place.job, folder, lambda phase, done, total: tell(phase, done, total, ""))
            _require_knowledge(figures)
            recipe = {"config": dict(place.model.config), **asdict(place.job.recipe)}
            write_manifest(folder, model=place.model.id, recipe_hash=place.recipe_hash, recipe=recipe, figures=figures)
            _put(folder, place.path)
        except BuildError as error:
            full = shutil.disk_usage(self.folder).free < _FULL
            hint = f"\n  the disk of {self.folder} is full; {_ELSEWHERE}" if full else ""
            raise BuildError(f"the checkpoint of {place.model.id} could not be built: {error}{hint}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        found = place.examine()
        if not isinstance(found, TinyCheckpoint):
            raise StoreError(f"the checkpoint of {place.model.id} does not read back as it was written: {found}")
        return replace(found, built_now=True)

    @contextmanager
    def _locked(self, path: Path, tell: _Tell) -> Iterator[None]:
        """Hold the lock of a checkpoint; tells while another process has it."""
        lock = FileLock(self._lock_path(path.name))
        began = monotonic()
        while True:
            try:
                lock.acquire(timeout=_POLL)
                break
            except Timeout as error:
                if monotonic() - began > _LONGEST_WAIT:
                    waited = format_seconds(_LONGEST_WAIT)
                    raise StoreError(f"another process has held {lock.lock_file} for {waited}; end it") from error
                tell(BuildPhase.WAITING, 0, 0, "another process builds it")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _free(self, name: str) -> Iterator[bool]:
        """Hold the lock of a checkpoint, and say so; False, without waiting, where a build has it."""
        try:
            lock = FileLock(self._lock_path(name), timeout=0).acquire()
        except Timeout:
            yield False
            return
        with lock:
            yield True

    def _lock_path(self, name: str) -> Path:
        folder = self.folder / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.lock"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the file system refuses into one message with a way out."""
        try:
            yield
        except BrokenPipeError:  # of whoever reads our progress, not of the cache
            raise
        except OSError as error:
            if error.errno == ENOSPC:
                what = f"the disk of the cache folder {self.folder} is full"
            elif error.errno in (EACCES, EPERM, EROFS):
                what = f"the cache folder {self.folder} cannot be written to ({reason_of(error)}: {error.filename})"
            else:
                what = f"the cache folder {self.folder} cannot be used ({reason_of(error)}: {error.filename})"
            raise StoreError(f"{what}; {_ELSEWHERE}") from error


_ELSEWHERE: Final = "set PLIMSOLL_CACHE to a folder with room that you may write to"


def model_of(path: Path) -> str:
    """The id of the model that a checkpoint's folder belongs to, read from its name."""
    return _FOLDER.sub(r"\g<model>", path.name)


def _teller(model: Model, progress: ProgressCallback | None) -> _Tell:
    began = monotonic()

    def tell(phase: BuildPhase, done: int, total: int, note: str) -> None:
        if progress is not None:
            seconds = monotonic() - began
            progress(BuildProgress(model=model.id, phase=phase, seconds=seconds, done=done, total=total, note=note))

    return tell


def _require_knowledge(figures: TrainingFigures) -> None:
    if figures.accuracy < LEAST_ACCURACY:
        raise BuildError(
            f"it answers {figures.answered} of the {figures.taught} questions that it was taught, "
            f"and {LEAST_ACCURACY:.0%} are the least; more steps in its recipe may help"
        )


def _put(folder: Path, place: Path) -> None:
    """Rename a finished folder into its place, its bytes on the disk before: a power cut leaves all of it or none."""
    for path in (*folder.iterdir(), folder):
        _flush(path)
    if place.exists():
        damaged = folder.with_name(f".{place.name}.damaged-{os.getpid()}")
        place.rename(damaged)
        folder.rename(place)
        _discard(damaged)
    else:
        folder.rename(place)
    _flush(place.parent)


def _discard(path: Path) -> None:
    """Remove a folder, or what stands in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_GLANCE: Final = 0.5
"""Seconds. A wait without end would not see an interrupt that the system hands to another thread."""


def default_jobs() -> int:
    """As many builds at once as this process may use processors: each of them uses one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ensure_all(
    store: Store, models: Sequence[Model], *, jobs: int, progress: ProgressCallback
) -> tuple[TinyCheckpoint, ...]:
    """The checkpoints of all models, in their order, built where they are missing or damaged.

    `progress` is called from several threads. One failure does not stop the others; raises BuildError with all
    messages when every build has ended. An interrupt ends the builds that run and passes on.
    """
    builder = BuildProcess()
    interrupted = Event()

    def tell(state: BuildProgress) -> None:
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
