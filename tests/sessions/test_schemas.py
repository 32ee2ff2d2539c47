"""`plimsoll schema`: every output that other tools read has a schema, and what is really written follows it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from plimsoll.cli import main
from plimsoll.commands.parser import COMMANDS, build_parser
from plimsoll.commands.schema import SCHEMAS, schema
from plimsoll.compare.baselines import save_baseline
from plimsoll.evidence.events import Event
from plimsoll.evidence.writer import EvidenceWriter
from plimsoll.report.results import results_schema
from plimsoll.signoff.archive import unpack
from plimsoll.signoff.manifest import MANIFEST_FILE
from plimsoll.tiny.store import Store
from tests.process.test_signoff import write_run
from tests.support.commands import plimsoll
from tests.support.compare_runs import timed_run
from tests.support.fork_servers import SERVERS
from tests.support.made_answers import answers, asking
from tests.support.run_events import NODE, line, numbered
from tests.support.subsession import ROOT, Outcome, read_events

RECORDED = ROOT / "tests" / "recorded"


def validate(name: str, data: Any) -> None:
    jsonschema.Draft202012Validator(schema(name)).validate(data)


def said(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> Any:
    """What a command prints as JSON."""
    with SERVERS.lent():
        assert main([str(argument) for argument in arguments]) == status
    return json.loads(capsys.readouterr().out)


def options_with_json(parser: argparse.ArgumentParser, path: str = "plimsoll") -> Iterator[str]:
    for action in parser._actions:
        if "--json" in action.option_strings:
            yield f"{path} --json"
        for name, inner in (action.choices or {}).items() if isinstance(action, argparse._SubParsersAction) else ():
            yield from options_with_json(inner, f"{path} {name}")


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one_and_is_printed_as_it_is_shipped(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = said(capsys, "schema", name)
    jsonschema.Draft202012Validator.check_schema(printed)
    assert (printed["title"], printed["$id"]) == (f"plimsoll/{name}/1", f"urn:plimsoll:{name}:1")
    assert printed["description"]
    package = Path(*SCHEMAS[name][0].split("."))
    assert printed == json.loads((ROOT / package / "schemas" / f"{name}-1.json").read_text())


def test_every_schema_that_is_shipped_can_be_printed() -> None:
    shipped = {path.name.removesuffix("-1.json") for path in (ROOT / "plimsoll").glob("*/schemas/*.json")}
    assert shipped == set(SCHEMAS)
    assert schema("results") == results_schema()


def test_every_output_in_json_has_a_schema() -> None:
    described = " ".join(what for _, what in SCHEMAS.values())
    outputs = list(options_with_json(build_parser(*COMMANDS)))
    assert len(outputs) >= 7
    assert [output for output in outputs if output not in described] == []


def test_the_list_names_what_each_describes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    listed = capsys.readouterr().out
    assert main(["schema", "--list"]) == 0
    assert capsys.readouterr().out == listed
    assert [line.split()[0] for line in listed.splitlines()] == list(SCHEMAS)
    assert ["node", "plimsoll/node/1", "`plimsoll", "probe", "--json`"] in [
        line.split() for line in listed.splitlines()
    ]
    with pytest.raises(SystemExit, match="2"):
        main(["schema", "nodes"])
    assert "invalid choice: 'nodes'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), *(("--recorded", path) for path in sorted(RECORDED.glob("*.json")))])
def test_a_node_follows_its_schema(arguments: tuple[object, ...], capsys: pytest.CaptureFixture[str]) -> None:
    validate("node", said(capsys, "probe", "--json", *arguments))
    validate("node", json.loads(json.dumps(NODE.to_json())))


def test_plan_and_audit_follow_their_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    marks = ("-m", "(tiny or gpu70b) and llama and bf16", "--json")
    plan = said(capsys, "plan", *marks, "--profile", "h100-80g", "--profile", "a100-40g*")
    validate("plan", plan)
    assert {row["decision"] for one in plan["plans"] for row in one["rows"]} == {"run", "skip"}
    here = said(capsys, "plan", "-m", "tiny and llama and bf16", "--json")
    validate("plan", here)
    audit = said(capsys, "audit", *marks)
    validate("audit", audit)
    assert audit["findings"]


def test_headroom_and_inspection_follow_their_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("tiny-llama", "--profile", "h100-80g", "--bridge", "16k", "--seq", "128", "--json")
    validate("headroom", said(capsys, "headroom", *asked))
    inspected = said(capsys, "inspect", "tiny-llama", "--json")
    validate("inspection", inspected)
    assert inspected["parameters"]["total"] > 500_000


def test_checkpoints_follow_their_schema(
    trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    validate("checkpoints", said(capsys, "tiny", "list", "--json"))
    assert Store().paths()
    monkeypatch.setenv("PLIMSOLL_CACHE", str(tmp_path))
    rows = said(capsys, "tiny", "list", "--json")
    validate("checkpoints", rows)
    assert {row["state"] for row in rows} == {"missing"}


def test_baselines_follow_their_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_baseline(timed_run(tmp_path, "r1", {"a/nf4": [1.0] * 5}), tmp_path, name=None, replace=False)
    rows = said(capsys, "baseline", "list", "--json", "--report-dir", tmp_path)
    validate("baselines", rows)
    assert len(rows) == 1


def test_a_bundle_and_its_verification_follow_their_schemas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, bad=False)
    bundle = tmp_path / "b.zip"
    asked = ("--operator", "J. Rossi", "--reference", "OPS-1", "--output", bundle)
    assert plimsoll("sign", tmp_path / "run", *asked).returncode == 0
    validate("bundle", json.loads(unpack(bundle.read_bytes()).files[MANIFEST_FILE]))

    holds = said(capsys, "verify", bundle, "--json")
    validate("verification", holds)
    assert (holds["verified"], holds["problems"], holds["signer"]) == (True, [], None)
    assert holds["claimed"]["operator"] == "J. Rossi"

    bundle.write_bytes(bundle.read_bytes().replace(b"J. Rossi", b"J. Bossi"))
    changed = said(capsys, "verify", bundle, "--json", status=1)
    validate("verification", changed)
    assert changed["verified"] is False
    bundle.write_bytes(b"no zip")
    nothing = said(capsys, "verify", bundle, "--json", status=1)
    validate("verification", nothing)
    assert nothing["claimed"] is None


def test_every_line_of_evidence_follows_its_schema(recorded: Outcome) -> None:
    events = recorded.events
    seen = {event["event"] for event in events}
    assert {"run", "plan", "node", "gate", "host", "load", "measurement", "judgement", "benchmark", "finish"} <= seen
    for event in events:
        validate("evidence", event)
    assert schema("evidence")["properties"]["event"]["enum"] == [event.value for event in Event]
    with pytest.raises(jsonschema.ValidationError, match="'cell' is a required property"):
        validate("evidence", numbered([line(Event.REPORT, report={})])[0])


def test_what_was_asked_of_datasets_follows_it_too(tmp_path: Path) -> None:
    asked = asking("tiny-llama/bf16", samples=1, chosen=20)
    path = tmp_path / "evidence.jsonl"
    writer = EvidenceWriter(path)
    writer.write(Event.DATASET, **asked.to_json())
    for one in answers(asked):
        writer.write(Event.ANSWER, **one.to_json())
    events = read_events(path)
    assert len(events) == 21
    for event in events:
        validate("evidence", event)
    del events[1]["log_probs"]
    with pytest.raises(jsonschema.ValidationError, match="'log_probs' is a required property"):
        validate("evidence", events[1])


def test_evidence_of_earlier_versions_follows_it_too() -> None:
    for path in (ROOT / "reports" / "baselines").rglob("evidence.jsonl"):
        for event in read_events(path):
            validate("evidence", event)
