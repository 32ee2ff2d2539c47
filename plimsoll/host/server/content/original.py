"""Reads the tensors of a checkpoint under the names that a loaded model gives its parameters.

A tensor of the same name is read as it lies in the file. Where files call it otherwise, or keep its parts apart, as
the experts of a mixture, transformers' own table of conversions says which parts belong to it; what it says is carried
out here, without the loader. Only the rows that are asked for are read, so that a sample of a large model costs a
sample's time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import torch
from safetensors import safe_open
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    Concatenate,
    MergeModulelist,
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
)

from plimsoll.host.protocol import LoadSpec
from plimsoll.host.server.checkpoint import CheckpointFiles
from plimsoll.host.server.synthetic import make_up

_ALL_FINITE: Final = frozenset(getattr(torch, name) for name in ("float4_e2m1fn_x2",) if hasattr(torch, name))


class Original(Protocol):
    """One tensor as the checkpoint has it, seen as a matrix: all dimensions but the last are its rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole tensor, as the model has it."""

    @property
    def parts(self) -> tuple[StoredTensor, ...]:
        """The tensors of the files that it is made of."""

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Some rows, in the checkpoint's own dtype."""


def flat_rows(original: Original, start: int, stop: int) -> torch.Tensor:
    """The values from `start` to `stop` of a tensor that is laid out flat; only the rows that have them are read."""
    width = original.shape[-1] if original.shape else 1
    first, last = start // width, math.ceil(stop / width)
    values = original.rows(first, last).reshape(-1)
    return values[start - first * width : stop - first * width]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of the file under its name there; `slice` is what safetensors gives for one that is not read yet."""

    name: str
    slice: Any

    @property
    def declared(self) -> torch.dtype:
        """The format of its numbers, as the file declares it."""
        if isinstance(self.slice, torch.Tensor):
            return self.slice.dtype
        # safetensors has names of its own for them: a first row tells what they are in torch.
        return cast("torch.dtype", (self.slice[0:1] if self.shape else self.slice[...]).dtype)

    @property
    def parts(self) -> tuple[StoredTensor, ...]:
        """Itself."""
        return (self,)

    @property
    def shape(self) -> tuple[int, ...]:
        """As the file has it."""
        own = self.slice.get_shape() if hasattr(self.slice, "get_shape") else self.slice.shape
        return tuple(own)

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Read these rows alone."""
        shape = self.shape
        if len(shape) < 2:
            return cast("torch.Tensor", self.slice[...]).reshape(1, -1)[start:stop]
        if len(shape) == 2:
            return cast("torch.Tensor", self.slice[start:stop])
        inner = math.prod(shape[1:-1])
        first, last = start // inner, math.ceil(stop / inner)
        read = self.slice[first:last].reshape(-1, shape[-1])
        return cast("torch.Tensor", read[start - first * inner : stop - first * inner])


@dataclass(frozen=True, slots=True)
class Transposed:
    """A matrix that a model keeps the other way round than its packed form."""

    matrix: Original

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns exchanged."""
        return self.matrix.shape[::-1]

    @property
    def parts(self) -> tuple[StoredTensor, ...]:
        """Those of the matrix."""
        return self.matrix.parts

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Columns of the matrix."""
        return self.matrix.rows(0, self.matrix.shape[0])[:, start:stop].T


