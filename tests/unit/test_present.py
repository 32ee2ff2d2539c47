"""What people read is drawn from one model, and no text of others acts in any of the three writings."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from plimsoll.present import html, markdown, terminal
from plimsoll.present.document import (
    BREAK,
    Banner,
    Bar,
    BarChart,
    Block,
    Board,
    Bullets,
    Column,
    Document,
    Facts,
    Fold,
    Gallery,
    Key,
    Line,
    LineChart,
    Link,
    Number,
    Paragraph,
    Picture,
    Plate,
    Section,
    Shares,
    Sign,
    Span,
    Style,
    Svg,
    Table,
    TableOfContents,
    Tile,
    Tiles,
    Tone,
    Verbatim,
    Words,
    code,
    columns,
)
from tests.support.pages import fragment

ROOT = Path(__file__).parents[2]
BAD = "<script>alert('1')</script>\"|`x`\x1b[2J\u202e\u2028forged"
SVG = Svg("<svg><path d='M 0 0'></path></svg>")


def words_of(text: str) -> tuple[Words, ...]:
    """The text in every place of a line."""
    spans = [Span(text=text, style=style, tone=tone, title=text) for style in Style for tone in Tone]
    return (text, *spans, Sign(outcome=text), Link(text=text, to=text), Number(value=1.0, unit=text))


def blocks_of(text: str) -> tuple[Block, ...]:
    """The text in every field of every block."""
    words = words_of(text)
    table = Table(
        columns=(Column(title=text), *columns(*(text for _ in words[1:]), figures=[3])),
        rows=(words, tuple((text, Section(title=text, level=0, blocks=(text,))) for _ in words)),
        label=text,
    )
    inner: tuple[Block, ...] = (
        *(Paragraph(words=one) for one in words),
        Verbatim(text=text),
        Bullets(entries=(*words, (text, BREAK, text), (text, Verbatim(text=text)), text), most=6, rest=text, name=text),
        Facts(pairs=((text, text), (text, words[1]))),
        Key(label=text, marks=((text, text),)),
        table,
        Gallery(
            charts=(
                LineChart(
                    title=text,
                    alt=text,
                    exact=text,
                    unit=text,
                    end=9,
                    top=9,
                    times=((0, text),),
                    ticks=((0, text),),
                    lines=(Line(name=text, runs=(((0, 1), (2, 3)),)),),
                    levels=((text, 1),),
                    bands=((text, ((0, 1),)),),
                ),
            )
        ),
        Picture(title=text, how=text, element=SVG, name=text, width=3.0),
        Picture(title=text, missing=text),
        Shares(label=text, parts=((text, 1),)),
        TableOfContents(label=text, links=(Link(text=text, to=text),)),
        Tiles(
            label=text,
            tiles=(Tile(title=text, word=Span(text=text), tone=Tone.BAD, note=text, facts=((text, words[1]),)),),
        ),
        Board(label=text, plates=(Plate(name=text, anchor=text, title=text, tone=Tone.BAD, marks=(Tone.GOOD,)),)),
        BarChart(
            wide=7.5,
            label=text,
            ticks=((0, text),),
            bars=(Bar(label=text, end=1, text=text, exact=text, sign=Sign(outcome=text)),),
            order=text,
            ranked=text,
        ),
    )
    folded = [
        Section(title=text, note=text, anchor=text, level=level, fold=fold, blocks=inner)
        for fold in Fold
        for level in (0, 1, 2)
    ]
    return (Banner(tone=Tone.BAD, title=text, blocks=inner), *folded)


class Elements(HTMLParser):
    """The elements of a page and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


def shape(elements: Elements) -> list[tuple[str, list[str]]]:
    return [(tag, [name for name, _ in attributes]) for tag, attributes in elements.found]


def as_page(text: str) -> str:
    return html.page(Document(title=text, blocks=blocks_of(text)), "a {}")


def as_rows(text: str) -> str:
    cells = html.row_cell([(one,) if not isinstance(one, tuple) else one for one in words_of(text)])
    return f"<table><tr>{cells}{html.check_cell(text, text)}{html.sort_head([('x', text)])[0]}</tr></table>"


@pytest.mark.parametrize("draw", [as_page, as_rows, lambda text: fragment(blocks_of(text))])
def test_a_text_in_any_field_changes_no_element_of_a_page(draw: Callable[[str], str]) -> None:
    plain, hostile = Elements(draw("text")), Elements(draw(BAD))
    without_links = [one for one in shape(plain) if one[0] != "a"]
    assert [one for one in shape(hostile) if one[0] != "a"] == without_links
    assert "script" not in {tag for tag, _ in hostile.found}
    assert draw(BAD).count("&lt;script&gt;") > 3
    assert not set("\x1b\u202e\u2028") & set(draw(BAD))


def test_no_text_acts_in_markdown() -> None:
    text = markdown.document_text(Document(title=BAD, blocks=blocks_of(BAD)))
    assert not set("\x1b\u202e\u2028") & set(text)
    outside = re.sub(r"^( *)(`{3,})text\n.*?^\1\2$", "", text, flags=re.DOTALL | re.MULTILINE)
    outside = re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
    assert not re.search(r"(?<!\\)<script", outside)
    assert "\\<script\\>" in outside
    assert not any(line.startswith("forged") for line in text.splitlines())


