"""The command line as a user meets it: whole messages, exit statuses, and what real processes make of them."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from plimsoll import __version__
from plimsoll.cli import main
from plimsoll.commands.entry_file import write_entry
from plimsoll.commands.parser import COMMANDS
from plimsoll.errors import PlimsollError
from plimsoll.report.write import write_atomically
from plimsoll.userpath import is_no_file
from tests.support.commands import plimsoll as run
from tests.support.compare_runs import noisy, timed_run
from tests.support.terminals import on_a_terminal

ROOT = Path(__file__).parents[2]
_DEFECT = (
    "import sys; import plimsoll.commands.probe as probe; from plimsoll.cli import main\n"
    "def broken(*_): raise LookupError('a defect')\n"
    "probe.SystemProbe = probe.RecordedProbe = broken\n"
    "sys.argv = ['plimsoll', 'probe']\n"
    "sys.exit(main())"
)
H100 = str(ROOT / "tests/support/recorded/synthetic-8xh100-80g.json")


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("probe", "--recorded", H100), ("probe", "--recorded", "none"), ("prob",), ()],
    ids=["help", "done", "the user's mistake", "no such command", "no command"],
)
def test_a_process_says_and_ends_as_main_does(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "plimsoll", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    here = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (here.returncode, here.stdout, here.stderr)


@pytest.mark.parametrize(
    ("arguments", "status"), [(("--help",), 0), (("probe", "--recorded", H100), 0), (("prob",), 2), (("report",), 2)]
)
def test_a_prompt_that_python_is_asked_for_hides_no_status(arguments: tuple[str, ...], status: int) -> None:
    """With -i or PYTHONINSPECT it comes after the program, and its own status is 0 or 1."""
    done = subprocess.run(
        [sys.executable, "-i", "-m", "plimsoll", *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert done.stdout or status


@pytest.mark.parametrize("command", ["run -m node", "probe", "plan -m tiny"])
def test_a_current_folder_that_is_gone_is_one_line(command: str, tmp_path: Path) -> None:
    script = f'mkdir "$1"; cd "$1"; rmdir "$1"; exec "$2" -P -m plimsoll {command}'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(tmp_path / "gone"), sys.executable],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert done.stderr == (
        "plimsoll: error: the current folder is gone (No such file or directory): change to one that is there\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("probe", "--recorded", "/dev/zero"),
        ("ladder", "tiny-llama", "--load-config", "/dev/zero"),
        ("fleet", "nothing", "--expect-nodes", "/dev/zero"),
        ("inspect", "PIPE"),
    ],
    ids=" ".join,
)
def test_a_file_that_never_ends_is_refused(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """It was read until the memory of the machine was full, or waited for."""
    pipe = tmp_path / "config.json"
    os.mkfifo(pipe)
    done = run(*(str(pipe) if each == "PIPE" else each for each in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no file, but a pipe or a device" in done.stderr


@pytest.mark.parametrize("through", ["pipe", "stream"])
def test_output_into_what_is_no_file_leaves_it_there(through: str, tmp_path: Path) -> None:
    """A new file was put in the place of /dev/stdout, or of a device, for everybody."""
    place = tmp_path / "place"
    if through == "pipe":
        os.mkfifo(place)
        script = f"cat {place} & exec {sys.executable} -m plimsoll probe --recorded {H100} --output {place}"
    else:
        place.symlink_to("/proc/self/fd/1")
        script = f"exec {sys.executable} -m plimsoll probe --recorded {H100} --output {place} > {tmp_path}/out"
    done = subprocess.run(["/bin/sh", "-c", f"{script}"], check=False, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert place.is_fifo() if through == "pipe" else place.is_symlink()
    shown = run("probe", "--recorded", H100).stdout
    assert (done.stdout if through == "pipe" else (tmp_path / "out").read_text()) == shown


def test_a_stream_that_is_a_file_keeps_what_it_had(tmp_path: Path) -> None:
    """`--output /dev/stdout >> log` emptied the log."""
    log = tmp_path / "log"
    log.write_text("of yesterday\n")
    with log.open("a") as stream:
        command = [sys.executable, "-m", "plimsoll", "probe", "--recorded", H100, "--output", "/dev/stdout"]
        subprocess.run(command, check=True, stdout=stream, cwd=ROOT)
    assert log.read_text() == "of yesterday\n" + run("probe", "--recorded", H100).stdout


def two_runs(folder: Path) -> dict[str, Path]:
    """Two runs, by the words that commands below call them by."""
    names = {"RUN": "run", "OTHER": "other"}
    return {word: timed_run(folder, name, {"model/nf4": noisy(1, 9)}) for word, name in names.items()}


@pytest.mark.parametrize(
    ("command", "name", "begins"),
    [
        ("compare RUN OTHER --html", "page", "<!DOCTYPE html>"),
        ("compare RUN OTHER --markdown", "text", "#"),
        ("compare RUN OTHER --json", "data", "{"),
        ("fleet RUN --output", "fleet.md", "#"),
        ("fleet RUN --metrics-file", "fleet.prom", "# HELP"),
    ],
)
def test_what_a_command_writes_goes_into_a_pipe(command: str, name: str, begins: str, tmp_path: Path) -> None:
    """A file was put in its place, and its reader waited for ever."""
    places = two_runs(tmp_path)
    pipe, got = tmp_path / name, tmp_path / "got"
    os.mkfifo(pipe)
    with got.open("wb") as into, subprocess.Popen(["/bin/cat", pipe], stdout=into) as reader:
        try:
            done = run(*(places.get(word, word) for word in command.split()), pipe)
            assert (pipe.is_fifo(), done.returncode) == (True, 0), done.stderr
            assert reader.wait(10) == 0
        finally:
            reader.kill()
    assert got.read_text().startswith(begins), done.stderr


@pytest.mark.parametrize("command", ["compare RUN OTHER --html FILE --markdown", "fleet RUN --output FILE --output"])
@pytest.mark.parametrize("again", ["same", "link", "other spelling"])
def test_two_outputs_of_one_command_in_one_file_are_a_usage_error(command: str, again: str, tmp_path: Path) -> None:
    """The one that was written last was all that was left, and the command exited as if both were there."""
    file, link = tmp_path / "out.md", tmp_path / "link.md"
    link.symlink_to("out.md")
    places = {**two_runs(tmp_path), "FILE": file}
    second = {"same": file, "link": link, "other spelling": tmp_path / "run" / ".." / "out.md"}[again]
    done = run(*(places.get(word, word) for word in command.split()), second)
    assert (done.returncode, done.stdout) == (2, "")
    assert f" both name {file}; give each a file of its own" in done.stderr
    assert not file.exists()


def test_what_is_thrown_away_may_be_thrown_away_twice(tmp_path: Path) -> None:
    places = two_runs(tmp_path)
    done = run("compare", *places.values(), "--html", "/dev/null", "--markdown", "/dev/null")
    assert done.returncode == 0, done.stderr


def test_what_is_no_file_is_told_from_files(tmp_path: Path) -> None:
    file, link, pipe = (tmp_path / name for name in ("file", "link", "pipe"))
    file.touch()
    link.symlink_to(file)
    os.mkfifo(pipe)
    assert all(map(is_no_file, (Path("/dev/null"), Path("/dev/stdout"), pipe)))
    assert not any(map(is_no_file, (file, link, tmp_path, tmp_path / "none")))


def test_no_entry_and_no_report_takes_the_place_of_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, device = tmp_path / "pipe", tmp_path / "device"
    os.mkfifo(pipe)
    with pytest.raises(PlimsollError, match="is no file, but a device or a pipe"):
        write_entry(pipe, "", [])
    device.write_text("as it was")
    monkeypatch.setattr(Path, "is_char_device", lambda path: path == device)
    with pytest.raises(OSError, match="it is no file, but a device"):
        write_atomically(device, "text")
    assert device.read_text() == "as it was"
    with pytest.raises(OSError, match="it is no file, but a device or a pipe"):
        write_atomically(pipe, "text")
    assert pipe.is_fifo()


def test_a_name_that_nobody_sees_cannot_sign() -> None:
    done = run("sign", "latest", "--operator", "\u200b", "--reference", "x")
    assert done.returncode == 2
    assert "argument --operator: must be one line of 1 to 200 printable characters, not '\\u200b'" in done.stderr, (
        done.stderr
    )


def test_help_explains_the_tool_its_commands_and_its_exit_statuses() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Plimsoll says which language models a GPU node carries, and proves it." in done.stdout
    assert all(f"    {name}" in done.stdout for name in COMMANDS)
    for line in (
        "  0    done;",
        "  1    REJECTED:",
        "  2    usage error,",
        "  5    nothing was planned",
        "  6    INCOMPLETE:",
    ):
        assert line in done.stdout


def test_without_a_command_the_help_is_shown_as_a_usage_error() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == run("--help").stdout


def test_an_unknown_command_is_a_usage_error_that_lists_the_known_ones() -> None:
    done = run("prob")
    assert done.returncode == 2
    assert "invalid choice: 'prob'" in done.stderr
    assert "probe" in done.stderr.splitlines()[-1]


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout == f"plimsoll {__version__}\n"


def test_a_mistake_of_the_users_is_one_message_without_a_traceback(tmp_path: Path) -> None:
    done = run("probe", "--recorded", str(tmp_path / "none.json"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"plimsoll: error: {tmp_path / 'none.json'}: cannot read the recorded node: No such file or directory\n"
    )


def test_json_can_be_recorded_and_shown_again(tmp_path: Path) -> None:
    recorded = tmp_path / "node.json"
    recorded.write_text(run("probe", "--json").stdout)
    again = run("probe", "--json", "--recorded", str(recorded))
    assert json.loads(again.stdout) == json.loads(recorded.read_text())


def test_a_recorded_node_is_shown_as_aligned_tables() -> None:
    done = run("probe", "--recorded", H100)
    lines = done.stdout.splitlines()
    assert lines[0] == "node          synthetic-8xh100-80g"
    assert "memory        2.10 TB (1.91 TiB) available of 2.16 TB (1.97 TiB)" in lines
    assert "driver        580.82.07, up to CUDA 13.0" in lines
    start = lines.index("GPUs")
    assert lines[start + 1].split() == ["index", "name", "memory", "free", "capability", "MIG"]
    assert len({line.index("85.52 GB") for line in lines[start + 2 : start + 10]}) == 1
    assert "not read" not in done.stdout


def test_packages_outside_the_supported_range_are_shown(tmp_path: Path) -> None:
    node = json.loads(Path(H100).read_text())
    node["packages"]["transformers"] = "4.57.1"
    node["environment"]["HF_HOME"] = "/data/\x1b[2Jgone"
    (tmp_path / "node.json").write_text(json.dumps(node))
    output = run("probe", "--recorded", str(tmp_path / "node.json")).stdout
    assert "unsupported packages\n  transformers 4.57.1, needs " in output
    assert "\x1b" not in output
    assert "/data/\\x1b[2Jgone" in output


def test_a_reader_that_leaves_early_is_not_a_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "plimsoll", "probe", "--recorded", H100]
    done = subprocess.run(command, check=False, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_the_caller_closed_changes_nothing(closed: str, tmp_path: Path) -> None:
    """As some daemons start their programs; a status of 1 would be a rejection."""
    told = tmp_path / "probe.txt"
    script = f'exec "$@" {closed}'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "plimsoll", "probe", "--recorded", H100]
    with told.open("w") as file:
        done = subprocess.run(command, check=False, stdout=file, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("H100" in told.read_text()) == (">&-" not in closed.replace("2>&-", ""))


def test_a_command_hears_how_its_children_end_though_its_launcher_ignored_them() -> None:
    """Python takes a status that it cannot have for 0: a child that failed would have done well."""
    script = (
        "import subprocess, sys; import plimsoll.commands.probe as probe; from plimsoll.cli import main\n"
        "def asked(*_): sys.exit(subprocess.run([sys.executable, '-c', 'raise SystemExit(7)']).returncode)\n"
        "probe.SystemProbe = probe.RecordedProbe = asked\n"
        "sys.argv = ['plimsoll', 'probe']\n"
        "sys.exit(main())"
    )

    def ignore() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, preexec_fn=ignore)
    assert (done.returncode, done.stderr) == (7, "")


def test_output_that_finds_no_room_is_one_error() -> None:
    command = [sys.executable, "-m", "plimsoll", "probe", "--recorded", H100]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == "plimsoll: error: the output, or a file, could not be written: No space left on device\n"


@pytest.mark.parametrize(("out", "status"), [("/dev/full", 2), ("a reader that left", 141)])
def test_help_that_nobody_takes_has_a_status_of_its_own(out: str, status: int) -> None:
    """argparse prints it and ends: what waits in the buffer is written by the interpreter, whose status is 120."""
    command = f"{shlex.quote(sys.executable)} -m plimsoll --help"
    # A reader that has left before anything is written, however slow it would be to do so.
    reader, writer = os.pipe()
    os.close(reader)
    script = f"{command} > {out}" if status == 2 else f"{command} >&{writer}; exit $?"
    done = subprocess.run(
        ["/bin/bash", "-c", script], check=False, capture_output=True, text=True, cwd=ROOT, pass_fds=[writer]
    )
    os.close(writer)
    told = "plimsoll: error: the output, or a file, could not be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (status, told if status == 2 else "")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("-m", "plimsoll", "probe", "--recorded", H100), 0),
        (("-m", "plimsoll", "report", "/nope"), 2),
        (("-m", "plimsoll", "prob"), 2),
        (("-m", "plimsoll"), 2),
        (("-i", "-m", "plimsoll", "prob"), 2),
        (("-c", _DEFECT), 3),
    ],
    ids=["done", "a mistake", "no such command", "no command", "a prompt", "a defect"],
)
def test_an_error_that_nobody_can_be_told_keeps_its_status(arguments: tuple[str, ...], status: int) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=full,
            cwd=ROOT,
        )
    assert done.returncode == status


def test_a_defect_has_no_status_of_a_verdict() -> None:
    command = [sys.executable, "-c", _DEFECT]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "LookupError: a defect"


def test_probing_imports_neither_torch_nor_pytest_nor_other_commands() -> None:
    script = (
        "import sys; from plimsoll.cli import main; status = main(['probe', '--json'])\n"
        "heavy = {'torch', 'transformers', 'bitsandbytes', 'huggingface_hub', 'pytest', 'pydantic'}\n"
        "known = {f'plimsoll.commands.{name}' for name in ('parser', 'output', 'probe')}\n"
        "commands = {m for m in sys.modules if m.startswith('plimsoll.commands.')} - known\n"
        "print(status, sorted(heavy & sys.modules.keys()), sorted(commands), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == "0 [] []\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_listed_command_exists_and_says_the_same_in_both_helps(name: str) -> None:
    subparsers = argparse.ArgumentParser().add_subparsers()
    import_module(f"plimsoll.commands.{name}").add_parser(subparsers)
    assert list(subparsers.choices) == [name]
    [listed] = subparsers._choices_actions
    assert listed.help == COMMANDS[name]
    own = run(name, "--help")
    assert (own.returncode, own.stderr) == (0, "")
    assert own.stdout.startswith(f"usage: plimsoll {name} ")


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_description_keeps_the_names_in_its_summary(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert f"\nAccept nodes under {name.capitalize()}: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "-m", "gpu1b", "--profile", "h100-80g"),
        ("audit", "-m", "gpu1b"),
        ("probe", "--recorded", H100),
        ("compare", "a", "b"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_terminal_has_no_word_and_no_number_broken(arguments: tuple[str, ...], tmp_path: Path) -> None:
    if arguments[0] == "compare":
        for name in ("a", "b"):
            timed_run(tmp_path, name, {"model-of-a-long-name/nf4": noisy(1, 9)})
        arguments = (*arguments, "--report-dir", str(tmp_path))
    whole = run(*arguments)
    status, output = on_a_terminal("plimsoll", *arguments, COLUMNS="80")
    assert status == whole.returncode
    assert sorted(output.split()) == sorted(f"{whole.stdout} {whole.stderr}".split())
    lines = output.replace(whole.stderr.replace("\n", "\r\n"), "").split("\r\n")
    assert max(map(len, lines)) <= 80
    assert max(map(len, whole.stdout.splitlines())) > 80, "a pipe has its lines whole"


def test_main_returns_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--recorded", H100]) == 0
    assert main(["probe", "--recorded", "/no/such/file"]) == 2
    assert capsys.readouterr().err.startswith("plimsoll: error: /no/such/file: ")
