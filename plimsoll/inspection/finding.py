"""Finds what a name stands for: a folder, a config.json, an entry of the catalogue, or a repository of the Hub.

What cannot be inspected is one error that says what there is instead, and what to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from plimsoll.catalogue.entries import Catalogue, Model, WeightSource, without_gpus
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.gate.hub import refusal_of_id
from plimsoll.hub.access import Query, Reply
from plimsoll.hub.cache import repository_folder
from plimsoll.hub.contents import CheckpointContents, Repository, read_folder
from plimsoll.hub.files import Unusable, needed_files, unusable
from plimsoll.hub.settings_files import CONFIG, fault_of, fault_of_content
from plimsoll.present.foreign_text import one_line
from plimsoll.userpath import is_there, user_path
from plimsoll.usertoml.reading import read_file
from plimsoll.usertoml.suggest import did_you_mean, nearest

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_BARE_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")
_FILES: Final = (".json", ".gguf", ".safetensors")
"""What a name ends in that can only be that of a file."""

Describe = Callable[[Query], Repository]
"""Asks the Hub what a repository holds."""


class NameKind(StrEnum):
    """What the name of a model stands for."""

    HUB = "hub"
    FOLDER = "folder"
    CONFIG = "config"
    ENTRY = "entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A model, as far as it can be told without its weights."""

    name: str
    """As it was asked for."""
    kind: NameKind
    config: Mapping[str, Any]
    """config.json, or the configuration of the entry."""
    contents: CheckpointContents | None = None
    """None where there is no folder and no repository."""
    folder: Path | None = None
    repository: Repository | None = None
    entry: Model | None = None

    def settings(self, name: str) -> Mapping[str, Any]:
        """A file of settings that is JSON; empty where it is not there, or is none."""
        text = "" if self.contents is None else self.contents.texts.get(name, "")
        try:
            data = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}


def find(name: str, revision: str | None, catalogue: Catalogue, describe: Describe) -> FoundModel:
    """Find the model of a name: on this disk first, then in the catalogue, then on the Hub. Raises PlimsollError where
    there is none, or none that can be inspected.
    """
    path = user_path(name)
    if is_there(path):
        return _of_folder(name, path) if path.is_dir() else _of_file(name, path)
    if path.is_symlink():
        there = one_line(str(path.readlink()), 200)
        raise PlimsollError(f"{one_line(name, 200)}: is a link to {there}, and leads to nothing")
    if (model := _entry(name, catalogue)) is not None:
        return _of_entry(name, model)
    # Some of the oldest repositories have no owner; a slip of a known name is not worth a query.
    bare = _BARE_NAME.fullmatch(name) and path.suffix not in _FILES and nearest(name, _known(catalogue)) is None
    if _HUB_ID.fullmatch(name) or bare:
        return _of_hub(name, Query(repository=name, revision=revision), catalogue, describe)
    raise PlimsollError(_nothing(name, path, catalogue))


def _of_folder(name: str, folder: Path) -> FoundModel:
    try:
        contents = read_folder(folder)
    except OSError as error:
        raise PlimsollError(f"{folder}: cannot be read: {reason_of(error)}") from None
    if (folder / CONFIG).is_dir():
        _must_be_readable(folder / CONFIG)
    _must_be_usable(str(folder), contents)
    _must_be_readable(folder / CONFIG)
    if CONFIG not in contents.texts:
        why = next((text for text in contents.unread if text.startswith(CONFIG)), f"{CONFIG} is not there")
        raise PlimsollError(f"{folder}: {why}")
    config = parsed(contents.texts[CONFIG], str(folder / CONFIG))
    return FoundModel(name=name, kind=NameKind.FOLDER, config=config, contents=contents, folder=folder.absolute())


