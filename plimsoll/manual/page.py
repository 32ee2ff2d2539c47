"""Writes docs/checks/ from the docstrings of the checks: `python -m plimsoll.manual.page --write`.

A page a file of `acceptance/`, with a heading a check, and README.md with all of them. A test holds the pages against
the source, and a name of a check, of a symptom or of a page that does not exist is an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from plimsoll.catalogue.entries import Catalogue, Symptom
from plimsoll.catalogue.expression import parse
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import PlimsollError
from plimsoll.manual.alone import OWN, Alone, Finder, Hardware
from plimsoll.manual.limits import catalogue_limits, suite_limits
from plimsoll.manual.place import PAGES, page_of
from plimsoll.manual.reading import Entry, ManualChapter, read_manual
from plimsoll.metrics import METRICS
from plimsoll.plan.asking import SOAKING, SUBJECTS, Named
from plimsoll.symptoms.recognise import PAGE as SYMPTOMS_PAGE
from plimsoll.symptoms.shipped import shipped_symptoms

ROOT: Final = Path(__file__).resolve().parents[2]
INDEX: Final = f"{PAGES}/README.md"
_MADE: Final = "<!-- Made from {} by python -m plimsoll.manual.page --write -->"
_GPU: Final = "gpu"

KINDS: Final[Mapping[str, str]] = {
    "quantized": "variants with packed weights",
    "compared": "variants that are compared with the same weights in bf16",
    "gpu": "variants on a GPU",
    "configured": "variants with load settings, of the entry or of --load-config",
    "one-device": "variants that lie on one device whole",
    "taught": "models that the suite taught by a recipe",
    "untaught": "models with real weights that the suite did not teach",
    "cold": "variants with real weights, in tiers that time cold loads",
    "warm": "variants with real weights, in tiers that time warm loads",
    "files": "variants with real weights",
    "text": "variants with real weights, which have a tokenizer",
    "as-entered": "variants as their entry has them: with all layers, and on the tier's own device or a GPU",
    "altered-on-cpu": "variants with made-up weights on a CPU, in place of a GPU",
}
"""What each `only(kind)` means, in words."""

_PAGE_NAME: Final = re.compile(r"\bdocs/([\w-]+\.md)(?:, ([A-Z][\w ]+?)(?=\)))?")
_CHECK_NAME: Final = re.compile(r"(?<![`\w/])test_\w+(?:\.py)?")


def pages(root: Path = ROOT) -> dict[str, str]:
    """Every page by its path from the root of the project.

    Raises PlimsollError for a docstring that lacks a part or names something that does not exist.
    """
    chapters = read_manual(root)
    catalogue = read_catalogue()
    writer = _Writer(chapters, Finder(root=root, catalogue=catalogue), catalogue, shipped_symptoms())
    made = {page_of(chapter.file): writer.page(chapter) for chapter in chapters}
    return {INDEX: writer.index(), **made}


class _Writer:
    """Draws chapters; knows all checks and symptoms, so that names become links."""

    def __init__(
        self, chapters: Sequence[ManualChapter], finder: Finder, catalogue: Catalogue, symptoms: Iterable[Symptom]
    ) -> None:
        self._finder = finder
        self._chapters = sorted(chapters, key=_place)
        self._catalogue = catalogue
        self._symptoms = {symptom.id: symptom for symptom in symptoms}
        self._files = {entry.check.name: chapter.file for chapter in chapters for entry in chapter.entries}

    def index(self) -> str:
        """The page that names every check."""
        lines = [
            "# What each check proves",
            "",
            "Every check of the suite, by subject: what it proves, its limit and where that comes from, what makes it",
            "fail, and what to do. `report.html` holds it for the checks that failed, and",
            "`plimsoll explain test_loads_completely` prints it.",
            "",
            _MADE.format("acceptance/"),
        ]
        for chapter in self._chapters:
            target = page_of(chapter.file).removeprefix(f"{PAGES}/")
            first = self._linked(chapter.intro.partition("\n\n")[0])
            lines += ["", f"## [{_title(chapter)}]({target})", "", first, "", *self._table(chapter, target)]
        return "\n".join(lines) + "\n"

    def page(self, chapter: ManualChapter) -> str:
        """The page of one file of checks."""
        # First, so that a kind that nothing explains is told as such before anything is planned.
        entries = [line for entry in chapter.entries for line in ("", *self._entry(chapter, entry))]
        lines = [f"# Checks: {_title(chapter).lower()}", "", self._linked(chapter.intro), ""]
        lines += [_MADE.format(chapter.file), "", self._asked(chapter), "", *self._table(chapter, ""), *entries]
        return "\n".join(lines).rstrip() + "\n"

    def _asked(self, chapter: ManualChapter) -> str:
        mark = _subject(chapter)
        name = chapter.file.rpartition("/")[2]
        if name == SOAKING:
            return f'**Opt-in:** asked with `--soak` alone: `pytest -m "gpu8b and {mark}" --soak=30min`.'
        if self._is_opt_in(chapter):
            return f"**Opt-in:** asked with its mark `{mark}` alone, never by a tier: `pytest -m {mark}`."
        found = self._finder.alone([entry.check.name for entry in chapter.entries], mark)
        which = "every tier" if found.hardware is Hardware.ANY else f"every tier on {found.hardware.value}"
        command = f'pytest -m "{found.way.tier} and {mark}"{found.way.options()}'
        return f"Part of {which}. Its mark is `{mark}`: `{command}` asks these checks alone."

    def _table(self, chapter: ManualChapter, target: str) -> Iterator[str]:
        yield "| check | what it proves |"
        yield "|---|---|"
        for entry in chapter.entries:
            name = entry.check.name
            yield f"| [`{name}`]({target}#{name}) | {_cell(self._linked(entry.first_sentence))} |"

    def _entry(self, chapter: ManualChapter, entry: Entry) -> Iterator[str]:
        check = entry.check
        yield from (f"## {check.name}", "", self._linked(entry.proves), "")
        yield from (f"**Asked of** {self._asked_of(entry)}.", "")
        yield from (f"**Limit.** {self._linked(entry.limit)}", "")
        figures = [str(name) for name in check.arguments_of("measures")]
        if figures:
            yield from (*self._figures(figures), "")
        yield from (f"**Fails when** {self._linked(entry.fails)}", "")
        yield from (f"**What to do.** {self._linked(entry.do)}", "")
        yield from (self._alone(chapter, entry), "")
        if entry.symptoms:
            yield from ("Symptoms that it often shows, each with its next step:", "")
            yield from (self._symptom(check.id, one) for one in entry.symptoms)

    def _asked_of(self, entry: Entry) -> str:
        kinds = [str(kind) for kind in entry.check.arguments_of("only")]
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            raise PlimsollError(f"{entry.check.id} is only for {unknown[0]!r}, which {__name__} does not explain")
        if "variant" in entry.check.wants:
            return "; of these ".join(KINDS[kind] for kind in kinds) or "every variant that is selected"
        whole = "tier" in entry.check.wants
        if _GPU in kinds:
            return "the node with all its GPUs, once a tier" if whole else "each GPU of the node"
        return "the node, once a tier" if whole else "each device of the node that the selected tiers use"

    def _figures(self, metrics: Sequence[str]) -> Iterator[str]:
        yield "| figure | unit | what it is | limits of the suite | limits of the catalogue |"
        yield "|---|---|---|---|---|"
        for name in metrics:
            metric = METRICS[name]
            unit = "number" if metric.unit == "1" else metric.unit
            own = suite_limits(name) or "see above"
            theirs = catalogue_limits(name, self._catalogue) or "none"
            yield f"| {metric.title} (`{name}`) | {unit} | {_cell(metric.meaning)} | {_cell(own)} | {_cell(theirs)} |"

    def _alone(self, chapter: ManualChapter, entry: Entry) -> str:
        """The command that asks the check alone, what it needs, and the same for what the reader has of his own."""
        mark, name = _subject(chapter), entry.check.name
        found = self._finder.alone([name], mark)
        told = [f"Run it alone: `{_command(found, mark, name)}`."]
        if found.hardware is not Hardware.ANY:
            told.append(f"It needs {found.hardware.value}; no tier asks this check on a machine without.")
        elif found.of_devices:
            there = self._finder.alone([name], mark, with_gpu=True)
            told.append(f"On {there.hardware.value}: `{_command(there, mark, name)}`.")
        if found.of_variants and not _is_of_recipes(entry):
            by_name = f"-m {mark} " if self._is_opt_in(chapter) else ""
            own = f'pytest {by_name}-k "{OWN} and {name}" --catalogue=my.toml{found.way.options(of_own=True)}'
            told.append(f"Of a variant of your own: `{own}`.")
        return " ".join(told)

    def _is_opt_in(self, chapter: ManualChapter) -> bool:
        return not Named(marks=parse("tiny")).asks(chapter.file.rpartition("/")[2], self._catalogue)

    def _symptom(self, check: str, id_: str) -> str:
        symptom = self._symptoms.get(id_)
        if symptom is None:
            raise PlimsollError(f"{check} names the symptom {id_!r}, which catalogue/symptoms.toml does not have")
        return f"- [{symptom.title}](../{SYMPTOMS_PAGE.removeprefix('docs/')}#{id_}): {symptom.next}."

    def _linked(self, text: str) -> str:
        """A text in which names of pages and of checks lead there."""
        return _CHECK_NAME.sub(lambda found: self._check_link(found.group()), _PAGE_NAME.sub(_page_link, text))

    def _check_link(self, name: str) -> str:
        if name.endswith(".py"):
            files = {file.rpartition("/")[2]: file for file in self._files.values()}
            file, anchor = files.get(name), ""
        else:
            file, anchor = self._files.get(name), f"#{name}"
        if file is None:
            raise PlimsollError(f"a docstring of acceptance/ names {name}, and there is no such check")
        return f"[`{name}`]({page_of(file).removeprefix(f'{PAGES}/')}{anchor})"


def _command(found: Alone, mark: str, name: str) -> str:
    soak = " --soak=30min" if mark == "soak" else ""
    return f'pytest -m "{found.way.tier} and {mark}" -k {name}{found.way.options()}{soak}'


def _is_of_recipes(entry: Entry) -> bool:
    """True for what is asked only of models that the suite teaches, or of datasets, which have variants of their
    own."""
    return "taught" in entry.check.arguments_of("only") or "dataset" in entry.check.wants


def _page_link(found: re.Match[str]) -> str:
    page, heading = found.groups()
    anchor = "" if heading is None else f"#{heading.lower().replace(' ', '-')}"
    return f"[{page.removesuffix('.md')}](../{page}{anchor})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _title(chapter: ManualChapter) -> str:
    name = chapter.file.rpartition("/")[2].removeprefix("test_").removesuffix(".py").replace("_", " ")
    return {"ddp": "Ranks (DDP)"}.get(name, name.capitalize())


def _subject(chapter: ManualChapter) -> str:
    """The mark that selects a chapter: what all of its checks have, the most special of several."""
    common = set.intersection(*({mark.name for mark in entry.check.marks} for entry in chapter.entries))
    name = chapter.file.rpartition("/")[2].removeprefix("test_").removesuffix(".py")
    if name in common:
        return name
    return next(subject for subject in SUBJECTS if subject in common)


def _place(chapter: ManualChapter) -> int:
    common = set.intersection(*({mark.name for mark in entry.check.marks} for entry in chapter.entries))
    return next(place for place, subject in enumerate(SUBJECTS) if subject in common)


def main(arguments: Sequence[str]) -> int:
    """Say whether the pages are what the docstrings make of them; write them with `--write`, and take away those of
    files that are gone."""
    wanted = pages()
    present = {f"{PAGES}/{path.name}": path for path in (ROOT / PAGES).glob("*.md")}
    before = {name: path.read_text(encoding="utf-8") for name, path in present.items()}
    if "--write" in arguments:
        (ROOT / PAGES).mkdir(exist_ok=True)
        for name, text in wanted.items():
            (ROOT / name).write_text(text, encoding="utf-8")
        for name in present.keys() - wanted.keys():
            present[name].unlink()
    return int("--write" not in arguments and before != wanted)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
