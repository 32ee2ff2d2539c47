"""Proves that a loaded model holds the checkpoint's weights: unpacks each tensor and compares it with the file's.

Bytes and flags cannot tell FP4 from NF4, one block's scale from its neighbour's, or one layer's weights from another's.
The bound is not a tolerance of ours: packing is a rule, and each stored code, scale and statistic is held against what
the rule gives for the weights in the file. What is not packed must be equal to the bit, once cast.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from bitsandbytes.nn.modules import Linear8bitLt
from transformers.pytorch_utils import Conv1D

from plimsoll import clock
from plimsoll.host.protocol import Content, ProveContent, TensorContent
from plimsoll.host.server.content.arithmetic import (
    NF4,
    code_error,
    counted,
    dynamic_table,
    in_blocks,
    nibbles,
    relative_error,
    row_error,
    scaled_by,
)
from plimsoll.host.server.content.declared import integer_fault, lone_eighths, mixed_halves
from plimsoll.host.server.content.original import (
    CheckpointTensors,
    Original,
    StoredTensor,
    Transposed,
    Watched,
    flat_rows,
    not_numbers,
    opened,
)
from plimsoll.host.server.content.packed import EightBit, FourBit, Holding, holdings
from plimsoll.host.server.content.products import try_products
from plimsoll.host.server.content.worked_out import worked_out
from plimsoll.host.server.effective import brought_in_by_name
from plimsoll.host.server.loading import LoadedModel

BLOCK: Final = 64
NESTED: Final = 256
_PACKED_FILE: Final = "packed file"
_PACKING: Final = "quantization_config"
_THRESHOLD: Final = 6.0
"""Of LLM.int8's paper, and the default of the library."""
_ALL: Final = 2**20
"""Weights of a tensor up to which every block is compared, whatever was asked."""
_PIECES: Final = 16
"""Places of a larger tensor that are compared: both ends, and others that follow from its name."""
_TABLE_ERROR: Final = 1e-6
"""How far an entry of a table may be from the published one: what rounding in float32 gives."""
_AT_ONCE: Final = 2**22
"""Weights that are unpacked at a time."""

_Worst = tuple[float, str]
"""An excess, and where it was found."""


def prove(loaded: LoadedModel, request: ProveContent) -> Content:
    """Compare every parameter and saved buffer of a loaded model with its checkpoint, then try its packed layers."""
    started = clock.monotonic()
    model = loaded.whole
    with opened(loaded.spec, loaded.checkpoint) as slices, torch.inference_mode():
        tensors = CheckpointTensors(model, slices)
        elsewhere = brought_in_by_name(model)
        read: dict[str, tuple[StoredTensor, ...]] = {}
        proofs = [
            _proved(holding, tensors, loaded, elsewhere, read, whole=request.whole) for holding in holdings(model)
        ]
        proofs += _buffers(model, tensors, read, whole=request.whole)
        proofs = _held_against_declared(proofs, read)
        proofs += worked_out(model)
    with torch.inference_mode():
        products = tuple(try_products(model))
    return Content(tensors=tuple(proofs), products=products, seconds=clock.monotonic() - started)


