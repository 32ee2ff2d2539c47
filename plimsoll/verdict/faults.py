"""Finds faults, for which a run cannot be accepted whatever its checks say, and notes for readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from plimsoll.catalogue.overrides import CPU, GPU, alterations_of
from plimsoll.catalogue.settings import LOAD, read_settings
from plimsoll.errors import PlimsollError
from plimsoll.evidence.record import RunRecord
from plimsoll.evidence.sameness import RunBasis, commits_of_the_hub, weights_of_folders
from plimsoll.hub.files import LEFT_OUT
from plimsoll.hub.vouching import FileState, unlike_file
from plimsoll.node.driver import missing_gpus
from plimsoll.units import counted
from plimsoll.verdict.cells import CellOutcome, is_of_a_plugin
from plimsoll.verdict.union import lineages, run_results

_UNREMARKABLE_ENDS: Final = (0, 1, 5)
"""pytest's statuses for a complete session: all passed, some failed, nothing collected."""
_MOST_DIFFERENCES: Final = 8
_STACK: Final = "acceptance/test_node.py::test_stack"
"""The check that answers --expect-gpus; where it is not selected, the verdict does."""
_SOAK: Final = "acceptance/test_soak.py::test_soak"


def record_faults(record: RunRecord) -> list[str]:
    """The faults of every run in the record; with several, each says which run it is about.

    An interrupted run is no fault where another resumed it: then that run's end counts.
    """
    went_on = {run.run_id for line in lineages(record.runs) for run in line[:-1]}
    return _faults(record.runs, went_on)


def lasting_faults(record: RunRecord) -> list[str]:
    """The faults of a record that no resuming run can repair."""
    return _faults(record.runs, {run.run_id for run in record.runs})


def _faults(runs: Sequence[RunRecord], went_on: Collection[str]) -> list[str]:
    faults = []
    for run in runs:
        prefix = f"{run.run_id}: " if len(runs) > 1 else ""
        own = [
            *_of_the_past(run, runs),
            *_of_the_end(run, continued=run.run_id in went_on),
            *_of_the_options(run, {cell.id.partition("[")[0] for other in runs for cell in other.plan}),
        ]
        faults += [f"{prefix}{fault}" for fault in own]
    return [*faults, *_plans_that_differ(runs), *_weights_that_differ(runs), *_commits_that_differ(runs)]


def _of_the_past(run: RunRecord, runs: Sequence[RunRecord]) -> list[str]:
    resumes = None if run.run is None else run.run.resumes
    if resumes is None:
        return []
    earlier = next((other for other in runs if other.run_id == resumes.run_id), None)
    if earlier is None:
        return [f"it resumes run {resumes.run_id}, whose evidence is not here; give both runs"]
    if resumes.sha256 not in {file.sha256 for file in earlier.files}:
        return [f"the evidence of run {resumes.run_id} is not what it was when this run resumed it"]
    return []


def _of_the_end(run: RunRecord, *, continued: bool) -> list[str]:
    faults = []
    if run.run is None:
        faults.append("the first line of the evidence is missing: nobody knows what was asked for")
    if not continued:
        faults += _early_end(run)
    end = run.finish
    explained = end is not None and end.exitstatus == 5 and all(cell.id in run.withheld for cell in run.plan)
    if end is not None and not end.interrupted and end.exitstatus in (1, 5) and not (explained or _has_failed(run)):
        faults.append(f"pytest's exit status was {end.exitstatus}, but the evidence shows no failure")
    if run.node is None:
        faults.append("the node was not recorded: nobody knows what the figures belong to")
    planned = {cell.id for cell in run.plan}
    unplanned = [id_ for id_ in run.cells if id_ not in planned]
    if unplanned:
        faults.append(f"{counted(len(unplanned), 'check')} ran that no plan has, the first is {unplanned[0]}")
    if run.collect_errors and not continued:
        first = run.collect_errors[0].nodeid
        faults.append(f"{counted(len(run.collect_errors), 'file')} could not be collected, the first is {first}")
    excused = run.torn if continued and run.finish is None else ()
    return [*faults, *(fault for fault in run.faults if fault not in excused)]


def _of_the_options(run: RunRecord, planned: Collection[str]) -> list[str]:
    """Options that ask for something which no check of the selection looks at: the scope names them, and a reader would
    take them for answered."""
    options = {} if run.run is None else run.run.selection.get("options") or {}
    faults = []
    expected = options.get("expect_gpus")
    if expected is not None and not isinstance(expected, int):
        faults.append(f"--expect-gpus was {expected!r:.40}, which is no number: the evidence is damaged")
    elif expected is not None and run.node is not None and len(run.node.gpus) != expected and _STACK not in planned:
        faults.append(missing_gpus(run.node, expected))
    if options.get("soak") and run.plan and _SOAK not in planned:
        faults.append(
            f"--soak={options['soak']} was asked for, and no check of this selection soaks a device; select {_SOAK} "
            "too, or leave --soak out"
        )
    return faults


