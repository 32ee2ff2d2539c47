"""Synthetic weights: the tensors themselves, and models of many kinds loaded from them by `from_pretrained`."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.core_model_loading import _materialize_copy

from plimsoll.catalogue.entries import Generation, Quantization
from plimsoll.errors import PlimsollError
from plimsoll.host.protocol import CompareBatch, CompareCache, Generate, LoadSpec, Score
from plimsoll.host.server import caching, generation
from plimsoll.host.server.failures import LoadFailed
from plimsoll.host.server.loading import LoadedModel, load
from plimsoll.host.server.predict.checkpoint_names import published_names
from plimsoll.host.server.predict.coverage import build_skeleton
from plimsoll.host.server.predict.variant import footprint_of
from plimsoll.host.server.synthetic import SyntheticTensor, UnplacedTensor, make_up
from tests.support.random_checkpoints import ARCHITECTURES, AUTO_CLASS, CONFIGS, save_checkpoint

_SMALL: Mapping[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
OTHERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "gemma2": ("Gemma2ForCausalLM", {**_SMALL, "head_dim": 32}),
    "gpt2": ("GPT2LMHeadModel", {"vocab_size": 320, "n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "granitemoe": ("GraniteMoeForCausalLM", {**_SMALL, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "olmoe": ("OlmoeForCausalLM", {**_SMALL, "num_experts": 4, "num_experts_per_tok": 2}),
}
"""Architectures that no code of ours mentions, two more mixtures of experts among them."""

PROMPTS = ((5, 6, 7, 8, 9, 10, 11), (20, 21, 22), (30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40))


def architecture_of(family: str) -> tuple[str, Mapping[str, Any]]:
    """The class, and the configuration with its model type."""
    if family in CONFIGS:
        return ARCHITECTURES[family], CONFIGS[family]
    name, config = OTHERS[family]
    return name, {"model_type": family, **config}


def synthetic_spec(family: str, quantization: Quantization, **changes: Any) -> LoadSpec:
    architecture, config = architecture_of(family)
    fields: dict[str, Any] = {
        "checkpoint": f"no-such-{family}",
        "revision": None,
        "auto_class": AUTO_CLASS,
        "architecture": architecture,
        "quantization": quantization,
        "device": "cpu",
        "device_map": None,
        "attention": "eager",
        "generation": Generation(max_new_tokens=8),
        "synthetic_config": config,
    }
    return LoadSpec(**{**fields, **changes})


def made_up(family: str, **config: Any) -> Mapping[str, SyntheticTensor | torch.Tensor]:
    architecture, configuration = architecture_of(family)
    return make_up({**configuration, **config}, AUTO_CLASS, architecture).tensors


@pytest.mark.parametrize("family", [*CONFIGS, *OTHERS])
def test_files_have_the_names_that_a_prediction_goes_by(family: str) -> None:
    architecture, config = architecture_of(family)
    model = build_skeleton(config, AUTO_CLASS, architecture, "bfloat16")
    published = published_names(model)
    names = {published.get(name, name) for name, _ in model.named_parameters()}
    assert names <= made_up(family).keys()
    if family == "mixtral":
        assert published["model.layers.1.mlp.experts.gate_up_proj"] == (
            "model.layers.1.block_sparse_moe.experts.0.w1.weight"
        )
    if family == "llama":
        assert published == {}


# The tensors ----------------------------------------------------------------------------------------------------------


def test_a_tensor_looks_like_a_slice_of_safetensors_and_exists_once_it_is_read() -> None:
    tensor = SyntheticTensor("w", (600, 4096), 0.02)
    assert (tensor.shape, tensor.get_shape(), tensor.get_dtype()) == ((600, 4096), [600, 4096], "BF16")
    values = tensor[...]
    assert (values.shape, values.dtype, values.device.type) == ((600, 4096), torch.bfloat16, "cpu")
    assert values.untyped_storage().nbytes() == 2 * 600 * 4096
    assert torch.equal(tensor[7:9], values[7:9])
    assert tensor[...].data_ptr() != values.data_ptr(), "a copy that is kept would hold the memory of a whole model"


def test_the_values_of_a_tensor_are_the_same_bits_in_every_release() -> None:
    """Evidence of two releases is compared, and so are the loads of two nodes."""
    values = SyntheticTensor("model.layers.0.mlp.up_proj.weight", (600, 4096), 0.02)[...]
    digest = hashlib.sha256(values.view(torch.int16).numpy().tobytes()).hexdigest()
    assert digest == "17ac4cd2fa253544e143614808a0e03e4aa1ea850adf06a11ee9e74c9f82e374"


@pytest.mark.parametrize("shape", [(600, 4096), (262_139,), (3, 5), (4, 300, 512), (2, 262_139)])
def test_a_part_has_the_values_that_it_has_in_the_whole(shape: tuple[int, ...]) -> None:
    tensor = SyntheticTensor("w", shape, 0.02)
    whole = tensor[...]
    rows = shape[0]
    for start, stop in ((0, rows), (1, rows), (rows // 2, rows // 2 + 1), (rows - 1, rows), (1, 1)):
        part = tensor[start:stop]
        assert torch.equal(part, whole[start:stop]), (start, stop)
        assert part.untyped_storage().nbytes() == 2 * part.numel(), "a part is made without the whole"
    part = tensor[:]
    part.zero_()
    assert torch.equal(tensor[...], whole), "what is kept of a tensor is handed out"
    assert torch.equal(tensor[0:rows:2], whole[0:rows:2])


def test_the_number_of_threads_is_nothing_to_the_values() -> None:
    threads = torch.get_num_threads()
    made = []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            made.append(SyntheticTensor("w", (700, 4096), 0.02)[...])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])


def test_values_are_normal_and_no_row_repeats_another() -> None:
    values = SyntheticTensor("w", (600, 4096), 0.02)[...].float()
    assert values.mean().abs() < 1e-3
    assert float(values.std()) == pytest.approx(0.02, rel=0.01)
    assert len(torch.unique(values[:, :64], dim=0)) == 600
    assert len(torch.unique(values[:64], dim=1).T) == 4096


def test_values_follow_from_the_name_alone() -> None:
    deep, shallow = made_up("mixtral"), made_up("mixtral", num_hidden_layers=1)
    assert set(shallow) < set(deep)
    for name in reversed(list(shallow)):
        assert torch.equal(shallow[name][...], deep[name][...]), name
    matrices = [tensor[...] for tensor in deep.values() if isinstance(tensor, SyntheticTensor)]
    heads = {tuple(matrix.flatten()[:8].tolist()) for matrix in matrices}
    assert len(heads) == len(matrices), "two tensors are the same"


def test_vectors_are_as_the_architecture_initialises_them() -> None:
    assert torch.equal(made_up("llama")["model.norm.weight"][...], torch.ones(128, dtype=torch.bfloat16))
    # Gemma scales by one more than the weight.
    assert torch.equal(made_up("gemma2")["model.norm.weight"][...], torch.zeros(128, dtype=torch.bfloat16))
    assert torch.equal(
        made_up("qwen2")["model.layers.0.self_attn.q_proj.bias"][...], torch.zeros(128, dtype=torch.bfloat16)
    )


def test_the_spread_is_the_architectures_own() -> None:
    spread = made_up("llama", initializer_range=0.3)["model.embed_tokens.weight"][...].float().std()
    assert float(spread) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("family", CONFIGS)
def test_names_and_shapes_are_those_of_a_published_checkpoint(family: str, tmp_path: Path) -> None:
    saved: dict[str, tuple[int, ...]] = {}
    for file in save_checkpoint(family, tmp_path).glob("*.safetensors"):
        with safe_open(file, framework="pt") as shard:
            saved |= {name: tuple(shard.get_slice(name).get_shape()) for name in shard.keys()}  # noqa: SIM118
    assert {name: tuple(tensor.shape) for name, tensor in made_up(family).items()} == saved


def test_a_configuration_of_another_class_is_refused() -> None:
    with pytest.raises(PlimsollError, match="builds LlamaForCausalLM"):
        make_up(CONFIGS["llama"], AUTO_CLASS, "MistralForCausalLM")


class _OnTheCpu(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """The most numbers of a tensor that came to be on the CPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type == "cpu":
            self.most = max(self.most, result.numel())
        return result


