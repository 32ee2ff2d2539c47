"""Failures between the controller and a host, as values that print well and go to evidence.

There are three kinds, because they need different next steps: the request raised inside the host, which
stays usable (`HostError`); the host died (`HostDied`); the host did not answer in time and was ended
(`HostTimeout`). That no host can be started at all is a fault of the installation, which the user can mend
(`HostStartError`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plimsoll.errors import PlimsollError
from plimsoll.symptoms.recognise import Seen, recognise
from plimsoll.units import format_seconds


class HostStartError(PlimsollError):
    """A host cannot be started: its log cannot be written, or the system refuses a process."""


class StackImportError(HostStartError):
    """No host can be started: what hosts run on cannot be imported. Trying again would only take time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An exception that a request raised inside a host, in words: to read the exception itself may need torch."""

    kind: str
    """The exception's class with its module, `torch.OutOfMemoryError`; a builtin without (`ValueError`)."""
    message: str
    traceback: str
    mistake: PlimsollError | None = None
    """The error itself where it is a user's mistake: its message says it all, and the traceback is noise."""


@dataclass(kw_only=True, eq=False)
class HostFailure(Exception):  # noqa: N818  a failure is what it is, in the words of the design
    """A request that brought no answer. `str()` suits a failing test, `fields()` the evidence."""

    host: str
    """The host's name: a variant's id or a purpose."""
    request: str
    """The kind of the request, `Load`; `idle` where none was under way."""
    seconds: float
    """From the request to the failure; where none was under way, from the start of the host until it was noticed."""
    log: Path

    def fields(self) -> dict[str, object]:
        """Plain data, as the HOST event names it."""
        return {"request": self.request, "seconds": round(self.seconds, 3), "log": str(self.log)}

    def seen(self) -> Seen:
        """What the table of symptoms is asked about it."""
        return Seen(text=str(self))


@dataclass(kw_only=True, eq=False)
class HostError(HostFailure):
    """The request raised inside the host, which stays usable. A user's mistake is its `__cause__`."""

    raised: Raised

    def __str__(self) -> str:
        raised = self.raised
        if raised.mistake is not None:
            return str(raised.mistake)
        return f"{self.request} raised {raised.kind} in the host of {self.host}: {raised.message}\n{raised.traceback}"

    def fields(self) -> dict[str, object]:
        """Plain data, as the HOST event names it."""
        return HostFailure.fields(self) | {"error": f"{self.raised.kind}: {self.raised.message}"}

    def seen(self) -> Seen:
        """What the table of symptoms is asked about it."""
        return Seen(text=str(self), exceptions=(self.raised.kind,))


@dataclass(kw_only=True, eq=False)
class HostDied(HostFailure):
    """The host is gone: by a signal, by its own exit, or because what it sent was no reply and it was ended."""

    reason: str
    """What was seen first, where the exit status does not say it all; may be empty."""
    exitcode: int | None
    """Its exit status; None where a signal ended it, or where it is unknown."""
    signal: str | None
    """The signal that ended it, `SIGSEGV`."""
    stack: str | None
    """The stacks that a fatal signal left in the log."""
    last_lines: tuple[str, ...]

    def __str__(self) -> str:
        doing = "between requests" if self.request == "idle" else f"{format_seconds(self.seconds)} into {self.request}"
        return "\n".join(
            (
                f"the host of {self.host} died {doing}: {self._cause()}",
                *_section("stack", self.stack.splitlines() if self.stack else ()),
                *_section(f"last lines of {self.log}", self.last_lines),
            )
        )

    def _cause(self) -> str:
        if self.signal is not None:
            # Where there is a reason, the suite itself sent it.
            hint = "" if self.reason else _hint(self.signal)
            how = f"{'ended' if self.reason else 'killed'} by {self.signal}" + (f" ({hint})" if hint else "")
        elif self.exitcode is not None:
            how = f"exit code {self.exitcode}"
        else:
            how = "exit status unknown"
        return f"{self.reason}; {how}" if self.reason else how

    def fields(self) -> dict[str, object]:
        """Plain data, as the HOST event names it."""
        return HostFailure.fields(self) | {
            "reason": self.reason,
            "exitcode": self.exitcode,
            "signal": self.signal,
            "stack": self.stack,
            "stderr": list(self.last_lines),
        }

    def seen(self) -> Seen:
        """What the table of symptoms is asked about it."""
        return Seen(text=str(self), signal="" if self.reason else self.signal or "")


@dataclass(kw_only=True, eq=False)
class HostTimeout(HostFailure):
    """No answer before the deadline: the stacks were taken, and the host was ended."""

    deadline: float
    """Seconds that the request was given."""
    stack: str | None
    """The stacks of all its threads when the deadline passed; None where it wrote none."""
    ending: str
    """What was found and what it took to end it, in words."""
    exitcode: int | None
    signal: str | None
    last_lines: tuple[str, ...]
    starved: str | None = None
    """How short of processor time it was, in words; None for a host that had what it wanted."""

    def __str__(self) -> str:
        stack = self.stack.splitlines() if self.stack else ("none: the host did not react to SIGUSR1",)
        return "\n".join(
            (
                f"the host of {self.host} did not answer {self.request} within {format_seconds(self.deadline)}: "
                f"{self.ending}",
                *((self.starved,) if self.starved else ()),
                *_section("its stacks at the deadline", stack),
                *_section(f"last lines of {self.log}", self.last_lines),
            )
        )

    def fields(self) -> dict[str, object]:
        """Plain data, as the HOST event names it."""
        return HostFailure.fields(self) | {
            "reason": "; ".join(filter(None, (self.ending, self.starved))),
            "exitcode": self.exitcode,
            "signal": self.signal,
            "stack": self.stack,
            "stderr": list(self.last_lines),
        }

    def seen(self) -> Seen:
        """What the table of symptoms is asked about it: not the signal, by which the suite itself ended it."""
        return Seen(text=str(self), evidence={"ended": "timeout", "starved": self.starved is not None})


def _hint(signal: str) -> str:
    """Who mostly sends a signal, and where to look; empty for one that the table of symptoms does not know."""
    found = recognise(Seen(signal=signal))
    return f"{found[0].cause}: {found[0].next}" if found else ""


def _section(title: str, lines: Sequence[str]) -> tuple[str, ...]:
    return (f"{title}:", *(f"  {line}" for line in lines)) if lines else ()
