"""Why a model could not be loaded, as an error that crosses the pipe from a host.

Apart from the loader, so that the controller can unpickle it without importing torch.
"""

from __future__ import annotations

from enum import StrEnum

from plimsoll.errors import PlimsollError


class LoadFailure(StrEnum):
    """What kind of fault stopped a load."""

    OPTIONS = "options"
    """The entry asks for something that the loader would ignore or misread."""
    NOT_FOUND = "not_found"
    """No such folder, no such Hub id, or a file that the index lists and the folder lacks."""
    DAMAGED = "damaged"
    """A file is there and cannot be what it should be: truncated, padded, no header, no JSON."""
    PICKLE = "pickle"
    """Only a pickle checkpoint is there, and the entry does not allow one."""
    SHAPE = "shape"
    """A tensor does not have the shape that the configuration asks for."""
    MEMORY = "memory"
    """The memory of the machine or the GPU ran out."""
    TOKENIZER = "tokenizer"
    """The weights may be fine; the tokenizer is not."""
    REFUSED = "refused"
    """Anything else that the software stack refuses, in its own words."""


class NotStreamedError(PlimsollError):
    """The weights of a class cannot be read part by part, and as a whole they do not fit. Texts for a skip."""

    def __init__(self, free: str, needed: str, found: str) -> None:
        # All go to the base class, because pickle rebuilds an exception from its `args`.
        super().__init__(free, needed, found)
        self.free, self.needed, self.found = free, needed, found

    def __str__(self) -> str:
        return f"the weights cannot be read part by part ({self.found}), and as a whole they take {self.needed}"


class LoadFailed(PlimsollError):  # noqa: N818  it reads as what happened, and a report prints it so
    """A failed load. `kind` classifies the fault; the message names the file and the reason."""

    def __init__(self, kind: LoadFailure, message: str) -> None:
        # Both go to the base class, because pickle rebuilds an exception from its `args`.
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message
