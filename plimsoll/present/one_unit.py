"""Shows sizes on a page in one unit system: GB and its like, with GiB and its like for a pointer.

Texts come from everywhere: evidence holds a size in both systems, `73.15 GB (68.13 GiB)`, and documents often have the
other alone. Whoever made a text need not think of it: `present.html` lets all that it draws pass through here. What is
quoted stays as it is (code, what a program, a model or a dataset said, drawings): whoever searches for it must find it.
"""

from __future__ import annotations

import re
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


def in_one_system(markup: str) -> str:
    """HTML that `present` has drawn, its texts in one unit system."""
    return _SIZE.sub(_shown, markup) if "iB" in markup or "(" in markup else markup


def in_one_system_quoted(markup: str) -> str:
    """The same for what a program said, already escaped: of sizes in both systems one stands back, and what the program
    told in one stays."""
    return _SIZE.sub(lambda size: size.group() if size["binary"] else _shown(size), markup)


def _shown(size: re.Match[str]) -> str:
    markup, at = size.string, size.start()
    if markup.rfind("<", 0, at) > markup.rfind(">", 0, at):
        return size.group()  # within a tag: a tooltip, or what somebody hears who does not see the page
    if size["binary"]:
        return size.group() if _is_within(markup, at, _QUOTING) else _spanned(_decimal(size), size.group())
    if _is_within(markup, at, _NEVER):
        return size.group()
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


def _is_within(markup: str, at: int, names: tuple[str, ...]) -> bool:
    """True within an element of one of these names; what `present` draws nests none of them in its like."""
    return any(_opened(markup, at, name) > markup.rfind(f"</{name}>", 0, at) for name in names)


def _opened(markup: str, at: int, name: str) -> int:
    return max(markup.rfind(f"<{name}>", 0, at), markup.rfind(f"<{name} ", 0, at))
