"""Runs a cross-encoder: reads `{"model": ..., "pairs": [[a, b], ...]}`, writes one score a pair as its last line.

Started by `cross_encoder.py`; it stands alone so that nothing else ever holds torch.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

_BATCH: Final = 64


def main() -> int:
    """Score the pairs of standard input. What goes wrong is one line on standard error, and status 1."""
    request: dict[str, Any] = json.load(sys.stdin)
    from sentence_transformers import CrossEncoder
    from torch.nn import Sigmoid

    try:
        model = CrossEncoder(request["model"])
    except (OSError, ValueError) as error:
        print(f"it cannot be loaded ({error})", file=sys.stderr)
        return 1
    if (labels := model.num_labels) != 1:
        print(f"it gives {labels} scores a pair, and a similarity is one", file=sys.stderr)
        return 1
    # By name, because some cross-encoders are saved without it: a similarity lies from 0 to 1.
    pairs = [tuple(pair) for pair in request["pairs"]]
    scores = model.predict(pairs, batch_size=_BATCH, activation_fn=Sigmoid(), show_progress_bar=False)
    print(json.dumps([float(score) for score in scores]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
