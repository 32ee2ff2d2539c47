"""Which variables a probe keeps, and that no part of a secret gets out."""

from __future__ import annotations

import pytest

from plimsoll.node.environment import MASKED, relevant_environment


def test_what_matters_is_kept_as_it_is() -> None:
    kept = {
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "2",
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        "TOKENIZERS_PARALLELISM": "false",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "SLURM_JOB_ID": "4711",
        "HF_TOKEN": "",
    }
    assert relevant_environment({**kept, "PATH": "/bin", "SLURM_JOB_NAME": "mine", "HOME": "/root"}) == kept


def test_a_short_value_of_a_secret_does_not_mask_the_rest() -> None:
    environment = {"SOME_KEY": "1", "OMP_NUM_THREADS": "1"}
    assert relevant_environment(environment) == {"OMP_NUM_THREADS": "1"}


def test_bytes_that_are_not_text_are_escaped() -> None:
    assert relevant_environment({"HF_HOME": "/data/\udcff"}) == {"HF_HOME": "/data/\\udcff"}


@pytest.mark.parametrize(
    "value",
    [
        "http://someone:word@proxy.example:3128",
        "http://word@proxy.example",
        "https://hub.example/?token=word",
        "https://hub.example/?x=1&X-Signature=word",
        "Authorization: Bearer word",
        "hf_abcdefghijkl",
        "path:ghp_abcdefghijkl",
    ],
)
def test_a_value_that_looks_like_a_secret_is_masked_whatever_its_name(value: str) -> None:
    assert relevant_environment({"HTTPS_PROXY": value}) == {"HTTPS_PROXY": MASKED}
