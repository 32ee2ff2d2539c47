"""Writes, when a session ends, which of torch's family its process imported; asked for by `-p`."""

import os
import sys
from pathlib import Path

FAMILY = ("torch", "transformers", "accelerate", "bitsandbytes", "safetensors", "tokenizers")


def pytest_unconfigure() -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    found = [name for name in FAMILY if name in sys.modules]
    Path(os.environ["TORCH_GUARD"], worker).write_text(",".join(found))
