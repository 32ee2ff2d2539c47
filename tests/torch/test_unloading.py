"""What lives on after a model was dropped: weights that somebody refers to are told, packed ones too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from plimsoll.catalogue.entries import Quantization
from plimsoll.host.server import unloading
from plimsoll.host.server.loading import load
from tests.support.random_checkpoints import load_spec, save_checkpoint

QUANTIZATIONS = [Quantization.BF16, Quantization.INT8, Quantization.NF4, Quantization.NF4_DQ]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint("llama", tmp_path_factory.mktemp("unloading") / "llama")


@pytest.mark.parametrize("quantization", QUANTIZATIONS, ids=str)
def test_a_dropped_model_leaves_no_tensor_of_its_weights(checkpoint: Path, quantization: Quantization) -> None:
    before = unloading.release()
    model = load(load_spec(checkpoint, "llama", quantization), "as-is")
    with torch.inference_mode():
        model.model(input_ids=torch.arange(12)[None])
    held = unloading.release() - before
    assert held >= 200_000
    del model
    assert abs(unloading.release() - before) < 10_000


@pytest.mark.parametrize("quantization", QUANTIZATIONS, ids=str)
def test_a_weight_that_somebody_keeps_is_counted(checkpoint: Path, quantization: Quantization) -> None:
    before = unloading.release()
    model = load(load_spec(checkpoint, "llama", quantization), "as-is")
    whole: Any = model.whole
    kept = whole.model.layers[0].mlp.up_proj.weight
    size = kept.untyped_storage().nbytes()
    del model, whole
    assert unloading.release() - before >= size > 10_000
