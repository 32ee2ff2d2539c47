"""Symptoms of loads that really fail: the text is the library's or the loader's, of a checkpoint with the fault.

What only a GPU raises is raised here by torch's own class, with the words of torch's source, and says so.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.server.failures import LoadFailed
from plimsoll.host.server.listening import Listener
from plimsoll.host.server.loading import load
from plimsoll.judge.load import names_apart
from plimsoll.symptoms.recognise import Diagnosis, Seen, recognise
from plimsoll.symptoms.surroundings import Surroundings
from tests.support.random_checkpoints import load_spec

BF16, INT8, NF4 = Quantization.BF16, Quantization.INT8, Quantization.NF4
SHARD = "model-00002-of-00003.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123456789\n"


def told(error: BaseException) -> list[Diagnosis]:
    return list(recognise(Seen.of(error), place=Surroundings()))


def of_a_load(folder: Path, quantization: Quantization = BF16, **options: Any) -> list[Diagnosis]:
    """What is recognised in the text that a load which fails leaves in a report: its own words, without its causes."""
    with pytest.raises(LoadFailed) as caught:
        load(load_spec(folder, "llama", quantization, **options), "as-is")
    return list(recognise(Seen(text=str(caught.value)), place=Surroundings()))


def ids(found: list[Diagnosis]) -> list[str]:
    return [each.symptom for each in found]


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# Files ---------------------------------------------------------------------------------------------------------------


def truncate(folder: Path) -> None:
    os.truncate(folder / SHARD, (folder / SHARD).stat().st_size // 2)


def no_header(folder: Path) -> None:
    (folder / SHARD).write_bytes(b"\x08" + bytes(7) + b"not json")


def pointer_shard(folder: Path) -> None:
    (folder / SHARD).write_text(POINTER)


def pointer_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text(POINTER)


def dangling(folder: Path) -> None:
    (folder / SHARD).unlink()
    (folder / SHARD).symlink_to("../../blobs/abc")


def missing_shard(folder: Path) -> None:
    (folder / SHARD).unlink()


def other_index(folder: Path) -> None:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["mtp.fc.weight"] = SHARD
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def other_shape(folder: Path) -> None:
    name = "model.layers.0.mlp.down_proj.weight"
    tensors = load_file(folder / SHARD)
    tensors[name] = tensors[name][:120].contiguous()
    save_file(tensors, folder / SHARD, {"format": "pt"})


def pickled(folder: Path) -> None:
    for file in folder.glob("model*"):
        file.unlink()
    torch.save({}, folder / "pytorch_model.bin")


def gguf(folder: Path) -> None:
    for file in folder.glob("model*"):
        file.unlink()
    (folder / "model-q4.gguf").write_text("GGUF")


def no_weights(folder: Path) -> None:
    for file in folder.glob("model*"):
        file.unlink()


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def unknown_architecture(folder: Path) -> None:
    edit_config(folder, model_type="frobnicator9")


def own_code(folder: Path) -> None:
    (folder / "modeling_own.py").write_text("from transformers import LlamaForCausalLM as Own\n")
    edit_config(folder, model_type="own9", auto_map={"AutoConfig": "modeling_own.Own"})


@pytest.mark.parametrize(
    ("damage", "symptom"),
    [
        (truncate, "corrupt-file"),
        (no_header, "corrupt-file"),
        (pointer_shard, "pointer-file"),
        (pointer_tokenizer, "pointer-file"),
        (dangling, "pointer-file"),
        (missing_shard, "index-mismatch"),
        (other_index, "index-mismatch"),
        (other_shape, "wrong-shape"),
        (pickled, "pickle"),
        (gguf, "other-format"),
        (no_weights, "missing-file"),
        (no_tokenizer, "tokenizer-missing"),
        (unknown_architecture, "too-old"),
        (own_code, "remote-code"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_damaged_checkpoint_shows_its_symptom_and_no_other(
    copy: Path, damage: Callable[[Path], None], symptom: str
) -> None:
    damage(copy)
    found = of_a_load(copy)
    assert ids(found) == [symptom], found


def test_a_truncated_shard_is_told_with_its_bytes(copy: Path) -> None:
    truncate(copy)
    size = (copy / SHARD).stat().st_size
    assert f"the file has {size:,} bytes where its header describes" in of_a_load(copy)[0].cause


def test_what_safetensors_itself_says_of_a_file_is_recognised(copy: Path) -> None:
    no_header(copy)
    with pytest.raises(Exception, match="header") as caught, safe_open(copy / SHARD, framework="pt"):
        pass
    assert ids(told(caught.value)) == ["corrupt-file"]


def test_a_checkpoint_that_was_saved_quantized(llama: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    shutil.copytree(llama, packed)
    load(load_spec(llama, "llama", INT8), "as-is").model.save_pretrained(packed)
    [found] = of_a_load(packed, NF4)
    assert found.symptom == "packed-already"
    assert found.cause == "the checkpoint was saved as int8, and that wins over nf4, which was asked for"


def test_a_tokenizer_with_tokens_that_the_embedding_has_no_row_for(copy: Path) -> None:
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    content = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer["added_tokens"].append({"id": 512, "content": "<turn>", **content})
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((copy / "tokenizer_config.json").read_text())
    config["chat_template"] = "{% for m in messages %}<turn> {{ m.content }}{% endfor %}"
    (copy / "tokenizer_config.json").write_text(json.dumps(config))
    [found] = of_a_load(copy)
    assert found.symptom == "tokenizer-mismatch"
    assert "512 rows" in found.cause


def test_an_id_beyond_the_embedding_fails_in_torch_with_words_that_are_recognised(llama: Path) -> None:
    model = load(load_spec(llama, "llama", BF16), "as-is").model
    with pytest.raises(IndexError) as caught:
        model(torch.tensor([[600]]))
    assert ids(told(caught.value)) == ["tokenizer-mismatch"]


def test_weights_that_were_newly_initialised(copy: Path) -> None:
    lost = "model.layers.0.mlp.down_proj.weight"
    tensors = load_file(copy / SHARD)
    assert lost in tensors
    save_file({k: v for k, v in tensors.items() if k != lost}, copy / SHARD, {"format": "pt"})
    report = load(load_spec(copy, "llama", BF16), "as-is").report
    of_the_log = recognise(Seen(text="\n".join(report.warnings)))
    of_the_check = recognise(Seen(text=names_apart(report.missing_keys, report.unexpected_keys)))
    assert [ids(list(found)) for found in (of_the_log, of_the_check)] == [["new-weights"]] * 2


def test_names_behind_a_prefix_are_told_as_such(copy: Path) -> None:
    for file in copy.glob("*.safetensors"):
        save_file({f"_orig_mod.{name}": tensor for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    index = json.loads((copy / "model.safetensors.index.json").read_text())
    index["weight_map"] = {f"_orig_mod.{name}": file for name, file in index["weight_map"].items()}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    report = load(load_spec(copy, "llama", BF16), "as-is").report
    [found] = recognise(Seen(text=names_apart(report.missing_keys, report.unexpected_keys)))
    assert found.cause.endswith("so that all names in the checkpoint begin with _orig_mod.")


# The software stack --------------------------------------------------------------------------------------------------


def test_flash_attention_without_its_package(llama: Path) -> None:
    if find_spec("flash_attn") is not None:
        pytest.skip("flash-attn is installed here")
    [found] = of_a_load(llama, attention="flash_attention_2")
    assert found.symptom == "missing-package"
    assert 'attention = "sdpa"' in found.next


def test_code_of_a_checkpoint_for_an_earlier_release(copy: Path) -> None:
    (copy / "modeling_own.py").write_text("from transformers import NoSuchThing\n\nclass Own(NoSuchThing): pass\n")
    edit_config(copy, model_type="own9", auto_map={"AutoConfig": "modeling_own.Own"})
    [found] = of_a_load(copy, trust_remote_code=True)
    assert found.symptom == "too-new"
    assert "no NoSuchThing any more" in found.cause


def test_code_of_a_checkpoint_that_lacks_a_package(copy: Path) -> None:
    (copy / "modeling_own.py").write_text("import no_such_package_9\n\nclass Own: pass\n")
    edit_config(copy, model_type="own9", auto_map={"AutoConfig": "modeling_own.Own"})
    assert ids(of_a_load(copy, trust_remote_code=True)) == ["missing-package"]


def test_a_tokenizer_of_a_later_release() -> None:
    with pytest.raises(Exception, match="untagged enum") as caught:
        Tokenizer.from_str(json.dumps({"version": "1.0", "model": {"type": "Frobnicated", "vocab": {}}}))
    assert ids(told(caught.value)) == ["too-old"]


def test_a_kernel_that_has_no_code_for_a_dtype() -> None:
    eighth = torch.zeros(2).to(torch.float8_e4m3fn)
    with pytest.raises(NotImplementedError) as caught:
        eighth.add(eighth)
    [found] = told(caught.value)
    assert (found.symptom, found.cause) == (
        "unsupported-dtype",
        "a kernel has no code for Float8_e4m3fn on this device",
    )
    with pytest.raises(RuntimeError) as caught_too:
        torch.linalg.inv(torch.eye(2, dtype=torch.float16))
    assert ids(told(caught_too.value)) == ["unsupported-dtype"]


def test_a_torch_without_cuda() -> None:
    if torch.version.cuda is not None:
        pytest.skip("this torch has CUDA")
    with pytest.raises(AssertionError) as caught:
        torch.zeros(1, device="cuda")
    assert ids(told(caught.value)) == ["torch-without-cuda"]


def test_bitsandbytes_without_a_binary() -> None:
    """Its own way to fail, taken by hand: the handle that it puts in the place of a library that it could not load."""
    from bitsandbytes import cextension

    message = f"No compatible {cextension.BNB_BACKEND} binary found at libbitsandbytes_cuda999.so"
    instead = cextension.ErrorHandlerMockBNBNativeLibrary(message)
    with pytest.raises(RuntimeError) as caught:
        instead.cquantize_blockwise_fp16_nf4()
    assert ids(told(caught.value)) == ["bitsandbytes-binary"]


# Memory --------------------------------------------------------------------------------------------------------------


def test_more_memory_than_the_machine_has() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    found = told(caught.value)
    assert ids(found) == ["ram"]
    assert f"{2**55} bytes more were asked for" in found[0].cause


def test_what_torch_raises_where_a_gpus_memory_runs_out() -> None:
    """The words are those of torch's source (c10/cuda/CUDACachingAllocator.cpp), the class is torch's own: no test
    without a GPU can have them said."""
    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.20 GiB is "
        "free. Including non-PyTorch memory, this process has 77.90 GiB memory in use. Of the allocated memory 70.00 "
        "GiB is allocated by PyTorch, and 7.40 GiB is reserved by PyTorch but unallocated."
    )
    found = told(error)
    assert ids(found) == ["gpu-memory"]
    assert found[0].cause == "2.00 GiB more were asked for, and GPU 0 had 1.20 GiB of its 79.10 GiB free"
    assert ids(told(torch.OutOfMemoryError())) == ["gpu-memory"]


@pytest.mark.parametrize(
    ("said", "symptom"),
    [
        ("The NVIDIA driver on your system is too old (found version 12020). Please update", "driver-too-old"),
        ("CUDA error: CUDA driver version is insufficient for CUDA runtime version", "driver-too-old"),
        ("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU", "no-gpu"),
        ("Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized", "fabric"),
        ("CUDA error: uncorrectable ECC error encountered", "gpu-broken"),
        ("CUDA error: no kernel image is available for execution on the device", "unsupported-gpu"),
        ("CUDA error: device-side assert triggered", "tokenizer-mismatch"),
    ],
)
def test_what_cuda_says_of_a_gpu_by_the_words_of_its_source(said: str, symptom: str) -> None:
    """Of torch's source (c10/cuda/CUDAFunctions.cpp) and the texts of cudaGetErrorString."""
    assert ids(told(RuntimeError(said))) == [symptom]