def _of_file(name: str, path: Path) -> FoundModel:
    if path.suffix != ".json":
        gguf = path.suffix == ".gguf"
        kind = "in GGUF, the format of llama.cpp" if gguf else "neither a folder nor a config.json"
        raise PlimsollError(f"{path}: is {kind}; name a folder with config.json and safetensors, or a Hub id")
    _must_be_readable(path)
    try:
        text = read_file(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlimsollError(f"{path}: cannot be read: {reason_of(error)}") from None
    return FoundModel(name=name, kind=NameKind.CONFIG, config=parsed(text, str(path)))


def _must_be_readable(path: Path) -> None:
    if (fault := fault_of(path)) is not None:
        raise PlimsollError(f"{path}: {fault}")


def parsed(text: str, where: str) -> dict[str, Any]:
    """config.json as a table. Raises PlimsollError, with the place of the fault."""
    if (fault := fault_of_content(CONFIG, text.encode())) is not None:
        raise PlimsollError(f"{where}: {fault}")
    data: dict[str, Any] = json.loads(text)
    if not data:
        raise PlimsollError(f"{where}: is not the configuration of a model: a table of settings is expected")
    return data


def _entry(name: str, catalogue: Catalogue) -> Model | None:
    """The model of an id, or of a variant's."""
    if name in catalogue.models:
        return catalogue.models[name]
    variant = catalogue.variants.get(without_gpus(name))
    return None if variant is None else variant.model


def _of_entry(name: str, model: Model) -> FoundModel:
    """An entry says itself what its configuration is; of one with a folder, the files are looked at too."""
    config = {**model.config, "architectures": [model.architecture]}
    folder = model.path if model.source is WeightSource.LOCAL else None
    contents = read_folder(folder) if folder is not None and folder.is_dir() else None
    return FoundModel(name=name, kind=NameKind.ENTRY, config=config, contents=contents, folder=folder, entry=model)


def _of_hub(name: str, query: Query, catalogue: Catalogue, describe: Describe) -> FoundModel:
    repository = describe(query)
    access, contents = repository.access, repository.contents
    if contents is None or not access.answer.is_yes:
        skip = refusal_of_id(access)
        others = _others(name, catalogue, repository.similar) if access.answer is Reply.NOT_FOUND else ""
        raise PlimsollError(f"{name}: {skip.have}; {skip.fix}{others}")
    if access.answer is Reply.GRANTED:
        _must_be_usable(name, contents)
    if CONFIG not in contents.texts:
        raise PlimsollError(f"{name}: has no {CONFIG} that could be read")
    config = parsed(contents.texts[CONFIG], f"{name}: {CONFIG}")
    return FoundModel(name=name, kind=NameKind.HUB, config=config, contents=contents, repository=repository)


def _known(catalogue: Catalogue) -> list[str]:
    """The ids of entries, and the ids that they have on the Hub."""
    return [*catalogue.models, *(model.hub_id for model in catalogue.models.values() if model.hub_id)]


def _others(name: str, catalogue: Catalogue, similar: Iterable[str]) -> str:
    """What may have been meant: ids of the catalogue, what lies in the cache, what the Hub's search finds."""
    near = nearest(name, dict.fromkeys([*similar, *_known(catalogue), *_cached_ids()]))
    return "" if near is None or near == name else f"; did you mean '{one_line(near, 120)}'?"


def _cached_ids() -> list[str]:
    folder = repository_folder("x").parent
    try:
        names = [path.name for path in folder.iterdir() if path.name.startswith("models--")]
    except OSError:
        return []
    return [name.removeprefix("models--").replace("--", "/", 1) for name in names]


_WITHOUT: Final = {Unusable.NO_WEIGHTS, Unusable.NO_TOKENIZER}
"""What can be inspected all the same."""

_INSTEAD: Final[Mapping[Unusable, str]] = {
    Unusable.ADAPTER: "an adapter (FILE), which changes the weights of another model; inspect its base model, or merge "
    "it into that (peft: merge_and_unload, then save_pretrained) and inspect the folder",
    Unusable.PIPELINE: "a pipeline of diffusers (FILE), and no language model",
    Unusable.PICKLE: "weights as pickles alone (FILE), which are refused because reading one can run code; name a "
    "revision or a repository with safetensors",
    Unusable.MAKERS_FORMAT: "weights in their maker's own format alone (FILE), which transformers cannot load; name a "
    "repository that was converted for transformers",
    Unusable.GGUF: "weights in GGUF alone (FILE), the format of llama.cpp; name the repository they were made from",
    Unusable.UNFINISHED: "a download that did not end (FILE); let it end, or fetch the file again",
    Unusable.NO_INDEX: "shards without the index that lists them (FILE); add model.safetensors.index.json from where "
    "they come from",
    Unusable.VARIANT: "weights of a variant alone (FILE), which transformers loads by that name alone; rename them to "
    "what they would be called without it (model.safetensors; of shards and their index each)",
    Unusable.SUBFOLDER: "weights in a folder below (FILE); name that one, with its config.json and tokenizer",
    Unusable.OTHER_NAME: "safetensors under a name that transformers does not look for (FILE); where save_pretrained "
    "wrote it, rename it to model.safetensors, else name what was converted for transformers",
    Unusable.OTHER_FORMAT: "weights in other formats alone (FILE); name a repository with safetensors",
    Unusable.NO_CONFIG: "weights without a config.json (FILE); add that of the model that they are of",
}


def _must_be_usable(name: str, contents: CheckpointContents) -> None:
    files = contents.files
    fault = unusable(files, {*needed_files(files), *contents.weights})
    if fault is None or (fault[0] in _WITHOUT and CONFIG in files):
        return
    kind, file = fault
    if kind in _WITHOUT:
        raise PlimsollError(f"{name}: no {CONFIG}; name the folder that save_pretrained wrote, or a repository")
    raise PlimsollError(f"{name}: {_INSTEAD[kind].replace('FILE', one_line(file, 120))}")


def _nothing(name: str, path: Path, catalogue: Catalogue) -> str:
    """No file, no entry, and no id that the Hub could have."""
    if name.startswith(("/", ".", "~")) or name.count("/") > 1 or path.suffix in _FILES:
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, beside)
        meant = "" if near is None else f"; did you mean '{path.parent / near}'?"
        return f"{one_line(name, 200)}: no such file or folder{meant}"
    owner = " (ids of the Hub are owner/name)" if _BARE_NAME.fullmatch(name) else ""
    return (
        f"'{one_line(name, 200)}' is no folder, no entry and no Hub id{owner}; {did_you_mean(name, _known(catalogue))}"
    )
