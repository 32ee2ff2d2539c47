"""Options that give a path to an entry of the catalogue: `--model-dir=MODEL=FOLDER`, `--dataset-dir=DATASET=PATH`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from plimsoll.errors import PlimsollError
from plimsoll.usertoml.suggest import did_you_mean


def named_paths(
    option: str,
    noun: str,
    place: str,
    given: Sequence[str],
    base: Path,
    known: Collection[str],
    check: Callable[[str, Path], None],
) -> dict[str, Path]:
    """Id -> path of each `NAME=PATH` given to `option`; relative paths start at `base`.

    `noun` is what the ids are of, `place` what the path is (`folder`, `path`). `check` is called with the option as it
    was written and the path, and raises what is wrong with it. Raises PlimsollError for an option of another form, an
    id that is none, and a second path for one.
    """
    paths: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        written = f"{option}={text}"
        if not (name and equals and path):
            raise PlimsollError(f"{written}: write it as {option}={noun.upper()}={place.upper()}")
        if name not in known:
            raise PlimsollError(f"{written}: no {noun} '{name}' in the catalogue; {did_you_mean(name, known)}")
        if name in paths:
            raise PlimsollError(f"{written}: a second {place} for {name}; the first is {paths[name]}")
        paths[name] = Path(base, Path(path).expanduser())
        check(written, paths[name])
    return paths
