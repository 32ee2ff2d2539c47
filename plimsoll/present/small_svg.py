"""Makes a drawn SVG small: a page that has many of them must still be sent by mail.

matplotlib names every element, groups each line by itself, clips it, gives coordinates to a millionth of a dot, and
lists seven fonts with each word. Nothing of that can be seen; names that come again in each picture would not be valid
on one page, and its style element would style the whole page.
"""

from __future__ import annotations

import re
from typing import Final

_NEVER_SEEN: Final = re.compile(
    r"<metadata>.*?</metadata>|<!--.*?-->|<clipPath.*?</clipPath>|<style.*?</style>"
    r'|<path d="[^"]*" style="fill: none"/>',
    re.DOTALL,
)
_TAG: Final = re.compile(r"<[^>]*>")
_REFERENCE: Final = re.compile(r'(?:href="|url\()#([^")]+)')
_ID: Final = re.compile(r' id="([^"]*)"')
_NEEDLESS: Final = re.compile(r' clip-path="[^"]*"| transform="rotate\(-0 [^"]*"')
_DEFAULTS: Final = re.compile(
    r"stroke-(?:linejoin: miter|miterlimit: \d+|linecap: square)(?:; )?|font-size: 9px; |font-family: [^;\"]*(?:; )?"
)
_POSITION: Final = re.compile(r' (?:d|x|y|transform|viewBox)="[^"]*"')
_FRACTION: Final = re.compile(r"-?\d+\.\d+")
_BETWEEN: Final = re.compile(r">\s+<")


def small(element: str) -> str:
    """The same picture in fewer bytes. It must not draw outside of its axes: nothing is clipped any more.

    Text between tags stays as it is, figures in it included; all of it is set in one font, of 9 points unless it says
    another size.
    """
    element = _NEVER_SEEN.sub("", element)
    used = frozenset(_REFERENCE.findall(element))
    element = _TAG.sub(lambda tag: _small_tag(tag.group(), used), element)
    element = _ungrouped(_BETWEEN.sub("><", element)).replace("<defs></defs>", "").replace("<defs/>", "")
    return element.replace("<svg ", '<svg style="font:9px sans-serif" ', 1)


def _small_tag(tag: str, used: frozenset[str]) -> str:
    tag = _ID.sub(lambda name: name.group() if name.group(1) in used else "", tag)
    tag = _DEFAULTS.sub("", _NEEDLESS.sub("", tag)).replace("; ", ";").replace(": ", ":").replace(' style=""', "")
    tag = _POSITION.sub(lambda place: _FRACTION.sub(_rounded, place.group()), tag)
    return " ".join(tag.split()).replace(' "', '"').replace(';"', '"')


def _ungrouped(element: str) -> str:
    """Without the groups that say nothing."""
    kept: list[bool] = []

    def of_use(tag: re.Match[str]) -> str:
        text = tag.group()
        if text == "<g/>":
            return ""
        if text == "<g>" or text.startswith("<g "):
            kept.append(text != "<g>")
            return text if kept[-1] else ""
        return text if text != "</g>" or kept.pop() else ""

    return _TAG.sub(of_use, element)


def _rounded(number: re.Match[str]) -> str:
    text = f"{float(number.group()):.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
