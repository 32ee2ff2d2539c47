"""The reference campaign: measures one GPU in the little time that it can be had, and goes on where it stopped.

    python benchmarks/gpu_campaign.py --list              # stages and steps, what is done, what is left
    python benchmarks/gpu_campaign.py --budget 540        # what is worth most in nine minutes
    python benchmarks/gpu_campaign.py --only 4            # one stage
    python benchmarks/gpu_campaign.py --rehearse          # the same at small sizes, on a CPU

Exit status: 0 all that was chosen is done and came out as it should, 1 something came out otherwise, 6 something is
left to do, 2 a mistake that the message tells how to mend.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.campaign.filling import estimates, measured_rate
from benchmarks.campaign.progress import Progress, left_of, next_step, progress_of
from benchmarks.campaign.running import run_step
from benchmarks.campaign.stages import SHIPPED, Stage, Step, read_stages, refuse_unknown
from benchmarks.campaign.table import PAGE, page
from benchmarks.synthetic_row import REFERENCE, ROOT
from plimsoll import clock
from plimsoll.errors import PlimsollError
from plimsoll.node.probe import SystemProbe
from plimsoll.units import format_seconds

BUDGET: Final = 540
WORK: Final = ROOT / ".make" / "campaign"
_LEFT: Final = 6
_ENDING: Final = 15
"""Seconds that are kept for the end of a campaign itself: evidence is copied, and the page written."""


def main(arguments: Sequence[str]) -> int:
    """Run the campaign, or list it."""
    options = _parser().parse_args(arguments)
    try:
        stages = _chosen(read_stages(options.stages), options.only)
        name = _gpu() if not options.rehearse else "a CPU, in a rehearsal"
        slug = "rehearsal" if options.rehearse else _slug(name)
        out = (options.out or (WORK / slug / "kept" if options.rehearse else REFERENCE / slug)).resolve()
        if options.list:
            print("\n".join(_listed(stages, out, rehearse=options.rehearse)))
            return 0
        refuse_unknown(stages, rehearse=options.rehearse)
        status = _run(stages, name, out, (options.work or WORK / slug / "runs").resolve(), options)
    except PlimsollError as error:
        sys.stderr.write(f"campaign: {error}\n")
        return 2
    return status


def _run(stages: Sequence[Stage], name: str, out: Path, work: Path, options: argparse.Namespace) -> int:
    begin = clock.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    whole = read_stages(options.stages)
    left = left_of(stages, out, rehearse=options.rehearse)
    if any(step.gigabytes for step in left) and not options.rehearse:
        print("\n".join(_estimates(left, out)), flush=True)
    tried: list[str] = []
    while (seconds := options.budget - _ENDING - (clock.monotonic() - begin)) > 0:
        step = next_step(left, seconds, tried)
        if step is None:
            break
        tried.append(step.id)
        print(f"campaign: {step.id}: {format_seconds(60 * step.minutes)} predicted", flush=True)
        state = run_step(step, out, work, seconds, rehearse=options.rehearse)
        print(f"campaign: {': '.join(filter(None, (step.id, progress_of(step, out), state.said)))}", flush=True)
        (out / PAGE).write_text(page(name, whole, out), "utf-8")
        left = left_of(stages, out, rehearse=options.rehearse)
    (out / PAGE).write_text(page(name, whole, out), "utf-8")
    print("\n".join(_summary(stages, left, out)))
    steps = [step for stage in stages for step in stage.steps]
    unexpected = [step for step in steps if progress_of(step, out) is Progress.UNEXPECTED]
    return 1 if unexpected else _LEFT if left else 0


def _estimates(left: Sequence[Step], out: Path) -> list[str]:
    """How long each load will take to make its weights. Where that cannot be measured the campaign says so and goes on:
    what is wrong with the GPU, its first stage tells best."""
    try:
        return estimates(left, partial(measured_rate, out))
    except PlimsollError as error:
        return [f"campaign: {error}; no load is told how long it will take"]


def _summary(stages: Sequence[Stage], left: Sequence[Step], out: Path) -> list[str]:
    steps = [step for stage in stages for step in stage.steps]
    wrong = [step.id for step in steps if progress_of(step, out) is Progress.UNEXPECTED]
    minutes = sum(step.minutes for step in left)
    lines = [f"campaign: see {out / PAGE}"]
    if wrong:
        lines.append(f"campaign: not as it should be: {', '.join(wrong)}")
    if left:
        named = ", ".join(step.id for step in left)
        lines.append(f"campaign: left, some {minutes:g} minutes: {named}; run the same command again")
    return lines


def _listed(stages: Sequence[Stage], out: Path, *, rehearse: bool) -> list[str]:
    lines = []
    for stage in stages:
        lines.append(f"{stage.number}  {stage.title}: {stage.minutes:g} min; {stage.worth}")
        for step in sorted(stage.steps, key=lambda step: -step.worth):
            progress = progress_of(step, out) if step.command(rehearse=rehearse) else "has no rehearsal"
            lines.append(f"   {step.worth:3}  {step.id:22} {step.minutes:4g} min  {progress}")
    return lines


def _chosen(stages: Sequence[Stage], only: Sequence[int]) -> tuple[Stage, ...]:
    if unknown := sorted(set(only) - {stage.number for stage in stages}):
        there = ", ".join(str(number) for number in sorted(stage.number for stage in stages))
        raise PlimsollError(f"there is no stage {unknown[0]}; there are {there}")
    return tuple(stage for stage in stages if not only or stage.number in only)


def _gpu() -> str:
    """The name of the GPU that is measured. Raises PlimsollError where there is none."""
    gpus = SystemProbe(weights_path=WORK).probe().gpus
    names = [gpu.name for gpu in gpus if gpu.name]
    if not names:
        raise PlimsollError("there is no GPU to measure; --rehearse tries the campaign at small sizes on the CPU")
    return names[0] if len(names) == 1 else f"{len(names)} x {names[0]}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--only", type=int, action="append", default=[], metavar="N", help="this stage (repeatable)")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, at small sizes")
    parser.add_argument("--budget", type=float, default=BUDGET, metavar="SECONDS", help=f"default: {BUDGET}")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: reports/reference/<gpu>")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="of unfinished runs (default: .make/campaign)")
    parser.add_argument("--stages", type=Path, default=SHIPPED, metavar="FILE", help="another campaign")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