@dataclass(frozen=True, slots=True)
class Stacked:
    """Matrices that the file keeps apart: for each expert one or several, which stand one under the other."""

    experts: tuple[tuple[Original, ...], ...]

    @property
    def _height(self) -> int:
        return sum(part.shape[0] for part in self.experts[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Experts, their rows together, columns."""
        return (len(self.experts), self._height, self.experts[0][0].shape[1])

    @property
    def parts(self) -> tuple[StoredTensor, ...]:
        """Those of all experts."""
        return tuple(tensor for expert in self.experts for matrix in expert for tensor in matrix.parts)

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """The rows of the parts that they fall into."""
        return torch.cat(list(self._pieces(start, stop)))

    def _pieces(self, start: int, stop: int) -> Iterator[torch.Tensor]:
        place = start // self._height * self._height
        for parts in self.experts[start // self._height :]:
            for part in parts:
                begin, end = max(start - place, 0), min(stop - place, part.shape[0])
                if begin < end:
                    yield part.rows(begin, end)
                place += part.shape[0]
            if place >= stop:
                return


class Watched:
    """A tensor of which it is noted what is no number, in the rows that are read: a NaN is equal to the same NaN, and
    no question may ever use its row."""

    def __init__(self, tensor: Original, *, infinite: bool) -> None:
        """`infinite` is True where an infinity is sound, as in a mask that a model keeps."""
        self._tensor = tensor
        self._infinite = infinite
        self._until = 0
        self._count = 0
        self._first = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """As the model has it."""
        return self._tensor.shape

    @property
    def parts(self) -> tuple[StoredTensor, ...]:
        """Those of the tensor."""
        return self._tensor.parts

    @property
    def fault(self) -> str:
        """What is no number in the rows that were read; empty where all are."""
        if not self._first:
            return ""
        kind = "number" if self._infinite else "finite number"
        what = f"1 value that is no {kind}" if self._count == 1 else f"{self._count:,} values that are no {kind}s"
        return f"the checkpoint holds {what} here; the first is {self._first}; download or build it again"

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Some rows; those that were read before are not counted again."""
        read = self._tensor.rows(start, stop)
        fresh = read[max(self._until - start, 0) :]
        bad = not_numbers(fresh, infinite=self._infinite)
        if bad is not None:
            self._count += int(bad.sum())
            if not self._first:
                row, *place = (int(number) for number in bad.nonzero()[0])
                self._first = f"{float(fresh[row, *place])} in row {stop - len(fresh) + row:,}, place {place[-1]:,}"
        self._until = max(self._until, stop)
        return read


def not_numbers(values: torch.Tensor, *, infinite: bool = False) -> torch.Tensor | None:
    """Where some values are NaN, or infinite unless that is sound; None where none is."""
    # Neither integers nor floats of four bits have such values.
    if not values.is_floating_point() or values.dtype in _ALL_FINITE:
        return None
    # torch cannot ask every format of eight bits.
    wide = values.float() if values.dtype.itemsize == 1 else values
    bad = wide.isnan() if infinite else ~wide.isfinite()
    return bad if bool(bad.any()) else None


class Converted:
    """A tensor that only a conversion of transformers gives, which is carried out whole when it is first asked for."""

    def __init__(
        self, shape: tuple[int, ...], parts: tuple[StoredTensor, ...], convert: Callable[[], torch.Tensor]
    ) -> None:
        self.shape = shape
        self.parts = parts
        self._convert = convert
        self._made: torch.Tensor | None = None

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Some rows of what was converted."""
        if self._made is None:
            self._made = self._convert()
        return self._made.reshape(-1, self.shape[-1] if self.shape else 1)[start:stop]


class CheckpointTensors:
    """Finds the checkpoint's tensor for each of a loaded model's parameters.

    `slices` are the tensors of the files by their names; nothing is read before it is asked for.
    """

    def __init__(self, model: Any, slices: Mapping[str, Any]) -> None:
        self._model = model
        self._slices = slices
        self._parts: dict[str, list[tuple[str, str | None]]] | None = None
        self._converters: dict[str, Any] = {}

    def stored(self, name: str) -> StoredTensor | None:
        """A tensor by the name that it has in a file; None where no file has it."""
        return StoredTensor(name, self._slices[name]) if name in self._slices else None

    def of(self, names: Sequence[str], shape: tuple[int, ...]) -> Original | None:
        """The tensor for a parameter that has these names in the model and this shape; None where the checkpoint has
        none for it. A checkpoint may hold a tied tensor under any of its names."""
        for name in names:
            if (found := self.stored(name)) is not None:
                return found
        for name in names:
            if (made := self._assembled(name, shape)) is not None:
                return made
        return None

    def _assembled(self, name: str, shape: tuple[int, ...]) -> Original | None:
        parts = self._by_target().get(name)
        if parts is None:
            target, parts = self._expanded(name)
        else:
            target = name
        if not parts:
            return None
        pattern = parts[0][1]
        if pattern is None:
            return StoredTensor(parts[0][0], self._slices[parts[0][0]])
        converter = self._converters[pattern]
        stored = [(StoredTensor(source, self._slices[source]), by) for source, by in parts]
        tensors = tuple(tensor for tensor, _ in stored)
        return _stacked(converter, stored) or Converted(
            shape, tensors, lambda: self._convert(converter, target, name, parts)
        )

    def _by_target(self) -> dict[str, list[tuple[str, str | None]]]:
        """For each parameter the file's tensors that make it up, each with the pattern that a conversion knows it
        by; in the order in which a loader reads them."""
        if self._parts is None:
            conversions = get_model_conversion_mapping(self._model)
            converters = [one for one in conversions if isinstance(one, WeightConverter)]
            renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
            self._converters = {pattern: one for one in converters for pattern in one.source_patterns}
            known = {name: True for name, _ in _all_names(self._model)}
            self._parts = {}
            for source in sorted(self._slices, key=dot_natural_key):
                prefix = self._model.base_model_prefix
                target, pattern = rename_source_key(source, renamings, converters, prefix, known)
                self._parts.setdefault(target, []).append((source, pattern))
        return self._parts

    def _expanded(self, name: str) -> tuple[str, list[tuple[str, str | None]]]:
        """The parts of a tensor that comes out of a conversion with several results, listed under the first."""
        for target, parts in self._by_target().items():
            pattern = parts[0][1]
            if pattern is None:
                continue
            results = self._converters[pattern].target_patterns
            if (
                len(results) > 1
                and results[0] in target
                and any(target.replace(results[0], r) == name for r in results)
            ):
                return target, parts
        return name, []

    def _convert(self, converter: Any, target: str, name: str, parts: Sequence[tuple[str, str | None]]) -> torch.Tensor:
        # A copy for each tensor, since a converter collects what is added to it.
        own = deepcopy(converter)
        for source, pattern in parts:
            own.add_tensor(target, source, pattern, self._slices[source][...])
        made = own.convert(target, model=self._model, config=self._model.config)[name]
        return cast("torch.Tensor", made[0] if isinstance(made, list) else made)


def _stacked(converter: Any, parts: Sequence[tuple[StoredTensor, str | None]]) -> Stacked | None:
    """Experts that are stacked, their projections joined first: the conversion of most mixtures. None for another."""
    steps = [(type(step), step.dim) for step in converter.operations if hasattr(step, "dim")]
    joined = len(converter.source_patterns) > 1
    plain = steps == [(MergeModulelist, 0), *([(Concatenate, 1)] if joined else [])]
    if not plain or len(converter.operations) != len(steps) or len(converter.target_patterns) != 1:
        return None
    by_pattern = [[tensor for tensor, by in parts if by == pattern] for pattern in converter.source_patterns]
    if len({len(tensors) for tensors in by_pattern}) != 1 or any(len(t.shape) != 2 for ts in by_pattern for t in ts):
        return None
    return Stacked(tuple(zip(*by_pattern, strict=True)))


def _all_names(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers, those that are packed under the names that they had before."""
    for name, tensor in model.state_dict(keep_vars=True).items():
        plain = f".{name}".replace(".parametrizations.", ".").removesuffix(".original").removeprefix(".")
        yield plain, tensor


@contextmanager
def opened(spec: LoadSpec, checkpoint: CheckpointFiles | None) -> Iterator[Mapping[str, Any]]:
    """Every tensor of a checkpoint by its name, unread. Synthetic ones are made again by what made them.

    Pickles are read whole, as they can be in no other way; nothing of theirs but tensors is taken.
    """
    if spec.synthetic_config is not None:
        yield make_up(spec.synthetic_config, spec.auto_class, spec.architecture).tensors
        return
    found: dict[str, Any] = {}
    with ExitStack() as files:
        for path in checkpoint.files if checkpoint else ():
            if path.suffix != ".safetensors":
                found |= torch.load(path, map_location="cpu", mmap=True, weights_only=True)
                continue
            file: Any = files.enter_context(safe_open(path, framework="pt"))
            found |= {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  a file is no mapping
        yield found
