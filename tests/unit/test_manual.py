"""Every check has a page that says what it proves, its limit, what makes it fail and what to do, and no page drifts."""

import argparse
import json
import re
import shlex
from functools import cache
from html import unescape
from pathlib import Path

import jsonschema
import pytest

from plimsoll.catalogue.entries import Catalogue
from plimsoll.catalogue.overrides import altered, with_settings, with_sources
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.catalogue.settings import read_settings
from plimsoll.commands.schema import schema
from plimsoll.errors import PlimsollError
from plimsoll.manual import page
from plimsoll.manual.alone import OWN, Hardware
from plimsoll.manual.limits import suite_limits
from plimsoll.manual.place import PAGES, manual_of, page_of
from plimsoll.manual.reading import ManualChapter, read_manual
from plimsoll.node.devices import NO_GPUS, Device, Devices
from plimsoll.plan.asking import KINDS
from plimsoll.plan.cells import PlannedCell, Selection, make_plan
from plimsoll.plan.checks import Check, read_checks
from plimsoll.report.closing import closing_lines
from plimsoll.report.page import head_text
from plimsoll.report.write import summary_text
from plimsoll.verdict.verdict import reach_verdict
from tests.support.commands import plimsoll
from tests.support.run_events import cell, crash, finish, plan, recorded, report, start

ROOT = Path(__file__).parents[2]
NODE = "acceptance/test_node.py"
CHECKS = read_checks(ROOT)
PARTS = {
    "limit": r"^\*\*Limit\.\*\* \S.{10,}",
    "what makes it fail": r"^\*\*Fails when\*\* \S.{10,}",
    "what to do": r"^\*\*What to do\.\*\* \S.{10,}",
    "whom it is asked of": r"^\*\*Asked of\*\* \S.{3,}",
    "how to run it": r"^Run it alone: `pytest -m .+`",
}
GOOD = '''"""Is it round?"""

import pytest

pytestmark = pytest.mark.load


@pytest.mark.only("files")
def test_round(variant):
    """It is round. Nothing else is.

    Limit: Exactly round (docs/limits.md).
    Fails when: it is not.
    Do: See test_round of test_shape.py.
    Symptoms: disk-full
    """
'''


