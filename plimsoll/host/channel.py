"""Sends messages between the controller and a host, which arrive whole or not at all.

A reply may be megabytes long, may stop half-way because the host was killed or stopped, and may be spoiled by a
library that writes to a wrong descriptor. So the controller collects bytes as they come and asks whether they make a
message, instead of handing its socket to a call that blocks until they do.
"""

from __future__ import annotations

import io
import pickle
import socket
import struct
from typing import Any, Final

_MAGIC: Final = b"PLMS"
_HEADER: Final = struct.Struct("!4sQ")
CHUNK: Final = 1 << 18
"""Bytes that are read or written at once."""

_FOREIGN: Final = frozenset({"accelerate", "bitsandbytes", "torch", "transformers"})


class GarbledMessageError(Exception):
    """What arrived is not a message."""


class ForeignReplyError(Exception):
    """A reply holds an object that the controller could only read by importing the model stack."""


def pack(value: object) -> bytes:
    """The message that carries `value`. Raises what pickle raises for a value that it cannot take."""
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return _HEADER.pack(_MAGIC, len(body)) + body


def unpack(body: bytes) -> Any:
    """The value of a message, read in the controller.

    Raises ForeignReplyError for objects of the model stack, GarbledMessageError for bytes that pickle cannot read.
    """
    try:
        return _ControllerUnpickler(io.BytesIO(body)).load()
    except ForeignReplyError:
        raise
    except Exception as error:
        # Unpickling runs the constructors of whatever arrived: any exception may come out of it.
        raise GarbledMessageError(f"its reply cannot be read: {type(error).__name__}: {error}") from error


class _ControllerUnpickler(pickle.Unpickler):
    """Keeps torch out of the controller, which a tensor in a reply would import."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] in _FOREIGN:
            raise ForeignReplyError(
                f"the reply holds a {module}.{name}, which the controller cannot read without importing "
                f"{module.partition('.')[0]}; reduce it to numbers, texts and tuples inside the host"
            )
        return super().find_class(module, name)


class Inbox:
    """Bytes on their way to being a message."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what was read."""
        self._bytes += data

    def take(self) -> bytes | None:
        """The body of the next message, or None while it is incomplete. Raises GarbledMessageError."""
        start = bytes(self._bytes[: len(_MAGIC)])
        if not _MAGIC.startswith(start):
            raise GarbledMessageError(f"it sent bytes that are no reply, beginning with {bytes(self._bytes[:32])!r}")
        if len(self._bytes) < _HEADER.size:
            return None
        _, length = _HEADER.unpack_from(self._bytes)
        if len(self._bytes) < _HEADER.size + length:
            return None
        body = bytes(memoryview(self._bytes)[_HEADER.size : _HEADER.size + length])
        del self._bytes[: _HEADER.size + length]
        return body


def receive(connection: socket.socket, inbox: Inbox) -> Any:
    """The host's side: wait for the next message and read it. Raises EOFError when the controller has closed, or was
    killed with a reply unread, which the system tells as a reset."""
    while (body := inbox.take()) is None:
        try:
            data = connection.recv(CHUNK)
        except ConnectionResetError:
            raise EOFError from None
        if not data:
            raise EOFError
        inbox.feed(data)
    return pickle.loads(body)  # noqa: S301  written by our own controller, over a socket pair nobody else holds
