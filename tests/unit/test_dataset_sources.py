"""Where rows come from: the decision, the file that a folder has for a split, and what the file holds."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from plimsoll.catalogue.entries import Dataset, DatasetSchema
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.dataset.example import DatasetError
from plimsoll.dataset.files import read_files
from plimsoll.dataset.loading import Loaded, find_files, load
from plimsoll.dataset.sources import DataSource, Source, dataset_paths, decide
from plimsoll.errors import PlimsollError
from plimsoll.gate.skip import Skip
from plimsoll.scoring.score import is_correct, score
from tests.support.examples import HUB_ROWS, OFFICIAL, dataset_of
from tests.support.subsession import ROOT
from tests.unit.test_dataset_rows import EXPECTED

TRIVIA, SQUAD, NQ = DatasetSchema.TRIVIA_QA, DatasetSchema.SQUAD_V2, DatasetSchema.NQ_OPEN
SVAMP, BIOASQ = DatasetSchema.SVAMP, DatasetSchema.BIOASQ


def fill(folder: Path, *names: str, content: Any = ()) -> Path:
    """Files with the same content in the form that their suffix says."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            parquet.write_table(pa.Table.from_pylist(list(content) or [{"question": "x"}]), path)
        elif path.suffix == ".jsonl":
            path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in content), "utf-8")
        else:
            path.write_text(json.dumps(content), "utf-8")
    return folder


def local(path: Path) -> Source:
    return Source(kind=DataSource.LOCAL, path=path)


def loaded(dataset: Dataset, path: Path, split: str = "validation", **options: Any) -> Loaded:
    outcome = load(dataset, local(path), split, **options)
    assert isinstance(outcome, Loaded)
    return outcome


def message_of(dataset: Dataset, path: Path, split: str = "validation") -> str:
    with pytest.raises(DatasetError) as caught:
        load(dataset, local(path), split)
    return str(caught.value).replace(str(path), "PATH")


@pytest.mark.parametrize(
    ("changes", "kind", "path", "installed", "outcome"),
    [
        ({"miniature": "nq"}, DataSource.MINIATURE, None, False, Source(kind=DataSource.MINIATURE)),
        ({"hub_id": "org/nq"}, DataSource.HUB, None, True, Source(kind=DataSource.HUB)),
        # A path goes before the Hub, and needs no library and no registration; what is asked of a miniature stays.
        ({"hub_id": "org/nq"}, DataSource.HUB, "data", False, Source(kind=DataSource.LOCAL, path=Path("data"))),
        ({}, DataSource.LOCAL, "data", False, Source(kind=DataSource.LOCAL, path=Path("data"))),
        ({"miniature": "nq"}, DataSource.MINIATURE, "data", False, Source(kind=DataSource.MINIATURE)),
        (
            {"hub_id": "org/nq"},
            DataSource.HUB,
            None,
            False,
            "skip[package]: has no datasets, needs the library datasets, which reads NQ-open from the Hub; "
            f"fix: pip install -e '{ROOT}[datasets]', or --dataset-dir=nq=PATH",
        ),
        (
            {"registration": "https://participants-area.example"},
            DataSource.HUB,
            None,
            True,
            "skip[registration]: has no copy of its data, which is given to registered people alone, needs the files "
            "of NQ-open; fix: register at https://participants-area.example, and name what you download: "
            "--dataset-dir=nq=PATH",
        ),
        (
            {},
            DataSource.HUB,
            None,
            True,
            "skip[data]: has no hub_id in its entry (catalogue/datasets.toml: dataset[0]), needs the questions of "
            "NQ-open; fix: --dataset-dir=nq=PATH",
        ),
        (
            {"hub_id": "org/nq"},
            DataSource.LOCAL,
            None,
            True,
            "skip[data]: has no folder of its own, needs the questions of NQ-open; fix: --dataset-dir=nq=PATH",
        ),
        (
            {"hub_id": "org/nq"},
            DataSource.MINIATURE,
            None,
            True,
            "skip[data]: has no miniature in its entry (catalogue/datasets.toml: dataset[0]), needs the questions of "
            "NQ-open; fix: leave this dataset out",
        ),
    ],
)
def test_each_source_is_had_or_refused_in_words(
    changes: dict[str, Any], kind: DataSource, path: str | None, installed: bool, outcome: Source | str
) -> None:
    dataset = dataset_of(NQ, title="NQ-open", **changes)
    decision = decide(
        dataset, kind, Path(path) if path else None, installed=lambda name: installed and name == "datasets"
    )
    assert (str(decision) if isinstance(decision, Skip) else decision) == outcome