def _proved(
    holding: Holding,
    tensors: CheckpointTensors,
    loaded: LoadedModel,
    elsewhere: Mapping[str, Callable[[], torch.Tensor]],
    read: dict[str, tuple[StoredTensor, ...]],
    *,
    whole: bool,
) -> TensorContent:
    """`read` gets the tensors of the files that the parameter was held against, where those are floats."""
    name, form = holding.names[0], holding.form
    parameter: torch.Tensor = holding.parameter
    if parameter.is_meta:
        kept = next((elsewhere[each] for each in holding.names if each in elsewhere), None)
        if kept is None:
            return _faulty(name, "float", "it was never loaded")
        if form is not None:
            return _faulty(
                name, _scheme(form), "it is packed and kept apart from the model, where it was not looked at"
            )
        parameter = kept()
    if isinstance(form, FourBit) and getattr(form.state, "packing_format_for_cpu", False):
        return _faulty(name, form.state.quant_type, "a forward pass has repacked it: it was looked at too late")
    shape = tuple(parameter.shape if form is None or isinstance(form, EightBit) else form.state.shape)
    original = tensors.of(holding.names, shape)
    if original is None:
        return _faulty(name, _scheme(form), "the checkpoint has no tensor for it")
    if isinstance(form, EightBit) and (fault := _threshold_fault(holding.module, loaded)):
        return _faulty(name, "int8", fault)
    if form is not None and (packed := _packed_file(name, form, tensors)) is not None:
        return packed
    if form is not None or parameter.is_floating_point():
        read[name] = original.parts
    watched = Watched(original, infinite=False)
    proof = _compared(holding, parameter, watched, getattr(torch, loaded.spec.dtype), whole=whole)
    return replace(proof, fault=proof.fault or watched.fault)


def _compared(
    holding: Holding, parameter: torch.Tensor, original: Original, dtype: torch.dtype, *, whole: bool
) -> TensorContent:
    name, form = holding.names[0], holding.form
    if form is None:
        return _exact(name, parameter, original, whole=whole)
    shape = tuple(parameter.shape if isinstance(form, EightBit) else form.state.shape)
    if issubclass(getattr(holding.module, "source_cls", type(holding.module)), Conv1D):
        original = Transposed(original)
    if original.shape != shape:
        return _faulty(name, _scheme(form), f"its shape is {shape}, and {original.shape} in the checkpoint")
    if isinstance(form, FourBit):
        return _four_bit(name, form, original, dtype, whole=whole)
    return _eight_bit(name, form, original, dtype, whole=whole)


def _threshold_fault(module: Any, loaded: LoadedModel) -> str:
    """What is wrong with the size of inputs from which a layer in int8 holds a column back in 16 bit; empty where it is
    the one that was asked for. Without it outliers are rounded away, with one that is too low nothing is in int8."""
    if not isinstance(module, Linear8bitLt):
        return ""
    asked, found = _asked_threshold(loaded), float(module.state.threshold)
    return (
        "" if found == asked else f"it holds inputs from {found:g} on back in 16 bit, and from {asked:g} was asked for"
    )


def _asked_threshold(loaded: LoadedModel) -> float:
    """A checkpoint that was saved packed says it itself; then the entry; then the scheme's paper."""
    packing: Any = loaded.spec.load_options.get(_PACKING, {})
    own = loaded.checkpoint.folder / "config.json" if loaded.checkpoint is not None else None
    if own is not None and own.is_file():
        packing = json.loads(own.read_text(encoding="utf-8")).get(_PACKING) or packing
    asked = packing.get("llm_int8_threshold")
    return _THRESHOLD if asked is None else float(asked)


def _held_against_declared(
    proofs: Sequence[TensorContent], read: Mapping[str, tuple[StoredTensor, ...]]
) -> list[TensorContent]:
    """The proofs, with a fault for each tensor whose numbers its file declares to be of another format."""
    kinds = {part.name: part.declared for parts in read.values() for part in parts}
    mixed = {**mixed_halves(kinds), **lone_eighths(kinds)}
    faults = {name: integer_fault(name, kind) or mixed.get(name, "") for name, kind in kinds.items()}

    def fault_of(name: str) -> str:
        return next((faults[part.name] for part in read.get(name, ()) if faults[part.name]), "")

    return [replace(proof, fault=proof.fault or fault_of(proof.name)) for proof in proofs]


