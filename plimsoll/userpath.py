"""Reads paths as users write them, with `~`; a text that cannot be a path is one clear error."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from plimsoll.errors import PlimsollError, reason_of

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


def path_from(base: Path, text: str | Path) -> Path:
    """A path as it stands on a command line that was typed in the folder `base`: shells leave a `~` behind an equals
    sign to the program. Raises PlimsollError where there is no such home."""
    return base / user_path(text)


def path_for_others(text: str | Path) -> Path:
    """A path that another program reads as well, such as huggingface_hub its HF_HOME: variables and `~` are filled in
    as they do it, who leave `~` as it is where there is no such home."""
    path = Path(os.path.expandvars(text))
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def home_folder(instead: str) -> Path:
    """The home of who runs this. Raises PlimsollError where there is none, as in a container that gives a process a
    number of a user that it does not know; `instead` is the variable to set."""
    try:
        return Path.home()
    except RuntimeError:
        raise PlimsollError(
            f"user {os.getuid()} has no home folder here: HOME is not set, and the system does not know that user; "
            f"set {instead} to a folder that can be written, or HOME"
        ) from None


def resolved(path: Path) -> Path:
    """The whole path, its links followed. One that a loop of links leads to stays as it is, and whoever opens it hears
    of the loop: `Path.resolve` raises RuntimeError there."""
    return Path(os.path.realpath(path))


def is_there(path: Path) -> bool:
    """True where the path exists. Raises PlimsollError where it cannot be examined."""
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        raise PlimsollError(f"{_short(path)}: cannot be looked at: {reason_of(error)}") from None


def _short(path: str | Path) -> str:
    text = str(path)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def is_no_file(path: Path) -> bool:
    """True for a device, a pipe or an open stream such as /dev/stdout: who puts a new file in its place, as one does to
    write it in one step, takes it away from everybody."""
    try:
        kind = path.stat().st_mode
        through = path.is_symlink() and str(path.readlink()).startswith("/proc/")
    except OSError:
        return False
    return through or not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))
