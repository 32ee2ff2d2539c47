"""The fleet's verdict as a document: the odd nodes first, then nodes against checks, then what differs and how far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final

from plimsoll.fleet.board import TONES, board_section
from plimsoll.fleet.charts import chart_section
from plimsoll.fleet.differences import Difference
from plimsoll.fleet.fleet import Fleet, outcome_counts
from plimsoll.fleet.matrix import LONGEST_NAMES, MOST_COLUMNS, matrix_section, question_of
from plimsoll.fleet.names import natural
from plimsoll.fleet.outliers import ALPHA, FLOOR, Outlier, spoken_value
from plimsoll.fleet.stragglers import FACTOR, LEAST
from plimsoll.fleet.summary import NodeSummary
from plimsoll.present.document import (
    BREAK,
    Banner,
    Bullets,
    Cell,
    Document,
    Fold,
    Inline,
    Paragraph,
    Section,
    Sign,
    Span,
    Table,
    Tone,
    Verbatim,
    code,
    columns,
    strong,
)
from plimsoll.present.foreign_text import one_line
from plimsoll.units import counted, format_seconds
from plimsoll.verdict.cells import CellOutcome
from plimsoll.verdict.verdict import Word

_ORDER: Final = (Word.REJECTED, Word.INCOMPLETE, Word.ACCEPTED)
_OTHER_BITS: Final[tuple[Inline, ...]] = (" by itself, and ", Span(text="other bits", tone=Tone.BAD))
_FEW_NODES: Final = 3
"""From which a failure of most of them is no chance."""
_MOST_ODD: Final = 200
"""Odd nodes that are told in full; all stand in the list of nodes and in the file for programs."""
_MOST_SCOPES: Final = 3
_MOST_REASONS: Final = 5
_MOST_ODDITIES: Final = 8
_MOST_GROUPS: Final = 6
_MOST_LISTED: Final = 300
_LONGEST_REASON: Final = 400


def fleet_document(fleet: Fleet, *, on_page: bool = False) -> Document:
    """Everything that people read of a fleet; a page has tiles and charts too."""
    sections = (
        _faults(fleet),
        _odd_nodes(fleet),
        board_section(fleet) if on_page else None,
        matrix_section(fleet.nodes),
        chart_section(fleet) if on_page else None,
        _differences(fleet.differences),
        _outliers(fleet),
        _numerics(fleet),
        _wall_time(fleet),
        _notes(fleet),
        drain_section(fleet),
        _nodes(fleet),
        _method(fleet),
    )
    return Document(
        title="Fleet", blocks=(_statement(fleet), *(section for section in sections if section is not None))
    )


def _statement(fleet: Fleet) -> Banner:
    gpus = sum(len(node.gpus) for node in fleet.nodes)
    scopes = tuple(dict.fromkeys(node.scope for node in fleet.nodes))
    named: list[Inline] = []
    for scope in scopes[:_MOST_SCOPES]:
        named += [*(["; "] if named else []), code(scope)]
    facts: tuple[Inline, ...] = (
        "Scope: ",
        *(named or ["nothing"]),
        f"; and {len(scopes) - _MOST_SCOPES} more" if len(scopes) > _MOST_SCOPES else "",
        f". {counted(len(fleet.nodes), 'node')} with {counted(gpus, 'GPU')}, "
        f"{counted(fleet.planned, 'check')} planned.",
    )
    odd = [
        f"{counted(len(found), noun)}"
        for found, noun in (
            (fleet.outliers.outliers, "outlier"),
            (fleet.differences, "difference"),
            (fleet.stragglers, "straggler"),
        )
        if found
    ]
    breaches = tuple((strong(head), rest) for head, rest in breach_words(fleet))
    return Banner(
        tone=Tone.BAD if fleet.breaches else TONES[fleet.word],
        title=fleet.statement,
        blocks=(
            Paragraph(words=facts),
            *([Bullets(entries=breaches)] if breaches else []),
            *([Paragraph(words=f"Odd, without changing the word: {', '.join(odd)}.")] if odd else []),
        ),
    )


def breach_words(fleet: Fleet) -> list[tuple[str, str]]:
    """What is said of each thing of `--fail-on` that was found: a beginning, which stands out, and the rest."""
    return [(f"fails on {breach}", ": --fail-on asks for none") for breach in fleet.breaches]


def _listed(
    title: str, entries: Sequence[Cell], most: int | None = None, rest: str = "in fleet.json"
) -> Section | None:
    return Section(title=title, blocks=(Bullets(entries=tuple(entries), most=most, rest=rest),)) if entries else None


def _faults(fleet: Fleet) -> Section | None:
    return _listed("Not accepted, because", fleet.faults, _MOST_ODD)


def _notes(fleet: Fleet) -> Section | None:
    return _listed("Notes", fleet.notes)


def _odd_nodes(fleet: Fleet) -> Section | None:
    oddities = fleet.oddities()
    odd = [node for node in fleet.nodes if node.word is not Word.ACCEPTED or node.name in oddities]
    apart = {one.node for one in fleet.numerics.apart}
    odd.sort(key=lambda node: (node.name not in apart, _ORDER.index(node.word), natural(node.name)))
    odd.sort(key=lambda node: node.word is not Word.REJECTED)
    entries: list[Cell] = [
        (code(name), " ", Span(text="no evidence", tone=Tone.NEAR), ": it is expected, and left nothing")
        for name in (fleet.missing if fleet.expected.names else ())
    ]
    entries += [
        (
            code(node.name),
            " ",
            _word(node.word),
            *(_OTHER_BITS if node.name in apart else ()),
            _why(node, oddities.get(node.name, ())),
        )
        for node in odd
    ]
    return _listed("Odd nodes", entries, _MOST_ODD)


def _paragraph(text: str) -> Paragraph:
    return Paragraph(words=text)


def _word(word: Word) -> Span:
    return Span(text=word.value, tone=TONES[word])


def _words(alone: Word, among: Word) -> Cell:
    return _word(alone) if alone is among else (_word(alone), " by itself, ", _word(among), " among the others")


def _why(node: NodeSummary, oddities: Sequence[str]) -> Bullets:
    entries: list[Cell] = [one_line(fault) for fault in node.faults[:_MOST_REASONS]]
    entries += [_reason(node, place) for place in range(min(len(node.reasons), _MOST_REASONS))]
    bad = sum(count for outcome, count in outcome_counts(node).items() if not outcome.is_good)
    told = sum(reason.count for reason in node.reasons[:_MOST_REASONS])
    if bad > told:
        entries.append(f"and {counted(bad - told, 'more check')} without a good result")
    entries += [one_line(text) for text in oddities[:_MOST_ODDITIES]]
    if len(oddities) > _MOST_ODDITIES:
        entries.append(f"and {len(oddities) - _MOST_ODDITIES} more, below")
    return Bullets(entries=tuple(entries))


def _reason(node: NodeSummary, place: int) -> Cell:
    reason = node.reasons[place]
    first = one_line(reason.reason.partition("\n")[0], _LONGEST_REASON)
    more = f" and {counted(reason.count - 1, 'more check')}" if reason.count > 1 else ""
    return (Sign(outcome=reason.outcome.value), " ", code(reason.check), f"{more}: {first}")


def _differences(differences: Sequence[Difference]) -> Section | None:
    if not differences:
        return None
    rows = [(_what(each), _majority(each), _others(each)) for each in differences[:_MOST_LISTED]]
    more = len(differences) - len(rows)
    return Section(
        title="What differs between nodes",
        anchor="differences",
        blocks=(
            Table(columns=columns("what", "most", "others"), rows=tuple(rows), notable=_MOST_LISTED),
            *([_paragraph(f"and {more} more, in fleet.json")] if more > 0 else []),
        ),
    )


def _what(difference: Difference) -> Cell:
    return difference.what if difference.product is None else f"{difference.what} of {difference.product}"


def _majority(difference: Difference) -> Cell:
    majority = difference.majority
    if majority is None:
        return Span(text="no majority", tone=Tone.NEAR)
    return f"{one_line(majority.value, 120)} on {majority.count} {difference.nouns}"


def _others(difference: Difference) -> Cell:
    groups = difference.minority
    entries: list[Inline] = []
    for group in groups[:_MOST_GROUPS]:
        entries += [
            *([BREAK] if entries else []),
            strong(one_line(group.value, 120)),
            ": ",
            code(one_line(group.named, LONGEST_NAMES)),
        ]
    if len(groups) > _MOST_GROUPS:
        entries += [BREAK, f"and {len(groups) - _MOST_GROUPS} more values"]
    return tuple(entries)


def _outliers(fleet: Fleet) -> Section | None:
    found = fleet.outliers
    if not found.looks and not found.too_few:
        return None
    told = [f"too few {product} to say which is slow" for product in found.too_few]
    if not found.outliers:
        held = f"None of {counted(found.looks, 'look')} at a figure, a GPU or a node is out of the ordinary."
        return Section(
            title="Slower than its like", blocks=tuple(map(_paragraph, [*([held] if found.looks else []), *told]))
        )
    rows = tuple(map(_outlier, found.outliers[:_MOST_LISTED]))
    more = len(found.outliers) - len(rows)
    head = columns("node", "GPU", "slower by", "what", "measured", "median", "z", "chance", figures=(2, 4, 5, 6, 7))
    return Section(
        title="Slower than its like",
        anchor="outliers",
        blocks=(
            Table(columns=head, rows=rows, notable=_MOST_LISTED),
            *([_paragraph(f"and {more} more, in fleet.json")] if more > 0 else []),
            *map(_paragraph, told),
        ),
    )


def _outlier(one: Outlier) -> tuple[Cell, ...]:
    unit = one.unit or "1"
    alone = None if one.check is None else f"{question_of(one.check)}: {one.metric}"
    what = alone or f"{counted(one.figures, 'figure')} together"
    return (
        code(one.node),
        one.gpu or "all",
        f"{one.behind:.1%}",
        what,
        "" if one.value is None else spoken_value(one.value, unit),
        "" if one.middle is None else spoken_value(one.middle, unit),
        f"{one.z:.1f}",
        f"{one.chance:.1g}" if one.chance >= 1e-6 else "<1e-6",
    )


def _numerics(fleet: Fleet) -> Section | None:
    found = fleet.numerics
    if not found.devices:
        return None
    groups = "one product on one stack" if found.groups == 1 else f"{found.groups} products or stacks, each by itself"
    held = f"{counted(found.devices, 'device')} of {groups} computed the bits of the same models."
    if not found.apart:
        end = "All agree to the last bit." if len(found.alone) < found.devices else "None has another to agree with."
        lines = [f"{held} {end}"]
    else:
        lines = [held]
    if found.alone:
        lines.append(f"Alone in its product and stack: {one_line(', '.join(found.alone), LONGEST_NAMES)}.")
    rows = tuple(
        (
            code(one.node),
            one.gpu or "processor",
            one.product,
            f"{one.ways} of {one.of}",
            f"{question_of(one.check)} ({one.way})",
            f"{one.agreeing} of {one.devices} have its bits"
            + ("" if one.is_told else "; no bits are those of more than half: nobody can say which are wrong"),
        )
        for one in found.apart[:_MOST_LISTED]
    )
    head = columns("node", "device", "product", "ways apart", "the first", "company")
    return Section(
        title="Agreement to the bit",
        anchor="agreement",
        blocks=(*map(_paragraph, lines), *([Table(columns=head, rows=rows, notable=_MOST_LISTED)] if rows else [])),
    )


def _wall_time(fleet: Fleet) -> Section | None:
    known = [node.seconds for node in fleet.nodes if node.seconds is not None]
    if len(known) < 2:
        return None
    unknown = len(fleet.nodes) - len(known)
    text = (
        f"From {format_seconds(min(known))} to {format_seconds(max(known))}, median {format_seconds(median(known))}"
        + (f"; that of {counted(unknown, 'node')} is not known" if unknown else "")
        + "."
    )
    late = [(code(one.node), f": {one}") for one in fleet.stragglers]
    return Section(
        title="Wall time", blocks=(_paragraph(text), *([Bullets(entries=tuple(late), most=_MOST_ODD)] if late else []))
    )


def _nodes(fleet: Fleet) -> Section | None:
    if not fleet.nodes:
        return None
    rows = tuple(
        (
            code(node.name),
            _words(node.word, fleet.word_of(node)),
            ", ".join(f"{n} {o.word}" for o in CellOutcome if (n := outcome_counts(node)[o])) or "nothing planned",
            f"{len(node.gpus)} {' + '.join(node.products)}" if node.gpus else " + ".join(node.products),
            "" if node.seconds is None else format_seconds(node.seconds),
            code(node.runs[-1].run_id),
        )
        for node in fleet.nodes
    )
    head = columns("node", "verdict", "checks", "has", "wall time", "run", figures=(4,))
    return Section(
        title="All nodes",
        anchor="nodes",
        fold=Fold.OPEN if len(rows) <= MOST_COLUMNS else Fold.CLOSED,
        blocks=(Table(columns=head, rows=rows, notable=0),),
    )


def _method(fleet: Fleet) -> Section:
    lines = (
        "slower than its like: robust z on the median and the median of absolute deviations, of logarithms; named from "
        f"{FLOOR:.0%} on, and where the chance of any such among all looks at a healthy fleet "
        f"(here {fleet.outliers.looks:,}) is below {ALPHA:.0%} (Holm)",
        f"wall time: more than {FACTOR:g} times the median of the same products and scope, and {LEAST:g} s above it",
        "agreement: the bits of more than half of the devices of a product on one stack",
        "differences, outliers and wall time do not change the word; --fail-on makes them a failure",
    )
    return Section(title="How it was decided", blocks=(Bullets(entries=lines),), fold=Fold.CLOSED)


def drain_commands(fleet: Fleet) -> list[str]:
    """For each node that is rejected, or computes wrong bits, the command that takes it out of service."""
    return [command for node in fleet.nodes if (command := fleet.drain(node)) is not None]


def drain_section(fleet: Fleet) -> Section | None:
    """The commands, on the page: nothing runs them."""
    found = drain_commands(fleet)
    if not found:
        return None
    told = [*_of_most(fleet), "Nothing has been run. What takes the rejected nodes out of service in Slurm:"]
    return Section(title="Take out of service", blocks=(*map(_paragraph, told), Verbatim(text="\n".join(found))))


def _of_most(fleet: Fleet) -> list[str]:
    """A warning where most nodes fail the same check: that is seldom their own fault."""
    asked: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for node in fleet.nodes:
        asked.update({one.check for one in node.asked})
        failed.update({one.check for one in node.asked if one.outcome is CellOutcome.FAIL})
    return [
        f"{check} failed on {count} of {counted(asked[check], 'node')}: look first at what they share (the entry and "
        "its limits, the software, the network), for it may be no fault of the nodes."
        for check, count in failed.most_common(1)
        if count >= _FEW_NODES and 2 * count > asked[check]
    ]