@pytest.mark.parametrize(
    ("schema", "names", "split", "found"),
    [
        (SQUAD, ["train-v2.0.json", "dev-v2.0.json"], "validation", ["dev-v2.0.json"]),
        (SQUAD, ["train-v2.0.json", "dev-v2.0.json"], "train", ["train-v2.0.json"]),
        (NQ, ["NQ-open.dev.jsonl", "NQ-open.train.jsonl", "README.md"], "validation", ["NQ-open.dev.jsonl"]),
        (
            SVAMP,
            ["data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"],
            "test",
            ["data/test-00000-of-00001.parquet"],
        ),
        (
            TRIVIA,
            ["rc.nocontext/train-00001-of-00002.parquet", "rc.nocontext/train-00000-of-00002.parquet"],
            "train",
            ["rc.nocontext/train-00000-of-00002.parquet", "rc.nocontext/train-00001-of-00002.parquet"],
        ),
        # A whole repository: the folder of the configuration is the one.
        (
            TRIVIA,
            ["rc/validation.parquet", "rc.nocontext/validation.parquet"],
            "validation",
            ["rc.nocontext/validation.parquet"],
        ),
        (BIOASQ, ["training12b_new.json", "12B1_golden.json"], "train", ["training12b_new.json"]),
        (
            BIOASQ,
            ["training12b_new.json", "12B2_golden.json", "12B1_golden.json"],
            "validation",
            ["12B1_golden.json", "12B2_golden.json"],
        ),
        (NQ, ["mine.json", "tricky-trainer.json", "my_validation.json"], "validation", ["my_validation.json"]),
        (NQ, ["extra.json", "nq-extra.jsonl.bak"], "extra", ["extra.json"]),
    ],
)
def test_a_split_is_found_by_the_names_of_the_releases(
    tmp_path: Path, schema: DatasetSchema, names: list[str], split: str, found: list[str]
) -> None:
    fill(tmp_path, *names)
    files = find_files(dataset_of(schema, config="rc.nocontext"), tmp_path, split)
    assert [file.relative_to(tmp_path).as_posix() for file in files] == found


def test_a_file_is_the_split_that_is_asked(tmp_path: Path) -> None:
    path = fill(tmp_path, "whatever.json") / "whatever.json"
    assert find_files(dataset_of(NQ), path, "validation") == (path,)
    assert message_of(dataset_of(NQ), path, "train") == (
        "1 fault in dataset nq, split train; rows count from 0:\n"
        "  PATH: is one file, for the split that is asked, validation; name a folder with a file for train too"
    )


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (
            [],
            "PATH: has no file of .parquet, .jsonl, .json; "
            "name it like one of validation*, valid*, val*, dev*, golden*",
        ),
        (
            ["train.json", "a/notes.json"],
            "PATH: has no file for it among a/notes.json, train.json; "
            "name it like one of validation*, valid*, val*, dev*, golden*",
        ),
        (
            ["web-dev.json", "wikipedia-dev.json", "other.json"],
            "PATH: has more than one file for it: web-dev.json, wikipedia-dev.json; name the file itself",
        ),
        (
            [f"dev-{n:02}.json" for n in range(14)],
            f"PATH: has more than one file for it: {', '.join(f'dev-{n:02}.json' for n in range(12))} and 2 more; "
            "name the file itself",
        ),
        (
            ["dev-\n\x1b[2J.json", "dev.json"],
            r"PATH: has more than one file for it: dev-\n\x1b[2J.json, dev.json; name the file itself",
        ),
    ],
)
def test_a_folder_without_the_one_file_says_what_it_has(tmp_path: Path, names: list[str], fault: str) -> None:
    fill(tmp_path, *names)
    assert message_of(dataset_of(NQ), tmp_path).splitlines()[1:] == [f"  {fault}"]


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    assert message_of(dataset_of(NQ), tmp_path / "gone").splitlines()[1] == (
        "  PATH: does not exist; name a folder or a file: --dataset-dir=nq=PATH"
    )


