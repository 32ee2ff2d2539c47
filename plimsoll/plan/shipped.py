"""Predictions that ship with the catalogue, for machines without torch and for plans that need not wait for it.

The file holds what `plan`, `audit` and `headroom` ask of the shipped entries, and says which versions of the stack it
was made with. An entry counts where its digest matches: the same subject, our own sources as they were, and no other
version of a package than the one that was followed. A package that is not installed contradicts nothing. A file that
is damaged counts nowhere: its first line is the SHA-256 of the rest. `python -m plimsoll.shipping --write` makes it.

Predictions of one model differ little between quantizations, so each column of a table of parameters is kept once.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from plimsoll.catalogue.files import shipped_root
from plimsoll.extras import DISTRIBUTION
from plimsoll.footprint.demand import Placement
from plimsoll.footprint.encoding import prediction_from_json, step_from_json
from plimsoll.footprint.prediction import Prediction, Subject
from plimsoll.footprint.training import StepPrediction, Training
from plimsoll.plan.prediction_keys import (
    FOLLOWED,
    followed_versions,
    key_of,
    placement_data,
    sources,
    step_data,
    subject_data,
)

FILE: Final = "predictions.json.gz"
"""In the folder of the catalogue."""
IMPOSSIBLE: Final = "impossible"
"""The only key of an entry for a step that cannot be predicted: why."""
_FORMAT: Final = 1
"""Of the file: another one is not read."""
_TABLES: Final = ("parameters", "buffers")
"""The tables of a prediction whose columns are shared."""


def public(version: str | None) -> str | None:
    """A version without its local part: sizes are the same in torch's builds for a processor and for CUDA."""
    return None if version is None else version.partition("+")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """The shipped predictions, as far as they count here."""

    packages: Mapping[str, str]
    """The versions of the stack that they were made with, those of `FOLLOWED` among them."""
    sources: str
    entries: Mapping[str, Any]
    columns: Sequence[Sequence[Any]]
    unusable: str = ""
    """Why none of them counts here; empty where they do."""

    @classmethod
    def read(cls) -> Self:
        """The shipped file, as far as it counts with what is installed."""
        return cls.stored(shipped_root()).here(followed_versions(), sources())

    @classmethod
    def stored(cls, root: Path) -> Self:
        """The file in a catalogue's folder, wherever it counts; without entries where it is missing or damaged."""
        path = root / FILE
        try:
            return cls(**_content(path.read_bytes()))
        except FileNotFoundError:
            why = f"{path} is missing: restore it, or install {DISTRIBUTION} again"
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
            why = f"{path} is damaged ({error}): restore it, or install {DISTRIBUTION} again"
        return cls(packages={}, sources="", entries={}, columns=(), unusable=why)

    def here(self, installed: Mapping[str, str | None], here: str) -> Self:
        """The same, for an environment with these versions and for sources with that digest."""
        if self.unusable:
            return self
        other = [
            f"{name} {public(version)}, and not {self.packages.get(name)}"
            for name, version in installed.items()
            if version is not None and public(version) != self.packages.get(name)
        ]
        why = f"the installed stack is another: {'; '.join(other)}" if other else ""
        if self.sources != here:
            why = "the sources that predict were edited since"
        return replace(self, entries={}, unusable=why) if why else self

    @property
    def made_with(self) -> dict[str, str | None]:
        """The versions of `FOLLOWED` that were followed."""
        return {name: self.packages.get(name) for name in FOLLOWED}

    def prediction(self, subject: Subject) -> Prediction | None:
        """The prediction for a subject; None where none counts."""
        data = self._entry(subject_data(subject))
        return None if data is None else prediction_from_json(unfolded(data, self.columns))

    def placement(self, subject: Subject, device_map: str, memory: Sequence[int]) -> Placement | None:
        """Where the planner put the parts; None where that is not known."""
        return self._entry(placement_data(subject, device_map, memory))

    def step(self, training: Training, subjects: Iterable[Subject]) -> StepPrediction | str | None:
        """The prediction of a training step, or why it cannot be predicted; None where none counts."""
        data = self._entry(step_data(training, subjects))
        if data is None or IMPOSSIBLE in data:
            return None if data is None else str(data[IMPOSSIBLE])
        return step_from_json(data)

    def _entry(self, what: object) -> Mapping[str, Any] | None:
        if not self.entries:
            return None
        found: Mapping[str, Any] | None = self.entries.get(key_of(what, self.made_with, self.sources))
        return found


def _content(file: bytes) -> dict[str, Any]:
    """The fields of a file. Raises OSError, EOFError, zlib.error, ValueError, KeyError and TypeError for one that is
    damaged."""
    digest, _, text = gzip.decompress(file).partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        raise ValueError("its digest does not match")
    data = json.loads(text)
    if data["format"] != _FORMAT:
        raise ValueError(f"its format is {data['format']}, and not {_FORMAT}")
    return {name: data[name] for name in ("packages", "sources", "entries", "columns")}


class Folding:
    """Keeps each column of the tables of parameters once."""

    def __init__(self) -> None:
        self.columns: list[list[Any]] = []
        self._numbers: dict[str, int] = {}

    def folded(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """A prediction as JSON data, with the numbers of columns in place of its tables; `unfolded` is the inverse."""
        return {
            **data,
            **{name: [self._number(column) for column in zip(*data[name], strict=True)] for name in _TABLES},
        }

    def _number(self, column: tuple[Any, ...]) -> int:
        number = self._numbers.setdefault(json.dumps(column), len(self.columns))
        if number == len(self.columns):
            self.columns.append(list(column))
        return number


def unfolded(data: Mapping[str, Any], columns: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """A prediction as JSON data again."""
    tables = {name: [list(row) for row in zip(*(columns[n] for n in data[name]), strict=True)] for name in _TABLES}
    return {**data, **tables}


def write_shipped(
    path: Path,
    packages: Mapping[str, str],
    predictions: Mapping[Subject, Mapping[str, Any]],
    others: Iterable[tuple[object, Mapping[str, Any]]],
) -> None:
    """Write the file. `predictions` are JSON data by subject, `others` placements and steps by what their digests are
    made of. Raises OSError."""
    made_with, digest, folding = {name: packages.get(name) for name in FOLLOWED}, sources(), Folding()
    keyed = {key_of(subject_data(subject), made_with, digest): data for subject, data in predictions.items()}
    # In the order of the keys, for hosts answer in any.
    entries: dict[str, Mapping[str, Any]] = {key: folding.folded(keyed[key]) for key in sorted(keyed)}
    entries |= {key_of(what, made_with, digest): data for what, data in others}
    data = {
        "format": _FORMAT,
        "packages": dict(packages),
        "sources": digest,
        "entries": dict(sorted(entries.items())),
        "columns": folding.columns,
    }
    text = json.dumps(data, separators=(",", ":")).encode()
    content = hashlib.sha256(text).hexdigest().encode() + b"\n" + text
    # No time and no name within, so that the same predictions are the same bytes.
    path.write_bytes(gzip.compress(content, mtime=0))
