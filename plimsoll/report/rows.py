"""The rows of report.html, which pytest-html draws: what was measured against which limit, and as much of each log as a
page can hold: one that a browser cannot open helps nobody.

A run in which everything fails can have a thousand long tracebacks. The short logs stay whole, and the long ones share
what room is left; the evidence has all of them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from typing import Any, Final

from plimsoll.evidence.encoding import encode, read_judgement
from plimsoll.judge.judgement import Judgement
from plimsoll.metrics import METRICS
from plimsoll.present import html
from plimsoll.present.document import Sign, Span, Style, Words, faint, strong
from plimsoll.present.foreign_text import printable
from plimsoll.report.figures import beside_limit, exact_limit, room_text
from plimsoll.report.naming import check_anchor, check_title
from plimsoll.report.symptoms import symptom_link
from plimsoll.symptoms.recognise import Diagnosis
from plimsoll.units import format_exact

ROOM: Final = 800_000
"""Characters that the logs of all rows may take together."""
_LEAST: Final = 400
"""Characters that each log may have, however many there are."""
_CUT_OFF: Final = re.compile(r"(?:&[#\w]{0,10}|<[^>]*)\Z")
"""The beginning of an entity or of a tag at the end of a cut text."""
_REST: Final = "\n… cut short here; evidence.jsonl has the whole text"

_ROW: Final = re.compile(r'(?<=<template id="template_results-table__tbody">).*?(?=</template>)', re.DOTALL)
_LIGHT_ROW: Final = (
    '<tbody class="results-table-row"><tr class="collapsible"></tr><tr class="extras-row">'
    '<td class="extra" colspan="6"><div class="media"></div>'
    '<div class="logwrapper"><div class="logexpander"></div><div class="log"></div></div></td></tr></tbody>'
)
"""pytest-html's own row without its viewer of pictures and videos, which none of ours has: its script takes a
third of the time to draw the rows of the whole catalogue."""

_SAYS_NOTHING: Final = re.compile(r"(?:No log output captured\.|\[gw\d+\] [^\n]* -- Python [^\n]*)\n*")
"""A log with pytest-html's words for none, or with nothing but the name of the worker."""


def measured_cells(judgements: Sequence[Mapping[str, Any]], diagnoses: Sequence[Diagnosis] = ()) -> list[str]:
    """Three cells of a row (measured, limit, margin) with a line for each judgement; empty where there is none. Below
    what was measured stand links to the symptoms that were recognised.

    Takes the fields of JUDGEMENT events, as a test report carries them.
    """
    columns: list[list[Words]] = [[], [], []]
    for fields in judgements:
        for column, words in zip(columns, _row_words(fields), strict=True):
            column.append(words)
    columns[0] += [symptom_link(diagnosis) for diagnosis in diagnoses]
    return [html.row_cell(column) for column in columns]


def check_cell(check: str) -> str:
    """The cell that names a check by its node id, of which a phase other than the call may be a part."""
    phase = next((f" ({name})" for name in ("setup", "teardown") if check.endswith(f"::{name}")), "")
    parameter = check.partition("[")[2].rpartition("]")[0]
    return html.check_cell(f"{check_title(check)}{phase}", parameter)


def _row_words(fields: Mapping[str, Any]) -> tuple[Words, Words, Words]:
    try:
        judgement = read_judgement(fields)
    except (KeyError, TypeError, ValueError):
        return str(fields.get("text") or "unreadable"), "?", "?"
    metric = METRICS[judgement.measurement.metric]
    named = (
        Sign(outcome=judgement.outcome.value),
        " ",
        Span(text=metric.title, title=metric.name),
        " ",
        _value(judgement),
    )
    limit = Span(text=beside_limit(judgement)[1], title=exact_limit(judgement.limit))
    return named, (limit, " ", faint(judgement.limit.source)), room_text(judgement)


def _value(judgement: Judgement) -> Span:
    measured = judgement.measurement
    if measured.value is None:
        return strong(f"not measured ({measured.reason})")
    exact = format_exact(measured.value, measured.unit)
    return Span(text=beside_limit(judgement)[0], style=Style.STRONG, title=exact)


def settled_rows(tests: Mapping[str, Sequence[Mapping[str, Any]]], redact: Callable[[str], str]) -> dict[str, Any]:
    """pytest-html's data of all rows without secrets and control characters, in the order of the rows, with logs as
    long as the page has room for and without what its script does not need."""
    rows = [row for rows in tests.values() for row in rows]
    longest = longest_log([len(row["log"]) for row in rows])
    taken: Counter[str] = Counter()
    settled = {}
    for number, row in enumerate(rows):
        log = "" if _SAYS_NOTHING.fullmatch(row["log"]) else row["log"]
        log = html.quoted(log if longest is None else cut_log(log, longest))
        # Numbers in place of names: the script reads no key; by `testId` it sorts, and a link finds the row.
        # Links come from evidence, which is redacted: so must be the name before it becomes an address.
        name = redact(printable(unescape(row["testId"])))
        anchor = check_anchor(name)
        taken[anchor] += 1
        # pytest-html takes the id of a row from its cell: only now may another text stand in it.
        drawn = [check_cell(name) if place == 1 else cell for place, cell in enumerate(row["resultsTableRow"])]
        cells = "".join(cell.removesuffix("</td>") for cell in drawn)
        settled[str(number)] = [
            {
                "result": row["result"],
                "testId": anchor if taken[anchor] == 1 else f"{anchor}~{taken[anchor]}",
                "duration": row["duration"],
                "resultsTableRow": [cells],
                "log": log,
            }
        ]
    encoded: dict[str, Any] = encode(settled, lambda text: redact(printable(text)))
    return encoded


def lightened(page: str) -> str:
    """The page with the same rows in fewer bytes, which a browser draws in a third of the time."""
    return _ROW.sub(_LIGHT_ROW, _with_compact_data(page), count=1)


def _with_compact_data(page: str) -> str:
    """Half of the bytes of pytest-html's data are quotes that are escaped twice."""

    def compact(data: re.Match[str]) -> str:
        text = json.dumps(json.loads(unescape(data.group(1))), ensure_ascii=False, separators=(",", ":"))
        for character, entity in (("&", "&amp;"), ("'", "&#39;"), ("<", "&lt;")):
            text = text.replace(character, entity)
        return f"data-jsonblob='{text}'"

    return re.sub('data-jsonblob="([^"]*)"', compact, page, count=1)


def longest_log(lengths: Sequence[int], room: int = ROOM) -> int | None:
    """The length at which logs must be cut so that all fit into the room; None where they fit as they are."""
    if sum(lengths) <= room:
        return None
    left = room
    ordered = sorted(lengths)
    for place, length in enumerate(ordered):
        share = left // (len(ordered) - place)
        if length > share:
            return max(share, _LEAST)
        left -= length
    raise AssertionError("unreachable: lengths that fit one by one fit together")


def cut_log(log: str, longest: int) -> str:
    """An escaped log of about so many characters, with a word on what is missing."""
    if len(log) <= longest + len(_REST):
        return log
    return _CUT_OFF.sub("", log[:longest]) + _REST
