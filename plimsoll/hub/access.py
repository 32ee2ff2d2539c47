"""Queries to the Hub about a repository, and their answers, as plain values that cross a pipe and go to evidence.

An answer is a fact, not a decision: the gate decides whether a variant may run, and it knows more than the Hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class Reply(StrEnum):
    """The Hub's answer to a query, or why there is none."""

    GRANTED = "granted"
    CACHED = "cached"
    """The Hub could not be asked, or need not be: a whole snapshot is in the local cache."""
    NO_TOKEN = "no_token"  # noqa: S105  the name of an answer
    TOKEN_REFUSED = "token_refused"  # noqa: S105  likewise
    TOKEN_TOO_NARROW = "token_too_narrow"  # noqa: S105  likewise
    NOT_ACCEPTED = "not_accepted"
    PENDING = "pending"
    REJECTED = "rejected"
    NOT_FOUND = "not_found"
    NO_REVISION = "no_revision"
    UNUSABLE = "unusable"
    """It may be read, but holds nothing that transformers can load: `Access.unusable` says what it holds instead."""
    NO_CONFIG = "no_config"
    """For a dataset, like the next three."""
    NO_SPLIT = "no_split"
    SCRIPT = "script"
    """The rows would be made by a program that the repository holds, which the library datasets does not run."""
    NO_ROWS = "no_rows"
    """The repository holds no files of rows."""
    OFFLINE_MODE = "offline_mode"
    UNREACHABLE = "unreachable"
    PROXY = "proxy"
    """The proxy in the environment cannot be used."""
    CERTIFICATE = "certificate"
    """The certificate of the answering server is not trusted here: mostly that of a proxy that inspects connections."""
    RATE_LIMITED = "rate_limited"
    FAILED = "failed"
    """The Hub, or a server in its place, answered with an error or with something that is not a Hub's answer."""

    @property
    def is_yes(self) -> bool:
        """True where the files are on this disk or may be fetched."""
        return self in (Reply.GRANTED, Reply.CACHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query whether a repository may be read, and for its files. `revision` None is the Hub's default branch."""

    repository: str
    revision: str | None = None
    remote_code: bool = False
    """Include the Python files, which are fetched only for an entry with `trust_remote_code`."""
    allow_pickle: bool = False
    """Accept pickled weights, where there are no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a repository that a load needs; `size` in bytes."""

    path: str
    size: int
    digest: str | None
    """The hash that its content must have: SHA-256 (64 digits) or git's blob id (40); None where it is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The answer to a query. `commit` and `files` are known where `answer.is_yes`; sizes in bytes."""

    query: Query
    answer: Reply
    endpoint: str
    """The Hub that was asked, `https://huggingface.co` unless HF_ENDPOINT says otherwise."""
    cache: str
    """The folder for fetched files."""
    free: int
    """Free space there."""
    detail: str = ""
    """The message of the Hub or the network, without secrets."""
    logged_in: bool = False
    """A token was sent with the queries."""
    token_ignored: bool = False
    """HUGGINGFACE_HUB_TOKEN is set and no token is in use: old guides give that name, but nothing reads it."""
    offline_by: str = ""
    """The variable that forbids asking the Hub, if any."""
    cache_ignored: str = ""
    """A variable that names a cache but is no longer read."""
    unwritable: str = ""
    """Why the cache cannot be written, where it has to be."""
    unusable: str = ""
    """Why a repository is unusable, where the answer is UNUSABLE; `detail` names a file that shows it."""
    commit: str | None = None
    files: tuple[HubFile, ...] = ()
    present: int = 0
    """Bytes of `files` that are in the cache already."""
    promised: int = 0
    """The part of `free` that earlier models of the same run will take."""

    @property
    def repository(self) -> str:
        """The id of the repository."""
        return self.query.repository

    @property
    def size(self) -> int:
        """Bytes of all files that are needed."""
        return sum(file.size for file in self.files)

    @property
    def missing(self) -> int:
        """Bytes that are still to be fetched."""
        return max(0, self.size - self.present)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read back what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            **{
                **data,
                "query": Query(**data["query"]),
                "answer": Reply(data["answer"]),
                "files": tuple(HubFile(**file) for file in data["files"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The files of a commit on this disk, whole and checked; sizes in bytes, times in seconds."""

    folder: str
    repository: str
    revision: str | None
    """As the entry gives it; None is the Hub's default branch."""
    commit: str
    bytes: int
    downloaded: int
    seconds: float
    """Time for fetching, without checking."""
    checked: int
    """Files whose content was hashed now; the others were hashed before and have not changed since."""
    check_seconds: float
    unchecked: tuple[str, ...] = ()
    """Files whose hash is unknown."""

    @property
    def from_cache(self) -> bool:
        """True where nothing had to be fetched."""
        return self.downloaded == 0
