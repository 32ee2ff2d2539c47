"""Cache and activations, followed on the meta device, held against what torch really allocates.

The CPU's allocator stands in for a GPU's: both give each tensor its bytes, and torch's profiler writes every one down.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from plimsoll.catalogue.entries import Quantization
from plimsoll.footprint.activations import Activations, CacheLayer, Moment
from plimsoll.host.server.predict.activations import ForwardPasses, outer
from plimsoll.host.server.predict.coverage import skeleton_of
from plimsoll.host.server.predict.passes import NotFollowedError
from plimsoll.host.server.predict.trace import Experts, Operation, Product, Watch, int8_product

AUTO_CLASS = "AutoModelForCausalLM"
SHARED: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"tie_word_embeddings": True},
    "mixtral": {"num_local_experts": 4},
    "phi3": {"sliding_window": 100},
    "gemma2": {"head_dim": 32, "sliding_window": 100},
    "gpt2": {"n_embd": 256, "n_layer": 4, "n_head": 8},
    "olmoe": {"num_experts": 16},
    "stablelm": {},
}
"""Grouped heads, a tie, two mixtures, a window on all layers and one on every other, soft caps, transposed weights."""


def configuration(model_type: str, **more: Any) -> Any:
    return transformers.AutoConfig.for_model(model_type, **{**SHARED, **ARCHITECTURES.get(model_type, {}), **more})


def passes(model_type: str, attention: str = "fused", dtype: str = "bfloat16", **more: Any) -> ForwardPasses:
    return ForwardPasses(skeleton_of(configuration(model_type, **more), AUTO_CLASS, dtype), attention)


def real_model(model_type: str, attention: str) -> Any:
    auto_class: Any = transformers.AutoModelForCausalLM
    model = auto_class.from_config(configuration(model_type), dtype=torch.bfloat16).eval()
    if attention == "eager":
        model.set_attn_implementation("eager")
    return model


def allocated(before: Any, call: Any) -> int:
    """The most bytes that a call has allocated at once beside what was there when it began, by torch's own book, which
    must be open already while `before` makes what the call frees."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as book, torch.inference_mode():
        given = before()
        with record_function("the call"):
            kept = call(given)
    assert book.profiler is not None
    events = book.profiler.kineto_results.events()
    (began,) = (event.start_ns() for event in events if event.name() == "the call")
    live = start = peak = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        live += event.nbytes()
        if event.start_ns() < began:
            start = peak = live
        peak = max(peak, live)
    del kept
    return peak - start


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Each thread of a CPU's fused attention has a scratch of its own, which a GPU's has not."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("attention", ["fused", "eager"])
@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_a_prompt_allocates_what_was_predicted(model_type: str, attention: str) -> None:
    followed = passes(model_type, attention)
    cache, activations = followed.cache(), followed.activations(Quantization.BF16)
    model = real_model(model_type, attention)
    for batch, length in ((1, 256), (3, 130)):
        ids = torch.zeros(batch, length, dtype=torch.long)
        peak = allocated(lambda ids=ids: model(input_ids=ids), lambda _, ids=ids: model(input_ids=ids, use_cache=True))
        predicted = cache.of_prompt(batch, length) + activations.of_prompt(batch, length, all_logits=True)
        # The ids themselves, 8 bytes each, are in the prediction and were there before the book was opened.
        assert predicted - ids.numel() * 8 == pytest.approx(peak, rel=0.001), (batch, length)


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "mixtral"])
def test_one_more_token_allocates_what_was_predicted(model_type: str) -> None:
    followed = passes(model_type)
    activations = followed.activations(Quantization.BF16)
    model = real_model(model_type, "fused")
    batch, length = 2, 300
    ids, token = torch.zeros(batch, length, dtype=torch.long), torch.zeros(batch, 1, dtype=torch.long)
    peak = allocated(
        lambda: model(input_ids=ids, use_cache=True).past_key_values,
        lambda cached: model(input_ids=token, past_key_values=cached, use_cache=True),
    )
    # The ids of the new tokens, 8 bytes each, are in the prediction and were there before the call.
    assert max(moment.at(batch, length) for moment in activations.decode) - 8 * batch == pytest.approx(peak, rel=0.05)


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "phi3", "gemma2"])
def test_the_cache_is_as_large_as_the_real_one(model_type: str) -> None:
    cache = passes(model_type).cache()
    model = real_model(model_type, "fused")
    assert len(cache.layers) == 4
    for length in (40, 260):
        with torch.inference_mode():
            output = model(input_ids=torch.zeros(2, length, dtype=torch.long), use_cache=True)
            prompt = storages(output.past_key_values)
            more = model(
                input_ids=torch.zeros(2, 1, dtype=torch.long), past_key_values=output.past_key_values, use_cache=True
            )
        assert cache.of_prompt(2, length) == prompt
        decoded = sum(
            t.numel() * t.itemsize for layer in more.past_key_values.layers for t in (layer.keys, layer.values)
        )
        assert cache.held(2, length + 1) == decoded


