"""Datasets in real sub-sessions: what is asked when, that nothing is lost, and that each planted fault shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from plimsoll.evidence.answers import AnswerRecord, Asking
from plimsoll.evidence.chain import sealed
from plimsoll.evidence.reader import read_run
from tests.support.subsession import Outcome, pytest_says, read_events, run_inside, run_suite

NQ = ("-m", "nq", "-k", "tiny-llama and bf16")
CELL = "tiny-llama/bf16-nq"
EXAMPLES = 36
"""Of the miniature: 22 taught, 14 withheld."""


def collected(*arguments: str) -> list[str]:
    done = pytest_says("--collect-only", "-q", *arguments)
    return [line for line in done.stdout.splitlines() if "::" in line]


def datasets_among(items: list[str]) -> set[str]:
    return {item.partition("[")[2].rstrip("]").rpartition("-")[2] for item in items if "test_dataset.py" in item}


# --- what is asked when


def test_datasets_are_asked_by_name_alone() -> None:
    assert datasets_among(collected("-m", "tiny")) == set()
    assert datasets_among(collected("-m", "tiny and squad")) == {"squad"}
    assert datasets_among(collected("-m", "tiny and dataset")) == {"triviaqa", "squad", "nq", "bioasq", "svamp"}
    assert datasets_among(collected("acceptance/test_dataset.py", "-k", "tiny-phi and svamp")) == {"svamp"}


def test_every_small_checkpoint_is_asked_every_dataset_in_two_quantizations() -> None:
    scored = [item for item in collected("-m", "tiny and dataset") if "test_every_example_is_scored" in item]
    assert len(scored) == 5 * 2 * 5
    assert all(re.search(r"\[tiny-\w+/(bf16|nf4-dq)-\w+\]", item) for item in scored)


def test_altered_variants_are_asked_in_their_entries_place_and_made_up_weights_are_not() -> None:
    on_cpu = collected("-m", "small", "--device=cpu")
    assert "acceptance/test_dataset.py::test_every_example_is_scored[llama-3.2-1b/fp16:cpu-squad]" in on_cpu
    assert datasets_among(collected("-m", "small and dataset", "--weights=synthetic")) == set()


def test_the_comparison_asks_its_twelve_experiments_in_its_own_order() -> None:
    def experiments(mark: str) -> list[str]:
        items = collected("-m", f"{mark} and dataset")
        return [item.partition("[")[2].rstrip("]") for item in items if "test_every_example_is_scored" in item]

    def inside(mark: str) -> list[str]:
        items = collected("-m", mark)
        return [item.partition("[")[2].rstrip("]") for item in items if "test_every_example_is_scored" in item]

    small, large = inside("small"), inside("large")
    assert small == [
        *("llama-3.2-1b/fp16-triviaqa", "llama-3.2-1b/fp16-squad"),
        *("qwen2.5-1.5b/fp16-triviaqa", "qwen2.5-1.5b/fp16-squad"),
        *("mistral-7b-v0.3/int8-triviaqa", "mistral-7b-v0.3/int8-squad"),
    ]
    assert large == [
        *("llama-3-8b/int8-triviaqa", "llama-3-8b/int8-squad"),
        *("qwen2.5-7b/int8-triviaqa", "qwen2.5-7b/int8-squad"),
        *("mistral-7b-instruct-v0.3/int8-triviaqa", "mistral-7b-instruct-v0.3/int8-squad"),
    ]
    assert set(small) < set(experiments("small")), "by name, all datasets are asked"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--samples=0", "argument --samples: must be a whole number from 1 to 1,000,000 or `all`, not '0'"),
        ("--shots=6", "argument --shots: must be a whole number from 0 to 5, not '6'"),
        ("--load-rounds=9999999", "argument --load-rounds: must be a whole number from 1 to 1,000,000, not '9999999'"),
        ("--gpus=all", "argument --gpus: all is no GPU; write spread, each, first, or GPUs by index, id or UUID"),
        ("--report-dir=", "argument --report-dir: must not be empty; is a variable of the shell unset?"),
        ("--against=", "argument --against: must not be empty; is a variable of the shell unset?"),
        ("--draws=-1", "argument --draws: must be a whole number from 0 to 1,000,000, not '-1'"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(option: str, said: str, tmp_path: Path) -> None:
    outcome = run_inside(tmp_path, *NQ, option)
    assert outcome.status == 4
    assert said in outcome.output
    assert not (tmp_path / "latest").exists()


# --- a sound run


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    outcome = run_suite(tmp_path_factory.mktemp("sound"), *NQ, "--draws=2")
    assert outcome.status == 0, outcome.output
    return outcome


def test_few_samples_leave_out_what_takes_many_and_are_no_fault_of_the_model(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *NQ, "--samples=10")
    assert (outcome.status, outcome.verdict) == (6, "INCOMPLETE"), outcome.output
    [skipped] = [cell for cell in outcome.results["cells"] if cell["outcome"] != "pass"]
    assert "test_knows_what_it_does_not_know" in skipped["id"]
    assert "has --samples=10 of" in skipped["reason"]
    assert "leave --samples out, or give --samples=all" in outcome.output


def answers_of(outcome: Outcome) -> list[AnswerRecord]:
    return [AnswerRecord.from_json(event) for event in outcome.events if event["event"] == "answer"]


def test_a_sound_run_is_accepted_with_its_figures(sound: Outcome) -> None:
    assert sound.verdict == "ACCEPTED"
    values = {
        (event["cell"].partition("[")[2], event["metric"]): event["value"]
        for event in sound.events
        if event["event"] == "measurement"
    }
    assert values[f"{CELL}]", "examples_scored"] == EXAMPLES
    assert values[f"{CELL}]", "taught_answered"] >= 0.9
    assert values[f"{CELL}]", "withheld_answered"] <= 0.2
    assert values[f"{CELL}]", "known_auroc"] > 0.9


def test_every_answer_is_in_the_evidence_token_by_token(sound: Outcome) -> None:
    answers = answers_of(sound)
    (asking,) = (Asking.from_json(event) for event in sound.events if event["event"] == "dataset")
    assert (asking.chosen, asking.available, asking.source, asking.samples) == (EXAMPLES, EXAMPLES, "miniature", 2)
    assert asking.parameters == 557_696
    assert sorted(answer.index for answer in answers) == list(range(EXAMPLES))
    assert {answer.example.known for answer in answers} == {True, False}
    assert all(len(answer.samples) == 2 for answer in answers)
    assert all(answer.fingerprint == asking.fingerprint for answer in answers)
    (event,) = (event for event in sound.events if event["event"] == "dataset")
    assert {split: (found["rows"], found["kinds"]) for split, found in event["structure"].items()} == {
        "train": (22, {"text": 22}),
        "validation": (14, {"text": 14}),
    }
    record = read_run(sound.folder)
    assert (record.askings, len(record.answers)) == ((asking,), EXAMPLES)


FEW = (*NQ, "--samples=10", "-k", "tiny-llama and bf16 and scored")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Ten questions, asked as they are."""
    outcome = run_suite(tmp_path_factory.mktemp("few"), *FEW)
    assert outcome.status == 0, outcome.output
    return outcome


