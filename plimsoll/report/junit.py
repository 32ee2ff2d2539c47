"""What junit.xml holds beyond pytest's own: the figures of each testcase, the verdict, and no secrets.

A figure stands in two places. As `<property>` elements of its testcase, one a field, for machines; and as a line of its
`<system-out>`, which Jenkins and GitLab both show beside the testcase. The strict schema of xunit2 knows no properties
of a testcase, and a server that holds files against it refuses the whole file: there the lines are all.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from plimsoll.evidence.record import RunGpu, RunRecord
from plimsoll.present.foreign_text import one_line
from plimsoll.report.node_card import distinct_nodes, node_card
from plimsoll.verdict.verdict import Verdict

_FIELDS: Final = ("value", "unit", "reason", "low", "high", "source", "margin", "outcome")
"""Of `judgement_fields`; its `text` becomes the line."""
_LINE: Final = "plimsoll.line"
"""The property that carries a line of output through pytest, which has no other place for one."""
_LONGEST: Final = 2000
_HEAD: Final = '<?xml version="1.0" encoding="utf-8"?>'


def properties(judgements: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Name and value of every property of one testcase, from the fields of its judgements.

    `vram_peak.value`, `vram_peak.unit`, `vram_peak.low`, `vram_peak.high`, `vram_peak.source`, `vram_peak.outcome`; a
    second limit on the same metric is `vram_peak.2.value` and so on. A field without an answer is left out: a value
    that was not measured has a `reason` instead, and a limit that is open on one side has no bound there.
    """
    seen: Counter[str] = Counter()
    found = []
    for judgement in judgements:
        metric = str(judgement["metric"])
        seen[metric] += 1
        prefix = metric if seen[metric] == 1 else f"{metric}.{seen[metric]}"
        fields = [(f"{prefix}.{field}", judgement.get(field)) for field in _FIELDS]
        found += [(name, _text(value)) for name, value in fields if value not in (None, "")]
        found.append((_LINE, _text(judgement["text"])))
    return found


def _text(value: object) -> str:
    return repr(value) if isinstance(value, float) else one_line(str(value), _LONGEST)


def suite_properties(record: RunRecord, verdict: Verdict) -> list[tuple[str, str]]:
    """Name and value of what is said of the whole run: its verdict and its machines."""
    found = [
        ("plimsoll.run", record.run_id),
        ("plimsoll.verdict", verdict.word.value),
        ("plimsoll.statement", verdict.statement),
        ("plimsoll.scope", verdict.scope),
    ]
    if record.run is not None:
        found.append(("plimsoll.version", record.run.plimsoll))
    found += [(f"plimsoll.{gpu.id}", _known(gpu)) for gpu in record.gpus if not record.parts]
    cards = (line for node in distinct_nodes(record) for line in node_card(node))
    return [(name, one_line(text, _LONGEST)) for name, text in [*found, *((f"node.{k}", v) for k, v in cards)]]


def _known(gpu: RunGpu) -> str:
    """What a testcase whose name has the GPU's id speaks of."""
    known = (("index", gpu.index), ("UUID", gpu.uuid), ("serial", gpu.serial), ("product", gpu.name))
    return ", ".join(f"{name} {value}" for name, value in known if value is not None)


def finished(text: str, facts: Iterable[tuple[str, str]], redact: Callable[[str], str], *, strict: bool) -> str:
    """What pytest wrote, with `facts` as properties of the suite, the figures as lines of output, and without secrets.

    `strict` leaves out what the schema of xunit2 does not know. Raises ValueError where the text is no XML.
    """
    try:
        root = ET.fromstring(text)  # noqa: S314  pytest has just written it
    except ET.ParseError as error:
        raise ValueError(str(error)) from None
    for suite in root.iter("testsuite"):
        _add_facts(suite, facts)
        for case in suite.iter("testcase"):
            _show_figures(case, strict=strict)
    for element in root.iter():
        element.attrib.update({name: redact(value) for name, value in element.attrib.items()})
        element.text = None if element.text is None else redact(element.text)
    return _HEAD + ET.tostring(root, encoding="unicode")


def _add_facts(suite: ET.Element, facts: Iterable[tuple[str, str]]) -> None:
    own = suite.find("properties")
    if own is None:
        own = ET.Element("properties")
        suite.insert(0, own)
    for name, value in facts:
        # No control character comes here; these two are none, and XML has no place for them all the same.
        ET.SubElement(own, "property", name=name, value=re.sub("[\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", value))


def _show_figures(case: ET.Element, *, strict: bool) -> None:
    own = case.find("properties")
    if own is None:
        return
    carriers = [one for one in own if one.get("name") == _LINE]
    for carrier in carriers:
        own.remove(carrier)
    if strict or not len(own):
        case.remove(own)
    if carriers:
        ET.SubElement(case, "system-out").text = "\n".join(carrier.attrib["value"] for carrier in carriers)
