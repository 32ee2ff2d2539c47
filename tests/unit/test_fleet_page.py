"""The page of a fleet has the parts of the report: tiles of GPUs, a board of all nodes, a chart a metric."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from plimsoll.fleet.board import board_section
from plimsoll.fleet.charts import chart_section
from plimsoll.fleet.discovery import find_lineages
from plimsoll.fleet.expected import read_expected
from plimsoll.fleet.fleet import Fleet, judge_fleet
from plimsoll.fleet.reading import read_nodes, split
from plimsoll.fleet.write import markdown_text, page_text, terminal_lines
from plimsoll.present.document import Bar, BarChart, Board, Paragraph, Plate, Section, Tiles, Tone, plain
from tests.support.fleet_runs import MadeNode, write_node


def fleet_of(folder: Path, *nodes: MadeNode, expect: str | None = None) -> Fleet:
    for made in nodes:
        write_node(folder, made)
    read, unread = split(read_nodes(find_lineages([str(folder)], folder), 1))
    return judge_fleet(read, unread, read_expected(expect))


def named(count: int) -> list[MadeNode]:
    return [MadeNode(name=f"node{number:03}", gpus=4) for number in range(1, count + 1)]


def plates_of(section: Section | None) -> dict[str, Plate]:
    assert section is not None
    [board] = [block for block in section.blocks if isinstance(block, Board)]
    return {plate.name: plate for plate in board.plates}


def tiled(section: Section | None) -> dict[str, Tiles]:
    """Node -> its tiles."""
    assert section is not None
    inner = [block for block in section.blocks if isinstance(block, Section)]
    return {plain(one.title): block for one in inner for block in one.blocks if isinstance(block, Tiles)}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Twenty nodes, of which one is slow, one rejected, one killed, and one that is expected left nothing."""
    nodes = named(20)
    nodes[2] = replace(nodes[2], slow={1: 1 / 0.85})
    nodes[4] = replace(nodes[4], failing=((3, "ecc"),))
    nodes[6] = replace(nodes[6], ends=False)
    folder = tmp_path_factory.mktemp("odd")
    (folder / "nodes.txt").write_text("node[001-021]\n")
    return fleet_of(folder / "reports", *nodes, expect=str(folder / "nodes.txt"))


def test_every_node_has_a_plate_with_a_mark_for_each_gpu(odd: Fleet) -> None:
    plates = plates_of(board_section(odd))
    assert len(plates) == 21
    assert plates["node001"].marks == (Tone.GOOD,) * 4
    assert (plates["node001"].tone, plates["node001"].anchor) == (Tone.GOOD, ""), "it is well, and has no tiles"
    assert plates["node003"].marks == (Tone.GOOD, Tone.NEAR, Tone.GOOD, Tone.GOOD), "the slow one"
    assert "gpu1 slower than its like" in plates["node003"].title
    assert plates["node005"].marks[3] is Tone.BAD
    assert plates["node005"].tone is Tone.BAD
    assert plates["node007"].tone is Tone.NEAR
    assert Tone.GAP in plates["node007"].marks
    assert "left nothing" in plates["node021"].title


def test_nodes_that_are_not_well_have_tiles_with_health_speed_and_what_they_carried(odd: Fleet) -> None:
    section = board_section(odd)
    found = tiled(section)
    assert list(found) == ["node005", "node007", "node003"], "rejected, incomplete, odd"
    facts = {name: plain(said) for name, said in found["node005"].tiles[0].facts}
    assert facts["Health"] == "nothing was found while it was watched"
    assert "bf16 products" in facts["Speed"]
    assert facts["Carried"] == "llama-3.1-8b-instruct/bf16"
    page = page_text(odd)
    anchors = set(re.findall(r' id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors, "no link leads to a row of another page"


def test_of_a_small_fleet_each_node_has_tiles(tmp_path: Path) -> None:
    assert list(tiled(board_section(fleet_of(tmp_path, *named(3))))) == ["node001", "node002", "node003"]


def charts(section: Section | None) -> dict[str, tuple[str, BarChart]]:
    """Title -> the sentence above a chart, and the chart."""
    assert section is not None
    found = {}
    for one in section.blocks:
        if isinstance(one, Section):
            [words] = [block for block in one.blocks if isinstance(block, Paragraph)]
            [chart] = [block for block in one.blocks if isinstance(block, BarChart)]
            found[plain(one.title)] = (plain(words.words), chart)
    return found


def bars(chart: BarChart) -> dict[str, Bar]:
    return {bar.label: bar for bar in chart.bars}


def test_each_metric_has_a_chart_over_nodes_with_the_outlier_marked(odd: Fleet) -> None:
    found = charts(chart_section(odd))
    titles = ["Speed of matrix products", "Memory bandwidth", "Copies between RAM and GPU"]
    assert list(found) == [*titles, "First token time", "Token time"]
    for words, chart in found.values():
        drawn = bars(chart)
        assert len(drawn) == 20, "every node that measured it"
        assert next(iter(drawn)) == "node003", "the slowest first"
        assert [label for label, bar in drawn.items() if bar.tone is Tone.NEAR] == ["node003"]
        assert drawn["node003"].end < drawn["node003"].start == 500, "left of the median, a rate or a time"
        assert re.match(r"8[2-8] %, ", drawn["node003"].text)
        assert "of gpu1: " in drawn["node003"].exact
        assert "Left of 100 % is slower" in words


def test_a_figure_of_its_own_marks_its_chart_alone(tmp_path: Path) -> None:
    nodes = named(12)
    nodes[3] = replace(nodes[3], slow_metric={(2, "matmul_rate"): 1.25})
    found = charts(chart_section(fleet_of(tmp_path, *nodes)))
    marked = {title: [bar.label for bar in chart.bars if bar.tone is Tone.NEAR] for title, (_, chart) in found.items()}
    assert marked == {title: ["node004"] if title == "Speed of matrix products" else [] for title in marked}


def test_of_a_large_fleet_the_outlier_and_the_slowest_are_drawn_and_the_others_told(tmp_path: Path) -> None:
    nodes = [replace(made, gpus=1) for made in named(60)]
    nodes[50] = replace(nodes[50], slow={0: 1.3})
    for words, chart in charts(chart_section(fleet_of(tmp_path, *nodes))).values():
        assert len(chart.bars) == 40
        assert bars(chart)["node051"].tone is Tone.NEAR
        assert re.search(r"20 more nodes are not drawn: from \d+\.\d% to \d+\.\d%", words)


def test_what_only_one_node_measured_has_no_chart(tmp_path: Path) -> None:
    assert chart_section(fleet_of(tmp_path, *named(1))) is None


def test_a_terminal_and_markdown_have_the_tables_alone(odd: Fleet) -> None:
    assert "Nodes and their GPUs" not in markdown_text(odd)
    assert not [line for line in terminal_lines(odd) if "Slowest first" in line]
