"""Fetches the files of a commit by huggingface_hub, and checks them. Runs in the Hub's own process.

Complete files stay: after an interruption only the unfinished files are fetched again, from where they stopped if the
server allows that, else from their start.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from filelock import FileLock, Timeout
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from plimsoll import clock
from plimsoll.errors import PlimsollError
from plimsoll.hub.access import Access, Snapshot
from plimsoll.hub.cache import lacking, remember_commit, snapshot_folder
from plimsoll.hub.checking import check, discard
from plimsoll.hub.error_text import in_words, is_of_the_network
from plimsoll.hub.files import has_weights
from plimsoll.hub.retry import PASSING
from plimsoll.node.storage import hub_cache

Tell = Callable[[str, int, int], None]
"""Called with the phase (`fetching` or `checking`), the bytes done and the total."""

Waiting = Callable[[Path], None]
"""Called once with the file of a lock that another process holds."""

_EVERY: Final = 0.5
"""Seconds between two looks at the disk."""
_ATTEMPTS: Final = 4
"""Consecutive attempts without a new file; huggingface_hub retries within each."""


class FetchError(PlimsollError):
    """The files of a repository could not be fetched whole."""


def fetch(access: Access, notes: Path, tell: Tell, waiting: Waiting) -> Snapshot:
    """Bring the files that an answer names to this disk, except those that are there. `notes` remembers the sound
    files; `waiting` is called where another process is fetching. Raises FetchError and OSError.
    """
    query, commit = access.query, access.commit
    if commit is None:
        raise ValueError(f"{access.repository} was not granted, so there is no commit to fetch")
    if not has_weights(file.path for file in access.files):
        raise FetchError("it holds no weights in safetensors, and pickles are refused")
    folder = snapshot_folder(access.repository, commit)
    began = clock.monotonic()
    downloaded = 0
    if access.missing:
        # One process downloads while others wait and show its progress: they then find everything there.
        with _told(access, folder, tell), _only_one(access.repository, waiting):
            downloaded = access.size - _whole(access, folder)
            _download(access, commit, folder)
        remember_commit(access.repository, query.revision, commit)
    fetched = clock.monotonic()
    if (absent := lacking(folder, allow_pickle=query.allow_pickle)) is not None:
        raise FetchError(f"it has no {absent}, which a load needs")
    hashed, unknown = _check(access, folder, notes, tell)
    return Snapshot(
        folder=str(folder),
        repository=access.repository,
        revision=query.revision,
        commit=commit,
        bytes=access.size,
        downloaded=downloaded,
        seconds=fetched - began,
        checked=hashed,
        check_seconds=clock.monotonic() - fetched,
        unchecked=unknown,
    )


@contextmanager
def _only_one(repository: str, waiting: Waiting) -> Iterator[None]:
    folder = hub_cache() / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"plimsoll-{repository.replace('/', '--')}.lock")
    try:
        lock.acquire(timeout=_EVERY)
    except Timeout:
        # On a file system without flock the file itself is the lock, and remains when a run is killed.
        waiting(Path(lock.lock_file))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(access: Access, commit: str, folder: Path) -> None:
    in_vain = 0
    while absent := [file.path for file in access.files if not (folder / file.path).exists()]:
        try:
            snapshot_download(
                access.repository,
                revision=commit,
                cache_dir=hub_cache(),
                allow_patterns=[glob.escape(path) for path in absent],
            )
            error: Exception = FetchError(f"{absent[0]} did not arrive, and nothing says why")
        except Exception as caught:
            if not _may_pass(caught):
                raise FetchError(f"could not be fetched: {in_words(caught)}") from caught
            error = caught
        still = sum(not (folder / path).exists() for path in absent)
        in_vain = in_vain + 1 if still == len(absent) else 0
        if in_vain == _ATTEMPTS:
            raise FetchError(
                f"could not be fetched: {still} files are missing after {_ATTEMPTS} attempts, "
                f"such as {absent[0]}; the last error: {in_words(error)}; what has arrived is kept, so run again"
            ) from error
        if still:
            clock.sleep(2.0**in_vain)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING
    # Both mean a network error: no answer to the request for a file, or a body shorter than announced.
    cut = isinstance(error, LocalEntryNotFoundError) or "Consistency check failed" in str(error)
    return cut or is_of_the_network(error)


@contextmanager
def _told(access: Access, folder: Path, tell: Tell) -> Iterator[None]:
    """Report what has arrived by looking at the disk, where the bytes land whatever way they take."""
    over = Event()

    def look() -> None:
        while not over.wait(_EVERY):
            tell("fetching", _arrived(access, folder), access.size)

    tell("fetching", access.present, access.size)
    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _arrived(access: Access, folder: Path) -> int:
    partial = 0
    for path in (folder.parents[1] / "blobs").glob("*.incomplete"):
        try:
            status = path.stat()
        except OSError:  # the partial file has just become the whole one
            continue
        partial += min(status.st_size, status.st_blocks * 512)  # a file may be sized before it is filled
    return min(access.size, _whole(access, folder) + partial)


def _whole(access: Access, folder: Path) -> int:
    return sum(file.size for file in access.files if (folder / file.path).exists())


def _check(access: Access, folder: Path, notes: Path, tell: Tell) -> tuple[int, tuple[str, ...]]:
    done, lock = 0, Lock()

    def count(new: int) -> None:
        nonlocal done
        with lock:
            done += new
            tell("checking", done, access.size)

    checked = check(folder, access.files, notes, count)
    if checked.faults:
        for path in checked.faults:
            discard(folder, path)
        words = "\n".join(f"  {path}: {fault}" for path, fault in checked.faults.items())
        raise FetchError(
            f"damaged on the way or on the disk; removed from {access.cache}, so the next run fetches it anew:\n{words}"
        )
    return len(checked.hashed), checked.unknown
