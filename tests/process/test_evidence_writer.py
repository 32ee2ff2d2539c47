"""The writer: what was measured stands, whatever the disk, other processes or a signal do; and no secret gets in."""

from __future__ import annotations

import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from plimsoll import clock
from plimsoll.errors import PlimsollError
from plimsoll.evidence.encoding import encode
from plimsoll.evidence.events import Event
from plimsoll.evidence.host_fields import load_fields
from plimsoll.evidence.reader import read_run
from plimsoll.evidence.writer import EvidenceWriter, fallback_path
from plimsoll.host.protocol import CacheState, HostMemory, Inventory, LoadReport, ParameterRecord
from plimsoll.redaction import REDACTED, Redactor
from plimsoll.verdict.verdict import Word, reach_verdict
from tests.support.run_events import NODE, cell, good_run

ROOT = Path(__file__).parents[2]
TOKEN = "hf_" + "a1B2" * 9


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder, with a folder for temporary files of its own."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    run = tmp_path / "run-1"
    run.mkdir()
    return run


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def run_python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_event_is_one_line_that_says_what_when_and_who(folder: Path) -> None:
    writer = EvidenceWriter(folder / "evidence.jsonl", worker="gw0")
    writer.write(Event.COLLECT_ERROR, nodeid="a.py", text="line\nbreak")
    writer.write(Event.FINISH, exitstatus=0, interrupted=False, reason="")
    first, second = lines_of(folder / "evidence.jsonl")
    assert first.pop("at").endswith("+00:00")
    assert (first.pop("after"), second["after"]) == ("", first.pop("sum"))
    assert first == {"event": "collect_error", "worker": "gw0", "seq": 1, "nodeid": "a.py", "text": "line\nbreak"}
    assert (second["event"], second["seq"]) == ("finish", 2)
    assert writer.failure is None
    assert writer.unwritten == ()


def test_a_line_is_in_the_file_when_write_returns(folder: Path) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from plimsoll.evidence.events import Event
        from plimsoll.evidence.writer import EvidenceWriter
        writer = EvidenceWriter(Path(sys.argv[1]))
        writer.write(Event.COLLECT_ERROR, nodeid="a", text="b")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_python(code, folder / "evidence.jsonl").returncode == -signal.SIGKILL
    assert lines_of(folder / "evidence.jsonl")[0]["nodeid"] == "a"


def test_values_that_json_lacks_are_written_by_their_names(folder: Path) -> None:
    values = {
        "numbers": (1, 2.5, math.nan, math.inf, -math.inf, True, None),
        Path("/a"): Path("/b"),
        "object": object(),
        "surrogate": "\udcff",
        3: {4: 5},
    }
    writer = EvidenceWriter(folder / "evidence.jsonl")
    writer.write(Event.HOST, values=values)
    raw = (folder / "evidence.jsonl").read_text("ascii")
    (line,) = [json.loads(raw, parse_constant=pytest.fail)]
    assert line["values"] == {
        "numbers": [1, 2.5, "NaN", "Infinity", "-Infinity", True, None],
        "/a": "/b",
        "object": "<not JSON: object>",
        "surrogate": "\\udcff",
        "3": {"4": 5},
    }


