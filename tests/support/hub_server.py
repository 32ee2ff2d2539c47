"""A Hub on the loopback interface that the real huggingface_hub client speaks to, and that can misbehave.

It answers the requests that asking and downloading make (a repository's description, auth-check, the tree, files with
ranges), with the headers and error codes of the real one. Its repositories are folders, those of datasets under ids
that begin with `datasets/`; what a repository does wrong is part of its entry.

One Hub after the other of a process has one address: hosts of tests that differ in it come from a fork server each.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

# What the real Hub says, by which its refusals are told apart.
LOG_IN = "Access to model {id} is restricted. You must have access to it and be authenticated to access it."
NOT_ACCEPTED = "Access to model {id} is restricted and you are not in the authorized list."
PENDING = "Your request to access model {id} is awaiting a review from the repo authors."
REJECTED = "Your request to access model {id} has been rejected by the repo's authors."
TOO_NARROW = "Please enable access to public gated repositories in your fine-grained token settings."
BAD_TOKEN = "Invalid credentials in Authorization header"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no: a status, and what the Hub puts beside it. `times` None means always."""

    status: int
    code: str | None = None
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int | None = None


@dataclass(slots=True, kw_only=True)
class Repository:
    """A folder as a repository, and what is wrong with it."""

    folder: Path
    commit: str = "c0ffee" + "0" * 34
    refuses: Refusal | None = None
    """Given to every request."""
    gate: Refusal | None = None
    """Given to auth-check and to files, but not to the description, which the Hub shows to anybody."""
    cuts: dict[str, str] = field(default_factory=dict)
    """Files whose first download ends half-way: `closed` (an early end) or `reset`."""
    corrupt: frozenset[str] = frozenset()
    """Files whose content is changed on its way; the size is right."""
    stalls: frozenset[str] = frozenset()
    """Files whose download stops half-way and never goes on."""
    mute: bool = False
    """No request is answered at all."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """The metadata of its card."""
    whole_alone: bool = False
    """Files are sent whole, whatever part is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    range: str | None
    authorization: str | None
    agent: str


