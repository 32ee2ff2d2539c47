"""Makes the fields of events of what hosts answer and GPUs tell while a run lasts.

Apart from `encoding`, because whoever reads evidence needs nothing of hosts: to import all that they are asked and
answer takes a tenth of a comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from plimsoll.host.protocol import Inventory, LoadReport
from plimsoll.judge.health import HealthJudgement
from plimsoll.node.kernel_log import KernelXid
from plimsoll.node.watch import HealthWindow


def load_fields(report: LoadReport) -> dict[str, Any]:
    """The `report` field of a LOAD event: everything but the inventory, which is as long as the model is deep."""
    fields = asdict(replace(report, inventory=Inventory(parameters=(), buffers=())))
    del fields["inventory"]
    return fields


def health_fields(
    window: HealthWindow, judged: HealthJudgement, indexes: Sequence[int], earlier: Iterable[KernelXid] = ()
) -> dict[str, Any]:
    """The fields of a HEALTH event, without the variant: figures before and after, extremes of samples, Xids, findings,
    gaps."""
    return {
        "gpus": list(indexes),
        "seconds": round(window.seconds, 3),
        "samples": window.samples,
        "first": [gpu.to_json() for gpu in window.before.gpus],
        "last": [gpu.to_json() for gpu in window.after.gpus],
        "extremes": {
            str(index): {name: [each.low, each.high] for name, each in figures.items()}
            for index, figures in window.extremes.items()
        },
        "xids": [{"code": x.code, "gpu": x.gpu, "told_by": x.told_by, "text": x.text} for x in window.xids],
        "earlier_xids": [{"code": x.code, "bus": x.bus, "text": x.text} for x in earlier],
        "findings": [asdict(finding) for finding in judged.findings],
        "unread": [asdict(blind) for blind in judged.blinds],
    }
