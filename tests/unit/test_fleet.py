"""The verdict over many nodes: what is missing, what is odd, what differs, and who is named for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from plimsoll.evidence.chain import START, sealed
from plimsoll.evidence.events import Event
from plimsoll.fleet.data import fleet_data
from plimsoll.fleet.discovery import find_lineages
from plimsoll.fleet.document import drain_commands
from plimsoll.fleet.expected import read_expected
from plimsoll.fleet.fleet import Condition, Fleet, judge_fleet
from plimsoll.fleet.names import compressed, expanded, natural
from plimsoll.fleet.outliers import FigureKey, FigureValue, Look, OutlierSearch, find_outliers
from plimsoll.fleet.reading import read_nodes, split
from plimsoll.fleet.summary import check_name
from plimsoll.fleet.write import markdown_text, terminal_lines
from plimsoll.verdict.verdict import Word
from tests.support.commands import plimsoll
from tests.support.fleet_runs import MadeNode, events_of, node_of, without_cells, write_fleet_of, write_node
from tests.support.run_events import line, plan
from tests.support.schemas import validator

Spoil = Callable[[MadeNode], MadeNode]


def spoiled(**changes: Any) -> Spoil:
    return lambda made: replace(made, **changes)


NOW = datetime(2026, 11, 27, tzinfo=UTC)
"""A week after the runs that are made up."""


def fleet_in(
    folder: Path,
    expect: str | None = None,
    *fail_on: Condition,
    newest: bool = False,
    most_age: timedelta | None = None,
) -> Fleet:
    read, unread = split(read_nodes(find_lineages([str(folder)], folder), 1))
    return judge_fleet(read, unread, read_expected(expect), fail_on, newest=newest, now=NOW, most_age=most_age)


def made_fleet(folder: Path, count: int = 8, expect: str | None = None, **changes: Spoil) -> Fleet:
    write_fleet_of(folder, count, **changes)
    return fleet_in(folder, expect)


def test_sound_nodes_are_accepted_and_nothing_about_them_is_odd(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, expect="8")
    assert (fleet.word, fleet.exit_status) == (Word.ACCEPTED, 0), fleet.statement
    assert fleet.statement == "ACCEPTED over 8 expected nodes: 8 accepted"
    assert (fleet.faults, fleet.notes, fleet.oddities()) == ((), (), {})
    assert (fleet.differences, fleet.stragglers, fleet.outliers.outliers) == ((), (), ())
    # 8 nodes; 8 GPUs of each; 8 figures of each of those.
    assert fleet.outliers.looks == 8 + 64 + 512
    assert (fleet.numerics.devices, fleet.numerics.groups, fleet.numerics.alone) == (64, 1, ())


def test_a_node_that_fails_rejects_the_fleet_and_is_named_with_its_check(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, expect="8", node03=spoiled(failing=((3, "ecc"),)))
    assert (fleet.word, fleet.exit_status) == (Word.REJECTED, 1)
    assert fleet.statement == "REJECTED over 8 expected nodes: 7 accepted, 1 rejected"
    [node] = [node for node in fleet.nodes if node.word is Word.REJECTED]
    assert (node.name, [reason.check for reason in node.reasons]) == (
        "node03",
        ["acceptance/test_health.py::test_ecc[gpu3]"],
    )


@pytest.mark.parametrize(
    ("expect", "said", "fault"),
    [
        ("9", "9 expected nodes: 8 accepted, 1 without evidence", "9 nodes are expected, and 8 left evidence"),
        ("node[01-10]", "10 expected nodes: 8 accepted, 2 without evidence", "no evidence of node[09-10]"),
    ],
)
def test_a_node_without_evidence_makes_the_fleet_incomplete(tmp_path: Path, expect: str, said: str, fault: str) -> None:
    if not expect.isdecimal():
        (tmp_path / "nodes.txt").write_text(f"# the rack\n{expect}  # all of it\n")
        expect = str(tmp_path / "nodes.txt")
    fleet = made_fleet(tmp_path / "nodes", expect=expect)
    assert (fleet.word, fleet.exit_status) == (Word.INCOMPLETE, 6)
    assert fleet.statement == f"INCOMPLETE over {said}; {fault}"
    assert fleet.faults == (fault,)


def test_without_an_expectation_it_is_said_that_nobody_is_missed(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, 3)
    assert fleet.word is Word.ACCEPTED
    assert fleet.notes == ("a node that left nothing is not missed: --expect-nodes says which there are",)


def test_a_node_that_was_killed_is_incomplete_and_keeps_its_name(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, expect="8", node02=spoiled(ends=False))
    assert (fleet.word, fleet.nodes[1].word) == (Word.INCOMPLETE, Word.INCOMPLETE)
    assert fleet.nodes[1].faults == ("the run did not finish: it was killed, or its last line is lost",)
    # What it did not get to look at is no difference: nobody knows its settings.
    assert fleet.differences == ()


def test_evidence_that_says_nothing_is_a_fault_with_its_path(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 3)
    (tmp_path / "node04" / "run").mkdir(parents=True)
    (tmp_path / "node04" / "run" / "evidence.jsonl").touch()
    fleet = fleet_in(tmp_path)
    assert fleet.word is Word.INCOMPLETE
    assert fleet.faults[0].startswith(f"{tmp_path}/node04/run/evidence.jsonl: no evidence in ")


@pytest.mark.parametrize(
    ("change", "what", "value"),
    [
        ({"driver": "570.133.20"}, "driver", "570.133.20"),
        ({"kernel": "6.8.0"}, "kernel", "6.8.0"),
        ({"vbios": dict.fromkeys(range(8), "96.00.01")}, "VBIOS", "96.00.01"),
        ({"power_limit": dict.fromkeys(range(8), 500)}, "power limit", "500 W"),
        ({"ecc_off": range(8)}, "ECC", "off"),
        ({"packages": {"torch": "2.12.0"}}, "package torch", "2.12.0"),
        ({"environment": {"NCCL_P2P_DISABLE": "1"}}, "environment NCCL_P2P_DISABLE", "1"),
    ],
)
def test_what_differs_is_told_with_the_minority_named(
    tmp_path: Path, change: dict[str, Any], what: str, value: str
) -> None:
    fleet = made_fleet(tmp_path, 5, expect="5", node04=spoiled(**change))
    assert fleet.word is Word.ACCEPTED, "what is merely another driver is no failure"
    difference = next(each for each in fleet.differences if each.what == what)
    assert difference.majority is not None
    assert [(group.value, group.named) for group in difference.minority] == [(value, "node04")]
    assert any(text.startswith(f"{what} is {value}") for text in fleet.oddities()["node04"])


def test_limits_and_files_of_the_suite_by_which_a_node_alone_was_judged_are_told(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 3)
    other = MadeNode(name="node04")
    head, *rest = events_of(other)
    changed = {"catalogues": [{"path": "/x/tiny.toml", "sha256": "ab" * 32, "shipped": False}], "edited": ["a/b.py"]}
    write_node(tmp_path, other, [{**head, **changed}, *rest])
    told = {each.what: [(group.value, group.named) for group in each.groups] for each in fleet_in(tmp_path).differences}
    assert told["catalogues"] == [("tiny.toml 00000000", "node[01-03]"), ("tiny.toml abababab", "node04")]
    assert told["edited files of the suite"] == [("none", "node[01-03]"), ("a/b.py", "node04")]


def test_a_gpu_that_differs_within_its_node_is_named_by_itself(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, 3, node02=spoiled(power_limit={1: 600, 5: 600}))
    [difference] = fleet.differences
    assert difference.minority[0].named == "node02 (gpu1, gpu5)"


def test_where_half_differ_nobody_is_called_the_odd_one(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, 4, node01=spoiled(kernel="a"), node02=spoiled(kernel="a"))
    [difference] = fleet.differences
    assert (difference.majority, len(difference.minority)) == (None, 2)
    assert fleet.oddities() == {}


def test_fail_on_makes_what_is_odd_a_failure(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 4, node02=spoiled(kernel="6.8.0"))
    assert fleet_in(tmp_path, "4").exit_status == 0
    assert fleet_in(tmp_path, "4", Condition.OUTLIER, Condition.STRAGGLER).exit_status == 0
    failed = fleet_in(tmp_path, "4", Condition.DIFFERENCE)
    assert (failed.word, failed.exit_status, failed.breaches) == (Word.ACCEPTED, 1, (Condition.DIFFERENCE,))


def test_words_of_a_second_fail_on_are_added_to_those_of_the_first(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 4, node02=spoiled(kernel="6.8.0"))
    done = plimsoll("fleet", tmp_path, "--json", "--fail-on=difference", "--fail-on=outlier,difference")
    assert done.returncode == 1
    assert json.loads(done.stdout)["fail_on"] == ["difference", "outlier"]


def test_what_fails_an_accepted_fleet_is_the_last_that_a_terminal_says(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 4, node02=spoiled(kernel="6.8.0"))
    done = plimsoll("fleet", tmp_path, "--fail-on=outlier,difference")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        "ACCEPTED over 4 nodes: 4 accepted",
        "fails on difference: --fail-on asks for none",
    ]
    assert plimsoll("fleet", tmp_path, "--fail-on=outlier").stdout.splitlines()[-1].startswith("ACCEPTED over")


def test_a_gpu_that_computes_other_bits_rejects_the_fleet_though_its_node_is_accepted(tmp_path: Path) -> None:
    # All of one node differ, so that the node has nobody to disagree with.
    fleet = made_fleet(tmp_path, 4, node03=spoiled(bits=dict.fromkeys(range(8), "aa")))
    assert {node.word for node in fleet.nodes} == {Word.ACCEPTED}
    assert (fleet.word, fleet.exit_status) == (Word.REJECTED, 1)
    assert [(one.node, one.gpu, one.is_told) for one in fleet.numerics.apart] == [
        ("node03", f"gpu{gpu}", True) for gpu in range(8)
    ]
    assert fleet.numerics.apart[0].agreeing == 8
    assert "  node03 ACCEPTED by itself, and other bits" in terminal_lines(fleet)
    assert len(drain_commands(fleet)) == 1, "the node that rejects the fleet can be taken out of service"
    told = {node["name"]: (node["verdict"], node["in_fleet"], node["drain"]) for node in fleet_data(fleet)["nodes"]}
    assert told["node03"] == ("ACCEPTED", "REJECTED", drain_commands(fleet)[0])
    assert told["node01"] == ("ACCEPTED", "ACCEPTED", None)


def test_of_two_nodes_with_other_bits_both_are_named(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, 2, node02=spoiled(bits=dict.fromkeys(range(8), "aa")))
    assert fleet.word is Word.REJECTED
    assert {(one.node, one.is_told) for one in fleet.numerics.apart} == {("node01", False), ("node02", False)}


def test_bits_of_another_driver_are_not_held_against_it(tmp_path: Path) -> None:
    other = spoiled(driver="570.1", bits=dict.fromkeys(range(8), "aa"))
    fleet = made_fleet(tmp_path, 4, node03=other)
    assert (fleet.word, fleet.numerics.apart, fleet.numerics.groups) == (Word.ACCEPTED, (), 2)


def test_a_slow_gpu_is_named_over_all_of_its_figures(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, node07=spoiled(slow={2: 1 / 0.92}))
    assert {(one.look, one.node, one.gpu) for one in fleet.outliers.outliers} == {(Look.GPU, "node07", "gpu2")}
    [one] = fleet.outliers.outliers
    assert 0.06 < one.behind < 0.10
    assert str(one) == f"gpu2 is {one.behind:.1%} slower over 8 figures"
    assert fleet.word is Word.ACCEPTED


def test_a_gpu_that_is_slow_in_one_figure_is_named_with_it(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, node07=spoiled(slow_metric={(2, "memory_bandwidth"): 1.2}))
    [one] = fleet.outliers.outliers
    assert (one.look, one.node, one.gpu, one.metric) == (Look.FIGURE, "node07", "gpu2", "memory_bandwidth")
    assert "memory_bandwidth 2.4" in str(one)
    assert "2.9" in str(one)


def test_a_node_of_which_every_gpu_is_slow_is_named_once(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, 16, node07=spoiled(slow=dict.fromkeys(range(8), 1.1)))
    assert {(one.look, one.node) for one in fleet.outliers.outliers} == {(Look.NODE, "node07")}


def test_four_slow_gpus_of_eight_are_named_though_they_are_half_of_their_node(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, 32, node07=spoiled(slow=dict.fromkeys(range(4), 1.1)))
    assert {(one.node, one.gpu) for one in fleet.outliers.outliers} == {("node07", f"gpu{gpu}") for gpu in range(4)}


def test_of_too_few_gpus_nothing_is_said(tmp_path: Path) -> None:
    one, two, three = (spoiled(gpus=1, slow={0: float(n)}) for n in (1, 2, 3))
    fleet = made_fleet(tmp_path, 3, node01=one, node02=two, node03=three)
    assert (fleet.outliers.looks, fleet.outliers.outliers) == (0, ())
    assert fleet.outliers.too_few == ("NVIDIA H100 80GB HBM3",)


def test_of_gpus_that_have_too_few_figures_in_common_nothing_is_said() -> None:
    figures = {
        FigureKey(product="a GPU", check=check, metric="load_time", unit="s"): [
            FigureValue(node, gpu, 1.0) for gpu in ("gpu0", "gpu1", "gpu2")
        ]
        for node, check in (("node1", "a cold load"), ("node2", "a warm load"))
    }
    assert find_outliers(figures) == OutlierSearch(outliers=(), looks=0, too_few=("a GPU",))


def test_a_node_that_took_long_is_named(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, 4, node02=spoiled(seconds=1200.0), node03=spoiled(seconds=700.0))
    [straggler] = fleet.stragglers
    assert (straggler.node, straggler.seconds, straggler.middle) == ("node02", 1200.0, 650.0)
    assert fleet.word is Word.ACCEPTED


@pytest.mark.parametrize("usual", [0.0, -5.0])
def test_runs_that_took_no_time_by_their_clocks_make_no_straggler_impossible(tmp_path: Path, usual: float) -> None:
    runs = {f"node{number:02}": spoiled(seconds=usual) for number in (1, 2, 3)}
    write_fleet_of(tmp_path, 4, node04=spoiled(seconds=100.0), **runs)
    fleet = fleet_in(tmp_path)
    assert [one.node for one in fleet.stragglers] == (["node04"] if usual == 0.0 else [])
    assert all(node.seconds is None or node.seconds >= 0.0 for node in fleet.nodes)


def test_a_gpu_that_is_not_listed_any_more_makes_its_node_incomplete_in_the_fleet(tmp_path: Path) -> None:
    write_fleet_of(tmp_path / "nodes", 4, node04=spoiled(gpus=7))
    fleet = fleet_in(tmp_path / "nodes")
    assert fleet.nodes[3].word is Word.ACCEPTED, "the node's own plan has seven GPUs"
    assert fleet.word is Word.INCOMPLETE
    said = (
        "node04 has 7 GPUs, and most nodes of its kind have 8; if that is right, say so in the file of "
        "--expect-nodes: node04 7"
    )
    assert fleet.faults == (said,)
    told = [row for row in markdown_text(fleet).splitlines() if row.startswith("| `node04`") and "by itself" in row]
    assert len(told) == 1
    assert "ACCEPTED by itself, INCOMPLETE among the others" in told[0].replace("**", "")
    assert [fleet.word_of(node) for node in fleet.nodes] == [Word.ACCEPTED] * 3 + [Word.INCOMPLETE]
    assert [fleet.why(node) for node in fleet.nodes] == [[], [], [], [said]]
    expected = tmp_path / "nodes.txt"
    expected.write_text("node[01-03] 8\nnode04 7\n")
    assert fleet_in(tmp_path / "nodes", str(expected)).word is Word.ACCEPTED
    expected.write_text("node[01-03]\nnode04 8\n")
    assert fleet_in(tmp_path / "nodes", str(expected)).faults == ("node04 has 7 GPUs, and 8 are expected",)


def test_a_node_that_was_asked_less_is_incomplete(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 4)
    less = MadeNode(name="node05")
    write_node(tmp_path, less, without_cells(events_of(less), "test_ecc"))
    fleet = fleet_in(tmp_path)
    assert fleet.nodes[4].word is Word.ACCEPTED, fleet.nodes[4].statement
    assert fleet.word is Word.INCOMPLETE
    assert fleet.faults == (
        "node05 was not asked 1 check that others of the kind were asked, such as "
        "acceptance/test_health.py::test_ecc; run the same selection on all of them",
    )


def test_nodes_that_were_asked_less_are_told_though_they_are_most(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 1)
    for less in (MadeNode(name="node02"), MadeNode(name="node03")):
        write_node(tmp_path, less, without_cells(events_of(less), "test_ecc"))
    fleet = fleet_in(tmp_path, "3")
    assert {node.word for node in fleet.nodes} == {Word.ACCEPTED}
    assert (fleet.word, fleet.faults[0][:44]) == (Word.INCOMPLETE, "node[02-03] were not asked 1 check that othe")


def test_a_node_that_left_out_gpus_which_its_like_asked_is_incomplete(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 1)
    less = MadeNode(name="node02")
    events: list[Any] = events_of(less)
    for gpu in (4, 5, 6, 7):
        events = without_cells(events, f"gpu{gpu}")
    events[1] = {**events[1], "used": [f"gpu{gpu}" for gpu in range(4)]}
    write_node(tmp_path, less, events)
    fleet = fleet_in(tmp_path, "2")
    assert {node.word for node in fleet.nodes} == {Word.ACCEPTED}
    assert fleet.word is Word.INCOMPLETE
    assert fleet.faults == (
        "node02 was asked on 4 of its 8 GPUs, and others of its kind on 8; run the same selection on all of them",
    )


@pytest.mark.parametrize("count", [2, 4, 3])
def test_a_gpu_that_is_not_listed_is_missed_though_no_majority_has_it(tmp_path: Path, count: int) -> None:
    lost = {f"node{number:02}": spoiled(gpus=7) for number in range(1, count)}
    fleet = made_fleet(tmp_path, count, str(count), **lost)
    assert {node.word for node in fleet.nodes} == {Word.ACCEPTED}
    assert (fleet.word, len(fleet.faults)) == (Word.INCOMPLETE, count - 1)
    assert fleet.faults[0].startswith(f"node01 has 7 GPUs, and node{count:02} has 8; if that is right, say so in the")


def test_a_node_whose_driver_lists_no_gpu_is_missed_among_those_with_gpus(tmp_path: Path) -> None:
    write_fleet_of(tmp_path / "nodes", 3, node02=spoiled(gpus=0))
    fleet = fleet_in(tmp_path / "nodes", "3")
    assert fleet.nodes[1].word is Word.ACCEPTED, "its own plan asks nothing of a GPU"
    assert fleet.word is Word.INCOMPLETE
    assert fleet.faults[0].startswith("node02 has 0 GPUs, and most nodes of its kind have 8; ")
    (tmp_path / "nodes.txt").write_text("node[01,03]\nnode02 0\n")
    assert fleet_in(tmp_path / "nodes", str(tmp_path / "nodes.txt")).word is Word.ACCEPTED


def test_a_gpu_whose_name_cannot_be_read_makes_no_kind_of_its_own(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 3, node02=spoiled(gpus=7))
    read, _ = split(read_nodes(find_lineages([str(tmp_path)], tmp_path), 1))
    nameless = replace(read[1], gpus=(replace(read[1].gpus[0], product=None), *read[1].gpus[1:]))
    assert judge_fleet([read[0], nameless, read[2]]).faults[0].startswith("node02 has 7 GPUs, and most nodes of its")


def test_a_folder_that_a_node_left_empty_is_a_fault_with_its_path(tmp_path: Path) -> None:
    runs = write_fleet_of(tmp_path / "nodes", 3)
    # What stands beside runs, and in them, is none.
    (tmp_path / "nodes" / "fleet").mkdir()
    (tmp_path / "nodes" / "fleet" / "fleet.html").touch()
    (tmp_path / "nodes" / runs[0].name / runs[0].run_id / "pages").mkdir()
    assert fleet_in(tmp_path / "nodes", "3").word is Word.ACCEPTED
    (tmp_path / "nodes" / "node04").mkdir()
    begun = tmp_path / "nodes" / "node05" / "20261120T125901Z-node05-ab12"
    begun.mkdir(parents=True)
    (begun / "junit.xml").touch()
    fleet = fleet_in(tmp_path / "nodes")
    assert fleet.word is Word.INCOMPLETE
    assert [fault.partition(": no evidence in ")[0] for fault in fleet.faults] == [
        f"{tmp_path}/nodes/node04/evidence.jsonl",
        f"{begun}/evidence.jsonl",
    ]


@pytest.mark.parametrize("kept", ["lost+found", ".snapshot/hourly.0/node01", ".nfs"])
def test_what_a_file_system_keeps_is_no_node(kept: str, tmp_path: Path) -> None:
    """A file server's copy of an older, rejected run is none of this fleet's either."""
    write_fleet_of(tmp_path / "nodes", 3)
    folder = tmp_path / "nodes" / kept
    folder.mkdir(parents=True)
    if ".snapshot" in kept:
        write_node(folder, MadeNode(name="node01", run="20261119T000000Z-node01-aaaa", failing=((1, "xid"),)))
    fleet = fleet_in(tmp_path / "nodes", "3")
    assert (fleet.word, fleet.faults, fleet.notes) == (Word.ACCEPTED, (), ())


def test_of_a_folder_a_link_alone_is_nothing_that_a_node_left(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 2)
    (tmp_path / "node03").mkdir()
    (tmp_path / "node03" / "latest").symlink_to("20261120T125901Z-node03-ab12")
    fleet = fleet_in(tmp_path)
    assert fleet.word is Word.INCOMPLETE
    assert [fault.partition(":")[0] for fault in fleet.faults] == [f"{tmp_path}/node03/evidence.jsonl"]


def test_evidence_that_says_nothing_puts_the_node_in_doubt_whose_folder_it_lies_in(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 2)
    lost = tmp_path / "node01" / "20261121T000000Z-node01-aa01"
    lost.mkdir()
    fleet = fleet_in(tmp_path)
    assert [fleet.word_of(node) for node in fleet.nodes] == [Word.INCOMPLETE, Word.ACCEPTED]
    # Of a folder with runs of several nodes nobody knows whose it is.
    for node in ("node01", "node02"):
        for run in (tmp_path / node).iterdir():
            run.rename(tmp_path / run.name)
        (tmp_path / node).rmdir()
    fleet = fleet_in(tmp_path)
    assert (len(fleet.faults), [fleet.word_of(node) for node in fleet.nodes]) == (1, [Word.ACCEPTED] * 2)


def test_a_gpu_that_a_node_had_in_an_earlier_run_is_missed(tmp_path: Path) -> None:
    """Where all of a kind lost one, or the node is alone of its kind, no other node tells."""
    write_node(tmp_path, MadeNode(name="node01", run="20261119T000000Z-node01-aa01"))
    write_node(tmp_path, MadeNode(name="node01", gpus=7, run="20261121T000000Z-node01-aa01"), dated("2026-11-21", 7))
    said = (
        "node01 has 7 GPUs in its newest run, and had 8 GPUs before; if that is right, say so in the file of "
        "--expect-nodes: node01 7"
    )
    assert fleet_in(tmp_path, "1").faults == (said,)
    assert fleet_in(tmp_path, "1", newest=True).faults == (said,)
    (tmp_path / "nodes.txt").write_text("node01 7\n")
    assert fleet_in(tmp_path, str(tmp_path / "nodes.txt"), newest=True).word is Word.ACCEPTED


def dated(day: str, gpus: int = 8, name: str = "node01", **changes: Any) -> list[Any]:
    """The events of a run of another day, of a minute after midnight."""
    made = MadeNode(name=name, gpus=gpus, run=f"{day.replace('-', '')}T000000Z-{name}-aa01", **changes)
    head, *rest, end = events_of(made)
    return [{**head, "at": f"{day}T00:00:00+00:00"}, *rest, {**end, "at": f"{day}T00:01:00+00:00"}]


@pytest.mark.parametrize(("day", "word"), [("2026-11-19", Word.ACCEPTED), ("2026-11-20", Word.INCOMPLETE)])
def test_runs_under_one_name_that_share_no_gpu_are_of_two_machines(tmp_path: Path, day: str, word: Word) -> None:
    write_node(tmp_path, MadeNode(name="node01"))
    other = MadeNode(name="node01", uuid_of="other", run=f"{day.replace('-', '')}T000000Z-node01-aa01")
    events = dated(day, uuid_of="other")
    if day == "2026-11-20":
        events[-1]["at"] = "2026-11-20T13:00:00+00:00"  # while the first one ran
    write_node(tmp_path, other, events)
    fleet = fleet_in(tmp_path, "1")
    assert (fleet.word, len(fleet.faults)) == (Word.INCOMPLETE, 1)
    assert "are both of node01, and have no GPU in common; give each machine a name of its own" in fleet.faults[0]
    assert fleet_in(tmp_path, "1", newest=True).word is word


def test_evidence_that_is_too_old_speaks_for_no_node(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 3)
    write_node(
        tmp_path, MadeNode(name="node04", run="20261001T000000Z-node04-aa01"), dated("2026-10-01", name="node04")
    )
    fleet = fleet_in(tmp_path, "4")
    assert fleet.word is Word.ACCEPTED
    assert fleet.notes == (
        "what node04 left is more than 7 days older than the newest: is it of this acceptance? --max-age HOURS refuses "
        "what is older",
    )
    fleet = fleet_in(tmp_path, "4", most_age=timedelta(hours=200))
    assert (fleet.word, fleet.notes) == (Word.INCOMPLETE, ())
    assert fleet.faults == (
        "what node04 left ended longer ago than 200 h, the most that is allowed, such as 20261001T000000Z-node04-aa01; "
        "run them again, or leave old runs out",
    )
    assert [fleet.word_of(node) for node in fleet.nodes] == [Word.ACCEPTED] * 3 + [Word.INCOMPLETE]


@pytest.mark.parametrize("day", ["1970-01-01", "2027-01-01"])
def test_a_run_at_a_time_that_cannot_be_is_neither_fresh_nor_the_newest(tmp_path: Path, day: str) -> None:
    run = f"{day.replace('-', '')}T000000Z-node01-aa01"
    write_node(tmp_path, MadeNode(name="node01", run=run), dated(day, failing=((1, "xid"),)))
    write_fleet_of(tmp_path, 2)
    fleet = fleet_in(tmp_path, "2", newest=True)
    assert (fleet.word, [fleet.word_of(node) for node in fleet.nodes][1]) == (
        Word.INCOMPLETE if day < "2026" else Word.REJECTED,
        Word.ACCEPTED,
    )
    assert f"by its clock {run} of node01 began at no time that can be" in fleet.faults[0]
    fleet = fleet_in(tmp_path, "2", most_age=timedelta(hours=200))
    assert fleet.faults == (
        f"what node01 left ended at no time that can be, so that nobody knows how old it is, such as {run}; set their "
        "clocks, and run again",
    )


def test_a_node_that_is_expected_by_another_form_of_its_name_is_told(tmp_path: Path) -> None:
    write_fleet_of(tmp_path / "nodes", 2, node02=spoiled(environment={"PLIMSOLL_NODE": "Node02.cluster.local"}))
    (tmp_path / "nodes.txt").write_text("node[01-02]\n")
    fleet = fleet_in(tmp_path / "nodes", str(tmp_path / "nodes.txt"))
    assert (fleet.word, fleet.missing) == (Word.INCOMPLETE, ("node02",))
    assert (
        fleet.notes[-1] == "Node02.cluster.local: expected under another name? Set PLIMSOLL_NODE, or expect that name"
    )


@pytest.mark.parametrize(("failing", "is_warned"), [(2, False), (3, True)])
def test_a_failure_of_most_nodes_is_told_before_they_are_taken_out_of_service(
    tmp_path: Path, failing: int, is_warned: bool
) -> None:
    spoils = {f"node{number:02}": spoiled(failing=((3, "ecc"),)) for number in range(1, failing + 1)}
    write_fleet_of(tmp_path, 4, **spoils)
    lines = terminal_lines(fleet_in(tmp_path))
    said = f"acceptance/test_health.py::test_ecc failed on {failing} of 4 nodes: look first at what they share"
    assert any(said in line for line in lines) is is_warned


def test_one_nodes_evidence_does_not_stand_for_two(tmp_path: Path) -> None:
    fleet = made_fleet(tmp_path, 3, expect="3", node03=spoiled(uuid_of="node01"))
    assert fleet.word is Word.INCOMPLETE
    assert fleet.faults == (
        "node01, node03 have the same 8 GPUs (GPU-node01-0, ...); one node's evidence cannot speak for another",
    )


def test_of_two_runs_of_a_node_the_worst_counts_unless_the_newest_is_asked_for(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 2)
    write_node(tmp_path, MadeNode(name="node01", run="20261119T000000Z-node01-aa", failing=((1, "xid"),)))
    fleet = fleet_in(tmp_path, "2")
    assert (fleet.word, len(fleet.nodes), len(fleet.nodes[0].runs)) == (Word.REJECTED, 2, 2)
    assert fleet.notes == ("several runs of node01: the worst outcome of each check counts; --newest takes the last",)


def test_the_scope_of_a_node_with_several_runs_names_that_of_each_once(tmp_path: Path) -> None:
    write_node(tmp_path, MadeNode(name="node01"))
    (read,), _ = split(read_nodes(find_lineages([str(tmp_path)], tmp_path), 1))
    runs = [replace(read, scope=scope) for scope in ("-k bf16", "-k nf4", "-k bf16")]
    assert judge_fleet(runs, now=NOW).nodes[0].scope == "-k bf16 + -k nf4"


def test_the_newest_run_hides_no_failure_that_it_was_not_asked(tmp_path: Path) -> None:
    made = MadeNode(name="node01", run="20261119T000000Z-node01-aa01", failing=((1, "xid"),))
    old = events_of(made)
    write_node(tmp_path, made, [{**old[0], "at": "2026-11-19T00:00:00+00:00"}, *old[1:]])
    newer = MadeNode(name="node01")
    run = write_node(tmp_path, newer)
    assert fleet_in(tmp_path, "1", newest=True).word is Word.ACCEPTED
    shutil.rmtree(run)
    write_node(tmp_path, newer, without_cells(events_of(newer), "test_xid"))
    fleet = fleet_in(tmp_path, "1", newest=True)
    assert fleet.word is Word.INCOMPLETE
    assert fleet.faults == (
        "the newest run of node01 was not asked 1 check that had no good result before, such as "
        "acceptance/test_health.py::test_xid on gpu1, failed in 20261119T000000Z-node01-aa01; run the same selection "
        "again",
    )


def test_a_run_whose_start_is_lost_may_be_the_newest(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 1)
    cut = MadeNode(name="node01", run="20261121T000000Z-node01-aa01", ends=False)
    write_node(tmp_path, cut, events_of(cut)[1:])
    assert fleet_in(tmp_path, "1", newest=True).word is Word.INCOMPLETE


def test_bits_that_another_run_of_the_node_computed_count_too(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 1)
    write_node(tmp_path, MadeNode(name="node01", run="20261119T000000Z-node01-aa01", bits={3: "aa"}))
    fleet = fleet_in(tmp_path, "1")
    assert fleet.nodes[0].word is Word.ACCEPTED, "each run by itself has nothing to hold its bits against"
    assert (fleet.word, [(one.gpu, one.ways) for one in fleet.numerics.apart]) == (Word.REJECTED, [("gpu3", 2)])


def test_models_that_another_release_made_are_not_held_against_each_other(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 3)
    other = MadeNode(name="node04", bits=dict.fromkeys(range(8), "aa"))
    head, *rest = events_of(other)
    write_node(tmp_path, other, [{**head, "plimsoll": "9.9.9"}, *rest])
    fleet = fleet_in(tmp_path, "4")
    assert (fleet.word, fleet.numerics.apart, fleet.numerics.groups) == (Word.ACCEPTED, (), 2), fleet.statement


@pytest.mark.parametrize("digest", [None, ""])
def test_digests_that_are_none_agree_with_nothing(tmp_path: Path, digest: str | None) -> None:
    made = MadeNode(name="node01")
    events = events_of(made)
    for event in events:
        if "digests" in event.get("context", {}):
            event["context"]["digests"] = dict.fromkeys(event["context"]["digests"], digest)
    write_node(tmp_path, made, events)
    assert fleet_in(tmp_path, "1").numerics.devices == 0


def test_where_nothing_could_be_read_the_status_is_that_of_incomplete(tmp_path: Path) -> None:
    (tmp_path / "node01" / "run").mkdir(parents=True)
    (tmp_path / "node01" / "run" / "evidence.jsonl").touch()
    assert fleet_in(tmp_path).exit_status == 6


def test_a_link_to_the_newest_run_counts_no_run_twice(tmp_path: Path) -> None:
    run = write_node(tmp_path, MadeNode(name="node01"))
    (tmp_path / "node01" / "latest").symlink_to(run.name)
    assert len(find_lineages([str(tmp_path), str(run), str(tmp_path / "node01" / "latest")], tmp_path)) == 1


def test_the_batch_scripts_name_of_a_node_counts_more_than_its_host_name(tmp_path: Path) -> None:
    write_fleet_of(tmp_path, 1, node01=spoiled(environment={"PLIMSOLL_NODE": "gpu07"}))
    assert fleet_in(tmp_path).nodes[0].name == "gpu07"


def test_the_file_for_programs_follows_its_schema_and_the_lines_name_every_node(tmp_path: Path) -> None:
    bad = spoiled(failing=((3, "ecc"),), driver="570.1", slow={2: 1.2}, seconds=5000.0, bits={1: "aa"})
    write_fleet_of(tmp_path / "nodes", 8, node03=bad)
    (tmp_path / "expected").write_text("node[01-09]\n")
    done = plimsoll("fleet", str(tmp_path / "nodes"), f"--expect-nodes={tmp_path}/expected", "--json")
    data = json.loads(done.stdout)
    validator("fleet").validate(data)
    assert (done.returncode, data["verdict"], data["expected"]["missing"]) == (1, "REJECTED", ["node09"])
    assert all(data[key] for key in ("differences", "outliers", "bits_apart", "stragglers"))
    assert data["nodes"][2]["drain"].startswith("scontrol update NodeName=node03 State=DRAIN 'Reason=[node_problem] ")
    lines = plimsoll("fleet", str(tmp_path / "nodes"), f"--expect-nodes={tmp_path}/expected", "--json-lines").stdout
    assert [json.loads(line)["name"] for line in lines.splitlines()] == [f"node{n:02}" for n in range(1, 10)]


def test_the_command_writes_a_page_markdown_and_files_for_programs(tmp_path: Path) -> None:
    write_fleet_of(tmp_path / "nodes", 8, node03=spoiled(failing=((3, "ecc"),)), node05=spoiled(kernel="<b>6.8</b>"))
    done = plimsoll("fleet", str(tmp_path / "nodes"), f"--output={tmp_path / 'out'}", "--expect-nodes=8")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "REJECTED over 8 expected nodes: 7 accepted, 1 rejected"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"fleet.{end}" for end in ("html", "md", "json", "jsonl")
    }
    page = (tmp_path / "out" / "fleet.html").read_text()
    assert "<b>6.8" not in page
    assert "&lt;b&gt;6.8&lt;/b&gt;" in page
    assert "node[01-02,04-08] (7 nodes)" in page
    assert "test_ecc[gpu3]" in (tmp_path / "out" / "fleet.md").read_text()
    again = plimsoll(
        "fleet", str(tmp_path / "nodes"), f"--output={tmp_path / 'out' / 'fleet.html'}", "--expect-nodes=8"
    )
    assert (again.returncode, (tmp_path / "out" / "fleet.html").read_text()) == (1, page)


def test_the_exit_statuses_are_those_of_a_verdict(tmp_path: Path) -> None:
    write_fleet_of(tmp_path / "nodes", 3)
    assert plimsoll("fleet", tmp_path / "nodes").returncode == 0
    assert plimsoll("fleet", tmp_path / "nodes", "--expect-nodes=4").returncode == 6
    head, *_, end = events_of(MadeNode(name="idle"))
    lines, after = [], START
    node = line(Event.NODE, node=node_of(MadeNode(name="idle")).to_json())
    for number, event in enumerate([head, plan([]), node, {**end, "exitstatus": 5, "events": 4}], start=1):
        text, after = sealed({**event, "seq": number}, after)
        lines.append(text)
    (tmp_path / "idle").mkdir()
    (tmp_path / "idle" / "evidence.jsonl").write_bytes(b"".join(lines))
    assert plimsoll("fleet", tmp_path / "idle").returncode == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "no run 'nowhere': it is neither a folder nor an evidence file, and "),
        (["."], "no evidence in .: neither it nor a folder in it holds evidence.jsonl"),
        ([".", "--expect-nodes=0"], "--expect-nodes 0: a fleet has a node at least"),
        (
            [".", "--expect-nodes=no.txt"],
            "--expect-nodes no.txt: it is no number, and no file that can be read (No such",
        ),
        ([".", "--output=a.pdf"], "--output a.pdf: it ends in none of .html, .md, .json, .jsonl; give"),
        ([".", f"--output={'x' * 300}.html"], ": cannot be looked at: File name too long"),
        ([".", "--fail-on=outliers"], "'outliers' is none of difference, outlier, straggler"),
    ],
)
def test_a_mistake_is_one_message(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = plimsoll("fleet", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_list_of_nodes_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfgpu1 8\r\ngpu2\r\n")
    expected = read_expected(str(tmp_path / "list"))
    assert (expected.names, expected.gpus) == (("gpu1", "gpu2"), {"gpu1": 8})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it names no node; "),
        ("a\nb\na\n", "line 3: a stands there twice; each node counts once"),
        ("gpu[9-1]\n", "line 1: '9-1' in 'gpu[9-1]' is no range such as 01-16; "),
        ("gpu[1-3\n", "line 1: 'gpu[1-3' is no list of nodes such as gpu[01-16]; "),
        ("gpu[1-999999]\n", "line 1: 'gpu[1-999999]' stands for more than 100000 nodes; "),
        ("gpu[1-999]n[1-999]\n", "line 1: 'gpu[1-999]n[1-999]' stands for more than 100000 nodes; "),
        ("gpu1,,gpu3\n", "line 1: 'gpu1,,gpu3' has a comma with no name beside it; "),
        ("a" + "[1]" * 3000 + "\n", "is no list of nodes such as gpu[01-16]; "),
        ("gpu1 eight\n", "line 1: 'gpu1 eight'; "),
        ("gpu1 99999\n", "line 1: 'gpu1 99999'; "),
    ],
)
def test_a_list_of_nodes_with_a_fault_is_one_message(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "list").write_text(text)
    done = plimsoll("fleet", str(tmp_path), f"--expect-nodes={tmp_path}/list")
    assert done.returncode == 2
    assert says in done.stderr


def test_names_are_compressed_as_slurm_writes_them_and_expand_again() -> None:
    names = ["gpu1", "gpu2", "gpu10", "gpu08", "gpu09", "login", "r2n1", "r2n3"]
    assert compressed(names) == "gpu[1-2],gpu[08-10],r2n[1,3],login"
    assert sorted(names, key=natural)[:3] == ["gpu1", "gpu2", "gpu08"]
    assert expanded("gpu[08-10,12]-x") == ["gpu08-x", "gpu09-x", "gpu10-x", "gpu12-x"]
    assert expanded("login") == ["login"]
    assert expanded(compressed(names)) == ["gpu1", "gpu2", "gpu08", "gpu09", "gpu10", "r2n1", "r2n3", "login"]
    assert expanded("rack[1-2]-gpu[08-09]") == ["rack1-gpu08", "rack1-gpu09", "rack2-gpu08", "rack2-gpu09"]


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("a.py::test_ecc[gpu3]", "a.py::test_ecc"),
        ("a.py::test_vram[llama-3.1-8b/nf4:gpu0+gpu1]", "a.py::test_vram[llama-3.1-8b/nf4]"),
        ("a.py::test_matmul[gpu3-bf16]", "a.py::test_matmul[bf16]"),
        ("a.py::test_peer[gpu0-gpu1]", "a.py::test_peer"),
        ("a.py::test_part[gpu3.1-x]", "a.py::test_part[x]"),
        ("a.py::test_stay[gpu1b]", "a.py::test_stay[gpu1b]"),
    ],
)
def test_a_check_is_the_same_on_whichever_gpu(cell: str, name: str) -> None:
    assert check_name(cell) == name