@pytest.mark.parametrize("schema", list(DatasetSchema))
@pytest.mark.parametrize("name", ["validation.parquet", "validation.jsonl", "validation.json", "official.json"])
def test_every_form_of_file_gives_the_same_examples(tmp_path: Path, schema: DatasetSchema, name: str) -> None:
    content = OFFICIAL[schema] if name == "official.json" else list(HUB_ROWS[schema])
    if schema is BIOASQ and name == "validation.parquet":
        content = [row for row in content if row["type"] == "list"]  # a column has one type
    path = fill(tmp_path, name, content=content) / name
    outcome = loaded(dataset_of(schema), path)
    expected = (
        EXPECTED[schema][2:] if len(content) == 1 and schema is BIOASQ and "official" not in name else EXPECTED[schema]
    )
    assert outcome.examples == expected
    assert (outcome.source, outcome.place) == (DataSource.LOCAL, str(path))


def test_json_lines_are_read_under_either_name(tmp_path: Path) -> None:
    lines = "".join(f"{json.dumps(row)}\n\n" for row in [*HUB_ROWS[NQ], {"question": "a\u2028b", "answer": ["c"]}])
    path = tmp_path / "dev.json"
    path.write_text(lines.replace("\\u2028", "\u2028"), "utf-8")
    assert [example.question[-3:] for example in loaded(dataset_of(NQ), path).examples] == ["oon", "a\u2028b"]


def test_batches_of_a_release_are_one_split(tmp_path: Path) -> None:
    questions = HUB_ROWS[BIOASQ]
    fill(tmp_path, "12B1_golden.json", content={"questions": questions[:2]})
    fill(tmp_path, "12B2_golden.json", content={"questions": questions[2:]})
    outcome = loaded(dataset_of(BIOASQ), tmp_path)
    assert outcome.examples == EXPECTED[BIOASQ]
    assert outcome.place == f"2 files in {tmp_path}"


