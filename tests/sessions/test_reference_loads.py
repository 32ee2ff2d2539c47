"""The reference loads that the project keeps: their page says what their evidence says, which names nobody."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import reference_loads
from benchmarks.portable_evidence import portable
from benchmarks.synthetic_row import RUNS
from plimsoll.evidence.chain import START, sealed
from plimsoll.evidence.reader import read_run
from plimsoll.verdict.verdict import reach_verdict
from tests.support.subsession import ROOT, Outcome

KEPT = sorted(RUNS.glob("*/evidence.jsonl"))


def test_the_page_is_made_from_the_evidence() -> None:
    assert reference_loads.TABLE.read_text() == reference_loads.table()


@pytest.mark.parametrize("evidence", KEPT, ids=lambda path: path.parent.name)
def test_each_run_is_whole_accepted_and_predicted(evidence: Path) -> None:
    (row,) = (row for row in reference_loads.ROWS if row.folder == evidence.parent)
    record = read_run(evidence, alone=True)
    assert record.faults == ()
    assert str(reach_verdict(record).word) == "ACCEPTED"
    assert {cell.variant for cell in record.plan} == {row.altered}
    judged = {j.measurement.metric: j for found in record.cells.values() for j in found.judgements}
    stored = judged["weight_bytes"]
    assert stored.measurement.value == stored.limit.low
    assert "ram_peak" in judged
    assert not re.search(r'"(/|~/\.)|/(home|root|tmp)/', evidence.read_text().replace('"~/.cache/plimsoll"', ""))


def test_there_is_evidence_of_every_kind_of_row() -> None:
    kept = {path.parent for path in KEPT}
    rows = [row for row in reference_loads.ROWS if row.folder in kept]
    assert len(rows) == len(KEPT) >= 12
    assert {row.layers for row in rows} == {None, 1}
    assert {row.variant.partition("/")[2] for row in rows} == {"bf16", "int8", "nf4", "nf4-dq"}


def with_a_sample(events: list[dict[str, Any]]) -> str:
    """The evidence of a run of one process as it is where a load takes long enough for its memory to be noted,
    and weights lie in a folder of somebody's."""
    place = next(n for n, event in enumerate(events) if event["event"] == "load")
    sample = {"event": "sample", "at": events[place]["at"], "worker": "main", "variant": "", "pid": 1, "rss": 1}
    last, lines = START, []
    for seq, event in enumerate([*events[:place], {**sample, "seconds": 1.0}, *events[place:]], 1):
        fields = {name: value for name, value in event.items() if name not in ("after", "sum")} | {"seq": seq}
        if event["event"] == "node":
            environment = {**event["node"]["environment"], "HF_HOME": "/srv/of-somebody"}
            fields["node"] = {**event["node"], "environment": environment}
        if event["event"] == "finish":
            fields["events"] = seq
        line, last = sealed(fields, last)
        lines.append(line.decode())
    return "".join(lines)


def test_what_is_kept_of_a_run_says_the_same_without_its_names(recorded: Outcome, tmp_path: Path) -> None:
    place = recorded.reports
    evidence = with_a_sample(recorded.events)
    text = portable(evidence, ROOT, place)
    (tmp_path / "kept").mkdir()
    kept = tmp_path / "kept" / "evidence.jsonl"
    kept.write_text(text)
    record = read_run(kept, alone=True)
    assert record.faults == ()
    verdict = reach_verdict(record)
    assert (str(verdict.word), verdict.planned) == (recorded.verdict, len(recorded.results["cells"]))
    assert len(text) < len(evidence)
    assert str(ROOT) in evidence
    for name in (str(ROOT), str(place), str(Path.home()), "/srv/of-somebody"):
        assert name not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert record.node is not None
    assert record.node.hostname == "node"
    assert f"Z-{platform.node().split('.')[0]}-" not in text
    assert {key for line in lines if line["event"] == "report" for key in line["report"]} <= {
        "outcome",
        "when",
        "duration",
        "longrepr",
    }
    assert "sample" not in {line["event"] for line in lines}


def test_stored_bytes_are_known_of_whole_models_alone() -> None:
    assert reference_loads.stored_bytes("llama-3.2-1b/nf4-dq") == 1_027_575_488
    assert reference_loads.stored_bytes("llama-3.1-70b-instruct/nf4-dq") is None
