"""`plimsoll explain WHAT`: the cause of what a text, a log or a run shows, and the next step."""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plimsoll.catalogue.entries import Symptom
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.commands.output import add_output
from plimsoll.commands.parser import add_catalogue, add_report_dir
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.evidence.reader import EVIDENCE_FILE, read_run
from plimsoll.evidence.run_folder import LATEST, find_run
from plimsoll.judge.judgement import broken_bound
from plimsoll.manual.place import manual_of
from plimsoll.manual.reading import Entry, read_manual
from plimsoll.present import terminal
from plimsoll.present.foreign_text import one_line
from plimsoll.report.failures import causes_of
from plimsoll.report.figures import figure_sentence
from plimsoll.report.manual import manual_of_failed
from plimsoll.report.story import spoken
from plimsoll.suite import SHIPPED, command, suite_root
from plimsoll.symptoms.recognise import Diagnosis, Seen, anchor_of, recognise
from plimsoll.symptoms.shipped import shipped_symptoms
from plimsoll.symptoms.surroundings import surroundings_of
from plimsoll.units import counted
from plimsoll.verdict.cells import CellOutcome, CellResult
from plimsoll.verdict.verdict import reach_verdict

if TYPE_CHECKING:
    from argparse import _SubParsersAction

SCHEMA: Final = "plimsoll/explain/1"
_UNRECOGNISED: Final = 1
_LARGEST: Final = 16 * 2**20
"""Bytes of a log that are read at its end; what went wrong is told there."""
_MOST_CHECKS: Final = 3
_MOST_CAUSES: Final = 8
"""Causes of a run that nothing recognises, of which the text is shown."""
_LONGEST: Final = 600
"""Characters of what a check said."""
_WIDTH: Final = 100
"""Columns of what is said of a check."""
_CHECK: Final = re.compile(r"(?:[\w./-]+::)?(test_\w+)(?:\[.*\])?")

_DESCRIPTION = """\
Say what a message, a traceback, a log or a run shows: the cause, and one next step. WHAT is a text, a file, the folder
or the id of a run, `latest`, the id of a symptom, or `-` for what is piped in. Of a check (`test_loads_completely`) it
says what it proves, its limit, what makes it fail and what to do. Symptoms of your own come with --catalogue. Nothing
is loaded and nobody is asked.
Exit status: 0 everything that went wrong was recognised, 1 not all of it, or nothing, or the run was cut short, 2 usage
error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What was recognised, with the checks of a run that show it."""

    of: str
    diagnoses: tuple[tuple[Diagnosis, tuple[str, ...]], ...]
    unrecognised: tuple[CellResult, ...] = field(default=())
    is_well: bool = False
    """True for a run in which nothing went wrong."""
    lacking: tuple[str, ...] = ()
    """What keeps a run from being accepted beside what failed and was skipped: it was killed, checks were not run."""
    run: str = ""
    """The name of a run's folder."""
    check: Entry | None = None
    """What the manual says, where a check was asked for."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "explain", help="say the cause of a message, a log or a run, and the next step", description=_DESCRIPTION
    )
    parser.add_argument(
        "what", nargs="*", metavar="WHAT", help="a text, a file, a run, a symptom's id, a check, or `-`"
    )
    parser.add_argument("--list", action="store_true", help="list the symptoms that are known")
    add_report_dir(parser)
    add_catalogue(parser)
    add_output(parser, "print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what was recognised. Raises PlimsollError for a catalogue with faults, and for what cannot be read."""
    own = read_catalogue(options.catalogue).symptoms if options.catalogue else None
    known = shipped_symptoms() if own is None else own
    if options.list:
        for symptom in known:
            print(terminal.line(f"{symptom.id}: {symptom.title}"))
        return 0
    if not options.what:
        raise PlimsollError("say what is to be explained: a text, a file, a run, or `-` for what is piped in")
    found = _found(options.what, options.report_dir, known, own)
    if options.json:
        print(json.dumps(_to_json(found), indent=2))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(found)))
    is_all = found.diagnoses and not found.unrecognised and not found.lacking
    return 0 if found.is_well or found.check or is_all else _UNRECOGNISED


