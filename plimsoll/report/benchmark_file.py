"""benchmark.json: the timings in pytest-benchmark's own format, so that its tools and every service that reads it can.

pytest-benchmark writes no file under xdist, and none for a run that was killed. This one comes from evidence, so it
exists in both cases and holds the same rows.
"""

from __future__ import annotations

import json
from typing import Any

from plimsoll.evidence.fields import encode
from plimsoll.evidence.record import RunRecord


def benchmarks(record: RunRecord) -> dict[str, Any]:
    """The content of benchmark.json; a run that was killed early may lack the description of the machine."""
    machine = record.machine or {"machine_info": {}, "commit_info": {}, "version": None}
    content: dict[str, Any] = encode(
        {
            "machine_info": machine["machine_info"],
            "commit_info": machine["commit_info"],
            "benchmarks": record.benchmarks,
            "datetime": None if record.run is None else record.run.started,
            "version": machine["version"],
        }
    )
    return content


def benchmark_text(record: RunRecord) -> str:
    """benchmark.json as text."""
    return json.dumps(benchmarks(record), indent=4, allow_nan=False) + "\n"