# What a model is asked -----------------------------------------------------------------------------------------------


def test_a_prompt_beyond_the_context(llama: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(llama, model_max_length=8)
    with Listener() as listener:
        tokenizer("a b c d e f g h i j k l m n o p")
    [found] = recognise(Seen(text="\n".join(listener.heard())))
    assert found.symptom == "context-length"
    assert "> 8)" in found.cause


def test_a_window_that_the_attention_does_not_hold() -> None:
    from transformers.models.qwen2_5_vl import configuration_qwen2_5_vl, modeling_qwen2_5_vl

    config = configuration_qwen2_5_vl.Qwen2_5_VLTextConfig(
        hidden_size=32, intermediate_size=32, num_attention_heads=2, num_key_value_heads=2, use_sliding_window=True
    )
    config._attn_implementation = "sdpa"
    logging.getLogger("transformers").setLevel(logging.WARNING)
    with Listener() as listener:
        modeling_qwen2_5_vl.Qwen2_5_VLDecoderLayer(config, 0)
    [found] = recognise(Seen(text="\n".join(listener.heard())))
    assert found.symptom == "sliding-window"
    assert "sdpa" in found.cause


def test_a_sound_load_shows_nothing(llama: Path) -> None:
    report = load(load_spec(llama, "llama", NF4), "as-is").report
    assert recognise(Seen(text="\n".join((*report.warnings, repr(report))))) == ()