def _found(what: Sequence[str], reports: Path, known: Sequence[Symptom], own: Sequence[Symptom] | None) -> _Found:
    name = what[0]
    if len(what) > 1:
        return _in_text("text", " ".join(what), known)
    if name == "-":
        return _in_text("text", sys.stdin.buffer.read(_LARGEST).decode("utf-8", "replace"), known)
    if symptom := next((each for each in known if each.id == name), None):
        return _Found(of="symptom", diagnoses=((_as_written(symptom), ()),))
    if entry := _check_named(name):
        shown = [symptom for id_ in entry.symptoms for symptom in known if symptom.id == id_]
        return _Found(of="check", diagnoses=tuple((_as_written(each), ()) for each in shown), check=entry)
    path = Path(name)
    if _exists(path) and path.is_file() and path.name != EVIDENCE_FILE:
        return _in_text("file", _end_of(path), known)
    if _exists(path) or name == LATEST or (len(path.parts) == 1 and _exists(reports / name)):
        return _in_run(find_run(name, reports), own)
    if "/" in name and not any(character.isspace() for character in name):
        raise PlimsollError(f"{name}: there is no such file or run; a text of one word is piped in, with `-`")
    return _in_text("text", name, known)


def _check_named(name: str) -> Entry | None:
    """The check of that name or node id, with parameters or without; None where it names none of the suite."""
    found, root = _CHECK.fullmatch(name), suite_root()
    if found is None or root is None:
        return None
    entries = (entry for chapter in read_manual(root) for entry in chapter.entries)
    return next((entry for entry in entries if entry.check.name == found[1]), None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text that is too long for a name, or has a NUL
        return False


def _end_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LARGEST))
            return file.read(_LARGEST).decode("utf-8", "replace")
    except OSError as error:
        raise PlimsollError(f"{path} cannot be read: {reason_of(error)}") from None


def _in_text(of: str, text: str, known: Sequence[Symptom]) -> _Found:
    return _Found(of=of, diagnoses=tuple((each, ()) for each in recognise(Seen(text=text), known)))


def _as_written(symptom: Symptom) -> Diagnosis:
    return Diagnosis(
        symptom=symptom.id,
        title=symptom.title,
        cause=symptom.cause,
        next=symptom.next,
        anchor=anchor_of(symptom),
        seen="",
    )


def _in_run(folder: Path, own: Sequence[Symptom] | None) -> _Found:
    """What the run recognised itself, or what a table that is given now recognises in it."""
    record = read_run(folder)
    place = surroundings_of({} if record.node is None else record.node.environment)
    shown: dict[str, tuple[Diagnosis, list[str]]] = {}
    unrecognised, went_wrong = [], False
    verdict = reach_verdict(record)
    left = verdict.count(CellOutcome.NOT_RUN)
    lacking = (*verdict.faults, *([f"{counted(left, 'check')} not run"] if left else []))
    for result in verdict.results:
        if result.outcome not in (CellOutcome.FAIL, CellOutcome.SKIP):
            continue
        went_wrong = True
        diagnoses = result.diagnoses if own is None else recognise(_seen(result), own, place)
        for each in diagnoses:
            shown.setdefault(each.symptom, (each, []))[1].append(result.cell.id)
        if not diagnoses:
            unrecognised.append(result)
    found = tuple((each, tuple(cells)) for each, cells in shown.values())
    return _Found(
        of="run",
        diagnoses=found,
        unrecognised=tuple(unrecognised),
        is_well=not went_wrong and not lacking,
        lacking=lacking,
        run=str(folder if folder.is_dir() else folder.parent),
    )


def _seen(result: CellResult) -> Seen:
    bounds: dict[str, object] = {}
    for judgement in result.judgements:
        bounds |= broken_bound(judgement)
    return Seen(text=result.reason, evidence={**bounds, **({"skip": result.code} if result.code else {})})