def _buffers(
    model: Any, tensors: CheckpointTensors, read: dict[str, tuple[StoredTensor, ...]], *, whole: bool
) -> Iterator[TensorContent]:
    """Those that are saved: what a model works out anew has nothing in the file to be held against."""
    saved = model.state_dict(keep_vars=True).keys()
    for name, buffer in model.named_buffers():
        if name in saved and ".parametrizations." not in f".{name}":
            original = tensors.of((name,), tuple(buffer.shape))
            if original is None:
                yield _faulty(name, "float", "the checkpoint has no tensor for it")
            else:
                if buffer.is_floating_point():
                    read[name] = original.parts
                # A mask may be kept with its infinities.
                watched = Watched(original, infinite=True)
                proof = _exact(name, buffer, watched, whole=whole)
                yield replace(proof, fault=proof.fault or watched.fault)


def _scheme(form: FourBit | EightBit | None) -> str:
    if form is None:
        return "float"
    return "int8" if isinstance(form, EightBit) else f"{form.state.quant_type}{'-dq' if form.state.nested else ''}"


def _faulty(name: str, scheme: str, fault: str) -> TensorContent:
    return TensorContent(name=name, scheme=scheme, blocks=0, checked=0, excess=None, fault=fault)


# What is not packed ---------------------------------------------------------------------------------------------------


def _exact(name: str, tensor: torch.Tensor, original: Original, *, whole: bool) -> TensorContent:
    if original.shape != tuple(tensor.shape):
        return _faulty(name, "float", f"its shape is {tuple(tensor.shape)}, and {original.shape} in the checkpoint")
    width = tensor.shape[-1] if tensor.dim() else 1
    rows = tensor.detach().reshape(-1, width)
    proof = TensorContent(name=name, scheme="float", blocks=len(rows), checked=0, excess=0.0)
    for start, stop in ranges(name, len(rows), width, 1, whole=whole):
        found = rows[start:stop].cpu().contiguous()
        expected = original.rows(start, stop).to(found.dtype).reshape(found.shape)
        unlike = (_bits(found) != _bits(expected)).any(-1)
        proof = replace(proof, checked=proof.checked + stop - start)
        if bool(unlike.any()):
            first = start + int(unlike.nonzero()[0])
            text = (
                f"{int(unlike.sum()):,} of {stop - start:,} rows are not the checkpoint's; the first is row {first:,}"
            )
            return replace(proof, excess=math.inf, fault=text)
    return proof


def _bits(rows: torch.Tensor) -> torch.Tensor:
    """Bytes, so that one NaN is equal to the same NaN: whether there may be one is asked apart, of what is read."""
    return rows.contiguous().view(torch.uint8)


# What is packed -------------------------------------------------------------------------------------------------------


