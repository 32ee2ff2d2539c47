"""The sign-off: what is in a bundle, what is refused, and that a change of anything in it is found."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.files import shipped_root
from plimsoll.evidence.events import Event
from plimsoll.evidence.reader import read_run
from plimsoll.signoff.archive import BundleError, pack, unpack
from plimsoll.signoff.bundle import comment_for
from plimsoll.signoff.manifest import MANIFEST_FILE, SIGNATURE_FILE, UNSIGNED, FileEntry, Manifest
from plimsoll.signoff.signature import sign
from plimsoll.signoff.verify import Verification, verify_bundle
from tests.support.commands import plimsoll
from tests.support.run_events import (
    NODE,
    SOON,
    Line,
    cell,
    crash,
    finish,
    good_cell,
    good_run,
    line,
    numbered,
    plan,
    report,
    start,
    write_events,
)

OWN_CATALOGUE = "# mine\n"
WAIVER = f"[[waiver]]\ncells = '*test_slow*'\nwho = 'J. Rossi'\nwhy = 'OPS-7'\nuntil = {SOON}\n"
ONE, SLOW = cell("test_one", measures=["load_time"]), cell("test_slow")

NAMES = {
    *("manifest.json", "manifest.json.sig", "evidence.jsonl", "results.json", "summary.md", "benchmark.json"),
    *("report.html", "junit.xml", "inventory.json", "packages.txt", "waivers.toml"),
    *("catalogue/tiers.toml", "catalogue/user/02-mine.toml"),
}


def write_run(folder: Path, run_id: str = "run", bad: bool = True) -> Path:
    """A run whose one bad cell can be waived, with a shipped catalogue file and one of the user's."""
    own = folder / "mine.toml"
    folder.mkdir(exist_ok=True)
    own.write_text(OWN_CATALOGUE)
    tiers = (shipped_root() / "tiers.toml").read_bytes()
    catalogues = [
        {"path": "/elsewhere/catalogue/tiers.toml", "sha256": hashlib.sha256(tiers).hexdigest(), "shipped": True},
        {"path": str(own), "sha256": hashlib.sha256(OWN_CATALOGUE.encode()).hexdigest(), "shipped": False},
    ]
    fails = [report(SLOW, "setup"), report(SLOW, "call", "failed", crash("boom")), report(SLOW, "teardown")]
    row = {"name": "b", "fullname": ONE.id, "stats": {"median": 1.0}, "extra_info": {}}
    packages = {"pytest": "9.0", "torch": "2.13.0"}
    head = start(run_id=run_id, catalogues=catalogues, limits_are_shipped=False, packages=packages)
    events = [
        *(head, plan([ONE, SLOW]), line(Event.NODE, node=NODE.to_json()), *good_cell(ONE)),
        *(fails if bad else good_cell(SLOW)),
        *(line(Event.BENCHMARK, cell=ONE.id, benchmark=row), finish(int(bad))),
    ]
    return write_events(folder / run_id, numbered(events)).parent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two keys, a run, its waivers and a signed bundle."""
    folder = tmp_path_factory.mktemp("sign-off")
    write_run(folder)
    (folder / "waivers.toml").write_text(WAIVER)
    for key, who in (("key", "rossi@example.org"), ("other", "kim@example.org")):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", str(folder / key)]
        subprocess.run(make, check=True)
    public = (folder / "key.pub").read_text()
    (folder / "allowed").write_text(f'rossi@example.org namespaces="plimsoll" {public}')
    done = plimsoll(
        *("sign", "run", "--operator", "J. Rossi", "--reference", "OPS-1", "--key", "key", "--output", "b.zip"),
        *("--waivers", "waivers.toml"),
        cwd=folder,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    (folder / "said").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def files(place: Path) -> dict[str, bytes]:
    return dict(unpack((place / "b.zip").read_bytes()).files)


def written(path: Path, files: Mapping[str, bytes], comment: bytes | None = None) -> Path:
    """A bundle of these files as somebody would write it who knows the format."""
    path.write_bytes(pack(files, comment_for(files[MANIFEST_FILE]) if comment is None else comment))
    return path


def resealed(files: Mapping[str, bytes], key: Path | None = None, **changes: Any) -> dict[str, bytes]:
    """The files under a manifest that fits them, signed anew or unsigned: what a forger with a key could do."""
    rest = {name: files[name] for name in files if name not in (MANIFEST_FILE, SIGNATURE_FILE)}
    entries = tuple(FileEntry.of(name, rest[name]) for name in sorted(rest))
    manifest = replace(Manifest.from_bytes(files[MANIFEST_FILE]), files=entries, **changes)
    if key is None:
        manifest = replace(manifest, signature=UNSIGNED)
        return {MANIFEST_FILE: manifest.to_bytes(), **rest}
    return {MANIFEST_FILE: manifest.to_bytes(), SIGNATURE_FILE: sign(manifest.to_bytes(), key)[0], **rest}


def problems_of(found: Verification) -> str:
    return "\n".join(found.problems)


# What is in it.


def test_the_bundle_holds_everything_that_the_verdict_rests_on(place: Path, files: dict[str, bytes]) -> None:
    assert set(files) == NAMES
    assert files["evidence.jsonl"] == (place / "run" / "evidence.jsonl").read_bytes()
    assert files["catalogue/tiers.toml"] == (shipped_root() / "tiers.toml").read_bytes()
    assert files["catalogue/user/02-mine.toml"] == OWN_CATALOGUE.encode()
    assert files["waivers.toml"] == WAIVER.encode()
    assert files["packages.txt"] == b"# Python 3.11.7\npytest==9.0\ntorch==2.13.0\n"
    (node,) = json.loads(files["inventory.json"])["nodes"]
    assert (node["hostname"], node["gpus"][0]["serial"], node["gpus"][0]["uuid"]) == ("cargo", "123", "GPU-1")
    for name in ("report.html", "summary.md", "junit.xml", "results.json"):
        assert f"waived by J. Rossi until {SOON}: OPS-7".encode() in files[name] or name == "results.json"
    assert json.loads(files["results.json"])["verdict"]["word"] == "ACCEPTED"
    assert json.loads(files["benchmark.json"])["benchmarks"][0]["fullname"] == ONE.id


def test_the_manifest_says_who_what_and_when(files: dict[str, bytes]) -> None:
    data = json.loads(files[MANIFEST_FILE])
    assert data["schema"] == "plimsoll/bundle/1"
    assert data["statement"] == "ACCEPTED over -m tiny: 1 of 2 checks passed, 1 waived"
    assert (data["operator"], data["reference"], data["run"]) == ("J. Rossi", "OPS-1", "run")
    assert data["signature"] == "ssh signature, namespace plimsoll, in manifest.json.sig"
    listed = {entry["name"]: (entry["size"], entry["sha256"]) for entry in data["files"]}
    assert listed == {
        name: (len(content), hashlib.sha256(content).hexdigest())
        for name, content in files.items()
        if name not in (MANIFEST_FILE, SIGNATURE_FILE)
    }


def test_the_terminal_says_what_was_signed(place: Path) -> None:
    lines = (place / "said").read_text().splitlines()
    assert lines[0] == "ACCEPTED over -m tiny: 1 of 2 checks passed, 1 waived"
    assert lines[1].startswith("signed off by J. Rossi for OPS-1 at 20")
    assert lines[2].startswith("signature: ED25519 key SHA256:")
    assert lines[3].startswith("bundle: b.zip, 11 files, ")
    assert lines[4] == f"SHA-256 of the bundle: {hashlib.sha256((place / 'b.zip').read_bytes()).hexdigest()}"


def test_other_tools_read_the_archive(place: Path) -> None:
    script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.testzip(), len(z.namelist()))"
    done = subprocess.run([sys.executable, "-c", script, place / "b.zip"], capture_output=True, text=True, check=True)
    assert done.stdout == f"None {len(NAMES)}\n"


def test_the_same_moment_gives_the_same_bytes(place: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    again = resealed(dict(reversed(files.items())), place / "key")
    ordered = {name: again[name] for name in files}
    assert written(tmp_path / "again.zip", ordered).read_bytes() == (place / "b.zip").read_bytes()


def test_a_sound_bundle_is_verified(place: Path) -> None:
    done = plimsoll("verify", "b.zip", "--allowed-signers", "allowed", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "ACCEPTED over -m tiny: 1 of 2 checks passed, 1 waived"
    assert lines[1].startswith("run run, signed off by J. Rossi for OPS-1 at ")
    assert lines[2].startswith("signature: rossi@example.org (ED25519 key SHA256:")
    assert lines[3] == "VERIFIED: 13 files are as they were, and the verdict follows from the evidence"
    alone = plimsoll("verify", "b.zip", cwd=place)
    assert alone.returncode == 0
    assert alone.stdout.splitlines()[2].endswith("; whose key that is was not checked, give --allowed-signers FILE")


def test_an_unsigned_bundle_says_so_wherever_one_looks(place: Path) -> None:
    done = plimsoll("sign", "run", "--operator", "x", "--reference", "y", "--waivers", "waivers.toml", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "unsigned: no --key was given" in done.stdout
    found = verify_bundle(place / "sign-off-run.zip")
    assert found.problems == ()
    assert found.manifest is not None
    assert found.manifest.signature == "unsigned"
    said = plimsoll("verify", "sign-off-run.zip", cwd=place)
    assert (said.returncode, said.stdout.splitlines()[2]) == (0, "unsigned")
    asked = plimsoll("verify", "sign-off-run.zip", "--allowed-signers", "allowed", cwd=place)
    assert asked.returncode == 1
    assert "problem: it is unsigned, and a signature was asked for" in asked.stdout.splitlines()
    twice = plimsoll("sign", "run", "--operator", "x", "--reference", "y", cwd=place)
    assert twice.stderr.startswith("plimsoll: error: sign-off-run.zip is there already; remove it, or name another")


# What is refused.


@pytest.mark.parametrize(
    ("spoil", "status", "says"),
    [
        (
            lambda events: events,
            1,
            ["not signed: REJECTED over -m tiny: 1 of 2 checks passed, 1 failed", "a rejected node is not signed off"],
        ),
        (
            lambda events: [*[e for e in events if e.get("cell") != SLOW.id][:-1], finish()],
            6,
            [
                "not signed: INCOMPLETE over -m tiny: 1 of 2 checks passed, 1 not run",
                "an incomplete verdict is signed off only where each gap is waived; this is missing:",
                "  1 check not run: no report arrived\n    to run them: pytest -m tiny",
            ],
        ),
        (
            lambda events: (
                [{**events[0], "allow_incomplete": True}]
                + [e for e in events[1:-1] if e.get("cell") != SLOW.id]
                + [finish()]
            ),
            6,
            ["not signed: INCOMPLETE over -m tiny: 1 of 2 checks passed, 1 not run"],
        ),
        (lambda events: [*events[:-1]], 1, ["not signed: REJECTED"]),
        (
            lambda events: [events[0], plan([]), events[2], finish(5)],
            5,
            ["not signed: INCOMPLETE over -m tiny: nothing was planned"],
        ),
    ],
    ids=["failed", "gap", "allowed gap", "killed", "empty"],
)
def test_only_an_accepted_run_is_signed(
    tmp_path: Path, spoil: Callable[[list[Line]], list[Line]], status: int, says: list[str]
) -> None:
    folder = write_run(tmp_path)
    events = [json.loads(text) for text in (folder / "evidence.jsonl").read_text().splitlines()]
    write_events(folder, numbered(spoil(events)))
    done = plimsoll("sign", "run", "--operator", "x", "--reference", "y", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    for text in says:
        assert text in done.stderr
    assert not list(tmp_path.glob("*.zip"))


def test_no_secret_that_a_person_writes_stands_in_the_manifest(place: Path) -> None:
    reference = "https://tickets.example/OPS-1?token=abcdef123456"
    done = plimsoll(
        *("sign", "run", "--operator", "J. Rossi ghp_" + "a1" * 18, "--reference", reference),
        *("--waivers", "waivers.toml", "--output", "secret.zip"),
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(place / "secret.zip") as bundle:
        texts = b"".join(bundle.read(name) for name in bundle.namelist() if name.endswith("manifest.json"))
    assert b"J. Rossi [secret removed]" in texts
    assert b"https://tickets.example/OPS-1?[secret removed]" in texts
    assert b"abcdef123456" not in texts


def test_a_gap_that_is_waived_is_signed_and_a_killed_run_is_not(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    (tmp_path / "w.toml").write_text(WAIVER)
    events = [json.loads(text) for text in (folder / "evidence.jsonl").read_text().splitlines()]
    rest = [e for e in events[:-1] if e.get("cell") != SLOW.id]
    write_events(folder, numbered([*rest, finish()]))
    arguments = ("sign", "run", "--operator", "x", "--reference", "y", "--waivers", "w.toml")
    assert plimsoll(*arguments, cwd=tmp_path).returncode == 0
    write_events(folder, numbered(rest))
    done = plimsoll(*arguments, "--output", "2.zip", cwd=tmp_path)
    assert done.returncode == 6
    assert "  the run did not finish: it was killed, or its last line is lost" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--key", "none"], "there is no key none; make one with ssh-keygen -t ed25519 -f none"),
        (["--key", "mine.toml"], "ssh-keygen could not sign with mine.toml; what it says stands above"),
        (["--waivers", "old.toml"], "old.toml: waiver[0].until: expired: 2001-12-31 is before"),
        (["--waivers", "none.toml"], "none.toml: there is no such file"),
        (["--operator", " "], "argument --operator: must not be empty; is a variable of the shell unset?"),
        (["--operator", "a" * 300], "argument --operator: must be one line of 1 to"),
        (["--operator", "a\nb"], "printable characters, not 'a\\nb'"),
        (["--output", "none/b.zip"], "none/b.zip cannot be written (No such file or directory)"),
    ],
)
def test_what_cannot_be_signed_is_one_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    write_run(tmp_path, bad=False)
    (tmp_path / "old.toml").write_text(WAIVER.replace(str(SOON), "2001-12-31"))
    done = plimsoll("sign", "run", "--operator", "x", "--reference", "y", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.zip"))


def test_limits_that_were_changed_since_are_not_signed(tmp_path: Path) -> None:
    write_run(tmp_path, bad=False)
    own = tmp_path / "mine.toml"
    own.write_text("# looser\n")
    done = plimsoll("sign", "run", "--operator", "x", "--reference", "y", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "plimsoll: error: the limits of the run are not all at hand:\n"
        f"  {own}: was changed since the run\nrestore the files, or run again\n"
    )
    own.unlink()
    done = plimsoll("sign", "run", "--operator", "x", "--reference", "y", cwd=tmp_path)
    assert f"  {own}: there is no such file\n" in done.stderr


def test_without_ssh_keygen_there_is_one_clear_error(place: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    arguments = ("sign", "run", "--operator", "x", "--reference", "y", "--key", "key", "--output", tmp_path / "x.zip")
    for given in ((*arguments, "--waivers", "waivers.toml"), ("verify", "b.zip")):
        done = plimsoll(*given, cwd=place, env={"PATH": str(tools)})
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(
            "plimsoll: error: ssh-keygen is not installed, and it makes and checks signatures;"
        )
        assert "apt-get install openssh-client" in done.stderr


# One changed byte anywhere is found.


@pytest.mark.parametrize("name", sorted(NAMES - {MANIFEST_FILE, SIGNATURE_FILE}))
def test_a_changed_byte_in_any_file_is_found(place: Path, files: dict[str, bytes], tmp_path: Path, name: str) -> None:
    for at in (0.999, 0.0, 0.5):
        content = bytearray(files[name])
        content[int(len(content) * at)] ^= 0x01
        bundle = written(tmp_path / "t.zip", {**files, name: bytes(content)})
        assert f"{name} was changed: its SHA-256 is not that of the manifest" in verify_bundle(bundle).problems
    done = plimsoll("verify", bundle, "--allowed-signers", place / "allowed", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith("it claims: ACCEPTED over")
    assert done.stdout.splitlines()[-1].startswith("NOT VERIFIED: ")


@pytest.mark.parametrize("name", sorted(NAMES - {MANIFEST_FILE}))
def test_a_file_that_was_taken_away_is_found(files: dict[str, bytes], tmp_path: Path, name: str) -> None:
    rest = {known: content for known, content in files.items() if known != name}
    found = problems_of(verify_bundle(written(tmp_path / "t.zip", rest)))
    assert f"{name} is missing" in found


def test_a_file_that_was_added_is_found(files: dict[str, bytes], tmp_path: Path) -> None:
    more = {**files, "resumed/other.jsonl": b"", "z.txt": b"hello"}
    found = verify_bundle(written(tmp_path / "t.zip", more)).problems
    assert "z.txt was added: the manifest does not list it" in found
    assert "resumed/other.jsonl was added: the manifest does not list it" in found


def test_every_changed_byte_of_the_manifest_is_found(files: dict[str, bytes], tmp_path: Path) -> None:
    content = files[MANIFEST_FILE]
    for at in range(0, len(content), 37):
        changed = content[:at] + bytes([content[at] ^ 0x01]) + content[at + 1 :]
        # Also where the archive and its comment were made to fit.
        assert verify_bundle(written(tmp_path / "t.zip", {**files, MANIFEST_FILE: changed})).problems, at


def test_a_manifest_that_nobody_signed_cannot_change_by_accident(files: dict[str, bytes], tmp_path: Path) -> None:
    unsigned = resealed(files)
    content = unsigned[MANIFEST_FILE]
    assert verify_bundle(written(tmp_path / "t.zip", unsigned)).problems == ()
    other_name = {**unsigned, MANIFEST_FILE: content.replace(b"J. Rossi", b"J. Bossi")}
    not_fitting = written(tmp_path / "t.zip", other_name, comment_for(content))
    assert "manifest.json is not the one that the archive was made with" in verify_bundle(not_fitting).problems
    more_space = {**unsigned, MANIFEST_FILE: content.replace(b'"operator": ', b'"operator":  ')}
    assert "manifest.json was changed: it does not have the form that `plimsoll sign` writes" in problems_of(
        verify_bundle(written(tmp_path / "t.zip", more_space))
    )


def test_every_changed_byte_of_the_signature_is_found(files: dict[str, bytes], tmp_path: Path) -> None:
    content = files[SIGNATURE_FILE]
    for at in range(len(content)):
        changed = content[:at] + bytes([content[at] ^ 0x01]) + content[at + 1 :]
        bundle = written(tmp_path / "t.zip", {**files, SIGNATURE_FILE: changed})
        assert "the signature does not hold: " in problems_of(verify_bundle(bundle)), at


@pytest.mark.parametrize(
    "changed",
    [
        lambda signature: signature + b"\n",
        lambda signature: signature.replace(b"\n", b"\r\n"),
        lambda signature: b"\n" + signature,
        lambda signature: signature[:60] + b"\n" + signature[60:],
    ],
)
def test_another_form_of_the_same_signature_is_found(
    files: dict[str, bytes], tmp_path: Path, changed: Callable[[bytes], bytes]
) -> None:
    bundle = written(tmp_path / "t.zip", {**files, SIGNATURE_FILE: changed(files[SIGNATURE_FILE])})
    assert "the signature does not hold: it does not have the form that ssh-keygen writes" in problems_of(
        verify_bundle(bundle)
    )


def test_every_changed_byte_of_the_archive_is_found() -> None:
    data = pack({"manifest.json": b"{}", "a/b.txt": b"hello", "empty": b""}, b"comment")
    assert unpack(data).problems == ()
    missed = []
    for at in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            changed = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            try:
                archive = unpack(changed)
            except BundleError:
                continue
            # Only the comment may differ without the archive's knowledge: it is held against the manifest.
            if not archive.problems and archive.comment == b"comment":
                missed.append((at, flip))
    assert missed == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: b"", "it is no zip archive that `plimsoll sign` wrote"),
        (lambda data: b"hello" * 100, "it is no zip archive that `plimsoll sign` wrote"),
        (lambda data: data[:100], "it ends in the middle of manifest.json: a part of it is missing"),
        (lambda data: data[:20], "it ends in the middle of a file: a part of it is missing"),
        (lambda data: data[:-40], "the archive itself was changed or packed anew"),
        (lambda data: data[:-200], "it is no zip archive that `plimsoll sign` wrote"),
        (lambda data: b"#!" + data, "it is no zip archive that `plimsoll sign` wrote"),
        (lambda data: data + b"more", "the archive itself was changed or packed anew"),
    ],
)
def test_what_is_no_bundle_is_told(place: Path, tmp_path: Path, spoil: Callable[[bytes], bytes], message: str) -> None:
    (tmp_path / "t.zip").write_bytes(spoil((place / "b.zip").read_bytes()))
    done = plimsoll("verify", "t.zip", cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert message in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "z = zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED); [z.writestr(n, c) for n, c in files.items()]",
        "z = zipfile.ZipFile(out, 'w'); [z.writestr(n, c) for n, c in files.items()]",
        "z = zipfile.ZipFile(out, 'w'); z.writestr('../x', 'x'); [z.writestr(n, c) for n, c in files.items()]",
        "z = zipfile.ZipFile(out, 'w'); z.writestr('/etc/x', 'x'); [z.writestr(n, c) for n, c in files.items()]",
        "z = zipfile.ZipFile(out, 'w'); z.writestr('a\\\\b', 'x'); [z.writestr(n, c) for n, c in files.items()]",
        "z = zipfile.ZipFile(out, 'w'); [z.writestr(n, c) for n, c in [*files.items(), *files.items()]]",
        "z = zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED); z.writestr('bomb', bytes(10**8))",
    ],
    ids=["compressed", "stored", "traversal", "absolute", "backslash", "twice", "bomb"],
)
def test_an_archive_that_another_tool_packed_is_refused(place: Path, tmp_path: Path, code: str) -> None:
    script = (
        "import sys, warnings, zipfile; warnings.simplefilter('ignore'); given, out = sys.argv[1:]\n"
        f"files = {{i.filename: zipfile.ZipFile(given).read(i) for i in zipfile.ZipFile(given).infolist()}}\n{code}\n"
        "z.close()"
    )
    subprocess.run([sys.executable, "-c", script, place / "b.zip", tmp_path / "t.zip"], check=True)
    found = verify_bundle(tmp_path / "t.zip")
    assert found.problems
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.zip"]


# A forger with a key of their own.


def test_a_stranger_is_told_from_the_one_who_may_sign(place: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    bundle = written(tmp_path / "t.zip", resealed(files, place / "other"))
    assert verify_bundle(bundle).problems == ()
    found = verify_bundle(bundle, place / "allowed")
    assert found.signer is None
    assert "the signature does not hold: ssh-keygen says" in problems_of(found)


def test_a_signature_for_another_purpose_does_not_count(place: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(place / "key"), "-n", "git"]
    other = subprocess.run(command, input=files[MANIFEST_FILE], stdout=subprocess.PIPE, check=True).stdout
    bundle = written(tmp_path / "t.zip", {**files, SIGNATURE_FILE: other})
    assert "the signature does not hold: " in problems_of(verify_bundle(bundle))


def test_a_key_that_was_not_valid_that_day_does_not_count(place: Path, tmp_path: Path) -> None:
    public = (place / "key.pub").read_text()
    (tmp_path / "allowed").write_text(f'rossi@example.org valid-before="20200101" {public}')
    assert "the signature does not hold: " in problems_of(verify_bundle(place / "b.zip", tmp_path / "allowed"))


def test_a_key_that_was_valid_that_day_still_counts(place: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    public = (place / "key.pub").read_text()
    today = datetime.now(UTC).replace(microsecond=0)
    ended = (today - timedelta(days=10)).strftime("%Y%m%d")
    (tmp_path / "allowed").write_text(f'rossi@example.org valid-before="{ended}" {public}')
    at = today - timedelta(days=20)
    bundle = written(tmp_path / "t.zip", resealed(files, place / "key", signed_at=at))
    assert verify_bundle(bundle, tmp_path / "allowed").problems == ()


def test_a_signature_that_was_taken_away_is_missed(place: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    stripped = {name: content for name, content in files.items() if name != SIGNATURE_FILE}
    found = problems_of(verify_bundle(written(tmp_path / "t.zip", stripped)))
    assert "manifest.json.sig is missing: the manifest says that it is signed" in found
    unsigned = written(tmp_path / "u.zip", resealed(files))
    assert verify_bundle(unsigned).problems == ()
    assert "it is unsigned, and a signature was asked for" in verify_bundle(unsigned, place / "allowed").problems
    extra = {**resealed(files), SIGNATURE_FILE: files[SIGNATURE_FILE]}
    assert "manifest.json.sig was added: the manifest says that it is unsigned" in problems_of(
        verify_bundle(written(tmp_path / "v.zip", extra))
    )


def changed_evidence(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, "evidence.jsonl": files["evidence.jsonl"].replace(b'"value": 1.0', b'"value": 1.5')}


def worse_evidence(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, "evidence.jsonl": files["evidence.jsonl"].replace(b"test_slow", b"test_fast")}


def better_results(files: dict[str, bytes]) -> dict[str, bytes]:
    data = json.loads(files["results.json"])
    data["cells"][1] |= {"outcome": "pass", "waiver": None, "reason": ""}
    return {**files, "results.json": (json.dumps(data, indent=2) + "\n").encode()}


def other_schema(files: dict[str, bytes]) -> dict[str, bytes]:
    data = json.loads(files["results.json"])
    data["verdict"]["word"] = "FINE"
    return {**files, "results.json": json.dumps(data).encode()}


@pytest.mark.parametrize(
    ("forge", "says"),
    [
        (changed_evidence, "results.json does not follow from the evidence"),
        (worse_evidence, "the evidence does not come to what was signed, but to: REJECTED"),
        (better_results, "results.json does not follow from the evidence: its cells differ"),
        (other_schema, "results.json does not follow its schema: $.verdict.word: 'FINE' is not one of"),
        (lambda files: {**files, "results.json": b"[" * 10**5}, "results.json is no JSON"),
        (lambda files: {**files, "results.json": b"[]"}, "results.json does not follow its schema"),
        (lambda files: {**files, "inventory.json": b"{}"}, "inventory.json does not follow from the evidence"),
        (lambda files: {**files, "summary.md": b"ACCEPTED"}, "summary.md does not follow from the evidence"),
        (
            lambda files: {**files, "catalogue/user/02-mine.toml": b"# looser"},
            "catalogue/user/02-mine.toml is not the catalogue file that the run read",
        ),
        (
            lambda files: {n: c for n, c in files.items() if n != "catalogue/tiers.toml"},
            "catalogue/tiers.toml is not the catalogue file that the run read",
        ),
        (
            lambda files: {n: c for n, c in files.items() if n != "report.html"},
            "report.html is in no sound bundle missing",
        ),
        (
            lambda files: {n: c for n, c in files.items() if n != "waivers.toml"},
            "the evidence does not come to what was signed, but to: REJECTED",
        ),
        (
            lambda files: {**files, "waivers.toml": WAIVER.replace(str(SOON), "2001-12-31").encode()},
            "the verdict cannot be recomputed: 1 fault in the waivers:\n  waivers.toml: waiver[0].until: expired",
        ),
        (lambda files: {**files, "evidence.jsonl": b""}, "the verdict cannot be recomputed: no evidence in"),
        (
            lambda files: {**files, "evidence.jsonl/x.jsonl": b""},
            "the verdict cannot be recomputed: ",
        ),
    ],
)
def test_a_verdict_that_does_not_follow_from_its_evidence_is_found_though_it_is_signed(
    place: Path,
    files: dict[str, bytes],
    tmp_path: Path,
    forge: Callable[[dict[str, bytes]], dict[str, bytes]],
    says: str,
) -> None:
    found = verify_bundle(written(tmp_path / "t.zip", resealed(forge(files), place / "key")), place / "allowed")
    assert found.signer is not None
    assert says in problems_of(found)


def test_waivers_are_judged_as_of_the_day_of_the_sign_off(place: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    ended = {**files, "waivers.toml": WAIVER.replace(str(SOON), "2026-06-30").encode()}
    results = files["results.json"].replace(str(SOON).encode(), b"2026-06-30")
    summary = files["summary.md"].replace(str(SOON).encode(), b"2026-06-30")
    ended |= {"results.json": results, "summary.md": summary}
    for at, sound in ((datetime(2026, 6, 30, 23, 59, tzinfo=UTC), True), (datetime(2026, 7, 1, tzinfo=UTC), False)):
        bundle = written(tmp_path / "t.zip", resealed(ended, place / "key", signed_at=at))
        assert (verify_bundle(bundle).problems == ()) is sound


def test_a_bundle_of_another_version_is_held_against_what_it_comes_to(
    place: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    reworded = {**files, "summary.md": b"# In other words\n"}
    assert (
        verify_bundle(written(tmp_path / "t.zip", resealed(reworded, place / "key", plimsoll="0.0.9"))).problems == ()
    )
    forged = resealed(better_results(files), place / "key", plimsoll="0.0.9")
    assert "its cells differ" in problems_of(verify_bundle(written(tmp_path / "u.zip", forged)))


def test_what_a_bundle_says_of_itself_drives_no_terminal(place: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    hostile = "x\x1b[2J\nVERIFIED: 13 files are as they were"
    written(tmp_path / "t.zip", resealed(files, place / "key", operator=hostile))
    done = plimsoll("verify", "t.zip", cwd=tmp_path)
    assert "\x1b" not in done.stdout
    assert sum(text.startswith("VERIFIED") for text in done.stdout.splitlines()) == 1


def test_a_bundle_of_a_run_that_went_on_holds_both_runs(tmp_path: Path) -> None:
    first = write_run(tmp_path, "a-run", bad=False)
    path = first / "evidence.jsonl"
    events = [json.loads(text) for text in path.read_text().splitlines()]
    write_events(first, numbered([e for e in events[:-1] if e.get("cell") != SLOW.id]))
    content = path.read_bytes()
    resumes = {"run_id": "a-run", "sha256": hashlib.sha256(content).hexdigest()}
    head = {**events[0], "run_id": "b-run", "resumes": resumes, "at": "2026-11-21T00:00:00+00:00"}
    second = write_events(tmp_path / "b-run", numbered([head, plan([SLOW]), *good_run([SLOW])[2:]])).parent
    (second / "resumed").mkdir()
    (second / "resumed" / "a-run.jsonl").write_bytes(content)
    done = plimsoll("sign", "b-run", "--operator", "x", "--reference", "y", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    bundle = tmp_path / "sign-off-b-run.zip"
    archive = unpack(bundle.read_bytes())
    assert archive.files["resumed/a-run.jsonl"] == content
    assert verify_bundle(bundle).problems == ()
    without = resealed({name: c for name, c in archive.files.items() if name != "resumed/a-run.jsonl"})
    found = problems_of(verify_bundle(written(tmp_path / "t.zip", without)))
    assert "it resumes run a-run, whose evidence is not here" in found


def test_evidence_elsewhere_on_the_machine_takes_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = write_run(tmp_path, bad=False)
    (tmp_path / "plimsoll-run-main.jsonl").write_text("###\n")
    assert len(read_run(folder).faults) == 2
    assert read_run(folder, alone=True).faults == ()


@pytest.mark.parametrize("name", [".", "/dev/zero"])
def test_what_is_no_file_is_not_read(tmp_path: Path, name: str) -> None:
    done = plimsoll("verify", name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"plimsoll: error: {name} is no file; a bundle is the zip that `plimsoll sign` wrote\n"


def test_no_such_bundle_is_one_message(tmp_path: Path) -> None:
    done = plimsoll("verify", "none.zip", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "plimsoll: error: none.zip cannot be read (No such file or directory)\n"


def test_a_bundle_of_very_many_files_is_refused_at_once(tmp_path: Path) -> None:
    many = pack({f"f{number}": b"" for number in range(10_001)}, b"comment")
    (tmp_path / "many.zip").write_bytes(many)
    assert "it holds more than 10000 files: no bundle does" in problems_of(verify_bundle(tmp_path / "many.zip"))


@pytest.mark.parametrize("place", ["/dev/zero", "pipe"])
def test_limits_in_no_file_are_not_waited_for(tmp_path: Path, place: str) -> None:
    folder = write_run(tmp_path, bad=False)
    if place == "pipe":
        os.mkfifo(tmp_path / place)
        place = str(tmp_path / place)
    head, *rest = [json.loads(text) for text in (folder / "evidence.jsonl").read_text().splitlines()]
    head = {**head, "catalogues": [{"path": place, "sha256": "0" * 64, "shipped": False}]}
    write_events(folder, numbered([head, *rest]))
    done = plimsoll("sign", "run", "--operator", "x", "--reference", "y", cwd=tmp_path)
    assert done.returncode == 2
    assert f"{place}: it is no file, but a pipe or a device" in done.stderr