def storages(cache: Any) -> int:
    held = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
        for layer in cache.layers
        for t in (layer.keys, layer.values)
    }
    return sum(held.values())


def test_grouped_heads_and_windows_shrink_the_cache() -> None:
    grouped = passes("llama").cache()
    assert grouped.token_bytes == 4 * 2 * 2 * 32 * 2  # layers, keys and values, kv heads, head size, bytes
    assert passes("llama", num_key_value_heads=8).cache().token_bytes == 4 * grouped.token_bytes
    assert {layer.window for layer in grouped.layers} == {None}
    assert [layer.window for layer in passes("gemma2").cache().layers] == [99, None, 99, None]
    assert [layer.module for layer in grouped.layers] == [f"model.layers.{index}" for index in range(4)]


def test_a_window_is_full_and_then_no_longer_grows() -> None:
    layer = CacheLayer(module="model.layers.0", state_bytes=5, token_bytes=10, window=99)
    assert [layer.held(tokens) for tokens in (1, 99, 100, 10_000)] == [15, 995, 995, 995]


def test_a_deep_model_is_told_by_its_first_layers() -> None:
    shallow, deep = passes("llama", num_hidden_layers=3), passes("llama", num_hidden_layers=60)
    assert shallow.activations(Quantization.BF16) == deep.activations(Quantization.BF16)
    assert len(deep.cache().layers) == 60


def test_eager_attention_grows_with_the_square_of_the_prompt() -> None:
    fused, eager = (passes("llama", kind).activations(Quantization.BF16) for kind in ("fused", "eager"))
    assert eager.of_prompt(1, 8192) > 20 * fused.of_prompt(1, 8192)
    assert fused.of_prompt(1, 8192) == pytest.approx(8 * fused.of_prompt(1, 1024), rel=0.02)


def test_logits_of_all_positions_cost_the_vocabulary_each() -> None:
    activations = passes("llama", vocab_size=50_000).activations(Quantization.BF16)
    every, last = activations.of_prompt(2, 1000, all_logits=True), activations.of_prompt(2, 1000)
    assert every >= 2 * 1000 * 50_000 * 2 > last
    assert activations.last_logits == 50_000 * (2 + 4)


def test_float32_takes_twice_the_cache() -> None:
    assert passes("llama", dtype="float32").cache().token_bytes == 2 * passes("llama").cache().token_bytes


# --- what packed weights add


def test_a_4bit_weight_is_unpacked_for_its_product() -> None:
    followed = passes("llama")
    plain, packed, nested = (
        followed.activations(quantization).of_prompt(1, 8)
        for quantization in (Quantization.BF16, Quantization.NF4, Quantization.NF4_DQ)
    )
    largest = 256 * 1024
    assert 2 * largest - plain < packed - plain <= 2 * largest
    assert nested - packed == 2 * largest // 64 * 4