def section_of(check: Check) -> str:
    text = (ROOT / page_of(check.file)).read_text(encoding="utf-8")
    [section] = re.findall(rf"^## {check.name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(section)


def suite(folder: Path, text: str) -> Path:
    (folder / "acceptance").mkdir()
    (folder / "acceptance" / "test_shape.py").write_text(text)
    return folder


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_every_check_has_a_section_with_all_its_parts(check: Check) -> None:
    section = section_of(check)
    assert len(section.strip().partition("\n\n")[0]) > 20, "it does not say what the check proves"
    assert [part for part, form in PARTS.items() if not re.search(form, section, re.MULTILINE)] == []
    for metric in check.arguments_of("measures"):
        assert f"(`{metric}`)" in section
    assert (ROOT / manual_of(check.id).partition("#")[0]).is_file()
    assert manual_of(check.id).endswith(f"#{check.name}")


def test_pages_are_what_the_docstrings_make_of_them() -> None:
    present = {f"{PAGES}/{one.name}": one.read_text(encoding="utf-8") for one in (ROOT / PAGES).glob("*.md")}
    assert present == page.pages(), "run python -m plimsoll.manual.page --write"


def gpus(*names: str) -> Devices:
    return Devices(gpus=tuple(Device(id=f"gpu{n}", kind="cuda", index=n, name=one) for n, one in enumerate(names)))


MACHINES = {
    "": NO_GPUS,
    "a GPU": gpus("H200"),
    "several GPUs": gpus("H200", "T4"),
    "several GPUs of one product": gpus("H200", "H200"),
}


@cache
def catalogue_with(weights: str, layers: int | None, device: str | None, settings: str | None) -> Catalogue:
    """The catalogue of a run with these options."""
    changed = altered(with_sources(read_catalogue(), weights, (), ROOT), weights=weights, layers=layers, device=device)
    return changed if settings is None else with_settings(changed, read_settings(settings, ROOT))


def planned(command: str, machine: str) -> tuple[PlannedCell, ...]:
    """What a command as it stands on a page plans on a machine."""
    parser = argparse.ArgumentParser(prog="pytest", allow_abbrev=False)
    for option in ("-m", "-k", "--soak", "--device", "--load-config", "--catalogue"):
        parser.add_argument(option)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--layers", type=int)
    given = parser.parse_args(shlex.split(command.removeprefix("pytest ")))
    catalogue = catalogue_with(given.weights, given.layers, given.device, given.load_config)
    selection = Selection(mark=given.m or "", keyword=given.k or "", base=ROOT, soak=given.soak is not None)
    return make_plan(ROOT, catalogue, selection, MACHINES[machine]).cells


def needs_gpu(one: PlannedCell) -> bool:
    """Whether the gate refuses it on a machine without a GPU."""
    assert one.parameter is not None
    values = one.parameter.values
    device = one.parameter.device
    tier = values["variant"].tier if "variant" in values else values.get("tier")
    return (device is not None and device.kind == "cuda") or (tier is not None and tier.device == "cuda")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_the_command_that_runs_a_check_alone_plans_it_on_what_it_says_it_needs(check: Check) -> None:
    [line] = re.findall(r"^Run it alone: .*$", section_of(check), re.MULTILINE)
    [alone] = re.findall(r"^Run it alone: `([^`]+)`", line)
    machine = (re.findall(r"It needs ([\w ]+);", line) or [""])[0]
    found = [one for one in planned(alone, machine) if one.check.name == check.name]
    assert found, f"{alone} plans nothing on {machine or 'a machine without a GPU'}"
    if machine == "":
        assert not all(one.parameter and needs_gpu(one) for one in found), f"{alone} needs a GPU, and does not say so"
    for hardware, command in re.findall(r"On ([\w ]+): `([^`]+)`", line):
        assert any(needs_gpu(one) for one in planned(command, hardware)), command
    for own in re.findall(rf"`([^`]*{OWN}[^`]*)`", line):
        ids = ("llama-3.2-1b/nf4", "llama-3.2-1b/bf16")
        mine = [one for id_ in ids for one in planned(own.replace(OWN, id_), machine)]
        assert check.name in {one.check.name for one in mine}, own


def test_every_machine_that_a_page_names_is_tried() -> None:
    assert MACHINES.keys() == {hardware.value for hardware in Hardware}


@pytest.mark.parametrize("chapter", read_manual(ROOT), ids=lambda chapter: chapter.file)
def test_the_command_of_a_page_plans_its_checks(chapter: ManualChapter) -> None:
    text = (ROOT / page_of(chapter.file)).read_text(encoding="utf-8")
    [line] = re.findall(r"^(?:Part of|\*\*Opt-in).*$", text, re.MULTILINE)
    command = re.findall(r"`(pytest [^`]+)`", line)[-1]
    machine = "a GPU" if " on a GPU" in line or "--soak" in line else ""
    assert {one.check.file for one in planned(command, machine)} >= {chapter.file}


def test_the_index_names_every_check_with_its_first_sentence() -> None:
    index = (ROOT / page.INDEX).read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| \[`(test_\w+)`\]\([\w.]+#\1\) \| (.+[.?!]) \|$", index, re.MULTILINE))
    assert rows.keys() == {check.name for check in CHECKS}


def test_every_kind_of_only_is_told_in_words() -> None:
    assert page.KINDS.keys() == KINDS.keys()


@pytest.mark.parametrize(
    ("file", "said"),
    [("ladder", "pytest -m ladder`"), ("dataset", "pytest -m dataset`"), ("soak", "--soak=30min`")],
)
def test_what_is_asked_by_name_alone_says_so(file: str, said: str) -> None:
    text = (ROOT / PAGES / f"{file}.md").read_text(encoding="utf-8")
    [opt_in] = re.findall(r"^\*\*Opt-in:\*\* .*$", text, re.MULTILINE)
    assert said in opt_in


def test_what_every_tier_asks_is_no_opt_in() -> None:
    assert "Opt-in" not in (ROOT / PAGES / "load.md").read_text(encoding="utf-8")


def test_a_docstring_is_read_part_by_part(tmp_path: Path) -> None:
    [chapter] = read_manual(suite(tmp_path, GOOD))
    [entry] = chapter.entries
    assert (chapter.intro, entry.first_sentence) == ("Is it round?", "It is round.")
    assert (entry.limit, entry.fails) == ("Exactly round (docs/limits.md).", "it is not.")
    assert entry.symptoms == ("disk-full",)
    text = page.pages(tmp_path)["docs/checks/shape.md"]
    assert "[limits](../limits.md)" in text
    assert "See [`test_round`](shape.md#test_round) of [`test_shape.py`](shape.md)." in text
    assert "(../troubleshooting.md#disk-full)" in text


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("    Limit: Exactly round (docs/limits.md).\n", "", "lacks 'Limit:'"),
        ("    Fails when: it is not.\n", "    Fails when:\n", "lacks 'Fails when:'"),
        ("    Do: See", "    Then: See", "lacks 'Do:'"),
        ("It is round. Nothing else is.", "", "lacks what it proves"),
        ("disk-full", "disk-fat", "disk-fat"),
        ("See test_round", "See test_square", "names test_square"),
        ('only("files")', 'only("square")', "'square'"),
    ],
)
def test_a_docstring_that_leaves_a_part_out_or_names_nothing_is_refused(
    tmp_path: Path, was: str, now: str, said: str
) -> None:
    assert was in GOOD
    with pytest.raises(PlimsollError, match=re.escape(said)):
        page.pages(suite(tmp_path, GOOD.replace(was, now)))


