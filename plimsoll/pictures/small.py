"""Makes a drawn SVG small: a page that has a hundred of them must still be sent by mail.

matplotlib names every element, clips every line, and gives coordinates to a millionth of a dot. Nothing of that can be
seen, and names that come again in each picture would not be valid on one page.
"""

from __future__ import annotations

import re
from typing import Final

_NEVER_SEEN: Final = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->|<clipPath.*?</clipPath>", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")
_REFERENCE: Final = re.compile(r'(?:href="|url\()#([^")]+)')
_ID: Final = re.compile(r' id="([^"]*)"')
_CLIP: Final = re.compile(r' clip-path="[^"]*"')
_DEFAULT_STYLE: Final = re.compile(r"stroke-(?:linejoin: miter|miterlimit: \d+|linecap: square);? ?")
_POSITION: Final = re.compile(r' (?:d|x|y|transform|viewBox)="[^"]*"')
_FRACTION: Final = re.compile(r"-?\d+\.\d+")
_EMPTY_GROUP: Final = re.compile(r"<defs\s*/?>\s*(?:</defs>)?|<g>\s*</g>|<g\s*/>")
_BETWEEN: Final = re.compile(r">\s+<")


def small(element: str) -> str:
    """The same picture in fewer bytes. It must not draw outside of its axes: nothing is clipped any more.

    Text between tags stays as it is, figures in it included.
    """
    element = _CLIP.sub("", _NEVER_SEEN.sub("", element))
    used = frozenset(_REFERENCE.findall(element))
    element = _TAG.sub(lambda tag: _small_tag(tag.group(), used), element)
    return _BETWEEN.sub("><", _EMPTY_GROUP.sub("", element))


def _small_tag(tag: str, used: frozenset[str]) -> str:
    tag = _ID.sub(lambda name: name.group() if name.group(1) in used else "", tag)
    tag = _DEFAULT_STYLE.sub("", tag).replace("; ", ";").replace(": ", ":").replace(' style=""', "")
    tag = _POSITION.sub(lambda place: _FRACTION.sub(_rounded, place.group()), tag)
    return " ".join(tag.split())


def _rounded(number: re.Match[str]) -> str:
    text = f"{float(number.group()):.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