def test_a_value_that_holds_itself_ends(folder: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    EvidenceWriter(folder / "evidence.jsonl").write(Event.HOST, endless=endless)
    assert "<not JSON: list>" in (folder / "evidence.jsonl").read_text()


def test_fields_of_the_writer_itself_are_refused(folder: Path) -> None:
    writer = EvidenceWriter(folder / "evidence.jsonl")
    with pytest.raises(ValueError, match=r"^the fields worker of an event are set by the writer$"):
        writer.write(Event.HOST, worker="gw3")


def test_processes_that_write_at_once_lose_and_mix_nothing(folder: Path) -> None:
    code = """
        import select, sys
        from pathlib import Path
        from plimsoll.evidence.events import Event
        from plimsoll.evidence.writer import EvidenceWriter
        writer = EvidenceWriter(Path(sys.argv[1]), worker=sys.argv[2])
        number = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            number += 1
            writer.write(Event.HOST, number=number, filling="x" * (number * 97 % 900 if number % 50 else 20_000))
        assert writer.failure is None
    """
    path = folder / "evidence.jsonl"
    path.touch()
    workers = [f"gw{n}" for n in range(4)]
    with ExitStack() as stack:
        writers = []
        for worker in workers:
            command = [sys.executable, "-c", textwrap.dedent(code), str(path), worker]
            writers.append(stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)))
        # All write until each has written a good deal, so their writes overlap however the machine is loaded.
        while any(path.read_bytes().count(f'"worker":"{worker}"'.encode()) < 100 for worker in workers):
            clock.sleep(0.05)
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.close()
        assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    lines = lines_of(path)
    assert {line["worker"] for line in lines} == set(workers)
    for worker in workers:
        numbers = [line["seq"] for line in lines if line["worker"] == worker]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_write_waits_for_one_that_another_process_has_begun(folder: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from plimsoll.evidence.events import Event
        from plimsoll.evidence.writer import EvidenceWriter
        EvidenceWriter(Path(sys.argv[1])).write(Event.HOST, state="started")
    """
    path = folder / "evidence.jsonl"
    with path.open("ab", buffering=0) as half:
        fcntl.flock(half, fcntl.LOCK_EX)
        half.write(b'{"event":')
        with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path)], cwd=ROOT) as other:
            waiting = f" {other.pid} "
            while other.poll() is None and not any(
                "->" in lock and waiting in lock for lock in Path("/proc/locks").read_text().splitlines()
            ):
                clock.sleep(0.01)
            half.write(b'"host"}\n')
            fcntl.flock(half, fcntl.LOCK_UN)
            assert other.wait() == 0
    assert [line["event"] for line in lines_of(path)] == ["host", "host"]


def write_all(writer: EvidenceWriter, events: list[dict[str, Any]]) -> None:
    for event in events:
        fields = {key: value for key, value in event.items() if key not in ("event", "at", "worker")}
        writer.write(Event(event["event"]), **fields)


def test_a_device_without_room_loses_nothing_and_forbids_to_accept(folder: Path) -> None:
    (folder / "evidence.jsonl").symlink_to("/dev/full")
    writer = EvidenceWriter(folder / "evidence.jsonl")
    write_all(writer, good_run([cell("test_it")]))
    fallback = fallback_path(folder / "evidence.jsonl", "main")
    why = f"{folder / 'evidence.jsonl'} does not take the evidence of main (No space left on device)"
    assert writer.failure == f"{why}; it lies in {fallback}"
    assert [line["event"] for line in lines_of(fallback)] == [
        *("run", "plan", "node", "report", "report", "report", "finish")
    ]
    assert fallback.stat().st_mode & 0o777 == 0o600


QUOTA = """
    import json, resource, sys
    from pathlib import Path
    from plimsoll.evidence.events import Event
    from plimsoll.evidence.writer import EvidenceWriter
    from tests.support.run_events import cell, good_run
    path, room, again = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "again"
    writer = EvidenceWriter(path)
    events = good_run([cell("test_it", measures=["load_time"]), cell("test_that")])
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    for number, event in enumerate(events):
        if again and number == len(events) - 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        fields = {key: value for key, value in event.items() if key not in ("event", "at", "worker")}
        writer.write(Event(event["event"]), **fields)
    print(json.dumps([writer.failure, len(writer.unwritten)]))
"""


@pytest.mark.parametrize("room", [0, 100, 1000, 2500, 3333])
def test_a_quota_leaves_whole_lines_and_the_rest_is_found_and_told(folder: Path, room: int) -> None:
    temporary = folder.parent / "tmp"
    done = run_python(QUOTA, folder / "evidence.jsonl", room, "", TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    failure, unwritten = json.loads(done.stdout)
    raw = (folder / "evidence.jsonl").read_bytes()
    assert len(raw) <= room
    assert raw == b"" or raw.endswith(b"\n"), "the half of a line that found room must be taken back"
    assert unwritten > 0
    assert "does not take the evidence of main (File too large)" in failure
    if room < 1000:  # the quota of a process holds for its second file too: all is in memory only
        assert failure.endswith("it is only in memory")
        return
    verdict = reach_verdict(read_run(folder), failure)
    assert verdict.word is Word.INCOMPLETE
    assert verdict.exit_status == 6


def test_what_the_run_folder_does_not_take_is_read_from_the_second_file(folder: Path) -> None:
    evidence = folder / "evidence.jsonl"
    writer = EvidenceWriter(evidence)
    events = good_run([cell("test_it"), cell("test_that")])
    write_all(writer, events[:4])
    moved = folder / "moved.jsonl"
    evidence.rename(moved)
    write_all(writer, events[4:])
    fallback = fallback_path(evidence, "main")
    assert writer.failure == (
        f"{evidence} does not take the evidence of main (No such file or directory); it lies in {fallback}"
    )
    moved.rename(evidence)
    verdict = reach_verdict(read_run(folder))
    assert [result.outcome.value for result in verdict.results] == ["pass", "pass"]
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults == (
        f"part of the evidence is not in the run folder but in {fallback}; "
        f"once there is room: cat {fallback} >> {evidence} && rm {fallback}",
    )
    assert verdict.statement == (
        "INCOMPLETE over -m tiny: 2 of 2 checks passed; part of the evidence is not in the run folder but in "
        f"{fallback}"
    )
    # The advice that it gives holds.
    subprocess.run(f"cat {fallback} >> {evidence} && rm {fallback}", shell=True, check=True)  # noqa: S602  our own words
    assert reach_verdict(read_run(folder)).word is Word.ACCEPTED


def test_a_folder_that_vanished_loses_nothing(folder: Path) -> None:
    writer = EvidenceWriter(folder / "evidence.jsonl")
    (folder / "evidence.jsonl").unlink()
    folder.rmdir()
    write_all(writer, good_run([cell("test_it")]))
    verdict = reach_verdict(read_run(folder))
    assert [result.outcome.value for result in verdict.results] == ["pass"]
    assert verdict.word is Word.INCOMPLETE
    assert verdict.faults[0] == f"{folder / 'evidence.jsonl'} cannot be read (No such file or directory)"


def test_a_disk_that_has_room_again_gets_the_whole_evidence(folder: Path) -> None:
    temporary = folder.parent / "tmp"
    done = run_python(QUOTA, folder / "evidence.jsonl", 1500, "again", TMPDIR=str(temporary))
    assert json.loads(done.stdout) == [None, 0], done.stderr
    assert list(temporary.iterdir()) == []
    assert reach_verdict(read_run(folder)).word is Word.ACCEPTED


def test_what_is_only_in_memory_can_be_handed_to_the_reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder.parent / "nowhere"))
    (folder / "evidence.jsonl").mkdir()  # nothing can be appended to a folder
    writer = EvidenceWriter(folder / "evidence.jsonl")
    write_all(writer, good_run([cell("test_it")]))
    assert writer.failure is not None
    assert writer.failure.endswith(
        "nowhere/plimsoll-run-1-main.jsonl (No such file or directory): it is only in memory"
    )
    verdict = reach_verdict(read_run(folder, writer.unwritten), writer.failure)
    assert [result.outcome.value for result in verdict.results] == ["pass"]
    assert verdict.word is Word.INCOMPLETE
    assert "7 events are in memory only: neither the run folder nor a second file took them" in verdict.faults


def test_a_half_written_line_does_not_swallow_the_next(folder: Path) -> None:
    evidence = folder / "evidence.jsonl"
    writer = EvidenceWriter(evidence)
    events = good_run([cell("test_it")])
    write_all(writer, events[:3])
    with evidence.open("ab") as file:  # as another worker leaves it that is killed in its write
        file.write(b'{"event":"host","at":"2026-11-20T12:5')
    write_all(writer, events[3:])
    record = read_run(folder)
    assert record.faults == ("evidence.jsonl: line 4 cannot be read: it is not JSON",)
    assert reach_verdict(record).word is Word.INCOMPLETE
    assert len(record.evidence_of(record.plan[0]).reports) == 3


def test_somebody_elses_link_is_not_followed(folder: Path) -> None:
    precious = folder / "precious"
    precious.write_text("precious\n")
    evidence = folder / "evidence.jsonl"
    fallback_path(evidence, "main").symlink_to(precious)
    writer = EvidenceWriter(evidence)
    evidence.unlink()
    writer.write(Event.FINISH, exitstatus=0, interrupted=False, reason="")
    assert writer.failure is not None
    assert writer.failure.endswith("it is only in memory")
    assert precious.read_text() == "precious\n"
    with pytest.raises(PlimsollError, match=r"^no evidence in .*evidence\.jsonl cannot be read"):
        read_run(folder)


def test_no_token_reaches_the_evidence(folder: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from plimsoll.evidence.events import Event
        from plimsoll.evidence.writer import EvidenceWriter
        writer = EvidenceWriter(Path(sys.argv[1]))
        for secret in sys.argv[2:]:
            nested = [{"deep": ("x" + secret,)}, Path(secret)]
            writer.write(Event.HOST, **{secret: f"key {secret} and", "nested": nested})
    """
    (folder / "token").write_text("stored-by-login-ü\n")
    planted = {
        "HF_TOKEN": 'planted-one-"quoted"',
        "HUGGING_FACE_HUB_TOKEN": "planted-two",
        "HUGGINGFACE_HUB_TOKEN": "planted-three",
        "WANDB_API_KEY": "planted-four",
        "HF_TOKEN_PATH": str(folder / "token"),
    }
    secrets = [*list(planted.values())[:4], "stored-by-login-ü", TOKEN, "hf_oauth_" + "eyJ0eXAi.abc-DEF_" * 2]
    done = run_python(code, folder / "evidence.jsonl", *secrets, **planted)
    assert done.returncode == 0, done.stderr
    text = json.dumps(lines_of(folder / "evidence.jsonl"), ensure_ascii=False)
    for secret in secrets:
        assert json.dumps(secret, ensure_ascii=False)[1:-1] not in text
    assert text.count(REDACTED) == 4 * len(secrets)


def test_the_token_of_hf_home_is_known_too(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("stored-by-login")
    assert Redactor.from_environment({"HF_HOME": str(tmp_path)})("<stored-by-login>") == f"<{REDACTED}>"
    (tmp_path / "huggingface").mkdir()
    (tmp_path / "huggingface" / "token").write_text("in-the-cache-folder")
    redactor = Redactor.from_environment({"XDG_CACHE_HOME": str(tmp_path)})
    assert redactor("in-the-cache-folder") == REDACTED


def test_the_token_is_known_where_hf_home_is_written_with_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """huggingface_hub fills variables in, so the token that it uses lies there."""
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    (tmp_path / "token").write_text("stored-by-login")
    assert Redactor.from_environment({"HF_HOME": "$SCRATCH"})("stored-by-login") == REDACTED


def test_what_lets_one_in_is_removed_from_addresses() -> None:
    redactor = Redactor.from_environment({"https_proxy": "http://me:pass%40word-1@10.0.0.1:3128"})
    assert redactor("http://me:pass%40word-1@10.0.0.1:3128/") == f"http://{REDACTED}@10.0.0.1:3128/"
    assert redactor("Proxy-Authorization for pass@word-1") == f"Proxy-Authorization for {REDACTED}"
    assert redactor("https://other:secret@host/path") == f"https://{REDACTED}@host/path"
    signed = "https://cdn.example/file?X-Amz-Date=20260101&X-Amz-Signature=abc123&Policy=e30_&part=2"
    removed = f"https://cdn.example/file?{REDACTED}&{REDACTED}&{REDACTED}&part=2"
    assert redactor(signed) == removed
    for text in ("https://huggingface.co/owner/name@main", "someone@example.org", "a policy=strict"):
        assert redactor(text) == text


@pytest.mark.parametrize(
    "name",
    [
        *("PGPASSWORD", "DB_PASS", "APP_SECRET_KEY", "SSH_PRIVATE_KEY", "GITHUB_PAT", "AWS_ACCESS_KEY_ID"),
        *("WANDB_API_KEY", "MYSQL_PWD", "REDIS_AUTH", "CI_JOB_TOKEN", "DJANGO_SECRET", "SIGNING_KEY_B64", "MY_COOKIE"),
        *("SSHPASS", "DOCKER_AUTH_CONFIG", "KUBECONFIG_B64", "NETRC", "ACME_LICENSE_KEY"),
    ],
)
def test_the_values_of_variables_that_hold_secrets_are_removed_wherever_they_stand(name: str) -> None:
    value = "harbour wall/77\nsecond-line"
    redact = Redactor.from_environment({name: value})
    for text in (value, "harbour wall/77", "second-line", "harbour%20wall%2F77", r"harbour wall/77\nsecond-line"):
        assert redact(f"<{text}>") == f"<{REDACTED}>"


@pytest.mark.parametrize(
    "name", ["PWD", "OLDPWD", "HF_TOKEN_PATH", "SSH_AUTH_SOCK", "TOKENIZERS_PARALLELISM", "COMPASS", "KEYBOARD", "PATH"]
)
def test_variables_with_like_names_hold_none(name: str) -> None:
    assert Redactor.from_environment({name: "harbour-wall-77"})("harbour-wall-77") == "harbour-wall-77"


@pytest.mark.parametrize(
    "text",
    [
        "PGPASSWORD=abcd1234",
        "DB_PASS: 'hunter 22'",
        '"GITHUB_PAT": "abcdefgh"',
        "MY_SECRET_KEY=abcdefgh",
        "password=hunter22",
        "ghp_" + "a1" * 18,
        "github_pat_" + "A1b2" * 8,
        "glpat-" + "a1" * 10,
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-123456-abcdef123456",
        "sk_live_" + "a1" * 12,
        "SG." + "a" * 22 + "." + "b" * 43,
        "hf_" + "a1" * 15,
        "nvapi-" + "a1" * 32,
        "npm_" + "a1" * 18,
        "r8_" + "a1" * 18,
        "gsk_" + "a1" * 26,
        "AccountKey=" + "a1" * 20 + "==",
        "--token=hunter22",
        "--api-key hunter22",
        "passwd: hunter22",
        "api_key: abcdef0123456789",
        '"access_token": "abcdef0123456789"',
        "sk-ant-api03-" + "a1" * 20,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF_123",
        "Authorization: Bearer abcdef1234567890",
        "'X-API-Key': 'abcdef123456'",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----",
        r"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\n",
    ],
)
def test_what_looks_like_a_secret_is_removed_whole(text: str) -> None:
    left = Redactor()(f"[ {text} ]")
    assert left in (
        f"[ {REDACTED} ]",
        f"[ '{REDACTED} ]",
        f"[ {REDACTED}' ]",
        f'[ "{REDACTED} ]',
        f"[ {REDACTED}]",
        f"[ '{REDACTED}' ]",
    )


@pytest.mark.parametrize(
    ("address", "left"),
    [
        ("https://h/x?token=abcdef123&part=2", f"https://h/x?{REDACTED}&part=2"),
        ("https://h/x?a=1&amp;Signature=abcdefgh&amp;part=2", f"https://h/x?a=1&amp;{REDACTED}&amp;part=2"),
        ("https://h/x?access_token=abcdef123", f"https://h/x?{REDACTED}"),
        ("https://h/x?sv=2026&sig=abc%2Fdef", f"https://h/x?sv=2026&{REDACTED}"),
    ],
)
def test_what_lets_one_in_is_removed_from_the_query_of_an_address(address: str, left: str) -> None:
    assert Redactor()(address) == left


@pytest.mark.parametrize(
    "text",
    [
        "commit c0ffee0000000000000000000000000000000000",
        "sha256:" + "ab12" * 16,
        "key: " + "ab12" * 16,
        "meta-llama/Llama-3.1-70B-Instruct/nf4-dq",
        "pad_token='<|endoftext|>', eos_token: </s>",
        "--max-new-tokens 12345678, --token is read from the file, `--password <text>`, --token=$HF_TOKEN",
        "docker run -u 1000:100000 --user 1000:100000; npm_config_cache; do_v1; r8_wheel",
        "api_key: none is set; password: ask whoever runs it; image_token: 32000123",
        "num_key_value_heads: 8, past_key_values=None",
        "model.layers.0.self_attn.q_proj.weight",
        "GPU-8a1e2c3d-1111-2222-3333-444455556666 MIG-377e0049-554c-540b-93c6-d0976f8426cb",
        'fix: export HF_TOKEN="$HUGGINGFACE_HUB_TOKEN"',
        "HF_TOKEN, where set, goes first; hf auth login with a token",
        "https://huggingface.co/api/models/a/b?revision=main&blobs=true",
        "the bearer of this message; a cookie; an author; APACHE-2.0",
        "2026-11-26T22:40:12.123456+00:00",
        "model-00001-of-00059.safetensors in models--a--b/snapshots/" + "0a" * 20,
    ],
)
def test_what_only_resembles_a_secret_stays(text: str) -> None:
    assert Redactor.from_environment({})(text) == text


def test_redaction_leaves_alone_what_is_no_secret() -> None:
    redactor = Redactor.from_environment({"HF_TOKEN": "1", "TOKENIZERS_PARALLELISM": "false-as-ever"})
    for text in ("1 hf_device_map false-as-ever", "hf_hub_download(repo)", "tiny-llama/nf4"):
        assert redactor(text) == text


def test_a_secret_within_a_longer_one_leaves_no_rest() -> None:
    assert Redactor(["12345678", "12345678-and-more"])("12345678-and-more") == REDACTED


def test_the_report_of_a_load_is_kept_without_its_inventory() -> None:
    record = ParameterRecord(
        name="w", shape=(2, 2), data_bytes=8, statistics_bytes=0, storage_dtype="bfloat16", scheme="float", device="cpu"
    )
    report = LoadReport(
        seconds=1.5,
        cache=CacheState(asked="cold", resident=0.0),
        checkpoint_bytes=8,
        checkpoint_files=("a.safetensors",),
        resolved_revision=None,
        memory=HostMemory(before=1, peak=3, after=2, method="VmHWM"),
        gpus=(),
        model_class="LlamaForCausalLM",
        missing_keys=(),
        unexpected_keys=(),
        mismatched_keys=(),
        meta_parameters=(),
        device_map={"": "cpu"},
        attention="sdpa",
        experts=None,
        expert_quantization=None,
        warnings=(),
        inventory=Inventory(parameters=(record,), buffers=()),
    )
    fields = encode(load_fields(report))
    assert "inventory" not in fields
    assert fields["cache"] == {"asked": "cold", "resident": 0.0, "note": ""}
    assert (fields["seconds"], fields["checkpoint_files"]) == (1.5, ["a.safetensors"])


def test_a_node_comes_back_as_it_went(folder: Path) -> None:
    EvidenceWriter(folder / "evidence.jsonl").write(Event.NODE, node=NODE.to_json())
    assert read_run(folder).node == NODE