def test_shards_are_read_in_their_order(tmp_path: Path) -> None:
    rows = [{"question": str(n), "answer": ["x"]} for n in range(6)]
    for part in range(3):
        fill(tmp_path, f"data/train-{part:05}-of-00003.parquet", content=rows[2 * part : 2 * part + 2])
    outcome = loaded(dataset_of(NQ, split_sizes={"train": 6}), tmp_path, "train")
    assert [example.question for example in outcome.examples] == [str(n) for n in range(6)]


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("dev.json", b"", "is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        ("dev.json", b"[1, 2", "is not valid JSON: Expecting ',' delimiter: line 1 column 6 (char 5)"),
        ("dev.json", b"\xff\xfe", "is not UTF-8 text"),
        ("dev.json", b"[" * 100_000, "is nested too deeply to be read"),
        (
            "dev.jsonl",
            b'{"question": "x", "answer": ["y"]}\n{"question": \n',
            "line 2 is not valid JSON: Expecting value: line 1 column 14 (char 13)",
        ),
        ("dev.parquet", b"PAR1 and nothing else PAR1", "is not valid parquet: "),
        ("dev.parquet", b"", "is not valid parquet: Parquet file size is 0 bytes"),
    ],
)
def test_a_damaged_file_is_one_fault(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    (tmp_path / name).write_bytes(content)
    path = re.escape(str(tmp_path / name))
    with pytest.raises(
        DatasetError,
        match=rf"^1 fault in dataset nq, split validation; rows count from 0:\n  {path}: {re.escape(fault)}.*$",
    ):
        load(dataset_of(NQ), local(tmp_path), "validation")


def test_a_file_of_ones_own_must_be_the_published_split(tmp_path: Path) -> None:
    fill(tmp_path, "dev.jsonl", content=HUB_ROWS[NQ])
    dataset = dataset_of(NQ, split_sizes={"validation": 3610})
    with pytest.raises(
        DatasetError, match=r"dev\.jsonl\); rows count from 0:\n.*has 1 rows, and the published split 3,610"
    ):
        load(dataset, local(tmp_path), "validation")
    assert len(loaded(dataset, tmp_path, limit=5).examples) == 1


def test_a_limit_takes_the_front(tmp_path: Path) -> None:
    fill(tmp_path, "train.jsonl", content=[{"question": str(n), "answer": ["x"]} for n in range(9)])
    assert [example.question for example in loaded(dataset_of(NQ), tmp_path, "train", limit=2).examples] == ["0", "1"]


def test_the_revision_is_of_the_content_alone(tmp_path: Path) -> None:
    def revision(folder: str, rows: Sequence[Any]) -> str | None:
        return loaded(dataset_of(NQ), fill(tmp_path / folder, f"{folder}-dev.jsonl", content=rows)).revision

    first = revision("a", HUB_ROWS[NQ])
    assert first is not None
    assert re.fullmatch("sha256:[0-9a-f]{64}", first)
    assert revision("b", HUB_ROWS[NQ]) == first
    assert revision("c", [{**HUB_ROWS[NQ][0], "question": "another"}]) != first


def test_several_lists_and_documents_do_not_mix(tmp_path: Path) -> None:
    fill(tmp_path, "a.json", content=[1])
    fill(tmp_path, "b.json", content=[2])
    assert read_files([tmp_path / "a.json", tmp_path / "b.json"]) == [1, 2]


def test_the_paths_of_the_option(tmp_path: Path) -> None:
    fill(tmp_path, "dev.json")
    assert dataset_paths(["nq=dev.json", f"squad={tmp_path}"], tmp_path, ["nq", "squad"]) == {
        "nq": tmp_path / "dev.json",
        "squad": tmp_path,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nq"], "--dataset-dir=nq: write it as --dataset-dir=DATASET=PATH"),
        (["nq="], "--dataset-dir=nq=: write it as --dataset-dir=DATASET=PATH"),
        (["sqaud=x"], "--dataset-dir=sqaud=x: no dataset 'sqaud' in the catalogue; did you mean 'squad'?"),
        (["nq=dev.json"] * 2, "--dataset-dir=nq=dev.json: a second path for nq; the first is PATH/dev.json"),
        (["nq=gone"], "--dataset-dir=nq=gone: there is no folder or file PATH/gone"),
    ],
)
def test_an_option_that_is_wrong_is_said(tmp_path: Path, options: list[str], message: str) -> None:
    fill(tmp_path, "dev.json")
    with pytest.raises(PlimsollError) as caught:
        dataset_paths(options, tmp_path, ["nq", "squad", "svamp"])
    assert str(caught.value).replace(str(tmp_path), "PATH") == message


CATALOGUE = read_catalogue()


