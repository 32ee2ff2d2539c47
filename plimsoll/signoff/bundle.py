"""Makes a bundle: collects what a verdict follows from, makes the reports again, and seals everything.

Only the evidence is taken from the run folder. Every report is made again with the waivers of the day, so that what is
signed agrees with the evidence, whatever else is in the folder.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import plimsoll
from plimsoll.catalogue.files import shipped_root
from plimsoll.errors import PlimsollError, reason_of
from plimsoll.evidence.reader import read_run
from plimsoll.evidence.record import RunRecord
from plimsoll.redaction import Redactor
from plimsoll.report.pages import HTML_FILE, JUNIT_FILE, why_no_pages, write_pages
from plimsoll.signoff.archive import pack
from plimsoll.signoff.derived_files import (
    WAIVERS_FILE,
    catalogue_names,
    derived_files,
    evidence_names,
)
from plimsoll.signoff.manifest import MANIFEST_FILE, SIGNATURE_FILE, SIGNED, UNSIGNED, FileEntry, Manifest
from plimsoll.signoff.signature import Signer, sign
from plimsoll.usertoml.reading import read_file
from plimsoll.verdict.verdict import Verdict, Word, reach_verdict
from plimsoll.verdict.waivers import Waivers, parse_waivers, read_waivers


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOff:
    """What a person signs, and when (aware, UTC, whole seconds)."""

    operator: str
    reference: str
    at: datetime
    key: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The bytes of a bundle, with what they hold; `signer` is None where nobody signed it."""

    content: bytes
    manifest: Manifest
    signer: Signer | None


