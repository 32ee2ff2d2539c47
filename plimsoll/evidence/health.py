"""Converts what was seen of GPUs to the fields of a HEALTH event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from plimsoll.judge.health import HealthJudgement
from plimsoll.node.kernel_log import KernelXid
from plimsoll.node.watch import HealthWindow


def stretch_fields(
    stretch: HealthWindow, judged: HealthJudgement, indexes: Sequence[int], earlier: Iterable[KernelXid] = ()
) -> dict[str, Any]:
    """Everything but the variant: every figure before and after, how far samples went, Xids, findings and gaps."""
    return {
        "gpus": list(indexes),
        "seconds": round(stretch.seconds, 3),
        "samples": stretch.samples,
        "first": [gpu.to_json() for gpu in stretch.before.gpus],
        "last": [gpu.to_json() for gpu in stretch.after.gpus],
        "extremes": {
            str(index): {name: [each.low, each.high] for name, each in figures.items()}
            for index, figures in stretch.extremes.items()
        },
        "xids": [{"code": x.code, "gpu": x.gpu, "told_by": x.told_by, "text": x.text} for x in stretch.xids],
        "earlier_xids": [{"code": x.code, "bus": x.bus, "text": x.text} for x in earlier],
        "findings": [asdict(finding) for finding in judged.findings],
        "unread": [asdict(blind) for blind in judged.blinds],
    }
