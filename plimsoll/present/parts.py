"""The style and the script of the parts that all pages share: tiles, boards, charts, keys, signs."""

from __future__ import annotations

from pathlib import Path

from plimsoll.present import html
from plimsoll.present.colours import COLOURS
from plimsoll.present.document import Document


def css() -> str:
    """The colours and how the parts look; a page's own style stands after it."""
    return COLOURS + _beside("parts.css")


def own_page(document: Document, own: str = "") -> str:
    """A page that is ours alone and needs nothing else; `own` is a style that it has beside the shared one."""
    return html.page(document, css() + _beside("page.css") + own, script())


def script() -> str:
    """What charts have beyond their drawing. Without it a page loses nothing that it says."""
    return _beside("charts.js")


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")
