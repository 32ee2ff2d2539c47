"""The verdict speaks of every GPU that it names: recorded runs on nodes of several GPUs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.audit.auditing import measurements
from plimsoll.evidence.merge import merge_records
from plimsoll.evidence.record import Cell, RunRecord
from plimsoll.node.node import MigInstance, Node
from plimsoll.report.junit import suite_properties
from plimsoll.report.results import results
from plimsoll.report.write import summary_text
from plimsoll.verdict.verdict import Verdict, Word, reach_verdict
from tests.support.run_events import NODE, Line, cell, good_run, measured, recorded
from tests.support.schemas import validator


def node_of(count: int) -> Node:
    return replace(NODE, gpus=tuple(replace(NODE.gpus[0], index=n, uuid=f"GPU-{n}") for n in range(count)))


def carried(*gpus: str, variant: str = "llama-3.1-8b/nf4") -> list[Cell]:
    """A check of a copy of a variant on each of these GPUs."""
    return [cell("test_loads", f"{variant}:{gpu}", gpu=gpu) for gpu in gpus]


def asked(*gpus: str) -> list[Cell]:
    """A check of each of these devices."""
    ids = [f"acceptance/test_golden.py::test_golden_logits[{gpu}-llama/nf4]" for gpu in gpus]
    return [cell("test_golden_logits", None, id=one, gpu=gpu) for one, gpu in zip(ids, gpus, strict=True)]


def events(
    cells: Sequence[Cell], node: Node, used: Collection[str] | None = None, visible: int | None = None, **head: Any
) -> list[Line]:
    found = good_run(cells)
    gpus = [
        {"id": f"gpu{gpu.index}", "index": gpu.index, "uuid": gpu.uuid, "serial": gpu.serial, "name": gpu.name}
        for gpu in node.gpus[:visible]
    ]
    found[0] |= head
    found[1] |= {"gpus": gpus, "used": [gpu["id"] for gpu in gpus if used is None or gpu["id"] in used]}
    found[2] |= {"node": node.to_json()}
    return found


def run(folder: Path, cells: Sequence[Cell], count: int = 8, **changes: Any) -> RunRecord:
    folder.mkdir(parents=True, exist_ok=True)
    return recorded(folder, events(cells, node_of(count), **changes))


def verdict(folder: Path, cells: Sequence[Cell], count: int = 8, **changes: Any) -> Verdict:
    return reach_verdict(run(folder, cells, count, **changes))


ALL = [f"gpu{n}" for n in range(8)]


def test_a_run_that_had_models_on_every_gpu_says_so(tmp_path: Path) -> None:
    found = verdict(tmp_path, carried(*ALL))
    assert (found.word, found.scope) == (Word.ACCEPTED, "-m tiny on 8 of 8 GPUs")


def test_a_gpu_that_carried_no_model_makes_the_run_incomplete_and_the_command_is_named(tmp_path: Path) -> None:
    """Golden numbers alone are no model: it is the memory of a GPU that a load asks."""
    found = verdict(tmp_path, [*asked(*ALL), *carried(*ALL[:5], *ALL[6:])])
    assert (found.word, found.exit_status) == (Word.INCOMPLETE, 6)
    assert found.scope == "-m tiny on 8 of 8 GPUs"
    assert found.faults == (
        "gpu5 (NVIDIA H200, GPU-5) carried no model; nothing that is selected fits there: select what does, or run "
        "pytest -m tiny --device=cuda --gpus=GPU-5, and judge both with --replay",
    )
    assert "; gpu5 (NVIDIA H200, GPU-5) carried no model" in found.statement


def test_a_model_on_two_gpus_is_carried_by_both(tmp_path: Path) -> None:
    assert verdict(tmp_path, carried("gpu0+gpu1", "gpu2"), 3).word is Word.ACCEPTED
    assert verdict(tmp_path, carried("gpu0+gpu1"), 3).word is Word.INCOMPLETE


def test_a_selection_of_one_gpu_by_its_id_leaves_the_others_without_a_model(tmp_path: Path) -> None:
    selection = {"mark": "gpu8b", "keyword": "gpu3", "paths": []}
    found = verdict(tmp_path, carried("gpu3"), selection=selection)
    assert found.word is Word.INCOMPLETE
    assert found.scope == "-m gpu8b -k gpu3 on 1 of 8 GPUs: gpu3"
    (fault,) = found.faults
    assert fault.startswith("gpu0 (NVIDIA H200, GPU-0), gpu1 (NVIDIA H200, GPU-1), ")
    uuids = ",".join(f"GPU-{n}" for n in range(8) if n != 3)
    assert fault.endswith(
        f"and 3 more GPUs carried no model; run pytest -m gpu8b --gpus={uuids}, and judge both with --replay"
    )


def test_gpus_that_the_run_left_out_stand_in_the_scope(tmp_path: Path) -> None:
    selection = {"mark": "gpu8b", "keyword": "", "paths": [], "options": {"gpus": "3,5"}}
    found = verdict(tmp_path, carried("gpu3", "gpu5"), used={"gpu3", "gpu5"}, selection=selection)
    assert (found.word, found.scope) == (Word.ACCEPTED, "-m gpu8b --gpus=3,5 on 2 of 8 GPUs: gpu3, gpu5")
    out = ", ".join(f"gpu{n} (NVIDIA H200, GPU-{n})" for n in range(8) if n not in (3, 5))
    assert f"left out by --gpus, and so not in this scope: {out}" in found.notes


def test_gpus_that_the_environment_left_out_stand_in_the_scope(tmp_path: Path) -> None:
    only = cell("test_loads", "llama-3.1-8b/nf4", gpu="gpu0")
    assert verdict(tmp_path, [only], visible=1).statement == (
        "ACCEPTED over -m tiny on 1 of 8 GPUs: gpu0: 1 of 1 check passed"
    )


def test_on_a_node_with_one_gpu_the_scope_is_as_it_was(tmp_path: Path) -> None:
    only = cell("test_loads", "llama-3.1-8b/nf4", gpu="gpu0")
    assert verdict(tmp_path, [only], 1).statement == "ACCEPTED over -m tiny: 1 of 1 check passed"


def test_a_run_that_asks_no_model_of_a_gpu_is_not_asked_for_one(tmp_path: Path) -> None:
    assert verdict(tmp_path / "cpu", [cell("test_loads")]).statement == "ACCEPTED over -m tiny: 1 of 1 check passed"
    golden = verdict(tmp_path / "golden", asked(*ALL))
    assert (golden.word, golden.scope) == (Word.ACCEPTED, "-m tiny on 8 of 8 GPUs")


def test_evidence_that_says_nothing_of_gpus_is_judged_as_it_was(tmp_path: Path) -> None:
    old = good_run([cell("test_loads", "llama-3.1-8b/nf4")])
    old[2] |= {"node": node_of(8).to_json()}
    assert recorded(tmp_path, old).gpus == ()
    assert reach_verdict(recorded(tmp_path, old)).statement == "ACCEPTED over -m tiny: 1 of 1 check passed"


def test_another_run_on_the_node_closes_the_gap(tmp_path: Path) -> None:
    first = run(tmp_path / "a", carried(*ALL[:7]))
    second = run(tmp_path / "b", carried("gpu7", variant="tiny-llama/nf4:cuda"), used={"gpu7"}, run_id="later")
    assert reach_verdict(first).word is Word.INCOMPLETE
    assert reach_verdict(merge_records([first, second])).word is Word.ACCEPTED


def test_the_gpus_of_another_node_close_no_gap(tmp_path: Path) -> None:
    first = run(tmp_path / "a", carried(*ALL[:7]))
    other = replace(node_of(8), hostname="other")
    other = replace(other, gpus=tuple(replace(gpu, uuid=f"GPU-1{gpu.index}") for gpu in other.gpus))
    second = recorded(tmp_path / "b", events(carried(*ALL), other, run_id="later"))
    found = reach_verdict(merge_records([first, second]))
    assert found.word is Word.INCOMPLETE
    assert len(found.faults) == 1
    assert "gpu7 (NVIDIA H200, GPU-7) carried no model" in found.faults[0]


def test_instances_of_a_split_gpu_count_each(tmp_path: Path) -> None:
    part = MigInstance(uuid="MIG-0", name="1g.18gb", memory_total=1, memory_free=1)
    node = replace(node_of(1), gpus=(replace(NODE.gpus[0], mig=True, instances=(part, replace(part, uuid="MIG-1"))),))
    found = events(carried("gpu0.0"), node)
    found[1]["gpus"] = [
        {"id": f"gpu0.{n}", "index": 0, "uuid": f"MIG-{n}", "serial": "123", "name": "1g.18gb"} for n in range(2)
    ]
    found[1]["used"] = ["gpu0.0", "gpu0.1"]
    reached = reach_verdict(recorded(tmp_path, found))
    assert (reached.word, reached.scope) == (Word.INCOMPLETE, "-m tiny on 1 of 2 GPUs: gpu0.0")
    assert reached.faults[0].startswith("gpu0.1 (1g.18gb, MIG-1) carried no model")


def test_what_copies_measured_counts_for_the_documents_of_their_variant(tmp_path: Path) -> None:
    copies = carried("gpu0", "gpu1")
    lines = events(copies, node_of(2))
    lines[3:3] = [measured(of, "vram_peak", 10.0 + number) for number, of in enumerate(copies)]
    found = measurements([recorded(tmp_path, lines)])
    assert found["llama-3.1-8b/nf4:gpu1", "vram_peak"] == (11.0,)
    assert found["llama-3.1-8b/nf4", "vram_peak"] == (10.0, 11.0)


def test_summary_and_results_say_which_card_each_figure_is_of(tmp_path: Path) -> None:
    record = run(tmp_path, [*asked("gpu0"), *carried("gpu0", "gpu2")], 3, used={"gpu0", "gpu1", "gpu2"})
    reached = reach_verdict(record)
    text = summary_text(record, reached)
    for row in (
        "| `gpu0` | NVIDIA H200 | GPU-0 | 123 | llama-3.1-8b/nf4 | 2 passed |",
        "| `gpu1` | NVIDIA H200 | GPU-1 | 123 | no model | none |",
        "| `gpu2` | NVIDIA H200 | GPU-2 | 123 | llama-3.1-8b/nf4 | 1 passed |",
    ):
        assert row in text
    data = results(record, reached)
    assert [gpu["uuid"] for gpu in data["gpus"]] == ["GPU-0", "GPU-1", "GPU-2"]
    last = data["cells"][-1]
    assert (last["gpu"], [gpu["uuid"] for gpu in last["gpus"]]) == ("gpu2", ["GPU-2"])
    validator("results").validate(data)
    properties = dict(suite_properties(record, reached))
    assert properties["plimsoll.gpu2"] == "index 2, UUID GPU-2, serial 123, product NVIDIA H200"


@pytest.mark.parametrize("broken", [{"gpus": [{"id": "gpu0"}]}, {"gpus": "all"}, {"gpus": [3]}])
def test_gpus_that_cannot_be_read_are_damage(tmp_path: Path, broken: Line) -> None:
    found = events(carried("gpu0"), node_of(2))
    found[1] |= broken
    assert recorded(tmp_path, found).faults


STACK = cell("test_stack", None, id="acceptance/test_node.py::test_stack[tiny]")
SOAK = cell("test_soak", None, id="acceptance/test_soak.py::test_soak[gpu0-llama/nf4]")


def asked_with(**options: Any) -> dict[str, Any]:
    return {"selection": {"mark": "tiny", "keyword": "", "paths": [], "options": options}}


def test_a_number_of_gpus_is_held_whatever_is_selected(tmp_path: Path) -> None:
    seven = node_of(7)
    verdict = reach_verdict(recorded(tmp_path / "a", events(asked("gpu0"), seven, **asked_with(expect_gpus=8))))
    assert (verdict.word, verdict.exit_status) == (Word.INCOMPLETE, 6)
    assert verdict.faults[0].startswith("NVML lists 7 GPUs, and --expect-gpus says 8: one may have fallen off the bus")
    verdict = reach_verdict(recorded(tmp_path / "b", events(asked("gpu0"), seven, **asked_with(expect_gpus=7))))
    assert (verdict.word, verdict.scope) == (Word.ACCEPTED, "-m tiny --expect-gpus=7 on 1 of 7 GPUs: gpu0")


def test_a_number_of_gpus_that_is_none_is_damage_and_no_traceback(tmp_path: Path) -> None:
    verdict = reach_verdict(recorded(tmp_path, events([STACK], node_of(8), **asked_with(expect_gpus="8"))))
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults == ("--expect-gpus was '8', which is no number: the evidence is damaged",)


def test_where_its_check_is_planned_the_number_is_that_checks(tmp_path: Path) -> None:
    found = events([STACK], node_of(7), **asked_with(expect_gpus=8))
    assert reach_verdict(recorded(tmp_path, found)).faults == ()


def test_a_soak_that_nothing_asks_for_is_not_taken_for_done(tmp_path: Path) -> None:
    soaking = asked_with(soak="30min")
    verdict = reach_verdict(recorded(tmp_path / "a", events(asked("gpu0"), node_of(1), **soaking)))
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults == (
        "--soak=30min was asked for, and no check of this selection soaks a device; select "
        "acceptance/test_soak.py::test_soak too, or leave --soak out",
    )
    assert reach_verdict(recorded(tmp_path / "b", events([SOAK], node_of(1), **soaking))).word is Word.ACCEPTED
