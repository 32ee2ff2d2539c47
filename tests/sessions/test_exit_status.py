"""Exit statuses: what docs/exit-status.md promises is in every help, and each status is really reached somewhere."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from plimsoll.commands.parser import COMMANDS, build_parser
from tests.support.commands import plimsoll
from tests.support.subsession import ROOT, run_suite

# Command -> status -> the test that reaches it, beside those of this file.
ELSEWHERE: dict[str, dict[int, str]] = {
    "run": {
        0: "test_installed.py::test_the_suite_runs_where_there_is_no_checkout",
        1: "test_installed.py::test_the_status_is_the_verdicts",
        2: "test_suite.py::test_an_installation_without_the_suite_says_so",
        5: "test_installed.py::test_the_status_is_the_verdicts",
        6: "test_installed.py::test_the_next_step_is_one_that_works_here",
    },
    "inspect": {
        0: "test_inspect_command.py::test_a_process_inspects_a_repository_and_no_byte_of_its_weights_leaves_the_hub",
        2: "test_inspect_command.py::test_a_gated_repository_is_one_error",
    },
    "add": {
        0: "test_inspect_command.py::test_a_file_is_never_overwritten_without_being_told",
        2: "test_inspect_command.py::test_what_cannot_be_entered_is_one_error",
    },
    "headroom": {
        0: "test_headroom_command.py::test_the_page_names_the_answer_first",
        1: "test_headroom_command.py::test_what_does_not_fit_is_an_exit_status",
        2: "test_headroom_command.py::test_mistakes_are_one_message",
    },
    "ladder": {
        0: "test_ladder.py::test_a_sound_checkpoint_ends_the_climb_after_the_dry_run_and_is_entered",
        1: "test_ladder.py::test_a_damaged_shard_fails_once_and_implies_the_rest",
        2: "test_ladder.py::test_a_mistake_is_one_clear_error",
        6: "test_ladder.py::test_a_class_without_sdpa_is_refused_once_and_climbs_with_its_own_attention",
    },
    "explain": {
        0: "test_symptoms_of_processes.py::test_explain_a_text_a_file_and_what_is_piped_in",
        1: "test_symptoms_of_processes.py::test_explain_says_that_it_knows_nothing_and_does_not_guess",
        2: "test_symptoms_of_processes.py::test_explain_refuses_what_it_cannot_read",
    },
    "pytest": {
        0: "test_suite_runs.py::test_sound_variants_are_accepted",
        1: "test_faults_checkpoints.py::test_run_is_rejected_and_the_sound_variant_passes",
        2: "test_faults_sessions.py::test_interrupt_keeps_what_was_measured",
        4: "test_faults_sessions.py::test_typo_in_marks_is_an_error",
        5: "test_faults_sessions.py::test_empty_selection_is_incomplete",
        6: "test_faults_sessions.py::test_everything_skipped_is_incomplete",
    },
    "probe": {0: "test_cli.py::test_main_returns_the_status", 2: "test_cli.py::test_main_returns_the_status"},
    "tiny build": {
        0: "test_tiny_command.py::test_build_builds_once_and_says_what_it_has",
        2: "test_tiny_command.py::test_an_unknown_model_brings_the_nearest_name",
    },
    "tiny list": {
        0: "test_tiny_command.py::test_list_and_clean_make_no_folder",
        1: "test_tiny_command.py::test_verify_fails_unless_all_are_built_and_sound",
    },
    "tiny clean": {0: "test_tiny_command.py::test_list_and_clean_make_no_folder"},
    "plan": {
        0: "test_plan_sessions.py::test_the_command_shows_a_machine_that_is_not_there",
        2: "test_plan_sessions.py::test_mistakes_are_one_message",
        5: "test_plan_sessions.py::test_mistakes_are_one_message",
        6: "test_plan_sessions.py::test_a_model_that_cannot_be_built_is_told_in_its_row",
    },
    "audit": {
        0: "test_audit.py::test_a_dishonest_dispute_is_an_exit_status",
        1: "test_audit.py::test_a_dishonest_dispute_is_an_exit_status",
        2: "test_audit.py::test_mistakes_are_one_message",
        5: "test_audit.py::test_mistakes_are_one_message",
    },
    "report": {
        0: "test_report_command.py::test_the_exit_status_is_the_verdicts",
        1: "test_report_command.py::test_the_exit_status_is_the_verdicts",
        2: "test_report_command.py::test_no_such_run_is_one_message",
        5: "test_report_command.py::test_the_exit_status_is_the_verdicts",
        6: "test_report_command.py::test_the_exit_status_is_the_verdicts",
    },
    "uncertainty": {
        0: "test_uncertainty_outputs.py::test_the_command_writes_prints_and_exits_0_where_all_was_measured",
        2: "test_uncertainty_outputs.py::test_wrong_options_are_one_message",
        5: "test_uncertainty_outputs.py::test_runs_that_asked_nothing_exit_5",
        6: "test_uncertainty_outputs.py::test_what_is_incomplete_exits_6_and_is_named",
    },
    "sign": {
        0: "test_signoff.py::test_an_unsigned_bundle_says_so_wherever_one_looks",
        1: "test_signoff.py::test_only_an_accepted_run_is_signed",
        2: "test_signoff.py::test_what_cannot_be_signed_is_one_message",
        5: "test_signoff.py::test_only_an_accepted_run_is_signed",
        6: "test_signoff.py::test_only_an_accepted_run_is_signed",
    },
    "verify": {
        0: "test_signoff.py::test_a_sound_bundle_is_verified",
        1: "test_signoff.py::test_a_changed_byte_in_any_file_is_found",
        2: "test_signoff.py::test_no_such_bundle_is_one_message",
    },
    "compare": {
        0: "test_compare_command.py::test_planted_noise_alone_raises_no_alarm",
        1: "test_compare_command.py::test_files_of_pytest_benchmark_are_compared",
        2: "test_compare_command.py::test_a_mistake_is_one_message_and_status_two",
        5: "test_compare_command.py::test_runs_with_nothing_in_common_are_not_green",
        6: "test_compare_command.py::test_few_rounds_are_never_the_same_and_the_number_that_it_takes_is_named",
    },
    "baseline save": {0: "test_baselines.py::test_save_list_and_show_on_the_command_line"},
    "baseline list": {0: "test_baselines.py::test_save_list_and_show_on_the_command_line"},
    "baseline show": {0: "test_baselines.py::test_save_list_and_show_on_the_command_line"},
    "fleet": {
        0: "test_fleet.py::test_the_exit_statuses_are_those_of_a_verdict",
        1: "test_fleet.py::test_the_command_writes_a_page_markdown_and_files_for_programs",
        2: "test_fleet.py::test_a_mistake_is_one_message",
        5: "test_fleet.py::test_the_exit_statuses_are_those_of_a_verdict",
        6: "test_fleet.py::test_the_exit_statuses_are_those_of_a_verdict",
    },
    "slurm script": {
        0: "test_slurm_command.py::test_the_example_is_what_the_command_writes",
        2: "test_slurm_command.py::test_what_slurm_would_not_take_is_one_message",
    },
    "slurm stamp": {
        0: "test_stamp.py::test_an_accepted_node_is_stamped_and_found_as_it_was",
        2: "test_stamp.py::test_only_an_accepted_run_of_this_node_is_stamped",
    },
    "slurm check": {
        0: "test_stamp.py::test_an_accepted_node_is_stamped_and_found_as_it_was",
        1: "test_stamp.py::test_a_node_that_is_not_as_it_was_accepted_is_told_apart",
        2: "test_stamp.py::test_a_check_with_wrong_options_is_one_message",
    },
    "kubernetes manifest": {
        0: "test_kubernetes.py::test_the_manifests_are_what_the_api_takes",
        2: "test_kubernetes.py::test_what_the_api_would_refuse_is_one_message",
    },
    "kubernetes patches": {
        0: "test_kubernetes.py::test_nodes_are_told_their_verdict_by_commands_that_nothing_runs",
        2: "test_kubernetes.py::test_what_is_no_fleet_is_one_message",
    },
    "schema": {0: "test_schemas.py::test_the_list_names_what_each_describes"},
    "completion": {
        0: "test_completion.py::test_each_shell_gets_a_script_that_knows_the_commands",
        2: "test_completion.py::test_without_shtab_there_is_one_message",
    },
}
HERE = {
    ("pytest",): 3,
    ("tiny", "list", "--no-such-option"): 2,
    ("tiny", "clean", "no-such-model"): 2,
    ("baseline", "save", "no-such-run"): 2,
    ("baseline", "list", "--no-such-option"): 2,
    ("baseline", "show", "no-such-baseline"): 2,
    ("schema", "no-such-schema"): 2,
}


def documented() -> dict[str, set[int]]:
    """Command -> the statuses that the page names."""
    text = (ROOT / "docs" / "exit-status.md").read_text()
    run, _, commands = text.partition("## The command")
    found = {"pytest": {int(status) for status in re.findall(r"^\| (\d) \|", run, re.MULTILINE)}}
    for row in re.findall(r"^\| `(.+?)` \|(.+)\|$", commands, re.MULTILINE):
        cells = [cell.strip() for cell in row[1].split(" |")]
        found[row[0]] = {status for status, cell in zip((0, 1, 2, 5, 6), cells, strict=True) if cell}
    return found


def leaves(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, str]]:
    """Every command that can be called, with its help."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in inner:
        for name, sub in action.choices.items():
            yield from leaves(sub, f"{path} {name}".strip())
    if not inner:
        yield path, parser.format_help()