def _early_end(run: RunRecord) -> list[str]:
    if run.finish is None:
        return ["the run did not finish: it was killed, or its last line is lost"]
    if run.finish.interrupted or run.finish.exitstatus not in _UNREMARKABLE_ENDS:
        reason = run.finish.reason or f"pytest's exit status was {run.finish.exitstatus}"
        return [f"the run was cut short: {reason}"]
    return []


def _has_failed(run: RunRecord) -> bool:
    """True where something explains that pytest counted failures: a check's, or an error of a plugin beside one."""
    if any(result.outcome is CellOutcome.FAIL for result in run_results(run)):
        return True
    return any(is_of_a_plugin(report) for evidence in run.cells.values() for report in evidence.reports)


def _plans_that_differ(runs: Sequence[RunRecord]) -> list[str]:
    """Faults where one id means different checks, for example with other weights."""
    faults = []
    planned: dict[str, tuple[RunRecord, object]] = {}
    for run in runs:
        unlike = [
            (planned[cell.id][0], cell.id) for cell in run.plan if cell.id in planned and planned[cell.id][1] != cell
        ]
        if unlike:
            other, first = unlike[0]
            faults.append(
                f"{other.run_id} and {run.run_id} planned {counted(len(unlike), 'check')} differently, such as {first}"
            )
        planned.update({cell.id: (run, cell) for cell in run.plan if cell.id not in planned})
    return faults


def _weights_that_differ(runs: Sequence[RunRecord]) -> list[str]:
    """Faults where one model was loaded from other files at another time: its results are those of two models."""
    lines = {run.run_id: place for place, line in enumerate(lineages(runs)) for run in line}
    seen: dict[tuple[str, int], tuple[RunRecord, Mapping[str, FileState]]] = {}
    faults: dict[str, None] = {}
    for run in runs:
        here = lines[run.run_id]
        for model, files in weights_of_folders(run):
            for (other, line), (earlier, theirs) in seen.items():
                # Runs that resume each other are of one node; others may have a copy each.
                if other == model and (name := unlike_file(theirs, files, one_disk=line == here)) is not None:
                    faults[f"{_loaded_twice(model, earlier, run)}: {name} is not the same"] = None
            seen.setdefault((model, here), (run, files))
    return [*faults]


def _commits_that_differ(runs: Sequence[RunRecord]) -> list[str]:
    """The same of repositories of the Hub, where a branch moved on."""
    seen: dict[str, tuple[RunRecord, str]] = {}
    faults: dict[str, None] = {}
    for run in runs:
        for repository, commit in commits_of_the_hub(run):
            earlier, theirs = seen.setdefault(repository, (run, commit))
            if theirs != commit:
                faults[f"{_loaded_twice(repository, earlier, run)}: commit {theirs}, then {commit}"] = None
    return [*faults]


def _loaded_twice(what: str, first: RunRecord, second: RunRecord) -> str:
    if first is second:
        return f"{what} was loaded from two states of its weights in one run"
    return f"{first.run_id} and {second.run_id} loaded {what} from different weights"


def record_notes(record: RunRecord) -> list[str]:
    """Notes that a reader of the verdict must know, though they do not change the word."""
    notes = [*map(str, record.idle), *(_notes_on_runs(record.runs) if record.parts else [])]
    if record.run is not None:
        own = [str(file.get("path")) for file in record.run.catalogues if not file.get("shipped")]
        own += [file for file in record.run.edited or () if file.startswith("catalogue/")]
        if own or not record.run.limits_are_shipped:
            notes.append(f"limits are not the shipped ones: {', '.join(own) or 'a catalogue of the user took part'}")
    if record.run is not None and record.run.allow_incomplete:
        notes.append("--allow-incomplete was used: checks without a result do not change the exit status")
    notes += _notes_on_weights(record)
    planning = Counter(cell.subject for cell in record.plan)["plan"]
    if planning:
        notes.append(
            f"{planning} of {counted(len(record.plan), 'check')} are of the plan: predicted for reference machines "
            "with nothing loaded, they say nothing of this node"
        )
    synthetic = Counter(cell.weights for cell in record.plan)["synthetic"]
    if synthetic:
        notes.append(
            f"weights are synthetic in {synthetic} of {counted(len(record.plan), 'check')}: load time from disk and "
            "meaning of the text are not judged there"
        )
    notes += _notes_on_alterations([cell.variant for cell in record.plan if cell.variant], len(record.plan))
    notes += _notes_on_settings(record)
    if record.run is not None and record.run.edited:
        notes.append(f"this suite differs from the release: {', '.join(record.run.edited)}")
    if record.open:
        notes.append(
            f"planned as pytest collected them, since their source does not tell their checks: {', '.join(record.open)}"
        )
    if record.deselected:
        notes.append(f"deselected, and so not in this scope: {counted(record.deselected, 'check')}")
    if record.run is not None and not record.run.is_chained:
        notes.append(
            "the evidence is of an earlier format, without checksums and without a record of each call: altered lines, "
            "and calls that were made twice, could not be found"
        )
    return notes