def _four_bit(name: str, form: FourBit, original: Original, dtype: torch.dtype, *, whole: bool) -> TensorContent:
    state, count = form.state, math.prod(form.state.shape)
    blocks = math.ceil(count / BLOCK)
    scheme = _scheme(form)
    if state.blocksize != BLOCK or len(form.bytes) != math.ceil(count / 2) or state.absmax.numel() != blocks:
        text = f"{len(form.bytes):,} bytes and {state.absmax.numel():,} scales cannot hold {count:,} weights"
        return _faulty(name, scheme, f"{text} in blocks of {BLOCK}")
    worst = _tables(state)
    checked = 0
    for start, stop in ranges(name, blocks, BLOCK, NESTED, whole=whole):
        values = flat_rows(original, start * BLOCK, min(stop * BLOCK, count)).to(dtype).float()
        codes = nibbles(form.bytes[start * BLOCK // 2 : stop * BLOCK // 2].cpu(), values.numel())
        weights = in_blocks(values, BLOCK)
        largest = weights.abs().amax(-1)
        scaled = scaled_by(weights, largest[:, None])
        # Where a last block is filled up, its codes are filled up with the code of zero.
        filled = torch.nn.functional.pad(codes, (0, weights.numel() - codes.numel()), value=7)
        # Nested, a block of zeros has a scale that is nearly zero; else a scale that is not zero makes its codes count.
        scales = largest if state.nested else torch.maximum(largest, state.absmax[start:stop].float().abs().cpu())
        errors = counted(code_error(scaled, filled.view(weights.shape), NF4).amax(-1), scales)
        worst = _max(worst, _at(errors, start, "block {}, a code"))
        worst = _max(worst, _scales_error(state, largest, start, stop))
        checked += stop - start
    return TensorContent(name=name, scheme=scheme, blocks=blocks, checked=checked, excess=worst[0], where=worst[1])


def _tables(state: Any) -> _Worst:
    """The tables that unpack: of NF4, and of nested statistics."""
    tables = [(state.code, NF4, "the table of codes")]
    if state.nested:
        tables.append((state.state2.code, dynamic_table(), "the table of the scales' codes"))
    worst: _Worst = (0.0, "")
    for found, expected, what in tables:
        same = found.numel() == expected.numel()
        errors = (found.float().cpu().reshape(-1) - expected).abs() if same else torch.tensor([math.inf])
        worst = _max(worst, (_at(errors, 0, what)[0], what))
    return worst


def _scales_error(state: Any, largest: torch.Tensor, start: int, stop: int) -> _Worst:
    """The scales of some blocks against the largest weight of each; `start` begins a group of nested ones."""
    found = state.absmax[start:stop].cpu()
    if not state.nested:
        return _at(relative_error(found.float(), largest), start, "the scale of block {}")
    second = state.state2
    if second.blocksize != NESTED or found.dtype != torch.uint8:
        return math.inf, f"scales in groups of {second.blocksize} as {found.dtype}"
    offset = state.offset.float().cpu()
    groups = in_blocks(largest - offset, NESTED)
    filled = math.ceil(len(found) / NESTED)
    # The padding of a last group must not count as a scale.
    spread = groups.abs().amax(-1)
    kept = second.absmax[start // NESTED : start // NESTED + filled].float().cpu()
    worst = _at(relative_error(kept, spread), start // NESTED, "the spread of the scales of group {}")
    table = dynamic_table()
    scaled = scaled_by(groups, spread[:, None]).reshape(-1)[: len(found)]
    errors = code_error(scaled, found.long(), table)
    # Where all scales of a group are alike, no code moves any of them, and the library writes whichever it likes.
    alike = (spread == 0).repeat_interleave(NESTED)[: len(found)]
    held = kept.repeat_interleave(NESTED)[: len(found)] * table[found.long()] + offset
    errors = torch.where(alike, relative_error(held, largest), errors)
    return _max(worst, _at(errors, start, "the scale of block {}"))


def _eight_bit(name: str, form: EightBit, original: Original, dtype: torch.dtype, *, whole: bool) -> TensorContent:
    width = form.data.shape[-1]
    codes, scales = form.data.reshape(-1, width), form.scales.reshape(-1)
    if len(scales) != len(codes):
        return _faulty(name, "int8", f"{len(scales):,} scales for {len(codes):,} rows")
    worst: _Worst = (0.0, "")
    checked = 0
    for start, stop in ranges(name, len(codes), width, 1, whole=whole):
        # The scheme goes through float16.
        rows = original.rows(start, stop).to(dtype).to(torch.float16).float().reshape(stop - start, width)
        found = scales[start:stop].float().cpu()
        worst = _max(worst, _at(relative_error(found, rows.abs().amax(-1)), start, "the scale of row {}"))
        errors = row_error(rows, codes[start:stop].cpu()).amax(-1).clamp(min=0) / 127
        worst = _max(worst, _at(errors, start, "row {}, a code"))
        checked += stop - start
    return TensorContent(name=name, scheme="int8", blocks=len(codes), checked=checked, excess=worst[0], where=worst[1])


def _packed_file(name: str, form: FourBit | EightBit, tensors: CheckpointTensors) -> TensorContent | None:
    """A weight that the checkpoint holds packed: then its bytes and statistics must be the file's. None for others."""
    stored = tensors.stored(name)
    parts: dict[str, torch.Tensor] = {}
    if isinstance(form, EightBit) and tensors.stored(f"{name.removesuffix('weight')}SCB") is not None:
        parts = {name: form.data, f"{name.removesuffix('weight')}SCB": form.scales}
    elif isinstance(form, FourBit) and tensors.stored(f"{name}.absmax") is not None:
        parts = {name: form.data, f"{name}.absmax": form.state.absmax, f"{name}.quant_map": form.state.code}
        if form.state.nested:
            second = form.state.state2
            parts |= {f"{name}.nested_absmax": second.absmax, f"{name}.nested_quant_map": second.code}
    if stored is None or not parts:
        return None
    for part, tensor in parts.items():
        other = tensors.stored(part)
        if other is None or not _same_bytes(tensor, other.slice[...]):
            return _faulty(name, _PACKED_FILE, f"{part} is not what the checkpoint holds")
        # Packed bytes may be kept as floats, and are none.
        if part != name and not_numbers(tensor) is not None:
            return _faulty(name, _PACKED_FILE, f"{part} holds a value that is no finite number")
    if isinstance(form, FourBit) and (wrong := _wrong_tables(form.state)):
        return _faulty(name, _PACKED_FILE, wrong)
    if isinstance(form, FourBit) and form.state.nested and not _same_offset(name, form.state, tensors):
        return _faulty(name, _PACKED_FILE, "the offset of its scales is not what the checkpoint holds")
    return TensorContent(name=name, scheme=_PACKED_FILE, blocks=len(parts), checked=len(parts), excess=0.0)


def _wrong_tables(state: Any) -> str:
    """What is wrong with what unpacks a weight that came packed: a file brings its own tables and block sizes."""
    if state.blocksize != BLOCK or (state.nested and state.state2.blocksize != NESTED):
        groups = f" and of {state.state2.blocksize} of them" if state.nested else ""
        return f"it is read in blocks of {state.blocksize}{groups}, and the scheme has {BLOCK} and {NESTED}"
    error, what = _tables(state)
    return f"{what} is not the scheme's: {error:.2g} away" if not error <= _TABLE_ERROR else ""


def _same_bytes(found: torch.Tensor, expected: torch.Tensor) -> bool:
    one, other = (tensor.cpu().contiguous().reshape(-1).view(torch.uint8) for tensor in (found, expected))
    return torch.equal(one, other)


def _same_offset(name: str, state: Any, tensors: CheckpointTensors) -> bool:
    for kind in ("nf4", "fp4"):
        if (told := tensors.stored(f"{name}.quant_state.bitsandbytes__{kind}")) is not None:
            facts: Mapping[str, Any] = json.loads(bytes(told.slice[...].tolist()))
            return math.isclose(float(state.offset), float(facts["nested_offset"]), rel_tol=1e-6)
    return False


# What is looked at ----------------------------------------------------------------------------------------------------


def ranges(name: str, count: int, width: int, group: int, *, whole: bool) -> Iterator[tuple[int, int]]:
    """The blocks (or rows) to compare of `count`, each of `width` weights, as ranges that begin where a group of them
    does: all, or a sample that follows from the tensor's name."""
    step = max(1, _AT_ONCE // (width * group)) * group
    if whole or count * width <= _ALL:
        yield from ((start, min(start + step, count)) for start in range(0, count, step))
        return
    size = max(1, math.ceil(_ALL // 64 / (width * group))) * group
    places = math.ceil(count / size)
    chance = random.Random(name)  # noqa: S311  nothing is kept secret here
    chosen = {0, places - 1, *chance.sample(range(places), min(places, _PIECES - 2))}
    yield from ((place * size, min((place + 1) * size, count)) for place in sorted(chosen))


def _at(errors: torch.Tensor, start: int, text: str) -> _Worst:
    """The largest of some errors, a NaN before any number."""
    if not errors.numel():
        return 0.0, ""
    place = int(torch.where(errors.isnan(), torch.inf, errors).argmax())
    error = float(errors[place])
    return (math.inf if math.isnan(error) else error), text.format(f"{start + place:,}")


def _max(*worst: _Worst) -> _Worst:
    return max(worst, key=lambda pair: pair[0])
