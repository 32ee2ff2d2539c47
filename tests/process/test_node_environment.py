"""Which variables a probe keeps, and that no part of a secret gets out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.node.environment import MASKED, relevant_environment

ROOT = Path(__file__).parents[2]
SECRET = "Zq7xKp2wRv9sTn4m"
PLANTED = {
    "HF_TOKEN": f"hf_{SECRET}",
    "HUGGINGFACE_HUB_TOKEN": SECRET,
    "PLIMSOLL_API_KEY": SECRET,
    "NVIDIA_NGC_SECRET": SECRET,
    "HF_CLIENT_PASSWORD": SECRET,
    "SLURM_JWT": SECRET,
    "HTTPS_PROXY": f"http://someone:{SECRET}@proxy.example:3128",
    "http_proxy": f"http://{SECRET}@proxy.example:3128",
    "HF_ENDPOINT": f"https://hub.example/?token={SECRET}",
    "HF_HUB_USER_AGENT_ORIGIN": f"hf_{SECRET}",
    "UNRELATED_PASSWORD": f"{SECRET}b",
    "HF_HOME": f"/data/{SECRET}b/cache",
    "TRANSFORMERS_NOTE": f"Authorization: Bearer {SECRET}",
}


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["table", "json"])
def test_no_part_of_a_planted_secret_is_printed(arguments: list[str]) -> None:
    environment = {"PATH": os.environ["PATH"], **PLANTED, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "1,0"}
    # The folder of the weights is printed too; here the variable that names it is what is looked at.
    environment["HF_HUB_CACHE"] = "/tmp"  # noqa: S108  only measured
    command = [sys.executable, "-m", "plimsoll", "probe", *arguments]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    output = done.stdout + done.stderr
    parts = {SECRET[start : start + 4] for start in range(len(SECRET) - 3)}
    assert not [part for part in parts if part in output]
    for name in ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HTTPS_PROXY", "http_proxy", "HF_ENDPOINT", "HF_HOME"):
        assert name in output
    assert "1,0" in output
    assert output.count(MASKED) == len(PLANTED) - 2  # UNRELATED_PASSWORD and SLURM_JWT are not relevant


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
