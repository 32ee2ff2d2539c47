"""Shows sizes on a page in one unit system: GB and its like, with GiB and its like for a pointer.

Texts come from everywhere: evidence holds a size in both systems, `73.15 GB (68.13 GiB)`, and documents often have the
other alone. Whoever made a text need not think of it: `present.html` lets all that it draws pass through here. What is
quoted stays as it is (code, what a program, a model or a dataset said, drawings): whoever searches for it must find it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from plimsoll.units import format_brief, to_base

_NUMBER: Final = r"[\d,]*\d(?:\.\d+)?"
_SIZE: Final = re.compile(
    rf"(?P<shown>{_NUMBER} [TGM]B) \((?P<other>{_NUMBER} [TGM]iB)\)(?P<rate>/s)?"
    # A text that was cut short within the other system says nothing by it.
    rf"|(?P<whole>{_NUMBER} [TGM]B) \([\d.,]*(?: (?:[TGM](?:iB?)?)?)?(?=…)"
    # Not within a name: `max_memory=12GiB` is what somebody wrote and will look for.
    rf"|(?<![\w.,/=:;\"'+-])(?P<binary>(?P<count>{_NUMBER}) ?(?P<unit>[KMGT]iB))(?P<per>/s)?(?![\w=:/-])"
)
_QUOTING: Final = ("pre", "code", "q", "bdi", "svg", "title", "style", "script")
"""Elements in which a size of one system stays as it is."""
_NEVER: Final = ("bdi", "svg", "title", "style", "script")
"""Elements of whose text nothing is changed."""
_RAW: Final = ("style", "script")
"""Elements that hold no others, whatever their text looks like."""
_QUOTING_TAG: Final = re.compile(rf"<(?P<closing>/?)(?P<name>{'|'.join(_QUOTING)})(?:\s[^>]*)?>")


def in_one_system(markup: str) -> str:
    """HTML that `present` has drawn, its texts in one unit system."""
    if "iB" not in markup and "(" not in markup:
        return markup
    pieces: list[str] = []
    open_ones: list[str] = []
    start = 0
    for tag in _QUOTING_TAG.finditer(markup):
        if open_ones and open_ones[-1] in _RAW and tag["name"] != open_ones[-1]:
            continue
        pieces += [_shown_within(markup[start : tag.start()], open_ones), tag.group()]
        start = tag.end()
        if not tag["closing"]:
            open_ones.append(tag["name"])
        elif tag["name"] in open_ones:
            open_ones.remove(tag["name"])
    return "".join([*pieces, _shown_within(markup[start:], open_ones)])


def in_one_system_quoted(markup: str) -> str:
    """The same for what a program said, already escaped: of sizes in both systems one stands back, and what the program
    told in one stays."""
    return _SIZE.sub(lambda size: size.group() if size["binary"] else _shown(size), markup)


def _shown_within(markup: str, elements: Sequence[str]) -> str:
    """A piece of markup within these quoting elements, which holds no tag of one."""
    if any(name in _NEVER for name in elements):
        return markup
    return in_one_system_quoted(markup) if elements else _SIZE.sub(_shown, markup)


def _shown(size: re.Match[str]) -> str:
    markup, at = size.string, size.start()
    if markup.rfind("<", 0, at) > markup.rfind(">", 0, at):
        return size.group()  # within a tag: a tooltip, or what somebody hears who does not see the page
    if size["binary"]:
        return _spanned(_decimal(size), size.group())
    if size["whole"]:
        return size["whole"]
    rate = size["rate"] or ""
    return _spanned(size["shown"] + rate, size["other"] + rate)


def _spanned(shown: str, other: str) -> str:
    return f'<span title="{other}">{shown}</span>'


def _decimal(size: re.Match[str]) -> str:
    per = size["per"] or ""
    value, base = to_base(float(Decimal(size["count"].replace(",", ""))), size["unit"])
    return format_brief(value, f"{base}{per}")
