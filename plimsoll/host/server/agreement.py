"""Hashes the logits that a device computes with one model, round after round, to the last bit.

Two devices of one product on one stack must give the same bits, and one device the same bits each time: a difference is
an error that no tolerance would show.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import torch

from plimsoll import clock
from plimsoll.host.rates import WAYS, Bits, ComputeBits, way_name
from plimsoll.host.server.generation import bits_of
from plimsoll.host.server.golden import decoded, load_model, save_model
from plimsoll.host.server.repeatable import repeatable

_WORKSPACE: Final = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""With workspaces of a fixed size cuBLAS adds up in the same order each time (its documentation, "Results
reproducibility")."""


@torch.inference_mode()
def compute_bits(request: ComputeBits) -> Bits:
    """Load the model and hash its logits in every way, until rounds and seconds are both enough.

    Raises LoadFailed where the weights that were made are not all read.
    """
    began = clock.monotonic()
    os.environ.setdefault(*_WORKSPACE)
    with repeatable(), tempfile.TemporaryDirectory(prefix="plimsoll-agreement-") as name:
        weights = save_model(Path(name), request.model)
        model = load_model(Path(name), request.model)
        model.set_attn_implementation(request.model.attentions[0])
        first, finite = _round(model, request)
        unsteady: dict[str, int] = {}
        rounds = 1
        while rounds < request.rounds or clock.monotonic() - began < request.least_seconds:
            rounds += 1
            again, fine = _round(model, request)
            finite = finite and fine
            for way in first:
                if again[way] != first[way]:
                    unsteady.setdefault(way, rounds)
    return Bits(
        digests=first,
        rounds=rounds,
        unsteady=unsteady,
        finite=finite,
        weights_sha256=weights,
        seconds=clock.monotonic() - began,
    )


def _round(model: Any, request: ComputeBits) -> tuple[dict[str, str], bool]:
    """The digest of each way, and whether every logit was finite."""
    texts = torch.tensor(request.model.tokens, device=model.device)
    split = request.model.texts
    digests, finite = {}, True
    for batch in request.batches:
        # A text more than there are begins with the first again.
        ids = texts[torch.arange(batch, device=texts.device) % len(texts)]
        ways = (
            model(input_ids=ids, use_cache=False).logits,
            decoded(model, ids[:, : split.prefix + split.decoded], split.prefix),
        )
        for way, logits in zip(WAYS, ways, strict=True):
            digests[way_name(batch, way)] = hashlib.sha256(b"".join(bits_of(logits))).hexdigest()
            finite = finite and bool(torch.isfinite(logits).all())
    return digests, finite
