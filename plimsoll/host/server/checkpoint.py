"""Finds the files of a checkpoint that a load will read, their sizes and their faults.

transformers' own message for a damaged shard does not say which file it means, and an index that promises a tensor
which no file has is not compared with the files at all. Reading the headers, a few kilobytes a file, says both. No
name in an index leads out of the folder: a checkpoint comes from strangers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.hub.files import Unusable, is_inside, needed_files, unusable
from plimsoll.hub.pointers import stand_in
from plimsoll.hub.settings_files import fault_of

_SAFETENSORS: Final = "model.safetensors"
_PICKLE: Final = "pytorch_model.bin"
_INDEX: Final = ".index.json"
_HEADER_LIMIT: Final = 100_000_000
"""safetensors refuses a longer header, so a length beyond it is garbage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFiles:
    """The files that hold the weights. `revision` is the commit for a Hub snapshot, None for a user's own folder."""

    folder: Path
    files: tuple[Path, ...]
    revision: str | None
    absent: Mapping[str, str] = field(default_factory=dict)
    """Tensors that the index promises and the file that it names does not hold: tensor -> file."""
    doubled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tensors that several of the files hold, of which transformers takes the last, whatever the index says."""
    unlisted: tuple[str, ...] = ()
    """Names of weights in the folder that the index does not list, and that nothing reads."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the files, with the folders that lead to them from the checkpoint's."""
        return tuple(_below(self.folder, file) for file in self.files)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.stat().st_size for file in self.files)


def locate(checkpoint: str, revision: str | None, *, allow_pickle: bool) -> CheckpointFiles | None:
    """The checkpoint on this disk; None for a Hub id whose weights have not been downloaded.

    With a folder, `revision` is the commit of the snapshot, and None for a user's own folder.
    Raises LoadFailed where there is no such folder or id, where only a refused pickle checkpoint is there, where the
    index cannot be read, and where a file that it lists is missing.
    """
    folder = Path(checkpoint)
    if folder.is_dir():
        files = _weight_files(folder, allow_pickle=allow_pickle)
        return _checkpoint(folder, files, revision)
    if folder.is_absolute() or checkpoint.startswith("."):
        raise LoadFailed(LoadFailure.NOT_FOUND, f"{checkpoint}: there is no such folder")
    try:
        snapshot = Path(snapshot_download(checkpoint, revision=revision, local_files_only=True))
        files = _weight_files(snapshot, allow_pickle=allow_pickle)
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise LoadFailed(LoadFailure.NOT_FOUND, f"{checkpoint}: is no folder and no Hub id ({error})") from error
    except LoadFailed as failure:
        if failure.kind is LoadFailure.NOT_FOUND:
            return None  # begun and not finished: from_pretrained downloads the rest
        raise
    return _checkpoint(snapshot, files, snapshot.name)


def _checkpoint(folder: Path, files: tuple[Path, ...], revision: str | None) -> CheckpointFiles:
    index = folder / (_SAFETENSORS + _INDEX)
    is_indexed = not _is_whole(folder, files) and index.exists()
    # An index may list shards in folders below, where several have one name.
    held = {_below(folder, file): _tensors_of(file) for file in files} if is_indexed else {}
    return CheckpointFiles(
        folder=folder,
        files=files,
        revision=revision,
        absent=_absent_tensors(index, held) if is_indexed else {},
        doubled=_doubled_tensors(held),
        unlisted=_unlisted(folder, files),
    )


def _is_whole(folder: Path, files: tuple[Path, ...]) -> bool:
    """True where one file holds all: an index, too, may list a file of that name, in a folder below."""
    return files in ((folder / _SAFETENSORS,), (folder / _PICKLE,))


def _below(folder: Path, file: Path) -> str:
    """The name of a file of a checkpoint, with the folders that lead to it from there."""
    return file.relative_to(folder).as_posix()


def _weight_files(folder: Path, *, allow_pickle: bool) -> tuple[Path, ...]:
    for name in (_SAFETENSORS, _PICKLE):
        whole, index = folder / name, folder / (name + _INDEX)
        for file in (whole, index):
            _refuse_stand_in(file)
        if not whole.exists() and not index.exists():
            continue
        if name == _PICKLE and not allow_pickle:
            raise LoadFailed(
                LoadFailure.PICKLE,
                f"{whole if whole.exists() else index}: a pickle checkpoint is refused, because reading one can run "
                "code; convert it to safetensors, or say in the entry why it may be loaded (allow_pickle)",
            )
        return (whole,) if whole.exists() else _indexed(index)
    what = f"{folder}: holds neither {_SAFETENSORS} nor {_SAFETENSORS}{_INDEX}"
    raise LoadFailed(LoadFailure.NOT_FOUND, what + _instead(folder))


