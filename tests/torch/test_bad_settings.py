"""Loads of checkpoints whose settings are damaged, by the real libraries: each is refused in one line that names the
file, and that the table of symptoms has a step for."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import transformers

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.server import loading
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.generation import question_ids
from plimsoll.host.server.loading import load
from plimsoll.host.server.meaning import manners
from plimsoll.host.server.tokens import refuse_unusable_ends
from plimsoll.symptoms.recognise import Seen, recognise
from plimsoll.symptoms.surroundings import Surroundings
from tests.support.random_checkpoints import load_spec

BF16 = Quantization.BF16


def refused(folder: Path, **changes: Any) -> LoadFailed:
    with pytest.raises(LoadFailed) as caught:
        load(load_spec(folder, "llama", BF16, **changes), "as-is")
    assert "\n" not in str(caught.value)
    return caught.value


def symptom(failure: LoadFailed) -> str:
    [found] = recognise(Seen(text=str(failure)), place=Surroundings())
    return found.symptom


def edit(file: Path, **changes: Any) -> None:
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(before | changes))


# Files that cannot be read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[: len(content) // 2], " at line "),
        (lambda content: content.decode().encode("utf-16"), "is text in UTF-16"),
        (lambda _: b"<html>blocked</html>", "is a web page"),
        (lambda _: b"", "is empty"),
    ],
    ids=["half", "utf-16", "page", "empty"],
)
def test_a_file_that_cannot_be_read_is_named(
    copy: Path, name: str, damage: Callable[[bytes], bytes], said: str
) -> None:
    file = copy / name
    file.write_bytes(damage(file.read_bytes()))
    failure = refused(copy)
    assert f"{file}: " in str(failure)
    assert said in str(failure)
    assert failure.kind is (LoadFailure.TOKENIZER if name == "tokenizer.json" else LoadFailure.DAMAGED)
    assert symptom(failure) == "corrupt-file"


def test_a_file_that_no_load_reads_may_be_anything(copy: Path) -> None:
    (copy / "trainer_state.json").write_text("{")
    (copy / "preprocessor_config.json").write_text("{")
    load(load_spec(copy, "llama", BF16), "as-is")


def test_an_index_that_is_none_is_named(copy: Path) -> None:
    index = copy / "model.safetensors.index.json"
    sound = json.loads(index.read_text())
    for content in ({**sound, "weight_map": {}}, {**sound, "metadata": None}, {"weight_map": sound["weight_map"]}):
        index.write_text(json.dumps(content))
        failure = refused(copy)
        assert str(failure).startswith(f"{index}: is not an index of weights: ")
        assert symptom(failure) == "corrupt-file"
    index.unlink()
    index.mkdir()
    assert str(refused(copy)).startswith(f"{index}: is a folder, where a file belongs")


# Values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vocab_size": "many"}, "Field 'vocab_size' expected int, got str (value: 'many')"),
        ({"num_attention_heads": 7}, "is not a multiple of the number of attention heads (7)"),
        ({"hidden_act": "relu9"}, "KeyError: 'relu9'"),
        ({"rope_parameters": {"rope_type": "nope"}}, "KeyError: 'nope'"),
        ({"pad_token_id": 99_999}, "Padding_idx must be within num_embeddings"),
    ],
)
def test_a_value_of_which_no_model_can_be_made_is_told_whole(copy: Path, changes: dict[str, Any], said: str) -> None:
    edit(copy / "config.json", **changes)
    failure = refused(copy)
    assert str(failure).startswith(f"{copy / 'config.json'}: no model can be made of its settings: ")
    assert said in str(failure)
    assert symptom(failure) == "config-values"


@pytest.mark.parametrize("scheme", ["nf4", ["nf4"], 4, False])
def test_a_scheme_that_is_no_table_is_told_with_its_file(copy: Path, scheme: object) -> None:
    edit(copy / "config.json", quantization_config=scheme)
    failure = refused(copy)
    assert str(failure).startswith(f"{copy / 'config.json'}: says quantization_config = {json.dumps(scheme)}, where a ")
    assert symptom(failure) == "config-values"


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("</s>", "eos_token_id is '</s>', where the number of a token belongs, or a list of such numbers"),
        (-1, "eos_token_id is -1, where"),
        (2.0, "eos_token_id is 2.0, where"),
        (True, "eos_token_id is True, where"),
        ([[2]], "eos_token_id is [[2]], where"),
        (99_999, "eos_token_id is 99999, and the embedding has 512 rows, so that no answer would ever end"),
    ],
)
def test_an_end_token_that_is_none_is_refused(copy: Path, ends: Any, said: str) -> None:
    edit(copy / "generation_config.json", eos_token_id=ends)
    failure = refused(copy)
    assert f"{copy / 'generation_config.json'}: {said}" in str(failure)
    assert symptom(failure) == "corrupt-file"


@pytest.mark.parametrize("ends", [None, [], [2, 99_999]])
def test_end_tokens_of_which_one_can_come_are_taken(copy: Path, ends: Any) -> None:
    edit(copy / "generation_config.json", eos_token_id=ends)
    load(load_spec(copy, "llama", BF16), "as-is")


class _WantsValues(transformers.GPT2Config):  # type: ignore[no-untyped-call]  # its hook for subclasses has no types
    def __init__(self, **values: Any) -> None:
        if not values:
            raise KeyError("vocab_size")
        super().__init__(**values)


@pytest.mark.parametrize("kind", [transformers.GPT2Config, _WantsValues])
@pytest.mark.parametrize(
    ("ends", "is_usual"), [(50256, True), ([50256], True), (50255, False), ([50256, 50255], False)]
)
def test_the_end_that_a_class_has_by_itself_stands_in_a_smaller_vocabulary(
    tmp_path: Path, kind: type[transformers.GPT2Config], ends: Any, is_usual: bool
) -> None:
    small: dict[str, Any] = {"vocab_size": 64, "n_layer": 1, "n_embd": 8, "n_head": 1, "n_positions": 8}
    model = transformers.GPT2LMHeadModel(kind(**small))
    model.generation_config.eos_token_id = ends
    is_taken = is_usual and kind is not _WantsValues
    with nullcontext() if is_taken else pytest.raises(LoadFailed, match="no answer would ever end"):
        refuse_unusable_ends(load_spec(tmp_path, "llama", BF16), model)


def test_settings_of_generation_that_cannot_be_taken_are_named(copy: Path) -> None:
    edit(copy / "generation_config.json", watermarking_config={"nonsense": 1})
    failure = refused(copy)
    assert str(failure).startswith(f"{copy / 'generation_config.json'}: its settings cannot be taken: TypeError: ")
    assert symptom(failure) == "corrupt-file"


# Chat templates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ messages[0].content }", "cannot be rendered for a question, at line 1 of its text: TemplateSyntaxError: "),
        ("x\n{% if %}", "at line 2 of its text: TemplateSyntaxError: Expected an expression, got 'end of statement"),
        (
            "x\n{{ raise_exception('a system message first') }}",
            "at line 2 of its text: TemplateError: a system message",
        ),
        ("{{ messages + 'x' }}", "at line 1 of its text: TypeError: "),
        ("{{ messages | nosuchfilter }}", "at line 1 of its text: TemplateAssertionError: No filter named"),
        ("{{ messages[0].part.text }}", "at line 1 of its text: UndefinedError: "),
        ("hello", "leaves the question out of the text that it makes"),
        ("{# nothing #}", "leaves the question out of the text that it makes"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_named(copy: Path, template: str, said: str) -> None:
    file = copy / "chat_template.jinja"
    file.write_text(template)
    failure = refused(copy)
    assert str(failure).startswith(f"{file}: its chat template ")
    assert said in str(failure)
    assert (failure.kind, symptom(failure)) == (LoadFailure.TOKENIZER, "chat-template")
    file.unlink()
    edit(copy / "tokenizer_config.json", chat_template=template)
    assert str(refused(copy)).startswith(f"{copy / 'tokenizer_config.json'}: its chat template ")


def test_a_template_of_the_entrys_own_is_called_so(llama: Path) -> None:
    failure = refused(llama, tokenizer={"chat_template": "{{ messages | nosuchfilter }}"})
    assert str(failure).startswith("tokenizer: chat_template of the entry: its chat template cannot be rendered")
    assert failure.kind is LoadFailure.OPTIONS


def test_a_template_that_wants_parts_gets_them(copy: Path) -> None:
    """As those of models that see: of a plain text they write nothing, and the model would not be asked."""
    (copy / "chat_template.jinja").write_text(
        "{% for part in messages[0].content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
    )
    loaded = load(load_spec(copy, "llama", BF16), "as-is")
    assert question_ids(loaded, "5 6 7") == loaded.tokenizer("5 6 7", add_special_tokens=False)["input_ids"]


def test_a_template_that_takes_no_answer_says_so_when_it_is_asked_about_one(copy: Path) -> None:
    (copy / "chat_template.jinja").write_text(
        "{{ messages[0].content }}{% if messages | length > 1 %}{{ raise_exception('one question') }}{% endif %}"
    )
    loaded = load(load_spec(copy, "llama", BF16), "as-is")
    with pytest.raises(LoadFailed, match="cannot be rendered for a question and its answer, at line 1 of its text"):
        manners(loaded)


def test_a_tokenizer_that_cannot_read_a_question_is_refused(copy: Path) -> None:
    edit(copy / "tokenizer_config.json", model_max_length="long")
    failure = refused(copy)
    assert str(failure).startswith(f"{copy}: no usable tokenizer: TypeError: ")
    assert symptom(failure) == "tokenizer-missing"


# Adapters ------------------------------------------------------------------------------------------------------------


def test_an_adapter_beside_whole_weights_is_said_or_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers asks whether peft is installed, and loads one model or another from the same folder."""
    file = copy / "adapter_config.json"
    file.write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "acme/base"}))
    report = load(load_spec(copy, "llama", BF16), "as-is").report
    told = f"{file}: an adapter lies beside the weights, and was not loaded: peft is not installed"
    assert report.warnings[-1] == told
    monkeypatch.setattr(loading, "is_peft_available", lambda: True)
    failure = refused(copy)
    assert str(failure).startswith(
        f"{file}: an adapter lies beside the weights, and transformers would put it over them"
    )
    assert symptom(failure) == "adapter"
