"""Collects what the software stack says while a model loads, Python warnings and log lines of its libraries, and keeps
a library that repeats itself from filling the log.

Much of what matters about a load is only ever said there: a key that was missing, a shape that did not fit, an
attention implementation that was replaced.
"""

from __future__ import annotations

import logging
import re
import warnings
from types import TracebackType
from typing import Final, Self

_LIBRARIES: Final = ("transformers", "accelerate", "bitsandbytes", "huggingface_hub")
_COLOUR: Final = re.compile(r"\x1b?\[[0-9;]*m")
_MOST_REMEMBERED: Final = 1000
"""Texts. Whoever says more than that has something new to say each time, and is not kept from it."""


class OnceEach(logging.Filter):
    """Lets each text of each logger pass once.

    In int8, bitsandbytes warns in every product that its inputs are cast to float16: thousands of equal lines for each
    answer, whose writing would count as time of generation.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[str, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """logging's hook."""
        try:
            said = (record.name, record.getMessage())
        except Exception:  # noqa: BLE001  arguments that do not fit: logging tells that itself, and the library goes on
            return True
        if said in self._said:
            return False
        if len(self._said) < _MOST_REMEMBERED:
            self._said.add(said)
        return True


class Listener(logging.Handler):
    """Collects warnings while it is entered; they still go wherever they went before."""

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self._logged: list[str] = []
        self._warned: list[warnings.WarningMessage] = []
        self._catch = warnings.catch_warnings(record=True)

    def __enter__(self) -> Self:
        # An empty list yet, and None never with record=True.
        recorded = self._catch.__enter__()
        self._warned = [] if recorded is None else recorded
        # A warning that was shown once would otherwise be missing from the second load.
        warnings.simplefilter("always")
        for library in _LIBRARIES:
            logging.getLogger(library).addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for library in _LIBRARIES:
            logging.getLogger(library).removeHandler(self)
        self._catch.__exit__(kind, error, trace)

    def emit(self, record: logging.LogRecord) -> None:
        """logging's hook."""
        self._logged.append(_COLOUR.sub("", f"{record.name.partition('.')[0]}: {record.getMessage()}"))

    def heard(self) -> tuple[str, ...]:
        """Everything so far, each text once, in the order of the log and then of the warnings."""
        warned = (f"{warning.category.__name__}: {warning.message}" for warning in self._warned)
        return tuple(dict.fromkeys((*self._logged, *warned)))