def _notes_on_weights(record: RunRecord) -> list[str]:
    """Notes on models that were not loaded from the weights that their entries name."""
    options = [run.run.selection.get("options") or {} for run in record.runs if run.run is not None]
    folders = dict.fromkeys(str(folder) for option in options for folder in option.get("model_dir") or ())
    named = [f"weights are not the entry's own: {folder} (--model-dir)" for folder in folders]
    others = dict.fromkeys(str(option["weights"]) for option in options if option.get("weights") in ("hub", "local"))
    return [
        *named,
        *_notes_on_files(record),
        *_notes_on_adapters(record),
        *(f"weights are not the entries' own where those name others: --weights={other}" for other in others),
    ]


def _notes_on_files(record: RunRecord) -> list[str]:
    """Notes on folders of which not every file could be held against a hash that somebody names."""
    notes: dict[str, None] = {}
    for event in record.hub:
        if event.get("state") != "vouched":
            continue
        folder, unknown, changed = event.get("folder"), _names(event.get("unknown")), _names(event.get("changed"))
        if unknown and not event.get("known"):
            notes[f"nothing vouches for the files of {folder}: no digest of any of them is known"] = None
        elif unknown:
            notes[f"no digest is known of {counted(len(unknown), 'file')} of {folder}, such as {unknown[0]}"] = None
        if changed:
            text = f"{counted(len(changed), 'file')} of {folder} {'was' if len(changed) == 1 else 'were'} changed since"
            notes[f"{text} their digests were noted: {', '.join(changed)}"] = None
    return [*notes]


def _notes_on_adapters(record: RunRecord) -> list[str]:
    """Notes on folders with an adapter that nothing was made of: who has peft loads another model from them."""
    said = (str(text) for load in record.loads for text in load.report.get("warnings") or ())
    return list(dict.fromkeys(f"{text}; with it, another model is loaded" for text in said if LEFT_OUT in text))


def _names(found: object) -> list[str]:
    return [str(name) for name in found] if isinstance(found, list | tuple) else []


def _notes_on_alterations(variants: Sequence[str], planned: int) -> list[str]:
    """Notes on what checks of altered variants do not show; `variants` has the variant of each check."""
    counts = Counter(alteration for variant in variants for alteration in alterations_of(variant))
    missing = {
        CPU: "it stands in for a GPU, whose memory and speed are not measured",
        GPU: "a GPU carries what the entry has on the processor, and what documents say of that is not judged",
    }
    whole = "what the whole model takes is not measured"
    settings = "it is loaded with the settings of --load-config, and says nothing of its entry's own"
    return [
        f"{alteration} in {count} of {counted(planned, 'check')}: "
        f"{settings if alteration.startswith(LOAD) else missing.get(alteration, whole)} there"
        for alteration, count in counts.items()
    ]


def _notes_on_settings(record: RunRecord) -> list[str]:
    """Notes on settings of --load-config that changed nothing, each with the reason, or on all of them."""
    notes: dict[str, None] = {}
    for run in record.runs:
        given = ((run.run.selection.get("options") or {}) if run.run is not None else {}).get("load_config")
        if not given:
            continue
        try:
            settings = read_settings(str(given), Path(), pinned=False)
        except PlimsollError:
            notes["--load-config is not what this version can read, so what it changed is not known"] = None
            continue
        notes |= dict.fromkeys(f"--load-config: {note}" for note in settings.notes)
        variants = [cell.variant for cell in run.plan if cell.variant]
        same = sum(1 for variant in variants if settings.alteration not in alterations_of(variant))
        if same:
            notes[f"--load-config changes nothing in {same} of {counted(len(variants), 'check')}: so it is already"] = (
                None
            )
    return [*notes]


def _notes_on_runs(runs: Sequence[RunRecord]) -> list[str]:
    """Notes on the runs of the verdict, and on how their nodes differ."""
    notes = []
    for run in runs:
        resumes = None if run.run is None else run.run.resumes
        on = "an unknown node" if run.node is None else run.node.hostname
        went_on = f", resuming {resumes.run_id}" if resumes else ""
        notes.append(
            f"one of {len(runs)} runs: {run.run_id} on {on}, {counted(len(run.plan), 'check')} planned{went_on}"
        )
    settings = [(r.run_id, RunBasis.recorded(r.node, r.run)) for r in runs if r.node is not None and r.run is not None]
    for (first_id, first), (id_, other) in ((settings[0], later) for later in settings[1:]):
        unlike = [f"{d.what} ({d.first or 'nothing'}, {d.second or 'nothing'})" for d in first.differences(other)]
        more = len(unlike) - _MOST_DIFFERENCES
        named = ", ".join(unlike[:_MOST_DIFFERENCES]) + (f" and {more} more" if more > 0 else "")
        if unlike:
            notes.append(f"{first_id} and {id_} differ in {named}")
    return notes
