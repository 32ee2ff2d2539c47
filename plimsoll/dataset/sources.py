"""Decides where the rows of a dataset come from: a source, or the reason why there is none.

It neither reads rows nor asks the Hub, so that a plan can say what is missing before anything starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from plimsoll.catalogue.entries import Dataset
from plimsoll.catalogue.overrides import named_paths
from plimsoll.errors import PlimsollError
from plimsoll.extras import install_command, is_installed
from plimsoll.gate.skip import Skip, SkipCode


class DataSource(StrEnum):
    """Part of evidence."""

    HUB = "hub"
    LOCAL = "local"
    MINIATURE = "miniature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Rows can be had from here, as far as one can say without looking."""

    kind: DataSource
    path: Path | None = None
    """A folder or a file of the user's, for LOCAL."""


def dataset_paths(options: Sequence[str], base: Path, datasets: Iterable[str]) -> Mapping[str, Path]:
    """Dataset -> path of each `--dataset-dir=ID=PATH`; relative paths start at `base`.

    Raises PlimsollError for an option of another form, an unknown dataset, and a missing path.
    """
    return named_paths("--dataset-dir", "dataset", "path", options, base, list(datasets), _is_there)


def _is_there(option: str, path: Path) -> None:
    if not path.exists():
        raise PlimsollError(f"{option}: there is no folder or file {path}")


def decide(
    dataset: Dataset,
    kind: DataSource,
    path: Path | None = None,
    *,
    installed: Callable[[str], bool] = is_installed,
) -> Source | Skip:
    """The source of a dataset's rows, or why it has none of that kind.

    `path` is what `--dataset-dir` gives for this dataset; a path that is given goes before the Hub.
    """
    if kind is DataSource.MINIATURE:
        return Source(kind=kind) if dataset.miniature is not None else _no_miniature(dataset)
    if path is not None:
        return Source(kind=DataSource.LOCAL, path=path)
    if kind is DataSource.LOCAL:
        return _nothing(dataset, "no folder of its own", f"--dataset-dir={dataset.id}=PATH")
    if dataset.hub_id is None:
        return _not_on_the_hub(dataset)
    return Source(kind=kind) if installed("datasets") else _no_library(dataset)


def _no_miniature(dataset: Dataset) -> Skip:
    return _nothing(dataset, f"no miniature in its entry ({dataset.origin})", "leave this dataset out")


def _not_on_the_hub(dataset: Dataset) -> Skip:
    option = f"--dataset-dir={dataset.id}=PATH"
    if dataset.registration is None:
        return _nothing(dataset, f"no hub_id in its entry ({dataset.origin})", option)
    return Skip(
        code=SkipCode.REGISTRATION,
        have="no copy of its data, which is given to registered people alone",
        need=f"the files of {dataset.title}",
        fix=f"register at {dataset.registration}, and name what you download: {option}",
    )


def _no_library(dataset: Dataset) -> Skip:
    return Skip(
        code=SkipCode.PACKAGE,
        have="no datasets",
        need=f"the library datasets, which reads {dataset.title} from the Hub",
        fix=f"{install_command('datasets')}, or --dataset-dir={dataset.id}=PATH",
    )


def _nothing(dataset: Dataset, have: str, fix: str) -> Skip:
    return Skip(code=SkipCode.DATA, have=have, need=f"the questions of {dataset.title}", fix=fix)
