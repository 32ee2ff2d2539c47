"""A file that `pytest --benchmark-json` or `--benchmark-save` wrote, as one side of a comparison.

Any project's benchmarks can be compared this way, Plimsoll's or not. Such a file names the processor but no GPU, and
holds no outcomes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from plimsoll.compare.benchmark_rows import read_row
from plimsoll.compare.machine import machine_of_benchmark_file
from plimsoll.compare.side import Side, SideKind, pooled
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.usertoml.reading import read_file


def read_benchmark_file(path: Path) -> Side:
    """The side that the file holds. Raises PlimsollError for a file that cannot be read, is none of
    pytest-benchmark's, or contradicts itself."""
    content = _content(path)
    timed, notes = pooled([read_row(row, f"{path}: benchmarks[{i}]") for i, row in enumerate(content["benchmarks"])])
    if not timed:
        raise PlimsollError(f"{path} holds no benchmarks; give a file that `pytest --benchmark-json=FILE` wrote")
    if bare := sum(not t.rounds for t in timed.values()):
        notes = (
            *notes,
            f"{bare} of {len(timed)} benchmarks hold a summary and no rounds: save with --benchmark-json or "
            "--benchmark-save-data to have them",
        )
    return Side(
        name=path.name,
        path=path,
        kind=SideKind.BENCHMARK_FILE,
        machine=machine_of_benchmark_file(content, tuple(timed.values())),
        verdict=None,
        cells=None,
        timed=timed,
        figures={},
        notes=notes,
    )


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(read_file(path), parse_constant=_refuse)
    except OSError as error:
        raise PlimsollError(f"{path} cannot be read ({reason_of(error)})") from None
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, json.JSONDecodeError) else "it is not JSON in UTF-8"
        raise PlimsollError(f"{path} is not a file of pytest-benchmark: {reason}") from None
    if not isinstance(content, dict) or not isinstance(content.get("benchmarks"), list):
        raise PlimsollError(
            f"{path} is not a file of pytest-benchmark: it has no list `benchmarks`; "
            "give one that `pytest --benchmark-json=FILE` wrote, or a run folder"
        )
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
