"""Names the environment variables by which GPUs multiply float32 otherwise than torch asks them to.

TF32 keeps ten bits of a factor: an error some hundred times that of float32, which nothing in a failure explains, for
the variable stands in an image that somebody else made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ALLOWED: Final = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"
_DRIVER: Final = "NVIDIA_TF32_OVERRIDE"


def rounded_causes(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Why products in float32 may be rounded to TF32; empty where no variable lets them be."""
    if environment.get(_ALLOWED) != "1":
        return ()
    return (
        f"{_ALLOWED}=1, which NVIDIA's images set, has GPUs round the factors of products in float32 to TF32: unset it "
        "and run again, or leave fp32 out (-k 'not fp32') where TF32 is what you want",
    )


def exact_causes(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Why products in TF32 may be computed in float32, at a tenth of the speed; empty where no variable forbids
    TF32."""
    if environment.get(_DRIVER) != "0":
        return ()
    return (f"{_DRIVER}=0 has NVIDIA's libraries compute in float32 whatever is asked for: unset it and run again",)
