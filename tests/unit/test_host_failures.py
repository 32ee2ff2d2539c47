"""Hosts that die, hang or talk nonsense: what is told of them, and that the next one works."""

from __future__ import annotations

import socket

import pytest

from plimsoll.host.channel import GarbledMessageError, Inbox, pack, receive, unpack
from plimsoll.host.client.exchange import DeadlineMissedError, Exchange
from plimsoll.host.client.leash import Exit, Leash

DEADLINE = 60.0


def test_half_a_reply_that_never_ends_is_a_missed_deadline() -> None:
    ours, theirs = socket.socketpair()
    line, other_end = socket.socketpair()
    with ours, theirs, other_end:
        leash = Leash(line)
        ours.setblocking(False)
        theirs.sendall(pack("a reply")[:-1])
        with pytest.raises(DeadlineMissedError):
            Exchange(ours, leash, b"").run(0.2, lambda _seconds: None)
        leash.close()


def test_a_reply_and_the_end_at_once_is_a_reply() -> None:
    ours, theirs = socket.socketpair()
    line, other_end = socket.socketpair()
    with ours, theirs, other_end:
        leash = Leash(line)
        ours.setblocking(False)
        theirs.sendall(pack("the last word"))
        theirs.close()
        other_end.sendall(b'{"exit": 0}\n')
        other_end.close()
        assert unpack(Exchange(ours, leash, b"").run(DEADLINE, lambda _seconds: None)) == "the last word"
        leash.close()


def test_a_pickle_that_cannot_be_read_is_garbled() -> None:
    with pytest.raises(GarbledMessageError, match="its reply cannot be read: UnpicklingError"):
        unpack(b"no pickle")


def test_a_controller_that_is_killed_with_a_reply_unread_has_closed() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(pack("a reply"))
        theirs.close()
        with pytest.raises(EOFError):
            receive(ours, Inbox())


def test_messages_are_taken_whole() -> None:
    inbox = Inbox()
    stream = pack([1]) + pack("two")
    taken = []
    for byte in stream:
        inbox.feed(bytes([byte]))
        if (body := inbox.take()) is not None:
            taken.append(unpack(body))
    assert taken == [[1], "two"]


@pytest.mark.parametrize(
    ("code", "expected"), [(0, Exit(code=0)), (-9, Exit(signal="SIGKILL")), (-64, Exit(signal="SIGRTMAX"))]
)
def test_exit_codes_name_the_signal(code: int, expected: Exit) -> None:
    assert Exit.of(code) == expected