def test_no_text_drives_a_terminal_or_forges_a_line() -> None:
    lines = terminal.block_lines(blocks_of(BAD))
    assert len(lines) == len(terminal.block_lines(blocks_of("text")))
    assert not any(set("\x1b\u202e\u2028\n") & set(line) for line in lines)


@pytest.mark.parametrize("to", ["javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,x", "vbscript:x"])
def test_a_link_that_would_run_something_is_its_text_alone(to: str) -> None:
    link = Paragraph(words=Link(text="here", to=to))
    assert fragment([link]) == "<p>here</p>"
    assert markdown.document_text(Document(title="x", blocks=(link,))) == "# x\n\nhere\n"


def test_a_link_leads_to_its_place() -> None:
    for to in ("#failures", "https://example.org/a?b=c", "checks/load.html"):
        assert fragment([Paragraph(words=Link(text="here", to=to))]) == f'<p><a href="{to}">here</a></p>'
    spaced = Document(title="x", blocks=(Paragraph(words=Link(text="here", to="a b)c")),))
    assert markdown.document_text(spaced) == "# x\n\n[here](a%20b%29c)\n"


def test_figures_stand_to_the_right_and_markdown_folds_what_is_not_notable() -> None:
    rows = tuple((f"row {place}", Number(value=10.0**place, unit="bytes")) for place in range(12))
    table = Table(columns=columns("name", "size", figures=[1]), rows=rows, notable=1)
    lines = terminal.aligned(table)
    assert lines[:2] == ["  name" + "size".rjust(25), "  row 0" + "1 bytes".rjust(24)]
    assert {len(line) for line in lines} == {len(lines[0])}
    text = markdown.document_text(Document(title="x", blocks=(table,)))
    assert "| row 0 | 1 bytes |\n\n<details><summary>11 rows</summary>" in text
    assert '<td class="number">1 bytes</td>' in fragment([table])


def importing(path: Path) -> set[str]:
    return set(re.findall(r"^\s*from html import (.*)$", path.read_text(), re.MULTILINE))


def test_only_present_escapes_and_writes_tables() -> None:
    taken = re.compile(r"\bMarkup\(|html\.escape\(|\bSvg\(|</t[dr]>|\.[lr]just\(|\| ---")
    for path in [*(ROOT / "plimsoll").rglob("*.py"), *(ROOT / "fixtures").rglob("*.py")]:
        name = str(path.relative_to(ROOT))
        if name.startswith("plimsoll/present/") or name in ALLOWED:
            continue
        found = taken.findall(path.read_text())
        assert not found, f"{name} writes {found[0]} by itself; plimsoll/present/ is the place for it"
        assert importing(path) <= {"unescape"}, f"{name} escapes HTML by itself"


ALLOWED = {
    "plimsoll/report/rows.py",  # takes the end tags away that pytest-html's data can do without
    "fixtures/progress.py",  # blanks out the rest of a line on a terminal
    "fixtures/html.py",  # finds the place of an attribute in pytest-html's own cell
}


@pytest.mark.parametrize(
    ("text", "shown", "pointed"),
    [
        ("has 73.15 GB (68.13 GiB) free", "has 73.15 GB free", "68.13 GiB"),
        ("3.35 TB (3.05 TiB)/s", "3.35 TB/s", "3.05 TiB/s"),
        ("2 % and 64 MiB a GPU", "2 % and 67.1 MB a GPU", "64 MiB"),
        ("0 was set to 12GiB", "0 was set to 12.9 GB", "12GiB"),
        ("1,024.5 GiB/s", "1.1 TB/s", "1,024.5 GiB/s"),
        ("cut: 73.15 GB (68.1…", "cut: 73.15 GB…", None),
        ("cut: 73.15 GB (68.13 Gi…", "cut: 73.15 GB…", None),
        ("max_memory=12GiB", "max_memory=12GiB", None),
        ("an iB, a GiB and (5 GB)", "an iB, a GiB and (5 GB)", None),
    ],
)
def test_every_drawn_text_shows_a_size_in_one_unit_system(text: str, shown: str, pointed: str | None) -> None:
    blocks = (Paragraph(words=text),)
    drawn = (
        html.page(Document(title="x", blocks=blocks), "a {}"),
        html.framed("a {}", "", blocks),
        html.row_cell([text]),
        html.named_cell("x", text),
        html.check_cell(text, ""),
    )
    for markup in drawn:
        assert shown in re.sub(r"<[^>]*>", "", markup)
        assert (f'title="{pointed}"' in markup) is (pointed is not None)


def test_what_is_quoted_keeps_its_unit_and_a_tooltip_its_two() -> None:
    both, theirs = "1.00 GB (0.93 GiB)", "Tried to allocate 20.00 MiB"
    assert theirs in fragment([Verbatim(text=theirs)])
    assert theirs in fragment([Paragraph(words=code(theirs))])
    assert f'title="{both}"' in fragment([Paragraph(words=Span(text="x", title=both))])
    assert html.quoted(f"{theirs}, {both}") == f'{theirs}, <span title="0.93 GiB">1.00 GB</span>'
