"""Finds links of Markdown files that lead nowhere: to a file that is not there, or a heading that it does not have."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

_FENCE = re.compile(r"^ {0,3}(```+|~~~+).*?^ {0,3}\1`*~* *$", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*$", re.MULTILINE)
_HTML = re.compile(r"<(?:a|img)\s[^>]*?(?:href|src)=\"([^\"]+)\"")
_ID = re.compile(r"<\w+\s[^>]*?(?:id|name)=\"([^\"]+)\"")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def broken_links(page: Path, root: Path) -> Iterator[str]:
    """What is wrong with the links of a page within the repository; links with a scheme are not followed."""
    text = _INLINE_CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    for form in (_LINK, _REFERENCE, _HTML):
        for target in form.findall(text):
            if not _SCHEME.match(target) and (fault := _fault(page, unquote(target), root)):
                yield f"{page.relative_to(root)}: {target} {fault}"


def _fault(page: Path, target: str, root: Path) -> str:
    path, _, anchor = target.partition("#")
    if path.startswith("/"):
        return "is absolute"
    file = (page.parent / path).resolve() if path else page.resolve()
    if not file.is_relative_to(root.resolve()):
        return "leaves the repository"
    if not file.exists():
        return "is not there"
    if anchor and file.suffix == ".md" and anchor not in anchors(file):
        return "names no heading there"
    return ""


@cache
def anchors(page: Path) -> frozenset[str]:
    """The names that a link into a page may have, on GitHub and on the site alike."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = [_plain(heading) for heading in _HEADING.findall(text)]
    on_github = set(_numbered([_github(heading) for heading in headings], "-"))
    on_site = set(_numbered([_site(heading) for heading in headings], "_"))
    return frozenset(on_github & on_site | set(_ID.findall(text)))


def _plain(heading: str) -> str:
    """A heading as it is read: links by their text, without marks of emphasis and code."""
    return re.sub(r"[`*]", "", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading))


def _github(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _site(heading: str) -> str:
    """As Python-Markdown's extension `toc` has it."""
    ascii_only = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


def _numbered(slugs: list[str], between: str) -> Iterator[str]:
    seen: dict[str, int] = {}
    for slug in slugs:
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        yield slug if count == 0 else f"{slug}{between}{count}"
