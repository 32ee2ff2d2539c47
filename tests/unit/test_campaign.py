"""The reference campaign as data: what is chosen, what is left, and what its page says of what was not run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_campaign
from benchmarks.campaign.filling import estimates
from benchmarks.campaign.progress import Progress, StepState, left_of, next_step, progress_of
from benchmarks.campaign.stages import LONGEST, Stage, Step, read_stages, refuse_unknown
from benchmarks.campaign.table import LOAD_COLUMNS, SPEED_COLUMNS, load_cells, page, speed_rows
from plimsoll.errors import PlimsollError
from plimsoll.evidence.encoding import judgement_fields, measurement_fields
from plimsoll.evidence.events import Event
from plimsoll.host.protocol import GpuMemory
from plimsoll.judge.judgement import Limit, Measurement, judge
from plimsoll.verdict.verdict import Word
from tests.support.run_events import Line, cell, good_cell, good_run, line, numbered, report, write_events

CAMPAIGN = """\
[[stage]]
number = 1
title = "first"
worth = "because"
[[stage.step]]
id = "many"
pytest = ["-m", "tiny"]
rehearsal = ["-m", "tiny and nf4"]
minutes = 4
worth = 10
divisible = true
[[stage.step]]
id = "look"
plimsoll = ["probe", "--json"]
minutes = 0.5
worth = 30
[[stage]]
number = 2
title = "second"
worth = "because"
[[stage.step]]
id = "large"
load = "llama-3.1-70b-instruct/nf4"
gigabytes = 141
minutes = 4
worth = 20
verdict = "REJECTED"
because = "experts are 16-bit"
"""


CELL = cell("test_completes", "m/nf4")


def keep(folder: Path, events: list[Line]) -> None:
    """Leave these events as the evidence of a step."""
    write_events(folder, numbered(events))


def campaign(folder: Path, text: str = CAMPAIGN) -> tuple[Stage, ...]:
    path = folder / "campaign.toml"
    path.write_text(text)
    return read_stages(path)


def steps_of(stages: tuple[Stage, ...]) -> dict[str, Step]:
    return {step.id: step for stage in stages for step in stage.steps}


# The data -------------------------------------------------------------------------------------------------------------


def test_the_shipped_campaign_can_be_read_and_fits_its_slices() -> None:
    stages = read_stages()
    assert sorted(stage.number for stage in stages) == [1, 2, 3, 4, 5]
    assert all(stage.minutes <= LONGEST for stage in stages)
    steps = steps_of(stages)
    assert steps["mixtral-8x7b-stock"].verdicts == (Word.REJECTED,)
    assert steps["node"].verdicts == (Word.ACCEPTED, Word.INCOMPLETE)
    others = [step for step in steps.values() if step.id not in ("node", "mixtral-8x7b-stock")]
    assert {step.verdicts for step in others} == {(Word.ACCEPTED,)}
    assert [step.id for step in steps.values() if not step.rehearsal] == ["health"], "a CPU has no such counters"


def test_every_load_is_made_up_whole_on_the_device_of_its_tier() -> None:
    for step in steps_of(read_stages()).values():
        if step.variant:
            assert "--weights=synthetic" in step.arguments
            assert not [word for word in step.arguments if word.startswith(("--device", "--layers"))]
            assert step.gigabytes > 0


def test_a_variant_in_nf4_is_not_loaded_with_double_quantization_too() -> None:
    arguments = steps_of(read_stages())["llama-3.1-70b-nf4"].arguments
    assert arguments[arguments.index("-k") + 1] == "llama-3.1-70b-instruct/nf4 and not nf4-dq"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("minutes = 4\nworth = 20", "minutes = 9.5\nworth = 20"), "takes 9.5 minutes, and a stage may take 9; divide"),
        (('id = "look"', 'id = "many"'), "2 steps are called 'many'"),
        (('verdict = "REJECTED"', 'verdict = "FAILED"'), "stage[1].step[0].verdict: 'FAILED' is no verdict"),
        (('load = "llama', 'loads = "llama'), "stage[1].step[0].loads: is no key of it; did you mean 'load'?"),
        (("minutes = 0.5\n", ""), "stage[0].step[1]: minutes is missing"),
        (('title = "second"\n', ""), "stage[1]: title is missing"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(PlimsollError) as raised:
        campaign(tmp_path, CAMPAIGN.replace(*change))
    assert message in str(raised.value)


def test_a_mark_that_this_checkout_lacks_is_found_before_anything_starts(tmp_path: Path) -> None:
    stages = campaign(tmp_path, CAMPAIGN.replace('"-m", "tiny"', '"-m", "node or soaked"'))
    refuse_unknown(stages, rehearse=True)
    with pytest.raises(PlimsollError, match=r"step many: unknown mark 'soaked' in -m 'node or soaked'"):
        refuse_unknown(stages, rehearse=False)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--weight=synthetic", "step many: --weight is no option of the suite"),
        ("--weights=made", "step many: pytest refuses it: argument --weights: invalid choice: 'made'"),
    ],
)
def test_an_option_that_this_checkout_lacks_is_found_too(tmp_path: Path, option: str, message: str) -> None:
    stages = campaign(tmp_path, CAMPAIGN.replace('"-m", "tiny"]', f'"-m", "tiny", "{option}"]'))
    with pytest.raises(PlimsollError) as raised:
        refuse_unknown(stages, rehearse=False)
    assert message in str(raised.value)


def test_a_script_that_this_checkout_lacks_is_found_too(tmp_path: Path) -> None:
    stages = campaign(tmp_path, CAMPAIGN.replace('pytest = ["-m", "tiny"]', 'script = ["-m", "benchmarks.nothing"]'))
    with pytest.raises(PlimsollError, match=r"step many: there is no module benchmarks\.nothing"):
        refuse_unknown(stages, rehearse=False)


# What is chosen -------------------------------------------------------------------------------------------------------


def test_what_is_worth_most_comes_first_and_fits(tmp_path: Path) -> None:
    left = left_of(campaign(tmp_path), tmp_path / "out", rehearse=False)
    assert [step.id for step in left] == ["look", "large", "many"]
    assert [getattr(next_step(left, seconds), "id", None) for seconds in (500, 239, 29)] == ["look", "look", None]
    tried = ["look"]
    assert [getattr(next_step(left, seconds, tried), "id", None) for seconds in (240, 239, 59)] == [
        "large",
        "many",
        None,
    ], "many small checks are begun in whatever is left, and a load that would not end is not"


def test_a_rehearsal_leaves_out_what_has_none(tmp_path: Path) -> None:
    left = left_of(campaign(tmp_path), tmp_path / "out", rehearse=True)
    assert [step.id for step in left] == ["look", "many"]


def test_one_stage_can_be_chosen_and_another_number_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    campaign(tmp_path)
    chosen = [f"--stages={tmp_path / 'campaign.toml'}", f"--out={tmp_path / 'out'}", "--rehearse", "--list"]
    assert gpu_campaign.main([*chosen, "--only", "1"]) == 0
    assert "many" in (listed := capsys.readouterr().out)
    assert "large" not in listed
    assert gpu_campaign.main([*chosen, "--only", "7"]) == 2
    assert capsys.readouterr().err == "campaign: there is no stage 7; there are 1, 2\n"


def test_the_time_to_make_weights_is_said_and_compared_with_what_was_planned(tmp_path: Path) -> None:
    steps = steps_of(campaign(tmp_path)).values()
    assert estimates(steps, {"cuda:0": 141e9}.__getitem__) == [
        "llama-3.1-70b-instruct/nf4: 141.00 GB (131.32 GiB) of weights take 1.000 s to make on cuda:0"
    ]
    (slow,) = estimates(steps, lambda _: 0.5e9)
    assert slow.endswith("take 4 min 42 s to make on cuda:0, and 4 min were predicted for all of it")


def test_a_gpu_that_cannot_fill_weights_does_not_keep_the_other_stages_from_telling_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> float:
        raise PlimsollError("how fast weights are made could not be measured: cuda:0 fills other bits than the CPU")

    monkeypatch.setattr(gpu_campaign, "measured_rate", refuse)
    left = [*steps_of(campaign(tmp_path)).values()]
    assert gpu_campaign._estimates(left, tmp_path) == [
        "campaign: how fast weights are made could not be measured: cuda:0 fills other bits than the CPU; no load is "
        "told how long it will take"
    ]


# What is done ---------------------------------------------------------------------------------------------------------


def state(out: Path, name: str, **fields: Any) -> None:
    StepState(**{"attempts": 1, "seconds": 12.0, **fields}).write(out / name)


def test_evidence_says_that_a_step_is_done_and_not_its_state(tmp_path: Path) -> None:
    many = steps_of(campaign(tmp_path))["many"]
    assert progress_of(many, tmp_path) is Progress.NOT_RUN
    state(tmp_path, "many", exit=0, said="ACCEPTED")
    assert progress_of(many, tmp_path) is Progress.STOPPED
    keep(tmp_path / "many", good_run([CELL]))
    assert progress_of(many, tmp_path) is Progress.DONE


def test_a_run_that_planned_nothing_is_done_and_not_as_it_should_be(tmp_path: Path) -> None:
    many = steps_of(campaign(tmp_path))["many"]
    keep(tmp_path / "many", good_run([]))
    assert progress_of(many, tmp_path) is Progress.UNEXPECTED


def test_a_run_that_was_cut_short_is_gone_on_with(tmp_path: Path) -> None:
    many = steps_of(campaign(tmp_path))["many"]
    state(tmp_path, "many")
    whole = good_run([CELL])
    keep(tmp_path / "many", [event for event in whole if event["event"] != Event.FINISH])
    assert progress_of(many, tmp_path) is Progress.STOPPED
    assert many in left_of(campaign(tmp_path), tmp_path, rehearse=False)


def test_what_prints_is_done_when_it_printed(tmp_path: Path) -> None:
    look = steps_of(campaign(tmp_path))["look"]
    state(tmp_path, "look", exit=0)
    assert progress_of(look, tmp_path) is Progress.STOPPED
    (tmp_path / "look" / "look.json").write_text('{"gpus": [')
    assert progress_of(look, tmp_path) is Progress.STOPPED
    (tmp_path / "look" / "look.json").write_text(json.dumps({"gpus": []}))
    state(tmp_path, "look", exit=1)
    assert progress_of(look, tmp_path) is Progress.UNEXPECTED
    state(tmp_path, "look", exit=0)
    assert progress_of(look, tmp_path) is Progress.DONE
    state(tmp_path, "look", exit=2)
    assert progress_of(look, tmp_path) is Progress.STOPPED


def test_what_has_to_be_rejected_has_to_be_so_for_its_cause(tmp_path: Path) -> None:
    large = steps_of(campaign(tmp_path))["large"]
    keep(tmp_path / "large", good_run([CELL]))
    assert progress_of(large, tmp_path) is Progress.UNEXPECTED
    for reason, progress in (("out of memory", Progress.UNEXPECTED), ("cause: experts are 16-bit", Progress.DONE)):
        keep(tmp_path / "large", failed(reason))
        assert progress_of(large, tmp_path) is progress


def failed(reason: str) -> list[Line]:
    red = report(CELL, "call", "failed", reason)
    return [red if event.get("report", {}).get("when") == "call" else event for event in good_run([CELL])]


def test_a_state_that_cannot_be_read_says_what_to_delete(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "step.json").write_text('{"attempts": 1, "colour": "red"}')
    with pytest.raises(PlimsollError, match=r"step\.json cannot be read .*; delete \S+/many to run the step anew"):
        StepState.read(tmp_path / "many")


def gpu_load(variant: str, *, predicted: float, process: int | None) -> list[Line]:
    """A run that loaded a variant on one GPU; what torch allocated at its highest is 40e9 bytes."""
    asked = cell("test_peak_vram", variant, measures=())
    gpu = {
        "device": "cuda:0",
        "allocated_after": 38 * 10**9,
        "allocated_peak": 40 * 10**9,
        "reserved_peak": 42 * 10**9,
        "context": 5 * 10**8,
        "process": process,
        "uuid": "a",
        "process_peak": process,
        "device_peak": 45 * 10**9,
    }
    loaded = line(
        Event.LOAD,
        variant=variant,
        cache="as-is",
        report={"seconds": 120.0, "checkpoint_bytes": 0, "gpus": [gpu]},
    )
    peak = measurement_fields(Measurement(metric="vram_peak", value=40e9), {"predicted": predicted})
    measured = line(Event.MEASUREMENT, cell=asked.id, **peak)
    events = good_run([asked])
    place = events.index(good_cell(asked)[0])
    later = asdict(_looked_at("a", 46 * 10**9)), asdict(_looked_at("b", 10**12))
    seen: dict[str, Any] = {"first": [], "last": [], "findings": [], "unread": [], "extremes": {}, "earlier_xids": []}
    health = line(Event.HEALTH, variant=variant, memory=later, **seen)
    return [*events[:place], loaded, measured, health, *events[place:]]


def _looked_at(uuid: str, device_peak: int) -> GpuMemory:
    """A GPU once everything was asked; of its process nothing is told."""
    sizes: dict[str, Any] = dict.fromkeys(
        ("allocated_after", "allocated_peak", "reserved_after", "reserved_peak"), 10**9
    )
    unknown: dict[str, Any] = dict.fromkeys(
        ("context", "process", "device_before", "device_after", "device_delta", "others_before", "others_after")
    )
    found: dict[str, Any] = {"device": "cuda:0", "uuid": uuid, "context_by": "", "device_peak": device_peak}
    return GpuMemory(**found, **sizes, **unknown)


# The page -------------------------------------------------------------------------------------------------------------


def test_what_was_not_run_is_not_measured(tmp_path: Path) -> None:
    stages = campaign(tmp_path)
    text = page("a GPU", stages, tmp_path / "out")
    for name in ("| 1 | many | 4 min 00 s | not measured |", "| 2 | large |", "| llama-3.1-70b-instruct/nf4 | not me"):
        assert name in text
    columns = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert columns == {len(LOAD_COLUMNS) + 1, len(SPEED_COLUMNS) + 1, 7}, (
        "rows of one table are all as wide as its head"
    )


def test_a_speed_is_shown_with_its_floor_and_without_one(tmp_path: Path) -> None:
    """What a campaign is for: floors are others' figures until somebody has measured."""
    many = steps_of(campaign(tmp_path))["many"]
    asked = cell("test_matmul", "m/nf4", measures=())
    told = {"of": "bf16", "device": "gpu0", "size": "8192 x 8192 x 8192", "spread": 0.0123, "sheet_share": 0.7421}
    found = Measurement(metric="matmul_rate", value=734.3e12)
    limit = Limit(metric="matmul_rate", low=657e12, source="gpu-fryer")
    measured = line(Event.MEASUREMENT, cell=asked.id, **measurement_fields(found, told))
    judged = line(Event.JUDGEMENT, cell=asked.id, **judgement_fields(judge(found, limit)))
    events = good_run([asked])
    place = events.index(good_cell(asked)[0])
    row = ("matmul_rate", "bf16", "gpu0", "734 TFLOP/s", "1.2% apart", "8192 x 8192 x 8192", "74%")
    for lines, floor in (([measured, judged], "657 TFLOP/s"), ([measured], "none")):
        keep(tmp_path / "many", [*events[:place], *lines, *events[place:]])
        assert list(speed_rows(many, tmp_path)) == [(*row, floor)]
    assert "| not measured |" in page("a GPU", campaign(tmp_path), tmp_path / "out").split("## Speeds")[1]


