"""The node as a picture of its GPUs: a tile each with its health, its speeds against their floors, and what it carried.

A tile says nothing that was not recorded: what was not watched, not measured or not judged says so. A node without a
GPU is one tile, of its processor and RAM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from plimsoll.catalogue.entries import without_gpus
from plimsoll.catalogue.health import read_health
from plimsoll.evidence.record import RunGpu, RunRecord
from plimsoll.judge.health import NODE
from plimsoll.judge.judgement import Judgement
from plimsoll.node.node import Gpu, Node
from plimsoll.present.document import (
    BREAK,
    Block,
    Bullets,
    Cell,
    Facts,
    Fold,
    Inline,
    Paragraph,
    Section,
    Sign,
    Span,
    Style,
    Tile,
    Tiles,
    Tone,
    Words,
    faint,
)
from plimsoll.present.foreign_text import one_line
from plimsoll.report.figures import brief_limit, brief_value
from plimsoll.report.node_card import node_card, node_groups
from plimsoll.report.pieces import BELOW, check_link
from plimsoll.report.story import spoken
from plimsoll.units import counted, format_brief
from plimsoll.verdict.cells import WORST_FIRST, CellOutcome, CellResult, was_not_asked

_SPEEDS: Final = {
    "matmul_rate": "products",
    "memory_bandwidth": "its memory",
    "link_rate": "copies",
    "peer_rate": "copies to other GPUs",
    "all_reduce_rate": "sums over GPUs",
    "behind_others": "behind its product",
}
"""Metric of a speed -> what it is the speed of."""
_HEALTH: Final = "health"
"""The subject of the checks that ask how a GPU is."""
_SHOWN: Final = 4
"""Variants and faults of a tile that stand at a glance; the others unfold."""
_REASON: Final = 110
"""Characters of a reason on a tile."""
_ELSEWHERE: Final = "in the report of the node"
_NOT_RECORDED: Final = faint("not recorded: the evidence is of before GPUs were told apart")
_TONES: Final = {
    CellOutcome.FAIL: Tone.BAD,
    CellOutcome.NOT_RUN: Tone.GAP,
    CellOutcome.SKIP: Tone.GAP,
    CellOutcome.WAIVED: Tone.GAP,
    CellOutcome.MARGINAL: Tone.NEAR,
    CellOutcome.PASS: Tone.GOOD,
}
_WORST: Final = (Tone.BAD, Tone.GAP, Tone.NEAR, Tone.GOOD)


def node_sections(record: RunRecord, results: Sequence[CellResult]) -> list[Section]:
    """A section for each machine: its tiles, and all that was probed of it to unfold."""
    groups = node_groups(record)
    if not groups:
        return [Section(title="Node", blocks=(Paragraph(words="The run ended before the node was recorded."),))]
    return [_section(node, runs, results, several=len(groups) > 1) for node, runs in groups]


def _section(node: Node, runs: Sequence[RunRecord], results: Sequence[CellResult], *, several: bool) -> Section:
    ids = {run.run_id for run in runs}
    own = [result for result in results if result.run_id in ids or (result.run_id is None and not several)]
    seen = [each for run in runs for each in run.health]
    gpus = _gpus(node, runs)
    tiles = _tiles(node, runs, own, seen, is_linked=True)
    about_all = [finding for each in seen for finding in each["findings"] if finding["index"] == NODE]
    blocks: list[Block] = [Tiles(label=f"GPUs of {node.hostname}" if gpus else node.hostname, tiles=tiles)]
    if about_all:
        blocks.insert(0, Bullets(entries=tuple(dict.fromkeys(_said(finding) for finding in about_all))))
    probed = Section(
        title="All that was probed", level=0, fold=Fold.CLOSED, blocks=(Facts(pairs=tuple(node_card(node))),)
    )
    return Section(title=f"Node {node.hostname}", note=_in_short(node, gpus), blocks=(*blocks, probed))


def node_tiles(record: RunRecord, results: Sequence[CellResult]) -> tuple[Tile, ...]:
    """The tiles of the machine that was probed last, for a page without the rows of its checks."""
    groups = node_groups(record)
    if not groups:
        return ()
    node, runs = groups[-1]
    seen = [each for run in runs for each in run.health]
    return _tiles(node, runs, results, seen, is_linked=False)


def _tiles(
    node: Node,
    runs: Sequence[RunRecord],
    own: Sequence[CellResult],
    seen: Sequence[Mapping[str, Any]],
    *,
    is_linked: bool,
) -> tuple[Tile, ...]:
    is_recorded = any(run.gpus for run in runs)
    loaded = frozenset(load.variant for run in runs for load in run.loads)
    by_gpu: dict[str, list[CellResult]] = {}
    for result in own:
        for gpu_id in dict.fromkeys(result.cell.gpus):
            by_gpu.setdefault(gpu_id, []).append(result)
    tiles = tuple(
        _gpu_tile(gpu, node, by_gpu.get(gpu.id, []), seen, loaded, is_recorded=is_recorded, is_linked=is_linked)
        for gpu in _gpus(node, runs)
    )
    return tiles or (_processor_tile(node, own, loaded, is_linked=is_linked),)


def _in_short(node: Node, gpus: Sequence[RunGpu]) -> str:
    products = Counter(gpu.name or "a GPU whose name was not read" for gpu in gpus)
    named = [f"{count} × {name}" for name, count in products.items()]
    driver = [f"driver {node.driver}"] if gpus and node.driver else []
    return ", ".join([*(named or ["no GPU"]), *driver, f"{node.system} {node.kernel}"])


def _gpus(node: Node, runs: Sequence[RunRecord]) -> list[RunGpu]:
    """Those that a run could use; of early evidence, which has no such list, those that were probed."""
    listed: dict[str, RunGpu] = {}
    for run in runs:
        for gpu in run.gpus:
            if gpu.id not in listed or gpu.used:
                listed[gpu.id] = gpu
    probed = [
        RunGpu(id=f"gpu{gpu.index}", index=gpu.index, uuid=gpu.uuid, serial=gpu.serial, name=gpu.name, used=True)
        for gpu in node.gpus
    ]
    return sorted(listed.values(), key=lambda gpu: (gpu.index, gpu.id)) or probed


def _gpu_tile(
    gpu: RunGpu,
    node: Node,
    own: Sequence[CellResult],
    seen: Sequence[Mapping[str, Any]],
    loaded: Collection[str],
    *,
    is_recorded: bool,
    is_linked: bool,
) -> Tile:
    """A GPU; early evidence does not say which checks were asked of it."""
    probed = next((each for each in node.gpus if each.index == gpu.index), None)
    word, tone, said = _health(gpu, probed, seen, own)
    return Tile(
        title=gpu.id.replace("gpu", "GPU "),
        note=", ".join([gpu.name or "name not read", *_memory(probed)]),
        word=Span(text=word, tone=tone),
        tone=_worst([tone, *(_TONES[result.outcome] for result in own)]),
        facts=(
            ("Health", said),
            ("Speed", _speeds(own)),
            ("Carried", _carried(own, loaded, gpu.used) if is_recorded else _NOT_RECORDED),
            ("Checks", _counts(own) if is_recorded else _NOT_RECORDED),
            *_faults(own, is_linked=is_linked),
            ("Identity", _identity(gpu, probed)),
        ),
    )


def _processor_tile(node: Node, results: Sequence[CellResult], loaded: Collection[str], *, is_linked: bool) -> Tile:
    cpu = node.cpu
    cores = counted(cpu.logical_cores, "logical core")
    ram = (
        f"{format_brief(node.memory.total, 'bytes')}, {format_brief(node.memory.available, 'bytes')} of it available "
        "when the run began"
    )
    return Tile(
        title="Processor and RAM",
        note=f"{cpu.model or cpu.architecture}, {cores}",
        word=Span(text="no GPU"),
        tone=_worst([_TONES[result.outcome] for result in results]),
        facts=(
            ("RAM", ram),
            ("Speed", _speeds(results)),
            ("Carried", _carried(results, loaded, used=True)),
            ("Checks", _counts(results)),
            *_faults(results, is_linked=is_linked),
        ),
    )


def _worst(tones: Sequence[Tone]) -> Tone:
    return next((tone for tone in _WORST if tone in tones), Tone.PLAIN)


def _memory(gpu: Gpu | None) -> list[str]:
    return [] if gpu is None or gpu.memory_total is None else [format_brief(gpu.memory_total, "bytes")]


def _health(
    gpu: RunGpu, probed: Gpu | None, seen: Sequence[Mapping[str, Any]], results: Iterable[CellResult]
) -> tuple[str, Tone, Cell]:
    """The word on the tile, what it means for the reader, and what was found."""
    findings = [finding for each in seen for finding in each["findings"] if finding["index"] == gpu.index]
    unread = [blind for each in seen for blind in each["unread"] if blind["index"] == gpu.index]
    if findings:
        rules = read_health()
        known = [finding["action"] for finding in findings if finding["action"] in rules.actions]
        action = rules.gravest(known)
        texts = tuple(dict.fromkeys(str(finding["what"]) for finding in findings))
        advice = f"{action}: {rules.actions[action]}" if action else "see what was found"
        return "sick", Tone.BAD, (advice, Bullets(entries=texts, most=_SHOWN, rest="below"))
    failed = [one for one in results if one.cell.subject == _HEALTH and one.outcome is CellOutcome.FAIL]
    if failed:
        return "sick", Tone.BAD, one_line(spoken(failed[0].reason), _REASON)
    if probed is not None and probed.lost is not None:
        return "lost", Tone.BAD, f"it does not answer: {one_line(probed.lost, _REASON)}"
    if not gpu.used:
        return "left out", Tone.PLAIN, "the run was told to leave it out"
    if unread:
        what = ", ".join(dict.fromkeys(str(blind["what"]) for blind in unread))
        return "not all read", Tone.GAP, f"could not be read: {one_line(what, _REASON)}"
    if not any(gpu.index in each["gpus"] for each in seen):
        return "not watched", Tone.GAP, "not watched in this run"
    return "sound", Tone.GOOD, "nothing was found while it was watched"


def _said(finding: Mapping[str, Any]) -> str:
    return f"{finding['gpu']}: {finding['what']}; {finding['action']}: {finding['does']}"


def _speeds(results: Iterable[CellResult]) -> Cell:
    """Each speed with its floor, then those that nobody limits, and how many were not measured and why."""
    judged: list[Inline] = []
    missing: list[CellResult] = []
    for result in results:
        found = list(_speeds_of(result))
        for words in found:
            judged += [BREAK] if judged else []
            judged += words
        if not found and any(metric in _SPEEDS for metric in result.cell.measures):
            missing.append(result)
    if not judged and not missing:
        return faint("not measured in this run")
    lines: list[Inline] = judged
    if missing:
        why = one_line(spoken(missing[0].reason), _REASON) or missing[0].outcome.word
        lines += [BREAK] if lines else []
        lines.append(faint(f"{counted(len(missing), 'speed')} not measured: {why}"))
    return tuple(lines)


def _speeds_of(result: CellResult) -> Iterator[tuple[Inline, ...]]:
    told = set()
    for judgement in result.judgements:
        metric = judgement.measurement.metric
        if metric in _SPEEDS and judgement.measurement.value is not None:
            told.add(metric)
            yield _speed(judgement, _name(result, metric))
    for noted in result.measurements:
        metric = noted.measurement.metric
        if metric in _SPEEDS and metric not in told and noted.measurement.value is not None:
            yield (f"{_name(result, metric)} ", brief_value(noted.measurement), faint(" no floor to hold it against"))


def _speed(judgement: Judgement, name: str) -> tuple[Inline, ...]:
    sign = Sign(outcome=judgement.outcome.value)
    limit = brief_limit(judgement.limit)
    short = limit.text.replace("at least ", "≥ ").replace("at most ", "≤ ")
    return (sign, f" {name} ", brief_value(judgement.measurement), " ", replace(limit, text=short))


def _name(result: CellResult, metric: str) -> str:
    """`bf16 products`, `copies to-device-pinned`: by what was recorded, or the parameter of the check."""
    of = next((str(m.context["of"]) for m in result.measurements if m.context.get("of")), "")
    parameter = result.cell.id.partition("[")[2].rpartition("]")[0]
    of = of or parameter.partition("-")[2]
    if metric == "link_rate":
        return f"copies {of.replace('-', ' ')}".rstrip()
    if metric in ("matmul_rate", "behind_others") and of:
        return f"{of} {_SPEEDS[metric]}"
    return _SPEEDS[metric]


def _carried(results: Iterable[CellResult], loaded: Collection[str], used: bool) -> Cell:
    """The variants that loaded, by the recorded loads; where none is recorded, those of which a check asked."""
    asked: dict[str, bool] = {}
    for result in results:
        if variant := result.cell.variant:
            is_carried = variant in loaded if loaded else _was_asked(result)
            asked[without_gpus(variant)] = asked.get(without_gpus(variant), False) or is_carried
    variants = [variant for variant, is_carried in asked.items() if is_carried]
    if not variants and asked:
        return faint(f"no model: none of {counted(len(asked), 'planned variant')} loaded")
    if not variants:
        return faint("no model" if used else "nothing")
    names = tuple(Span(text=name, style=Style.CODE) for name in variants)
    if len(variants) <= _SHOWN:
        return _joined(names, BREAK)
    rest = Paragraph(words=_joined(names[_SHOWN:], ", "))
    more = Section(title=f"and {len(variants) - _SHOWN} more", level=0, fold=Fold.CLOSED, blocks=(rest,))
    return (*_joined(names[:_SHOWN], BREAK), more)


def _was_asked(result: CellResult) -> bool:
    """True where a check came to a result on a model: neither a gap nor a failure before the check began."""
    outcome = result.waived or result.outcome
    return not outcome.is_gap and not was_not_asked(result.reason)


def _joined(names: Sequence[Inline], between: Inline) -> tuple[Inline, ...]:
    return tuple(piece for name in names for piece in (name, between))[:-1]


def _counts(results: Iterable[CellResult]) -> Words:
    counts = Counter(result.outcome for result in results)
    if not counts:
        return faint("none was asked of it")
    told = [f"{counts[outcome]} {outcome.word}" for outcome in WORST_FIRST if counts[outcome]]
    worst = next(outcome for outcome in WORST_FIRST if counts[outcome])
    return (Sign(outcome=worst.value), f" {', '.join(told)}")


def _faults(results: Iterable[CellResult], *, is_linked: bool) -> list[tuple[str, Cell]]:
    failed = [result for result in results if result.outcome is CellOutcome.FAIL]
    if not failed:
        return []
    links: list[Words] = [
        (
            check_link(result) if is_linked else check_link(result).text,
            *([f" of {without_gpus(result.cell.variant)}"] if result.cell.variant else []),
        )
        for result in failed
    ]
    return [("Failed", (Bullets(entries=tuple(links), most=_SHOWN, rest=BELOW if is_linked else _ELSEWHERE),))]


def _identity(gpu: RunGpu, probed: Gpu | None) -> Words:
    known = [("UUID", gpu.uuid), ("serial", gpu.serial)]
    known += [] if probed is None else [("VBIOS", probed.vbios)]
    return faint(", ".join(f"{label} {value or 'not read'}" for label, value in known))