@pytest.mark.parametrize(
    ("metric", "said"),
    [  # as docs/limits.md has them
        ("cache_divergence", "bf16: at most 0.25"),
        ("quantized_divergence", "int8: at most 0.06"),
        ("vram_returned", "128"),
        ("general_answers", "an instructed model: at least 0.375"),
        ("ram_peak", "with a GPU: at most what is predicted and 4"),
    ],
)
def test_limits_of_the_suite_are_told(metric: str, said: str) -> None:
    assert said in suite_limits(metric)


def test_what_follows_from_a_measurement_has_no_figure() -> None:
    assert suite_limits("token_time") == ""


@pytest.mark.parametrize("check", ["test_it", "tests/unit/test_manual.py::test_x", "acceptance/test_it.py", "(node)"])
def test_what_is_no_check_of_the_suite_has_no_page(check: str) -> None:
    assert manual_of(check) == ""


def test_a_failure_leads_to_its_page(tmp_path: Path) -> None:
    names = ("test_slow", "test_small", "test_round")
    cells = [cell(name) for name in names]
    failures = [report(one, "call", "failed", crash(f"no {one.id}")) for one in cells]
    record = recorded(tmp_path, [start(), plan(cells), *failures, finish(1)])
    verdict = reach_verdict(record)
    [step] = [line for line in closing_lines(record, verdict) if "what each check proves" in line]
    assert step == (
        "  what each check proves, and what to do: plimsoll explain test_slow, plimsoll explain test_small and 1 more"
    )
    summary = summary_text(record, verdict)
    for name in names:
        assert f"What {name} proves, and what to do: `plimsoll explain {name}`." in summary


def test_the_page_holds_the_manual_of_what_failed_once_and_leads_there(tmp_path: Path) -> None:
    variants = ("tiny-llama/bf16", "tiny-phi/bf16")
    cells = [cell("test_free_disk", one, id=f"{NODE}::test_free_disk[{one}]") for one in variants]
    failures = [report(one, "call", "failed", crash(f"no room for {one.variant}")) for one in cells]
    record = recorded(tmp_path, [start(), plan(cells), *failures, finish(1)])
    html = head_text(record, reach_verdict(record))
    text = unescape(re.sub(r"<[^>]+>", "", html))
    [entry] = [e for chapter in read_manual(ROOT) for e in chapter.entries if e.check.name == "test_free_disk"]
    assert html.count('href="#manual-test_free_disk"') == 2
    assert html.count('id="manual-test_free_disk"') == 1
    assert text.count(entry.fails) == 1
    assert text.count(entry.do[:60]) == 3
    assert "docs/checks/" not in text


@pytest.mark.parametrize("name", ["test_free_disk", "acceptance/test_node.py::test_free_disk[tiny-llama/bf16]"])
def test_explain_prints_the_page_of_a_check(name: str) -> None:
    done = plimsoll("explain", name)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "acceptance/test_node.py::test_free_disk"
    assert [line.split()[0] for line in lines[1:] if re.match(r"  \w", line)][:5] == [
        "proves:", "limit:", "fails:", "do:", "see:",
    ]  # fmt: skip
    assert "  see:    docs/checks/node.md#test_free_disk" in lines
    assert any(line.startswith("disk-full: ") for line in lines)


def test_explain_prints_a_check_as_json() -> None:
    data = json.loads(plimsoll("explain", "test_free_disk", "--json").stdout)
    jsonschema.Draft202012Validator(schema("explain")).validate(data)
    assert (data["of"], data["check"]["page"]) == ("check", "docs/checks/node.md#test_free_disk")
    assert [each["symptom"] for each in data["diagnoses"]] == ["disk-full", "disk-read-only"]


def test_a_name_that_is_no_check_is_a_text() -> None:
    done = plimsoll("explain", "test_of_nothing")
    assert (done.returncode, done.stdout.startswith("nothing that the table knows")) == (1, True)
