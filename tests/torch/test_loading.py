"""Loading by the real `from_pretrained`: what the report says, and how a load fails."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from plimsoll.catalogue.entries import Generation, Quantization
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.server import loading
from plimsoll.host.server.checkpoint import locate
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.load_failures import explain
from plimsoll.host.server.loading import _gpus, _placement, load
from plimsoll.symptoms.recognise import Seen, recognise
from plimsoll.symptoms.surroundings import Surroundings
from tests.support.random_checkpoints import load_spec, save_checkpoint, save_tokenizer

BF16, INT8, NF4 = Quantization.BF16, Quantization.INT8, Quantization.NF4
SHARD = "model-00002-of-00003.safetensors"


def refused(spec: LoadSpec) -> LoadFailed:
    with pytest.raises(LoadFailed) as caught:
        load(spec, "as-is")
    return caught.value


def edit_shard(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / SHARD)
    edit(tensors)
    save_file(tensors, folder / SHARD, {"format": "pt"})


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("The NVIDIA driver on your system is too old (found version 11040)", "for the CUDA that `nvidia-smi` names"),
        ("Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized", "nvidia-fabricmanager"),
    ],
)
def test_what_cuda_says_at_its_first_call_is_a_load_that_failed_with_a_step(
    llama: Path, said: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meter(_devices: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(loading, "GpuMeter", meter)
    spec = replace(load_spec(llama, "llama", BF16), device="cuda:0")
    failure = refused(spec)
    assert failure.kind is LoadFailure.REFUSED
    assert "cuda:0 cannot be used" in str(failure)
    assert step in str(failure)


# What the report says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantization", Quantization, ids=str)
def test_a_sound_checkpoint_loads_completely(llama: Path, quantization: Quantization) -> None:
    loaded = load(load_spec(llama, "llama", quantization), "as-is")
    report = loaded.report
    assert report.seconds > 0
    assert report.model_class == "LlamaForCausalLM"
    assert (report.missing_keys, report.unexpected_keys, report.mismatched_keys, report.meta_parameters) == ((),) * 4
    assert report.device_map == {"": "cpu"}
    assert (report.attention, report.experts, report.expert_quantization) == ("sdpa", None, None)
    assert report.checkpoint_files == tuple(f"model-0000{index}-of-00003.safetensors" for index in (1, 2, 3))
    assert report.checkpoint_bytes == sum((llama / name).stat().st_size for name in report.checkpoint_files)
    assert report.resolved_revision is None
    assert report.gpus == ()
    assert report.warnings == ()
    floats = {r.storage_dtype for r in report.inventory.parameters if r.scheme == "float"}
    assert floats == {quantization.compute_dtype}
    with torch.no_grad():
        assert torch.isfinite(loaded.model(torch.tensor([[1, 5, 6, 7]])).logits).all()


def test_the_attention_in_use_is_reported(llama: Path) -> None:
    assert load(load_spec(llama, "llama", BF16, attention="eager"), "as-is").report.attention == "eager"


def test_the_page_cache_is_prepared_as_asked(llama: Path) -> None:
    cold = load(load_spec(llama, "llama", NF4), "cold").report.cache
    warm = load(load_spec(llama, "llama", NF4), "warm").report.cache
    assert (cold.asked, warm.asked, warm.resident) == ("cold", "warm", 1.0)
    assert cold.resident == 0.0 or cold.note
    with pytest.raises(ValueError, match="not 'hot'"):
        load(load_spec(llama, "llama", NF4), "hot")


def test_memory_is_measured_and_mapped_weights_are_told_from_held_ones(llama: Path) -> None:
    spec = load_spec(llama, "llama", BF16)
    loaded = load(spec, "as-is")
    memory = loaded.report.memory
    assert 0 < memory.before <= memory.peak
    assert memory.after <= memory.peak
    # On a CPU bfloat16 weights are views of the mapped files, which another dtype cannot be.
    assert memory.mapped is not None
    assert memory.mapped >= loaded.report.checkpoint_bytes
    del loaded
    read = load(load_spec(llama, "llama", BF16, load_options={"disable_mmap": True}), "as-is")
    assert read.report.memory.mapped == 0
    converted = load(load_spec(llama, "llama", Quantization.FP32), "as-is")
    assert converted.report.memory.mapped == 0


def test_generation_settings_are_the_entrys_and_never_the_checkpoints(copy: Path) -> None:
    settings = {"do_sample": True, "temperature": 0.3, "max_new_tokens": 99, "repetition_penalty": 5.0}
    (copy / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": [2, 9], "pad_token_id": 7}))
    greedy = load(load_spec(copy, "llama", BF16), "as-is").model.generation_config
    assert (greedy.do_sample, greedy.max_new_tokens, greedy.pad_token_id) == (False, 8, 2)
    assert greedy.eos_token_id == [2, 9]
    assert (greedy.repetition_penalty, greedy.temperature, greedy.top_p, greedy.top_k) == (None, None, None, None)
    sampling = Generation(max_new_tokens=3, do_sample=True, temperature=0.5, top_p=0.9, pad_token="<pad>")
    config = load(load_spec(copy, "llama", BF16, generation=sampling), "as-is").model.generation_config
    assert (config.do_sample, config.temperature, config.top_p, config.top_k) == (True, 0.5, 0.9, 0)
    assert (config.max_new_tokens, config.pad_token_id) == (3, 0)


def test_a_padding_token_that_does_not_exist_is_refused(llama: Path) -> None:
    failure = refused(load_spec(llama, "llama", BF16, generation=Generation(max_new_tokens=3, pad_token="<PAD>")))
    assert failure.kind is LoadFailure.OPTIONS
    assert str(failure) == "generation: the tokenizer has no token '<PAD>' to pad with"


def test_a_missing_tensor_is_reported_by_name_and_in_the_warnings(copy: Path) -> None:
    lost = "model.layers.0.mlp.down_proj.weight"
    edit_shard(copy, lambda tensors: tensors.pop(lost))
    for quantization in (BF16, NF4):
        report = load(load_spec(copy, "llama", quantization), "as-is").report
        assert report.missing_keys == (lost,)
        assert any("MISSING" in warning and lost in warning for warning in report.warnings)
        assert not any("\x1b" in warning or "[1m" in warning for warning in report.warnings)


def test_a_surplus_tensor_is_reported(copy: Path) -> None:
    edit_shard(copy, lambda tensors: tensors.update({"model.layers.0.extra.weight": torch.zeros(3)}))
    assert load(load_spec(copy, "llama", BF16), "as-is").report.unexpected_keys == ("model.layers.0.extra.weight",)


def test_nan_weights_load_and_are_left_to_the_questions_about_logits(copy: Path) -> None:
    edit_shard(copy, lambda tensors: tensors["model.norm.weight"].fill_(float("nan")))
    loaded = load(load_spec(copy, "llama", BF16), "as-is")
    assert loaded.report.missing_keys == ()
    with torch.no_grad():
        assert loaded.model(torch.tensor([[1, 5]])).logits.isnan().any()


def test_python_warnings_reach_the_report(llama: Path) -> None:
    config = {"quantization_config": {"load_in_8bit": True}}
    spec = load_spec(packed_checkpoint(llama), "llama", INT8, load_options=config)
    warnings = load(spec, "as-is").report.warnings
    assert any(w.startswith("UserWarning: ") and "already has a `quantization_config`" in w for w in warnings)


def packed_checkpoint(llama: Path) -> Path:
    """A checkpoint that was saved in int8, beside the one it was made of."""
    folder = llama.parent / "packed"
    if not folder.exists():
        load(load_spec(llama, "llama", INT8), "as-is").model.save_pretrained(folder)
        save_tokenizer(folder)
    return folder


def test_a_checkpoint_that_was_saved_packed_loads_as_it_is(llama: Path) -> None:
    report = load(load_spec(packed_checkpoint(llama), "llama", INT8), "as-is").report
    assert {r.scheme for r in report.inventory.parameters} == {"int8", "float"}
    assert all(not r.faults for r in report.inventory.parameters)


# How a load fails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda file: os.truncate(file, file.stat().st_size // 2), "is truncated: it has"),
        (lambda file: os.truncate(file, 4), "is truncated or no safetensors file: 4 bytes cannot hold its header"),
        (lambda file: os.truncate(file, 0), "is truncated or no safetensors file: 0 bytes cannot hold its header"),
        (lambda file: file.write_bytes(file.read_bytes() + b"more"), "is longer than its header says"),
        (lambda file: file.write_bytes(b"\x08" + bytes(7) + b"not json"), "is damaged: its header does not describe"),
        (lambda file: file.write_bytes(b"\x02" + bytes(7) + b"[]"), "is damaged: its header does not describe"),
    ],
    ids=["half", "no-header", "empty", "padded", "no-json", "other-json"],
)
def test_a_damaged_shard_is_named(copy: Path, damage: Callable[[Path], Any], text: str) -> None:
    damage(copy / SHARD)
    failure = refused(load_spec(copy, "llama", BF16))
    assert failure.kind is LoadFailure.DAMAGED
    assert str(failure).startswith(f"{copy / SHARD}: {text}")


def test_a_missing_shard_is_named(copy: Path) -> None:
    (copy / SHARD).unlink()
    failure = refused(load_spec(copy, "llama", BF16))
    assert failure.kind is LoadFailure.NOT_FOUND
    assert str(failure) == (
        f"{copy / SHARD}: 1 of 3 files that model.safetensors.index.json lists is missing ({SHARD}); "
        "download or build it again"
    )


def test_a_damaged_index_is_named(copy: Path) -> None:
    (copy / "model.safetensors.index.json").write_text('{"weight_map": ')
    failure = refused(load_spec(copy, "llama", BF16))
    assert failure.kind is LoadFailure.DAMAGED
    assert "model.safetensors.index.json: ends before its JSON does, at line 1, column 16" in str(failure)


@pytest.mark.parametrize("quantization", Quantization, ids=str)
def test_a_tensor_of_another_shape_is_refused_in_every_quantization(copy: Path, quantization: Quantization) -> None:
    """transformers checks this for floats only: quantized, it would load and say nothing."""
    name = "model.layers.0.mlp.down_proj.weight"
    edit_shard(copy, lambda tensors: tensors.update({name: tensors[name][:120].contiguous()}))
    failure = refused(load_spec(copy, "llama", quantization))
    assert failure.kind is LoadFailure.SHAPE
    assert str(failure).startswith(f"{copy / SHARD}: {name} ")
    assert "(120, 256)" in str(failure)
    assert "(128, 256)" in str(failure)


def test_a_pickle_checkpoint_is_refused_unless_it_is_allowed(copy: Path) -> None:
    tensors: dict[str, torch.Tensor] = {}
    for file in copy.glob("*.safetensors"):
        tensors |= load_file(file)
        file.unlink()
    (copy / "model.safetensors.index.json").unlink()
    torch.save(tensors, copy / "pytorch_model.bin")
    failure = refused(load_spec(copy, "llama", BF16))
    assert failure.kind is LoadFailure.PICKLE
    assert str(failure) == (
        f"{copy / 'pytorch_model.bin'}: a pickle checkpoint is refused, because reading one can run code; convert it "
        "to safetensors, or say in the entry why it may be loaded (allow_pickle)"
    )
    report = load(load_spec(copy, "llama", BF16, allow_pickle=True), "as-is").report
    assert report.checkpoint_files == ("pytorch_model.bin",)
    assert report.missing_keys == ()


def edit_index(folder: Path, **tensors: str) -> None:
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"].update(tensors)
    path.write_text(json.dumps(index))


@pytest.mark.parametrize("name", ["../outside.safetensors", "/outside.safetensors", "sub/../../outside.safetensors"])
def test_an_index_that_leads_out_of_the_folder_is_not_followed(copy: Path, name: str) -> None:
    shutil.copy(copy / SHARD, copy.parent / "outside.safetensors")
    edit_index(copy, extra=name)
    failure = refused(load_spec(copy, "llama", BF16))
    assert failure.kind is LoadFailure.DAMAGED
    assert f"names {name!r}, which is no file in its folder, and is not followed" in str(failure)


def test_an_index_that_promises_a_tensor_which_no_file_has_is_refused(copy: Path) -> None:
    edit_index(copy, **{"mtp.fc.weight": SHARD})
    failure = refused(load_spec(copy, "llama", BF16))
    assert failure.kind is LoadFailure.DAMAGED
    assert f"says that {SHARD} holds mtp.fc.weight, which it does not (1 such tensors)" in str(failure)


def test_a_tensor_that_two_shards_hold_unlike_is_refused(copy: Path) -> None:
    """transformers takes that of the last file, though the index names the first."""
    first, name = "model-00001-of-00003.safetensors", "model.layers.0.mlp.gate_proj.weight"
    index = json.loads((copy / "model.safetensors.index.json").read_text())
    assert index["weight_map"][name] == first
    weight = load_file(copy / first)[name]
    edit_shard(copy, lambda tensors: tensors.update({name: weight.clone()}))
    assert load(load_spec(copy, "llama", BF16), "as-is").report.missing_keys == (), "twice the same is no fault"
    edit_shard(copy, lambda tensors: tensors.update({name: weight * 2}))
    failure = refused(load_spec(copy, "llama", BF16))
    assert failure.kind is LoadFailure.DAMAGED
    assert f"{first} and {SHARD} hold unlike {name} (1 such tensors), and transformers takes that" in str(failure)


def test_a_shard_that_the_index_does_not_list_is_said(copy: Path) -> None:
    shutil.copy(copy / SHARD, copy / "model-00009-of-00009.safetensors")
    report = load(load_spec(copy, "llama", BF16), "as-is").report
    [warning] = [text for text in report.warnings if "not in the index" in text]
    assert warning == f"{copy}: 1 files of weights are not in the index: model-00009-of-00009.safetensors"


def move_shards(folder: Path, place: Callable[[str], str]) -> None:
    """Shards in folders below, with an index that says so; `place` gives the path of a shard by its name."""
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    for name in set(index["weight_map"].values()):
        target = folder / place(name)
        target.parent.mkdir(exist_ok=True)
        (folder / name).rename(target)
    index["weight_map"] = {tensor: place(name) for tensor, name in index["weight_map"].items()}
    path.write_text(json.dumps(index))


PLACES: list[Callable[[str], str]] = [
    lambda name: f"w/{name}",
    lambda name: f"{int(name[6:11])}/model.safetensors",
    lambda name: f"./w//{name}",
]


@pytest.mark.parametrize("place", PLACES, ids=["in one folder", "of one name", "not in the shortest form"])
def test_shards_in_folders_below_are_a_checkpoint_like_another(copy: Path, place: Callable[[str], str]) -> None:
    names = sorted(file.name for file in copy.glob("*.safetensors"))
    move_shards(copy, place)
    report = load(load_spec(copy, "llama", BF16), "as-is").report
    assert report.missing_keys == report.warnings == ()
    assert report.checkpoint_files == tuple(Path(place(name)).as_posix() for name in names)
    edit_index(copy, **{"mtp.fc.weight": place(SHARD)})
    said = f"says that {Path(place(SHARD)).as_posix()} holds mtp.fc.weight, which it does not (1 such tensors)"
    assert said in str(refused(load_spec(copy, "llama", BF16)))


@pytest.mark.parametrize("place", PLACES, ids=["in one folder", "of one name", "not in the shortest form"])
def test_a_tensor_that_two_shards_in_folders_below_hold_unlike_is_refused(
    copy: Path, place: Callable[[str], str]
) -> None:
    name = "model.layers.0.mlp.gate_proj.weight"
    weight = load_file(copy / "model-00001-of-00003.safetensors")[name]
    edit_shard(copy, lambda tensors: tensors.update({name: weight * 2}))
    move_shards(copy, place)
    one, other = (Path(place(each)).as_posix() for each in ("model-00001-of-00003.safetensors", SHARD))
    assert f"{one} and {other} hold unlike {name} (1 such tensors)" in str(refused(load_spec(copy, "llama", BF16)))


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123456789\n"


@pytest.mark.parametrize("name", [SHARD, "model.safetensors.index.json"])
def test_a_pointer_of_git_lfs_is_told_from_a_damaged_file(copy: Path, name: str) -> None:
    (copy / name).write_text(POINTER)
    failure = refused(load_spec(copy, "llama", BF16))
    assert failure.kind is LoadFailure.DAMAGED
    assert str(failure).startswith(f"{copy / name}: is a Git LFS pointer and not the file itself; git lfs pull")


def test_a_tokenizer_that_is_a_pointer_is_named(copy: Path) -> None:
    (copy / "tokenizer.json").write_text(POINTER)
    failure = refused(load_spec(copy, "llama", BF16))
    assert failure.kind is LoadFailure.TOKENIZER
    assert f"no usable tokenizer: {copy / 'tokenizer.json'}: is a Git LFS pointer" in str(failure)


@pytest.mark.parametrize("name", [SHARD, "model.safetensors.index.json"])
def test_a_link_that_leads_nowhere_is_said(copy: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / name).symlink_to("../../blobs/abc")
    failure = refused(load_spec(copy, "llama", BF16))
    assert str(failure).startswith(f"{copy / name}: is a link to ../../blobs/abc, which is not here; copy the folder")


@pytest.mark.parametrize(
    ("name", "words", "step"),
    [
        ("adapter_config.json", "of an adapter", "merge it into its base model"),
        ("consolidated.safetensors", "in its maker's own format", "converted for transformers"),
        ("original/consolidated.00.pth", "in its maker's own format", "converted for transformers"),
        ("model-q4.gguf", "in the format of llama.cpp", "that the GGUF was made from"),
        ("model.fp16.safetensors", "a variant", "rename the files"),
        ("model-00001-of-00002.safetensors", "one of several shards", "fetch model.safetensors.index.json"),
        ("step-9/model.safetensors", "in a folder below", "name the folder with the weights"),
        ("weights.safetensors", "under a name that transformers does not look for", "rename it to model.safetensors"),
        ("model.safetensors.part", "a download that did not end", "let the download end"),
        ("pytorch_model.fp16.bin", "of pickles", "convert it on a machine where its code may run"),
        ("tf_model.h5", "in another format", "save them with save_pretrained"),
    ],
)
def test_a_folder_with_weights_of_another_kind_says_which(copy: Path, name: str, words: str, step: str) -> None:
    for file in copy.glob("model*"):
        file.unlink()
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text("{}")
    failure = refused(load_spec(copy, "llama", BF16))
    assert failure.kind is LoadFailure.NOT_FOUND
    assert f"; {name} is {words}" in str(failure)
    [found] = recognise(Seen(text=str(failure)), place=Surroundings())
    assert step in found.next


def test_folders_without_a_checkpoint_are_told_apart(tmp_path: Path, copy: Path) -> None:
    absent = refused(load_spec(tmp_path / "nowhere", "llama", BF16))
    assert (absent.kind, str(absent)) == (LoadFailure.NOT_FOUND, f"{tmp_path / 'nowhere'}: there is no such folder")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(load_spec(empty, "llama", BF16)).kind is LoadFailure.NOT_FOUND
    (copy / "tokenizer.json").unlink()
    untold = refused(load_spec(copy, "llama", BF16))
    assert untold.kind is LoadFailure.TOKENIZER
    assert str(untold).startswith(f"{copy}: no usable tokenizer: ")
    (copy / "config.json").write_text("{")
    assert refused(load_spec(copy, "llama", BF16)).kind is LoadFailure.DAMAGED


def test_a_first_line_that_only_announces_the_next_is_told_with_it(llama: Path) -> None:
    error = ValueError("Class validation error for validator 'validate_heads':\n    ValueError: 3 heads of 64\n")
    told = explain(error, load_spec(llama, "llama", BF16), None, ())
    assert str(told) == (
        f"{llama}: ValueError: Class validation error for validator 'validate_heads': ValueError: 3 heads of 64"
    )
    assert str(explain(ValueError("one\ntwo"), load_spec(llama, "llama", BF16), None, ())).endswith(": ValueError: one")


def test_what_the_stack_refuses_keeps_its_words(llama: Path) -> None:
    failure = refused(load_spec(llama, "llama", BF16, attention="sdap"))
    assert failure.kind is LoadFailure.REFUSED
    assert str(failure).startswith(f'{llama}: ValueError: Specified `attn_implementation="sdap"` is not supported')


@pytest.mark.parametrize(
    ("quantization", "options", "text"),
    [
        (NF4, {"quantization_config": {"load_in_4_bit": True}}, "did you mean 'load_in_4bit'?"),
        (NF4, {"quantization_config": {"xyz": True}}, "known are bnb_4bit_compute_dtype, "),
        (NF4, {"load_in_4bit": True}, "load_in_4bit is no argument of from_pretrained in transformers 5"),
        (BF16, {"quantization_config": {"load_in_4bit": True}}, "means nothing for bf16, which packs no weight"),
        (NF4, {"ignore_mismatched_sizes": True}, "ignore_mismatched_sizes cannot be set"),
        (NF4, {"quantization_config": {"llm_int8_threshold": 3.0}}, "llm_int8_threshold has no effect on nf4"),
        (INT8, {"quantization_config": {"bnb_4bit_quant_type": "fp4"}}, "bnb_4bit_quant_type has no effect on int8"),
        (NF4, {"fused_experts": "stock"}, "fused_experts has no effect: its class has no fused experts to pack"),
        (BF16, {"fused_experts": "stock"}, "fused_experts has no effect: bf16 packs no weight"),
        (NF4, {"fused_experts": "no"}, "fused_experts must be one of quantized, stock, not 'no'"),
        (BF16, {"from_tf": True}, "from_tf has no effect in transformers 5"),
        (BF16, {"config": "other"}, "config is made of the checkpoint's and the variant's settings"),
    ],
)
def test_options_that_would_be_swallowed_are_refused(
    llama: Path, quantization: Quantization, options: dict[str, Any], text: str
) -> None:
    failure = refused(load_spec(llama, "llama", quantization, load_options=options))
    assert failure.kind is LoadFailure.OPTIONS
    assert str(failure).startswith("load_options: ")
    assert text in str(failure)


def packing(**fields: Any) -> dict[str, Any]:
    return {"quantization_config": fields}


@pytest.mark.parametrize(
    ("quantization", "options", "text"),
    [
        (
            BF16,
            {"experts_implementaton": "eager"},
            "'experts_implementaton' is no argument of from_pretrained, and no setting that LlamaForCausalLM has; did "
            "you mean 'experts_implementation'?",
        ),
        (BF16, {"max-memory": {"cpu": "1GB"}}, "did you mean 'max_memory'?"),
        (
            BF16,
            {"zzz": 1},
            "'zzz' is no argument of from_pretrained, and no setting that LlamaForCausalLM has; correct",
        ),
        (BF16, {"cls": 1}, "'cls' is no argument of from_pretrained"),
        (BF16, {"max_memory": 3}, "max_memory must be a table, not 3"),
        (BF16, {"device_map": 7}, "device_map must be text or a table, not 7"),
        (BF16, {"offload_buffers": "yes"}, "offload_buffers must be true or false, not 'yes'"),
        (BF16, {"tp_size": True}, "tp_size must be a whole number, not True"),
        (BF16, {"token": 77}, "token must be text or true or false, not a number"),
        (
            BF16,
            {"key_mapping": {"(": "x"}},
            "the load failed with key_mapping = {'(': 'x'}: error: missing ), unterminated subpattern at position 0",
        ),
        (
            BF16,
            {"token": "not-to-be-told", "dtype": "float13"},
            "the load failed with dtype = 'float13': AttributeError",
        ),
        (BF16, {"vocab_size": "many"}, "Field 'vocab_size' expected int, got str (value: 'many')"),
        (NF4, {"quantization_config": "nf4"}, "quantization_config must be a table, not 'nf4'"),
        (NF4, packing(bnb_4bit_quant_type="nf5"), "bnb_4bit_quant_type must be one of nf4, fp4, not 'nf5'"),
        (NF4, packing(llm_int8_skip_modules=[3]), "llm_int8_skip_modules must be a list of names of modules"),
        (INT8, packing(llm_int8_skip_modules="lm_head"), "llm_int8_skip_modules must be a list of names of modules"),
        (
            NF4,
            packing(bnb_4bit_use_double_quant="yes", llm_int8_skip_modules=["lm_head"]),
            "quantization_config does not take bnb_4bit_use_double_quant = 'yes': bnb_4bit_use_double_quant must be a "
            "boolean",
        ),
        (NF4, packing(bnb_4bit_compute_dtype="float13"), "does not take bnb_4bit_compute_dtype = 'float13': module"),
        (
            INT8,
            packing(llm_int8_threshold=6),
            "does not take llm_int8_threshold = 6: llm_int8_threshold must be a float",
        ),
    ],
)
def test_an_option_that_cannot_be_taken_is_named_with_a_step(
    llama: Path, quantization: Quantization, options: dict[str, Any], text: str
) -> None:
    failure = refused(load_spec(llama, "llama", quantization, load_options=options))
    assert failure.kind is LoadFailure.OPTIONS
    assert str(failure).startswith("load_options: ")
    assert text in str(failure)
    assert "not-to-be-told" not in str(failure)
    [found] = recognise(Seen(text=str(failure)), place=Surroundings())
    assert found.symptom == "entry-settings"


def test_options_are_not_blamed_for_a_fault_that_is_known(copy: Path) -> None:
    os.truncate(copy / SHARD, 100)
    failure = refused(load_spec(copy, "llama", BF16, load_options={"disable_mmap": True}))
    assert failure.kind is LoadFailure.DAMAGED


@pytest.mark.parametrize(
    ("places", "text"),
    [
        ({"": "cpu", "model.layrs.0": "cpu"}, "no part 'model.layrs.0', so its place has no effect; did you mean"),
        ({"model": "cpu", "lm_head": "cpu", "model.layers.7": "cpu"}, "no part 'model.layers.7'"),
        ({"": "cpu", "transformer": "cpu"}, "no part 'transformer'"),
    ],
)
def test_a_place_of_what_the_model_does_not_have_is_refused(llama: Path, places: dict[str, str], text: str) -> None:
    failure = refused(load_spec(llama, "llama", BF16, device_map=places))
    assert failure.kind is LoadFailure.OPTIONS
    assert str(failure).startswith("device_map: LlamaForCausalLM has ")
    assert text in str(failure)


@pytest.mark.parametrize("places", [{"": "cpu"}, {"model": "cpu", "lm_head.weight": "cpu"}])
def test_a_place_of_what_the_model_has_is_taken(llama: Path, places: dict[str, str]) -> None:
    assert load(load_spec(llama, "llama", BF16, device_map=places), "as-is").report.meta_parameters == ()


def test_the_place_of_a_tied_head_is_taken(tmp_path: Path) -> None:
    folder = save_checkpoint("qwen2", tmp_path)
    spec = load_spec(folder, "qwen2", BF16, device_map={"model": "cpu", "lm_head.weight": "cpu"})
    assert load(spec, "as-is").report.meta_parameters == ()


def test_a_failure_crosses_the_pipe_with_kind_and_message() -> None:
    failure = LoadFailed(LoadFailure.SHAPE, "model.safetensors: x has another shape")
    arrived = pickle.loads(pickle.dumps(failure))  # noqa: S301  our own bytes
    assert isinstance(arrived, LoadFailed)
    assert (arrived.kind, str(arrived)) == (LoadFailure.SHAPE, "model.safetensors: x has another shape")


# Checkpoints of the Hub ---------------------------------------------------------------------------------------------


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, laid out as huggingface_hub does."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def downloaded(hub_cache: Path, *names: str) -> Path:
    """A snapshot of `org/model` with some empty files."""
    repository = hub_cache / "models--org--model"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for name in ("config.json", *names):
        (snapshot / name).touch()
    return snapshot


def test_a_downloaded_snapshot_is_found_with_its_commit(hub_cache: Path) -> None:
    snapshot = downloaded(hub_cache, "model.safetensors")
    found = locate("org/model", None, allow_pickle=False)
    assert found is not None
    assert (found.folder, found.files, found.revision) == (snapshot, (snapshot / "model.safetensors",), COMMIT)


def test_what_is_not_downloaded_yet_is_left_to_from_pretrained(hub_cache: Path) -> None:
    assert locate("org/model", None, allow_pickle=False) is None
    downloaded(hub_cache)
    assert locate("org/model", None, allow_pickle=False) is None


def test_a_downloaded_pickle_is_refused_too(hub_cache: Path) -> None:
    downloaded(hub_cache, "pytorch_model.bin")
    with pytest.raises(LoadFailed, match="a pickle checkpoint is refused"):
        locate("org/model", None, allow_pickle=False)


def test_what_is_neither_folder_nor_id_is_refused(hub_cache: Path) -> None:
    with pytest.raises(LoadFailed, match="a/b/c: is no folder and no Hub id"):
        locate("a/b/c", None, allow_pickle=False)


# Where a model goes -------------------------------------------------------------------------------------------------


def test_the_gpus_that_a_load_may_touch(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def indexes(device: str, device_map: Any) -> list[int | None]:
        return [gpu.index for gpu in _gpus(load_spec(llama, "llama", BF16, device=device), device_map)]

    assert indexes("cpu", {"": "cpu"}) == []
    assert indexes("cpu", "auto") == []
    assert indexes("cuda:0", {"": "cuda"}) == [0]
    assert indexes("cuda:1", {"": "cuda:1"}) == [1]
    assert indexes("cuda:0", {"model": 1, "lm_head": 0, "x": "cpu"}) == [0, 1]
    assert indexes("cuda:0", "auto") == [0, 1]
    assert indexes("cuda:0", "cuda:1") == [1]


def test_placement_is_accelerates_map_or_that_of_the_tensors() -> None:
    model: Any = torch.nn.Linear(2, 2)
    tensors = dict(model.named_parameters())
    assert _placement(model, tensors) == {"": "cpu"}
    split = {"weight": torch.empty(1, device="meta"), "bias": torch.empty(1)}
    assert _placement(model, split) == {"weight": "meta", "bias": "cpu"}
    model.hf_device_map = {"a": 0, "b": "cpu", "c": torch.device("cuda", 1)}
    assert _placement(model, tensors) == {"a": "cuda:0", "b": "cpu", "c": "cuda:1"}


def test_a_model_spread_over_a_device_map_says_where_each_part_is(llama: Path) -> None:
    spec = load_spec(llama, "llama", BF16, device_map={"model": "cpu", "lm_head": "cpu"})
    assert set(load(spec, "as-is").report.device_map.values()) == {"cpu"}
