"""Has Python look for garbage seldom in commands and sessions of pytest, and never among what a process imports.

Modules, the catalogue and the checks of a session all stay, and each pass of Python's collector walks over them again
and finds nothing: an eighth of the time of `pytest --collect-only`, a fifth of that of `plimsoll plan`, two fifths of
what importing the model stack takes. Most garbage is freed without the collector, by counts of references; what waits
for it is what refers to itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_USUAL: Final = gc.get_threshold()
_SELDOM: Final = 200_000
"""New containers between two passes: some that collecting every check makes, and a few dozen megabytes at most."""


def collect_seldom() -> None:
    """Look for garbage once in many new objects."""
    gc.set_threshold(_SELDOM, *_USUAL[1:])


def collect_as_usual() -> None:
    """Look for garbage as often as Python does by itself."""
    gc.set_threshold(*_USUAL)


@contextmanager
def keep_all() -> Iterator[None]:
    """Look for no garbage meanwhile, and never afterwards among what there is by then: for imports, which make many
    objects that stay, and hardly any garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def end_without_looking() -> None:
    """Let the process end without a last pass over everything that it made: its memory goes back as a whole."""
    gc.freeze()
