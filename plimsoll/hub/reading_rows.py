"""Reads the rows of a split from the Hub by the library datasets. Runs in the Hub's own process.

huggingface_hub is asked first, for the commit and for permission: its errors say why something is refused, while
datasets turns most of them into one, and silently takes whatever its cache has. What was prepared once is found again
when the Hub cannot be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

import datasets
from datasets import config as datasets_config
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

from plimsoll.hub.access import Access, Query, Reply
from plimsoll.hub.cache import is_commit
from plimsoll.hub.error_text import in_words
from plimsoll.hub.queries import ASK_THE_CACHE, TIMEOUT, answer_of, unanswered
from plimsoll.hub.retry import with_retries
from plimsoll.hub.rows import RowsQuery
from plimsoll.node.storage import hub_cache

if TYPE_CHECKING:
    from collections.abc import Sequence

Tell = Callable[[str, int, int], None]
"""Called with the phase, the bytes that have arrived, and 0, as the total is unknown."""

_EVERY: Final = 0.5
_BATCH: Final = 500
"""Rows in one message."""
_LISTED: Final = 12

Part = tuple[Access, int, "Sequence[dict[str, Any]]"]
"""The answer, the number of rows in the split, and some of the rows."""


def read_rows(query: RowsQuery, tell: Tell) -> Iterator[Part]:
    """The rows in parts: at least one, which is empty where the answer is no. Raises OSError for the disk."""
    datasets.disable_progress_bars()
    datasets_config.HF_UPDATE_DOWNLOAD_COUNTS = False  # it would contact a server elsewhere, whatever HF_ENDPOINT says
    access = _ask(query)
    split = None
    if access.answer.is_yes:
        access, split = _load(query, access, tell)
    if access.answer in ASK_THE_CACHE:
        access, split = _load_cached(query, access, tell)
    if split is None:
        yield access, 0, ()
        return
    total = len(split)
    wanted = split if query.limit is None else split.select(range(min(query.limit, total)))
    yield access, total, ()
    for batch in wanted.iter(batch_size=_BATCH):
        yield access, total, [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def _ask(query: RowsQuery) -> Access:
    blank = unanswered(Query(repository=query.repository, revision=query.revision), rows=True)
    if blank.offline_by:
        # huggingface_hub, which is asked first, does not know this variable of datasets.
        return replace(blank, answer=Reply.OFFLINE_MODE, detail=f"{blank.offline_by} is set")
    try:
        return replace(blank, answer=Reply.GRANTED, commit=_granted_commit(query))
    except Exception as error:  # noqa: BLE001  whatever an HTTP library raises is an answer of a kind
        return _refused(blank, error)


def _granted_commit(query: RowsQuery) -> str:
    """Raises what huggingface_hub raises where the answer is no, or none."""
    api = HfApi()
    info = with_retries(lambda: api.dataset_info(query.repository, revision=query.revision, timeout=TIMEOUT))
    try:
        with_retries(lambda: api.auth_check(query.repository, repo_type="dataset"))
    except HfHubHTTPError as error:
        # A mirror that has the files but not this query has said yes by having them.
        if isinstance(error, GatedRepoError) or error.response.status_code != 404:
            raise
    if info.sha is None or not is_commit(info.sha):
        raise ValueError(f"no commit is named for {query.repository}")
    return info.sha


def _refused(access: Access, error: Exception, *, of_rows: bool = False) -> Access:
    answer = answer_of(error, logged_in=access.logged_in)
    return replace(access, answer=answer, detail=in_words(error, of_rows=of_rows), commit=None)


def _load(query: RowsQuery, access: Access, tell: Tell) -> tuple[Access, Any]:
    """The split, downloaded and prepared where necessary; where that fails, a refusing answer and None."""
    try:
        # With hf://, because a folder of that name in the working directory would take precedence.
        builder = datasets.load_dataset_builder(
            f"hf://datasets/{query.repository}", query.config, revision=access.commit
        )
        with _told(query.repository, tell):
            builder.download_and_prepare()
        return access, builder.as_dataset(split=query.split)
    except (RuntimeError, FileNotFoundError) as error:
        return _without_rows(access, error), None
    except ValueError as error:
        return _named_wrong(query, access, error), None
    except Exception as error:  # noqa: BLE001  likewise
        return _refused(access, error, of_rows=True), None


def _without_rows(access: Access, error: RuntimeError | FileNotFoundError) -> Access:
    """The answer for a repository without rows, or with a program that would make them; datasets has an exception only
    for the former."""
    if "scripts are no longer supported" in str(error):
        return replace(access, answer=Reply.SCRIPT, detail=in_words(error, of_rows=True), commit=None)
    if type(error).__name__ in (
        "DataFilesNotFoundError",
        "EmptyDatasetError",
    ):  # by name, as releases define it in different modules
        return replace(access, answer=Reply.NO_ROWS, detail=in_words(error, of_rows=True), commit=None)
    return _refused(access, error, of_rows=True)


def _named_wrong(query: RowsQuery, access: Access, error: ValueError) -> Access:
    """The answer for a configuration or split that datasets did not find; its ValueError has many other causes."""
    try:
        repository = f"hf://datasets/{query.repository}"
        configs = datasets.get_dataset_config_names(repository, revision=access.commit)
        if query.config not in configs and (query.config is not None or len(configs) > 1):
            detail = f"{query.config or 'none named'}; there are: {_list(configs)}"
            return replace(access, answer=Reply.NO_CONFIG, detail=detail, commit=None)
        splits = datasets.get_dataset_split_names(repository, query.config, revision=access.commit)
        if query.split not in splits:
            detail = f"{query.split}; there are: {_list(splits)}"
            return replace(access, answer=Reply.NO_SPLIT, detail=detail, commit=None)
    except Exception as other:  # noqa: BLE001  the first error is the one to tell of then
        error.add_note(in_words(other, of_rows=True))
    return replace(access, answer=Reply.FAILED, detail=in_words(error, of_rows=True), commit=None)


def _list(names: Iterable[object]) -> str:
    """Foreign names, on one line and not too many."""
    shown = [repr(str(name))[1:-1] for name in names]
    more = f", and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return ", ".join(shown[:_LISTED]) + more


def _load_cached(query: RowsQuery, refused: Access, tell: Tell) -> tuple[Access, Any]:
    """The split as it was prepared earlier, with its commit; where there is none, the refusal and None. A query for a
    commit gets only that commit; a branch may have moved since, which nobody can check.
    """
    constants.HF_HUB_OFFLINE = datasets_config.HF_HUB_OFFLINE = True
    _, split = _load(query, refused, tell)
    if split is None:
        return refused, None
    commit = Path(split.cache_files[0]["filename"]).parent.name if split.cache_files else ""
    if not is_commit(commit) or (is_commit(query.revision) and commit != query.revision):
        return refused, None
    return replace(refused, answer=Reply.CACHED, commit=commit), split


@contextmanager
def _told(repository: str, tell: Tell) -> Iterator[None]:
    """Report what has arrived by looking at the disk: a stalled download is then silent, and is ended."""
    over = Event()
    owner = repository.split("/", maxsplit=1)[0]

    def look() -> None:
        while not over.wait(_EVERY):
            downloaded = (hub_cache() / f"datasets--{repository.replace('/', '--')}").rglob("*")
            # datasets writes the second half of the name differently.
            prepared = Path(datasets_config.HF_DATASETS_CACHE).glob(f"{owner}___*/**/*")
            tell("fetching", sum(map(_size, (*downloaded, *prepared))), 0)

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # a temporary file that has just been removed
        return 0