class HubServer(ThreadingHTTPServer):
    """Serves repositories by id and remembers requests."""

    daemon_threads = True
    block_on_close = False
    _last_port = 0

    def __init__(self, repositories: Mapping[str, Repository]) -> None:
        self._connections: set[Any] = set()
        try:
            super().__init__(("127.0.0.1", HubServer._last_port), _Handler)
        except OSError:  # another Hub of this process runs, or somebody else has taken it
            super().__init__(("127.0.0.1", 0), _Handler)
        HubServer._last_port = self.server_address[1]
        self.repositories = dict(repositories)
        self.requests: list[Request] = []
        self.refused: dict[str, int] = {}
        self.served: dict[str, int] = {}
        """Bytes of each file that left, by its name."""
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT must be."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection for as long as it is served."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget it."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End all connections: a client that keeps one must not hear this Hub where the next one has the address."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is part of the tests."""

    def asked(self, agent: str = "") -> list[str]:
        """What was asked for of repositories, by clients whose name holds `agent`."""
        # The client has errands of its own at the Hub, which depend on where it runs.
        wanted = re.compile(r"/api/(models|datasets)/|.*/resolve/")
        return [r.path for r in self.requests if agent in r.agent and wanted.match(r.path)]


@contextmanager
def serving(repositories: Mapping[str, Repository]) -> Iterator[HubServer]:
    """A server that runs while the block does."""
    with HubServer(repositories) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
            server.hang_up()


def git_blob_id(content: bytes) -> str:
    """git's id of a file, by which the Hub names small ones."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _is_large(path: Path) -> bool:
    """Stored with LFS, and so named by its SHA-256."""
    return path.suffix in {".safetensors", ".bin", ".parquet"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer
    posted: Mapping[str, list[str]] = {}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class calls it so
        """Nothing: the requests are remembered."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.posted = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(
            Request(
                method=self.command,
                path=path,
                range=self.headers.get("Range"),
                authorization=self.headers.get("Authorization"),
                agent=self.headers.get("User-Agent", ""),
            )
        )
        api = re.fullmatch(
            r"/api/(?:models/)?((?:datasets/)?[^/]+/[^/]+)(?:/(revision|tree|paths-info|auth-check)(?:/([^/]+)(?:/(.+))?)?)?",
            path,
        )
        file = re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        match = api or file
        if path == "/api/models":
            self._json(self._search(parse_qs(urlsplit(self.path).query)))
            return
        name = match[1] if match else ""
        repository = self.server.repositories.get(name)
        if match is None or repository is None:
            self._refuse(name, Refusal(404, "RepoNotFound", "Repository not found"))
            return
        if repository.mute:
            self.server.closing.wait()
            self.close_connection = True
            return
        gated = file is not None or match[2] == "auth-check"
        if self._refused(name, repository.refuses) or (gated and self._refused(name, repository.gate)):
            return
        revision = match[2] if file else match[3]
        if revision not in (None, "main", repository.commit):
            self._refuse(name, Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}"))
        elif file:
            self._file(repository, file[3])
        elif match[2] == "auth-check":
            self._send(200, {}, b"OK")
        else:
            self._json(self._described(name, repository, match[2], match[4]))

    def _search(self, query: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        """The repositories whose names have a word that is looked for."""
        words = " ".join(query.get("search", [])).lower().split()
        names = (name for name in self.server.repositories if any(word in name.lower() for word in words))
        return [{"_id": "0", "id": name, "modelId": name} for name in names]

    def _described(self, name: str, repository: Repository, how: str | None, below: str | None) -> Any:
        if how == "paths-info":
            return [entry for entry in _tree(repository) if entry["path"] in self.posted["paths"]]
        if how == "tree":
            deep = parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower() == "true"
            return [entry for entry in _tree(repository) if _is_below(entry["path"], below, deep=deep)]
        return _description(name, repository)

    def _refused(self, name: str, refusal: Refusal | None) -> bool:
        if refusal is None:
            return False
        with self.server.lock:
            count = self.server.refused.get(name, 0)
            if refusal.times is not None and count >= refusal.times:
                return False
            self.server.refused[name] = count + 1
        self._refuse(name, refusal)
        return True

    def _refuse(self, name: str, refusal: Refusal) -> None:
        message = refusal.message.format(id=name, hub=self.server.endpoint)
        headers = dict(refusal.headers)
        if refusal.code:
            headers["X-Error-Code"] = refusal.code
        if message:
            headers["X-Error-Message"] = message
        self._send(refusal.status, headers, json.dumps({"error": message}).encode(), "application/json")

    def _json(self, data: Any) -> None:
        self._send(200, {}, json.dumps(data).encode(), "application/json")

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _file(self, repository: Repository, name: str) -> None:
        path = repository.folder / name
        if not path.is_file():
            self._refuse(name, Refusal(404, "EntryNotFound", "Entry not found"))
            return
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest() if _is_large(path) else git_blob_id(content)
        headers = {
            "ETag": f'"{digest}"',
            "X-Repo-Commit": repository.commit,
            "X-Linked-Size": str(len(content)),
            "X-Linked-ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
        }
        if name in repository.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        part = asked is not None and not repository.whole_alone
        start = int(asked[1]) if asked and part else 0
        end = min(int(asked[2]) + 1, len(content)) if asked and part and asked[2] else len(content)
        if part:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        body = content[start:end]
        if self.command == "GET" and self._misbehaves(repository, name, headers, body):
            return
        if self.command == "GET":
            with self.server.lock:
                self.server.served[name] = self.server.served.get(name, 0) + len(body)
        self._send(206 if part else 200, headers, body, "application/octet-stream")

    def _misbehaves(self, repository: Repository, name: str, headers: Mapping[str, str], body: bytes) -> bool:
        """Send half of the body and then do what the repository does; True where it did."""
        with self.server.lock:
            how = repository.cuts.pop(name, None)
        if how is None and name not in repository.stalls:
            return False
        self.send_response(200)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if how is None:
            self.server.closing.wait()
        if how == "reset":
            # No time to linger: closing the socket then sends a reset in place of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True
        return True


def _entries(repository: Repository) -> Iterator[tuple[str, bytes, dict[str, Any] | None]]:
    for path in sorted(repository.folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            lfs = {"size": len(content), "pointerSize": 135} if _is_large(path) else None
            yield path.relative_to(repository.folder).as_posix(), content, lfs


def _description(name: str, repository: Repository) -> dict[str, Any]:
    siblings = [
        {
            "rfilename": path,
            "size": len(content),
            "blobId": git_blob_id(content),
            **({"lfs": {**lfs, "sha256": hashlib.sha256(content).hexdigest()}} if lfs else {}),
        }
        for path, content, lfs in _entries(repository)
    ]
    told: dict[str, Any] = {"cardData": dict(repository.card), "gated": "manual" if repository.gate else False}
    return {"_id": "0", "id": name, "modelId": name, "sha": repository.commit, "tags": [], "siblings": siblings, **told}


def _is_below(path: str, folder: str | None, *, deep: bool) -> bool:
    rest = path if folder is None else path.removeprefix(f"{folder}/")
    return (folder is None or rest != path) and (deep or "/" not in rest)


def _tree(repository: Repository) -> list[dict[str, Any]]:
    below = (path for path in repository.folder.rglob("*") if path.is_dir())
    return [
        {"type": "directory", "path": path.relative_to(repository.folder).as_posix(), "oid": "0" * 40, "size": 0}
        for path in below
    ] + [
        {
            "type": "file",
            "path": path,
            "size": len(content),
            "oid": git_blob_id(content),
            **({"lfs": {**lfs, "oid": hashlib.sha256(content).hexdigest()}} if lfs else {}),
        }
        for path, content, lfs in _entries(repository)
    ]
