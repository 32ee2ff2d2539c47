"""Which variables a probe keeps, and that no part of a secret gets out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.node.environment import MASKED

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
