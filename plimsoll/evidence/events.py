"""Defines the events of a run: the possible lines of `evidence.jsonl`.

A line is `{"event": NAME, "at": ISO time, "worker": "main" | "gw0" ..., "seq": N, ...fields}`. `seq` counts the lines
of one worker from 1, so that a lost line is noticed; `sum` is the checksum of the line, and `after` that of the
worker's line before it (`chain.py`). Names and fields are part of the format that `plimsoll report` reads back, so they
are listed here and nowhere else; a change of meaning raises FORMAT.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

FORMAT: Final = 2
"""Version of the evidence format; written in the `run` event. 1 had neither checksums nor `call` and `close`."""
CHAINED_SINCE: Final = 2


class Event(StrEnum):
    """The kinds of events; each is followed by its fields."""

    RUN = "run"
    """First line. format, run_id, plimsoll, program (`plimsoll run`; left out for pytest), arguments (list), selection
    ({"mark", "keyword", "paths", "options": {name: value} of --weights, --layers and --device where they are not the
    defaults}), allow_incomplete, catalogues ([{path, sha256, shipped}]), limits_are_shipped; packages ({distribution:
    version} of all that is installed); edited (files of the suite that differ from the release, or null); resumes
    ({run_id, sha256} of the run that this one resumes, or null)."""
    WAIVERS = "waivers"
    """path, sha256, text: the waiver file whole, so that every later report can apply it as of the day of the run."""
    NODE = "node"
    """node (Node.to_json())."""
    PLAN = "plan"
    """cells ([{id, variant, model, quantization, tier, subject, question, measures, weights}]), deselected (int: cells
    that -m, -k and paths leave out): written before the first model loads; under workers each writes the same plan.
    Since format 2 the plan is made from catalogue and source; withheld ({cell: why pytest does not run it}), again (the
    command that asks what is withheld), open (checks whose cells are planned as pytest collected them). Since 0.1.0,
    where a user's claims limit nothing, idle ([{origin, metric, unit, dataset, low, high, judged (metrics), variants}]:
    bounds that no check of the suite judges, in base units). A later one without cells adds what a plugin passed over
    in mid-run."""
    GATE = "gate"
    """variant, decision ("run" | "skip" | "error"), code, have, need, fix, text: an error means that nothing could be
    decided, and the cells of the variant fail with the text. Since 0.1.0 also what was expected of the variant before
    anything loaded, in base units: bounds ({metric: {least, expected, most, exact, basis, instead}}), and claims
    ([{metric, low, high, source, quote, limits, conditions, disputed, origin, bounds}]), what documents say of it."""
    HUB = "hub"
    """state ("asked" | "fetched" | "failed" | "vouched"), repository, revision (as the entry has it), commit. Asked:
    answer, text, endpoint, bytes (of all files that are needed), present (of those in the cache), cache (its folder),
    free (bytes there). Fetched: folder, bytes, downloaded, seconds, from_cache, checked (files hashed now),
    check_seconds, unchecked (files of which nobody says a hash). Failed: text. Vouched, of a folder on this disk:
    folder, known (how many of its files have a hash that somebody names), unknown (the others), changed (those of known
    with another content, which somebody may have changed on purpose); since 0.1.0 also model (its id), and files
    ({name: [bytes, time of change in ns, the hash that somebody names of it, or null]} of all that a load reads): by
    them a run that resumes this one tells whether these are still the same weights."""
    HOST = "host"
    """variant, pid, state ("started" | "request" | "died" | "timeout" | "closed"), request, seconds, exitcode, signal,
    stderr (last lines), stack, log (path), error (what a request raised), reason (why it ended); suspended (seconds for
    which the suite itself was stopped meanwhile, left out for none)."""
    LOAD = "load"
    """variant, cache, report (the LoadReport without its inventory)."""
    MEASUREMENT = "measurement"
    """cell, metric, value (number or null), unit, reason, context ({})."""
    JUDGEMENT = "judgement"
    """cell, metric, value, unit, reason, low, high, source, margin, outcome, headroom, text."""
    SAMPLE = "sample"
    """variant, pid, seconds, rss (bytes): memory over time while a host works."""
    HEALTH = "health"
    """variant (or null: the whole run), gpus (indexes that were judged), seconds, samples, first and last ([{index,
    uuid, name, bus, lost, values, unread, absent}]), extremes ({index: {figure: [lowest, highest]}}), xids,
    earlier_xids (of the kernel's log, before the run), findings ([{gpu, index, group, what, action, does, source}]),
    unread ([{gpu, index, group, what, why, fix}]); memory (the GpuMemory of each GPU of the variant)."""
    DATASET = "dataset"
    """What a variant is asked of a dataset, before the first question (answers.py: Asking); structure ({split: what its
    rows came to, and what was left out})."""
    ANSWER = "answer"
    """One example and the model's answer, token by token, with its scores (answers.py: AnswerRecord)."""
    BENCHMARK = "benchmark"
    """cell, benchmark (a row in pytest-benchmark's own format, with its data)."""
    MACHINE = "machine"
    """machine_info, commit_info, version: the head of pytest-benchmark's file."""
    CALL = "call"
    """cell, started (ISO time), seconds, raised (type and text, or null): one call of a check, told by the suite. A
    reported pass counts beside exactly one clean call."""
    REPORT = "report"
    """cell, report (pytest's own serialised test report)."""
    COLLECT_ERROR = "collect_error"
    """nodeid, text: a file that could not be collected; its cells are not in the plan, so the run is not green."""
    CLOSE = "close"
    """events (how many it wrote, this one included): the last line of a worker of xdist."""
    FINISH = "finish"
    """exitstatus (pytest's own), interrupted (bool), reason; since format 2 events (how many it has written, this one
    included) and writers (the workers that were started). Absent where the run was killed."""
