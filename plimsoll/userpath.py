"""Reads paths as users write them, with `~`; a text that cannot be a path is one clear error."""

from __future__ import annotations

from pathlib import Path

from plimsoll.errors import PlimsollError

_LONGEST = 200
"""The most characters of a path that a message shows."""


def user_path(text: str | Path) -> Path:
    """A path with `~` and `~user` filled in. Raises PlimsollError where there is no such home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise PlimsollError(
            f"{_short(text)}: nobody here has the home {Path(text).parts[0]}; write the path without ~, or ./~ for a "
            "file of that name"
        ) from None


def is_there(path: Path) -> bool:
    """True where the path exists. Raises PlimsollError where it cannot be examined."""
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PlimsollError(f"{_short(path)}: cannot be looked at: {reason}") from None


def _short(path: str | Path) -> str:
    text = str(path)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
