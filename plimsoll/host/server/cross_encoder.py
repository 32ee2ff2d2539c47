"""The process that runs a cross-encoder: gets a model and pairs of texts, sends one score a pair.

`plimsoll.uncertainty.cross_encoder` alone starts it.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from plimsoll.child.inside import Outlet, end_with_parent
from plimsoll.garbage import keep_all

_BATCH: Final = 64


def main() -> int:
    """Score the pairs of standard input; the one message holds the scores, or the error."""
    request: dict[str, Any] = json.load(sys.stdin)
    end_with_parent(request["parent"])
    outlet = Outlet()
    with keep_all():
        from sentence_transformers import CrossEncoder
        from torch.nn import Sigmoid

    try:
        model = CrossEncoder(request["model"])
    except (OSError, ValueError) as error:
        outlet.send(error=f"it cannot be loaded ({error})")
        return 1
    if (labels := model.num_labels) != 1:
        outlet.send(error=f"it gives {labels} scores a pair, and a similarity is one")
        return 1
    # By name, because some cross-encoders are saved without it: a similarity lies from 0 to 1.
    pairs = [tuple(pair) for pair in request["pairs"]]
    scores = model.predict(pairs, batch_size=_BATCH, activation_fn=Sigmoid(), show_progress_bar=False)
    outlet.send(scores=[float(score) for score in scores])
    return 0


if __name__ == "__main__":
    sys.exit(main())
