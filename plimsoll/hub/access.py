"""What is asked about a repository of the Hub, and what came of it: plain values that cross a pipe and go to evidence.

An answer is a fact, not a decision: whether a variant may run is the gate's to say, and it knows more than the Hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class Reply(StrEnum):
    """What the Hub said to the query for a repository, or what kept it from saying anything."""

    GRANTED = "granted"
    CACHED = "cached"
    """Nobody could be asked, or had to be: a whole snapshot lies in the local cache."""
    NO_TOKEN = "no_token"  # noqa: S105  the name of an answer
    TOKEN_REFUSED = "token_refused"  # noqa: S105  likewise
    TOKEN_TOO_NARROW = "token_too_narrow"  # noqa: S105  likewise
    NOT_ACCEPTED = "not_accepted"
    PENDING = "pending"
    REJECTED = "rejected"
    NOT_FOUND = "not_found"
    NO_REVISION = "no_revision"
    UNUSABLE = "unusable"
    """It may be read, and holds nothing that transformers could load: `Access.unusable` says what instead."""
    NO_CONFIG = "no_config"
    """Of a dataset, as the next three."""
    NO_SPLIT = "no_split"
    SCRIPT = "script"
    """The rows would be made by a program that the repository holds, which the library datasets does not run."""
    NO_ROWS = "no_rows"
    """The repository holds no files of rows."""
    OFFLINE_MODE = "offline_mode"
    UNREACHABLE = "unreachable"
    PROXY = "proxy"
    """The proxy that the environment names cannot be used."""
    CERTIFICATE = "certificate"
    """Whoever answers shows a certificate that nobody here vouches for: mostly a proxy that opens connections."""
    RATE_LIMITED = "rate_limited"
    FAILED = "failed"
    """The Hub, or something in its place, answered with an error or with what no Hub would say."""

    @property
    def is_yes(self) -> bool:
        """True where the files are here or may be fetched."""
        return self in (Reply.GRANTED, Reply.CACHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """May this repository be read at this revision, and what is in it? None is the Hub's default branch."""

    repository: str
    revision: str | None = None
    remote_code: bool = False
    """Also the Python files, which are fetched for an entry with `trust_remote_code` alone."""
    allow_pickle: bool = False
    """Pickled weights, where there are no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a repository that a load needs; `size` in bytes."""

    path: str
    size: int
    digest: str | None
    """What its content must hash to: SHA-256 (64 digits) or git's blob id (40); None where nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The answer to a query. `commit` and `files` are known where `answer.is_yes`; sizes in bytes."""

    query: Query
    answer: Reply
    endpoint: str
    """The Hub that was asked, `https://huggingface.co` unless HF_ENDPOINT says otherwise."""
    cache: str
    """The folder that keeps what is fetched."""
    free: int
    """Free space there."""
    detail: str = ""
    """What the Hub or the network said, in its own words, without secrets."""
    logged_in: bool = False
    """A token was sent with the queries."""
    token_ignored: bool = False
    """HUGGINGFACE_HUB_TOKEN is set and no token is in use: a name that old guides prescribe and nothing reads."""
    offline_by: str = ""
    """The variable that forbids to ask, where one does."""
    cache_ignored: str = ""
    """A variable that names a cache and that nothing reads any more."""
    unwritable: str = ""
    """Why nothing can be written to the cache, where something has to be."""
    unusable: str = ""
    """Which kind of unusable a repository is, where the answer is UNUSABLE; `detail` names a file that shows it."""
    commit: str | None = None
    files: tuple[HubFile, ...] = ()
    present: int = 0
    """Bytes of `files` that are in the cache already."""
    promised: int = 0
    """Of `free`, what models before this one in the same run will take."""

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
        """Bytes that have yet to be fetched."""
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
    """As the entry has it; None is the Hub's default branch."""
    commit: str
    bytes: int
    downloaded: int
    seconds: float
    """That fetching took; checking is not in it."""
    checked: int
    """Files whose content was hashed now; the others were hashed before and have not been touched since."""
    check_seconds: float
    unchecked: tuple[str, ...] = ()
    """Files for which nobody says what their content must hash to."""

    @property
    def from_cache(self) -> bool:
        """True where nothing had to be fetched."""
        return self.downloaded == 0
