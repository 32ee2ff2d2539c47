"""What an analysis leaves behind: files for programs, pictures for people, and a command that says what is missing."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import jsonschema
import pytest

from plimsoll.cli import main
from plimsoll.commands.schema import schema
from plimsoll.evidence.answers import AnswerRecord, Asking
from plimsoll.evidence.record import RunRecord
from plimsoll.present.document import Picture, Section, Svg
from plimsoll.present.drawing import CATEGORIES, drawing, svg, svg_file
from plimsoll.uncertainty.analysis import Analysis, analyse
from plimsoll.uncertainty.data import analysis_text
from plimsoll.uncertainty.document import markdown_text, terminal_lines
from plimsoll.uncertainty.drawn.gallery import gallery
from plimsoll.uncertainty.measuring import Settings
from plimsoll.uncertainty.scores import TokenScore
from plimsoll.uncertainty.section import uncertainty_section
from plimsoll.uncertainty.write import comparisons_csv, results_csv, scores_csv, write_analysis
from tests.support.made_answers import answers, answers_of_many, asking, claim, many_askings, run_with
from tests.support.pages import html_of
from tests.support.run_events import (
    HOSTILE,
    RUN_ID,
    cell,
    finish,
    gate,
    good_run,
    numbered,
    plan,
    recorded,
    start,
    write_events,
)

ROOT = Path(__file__).parents[2]
SETTING = Settings(scores=(TokenScore.G_NLL, TokenScore.MEAN_NLL))
NAMES = {
    *("summary", "auroc-matrix", "best-of-each-dataset", "family-bars", "size-effect", "dataset-effect"),
    *("accuracy-against-auroc", "reliability", "histograms", "radar"),
}
FILES = {"uncertainty.json", "uncertainty.md", "results.csv", "comparisons.csv", "scores.csv"}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """Six models in two quantizations on two datasets, one of them without all of its answers."""
    askings = many_askings(chosen=60)
    made = [a for a in answers_of_many(askings) if a.variant != "qwen2.5-1.5b/int8" or a.index != 3]
    events = [*run_with(askings, made), gate("llama-3.2-1b/bf16", claims=[claim(0.714, 0.714)])]
    return recorded(tmp_path_factory.mktemp("many"), events)


@pytest.fixture(scope="module")
def many(record: RunRecord) -> Analysis:
    return analyse(record)


@contextmanager
def noted(place: str) -> Iterator[list[tuple[Picture, ...]]]:
    """The pictures that are drawn meanwhile, for who finds the gallery there."""
    pictures: list[tuple[Picture, ...]] = []

    def draw(analysis: Analysis) -> tuple[Picture, ...]:
        pictures.append(gallery(analysis))
        return pictures[-1]

    with mock.patch(place, draw):
        yield pictures


@pytest.fixture(scope="module")
def shown(record: RunRecord) -> tuple[Section, tuple[Picture, ...]]:
    """The section of the report, and the pictures that were drawn for it."""
    with noted("plimsoll.uncertainty.drawn.gallery.gallery") as pictures:
        section = uncertainty_section(record)
    assert section is not None
    [drawn] = pictures
    return section, drawn


@pytest.fixture(scope="module")
def drawn(shown: tuple[Section, tuple[Picture, ...]]) -> tuple[Picture, ...]:
    return shown[1]


@pytest.fixture(scope="module")
def written(many: Analysis, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Picture, ...]]:
    """A folder of all files, and the pictures that were drawn for it."""
    folder = tmp_path_factory.mktemp("written") / "out"
    with noted("plimsoll.uncertainty.write.gallery") as pictures:
        assert write_analysis(many, folder) == []
    [drawn_again] = pictures
    return folder, drawn_again


def little(folder: Path, count: int = 30) -> Analysis:
    """One model on one dataset."""
    one = asking(chosen=count)
    return analyse(recorded(folder, run_with([one], answers(one))), SETTING)


def test_the_json_file_keeps_its_schema(many: Analysis, tmp_path: Path) -> None:
    described = schema("uncertainty")
    jsonschema.Draft202012Validator.check_schema(described)
    for analysis in (many, little(tmp_path / "a"), little(tmp_path / "b", 5)):
        jsonschema.validate(json.loads(analysis_text(analysis)), described)


def test_the_json_file_says_what_is_unset_and_why(many: Analysis) -> None:
    data = json.loads(analysis_text(many))
    lost = next(r for r in data["results"] if r["variant"] == "qwen2.5-1.5b/int8" and r["dataset"] == "squad")
    reason = "59 of 60 answers are there; the first that is missing is that to 3"
    assert lost["auroc"]["g_nll"] == {"value": None, "interval": None, "answers": 59, "positives": 0, "reason": reason}
    assert (lost["problem"], lost["reliability"]) == (reason, None)
    [published] = data["results"][0]["published"]
    assert published["beside"].endswith("samples 60 here, 400 there; shots 0 here, 5 there")
    assert data["setting"]["fewest_answers"] == 20


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_csv_files_hold_a_row_for_each_figure_comparison_and_answer(many: Analysis) -> None:
    results = parsed(results_csv(many))
    assert len(results) == 24 * len(TokenScore)
    first = many.results[0]
    assert float(results[0]["auroc"]) == first.aurocs[TokenScore.G_NLL].value
    lost = next(row for row in results if row["answers"] == "59")
    assert (lost["auroc"], lost["accuracy"]) == ("", "")
    assert lost["reason"].startswith("59 of 60")
    assert len(parsed(comparisons_csv(many))) == len(many.comparisons)
    scores = parsed(scores_csv(many))
    assert len(scores) == 24 * 60 - 2
    assert float(scores[0]["g_nll"]) == pytest.approx(-sum(first.asked.answers[0].log_probs))


def test_no_field_of_a_csv_file_is_taken_for_a_formula(tmp_path: Path) -> None:
    one = asking("=cmd|x/bf16", chosen=20)
    made = [replace(a, example=replace(a.example, id="@sum(1)")) for a in answers(one)]
    analysis = analyse(recorded(tmp_path, run_with([one], made)), SETTING)
    row = parsed(scores_csv(analysis))[0]
    assert (row["variant"], row["example"]) == ("'=cmd|x/bf16", "'@sum(1)")


def test_the_texts_lead_with_answers_and_list_what_is_not_measured(many: Analysis) -> None:
    text = markdown_text(
        many,
        (
            Picture(title="Picture", name="picture", how="how", element=Svg("<svg></svg>")),
            Picture(title="None", missing="not measured: why"),
        ),
    )
    assert text.index("## The research questions") < text.index("## AUROC of each score")
    assert "- qwen2.5-1.5b/int8 on squad: not measured: 59 of 60 answers are there" in text
    assert "![Picture](picture.svg)" in text
    assert "not measured: why" in text
    assert "0.714" in text
    lines = terminal_lines(many)
    assert lines[0].startswith("Without an AUROC of G-NLL")
    assert any("right means: triviaqa: rouge_l >= 0.3; squad: f1 >= 0.5" in line for line in lines)


def well_formed(picture: Picture) -> ElementTree.Element:
    return ElementTree.fromstring(svg_file(picture.element or Svg("")))  # noqa: S314  # a file of ours


def test_every_picture_is_drawn_in_the_colours_of_its_page(drawn: tuple[Picture, ...]) -> None:
    assert {picture.name for picture in drawn} == NAMES
    for picture in drawn:
        assert picture.element is not None, picture.text
        root = well_formed(picture)
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        assert not any(colour in picture.element for colour in CATEGORIES)
        assert not re.search(r"#[0-9a-f]{6}\b", picture.element), "a fixed colour would vanish in the dark"
        assert "var(--" in picture.element
        assert "--cat-1" in svg_file(picture.element)


def test_the_same_evidence_gives_the_same_pictures(
    written: tuple[Path, tuple[Picture, ...]], drawn: tuple[Picture, ...]
) -> None:
    assert written[1] == drawn


def test_pictures_hold_the_figures_that_they_are_of(many: Analysis, drawn: tuple[Picture, ...]) -> None:
    by_name = {picture.name: picture.element or "" for picture in drawn}
    value = many.results[0].aurocs[TokenScore.G_NLL].value
    assert f"{value:.2f}" in by_name["auroc-matrix"]
    assert "–" in by_name["auroc-matrix"], "what is unset is a dash"
    assert f"ECE {many.results[0].reliability.error:.3f}" in by_name["reliability"]  # type: ignore[union-attr]
    assert all(f">{f}</text>" in by_name["family-bars"] for f in ("llama", "qwen", "mistral"))
    assert by_name["summary"].count("llama-3.1-8b/bf16 − llama-3.2-1b/bf16") == 2


def test_colour_is_never_the_only_code(drawn: tuple[Picture, ...]) -> None:
    bars = next(picture for picture in drawn if picture.name == "family-bars")
    assert (bars.element or "").count("<pattern") == 2, "of three families one is plain and two are hatched"


def test_a_picture_with_too_little_data_says_so_and_is_not_drawn(tmp_path: Path) -> None:
    reasons = {p.name: p.text for p in gallery(little(tmp_path / "a")) if p.element is None}
    assert reasons == {
        "summary": "not measured: no two models, datasets or variants could be compared",
        "size-effect": "not measured: this needs models of two sizes whose parameters are known",
        "dataset-effect": "not measured: this needs answers to two datasets",
        "accuracy-against-auroc": "not measured: this needs two models or datasets with an AUROC",
    }
    none = gallery(little(tmp_path / "b", 5))
    assert {p.name for p in none if p.element is not None} == {"reliability"}
    assert all(p.text.startswith("not measured: ") for p in none if p.element is None)


def test_hostile_names_are_text_everywhere(tmp_path: Path) -> None:
    bad = f"{HOSTILE}/bf16"
    askings = [asking(bad, d, chosen=30, family=HOSTILE) for d in ("triviaqa", "squad")]
    record = recorded(tmp_path, run_with(askings, [a for one in askings for a in answers(one)]))
    analysis = analyse(record, SETTING)
    for picture in gallery(analysis):
        if picture.element is not None:
            assert {element.tag.rpartition("}")[2] for element in well_formed(picture).iter()} & {"script"} == set()
    section = uncertainty_section(record)
    assert section is not None
    assert "<script>" not in html_of(section)
    assert not re.search(r"(?<!\\)<script", markdown_text(analysis))
    for text in (html_of(section), markdown_text(analysis), "\n".join(terminal_lines(analysis))):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_the_section_of_the_report_holds_answers_tables_and_pictures(
    shown: tuple[Section, tuple[Picture, ...]],
) -> None:
    page = html_of(shown[0])
    assert page.count("<svg ") == 10
    assert len(page) < 400_000
    assert "<script" not in page
    places = [page.index(what) for what in ("<svg ", "Do larger models of a family know better", "<table")]
    assert places == sorted(places), "a picture, what it says, and then the tables"
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "pictures on one page share no ids"


def test_a_run_that_asked_no_dataset_has_no_section(tmp_path: Path) -> None:
    assert uncertainty_section(recorded(tmp_path, [start(), plan([]), finish()])) is None


def test_pictures_beyond_what_a_page_holds_stay_in_the_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("plimsoll.uncertainty.section._MOST_BYTES", 1000)
    one = asking(chosen=30)
    section = uncertainty_section(recorded(tmp_path, run_with([one], answers(one))))
    assert section is not None
    assert "<svg " not in html_of(section)
    assert "left out of this page for its size" in html_of(section)


def test_files_of_an_earlier_analysis_do_not_stay_for_this_ones(
    written: tuple[Path, tuple[Picture, ...]], tmp_path: Path
) -> None:
    shutil.copytree(written[0], tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES | {f"{name}.svg" for name in NAMES}
    not_drawn = write_analysis(little(tmp_path), tmp_path / "out")
    assert len(not_drawn) == 4
    assert not (tmp_path / "out" / "summary.svg").exists()


def run_folder(folder: Path, askings: list[Asking], made: list[AnswerRecord]) -> Path:
    write_events(folder / RUN_ID, numbered(run_with(askings, made)))
    return folder / RUN_ID


def test_the_command_writes_prints_and_exits_0_where_all_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = asking(chosen=40)
    run = run_folder(tmp_path, [one], answers(one))
    assert main(["uncertainty", str(run)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1] == f"written: {run / 'uncertainty'}"
    assert "  tiny-llama/bf16  triviaqa  40 of 40  60.0%" in out
    assert {path.name for path in (run / "uncertainty").iterdir()} >= FILES
    assert json.loads((run / "uncertainty/uncertainty.json").read_text())["setting"]["scores"] == [
        s.value for s in TokenScore
    ]


def test_the_page_of_a_run_that_asked_a_dataset_has_the_section(tmp_path: Path) -> None:
    one = asking(chosen=40)
    asked = cell("test_every_example_is_scored", "tiny-llama/bf16")
    events = [*good_run([asked])[:-1], *run_with([one], answers(one))[2:]]
    run = write_events(tmp_path / RUN_ID, numbered(events)).parent
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "Uncertainty: do the models know when they are wrong?" in page
    assert "<title>AUROC of each variant, dataset and score</title>" in page


def test_options_choose_scores_rule_end_and_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = asking(chosen=40)
    run = run_folder(tmp_path, [one], answers(one))
    options = ["--score", "mean_nll", "--score", "g_nll", "--correct", "exact_match >= 1", "--without-end", "--json"]
    assert main(["uncertainty", str(run), *options, "--out", str(tmp_path / "deep/out")]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["setting"]["scores"] == ["mean_nll", "g_nll"]
    assert (data["setting"]["correct"], data["setting"]["with_end"]) == ("exact_match >= 1", False)
    assert json.loads((tmp_path / "deep/out/uncertainty.json").read_text()) == data


def test_what_is_incomplete_exits_6_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = asking(chosen=40)
    assert main(["uncertainty", str(run_folder(tmp_path, [one], answers(one)[:39]))]) == 6
    assert (
        "tiny-llama/bf16 on triviaqa: not measured: 39 of 40 answers are there; the first that is missing is that to 39"
    ) in capsys.readouterr().out


def test_runs_that_asked_nothing_exit_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["uncertainty", str(run_folder(tmp_path, [], []))]) == 5
    said = "nothing to analyse: these runs asked no dataset; run pytest -m dataset first\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--score", "f1"], "argument --score: "),
        (["--correct", "rouge_l=0.3"], "'rouge_l=0.3' is not a score and a bound from 0 to 1, such as 'rouge_l>=0.3'"),
        (["--correct", "f1>=50"], "'f1>=50' is not a score and a bound from 0 to 1"),
        (
            ["--similarity", "cosine"],
            "--similarity 'cosine': it is `lexical`, `cross-encoder` or `cross-encoder=MODEL`",
        ),
        (["--similarity", "cross-encoder="], "--similarity 'cross-encoder=': it is `lexical`"),
    ],
)
def test_wrong_options_are_one_message(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = asking(chosen=20)
    arguments = ["uncertainty", str(run_folder(tmp_path, [one], answers(one))), *options]
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = int(str(ended.code))
    assert status == 2
    assert said in capsys.readouterr().err


def test_several_runs_need_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = asking(chosen=20)
    first = run_folder(tmp_path / "a", [one], answers(one))
    second = run_folder(tmp_path / "b", [one], answers(one))
    assert main(["uncertainty", str(first), str(second)]) == 2
    assert "name one with --out DIR" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = asking(chosen=20)
    run = run_folder(tmp_path, [one], answers(one))
    (tmp_path / "file").write_text("")
    assert main(["uncertainty", str(run), "--out", str(tmp_path / "file")]) == 2
    assert f"{tmp_path / 'file'} could not be written (File exists); use --out DIR" in capsys.readouterr().err


def test_without_the_libraries_the_message_names_the_extra(tmp_path: Path) -> None:
    one = asking(chosen=20)
    run = run_folder(tmp_path, [one], answers(one))
    script = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name in ('scipy', 'matplotlib') else find(name, *a)\n"
        "from plimsoll.cli import main\n"
        f"sys.exit(main(['uncertainty', {str(run)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "plimsoll: error: uncertainty needs scipy and matplotlib, which are not installed; install the extra: "
        f"pip install -e '{ROOT}[uncertainty]'\n"
    )


def test_the_command_never_imports_torch(tmp_path: Path) -> None:
    one = asking(chosen=20)
    run = run_folder(tmp_path, [one], answers(one))
    script = (
        "import sys\nfrom plimsoll.cli import main\n"
        f"main(['uncertainty', {str(run)!r}])\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("title", "width"), [("short", 144), ("a name that is much longer than its panel is wide", 200)]
)
def test_a_drawing_holds_what_its_layout_has_no_room_for(title: str, width: float) -> None:
    with drawing(2.0, 1.0, salt="room") as figure:
        figure.subplots().set_title(title)
        found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg(figure))
    assert found is not None
    assert float(found[2]) == 72
    assert float(found[1]) == width if title == "short" else float(found[1]) > width