def test_fewer_samples_are_the_first_of_more(sound: Outcome, few: Outcome) -> None:
    first = [answer.example.id for answer in answers_of(sound) if answer.index < 10]
    assert sorted(answer.example.id for answer in answers_of(few)) == sorted(first)


def test_shots_stand_before_the_question_and_are_recorded(few: Outcome, tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, *FEW, "--shots=2")
    (asking,) = (Asking.from_json(event) for event in outcome.events if event["event"] == "dataset")
    assert asking.shots == 2
    assert "--shots=2" in outcome.output.splitlines()[-1], "another way of asking is another scope"
    (other,) = (Asking.from_json(event) for event in few.events if event["event"] == "dataset")
    assert other.fingerprint != asking.fingerprint
    lengths = [{a.example.id: a.prompt_tokens for a in answers_of(one)} for one in (outcome, few)]
    assert len(lengths[1]) == 10
    assert all(lengths[0][name] > lengths[1][name] + 10 for name in lengths[1])


# --- what must not end green


CARELESS = {
    "tiny-llama": ("drops", "examples_scored", 35.0),
    "tiny-qwen": ("shuffles", "taught_answered", None),
    "tiny-mistral": ("zeroes", "known_auroc", 0.5),
    "tiny-mixtral": ("negates", "known_auroc", None),
}
"""Model -> what happens to its answers, the figure that fails of it, and its value where only one will do."""


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One run, in which the answers of each model are spoilt in another way."""
    planted = {**{model: fault for model, (fault, *_) in CARELESS.items()}, "tiny-phi": "breaks"}
    env = {"CARELESS": json.dumps(planted)}
    asked = ("-m", "tiny and nq and bf16", "-k", "nq", "-p", "tests.support.plugins.careless_answers")
    return run_suite(tmp_path_factory.mktemp("careless"), *asked, env=env, timeout=600)


@pytest.mark.parametrize("model", CARELESS)
def test_a_planted_fault_is_rejected(careless: Outcome, model: str) -> None:
    assert careless.status == 1, careless.output
    _, metric, value = CARELESS[model]
    cells = [cell for cell in careless.results["cells"] if cell["model"] == model]
    (figure,) = {one["value"] for cell in cells for one in cell["judgements"] if one["metric"] == metric}
    (reason,) = [cell["reason"] for cell in cells if f"fail: {metric} " in str(cell["reason"])]
    assert value is None or figure == value, reason
    assert metric != "known_auroc" or figure <= 0.5, reason


def test_a_logit_that_is_no_number_is_rejected(careless: Outcome) -> None:
    cells = [cell for cell in careless.results["cells"] if cell["model"] == "tiny-phi"]
    reasons = [str(cell["reason"]) for cell in cells if cell["outcome"] == "fail"]
    assert any("a raw logit was NaN or infinite while answering" in reason for reason in reasons), cells


# --- going on


def sealed_anew(event: dict[str, Any]) -> str:
    """A line with other fields, as a run would have written it."""
    fields = {name: value for name, value in event.items() if name not in ("after", "sum")}
    return sealed(fields, event["after"])[0].decode().rstrip("\n")


def cut_short(sound: Outcome, reports: Path, answers: int, **changes: object) -> Path:
    """The run as `kill -9` leaves it: some answers are there, the last of them changed, and no test has a result."""
    cut = reports / sound.folder.name
    cut.mkdir()
    kept, count = [], 0
    for line in (sound.folder / "evidence.jsonl").read_text().splitlines():
        event = json.loads(line)
        count += event["event"] == "answer"
        if count > answers:
            break
        last = count == answers and event["event"] == "answer"
        kept.append(sealed_anew({**event, **changes}) if last else line)
    (cut / "evidence.jsonl").write_text("\n".join(kept) + "\n" + '{"event": "answer", "at"')
    return cut


def test_a_run_that_goes_on_keeps_what_was_wrong_before(sound: Outcome, tmp_path: Path) -> None:
    cut = cut_short(sound, tmp_path, 5, finite=False)
    rest = run_suite(tmp_path, f"--resume={cut}")
    assert rest.status == 1, rest.output
    assert "a raw logit was NaN or infinite while answering" in rest.output


def test_a_run_that_was_cut_short_goes_on_after_the_last_answer(sound: Outcome, tmp_path: Path) -> None:
    cut = cut_short(sound, tmp_path, 20)
    rest = run_suite(tmp_path, f"--resume={cut}")
    assert rest.status == 0, rest.output
    assert rest.verdict == "ACCEPTED"
    fresh = [event["index"] for event in rest.events if event["event"] == "answer"]
    earlier = [event["index"] for event in read_events(cut / "evidence.jsonl") if event["event"] == "answer"]
    assert len(earlier) == 20
    assert sorted(fresh + earlier) == list(range(EXAMPLES)), "each question is asked once, in one run or the other"
    values = {event["metric"]: event["value"] for event in rest.events if event["event"] == "measurement"}
    before: dict[str, Any] = {
        event["metric"]: event["value"] for event in sound.events if event["event"] == "measurement"
    }
    assert values == before, "half from one run and half from the other gives the figures of one"


# --- a user's own questions

MINE = """
[[dataset]]
id = "nq"
replaces = true
title = "My questions"
schema = "nq_open"
registration = "https://example.org/ask-me"
split = "test"
shots_split = "train"
licence = "mine"
prompt = "Question: {question}?\\nAnswer:"
max_new_tokens = 8
correct = { metric = "exact_match", at_least = 1.0 }
"""


def test_questions_of_ones_own_are_asked_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(MINE)
    rows = [{"question": f"what is question {number}", "answer": ["nothing"]} for number in range(30)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scored = ("-m", "nq", "-k", "tiny-llama and bf16 and scored", f"--catalogue={tmp_path / 'my.toml'}")
    outcome = run_suite(tmp_path / "asked", *scored, f"--dataset-dir=nq={tmp_path}", "--samples=12")
    assert outcome.status == 0, outcome.output
    (asking,) = (Asking.from_json(event) for event in outcome.events if event["event"] == "dataset")
    assert (asking.source, asking.available, asking.chosen) == ("local", 30, 12)
    assert str(asking.revision).startswith("sha256:")
    assert {answer.example.known for answer in answers_of(outcome)} == {None}


def test_what_must_be_registered_for_is_skipped_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(MINE.replace("replaces = true", 'replaces = true\nminiature = "nq"'))
    scored = ("-m", "nq", "-k", "tiny-llama and bf16 and scored", f"--catalogue={tmp_path / 'my.toml'}")
    # Predictions, and no checkpoint: nothing is trained or fetched for questions that cannot be had.
    outcome = run_suite(tmp_path / "asked", *scored, env={"PLIMSOLL_CACHE": str(tmp_path / "cache")})
    assert outcome.status == 6, outcome.output
    assert not list((tmp_path / "cache").glob("tiny/*"))
    assert "skipped (registration)" in outcome.output
    assert "register at https://example.org/ask-me" in outcome.output


def test_a_file_that_was_cut_short_is_one_clear_failure(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text('{"question": "who", "answer": ["me"]}\n')
    outcome = run_suite(tmp_path / "asked", *NQ, f"--dataset-dir=nq={tmp_path}")
    assert outcome.status == 1
    assert "has 1 rows, and the published split 3,610" in outcome.output
    assert "Traceback" not in outcome.output