def test_a_load_is_shown_in_all_its_figures(tmp_path: Path) -> None:
    large = steps_of(campaign(tmp_path))["large"]
    keep(tmp_path / "large", gpu_load("llama-3.1-70b-instruct/nf4", predicted=39e9, process=41 * 10**9))
    cells = load_cells(large, tmp_path)
    assert len(cells) == len(LOAD_COLUMNS)
    assert cells[:4] == ("llama-3.1-70b-instruct/nf4", "39.00 GB (36.32 GiB)", "40.00 GB (37.25 GiB)", "-2.50%")
    assert cells[4:11] == (
        "38.00 GB (35.39 GiB)",
        "42.00 GB (39.12 GiB)",
        "41.00 GB (38.18 GiB)",
        "41.00 GB (38.18 GiB)",
        "46.00 GB (42.84 GiB)",
        "500.00 MB (476.84 MiB)",
        "2 min 00 s",
    )


def test_a_figure_that_the_driver_does_not_give_is_not_measured_and_never_zero(tmp_path: Path) -> None:
    large = steps_of(campaign(tmp_path))["large"]
    keep(tmp_path / "large", gpu_load("llama-3.1-70b-instruct/nf4", predicted=39e9, process=None))
    assert load_cells(large, tmp_path)[6:8] == ("not measured", "not measured")


def test_evidence_that_cannot_be_read_is_said_to_be(tmp_path: Path) -> None:
    large = steps_of(campaign(tmp_path))["large"]
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "evidence.jsonl").write_text("{\n")
    assert load_cells(large, tmp_path)[1] == "its evidence cannot be read"


def test_what_a_rehearsal_loaded_does_not_stand_as_what_it_stands_for(tmp_path: Path) -> None:
    large = steps_of(campaign(tmp_path))["large"]
    keep(tmp_path / "large", gpu_load("tiny-llama/nf4", predicted=39e9, process=None))
    assert load_cells(large, tmp_path)[0] == "tiny-llama/nf4 in place of llama-3.1-70b-instruct/nf4"