@pytest.mark.parametrize("name", sorted(CATALOGUE.datasets))
@pytest.mark.parametrize("which", ["split", "shots_split"])
def test_the_shipped_miniatures_are_in_order(name: str, which: str) -> None:
    dataset = CATALOGUE.datasets[name]
    source = decide(dataset, DataSource.MINIATURE)
    assert isinstance(source, Source)
    outcome = load(dataset, source, getattr(dataset, which))
    assert isinstance(outcome, Loaded)
    assert outcome.source is DataSource.MINIATURE
    assert outcome.report.examples == outcome.report.rows - sum(outcome.report.left_out.values()) > 0
    assert outcome.report.repeated_questions == 0
    assert (outcome.report.unanswerable > 0) is (dataset.schema is SQUAD)
    # What the golds say is right by the dataset's own rule, whatever it is.
    for example in outcome.examples:
        assert is_correct(dataset.correct, score(example, example.answer, dataset.schema)), example


def refused(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        find_files(dataset_of(NQ), path, "validation")
    return str(caught.value)


def test_a_folder_that_save_to_disk_wrote_is_told_with_what_makes_parquet_of_it(tmp_path: Path) -> None:
    fill(tmp_path, "validation/state.json", "validation/dataset_info.json")
    (tmp_path / "validation/data-00000-of-00001.arrow").write_bytes(b"")
    said = refused(tmp_path)
    assert "is what save_to_disk of the library datasets wrote" in said
    assert f"datasets.load_from_disk('{tmp_path}/validation').to_parquet('validation.parquet')" in said


def test_rows_that_are_links_to_nowhere_or_pointers_are_told(tmp_path: Path) -> None:
    (tmp_path / "validation.parquet").symlink_to("../../blobs/abc")
    assert "validation.parquet: is a link to ../../blobs/abc, which is not here" in refused(tmp_path)
    pointer = tmp_path / "pointer.parquet"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(PlimsollError, match="is a Git LFS pointer and not the file itself"):
        read_files([pointer])


@pytest.mark.parametrize(
    ("name", "content", "what", "step"),
    [
        ("dev-v2.0.json.gz", gzip.compress(b"{}"), "is packed with gzip", "unpack it: gunzip -k PATH"),
        ("dev.json", gzip.compress(b"{}"), "is packed with gzip", "unpack it: gunzip -k PATH"),
        ("dev.jsonl.bz2", bz2.compress(b"{}"), "is packed with bzip2", "unpack it: bunzip2 -k PATH"),
        ("dev.json.xz", lzma.compress(b"{}"), "is packed with xz", "unpack it: unxz -k PATH"),
        ("dev.jsonl.zst", b"\x28\xb5\x2f\xfd\x04", "is packed with zstd", "unpack it: unzstd PATH"),
        ("triviaqa-rc.tar.gz", gzip.compress(b""), "is an archive (tar)", "name the file in it: tar -xf PATH"),
        ("Task12BGoldenEnriched.zip", b"PK\x03\x04", "is an archive (zip)", "name the file in it: unzip PATH"),
        ("dev.json", b"\n<!DOCTYPE html><title>Sign in", "is a page of a web site and no rows", "download it again"),
        ("dev.parquet", b"<html>404", "is a page of a web site and no rows", "download it again"),
        ("validation.arrow", b"ARROW1\0\0", "is an Arrow file", "write its rows as parquet"),
        ("validation.csv", b"question,answer\n", "is a table of text", "name rows as parquet, JSON Lines or JSON"),
    ],
)
@pytest.mark.parametrize("named", ["file", "folder"])
def test_a_file_of_another_format_is_told_with_what_makes_rows_of_it(
    tmp_path: Path, named: str, name: str, content: bytes, what: str, step: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        load(dataset_of(NQ), local(file if named == "file" else tmp_path), "validation")
    assert what in str(caught.value)
    assert step.replace("PATH", str(file)) in str(caught.value)
    assert "name it like" not in str(caught.value), "its name is right"


def test_files_of_other_formats_are_listed(tmp_path: Path) -> None:
    (tmp_path / "validation.sqlite").write_text("question,answer\n")
    assert "has no file of .parquet, .jsonl, .json, but validation.sqlite" in refused(tmp_path)
