"""The textfile for Prometheus: numbers only, whatever is not known, and when it was made."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from plimsoll.engines.metrics_file import metrics_text
from plimsoll.fleet.discovery import find_lineages
from plimsoll.fleet.expected import Expected
from plimsoll.fleet.fleet import judge_fleet
from plimsoll.fleet.reading import read_nodes, split
from tests.support.commands import plimsoll
from tests.support.fleet_runs import MadeNode, events_of, write_fleet_of, write_node

# A line of the format: a name, labels with quotes and escapes in order, and a number.
SAMPLE = re.compile(r'[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)+\})? -?\d+(\.\d+)?(e[+-]?\d+)?')


def text_of(folder: Path, expected: Expected | None = None) -> str:
    read, unread = split(read_nodes(find_lineages([str(folder)], folder), 1))
    return metrics_text(judge_fleet(read, unread, expected), datetime(2026, 11, 27, tzinfo=UTC))


def test_every_line_is_one_that_the_exporter_takes(tmp_path: Path) -> None:
    slow = {"node07": lambda made: replace(made, slow={2: 1 / 0.9}), "node03": lambda made: replace(made, ends=False)}
    write_fleet_of(tmp_path, 16, **slow)
    write_node(tmp_path, MadeNode(name='odd"name\\'))
    lines = text_of(tmp_path).splitlines()
    samples = [line for line in lines if not line.startswith("# ")]
    assert [line for line in samples if not SAMPLE.fullmatch(line)] == []
    names = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(names) == len(set(names)) == len([line for line in lines if line.startswith("# HELP ")])
    assert {re.split(r"[{ ]", line)[0] for line in samples} == set(names)


def test_what_is_told_is_what_the_fleet_came_to(tmp_path: Path) -> None:
    write_fleet_of(
        tmp_path,
        16,
        node03=lambda made: replace(made, failing=((3, "ecc"),)),
        node05=lambda made: replace(made, ends=False),
        node07=lambda made: replace(made, slow={2: 1 / 0.9}),
    )
    text = text_of(tmp_path)
    assert "plimsoll_written_timestamp_seconds 1795737600.0\n" in text
    assert "plimsoll_fleet_accepted 0.0\n" in text
    assert 'plimsoll_fleet_nodes{verdict="ACCEPTED"} 14.0\n' in text
    assert 'plimsoll_node_accepted{node="node03"} 0.0\n' in text
    assert 'plimsoll_node_checks{node="node03",outcome="fail"} 1.0\n' in text
    assert 'plimsoll_node_run_seconds{node="node01"} 600.0\n' in text
    assert 'plimsoll_slower_ratio{node="node07",gpu="gpu2",check="",metric="",look="gpu",product="' in text
    # A run that was killed has no end: no line, and no zero.
    assert 'run_seconds{node="node05"}' not in text
    assert 'timestamp_seconds{node="node05"}' not in text


def test_two_figures_of_one_check_that_are_slow_have_each_its_line(tmp_path: Path) -> None:
    """Of two lines with the same labels the exporter takes none of the whole file."""
    for number in range(1, 9):
        node = MadeNode(name=f"node{number:02}", slow_metric={(2, "token_time"): 1.3} if number == 5 else {})
        events = []
        for event in events_of(node):
            events.append(event)
            if event["event"] == "measurement" and event["metric"] == "token_time":
                events.append({**event, "metric": "first_token_time", "value": 10.0 * event["value"]})
        write_node(tmp_path, node, [*events[:-1], {**events[-1], "events": len(events)}])
    lines = [line for line in text_of(tmp_path).splitlines() if line.startswith("plimsoll_slower_ratio")]
    series = [line.rpartition(" ")[0] for line in lines]
    assert len(series) == 2
    assert len(set(series)) == 2


def test_a_node_that_left_nothing_or_computes_wrong_bits_is_not_accepted(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 4, node03=lambda made: replace(made, bits=dict.fromkeys(range(8), "aa")))
    text = text_of(tmp_path, Expected(names=("node01", "node02", "node03", "node04", "node05")))
    accepted = dict(re.findall(r'plimsoll_node_accepted\{node="(\w+)"\} (\S+)', text))
    assert accepted == {"node01": "1.0", "node02": "1.0", "node03": "0.0", "node04": "1.0", "node05": "0.0"}
    rejected = dict(re.findall(r'plimsoll_node_rejected\{node="(\w+)"\} (\S+)', text))
    assert [node for node, value in rejected.items() if value == "1.0"] == ["node03"]
    assert re.findall(r'plimsoll_fleet_nodes\{verdict="(\w+)"\} (\S+)', text) == [
        ("ACCEPTED", "3.0"),
        ("REJECTED", "1.0"),
        ("INCOMPLETE", "0.0"),
    ]


def test_the_file_appears_in_one_step_and_must_be_one_that_is_read(tmp_path: Path) -> None:
    write_fleet_of(tmp_path / "nodes", 2)
    done = plimsoll("fleet", tmp_path / "nodes", f"--metrics-file={tmp_path / 'plimsoll.prom'}")
    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["plimsoll.prom"]
    wrong = plimsoll("fleet", tmp_path / "nodes", f"--metrics-file={tmp_path / 'plimsoll.txt'}")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "the node exporter reads files that end in .prom alone" in wrong.stderr
