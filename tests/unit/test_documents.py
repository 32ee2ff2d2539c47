"""Every link of every Markdown file leads somewhere, and the site has every page of docs/."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.support.markdown_links import anchors, broken_links

ROOT = Path(__file__).parents[2]
NOT_OURS = {".git", ".venv", ".make", ".pytest_cache", ".mypy_cache", ".ruff_cache", "build", "dist", "__pycache__"}
KEPT_REPORTS = {"reference", "baselines"}
"""The folders of reports/ that are part of the repository."""


def markdown_files(folder: Path = ROOT) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            of_a_run = folder.name == "reports" and path.name not in KEPT_REPORTS
            if path.name not in NOT_OURS and not path.name.startswith("wheelhouse") and not of_a_run:
                yield from markdown_files(path)
        elif path.suffix == ".md":
            yield path


PAGES = tuple(markdown_files())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(broken_links(page, ROOT)) == []


def test_the_pages_are_found() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "CONTRIBUTING.md", "docs/checks/load.md", "catalogue/golden/README.md"} <= names


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[x](there.md)", ""),
        ("[x](there.md#two-words)", ""),
        ("[x](there.md#by-hand) and [y](#here)", ""),
        ("`[x](gone.md)`\n\n```\n[y](gone.md)\n```\n", ""),
        ("[x](https://example.org/gone#no)", ""),
        ("[x](gone.md)", "gone.md is not there"),
        ("![x](gone.png)", "gone.png is not there"),
        ("[x](there.md#three-words)", "there.md#three-words names no heading there"),
        ("[x](#nowhere)", "#nowhere names no heading there"),
        ("[x][1]\n\n[1]: gone.md\n", "gone.md is not there"),
        ('<a href="gone.md">x</a>', "gone.md is not there"),
        ("[x](../../outside.md)", "../../outside.md leaves the repository"),
        ("[x](/there.md)", "/there.md is absolute"),
        # GitHub makes `one---two` of it, and the site `one-two`: neither works in both.
        ("[x](there.md#one---two)", "there.md#one---two names no heading there"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "there.md").write_text('# Two `words`\n\n<a id="by-hand"></a>\n\n## One - two\n\n```\n# Not one\n```\n')
    page = tmp_path / "page.md"
    page.write_text(f"# Here\n\n{text}\n")
    assert list(broken_links(page, tmp_path)) == ([f"page.md: {fault}"] if fault else [])


def test_headings_of_one_name_are_told_apart(tmp_path: Path) -> None:
    page = tmp_path / "twice.md"
    page.write_text("# Once\n\n# Twice\n\n# Twice\n")
    assert anchors(page) == {"once", "twice"}, "the second is -1 on GitHub and _1 on the site: link to neither"


def test_the_site_has_each_page_once() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = list(pages_of(settings["nav"]))
    docs = ROOT / settings["docs_dir"]
    assert sorted(listed) == sorted(str(page.relative_to(docs)) for page in PAGES if page.is_relative_to(docs))
    assert settings["strict"] is True


def pages_of(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
        return
    for entry in nav.values() if isinstance(nav, dict) else nav:
        yield from pages_of(entry)


@pytest.mark.parametrize(
    ("repository", "written", "read"),
    [
        ("", "see [the `rules`](../../catalogue/health/health.toml).", "see the `rules`."),
        ("", "[x](../limits.md#meaning), [y](rooms.md), ![z](../images/report.png)", None),
        ("https://example.org/us", "[x](../../LICENSE)", "[x](https://example.org/us/blob/HEAD/LICENSE)"),
    ],
)
def test_the_site_has_no_link_out_of_the_documents(repository: str, written: str, read: str | None) -> None:
    spec = importlib.util.spec_from_file_location("site_links", ROOT / "docs" / "_site" / "links.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    page = SimpleNamespace(file=SimpleNamespace(src_uri="decisions/symptoms.md"))
    made = hook.on_page_markdown(written, page, SimpleNamespace(repo_url=repository))
    assert made == (written if read is None else read)


def test_commands_of_the_documents_are_written_without_a_prompt() -> None:
    """A prompt is copied with its command."""
    found = [page.name for page in PAGES if re.search(r"^ *\$ \w", page.read_text(encoding="utf-8"), re.MULTILINE)]
    assert found == []