def _lines(found: _Found) -> Iterable[str]:
    if found.check is not None:
        yield from _told_of(found.check)
    elif found.is_well:
        yield "nothing failed, and nothing was skipped: there is nothing to explain"
    elif not found.diagnoses and found.of != "run":
        yield "nothing that the table knows; `plimsoll explain --list` shows it, and [[symptom]] of a catalogue adds"
    for diagnosis, checks in found.diagnoses:
        yield terminal.line(f"{diagnosis.symptom}: {diagnosis.title}")
        yield f"  cause: {terminal.line(diagnosis.cause)}"
        yield f"  next:  {terminal.line(diagnosis.next)}"
        yield f"  see:   {terminal.line(diagnosis.anchor)}"
        if diagnosis.seen:
            yield f"  seen:  {terminal.line(diagnosis.seen)}"
        yield from _checks("  in:    ", checks)
    if found.lacking:
        yield from (terminal.line(f"not accepted: {one}") for one in found.lacking)
        yield f"  next:  {command('plimsoll', 'report', found.run)} says what is missing, and the command that runs it"
    yield from _unrecognised(found)


def _unrecognised(found: _Found) -> Iterable[str]:
    """What no symptom explains, each cause once: in the suite's own words, with its figures and the manual's advice."""
    causes = causes_of(found.unrecognised)
    manual = manual_of_failed(alike[0] for alike in causes[:_MOST_CAUSES])
    for alike in causes[:_MOST_CAUSES]:
        first = alike[0]
        yield from _checks("not recognised: ", [result.cell.id for result in alike])
        yield from _labelled("said", one_line(spoken(first.reason), _LONGEST))
        bad = [judgement for judgement in first.judgements if not judgement.outcome.is_good]
        for judgement in bad:
            yield from _labelled("figure", figure_sentence(judgement))
        entry = manual.get(manual_of(first.cell.id))
        step = first.fix or (entry.do if entry else "")
        if step:
            yield from _labelled("next", step)
    if len(causes) > _MOST_CAUSES:
        report = command("plimsoll", "report", found.run)
        yield f"and {counted(len(causes) - _MOST_CAUSES, 'more cause')}: {report} has all of them"


def _told_of(entry: Entry) -> Iterable[str]:
    parts = (
        ("proves", entry.proves),
        ("limit", entry.limit),
        ("fails", f"when {entry.fails}"),
        ("do", entry.do),
        ("see", _page_here(entry)),
    )
    yield terminal.line(entry.check.id)
    for label, text in parts:
        yield from _labelled(label, text)
    if entry.symptoms:
        yield "symptoms that it often shows:"


def _labelled(label: str, text: str) -> Iterable[str]:
    label = f"  {label + ':':<8}"
    return textwrap.wrap(
        terminal.line(text),
        _WIDTH,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _page_here(entry: Entry) -> str:
    """The page of the check; empty where there is no checkout to have it."""
    root, place = suite_root(), manual_of(entry.check.id)
    is_checkout = root is not None and root != SHIPPED and (root / place.partition("#")[0]).is_file()
    return place if is_checkout else ""


def _checks(label: str, checks: Sequence[str]) -> Iterable[str]:
    if checks:
        more = f" and {len(checks) - _MOST_CHECKS} more" if len(checks) > _MOST_CHECKS else ""
        yield label + terminal.line(f"{', '.join(checks[:_MOST_CHECKS])}{more}")


def _to_json(found: _Found) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "of": found.of,
        "diagnoses": [{**diagnosis.to_json(), "checks": list(checks)} for diagnosis, checks in found.diagnoses],
        "unrecognised": [result.cell.id for result in found.unrecognised],
        **({"lacking": list(found.lacking)} if found.lacking else {}),
        **({} if found.check is None else {"check": _check_to_json(found.check)}),
    }


def _check_to_json(entry: Entry) -> dict[str, str]:
    return {
        "id": entry.check.id,
        "proves": entry.proves,
        "limit": entry.limit,
        "fails": entry.fails,
        "do": entry.do,
        "page": manual_of(entry.check.id),
    }
