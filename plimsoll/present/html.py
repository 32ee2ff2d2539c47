"""Draws a document as HTML through templates that escape every text by themselves.

`Markup` is the one type that passes as it is, and it is made here alone: by the templates, and for the pictures that
`plimsoll.present` has drawn. Control characters of foreign text become escapes on the way out, in `_harmless`.

jinja2 is imported when the first page is drawn: most commands draw none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plimsoll.present.document import Block, Document, Inline, Words, as_words, plain
from plimsoll.present.foreign_text import printable
from plimsoll.present.one_unit import in_one_system, in_one_system_quoted

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES: Final = Path(__file__).parent / "templates"


def page(document: Document, css: str, script: str = "") -> str:
    """A page that needs nothing else. `css` and `script` are ours and go in as they are."""
    template = _environment().get_template("page.html")
    return in_one_system(template.render(document=document, css=_trusted(css), script=_trusted(script)))


def framed(css: str, script: str, blocks: Iterable[Block], top: int = 3) -> str:
    """The blocks of a page that another library frames, with our own style and script before them; a section of the
    first level has a heading `<h{top}>`."""
    frame = _environment().get_template("frame.html")
    return in_one_system(frame.render(css=_trusted(css), script=_trusted(script), blocks=tuple(blocks), top=top))


def row_cell(lines: Sequence[Words]) -> str:
    """A cell of a table that has thousands of rows, with some lines, in as few characters as HTML takes."""
    return in_one_system(str(_macros("rows.html").cell(lines)))


def named_cell(name: str, text: str) -> str:
    """A cell with a class of its own and a text, for such a table."""
    return in_one_system(str(_macros("rows.html").named(name, text)))


def check_cell(title: str, of: str) -> str:
    """The cell of such a table that names a check: what it is called, and what it was asked of."""
    return in_one_system(str(_macros("rows.html").check(title, of)))


def sort_head(columns: Sequence[tuple[str, str]]) -> list[str]:
    """The heads of columns, each a name by which a script sorts it and a title; one without a name cannot be sorted.

    Those that sort are buttons, so that a keyboard reaches them.
    """
    return [str(_macros("rows.html").head(name, title)) for name, title in columns]


def quoted(markup: str) -> str:
    """What a program said, which another library has escaped: with sizes in one unit system where we made them."""
    return in_one_system_quoted(markup)


def own_escape(text: str) -> str:
    """A text as it stands in what is drawn here, for who searches a page for it."""
    from markupsafe import escape as escape_markup

    return str(escape_markup(text))


ESCAPES: Final[tuple[Callable[[str], str], ...]] = (escape, own_escape)
"""What becomes of a text in a page: by the standard library, as pytest-html does it, and by our templates."""


def _harmless(value: object) -> object:
    """A text of whatever source without control characters; what is HTML already comes from here."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _trusted(text: str) -> str:
    """Text that is no one else's: a style, a script, a picture that was drawn here."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704  the one place where a text is taken for HTML


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"band": _band, "drawn": _trusted, "pieces": _pieces, "plain": plain, "trace": _trace}
    environment.tests["inline"] = lambda piece: isinstance(piece, Inline)
    return environment


@cache
def _macros(template: str) -> Any:
    return _environment().get_template(template).module


def _trace(runs: Iterable[Sequence[tuple[int, int]]]) -> str:
    """The path of a line: each time with the figure above it. A sample that stands alone is a line without length, of
    which round ends make a dot."""
    paths = ([f"{at}-{figure}" for at, figure in run] for run in runs)
    return "".join(f"M{'L'.join(path if len(path) > 1 else 2 * path)}" for path in paths)


def _band(stretches: Iterable[tuple[int, int]], middle: float) -> str:
    """The path of a band, along the middle of its lane."""
    return "".join(f"M{start} {middle:.0f}H{end}" for start, end in stretches)


def _pieces(content: Any) -> tuple[Any, ...]:
    return as_words(content)
