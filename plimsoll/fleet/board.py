"""All nodes of a fleet at a glance, a mark for each GPU; and tiles of the GPUs of those that are not wholly well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from plimsoll.fleet.fleet import Fleet
from plimsoll.fleet.names import natural
from plimsoll.fleet.summary import NodeSummary
from plimsoll.present.document import Block, Board, Fold, Key, Paragraph, Plate, Section, Tile, Tiles, Tone, faint
from plimsoll.present.foreign_text import one_line
from plimsoll.units import counted
from plimsoll.verdict.verdict import Word

TONES: Final = {Word.ACCEPTED: Tone.GOOD, Word.REJECTED: Tone.BAD, Word.INCOMPLETE: Tone.NEAR}
_WORST_FIRST: Final = (Word.REJECTED, Word.INCOMPLETE, Word.ACCEPTED)
_ALL_UP_TO: Final = 16
"""Nodes of a fleet up to which each has tiles, also those that are well."""
_MOST_TILED: Final = 40
"""Nodes with tiles: more would make a page that opens slowly."""
_LONGEST: Final = 160
_KEY: Final = Key(
    label="Key to the GPUs",
    marks=(
        ("mark-good", "a GPU of which nothing was found"),
        ("mark-near", "marginal, or slower than its like"),
        ("mark-bad", "something failed"),
        ("mark-gap", "not all of it is known"),
        ("mark-plain", "left out"),
    ),
)


def board_section(fleet: Fleet) -> Section | None:
    """The board, and below it the tiles; None where no node left evidence."""
    if not fleet.nodes:
        return None
    slow = _slow_gpus(fleet)
    odd = {*slow, *fleet.oddities()}
    nodes = sorted(
        fleet.nodes,
        key=lambda node: (_WORST_FIRST.index(fleet.word_of(node)), node.name not in odd, natural(node.name)),
    )
    chosen = [
        node
        for node in nodes
        if node.tiles and (len(nodes) <= _ALL_UP_TO or node.name in odd or fleet.word_of(node) is not Word.ACCEPTED)
    ]
    tiled = chosen[:_MOST_TILED]
    anchors = {node.name: f"gpus-{number}" for number, node in enumerate(tiled, start=1)}
    plates = [_plate(node, fleet, slow.get(node.name, ()), anchors) for node in fleet.nodes]
    plates += [_lost(name) for name in (fleet.missing if fleet.expected.names else ())]
    blocks: list[Block] = [_KEY, Board(label=f"{counted(len(plates), 'node')} and their GPUs", plates=tuple(plates))]
    blocks += [_tiled(node, fleet, anchors[node.name], is_odd=node.name in odd) for node in tiled]
    if len(chosen) > len(tiled):
        left = len(chosen) - len(tiled)
        blocks.append(Paragraph(words=f"{counted(left, 'more node')} would have tiles: the report of each shows them."))
    return Section(
        title="Nodes and their GPUs", anchor="board", note=counted(len(plates), "node"), blocks=tuple(blocks)
    )


def _slow_gpus(fleet: Fleet) -> dict[str, tuple[str | None, ...]]:
    """Node -> its GPUs that are slower than their like; None stands for all of them."""
    found: dict[str, tuple[str | None, ...]] = {}
    for one in fleet.outliers.outliers:
        found[one.node] = (*found.get(one.node, ()), one.gpu)
    return found


def _plate(node: NodeSummary, fleet: Fleet, slow: Sequence[str | None], anchors: Mapping[str, str]) -> Plate:
    word = fleet.word_of(node)
    told = [f"{tile.title} {tile.word.text}" for tile in node.tiles if tile.tone is not Tone.GOOD and tile.word.text]
    told += [f"{gpu or 'all GPUs'} slower than its like" for gpu in dict.fromkeys(slow)]
    title = one_line("; ".join([f"{node.name}: {word}", *told]), _LONGEST)
    marks = tuple(_mark(tile, slow) for tile in node.tiles)
    return Plate(name=node.name, anchor=anchors.get(node.name, ""), title=title, tone=TONES[word], marks=marks)


def _mark(tile: Tile, slow: Sequence[str | None]) -> Tone:
    is_slow = None in slow or tile.title.lower().replace(" ", "") in slow
    return Tone.NEAR if is_slow and tile.tone in (Tone.GOOD, Tone.PLAIN) else tile.tone


def _lost(name: str) -> Plate:
    return Plate(name=name, anchor="", title=f"{name}: it is expected, and left nothing", tone=Tone.GAP, marks=())


def _tiled(node: NodeSummary, fleet: Fleet, anchor: str, *, is_odd: bool) -> Section:
    """The tiles of a node; those of one that is well fold away."""
    word = fleet.word_of(node)
    products = f"{len(node.gpus)} × {' + '.join(node.products)}" if node.gpus else " + ".join(node.products)
    return Section(
        title=node.name,
        level=2,
        note=f"{word}, {products}",
        anchor=anchor,
        fold=Fold.OPEN if is_odd or word is not Word.ACCEPTED else Fold.CLOSED,
        blocks=(
            *([Paragraph(words=faint(one_line(node.statement)))] if word is not Word.ACCEPTED else []),
            Tiles(label=f"GPUs of {node.name}", tiles=node.tiles),
        ),
    )