class RefusedError(PlimsollError):
    """A verdict that is not to be signed off."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        if verdict.word is Word.REJECTED:
            what = "a rejected node is not signed off; waive what is to be accepted nevertheless, check by check"
        else:
            gaps = "".join(
                "".join((f"\n  {gap}", *(f"\n    to run them: {one}" for one in gap.commands))) for gap in verdict.gaps
            )
            faults = "".join(f"\n  {fault}" for fault in verdict.faults)
            what = f"an incomplete verdict is signed off only where each gap is waived; this is missing:{gaps}{faults}"
        super().__init__(f"not signed: {verdict.statement}\n{what}")


def make_bundle(run: Path, sign_off: SignOff, waivers: Path | None = None) -> Bundle:
    """The bundle of a run, with those that it resumes.

    `waivers` replace those that the run was given; either must be valid on the day of the sign-off. Raises
    RefusedError for a verdict that is not ACCEPTED, WaiverError, and PlimsollError where a part of the bundle is
    missing or cannot be made.
    """
    if (missing := why_no_pages()) is not None:
        raise PlimsollError(f"a bundle holds every report: {missing}")
    record = read_run(run)
    in_force = _waivers(record, waivers, sign_off.at.date())
    if in_force is not None:
        in_force.refuse_unmatched(cell.id for cell in record.plan)
    _refuse_unless_accepted(reach_verdict(record, waivers=in_force))
    files = dict(_evidence(record))
    files.update(_catalogue(record))
    if in_force is not None:
        files[WAIVERS_FILE] = in_force.text.encode("utf-8")
    with tempfile.TemporaryDirectory(prefix="plimsoll-") as folder:
        record, verdict = restored(files, Path(folder), sign_off.at.date())
        _refuse_unless_accepted(verdict)  # the copy is signed, because a run may still be going on
        files.update(derived_files(record, verdict))
        files.update(_pages(Path(folder), in_force))
    return _seal(files, verdict, record.run_id, sign_off)


def restored(files: Mapping[str, bytes], folder: Path, as_of: date) -> tuple[RunRecord, Verdict]:
    """Unpack the evidence of a bundle into an empty folder, laid out like a run's, and judge it with the bundle's
    waivers.

    Raises PlimsollError where evidence or waivers cannot be read.
    """
    for name, content in files.items():
        if name.endswith(".jsonl") or name == WAIVERS_FILE:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    waivers = read_waivers(folder / WAIVERS_FILE, as_of) if WAIVERS_FILE in files else None
    record = read_run(folder, alone=True)
    return record, reach_verdict(record, waivers=waivers)


def _refuse_unless_accepted(verdict: Verdict) -> None:
    if verdict.word is not Word.ACCEPTED:
        raise RefusedError(verdict)


def _waivers(record: RunRecord, given: Path | None, today: date) -> Waivers | None:
    if given is not None:
        return read_waivers(given, today)
    recorded = record.waivers
    return None if recorded is None else parse_waivers(recorded.text, recorded.path, today)


def _evidence(record: RunRecord) -> Iterator[tuple[str, bytes]]:
    runs = {run.run_id: run for run in record.runs}
    for run_id, name in evidence_names(record).items():
        yield name, runs[run_id].files[0].path.read_bytes()


def _catalogue(record: RunRecord) -> Iterator[tuple[str, bytes]]:
    """The files that gave the limits. Raises PlimsollError with all that have changed since the run."""
    shipped = {hashlib.sha256(content).hexdigest(): content for content in _shipped()}
    faults = []
    for digest, name in catalogue_names(record).items():
        path = _path(record, digest)
        content = _content(path)
        if isinstance(content, bytes) and hashlib.sha256(content).hexdigest() == digest:
            yield name, content
        elif digest in shipped:
            yield name, shipped[digest]
        else:
            faults.append(f"{path}: {'was changed since the run' if isinstance(content, bytes) else content}")
    if faults:
        listed = "".join(f"\n  {fault}" for fault in faults)
        raise PlimsollError(f"the limits of the run are not all at hand:{listed}\nrestore the files, or run again")


def _shipped() -> Iterator[bytes]:
    for path in sorted(shipped_root().rglob("*.toml")):
        yield path.read_bytes()


def _path(record: RunRecord, digest: str) -> Path:
    files: list[Mapping[str, Any]] = [] if record.run is None else list(record.run.catalogues)
    return Path(next(str(file["path"]) for file in files if file["sha256"] == digest))


def _content(path: Path) -> bytes | str:
    """The content of a file, or why there is none. Evidence gives its path, which may be anything."""
    try:
        return read_file(path)
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return reason_of(error)


def _pages(folder: Path, waivers: Waivers | None) -> Iterator[tuple[str, bytes]]:
    problem = write_pages([folder], folder, None if waivers is None else folder / WAIVERS_FILE)
    if problem is not None:
        raise PlimsollError(problem)
    for name in (HTML_FILE, JUNIT_FILE):
        yield name, (folder / name).read_bytes()


def _seal(files: Mapping[str, bytes], verdict: Verdict, run_id: str, sign_off: SignOff) -> Bundle:
    redact = Redactor.from_environment()
    manifest = Manifest(
        run=run_id,
        verdict=verdict.word.value,
        statement=verdict.statement,
        # People write waivers, and a link to a ticket may contain a secret.
        operator=redact(sign_off.operator),
        reference=redact(sign_off.reference),
        signed_at=sign_off.at,
        plimsoll=plimsoll.__version__,
        signature=UNSIGNED if sign_off.key is None else SIGNED,
        files=tuple(FileEntry.of(name, files[name]) for name in sorted(files)),
    )
    text = manifest.to_bytes()
    whole, signer = {MANIFEST_FILE: text}, None
    if sign_off.key is not None:
        whole[SIGNATURE_FILE], signer = sign(text, sign_off.key)
    whole.update({name: files[name] for name in sorted(files)})
    return Bundle(content=pack(whole, comment_for(text)), manifest=manifest, signer=signer)


def comment_for(manifest: bytes) -> bytes:
    """The archive's comment, which binds the manifest even where it is unsigned."""
    return f"plimsoll bundle, manifest sha256:{hashlib.sha256(manifest).hexdigest()}".encode("ascii")