def test_packed_experts_stay_unpacked_while_they_run() -> None:
    followed = passes("mixtral")
    tensors = 4 * 3 * 256 * 1024
    covered = followed.activations(Quantization.NF4).of_prompt(1, 8)
    stock = followed.activations(Quantization.NF4, experts_covered=False).of_prompt(1, 8)
    assert covered - stock >= 2 * tensors - 2 * 256 * 1024
    int8 = Operation("unpacking experts", 0, 0, experts=Experts(all=300, largest=200, one=50))
    assert int8.bytes(Quantization.INT8, 2, True) == 300 * 2 + 2 * 50 * 4
    assert int8.bytes(Quantization.INT8, 2, False) == int8.bytes(Quantization.BF16, 2, True) == 0


def test_the_product_of_llm_int8_step_by_step() -> None:
    narrow = Product(rows=10, entered=10 * 1000, weight=1000 * 8, left=10 * 8)
    assert int8_product(narrow, 2) == 10 * 4 + 6 * 10 * 1000  # float16 copy, absolute values, mask, packed
    wide = Product(rows=10, entered=10 * 8, weight=1000 * 8, left=10 * 1000)
    assert int8_product(wide, 2) == 10 * 4 + 10 * 8 + (4 + 2 + 2) * 10 * 1000


def test_fused_attention_keeps_a_number_a_row_and_a_mask_in_floats() -> None:
    """Both are made inside of one operation, where nothing can be seen of them."""
    query = torch.empty(2, 8, 16, 32, dtype=torch.bfloat16, device="meta")
    mask = torch.empty(1, 1, 16, 16, dtype=torch.bool, device="meta")
    model = nn.Linear(2, 2, device="meta")
    watch = Watch(model, model)
    steps = watch.begin().steps
    with torch.inference_mode(), watch:
        for masking in (None, mask):
            nn.functional.scaled_dot_product_attention(query, query, query, attn_mask=masking)
    watch.close()
    assert [step.within for step in steps] == [2 * 8 * 16 * 4, 2 * 8 * 16 * 4 + 16 * 16 * 2]
    assert [step.after for step in steps] == [query.nbytes, query.nbytes]


# --- what cannot be followed


def test_what_takes_no_text_says_so() -> None:
    class Deaf(nn.Module):
        pass

    with pytest.raises(NotFollowedError, match="neither it nor a part of it takes text and gives logits"):
        ForwardPasses(Deaf(), "fused")


def test_a_loop_over_tokens_is_given_up_and_not_waited_for() -> None:
    with pytest.raises(NotFollowedError):
        passes("mamba", state_size=4, hidden_size=64, intermediate_size=128, num_hidden_layers=2)


def test_what_a_model_raises_is_the_reason() -> None:
    config = configuration("olmoe", num_experts=4)  # of which it then wants eight a token
    with pytest.raises(NotFollowedError, match="RuntimeError: k not in range"):
        ForwardPasses(skeleton_of(config, AUTO_CLASS, "bfloat16"), "fused")


def test_the_model_is_left_as_it_was() -> None:
    model: Any = skeleton_of(configuration("mixtral"), AUTO_CLASS, "bfloat16")
    ForwardPasses(model, "eager")
    assert len(model.model.layers) == 4
    assert model.config._attn_implementation == "sdpa"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_highest_moment_counts() -> None:
    first = Moment(terms=(1000, 0, 0, 0, 1, 0), operation="a")
    second = Moment(terms=(0, 0, 1, 0, 20, 2), operation="b")
    activations = Activations(prefill=(first, second), head=(), decode=(), last_logits=7)
    assert activations.of_prompt(1, 1) == 1001
    assert activations.of_prompt(2, 100) == 100**2 + 2 * (20 * 100 + 2 * 100**2)
    assert activations.of_prompt(1000, 1) == 1 + 1000 * 22
    assert activations.of_token(400, 5) == 400 * 22 + 1  # no decoding was followed: a prompt of one token stands in


def test_of_alike_moments_the_first_is_named() -> None:
    """A prediction is the same each time, to the word: strings are hashed differently in every process."""
    alike = [Moment(terms=(0, 0, 0, 0, 9, 0), operation=f"aten.{name}") for name in "mnopqrstuvwxyzabcdefghijkl"]
    assert outer(alike) == (alike[0],)