def _refuse_stand_in(file: Path) -> None:
    if (found := stand_in(file)) is not None:
        raise LoadFailed(LoadFailure.DAMAGED, f"{file}: {found}")


def _instead(folder: Path) -> str:
    """What a folder without weights for transformers holds in their place, with the next step."""
    # Not below that: a folder that was named by mistake may hold a whole disk.
    paths = (path for pattern in ("*", "*/*") for path in folder.glob(pattern))
    names = [path.relative_to(folder).as_posix() for path in paths if not path.is_dir()]
    found = unusable(names, needed_files(names))
    kind, file = found or (Unusable.NO_WEIGHTS, "")
    return f"; {file} is {_FOREIGN[kind]}" if kind in _FOREIGN else ""


_FOREIGN: Final = {
    Unusable.ADAPTER: "of an adapter: merge it into its base model (peft: merge_and_unload, then save_pretrained)",
    Unusable.PIPELINE: "of a pipeline of diffusers, which is no language model",
    Unusable.MAKERS_FORMAT: "in its maker's own format: name a folder that was converted for transformers",
    Unusable.GGUF: "in the format of llama.cpp: name the checkpoint that it was made from",
    Unusable.UNFINISHED: "a download that did not end: let it end, or fetch the file again",
    Unusable.NO_INDEX: "one of several shards, and the index that lists them is missing: fetch that, "
    "model.safetensors.index.json, from where the shards come from",
    Unusable.VARIANT: "a variant, which transformers loads by that name alone: rename it to what it would be called "
    "without the variant (model.safetensors; of shards and their index each)",
    Unusable.SUBFOLDER: "in a folder below: name that one, with the config.json and the tokenizer that belong to it",
    Unusable.OTHER_NAME: "under a name that transformers does not look for: where save_pretrained wrote it, rename it "
    "to model.safetensors, else name a folder that was converted for transformers",
    Unusable.PICKLE: "of pickles, and a pickle checkpoint is refused, because reading one can run code: convert it to "
    "safetensors",
    Unusable.OTHER_FORMAT: "in another format: load it where it comes from, and save it with save_pretrained",
}


def _unlisted(folder: Path, files: tuple[Path, ...]) -> tuple[str, ...]:
    """Shards beside those that the index lists: left by another download, or forgotten by the index."""
    if _is_whole(folder, files):
        return ()
    return tuple(sorted(path.name for path in folder.glob("model*.safetensors") if path not in files))


def _indexed(index: Path) -> tuple[Path, ...]:
    if (fault := fault_of(index)) is not None:
        raise LoadFailed(LoadFailure.DAMAGED, f"{index}: {fault}")
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        names = sorted(set(content["weight_map"].values()), key=str)
        # transformers asks for it, though nothing in it matters.
        is_whole = bool(names) and isinstance(content["metadata"], dict)
    except (KeyError, AttributeError, TypeError):
        is_whole = False
    if not is_whole:
        raise LoadFailed(
            LoadFailure.DAMAGED,
            f"{index}: is not an index of weights: it lacks weight_map with the file of each tensor, or a table "
            "metadata; download or build it again",
        )
    if (outside := next((name for name in names if not is_inside(name)), None)) is not None:
        raise LoadFailed(
            LoadFailure.DAMAGED,
            f"{index}: names {outside!r:.200}, which is no file in its folder, and is not followed; download it again",
        )
    for name in names:
        _refuse_stand_in(index.parent / name)
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise LoadFailed(
            LoadFailure.NOT_FOUND,
            f"{index.parent / missing[0]}: {len(missing)} of {len(names)} files that {index.name} lists "
            f"{'is' if len(missing) == 1 else 'are'} missing ({', '.join(missing)}); download or build it again",
        )
    # "a" and "./a" are one file.
    return tuple(dict.fromkeys(index.parent / name for name in names))