LEAVES = dict(leaves(build_parser(*COMMANDS)))


@cache
def defined_in(file: str) -> set[str]:
    # A file that would need two groups is two files of one name.
    trees = [ast.parse(path.read_text()) for path in (ROOT / "tests").glob(f"*/{file}")]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_page_speaks_of_every_command() -> None:
    assert set(documented()) == {"pytest", *LEAVES}


@pytest.mark.parametrize("command", LEAVES)
def test_each_help_names_the_statuses_that_the_page_names(command: str) -> None:
    text = " ".join(LEAVES[command].split())
    _, found, said = text.partition("xit status: ")
    assert found, f"{command} --help says nothing of its exit status"
    own = re.split(r" (?:positional arguments|options|--fail-on): ", said)[0]
    named = {int(digit) for digit in re.findall(r"(?<![\w.-])([0-6])(?= [a-zA-Z(-])", own)}
    assert named == documented()[command]


def test_each_status_is_reached_by_a_test() -> None:
    reached = {command: set(statuses) for command, statuses in ELSEWHERE.items()}
    for arguments, status in HERE.items():
        command = (
            " ".join(arguments[:2]) if arguments[0] in ("tiny", "baseline", "slurm", "kubernetes") else arguments[0]
        )
        reached[command].add(status)
    assert reached == documented()
    for statuses in ELSEWHERE.values():
        for where in statuses.values():
            file, _, name = where.partition("::")
            assert name in defined_in(file), where


@pytest.mark.parametrize(("arguments", "status"), [(a, s) for a, s in HERE.items() if a != ("pytest",)])
def test_a_mistake_of_the_users_has_status_two(arguments: tuple[str, ...], status: int, tmp_path: Path) -> None:
    done = plimsoll(*arguments, cwd=tmp_path, env={"PLIMSOLL_CACHE": str(tmp_path)})
    assert (done.returncode, done.stdout) == (status, "")
    assert "Traceback" not in done.stderr


def test_an_internal_error_keeps_pytests_status_and_is_not_accepted(tmp_path: Path) -> None:
    outcome = run_suite(tmp_path, "-m", "tiny", "-k", "tiny-llama/bf16", "-p", "tests.support.plugins.broken_loop")
    assert outcome.status == HERE["pytest",]
    assert outcome.verdict == "INCOMPLETE"
    assert "INTERNALERROR" in outcome.output
