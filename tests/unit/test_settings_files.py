"""What a file of settings holds in place of them: one line with the place and the next step, or nothing for a sound
one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plimsoll.hub.settings_files import fault_of, first_fault
from plimsoll.symptoms.recognise import Seen, recognise
from plimsoll.symptoms.surroundings import Surroundings

AGAIN = "download or build it again"
PAGE = b"\n<!DOCTYPE html>\n<html><title>Log in</title></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"

PACKED = b'{"quantization_config": "nf4"}'
PARTLY_PACKED = b'{"text_config": {"quantization_config": [{"bits": 4}]}}'


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            b'{"a": 1,\n  "b": [1, 2',
            f"ends before its JSON does, at line 2, column 13 (Expecting ',' delimiter); {AGAIN}",
        ),
        (b'{"a": "b', f"ends before its JSON does, at line 1, column 7 (Unterminated string starting at); {AGAIN}"),
        (b'{"a": 1,\n "b": nope}', f"is not JSON, at line 2, column 7 (Expecting value); {AGAIN}"),
        (b"", f"is empty: it has no byte; {AGAIN}"),
        (bytes(5000), f"holds 5,000 zeros and nothing else; {AGAIN}"),
        ("{}".encode("utf-16"), f"is text in UTF-16, and is read as UTF-8; save it as UTF-8, or {AGAIN}"),
        ("{}".encode("utf-32"), f"is text in UTF-32, and is read as UTF-8; save it as UTF-8, or {AGAIN}"),
        (
            "{}".encode("utf-8-sig"),
            f"begins with a byte order mark, which JSON does not have; save it as UTF-8 without one, or {AGAIN}",
        ),
        (b'{\n"a": "caf\xe9"}', f"is not UTF-8 at line 2 (byte 11); {AGAIN}"),
        (PAGE, f"is a web page, which a proxy or a login page gave in its place; {AGAIN}, past that"),
        (b"[1, 2]", f"is JSON, but no table of settings; {AGAIN}"),
        (b"null", f"is JSON, but no table of settings; {AGAIN}"),
        (
            b'{"num_hidden_layers": 10000000}',
            f"says num_hidden_layers = 10,000,000, and no model has more than 10,000; correct it, or {AGAIN}",
        ),
        (
            b'{"encoder_layers": 6, "decoder_layers": 10000000}',
            f"says decoder_layers = 10,000,000, and no model has more than 10,000; correct it, or {AGAIN}",
        ),
        (
            b'{"text_config": {"n_routed_experts": 1e9}}',
            "says text_config.n_routed_experts = 1,000,000,000.0, and no model has more than 1,000,000; "
            f"correct it, or {AGAIN}",
        ),
        (
            PACKED,
            'says quantization_config = "nf4", where a table of settings belongs; take it out where the weights are in '
            f"floats, or {AGAIN}",
        ),
        (
            PARTLY_PACKED,
            'says text_config.quantization_config = [{"bits": 4}], where a table of settings belongs; take it out '
            f"where the weights are in floats, or {AGAIN}",
        ),
        (
            POINTER,
            "is a Git LFS pointer and not the file itself; git lfs pull there, or hf download the repository again",
        ),
    ],
)
def test_what_is_no_settings_is_one_line_with_its_place_and_a_step(tmp_path: Path, content: bytes, fault: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    assert fault_of(file) == fault
    told = f"{file}: {fault}"
    assert first_fault([tmp_path / "absent.json", file]) == told
    [found] = recognise(Seen(text=told), place=Surroundings())
    others = {POINTER: "pointer-file", PACKED: "config-values", PARTLY_PACKED: "config-values"}
    assert found.symptom == others.get(content, "corrupt-file")


@pytest.mark.parametrize("scheme", ["null", "{}", '{"quantization_config": "of another program"}'])
def test_a_scheme_that_is_a_table_is_judged_elsewhere(tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(f'{{"quantization_config": {scheme}}}')
    assert fault_of(file) is None


def test_a_folder_a_pipe_and_a_link_to_nothing_stand_for_no_file(tmp_path: Path) -> None:
    folder, pipe, link, loop = (tmp_path / name for name in ("a.json", "b.json", "c.json", "d.json"))
    folder.mkdir()
    os.mkfifo(pipe)
    link.symlink_to("../blobs/abc")
    loop.symlink_to("d.json")
    assert fault_of(folder) == f"is a folder, where a file belongs; {AGAIN}"
    assert fault_of(pipe) == f"is no file, but a pipe or a device; {AGAIN}"
    assert str(fault_of(link)).startswith("is a link to ../blobs/abc, which is not here; ")
    assert str(fault_of(loop)).startswith("is a link to d.json, which is not here; ")


def test_a_path_with_a_newline_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "my\nmodel" / "config.json"
    file.parent.mkdir()
    file.write_text("{")
    assert "\n" not in str(first_fault([file]))
    assert "model/config.json: ends before its JSON does" in str(first_fault([file]))


def test_sound_files_and_those_that_are_not_there_have_no_fault(tmp_path: Path) -> None:
    sizes = '"num_hidden_layers": 126, "num_experts": 16384, "n_shared_experts": 0, "layers": 1e9'
    (tmp_path / "config.json").write_text(f'{{"model_type": "llama", "eps": NaN, {sizes}}}')
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 1e30, "vocab_size": 1e30}')
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    (tmp_path / "tokenizer.model").write_bytes(b"\n\xff\xfe\x00")
    assert first_fault([*tmp_path.iterdir(), tmp_path / "generation_config.json"]) is None


def test_a_template_is_text_and_no_json(tmp_path: Path) -> None:
    file = tmp_path / "chat_template.jinja"
    file.write_bytes(PAGE)
    assert str(fault_of(file)).startswith("is a web page")
    file.write_bytes(b"\xff\xfe{\x00")
    assert str(fault_of(file)).startswith("is text in UTF-16")
