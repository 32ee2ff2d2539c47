"""Collects the environment variables that change what is loaded or measured, with secrets masked.

Evidence and reports are attached to sign-offs and read by many: they must hold no token, not even a part of one. A
variable that only looks like a secret is masked too, which costs little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

MASKED: Final = "set, masked"
"""The text in place of a secret. That it is set matters: huggingface_hub reads only some of these variables."""

_RELEVANT: Final = re.compile(
    r"""
    (CUDA|CUDNN|CUBLAS|NVIDIA|NCCL|HIP|ROCR|GPU|TORCH|TORCHINDUCTOR|TRITON|PYTORCH|TRANSFORMERS|ACCELERATE|SAFETENSORS
    |TOKENIZERS|BNB|BITSANDBYTES|HF|HUGGING\w*|OMP|GOMP|KMP|MKL|OPENBLAS|PLIMSOLL)_ .*
    | SLURM_(JOB_ID|JOB_NODELIST|JOB_PARTITION|JOB_GPUS|STEP_GPUS|GPUS_ON_NODE|CPUS_PER_TASK|CPUS_ON_NODE|MEM_PER_NODE)
    | LD_LIBRARY_PATH | LD_PRELOAD | MALLOC_ARENA_MAX | PYTHONHASHSEED | TMPDIR | XDG_CACHE_HOME
    | RANK | LOCAL_RANK | WORLD_SIZE
    | (HTTP|HTTPS|ALL|NO)_PROXY
    """,
    re.VERBOSE | re.IGNORECASE,
)

# TOKENIZERS_PARALLELISM holds no token.
_SECRET_NAME: Final = re.compile(
    r"TOKEN(?!IZ)|KEY|SECRET|PASS(WORD|WD|PHRASE)|CREDENTIAL|AUTH|BEARER|COOKIE|JWT", re.IGNORECASE
)

_SECRET_VALUE: Final = re.compile(
    r"""
    ://[^/\s]*@                                      # credentials in a URL
    | (token|key|secret|password|passwd|auth|sig(nature)?)\s*[=:]  # in a query, a header or an option
    | \bbearer\s
    | \b(hf_|api_org_|ghp_|gho_|ghs_|github_pat_|glpat-|sk-|xox[a-z]-|AKIA|eyJ)[\w-]{6,}
    """,
    re.VERBOSE | re.IGNORECASE,
)

_SHORTEST_SECRET: Final = 6
"""Shorter values of secret variables are not searched for in other values: `1` would mask everything."""


def relevant_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The relevant variables by name; the whole value of anything secret is replaced by MASKED.

    A value counts as secret by its variable's name, by its form, or because it contains the value of any secret
    variable, relevant or not. Bytes that are not UTF-8 are escaped, so that the result fits into JSON.
    """
    secrets = [v for name, v in environment.items() if _SECRET_NAME.search(name) and len(v) >= _SHORTEST_SECRET]
    return {
        name: _shown(name, value, secrets) for name, value in sorted(environment.items()) if _RELEVANT.fullmatch(name)
    }


def _shown(name: str, value: str, secrets: list[str]) -> str:
    secret = _SECRET_NAME.search(name) or _SECRET_VALUE.search(value) or any(s in value for s in secrets)
    if value and secret:
        return MASKED
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
