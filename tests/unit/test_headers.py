"""Headers of safetensors files, read without their tensors, and what a folder holds beside its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from plimsoll.hub.contents import read_folder
from plimsoll.hub.headers import DtypeTotals, HeaderError, read_file_header, read_header

TENSORS = {
    "a.weight": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
    "b.weight": {"dtype": "BF16", "shape": [8], "data_offsets": [64, 80]},
    "c.scale": {"dtype": "F32", "shape": [], "data_offsets": [80, 84]},
}


def content(header: object = TENSORS, body: int = 84) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(body)


def reads_of(data: bytes) -> tuple[Callable[[int, int], bytes], list[tuple[int, int]]]:
    """A file, and a list of what was read of it."""
    asked: list[tuple[int, int]] = []

    def read(start: int, end: int) -> bytes:
        asked.append((start, end))
        return data[start:end]

    return read, asked


def test_a_header_tells_by_dtype_what_is_stored_and_nothing_else_is_read() -> None:
    data = content({"__metadata__": {"format": "pt"}, **TENSORS})
    read, asked = reads_of(data)
    assert read_header(read, len(data)) == (
        DtypeTotals(dtype="BF16", tensors=2, elements=40, bytes=80),
        DtypeTotals(dtype="F32", tensors=1, elements=1, bytes=4),
    )
    assert asked == [(0, 8), (8, len(data) - 84)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "holds 0 bytes"),
        (
            b"version https://git-lfs",
            f"says that its header has {int.from_bytes(b'version ', 'little'):,} bytes, of 23 in the",
        ),
        (content()[:-1], "its header speaks of"),
        (content(body=85), "its header speaks of"),
        (content([1, 2]), "has a header that cannot be read (AttributeError)"),
        (
            content({**TENSORS, "b.weight": {"dtype": "BF16", "shape": [8], "data_offsets": [48, 64]}}),
            "puts b.weight at byte 48, where 64 is the next: tensors overlap, or leave a gap",
        ),
        (
            content({**TENSORS, "b.weight": {"dtype": "BF16", "shape": [4], "data_offsets": [72, 80]}}),
            "puts b.weight at byte 72, where 64 is the next: tensors overlap, or leave a gap",
        ),
        (
            content({**TENSORS, "b.weight": {"dtype": "BF16", "shape": [9], "data_offsets": [64, 80]}}),
            "gives b.weight 16 bytes, and its shape takes 18 in BF16",
        ),
        (content({"a": {"dtype": "BF16", "shape": [2]}}), "has a header that cannot be read (KeyError)"),
        ((4).to_bytes(8, "little") + b"{{{{" + bytes(9), "has a header that cannot be read (JSONDecodeError)"),
    ],
    ids=["empty", "pointer", "cut", "longer", "a list", "overlap", "gap", "shape", "no offsets", "no JSON"],
)
def test_what_is_no_whole_file_is_told(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(HeaderError) as caught:
        read_file_header(path)
    assert says in str(caught.value)


def test_a_folder_tells_its_files_settings_and_the_sum_of_its_headers(tmp_path: Path) -> None:
    for name in ("part-a.safetensors", "part-b.safetensors"):
        (tmp_path / name).write_bytes(content())
    index = {"weight_map": {"x": "part-a.safetensors", "y": "part-b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text("large, and not needed")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config.json").write_text("{}")
    found = read_folder(tmp_path)
    assert set(found.files) == {
        "part-a.safetensors",
        "part-b.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "tokenizer.json",
    }
    assert found.weights == ("part-a.safetensors", "part-b.safetensors")
    assert found.texts == {"config.json": "{}"}
    assert (found.headers, found.unread) == (2, ())
    assert {part.dtype: part.elements for part in found.stored} == {"BF16": 80, "F32": 2}


def test_what_stands_for_weights_that_are_not_here_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    found = read_folder(tmp_path)
    assert found.headers == 0
    assert found.unread[0].startswith("config.json: is text in UTF-16, and is read as UTF-8; save it as UTF-8")
    assert found.unread[1].startswith("model.safetensors: is a Git LFS pointer and not the file itself; git lfs pull")
