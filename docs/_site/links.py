"""A hook of mkdocs: turns links that leave docs/ into text, or into links to the repository where it has an address.

Pages of docs/ point to files beside them (`../catalogue/health/health.toml`), which a reader of the repository can open
and a reader of the site cannot.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>\.\./[^)\s]*)\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Called by mkdocs with each page."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def replaced(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found["target"]))
        if path.startswith("docs/"):
            return found.group()
        return f"[{found['text']}]({config.repo_url}/blob/HEAD/{path})" if config.repo_url else found["text"]

    return _LINK.sub(replaced, markdown)