def test_a_matrix_is_made_where_the_loader_wants_it() -> None:
    """The loader's own function moves it; a device that holds nothing shows that it was not made elsewhere first."""
    (tensor,) = [
        tensor
        for name, tensor in make_up(
            {**CONFIGS["llama"], "vocab_size": 16_384}, AUTO_CLASS, ARCHITECTURES["llama"]
        ).state_dict.items()
        if name == "lm_head.weight"
    ]
    assert isinstance(tensor, UnplacedTensor)
    placed: Any = tensor
    with _OnTheCpu() as there:
        made = _materialize_copy(placed, "meta", torch.float16)
    assert (made.device.type, made.dtype, made.shape) == ("meta", torch.float16, (16_384, 128))
    assert 0 < there.most < made.numel() / 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("shape", [(600, 4096), (3, 5), (4, 300, 512)])
def test_a_matrix_has_the_same_bits_wherever_it_is_made(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """As a file's tensor that is converted and moved."""
    tensor = SyntheticTensor("w", shape, 0.02)
    unplaced: Any = UnplacedTensor(tensor)
    made = _materialize_copy(unplaced, torch.device("cpu", 0), dtype)
    assert torch.equal(made, tensor[...].to(dtype))


def test_every_matrix_is_asked_for_with_the_place_of_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model in parts, on the CPU under two names; what hooks between the parts would do comes after all is read."""
    monkeypatch.setattr(transformers.modeling_utils, "accelerate_dispatch", lambda *_, **__: None)
    asked: list[tuple[str, str]] = []
    original = SyntheticTensor.made_on

    def watched(self: SyntheticTensor, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        asked.append((self._name, str(device)))
        return original(self, device, dtype)

    monkeypatch.setattr(SyntheticTensor, "made_on", watched)
    parts = {"model.embed_tokens": "cpu", "model.layers.0": "cpu:0", "model.layers.1": "cpu"}
    rest = {"model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu:0"}
    load(synthetic_spec("llama", Quantization.BF16, device_map={**parts, **rest}), "as-is")
    assert len(asked) == len({name for name, _ in asked}) == 2 + 2 * 7
    assert {name for name, place in asked if place == "cpu:0"} == {
        name for name, _ in asked if name.startswith(("model.layers.0.", "lm_head"))
    }


# Loading --------------------------------------------------------------------------------------------------------------


def check(loaded: LoadedModel, family: str, quantization: Quantization) -> None:
    """Complete, stored as predicted, and able to compute."""
    report = loaded.report
    assert (report.missing_keys, report.unexpected_keys, report.mismatched_keys, report.meta_parameters) == ((),) * 4
    architecture, config = architecture_of(family)
    assert report.model_class == architecture
    skeleton = build_skeleton(config, AUTO_CLASS, architecture, quantization.compute_dtype)
    assert report.inventory.stored_bytes == footprint_of(skeleton, quantization).weight_bytes
    assert not [record.name for record in report.inventory.parameters if record.faults]
    with torch.no_grad():
        logits = loaded.model(torch.tensor([[1, 5, 6, 7]])).logits.float()
    assert torch.isfinite(logits).all()
    assert logits.std() > 0.01, "weights that are all alike show nothing"


@pytest.mark.parametrize("quantization", Quantization, ids=str)
@pytest.mark.parametrize("family", CONFIGS)
def test_models_load_whole_and_take_the_bytes_that_were_predicted(family: str, quantization: Quantization) -> None:
    loaded = load(synthetic_spec(family, quantization), "as-is")
    check(loaded, family, quantization)
    packs_experts = family == "mixtral" and quantization.is_quantized
    assert loaded.report.expert_quantization == ("plimsoll" if packs_experts else None)


@pytest.mark.parametrize("quantization", [Quantization.BF16, Quantization.INT8, Quantization.NF4_DQ], ids=str)
@pytest.mark.parametrize("family", OTHERS)
def test_so_do_architectures_that_nobody_has_thought_of(family: str, quantization: Quantization) -> None:
    check(load(synthetic_spec(family, quantization), "as-is"), family, quantization)


def test_the_report_says_that_nothing_was_read() -> None:
    loaded = load(synthetic_spec("llama", Quantization.BF16), "cold")
    report = loaded.report
    assert report.synthetic
    assert loaded.tokenizer is None
    assert (report.checkpoint_files, report.checkpoint_bytes, report.resolved_revision) == ((), 0, None)
    assert (report.cache.asked, report.cache.resident) == ("cold", None)
    assert report.cache.note == "synthetic weights are read from no file"
    assert (report.memory.mapped, report.memory.mapped_resident) == (None, None)
    assert report.warnings == ()
    ends = loaded.model.generation_config
    assert (ends.eos_token_id, ends.pad_token_id, ends.bos_token_id) == ([2], 0, 1)


def test_a_load_that_fails_names_the_model() -> None:
    with pytest.raises(LoadFailed, match=r"no-such-llama: .*flash_attention_9"):
        load(synthetic_spec("llama", Quantization.BF16, attention="flash_attention_9"), "as-is")


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """For each tensor that was read, the names of all that were there then."""
    read: dict[str, weakref.ref[torch.Tensor]] = {}
    together: list[set[str]] = []
    original = SyntheticTensor.made_on

    def watched(self: SyntheticTensor, *where: Any) -> torch.Tensor:
        values = original(self, *where)
        read[self._name] = weakref.ref(values)
        together.append({name for name, one in read.items() if one() is not None})
        return values

    monkeypatch.setattr(SyntheticTensor, "made_on", watched)
    return together


@pytest.mark.parametrize("quantization", [Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ], ids=str)
def test_one_weight_at_a_time_is_in_16_bit(quantization: Quantization, alive: list[set[str]]) -> None:
    load(synthetic_spec("llama", quantization), "as-is")
    assert len(alive) == 2 + 2 * 7
    packed = [{name for name in names if "_proj." in name} for names in alive]
    assert max(map(len, packed)) == 1, packed


def test_experts_come_and_go_by_the_tensor_they_are_joined_to(alive: list[set[str]]) -> None:
    load(synthetic_spec("mixtral", Quantization.NF4), "as-is")
    assert len(alive) == 2 + 2 * (4 + 1 + 4 * 3)
    experts = [{name for name in names if ".experts." in name} for names in alive]
    assert max(map(len, experts)) == 2 * 4, "two projections of four experts make one tensor"


# Prompts without words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_token_ids_are_answered_and_compared(family: str) -> None:
    loaded = load(synthetic_spec(family, Quantization.NF4), "as-is")
    answer = generation.generate(loaded, Generate(questions=PROMPTS, max_new_tokens=5, batch_size=2))
    assert answer.finite
    assert [completion.prompt_tokens for completion in answer.completions] == [7, 3, 11]
    assert all(completion.text == "" for completion in answer.completions)
    assert all(len(completion.token_ids) == 5 or completion.ended for completion in answer.completions)
    assert (answer.pad_token, answer.eos_tokens) == ("0", ("2",))
    cache = caching.compare_cache(loaded, CompareCache(questions=PROMPTS, new_tokens=4))
    batch = generation.compare_batch(loaded, CompareBatch(questions=PROMPTS))
    assert cache is not None
    assert (cache.positions, batch.positions) == (12, 3)
    assert max(cache.divergence, batch.divergence) < 0.1


def test_ids_are_scored_against_the_same_weights_in_16_bit(tmp_path: Path) -> None:
    saved = str(tmp_path / "reference.safetensors")
    request = {"questions": PROMPTS, "answers": ((3, 4), (5, 6), (7, 8))}
    reference = load(synthetic_spec("llama", Quantization.BF16), "as-is")
    assert generation.score(reference, Score(**request, save_to=saved)).positions == 6  # type: ignore[arg-type]
    packed = load(synthetic_spec("llama", Quantization.NF4), "as-is")
    near = generation.score(packed, Score(**request, compare_with=saved))  # type: ignore[arg-type]
    assert near.mean_kl is not None
    assert 0 < near.mean_kl < 0.01
    with torch.no_grad():
        packed.model.lm_head.weight.neg_()
    far = generation.score(packed, Score(**request, compare_with=saved))  # type: ignore[arg-type]
    assert far.mean_kl is not None
    assert far.mean_kl > 10 * near.mean_kl
