"""A document: sections, paragraphs, lists, tables and pictures, independent of how it is drawn.

`present.terminal`, `present.markdown` and `present.html` each draw it. Every text is kept as it came, from a model, a
hub or a file of somebody's; the writers alone make it harmless, so that no caller has to think of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, NewType

from plimsoll.units import format_value

Svg = NewType("Svg", str)
"""An SVG element that `plimsoll.present` has drawn: the one text that goes into a page as it is."""


class Tone(StrEnum):
    """What a text means for the reader; pages have a colour for each, from `present.colours`."""

    PLAIN = "plain"
    GOOD = "good"
    NEAR = "near"
    BAD = "bad"
    GAP = "gap"


class Style(StrEnum):
    """How a part of a line is set."""

    PLAIN = "plain"
    CODE = "code"
    STRONG = "strong"
    FAINT = "faint"
    QUOTE = "quote"
    FOREIGN = "foreign"
    """What a model or a dataset said, of which nothing is shown in other words."""
    NAME = "name"
    """Never broken between two lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of a line."""

    kind: ClassVar = "span"
    text: str
    style: Style = Style.PLAIN
    tone: Tone = Tone.PLAIN
    title: str = ""
    """What a pointer on it shows, where there is one."""
    longest: int | None = None
    """Characters after which a terminal and Markdown cut it; pages show all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A figure with its unit, which is printed for people; `value` is in the base unit."""

    kind: ClassVar = "number"
    value: float
    unit: str

    def __str__(self) -> str:
        return format_value(self.value, self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """An outcome as a sign with a form of its own, so that the colour is not all there is to tell outcomes apart."""

    kind: ClassVar = "sign"
    outcome: str

    @property
    def name(self) -> str:
        """The outcome, or `unknown` for one that has no sign."""
        return self.outcome if self.outcome in SIGNS else "unknown"

    def __str__(self) -> str:
        return SIGNS.get(self.outcome, "?")


SIGNS: Final = {
    "pass": "✓",
    "marginal": "~",
    "fail": "✗",
    "unset": "✗",
    "skip": "•",
    "not_run": "–",
    "waived": "w",
}
"""Outcome -> its sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A text that leads to a place: of this page (`#anchor`), a file beside it, or an address."""

    kind: ClassVar = "link"
    text: str
    to: str
    note: str = ""
    """What stands beside it among the contents of a page: how much there is."""
    title: str = ""
    """What a pointer on it shows, where there is something."""

    @property
    def is_safe(self) -> bool:
        """False for an address that runs something: a page then shows the text alone."""
        scheme, colon, _ = self.to.partition(":")
        return not colon or "/" in scheme or scheme.strip().lower() in ("http", "https", "mailto")


@dataclass(frozen=True, slots=True)
class LineBreak:
    """The end of a line within a paragraph, an entry or a cell."""

    kind: ClassVar = "break"


BREAK: Final = LineBreak()

Inline = str | Span | Number | Sign | Link | LineBreak
Words = Inline | tuple[Inline, ...]
"""What stands on a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Some sentences. `only_on_paper` is for what a reader of the screen sees anyway."""

    kind: ClassVar = "paragraph"
    words: Words
    only_on_paper: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verbatim:
    """A text whose lines stand as they are: the output of a program, a command to copy."""

    kind: ClassVar = "verbatim"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bullets:
    """A list; an entry is a line, with blocks below it where there is more to say."""

    kind: ClassVar = "bullets"
    entries: tuple[Cell, ...]
    most: int | None = None
    """Entries that are shown; the others are counted."""
    rest: str = ""
    """Where the others are: `in the rows below`."""
    hang: int = 2
    """Columns by which a terminal sets the further lines of an entry to the right."""
    name: str = ""
    """A class that the page's style knows."""

    @property
    def shown(self) -> tuple[Cell, ...]:
        """The entries that are shown, and the line that counts the others."""
        more = 0 if self.most is None else len(self.entries) - self.most
        return self.entries if more <= 0 else (*self.entries[: self.most], f"and {more} more, {self.rest}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Labelled lines."""

    kind: ClassVar = "facts"
    pairs: tuple[tuple[str, Words], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What the marks of pictures mean; each mark is the name of a style that the page knows."""

    kind: ClassVar = "key"
    label: str
    marks: tuple[tuple[str, str], ...]
    """Name of the mark -> what it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The head of a column."""

    title: str
    is_figure: bool = False
    """Whether the column has figures, which are aligned right."""


def columns(*titles: str, figures: Iterable[int] = ()) -> tuple[Column, ...]:
    """Columns of these titles; `figures` are the places of those that hold figures."""
    numeric = frozenset(figures)
    return tuple(Column(title=title, is_figure=place in numeric) for place, title in enumerate(titles))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a head; the first cell of a row names it."""

    kind: ClassVar = "table"
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    label: str = ""
    """What it is a table of, for those who do not see it; the title of its section unless given."""
    notable: int | None = None
    """Rows at the top that a reader must see. Markdown folds the others away where they are many; None folds none."""
    has_head: bool = True
    """False where a terminal shows the rows alone."""
    has_cards: bool = False
    """Whether a row is a card where a page is narrow, each cell after the title of its column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawing, or the reason why there is none."""

    kind: ClassVar = "picture"
    title: str
    how: str = ""
    """How to read it, in a sentence or two."""
    element: Svg | None = None
    """None where `missing` says why."""
    missing: str = ""
    name: str = ""
    """Of its file, without `.svg`."""
    width: float = 0.0
    """Inches that it was drawn for: at that width its text is as large as that of a page."""

    @property
    def text(self) -> str:
        """What stands beside it, or in its place."""
        return self.how if self.element is not None else self.missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Parts of a whole as a bar; pages draw it, and words beside it say the same everywhere."""

    kind: ClassVar = "shares"
    label: str
    parts: tuple[tuple[str, int], ...]
    """Name of a style that the page knows -> how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOfContents:
    """Links to the sections of a page, for who looks something up; a page alone has them."""

    kind: ClassVar = "contents"
    label: str
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A row of a chart; places on the scale are in thousandths of its length, from the left."""

    label: str
    end: int
    """The place of the value."""
    text: str
    """The value for people."""
    exact: str
    """All that is known of it but its name, for a pointer on it."""
    start: int = 0
    """The place from which it is drawn."""
    sign: Sign | None = None
    """How it was judged, beside it and as its colour; None where nothing was judged."""
    tone: Tone = Tone.PLAIN
    """Its colour where nothing was judged."""
    room: float | None = None
    """The part of its limit by which it lies inside, negative outside; whatever else the chart is `ranked` by."""
    limits: tuple[int, ...] = ()
    bands: tuple[tuple[int, int], ...] = ()
    expected: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """One figure of many things, a row each, on one scale; a page alone has it."""

    kind: ClassVar = "bars"
    label: str
    ticks: tuple[tuple[int, str], ...]
    """Places with what is written there."""
    bars: tuple[Bar, ...]
    order: str = "largest first"
    """In which order they come."""
    ranked: str = "closest to the limit first"
    """What a reader gets who sorts them by `Bar.room`, the least first."""
    wide: float
    """The room for the values' texts, in widths of an m."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A figure over time."""

    name: str
    """What it is, in a word: its style, and what a pointer on it is told."""
    runs: tuple[tuple[tuple[int, int], ...], ...]
    """Samples that are joined, as milliseconds and thousandths of the chart's unit; between runs nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Figures of one thing over time, above bands that say what it was doing. Times are milliseconds from its start on,
    and figures thousandths of `unit`, which is what a pointer is told."""

    title: str
    alt: str
    """All that it shows, in words; a table with the same figures stands beside it."""
    exact: str
    """All that is known of it but its title, for a pointer on it where no script runs, and for a keyboard."""
    unit: str
    end: int
    """The time at its right edge."""
    top: int
    """The figure at its upper edge; the lower one is 0."""
    times: tuple[tuple[int, str], ...]
    """Times with what is written there."""
    ticks: tuple[tuple[int, str], ...]
    """Figures with what is written there."""
    lines: tuple[Line, ...]
    levels: tuple[tuple[str, int], ...] = ()
    """Figures that hold all the time, each with its name."""
    bands: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = ()
    """Of each kind of work its name, and from when to when it went on; each has a lane of its own, in this order."""

    @property
    def lane(self) -> int:
        """How high the lane of a band is, in the chart's figures."""
        return max(1, round(0.08 * self.top))

    @property
    def depth(self) -> int:
        """How far all lanes reach below 0."""
        return self.lane * len(self.bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Small charts over time side by side; a page alone has them."""

    kind: ClassVar = "gallery"
    charts: tuple[LineChart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One of several things that a reader compares at a glance; a page alone has them."""

    title: str
    word: Span
    """Its state, which has a tone of its own."""
    tone: Tone
    """Of all that is said on it: the colour of its edge."""
    note: str = ""
    """What it is, smaller."""
    facts: tuple[tuple[str, Cell], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """Tiles side by side, as many in a row as the window has room for."""

    kind: ClassVar = "tiles"
    label: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """One of very many things, as a name and a mark for each of its parts."""

    name: str
    anchor: str
    """Of the section of this page with more of it; empty where there is none."""
    title: str
    """What a pointer on it shows."""
    tone: Tone
    marks: tuple[Tone, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Plates side by side: a thousand at a glance. A page alone has it."""

    kind: ClassVar = "board"
    label: str
    plates: tuple[Plate, ...]


class Fold(StrEnum):
    """Whether a section unfolds under its title, where it is drawn as a page."""

    NEVER = "never"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A title with what stands under it."""

    kind: ClassVar = "section"
    title: Words
    blocks: tuple[Piece, ...] = ()
    level: int = 1
    """1 for a section of the document, 2 for one within it; 0 for something to unfold that is no heading."""
    note: str = ""
    """What stands beside the title, smaller."""
    anchor: str = ""
    """The name by which a link finds it."""
    fold: Fold = Fold.NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """The overall result, which a reader sees first."""

    kind: ClassVar = "statement"
    tone: Tone
    title: str = ""
    word: str = ""
    """The overall result in one word, which a page sets large before the title."""
    blocks: tuple[Piece, ...] = ()


Block = (
    Banner
    | Section
    | Paragraph
    | Verbatim
    | Bullets
    | Facts
    | Key
    | Table
    | Picture
    | Gallery
    | Shares
    | TableOfContents
    | Tiles
    | Board
    | BarChart
)
Piece = Inline | Block
Cell = Words | tuple[Piece, ...]
"""The content of a table's cell or of a list's entry: words, and blocks below them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The whole. The first block is its statement, where it has one."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections of the first level."""
        return tuple(block for block in self.blocks if isinstance(block, Section))


def section_of(title: str, listed: Iterable[Cell] = (), *blocks: Block | None) -> Section:
    """A section with some lines and what stands below them; without any it is left out of the document."""
    entries = tuple(listed)
    below = tuple(block for block in blocks if block is not None)
    return Section(title=title, blocks=(*([Bullets(entries=entries)] if entries else []), *below))


def table_of(
    head: Sequence[str], rows: Iterable[tuple[Cell, ...]], figures_from: int, notable: int = 0
) -> Table | None:
    """A table whose columns from one on hold figures, with cards for phones; None where there is no row."""
    found = tuple(rows)
    if not found:
        return None
    titles = columns(*head, figures=range(figures_from, len(head)))
    return Table(columns=titles, rows=found, notable=notable, has_cards=True)


def code(text: str, longest: int | None = None) -> Span:
    """A name that a program knows: an id, a command."""
    return Span(text=text, style=Style.CODE, longest=longest)


def strong(text: str) -> Span:
    """What stands out of its line."""
    return Span(text=text, style=Style.STRONG)


def faint(text: str) -> Span:
    """What stands back: a source, a remark."""
    return Span(text=text, style=Style.FAINT)


def lines(parts: Sequence[Inline]) -> tuple[Inline, ...]:
    """Each on a line of its own."""
    return tuple(piece for part in parts for piece in (part, BREAK))[:-1]


def is_inline(piece: Piece) -> bool:
    """True for what stands on a line, false for a block."""
    return isinstance(piece, Inline)


def as_words(content: Cell) -> tuple[Piece, ...]:
    """The pieces of a content, also where it is a single one."""
    return content if isinstance(content, tuple) else (content,)


def plain(content: Cell) -> str:
    """The text of a line or a cell alone."""
    return "".join(map(_plain, as_words(content)))


def _plain(piece: Piece) -> str:
    match piece:
        case LineBreak():
            return " "
        case Section():
            return f" {plain(piece.title)}: {plain(piece.blocks)}"
        case _:
            return str(getattr(piece, "text", piece))