_Held = Mapping[str, frozenset[str] | None]
"""File -> its tensors; None for one whose header cannot be read, which `find_damage` says in its own words once the
load has failed."""


def _absent_tensors(index: Path, held: _Held) -> dict[str, str]:
    """Tensors that are not in the file that the index names."""
    places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    named = {tensor: _below(index.parent, index.parent / name) for tensor, name in sorted(places.items())}
    return {tensor: name for tensor, name in named.items() if (there := held[name]) is not None and tensor not in there}


def _doubled_tensors(held: _Held) -> dict[str, tuple[str, ...]]:
    """Tensors that more than one file holds, each with those files."""
    files: dict[str, list[str]] = {}
    for name, tensors in held.items():
        for tensor in tensors or ():
            files.setdefault(tensor, []).append(name)
    return {tensor: tuple(names) for tensor, names in sorted(files.items()) if len(names) > 1}


def refuse_doubled(checkpoint: CheckpointFiles | None) -> None:
    """Raise LoadFailed for a tensor that several files hold with unlike contents: which is meant nobody can tell."""
    if checkpoint is None:
        return
    unlike = [tensor for tensor, files in checkpoint.doubled.items() if not _are_alike(checkpoint, tensor, files)]
    if unlike:
        raise LoadFailed(
            LoadFailure.DAMAGED,
            f"{checkpoint.folder}: {' and '.join(checkpoint.doubled[unlike[0]])} hold unlike {unlike[0]} "
            f"({len(unlike)} such tensors), and transformers takes that of the last file, whatever the index says; "
            "they are not of one checkpoint, download or build it again",
        )


def _are_alike(checkpoint: CheckpointFiles, tensor: str, files: tuple[str, ...]) -> bool:
    first, *others = (_bytes_of(checkpoint.folder / file, tensor) for file in files)
    return all(other == first for other in others)


def _bytes_of(file: Path, tensor: str) -> tuple[torch.dtype, torch.Size, bytes]:
    with safe_open(file, framework="pt") as shard:
        found: torch.Tensor = shard.get_tensor(tensor)
    return found.dtype, found.shape, found.contiguous().view(torch.uint8).numpy().tobytes()


def refuse_absent(checkpoint: CheckpointFiles | None, missing: Collection[str]) -> None:
    """Raise LoadFailed for tensors that the index promises and no load has missed: `missing` are those it has, which
    the report names. transformers never compares an index with its files."""
    absent = [tensor for tensor in checkpoint.absent if tensor not in missing] if checkpoint else []
    if checkpoint is not None and absent:
        index = checkpoint.folder / (_SAFETENSORS + _INDEX)
        raise LoadFailed(
            LoadFailure.DAMAGED,
            f"{index}: says that {checkpoint.absent[absent[0]]} holds {absent[0]}, which it does not ({len(absent)} "
            "such tensors); index and files are not of one checkpoint, download or build it again",
        )


def _tensors_of(file: Path) -> frozenset[str] | None:
    if file.suffix != ".safetensors":
        return None
    try:
        with safe_open(file, framework="pt") as shard:
            return frozenset(shard.keys())
    except (SafetensorError, OSError):
        return None


def find_damage(checkpoint: CheckpointFiles) -> str | None:
    """The first safetensors file that cannot be whole, with the reason; None where every header fits its file."""
    for file in checkpoint.files:
        if (found := stand_in(file)) is not None:
            return f"{file}: {found}"
        if file.suffix == ".safetensors" and (fault := _header_fault(file)):
            return f"{file}: {fault}; download or build it again"
    return None


def _header_fault(file: Path) -> str | None:
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > min(size - 8, _HEADER_LIMIT):
            return f"is truncated or no safetensors file: {size:,} bytes cannot hold its header"
        try:
            header: dict[str, Any] = json.loads(handle.read(length))
            ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return "is damaged: its header does not describe tensors"
    expected = 8 + length + max(ends, default=0)
    if size == expected:
        return None
    word = "truncated" if size < expected else "longer than its header says"
    return f"is {word}: it has {size:,} bytes, and its header describes {expected:,}"


def file_of(checkpoint: CheckpointFiles, tensor: str) -> Path | None:
    """The safetensors file that holds a tensor of that name; None where none does."""
    for file in checkpoint.files:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as shard:
                if tensor in shard.keys():  # noqa: SIM118  a shard is no mapping
                    return file
    return None
